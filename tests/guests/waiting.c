/* A program that ends while its threads wait for signals, each with a mask of its own. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

static void on(int s)
{
	(void)s;
}

static void *waits(void *how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	int signal;
	switch ((long)how) {
	case 0: sigwait(&set, &signal); break;
	case 1: sigsuspend(&set); break;
	case 2: ppoll(NULL, 0, NULL, &set); break;
	case 3: pselect(0, NULL, NULL, NULL, NULL, &set); break;
	case 4: {
		struct epoll_event event;
		epoll_pwait(epoll_create1(0), &event, 1, -1, &set);
		break;
	}
	case 5: sigwaitinfo(&set, NULL); break;
	case 6: pause(); break;
	}
	return NULL;
}

int main(void)
{
	struct sigaction a = {.sa_handler = on};
	sigaction(SIGUSR1, &a, NULL);
	for (long how = 0; how < 7; how++) {
		pthread_t t;
		pthread_create(&t, NULL, waits, (void *)how);
	}
	usleep(100000);
	puts("over");
	return 3;
}
