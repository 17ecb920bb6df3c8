/* Futexes: every operation by hand, priority inheritance, robust and process-shared locks, lost
 * wake-ups under stress, spinning next to blocked threads, many threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int tid(void) { return syscall(SYS_gettid); }

static long futex(void *at, int op, unsigned value, void *fourth, void *second, unsigned value3)
{
	long r = syscall(SYS_futex, at, op, value, fourth, second, value3);
	return r == -1 ? -errno : r;
}

static atomic_uint word, other, started, ended;

static void until(atomic_uint *what, unsigned value)
{
	while (atomic_load(what) != value)
		sched_yield();
}

/* Waits on `word` until it is not `value`. */
static void *waiter(void *arg)
{
	unsigned value = (unsigned)(long)arg;
	atomic_fetch_add(&started, 1);
	long r = futex(&word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
	atomic_fetch_add(&ended, 1);
	return (void *)r;
}

static void *bit_waiter(void *arg)
{
	atomic_fetch_add(&started, 1);
	long r = futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (unsigned)(long)arg);
	atomic_fetch_add(&ended, 1);
	return (void *)r;
}

/* So that threads which have said they are about to wait do. */
static void settle(void)
{
	struct timespec t = {0, 20000000};
	nanosleep(&t, NULL);
}

static void start(pthread_t *t, int n, void *(*f)(void *), long arg)
{
	atomic_store(&started, 0);
	atomic_store(&ended, 0);
	for (int i = 0; i < n; i++)
		pthread_create(&t[i], NULL, f, (void *)arg);
	until(&started, n);
	settle();
}

static void join(const char *what, pthread_t *t, int n)
{
	long sum = 0;
	void *r;
	for (int i = 0; i < n; i++) {
		pthread_join(t[i], &r);
		sum += (long)r;
	}
	printf("%s: sum %ld\n", what, sum);
}

static void operations(void)
{
	pthread_t t[4];
	word = 0;
	printf("wrong value %ld\n", futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
	printf("misaligned %ld\n", futex((char *)&word + 1, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
	printf("no bits %ld\n", futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0));
	printf("nobody %ld\n", futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	start(t, 4, waiter, 0);
	printf("wake 3: %ld\n", futex(&word, FUTEX_WAKE_PRIVATE, 3, NULL, NULL, 0));
	printf("wake all: %ld\n", futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0));
	join("woken", t, 4);
	start(t, 2, bit_waiter, 6);
	printf("bits 1: %ld\n", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 1));
	printf("bits 4: %ld\n", futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 4));
	join("bits", t, 2);
	start(t, 4, waiter, 0);
	printf("cmp_requeue, wrong %ld\n", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)9, &other, 7));
	printf("cmp_requeue %ld\n", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &other, 0));
	printf("left %ld\n", futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
	printf("moved %ld\n", futex(&other, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
	join("requeued", t, 4);
	start(t, 3, waiter, 0);
	other = 5;
	/* other += 3; the second wake-up only if it was greater than 4. */
	printf("wake_op %ld\n", futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)2, &word,
				      FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_LT, 1)));
	printf("word %u, rest %ld\n", word, futex(&word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
	join("wake_op", t, 3);
	struct timespec past = {0, 0}, soon = {0, 1000000}, bad = {0, 1000000000};
	word = 0;
	printf("timeout %ld\n", futex(&word, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0));
	printf("past %ld\n", futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &past, NULL, -1));
	printf("bad %ld\n", futex(&word, FUTEX_WAIT_PRIVATE, 0, &bad, NULL, 0));
}

static atomic_uint pi, condition;

static void *pi_locker(void *arg)
{
	(void)arg;
	atomic_fetch_add(&started, 1);
	long r = futex(&pi, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
	int mine = (pi & FUTEX_TID_MASK) == (unsigned)tid();
	atomic_fetch_add(&ended, 1);
	if (r == 0)
		r = futex(&pi, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
	return (void *)(r + mine);
}

static void *pi_waiter(void *arg)
{
	(void)arg;
	atomic_fetch_add(&started, 1);
	long r = futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &pi, 0);
	int mine = (pi & FUTEX_TID_MASK) == (unsigned)tid();
	if (r == 0)
		r = futex(&pi, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
	return (void *)(r + mine);
}

static void inheritance(void)
{
	pthread_t t[3];
	printf("unlock of nobody's %ld\n", futex(&pi, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	printf("lock %ld\n", futex(&pi, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	printf("mine %d\n", pi == (unsigned)tid());
	printf("again %ld\n", futex(&pi, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	start(t, 3, pi_locker, 0);
	printf("waiters %d, through %u\n", (pi & FUTEX_WAITERS) != 0, ended);
	printf("unlock %ld\n", futex(&pi, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	join("locked", t, 3);
	pi = 0;
	futex(&pi, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
	start(t, 3, pi_waiter, 0);
	printf("requeue_pi, two at a time %ld\n",
	       futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)9, &pi, 0));
	printf("requeue_pi %ld\n",
	       futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)INT_MAX, &pi, 0));
	printf("waiters %d\n", (pi & FUTEX_WAITERS) != 0);
	printf("unlock %ld\n", futex(&pi, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	join("requeued", t, 3);
	pi = 0x3ffffff0;
	printf("owner is gone %ld\n", futex(&pi, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
	pi = 0;
	pthread_mutexattr_t a;
	pthread_mutex_t m;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
	printf("init %d\n", pthread_mutex_init(&m, &a));
	int first = pthread_mutex_lock(&m), second = pthread_mutex_lock(&m);
	printf("lock %d, again %d, unlock %d\n", first, second, pthread_mutex_unlock(&m));
}

static pthread_mutex_t *robust;
static void *dies(void *arg)
{
	pthread_mutex_lock(arg);
	atomic_fetch_add(&started, 1);
	settle();
	return NULL;
}

static void robust_locks(void)
{
	struct { pthread_mutex_t m; } *s =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int kind = 0; kind < 2; kind++) {
		pthread_mutexattr_t a;
		pthread_mutexattr_init(&a);
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
		if (kind == 1)
			pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
		pthread_mutex_t m;
		pthread_mutex_init(&m, &a);
		pthread_t t;
		start(&t, 1, dies, (long)&m);
		int r = pthread_mutex_lock(&m);
		printf("robust %d: lock %d", kind, r);
		printf(", consistent %d, unlock %d\n", pthread_mutex_consistent(&m), pthread_mutex_unlock(&m));
		pthread_join(t, NULL);
	}
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&s->m, &a);
	fflush(stdout);
	if (fork() == 0) {
		pthread_mutex_lock(&s->m);
		_exit(0);
	}
	wait(NULL);
	printf("robust, of a process: lock %d\n", pthread_mutex_lock(&s->m));
}

/* A word in shared memory, between threads of one process and with another process. */
static atomic_uint *shared;
static void *shared_waiter(void *arg)
{
	atomic_fetch_add(&started, 1);
	while (*shared == 0)
		futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0);
	return NULL;
}

static void shared_words(void)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_t t[2];
	start(t, 2, shared_waiter, 0);
	*shared = 1;
	printf("shared wake %ld\n", futex(shared, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
	join("shared", t, 2);
	*shared = 0;
	start(t, 2, shared_waiter, 0);
	fflush(stdout);
	if (fork() == 0) {
		*shared = 1;
		long r = futex(shared, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
		_exit(r);
	}
	int status;
	wait(&status);
	join("by another process", t, 2);
	printf("woken %d\n", WEXITSTATUS(status));
	sem_t *sem = (sem_t *)(shared + 16);
	sem_init(sem, 1, 0);
	fflush(stdout);
	if (fork() == 0) {
		for (int i = 0; i < 100; i++)
			sem_post(sem);
		_exit(0);
	}
	for (int i = 0; i < 100; i++)
		sem_wait(sem);
	wait(NULL);
	printf("semaphore done\n");
}

/* Lost wake-ups end in a hang. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static int queue[4], fill;
static long consumed;

static void *producer(void *arg)
{
	for (int i = 0; i < 3000; i++) {
		pthread_mutex_lock(&lock);
		while (fill == 4)
			pthread_cond_wait(&not_full, &lock);
		queue[fill++] = i;
		pthread_cond_signal(&not_empty);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *consumer(void *arg)
{
	for (int i = 0; i < 3000; i++) {
		pthread_mutex_lock(&lock);
		while (fill == 0)
			pthread_cond_wait(&not_empty, &lock);
		consumed += queue[--fill];
		pthread_cond_signal(&not_full);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static int pipes[2];
static void *pipe_reader(void *arg)
{
	long n = 0;
	char c;
	while (read(pipes[0], &c, 1) == 1)
		n++;
	return (void *)n;
}

static void *pipe_writer(void *arg)
{
	for (int i = 0; i < 2000; i++)
		if (write(pipes[1], "x", 1) != 1)
			return (void *)1;
	return NULL;
}

static void stress(void)
{
	pthread_t t[8];
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, i % 2 ? consumer : producer, NULL);
	join("queue", t, 8);
	printf("consumed %ld\n", consumed);
	pipe(pipes);
	pthread_t r[2], w[4];
	for (int i = 0; i < 2; i++)
		pthread_create(&r[i], NULL, pipe_reader, NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&w[i], NULL, pipe_writer, NULL);
	join("written", w, 4);
	close(pipes[1]);
	join("read", r, 2);
}

/* Threads that spin for a turn that another one passes on, next to one that blocks. */
static atomic_uint turn, done;
static void *spinner(void *arg)
{
	unsigned me = (unsigned)(long)arg;
	for (int i = 0; i < 50; i++) {
		while (turn != me)
			;
		turn = (me + 1) % 3;
	}
	return NULL;
}

static void *forever(void *arg)
{
	while (!done)
		;
	return NULL;
}

static void spinning(void)
{
	pthread_t t[3];
	for (long i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, spinner, (void *)i);
	join("spun", t, 3);
	pthread_create(&t[0], NULL, forever, NULL);
	pthread_create(&t[1], NULL, forever, NULL);
	struct timespec ts = {0, 10000};
	int a[2];
	char c = 0;
	pipe(a);
	for (int i = 0; i < 100; i++)
		nanosleep(&ts, NULL);
	fflush(stdout);
	if (fork() == 0) {
		for (int i = 0; i < 100; i++)
			write(a[1], &c, 1);
		_exit(0);
	}
	for (int i = 0; i < 100; i++)
		read(a[0], &c, 1);
	wait(NULL);
	done = 1;
	join("blocked next to spinners", t, 2);
}

static void *one(void *arg) { return arg; }

static void many(void)
{
	static pthread_t t[1000];
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 65536);
	for (int round = 0; round < 2; round++) {
		int made = 0;
		for (; made < 500; made++)
			if (pthread_create(&t[made], &a, one, (void *)1L))
				break;
		printf("made %d\n", made);
		join("many", t, made);
	}
}

static void scheduling(void)
{
	struct sched_param p = {0};
	cpu_set_t all, set;
	printf("policy %d\n", sched_getscheduler(0));
	printf("affinity %d\n", sched_getaffinity(0, sizeof all, &all) == 0);
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (CPU_ISSET(0, &all)) {
		printf("set %d", sched_setaffinity(tid(), sizeof set, &set));
		sched_getaffinity(0, sizeof set, &set);
		printf(", now %d\n", CPU_COUNT(&set));
		sched_setaffinity(0, sizeof all, &all);
	}
	printf("batch %d", sched_setscheduler(0, SCHED_BATCH, &p));
	printf(", now %d\n", sched_getscheduler(tid()));
	printf("membarrier %d\n", syscall(SYS_membarrier, 0, 0, 0) >= 0);
	/* Its command for restartable sequences is there if these are. */
	int rseq = syscall(SYS_rseq, NULL, 0, 0, 0) < 0 && errno != ENOSYS;
	int barrier = syscall(SYS_membarrier, 1 << 8, 0, 0) == 0;
	printf("consistent: %d\n", rseq == barrier && rseq == (syscall(SYS_membarrier, 0, 0, 0) >> 8 & 1));
}

static void *scheduling_thread(void *arg) { scheduling(); return NULL; }

static void *last(void *main_thread)
{
	pthread_join(*(pthread_t *)main_thread, NULL);
	printf("the first thread has ended\n");
	fflush(stdout);
	exit(3);
}

int main(void)
{
	alarm(100);
	pthread_t t;
	/* Alone first, then with a second thread around. */
	inheritance();
	operations();
	robust_locks();
	shared_words();
	stress();
	spinning();
	many();
	scheduling();
	pthread_create(&t, NULL, scheduling_thread, NULL);
	pthread_join(t, NULL);
	static pthread_t self;
	self = pthread_self();
	pthread_create(&t, NULL, last, &self);
	pthread_exit(NULL);
}
