/* Futexes that processes share or that threads wait for several at a time: futex_waitv over private
 * and shared words, locks with priority inheritance between threads of two processes, the death of
 * their owner. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef FUTEX_32
#define FUTEX_32 2
#endif
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
#define SYS_waitv 449

struct waiter {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};
struct time64 {
	int64_t tv_sec, tv_nsec;
};

static long result(long r) { return r == -1 ? -errno : r; }

static long futex(void *at, int op, unsigned value, void *fourth, void *second, unsigned value3)
{
	return result(syscall(SYS_futex, at, op, value, fourth, second, value3));
}

static long waitv(struct waiter *w, unsigned n, unsigned flags, struct time64 *t, int clock)
{
	return result(syscall(SYS_waitv, w, n, flags, t, clock));
}

static struct waiter on(atomic_uint *word, unsigned value, unsigned flags)
{
	return (struct waiter){value, (uintptr_t)word, flags | FUTEX_32, 0};
}

static atomic_uint mine[3];
static struct shared {
	atomic_uint word, started;
	pthread_mutex_t lock, robust;
	pthread_cond_t cond;
	int turns, value;
} *shared;

static void *waits(void *arg)
{
	struct waiter w[4];
	unsigned flag = (uintptr_t)arg;
	for (int i = 0; i < 3; i++)
		w[i] = on(&mine[i], 0, flag);
	w[3] = on(&shared->word, 0, 0);
	return (void *)waitv(w, 4, 0, NULL, 0);
}

/* Wakes until somebody has been woken; the result of the waiter. */
static void wake(const char *what, atomic_uint *word, int op, unsigned flag)
{
	pthread_t t;
	void *r;
	pthread_create(&t, NULL, waits, (void *)(uintptr_t)flag);
	long woken;
	while ((woken = futex(word, op, 1, NULL, NULL, -1)) == 0)
		sched_yield();
	pthread_join(t, &r);
	printf("%s: woken %ld, index %ld\n", what, woken, (long)r);
}

static void *wakes_main(void *arg)
{
	long woken;
	while ((woken = futex(&mine[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0)) == 0)
		sched_yield();
	return (void *)woken;
}

static void handler(int s) { (void)s; }

static void several(void)
{
	struct waiter w[3] = {on(&mine[0], 0, FUTEX_PRIVATE_FLAG), on(&mine[1], 0, FUTEX_PRIVATE_FLAG),
			      on(&shared->word, 0, 0)};
	struct time64 past = {0, 0}, bad = {0, 1000000000}, soon;
	printf("none %ld\n", waitv(w, 0, 0, NULL, 0));
	printf("many %ld\n", waitv(w, 129, 0, NULL, 0));
	printf("flags %ld\n", waitv(w, 2, 1, NULL, 0));
	printf("clock %ld\n", waitv(w, 2, 0, &past, 77));
	printf("past %ld\n", waitv(w, 2, 0, &past, CLOCK_MONOTONIC));
	printf("bad %ld\n", waitv(w, 2, 0, &bad, CLOCK_REALTIME));
	mine[1] = 1;
	printf("changed %ld\n", waitv(w, 3, 0, NULL, 0));
	mine[1] = 0;
	w[2].flags = 0x80000000;
	printf("unknown flag %ld\n", waitv(w, 3, 0, NULL, 0));
	w[2].flags = FUTEX_32;
	w[2].reserved = 1;
	printf("reserved %ld\n", waitv(w, 3, 0, NULL, 0));
	w[2].reserved = 0;
	w[2].uaddr = 4;
	printf("nowhere %ld\n", waitv(w, 3, 0, NULL, 0));
	w[2].uaddr = (uintptr_t)&shared->word + 1;
	printf("misaligned %ld\n", waitv(w, 3, 0, NULL, 0));
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	soon.tv_sec = now.tv_sec;
	soon.tv_nsec = now.tv_nsec + 5000000;
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	printf("timeout %ld\n", waitv(w, 2, 0, &soon, CLOCK_MONOTONIC));
	wake("private 0", &mine[0], FUTEX_WAKE_PRIVATE, FUTEX_PRIVATE_FLAG);
	wake("private 2", &mine[2], FUTEX_WAKE_BITSET_PRIVATE, FUTEX_PRIVATE_FLAG);
	wake("not said to be private", &mine[1], FUTEX_WAKE, 0);
	wake("shared", &shared->word, FUTEX_WAKE, FUTEX_PRIVATE_FLAG);
	pthread_t t;
	void *r;
	pthread_create(&t, NULL, wakes_main, NULL);
	w[2] = on(&mine[2], 0, FUTEX_PRIVATE_FLAG);
	printf("main %ld\n", waitv(w, 3, 0, NULL, 0));
	pthread_join(t, &r);
	printf("woke main: %ld\n", (long)r);
	mine[1] = 0;
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGALRM, &sa, NULL);
	struct itimerspec it = {{0, 0}, {0, 20000000}};
	timer_t timer;
	timer_create(CLOCK_MONOTONIC, NULL, &timer);
	timer_settime(timer, 0, &it, NULL);
	printf("signal %ld\n", waitv(w, 3, 0, NULL, 0));
	timer_delete(timer);
}

#define TURNS 300

static void *turns(void *arg)
{
	(void)arg;
	for (int i = 0; i < TURNS; i++) {
		pthread_mutex_lock(&shared->lock);
		int before = shared->turns;
		if (i % 16 == 0)
			sched_yield();
		shared->turns = before + 1;
		pthread_mutex_unlock(&shared->lock);
	}
	return NULL;
}

/* Two threads of each of two processes; the first threads take part. */
static void contention(void)
{
	pid_t child = fork();
	pthread_t t;
	pthread_create(&t, NULL, turns, NULL);
	turns(NULL);
	pthread_join(t, NULL);
	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	printf("turns %d of %d\n", shared->turns, 4 * TURNS);
}

static void *consumer(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&shared->lock);
	while (shared->value == 0)
		pthread_cond_wait(&shared->cond, &shared->lock);
	shared->value--;
	pthread_mutex_unlock(&shared->lock);
	return NULL;
}

static void condition(void)
{
	pid_t child = fork();
	if (child == 0) {
		pthread_t t;
		pthread_create(&t, NULL, consumer, NULL);
		consumer(NULL);
		pthread_join(t, NULL);
		_exit(0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_mutex_lock(&shared->lock);
		shared->value++;
		pthread_cond_broadcast(&shared->cond);
		pthread_mutex_unlock(&shared->lock);
	}
	waitpid(child, NULL, 0);
	printf("left %d\n", shared->value);
}

static void *dies(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&shared->robust);
	atomic_store(&shared->started, 1);
	struct timespec short_time = {0, 30000000};
	nanosleep(&short_time, NULL);
	_exit(3);
}

static void *tries(void *arg)
{
	(void)arg;
	printf("trylock %d\n", pthread_mutex_trylock(&shared->lock));
	struct timespec past = {0, 0};
	printf("timedlock %d\n", pthread_mutex_timedlock(&shared->lock, &past));
	printf("unlock %d\n", pthread_mutex_unlock(&shared->lock));
	return NULL;
}

static void death(void)
{
	atomic_store(&shared->started, 0);
	pid_t child = fork();
	if (child == 0) {
		pthread_t t;
		pthread_create(&t, NULL, dies, NULL);
		pthread_join(t, NULL);
	}
	while (!atomic_load(&shared->started))
		sched_yield();
	pthread_t t;
	pthread_create(&t, NULL, tries, NULL);
	pthread_join(t, NULL);
	int r = pthread_mutex_lock(&shared->robust);
	printf("owner died: %d, consistent %d\n", r == EOWNERDEAD, pthread_mutex_consistent(&shared->robust));
	printf("unlock %d\n", pthread_mutex_unlock(&shared->robust));
	waitpid(child, NULL, 0);
	printf("again %d\n", pthread_mutex_lock(&shared->robust));
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&shared->lock, &a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&shared->robust, &a);
	pthread_condattr_t c;
	pthread_condattr_init(&c);
	pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&shared->cond, &c);
	several();
	contention();
	condition();
	pthread_mutex_lock(&shared->lock);
	death();
	return 0;
}
