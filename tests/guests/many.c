/* Many forks, many signals. usage: many FORKS SIGNALS */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t hits, nested, depth, deepest, queued[8];

static void on(int s) { (void)s; hits++; }

static void on_nested(int s, siginfo_t *i, void *c)
{
	(void)c;
	depth++;
	if (depth > deepest)
		deepest = depth;
	nested++;
	if (s == SIGUSR1)
		raise(SIGUSR2);
	depth--;
	(void)i;
}

static void on_queued(int s, siginfo_t *i, void *c)
{
	(void)c;
	queued[s - SIGRTMIN] += i->si_value.sival_int;
}

static volatile int stop;
static void *receiver(void *arg)
{
	while (!stop)
		;
	return NULL;
}

int main(int argc, char **argv)
{
	int forks = atoi(argv[1]), signals = atoi(argv[2]);
	int sum = 0, status;
	for (int i = 0; i < forks; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(i & 63);
		if (waitpid(pid, &status, 0) != pid)
			return 1;
		sum += WEXITSTATUS(status);
	}
	printf("forks: %d\n", sum);
	signal(SIGUSR1, on);
	for (int i = 0; i < signals / 4; i++)
		kill(getpid(), SIGUSR1);
	printf("kill: %d\n", hits);
	struct sigaction a = {.sa_sigaction = on_nested, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGUSR2, &a, NULL);
	for (int i = 0; i < signals / 8; i++)
		raise(SIGUSR1);
	printf("nested: %d, deepest %d\n", nested, deepest);
	a.sa_sigaction = on_queued;
	for (int s = 0; s < 8; s++)
		sigaction(SIGRTMIN + s, &a, NULL);
	sigset_t set, old;
	sigemptyset(&set);
	for (int s = 0; s < 8; s++)
		sigaddset(&set, SIGRTMIN + s);
	for (int i = 0; i < signals / 4 / 64; i++) {
		/* Queued while blocked, delivered together. */
		sigprocmask(SIG_BLOCK, &set, &old);
		for (int k = 0; k < 64; k++)
			if (sigqueue(getpid(), SIGRTMIN + k % 8, (union sigval){.sival_int = k}))
				return 2;
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	for (int s = 0; s < 8; s++)
		printf("queued %d: %d\n", s, queued[s]);
	/* To another thread, which spins. */
	hits = 0;
	signal(SIGUSR1, on);
	pthread_t t;
	pthread_create(&t, NULL, receiver, NULL);
	for (int i = 0; i < signals / 4; i++) {
		int before = hits;
		pthread_kill(t, SIGUSR1);
		while (hits == before)
			;
	}
	stop = 1;
	pthread_join(t, NULL);
	printf("to a thread: %d\n", hits);
	/* While a timer interrupts everything. */
	signal(SIGALRM, on);
	struct itimerval it = {{0, 200}, {0, 200}};
	setitimer(ITIMER_REAL, &it, NULL);
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			/* The timer is not inherited. */
			_exit(7);
		}
		while (waitpid(pid, &status, 0) != pid)
			;
		if (WEXITSTATUS(status) != 7)
			return 3;
	}
	it = (struct itimerval){0};
	setitimer(ITIMER_REAL, &it, NULL);
	printf("done\n");
	return 0;
}
