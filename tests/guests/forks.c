/* A child inherits no pending signal, of whatever kind: one of the process or of the thread, blocked, queued, from a
 * timer, or one that another thread takes at the very moment. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int done;
static volatile sig_atomic_t handled;

static void on_signal(int n)
{
	(void)n;
	handled++;
}

static void block(int how, int n)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, n);
	pthread_sigmask(how, &set, NULL);
}

static int pending(void)
{
	sigset_t set;
	int n = 0;
	sigpending(&set);
	for (int i = 1; i < 65; i++)
		n += sigismember(&set, i) == 1;
	return n;
}

/* Takes signals for the process while it waits. */
static void *waits(void *unused)
{
	sigset_t none;
	sigemptyset(&none);
	while (!done)
		ppoll(NULL, 0, &(struct timespec){0, 1000000}, &none);
	return unused;
}

/* What the child of this moment has: pending signals, and ones it handles once it lets them in. */
static int child_has(int by_vfork)
{
	volatile int parent_pid = getpid();
	pid_t pid = by_vfork ? vfork() : fork();
	if (pid == 0) {
		int n = pending(), before = handled;
		if (!by_vfork) {
			block(SIG_UNBLOCK, SIGUSR1);
			block(SIG_UNBLOCK, SIGRTMIN + 1);
			block(SIG_UNBLOCK, SIGALRM);
		}
		getppid();
		/* One of vfork shares the memory, with what handlers of the parent's threads do to it. */
		_exit(n + (getpid() == parent_pid) + (by_vfork ? 0 : handled - before));
	}
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGRTMIN + 1, &sa, NULL);
	block(SIG_BLOCK, SIGUSR1);
	block(SIG_BLOCK, SIGRTMIN + 1);
	block(SIG_BLOCK, SIGALRM);

	kill(getpid(), SIGUSR1);
	printf("for the process: %d %d, still %d\n", child_has(0), child_has(1), pending());
	pthread_kill(pthread_self(), SIGUSR1);
	for (int i = 0; i < 5; i++) {
		sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i});
		pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){.sival_int = i});
	}
	printf("queued: %d %d, still %d\n", child_has(0), child_has(1), pending());
	timer_t timer;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	timer_settime(timer, 0, &(struct itimerspec){.it_value = {0, 1}}, NULL);
	while (pending() < 3)
		;
	printf("of a timer: %d %d, still %d\n", child_has(0), child_has(1), pending());
	block(SIG_UNBLOCK, SIGUSR1);
	block(SIG_UNBLOCK, SIGRTMIN + 1);
	block(SIG_UNBLOCK, SIGALRM);
	printf("handled %d, still %d\n", handled, pending());

	/* Only the other thread's waiting lets it in. */
	block(SIG_BLOCK, SIGUSR1);
	pthread_t thread;
	pthread_create(&thread, NULL, waits, NULL);
	pid_t parent = getpid(), sender = fork();
	if (sender == 0) {
		while (kill(parent, SIGUSR1) == 0 && getppid() == parent)
			;
		_exit(0);
	}
	int inherited = 0;
	for (int i = 0; i < 100; i++)
		inherited += child_has(i % 4 == 3);
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
	done = 1;
	pthread_join(thread, NULL);
	printf("while another thread takes them: %d\n", inherited);
	return 0;
}
