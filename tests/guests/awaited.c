/* A signal for the process that only a waiting call of one thread lets in, while another thread,
 * which blocks it, is busy. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int busy, handled;

static void on_signal(int n)
{
	handled = n;
}

static void *spins(void *unused)
{
	busy = 1;
	while (busy)
		;
	return unused;
}

static void *signals(void *other)
{
	while (busy) {
		pthread_kill(*(pthread_t *)other, SIGUSR1);
		usleep(1000);
	}
	return 0;
}

static int waits(int how, const sigset_t *none, const sigset_t *usual)
{
	struct epoll_event event;
	switch (how) {
	case 0: return pselect(0, 0, 0, 0, 0, none);
	case 1: return ppoll(0, 0, 0, none);
	case 2: return epoll_pwait(epoll_create1(0), &event, 1, -1, none);
	case 3: return sigsuspend(none);
	default: return sigwaitinfo(usual, 0);
	}
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t none, term;
	setvbuf(stdout, 0, _IONBF, 0);
	sigaction(SIGTERM, &action, 0);
	sigemptyset(&none);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, 0);
	for (int how = 0; how < 5; how++) {
		pthread_t thread;
		handled = 0;
		pthread_create(&thread, 0, spins, 0);
		while (!busy)
			;
		pid_t child = fork();
		if (child == 0) {
			kill(getppid(), SIGTERM);
			_exit(0);
		}
		int result = waits(how, &none, &term), error = errno;
		busy = 0;
		pthread_join(thread, 0);
		printf("%d: %d %d %d\n", how, result, result == -1 ? error : 0, handled);
		waitpid(child, 0, 0);
	}
	/* Signals for this thread still end its calls. */
	int ends[2];
	char byte;
	pthread_t thread, self = pthread_self();
	action.sa_handler = on_signal;
	sigaction(SIGUSR1, &action, 0);
	pipe(ends);
	busy = 1;
	pthread_create(&thread, 0, signals, &self);
	int result = read(ends[0], &byte, 1), error = errno;
	busy = 0;
	pthread_join(thread, 0);
	printf("%d %d\n", result, error);
	return 0;
}
