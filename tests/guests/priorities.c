/* On one processor, a thread with a real-time priority is not disturbed by one without. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>

static sem_t go;
static char order[4];
static volatile int at;

static void *other(void *unused)
{
	sem_wait(&go);
	order[at++] = 'o';
	return unused;
}

int main(void)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	sem_init(&go, 0, 0);
	for (int round = 0; round < 3; round++) {
		pthread_t t;
		struct sched_param param = {.sched_priority = 0};
		at = 0;
		pthread_create(&t, NULL, other, NULL);
		param.sched_priority = 10;
		int refused = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
		sem_post(&go);
		for (volatile int i = 0; i < 300000; i++)
			;
		order[at++] = 'r';
		param.sched_priority = 0;
		pthread_setschedparam(pthread_self(), SCHED_OTHER, &param);
		pthread_join(t, NULL);
		printf("%s\n", refused ? "refused" : order);
	}
	return 0;
}
