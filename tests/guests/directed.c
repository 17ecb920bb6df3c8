/* Signals for one thread: from another process, from a timer, queued, seen by a signalfd and by
 * sigwait; ids of timers. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int tid(void) { return syscall(SYS_gettid); }
static long result(long r) { return r == -1 ? -errno : r; }

static struct shared {
	sem_t ready, next;
	int pid, tid[3];
} *shared;

static atomic_int caught[3], wrong, code, value, from;
static __thread int number = -1;
static sem_t done;

static void handler(int s, siginfo_t *si, void *u)
{
	(void)s;
	(void)u;
	if (number < 0)
		wrong++;
	else
		caught[number]++;
	code = si->si_code;
	value = si->si_value.sival_int;
	from = si->si_pid;
	sem_post(&done);
}

static void *waits(void *arg)
{
	number = (int)(long)arg;
	shared->tid[number] = tid();
	sem_post(&shared->ready);
	for (;;)
		pause();
	return NULL;
}

static void expect(const char *what)
{
	while (sem_wait(&done))
		;
	printf("%s: %d %d %d, wrong %d, code %d\n", what, caught[0], caught[1], caught[2], wrong, code);
}

/* The child sends to the threads of its parent. */
static void sender(void)
{
	siginfo_t si;
	for (int i = 0; i < 6; i++) {
		sem_wait(&shared->next);
		memset(&si, 0, sizeof si);
		si.si_code = SI_QUEUE;
		si.si_pid = getpid();
		si.si_uid = getuid();
		si.si_value.sival_int = 77 + i;
		switch (i) {
		case 0: syscall(SYS_tgkill, shared->pid, shared->tid[0], SIGUSR1); break;
		case 1: syscall(SYS_tkill, shared->tid[1], SIGUSR1); break;
		case 2: syscall(SYS_rt_tgsigqueueinfo, shared->pid, shared->tid[0], SIGRTMIN, &si); break;
		case 3: syscall(SYS_tgkill, shared->pid, shared->tid[2], SIGUSR2); break;
		case 4: syscall(SYS_rt_tgsigqueueinfo, shared->pid, shared->tid[2], SIGRTMIN + 1, &si); break;
		case 5:
			printf("no such thread %ld\n", result(syscall(SYS_tgkill, shared->pid, getpid(), SIGUSR1)));
			printf("no such signal %ld\n", result(syscall(SYS_tgkill, shared->pid, shared->tid[0], 65)));
			printf("nothing %ld\n", result(syscall(SYS_tgkill, shared->pid, shared->tid[0], 0)));
			si.si_code = SI_TKILL;
			printf("false code %ld\n", result(syscall(SYS_rt_tgsigqueueinfo, shared->pid, shared->tid[0], SIGUSR1, &si)));
		}
	}
	_exit(0);
}

static sigset_t usr2;

static void *sigwaits(void *arg)
{
	(void)arg;
	siginfo_t si;
	shared->tid[2] = tid();
	sem_post(&shared->ready);
	int s = sigwaitinfo(&usr2, &si);
	printf("sigwait %d, code %d, from the child %d\n", s == SIGUSR2, si.si_code, si.si_pid == from);
	sem_post(&done);
	s = sigwaitinfo(&usr2, &si);
	printf("sigwait %d, code %d, value %d\n", s - SIGRTMIN, si.si_code, si.si_value.sival_int);
	sem_post(&done);
	s = sigwaitinfo(&usr2, &si);
	printf("timer %d, code %d, value %d, overrun %d\n", s - SIGRTMIN, si.si_code, si.si_value.sival_int, si.si_overrun);
	return NULL;
}

static void *reads(void *arg)
{
	int fd = (int)(long)arg;
	shared->tid[2] = tid();
	sem_post(&shared->ready);
	for (int i = 0; i < 3; i++) {
		struct signalfd_siginfo si;
		read(fd, &si, sizeof si);
		printf("signalfd %d, code %d, self %d, value %d\n", (int)si.ssi_signo - SIGRTMIN, si.ssi_code,
		       si.ssi_pid == getpid(), si.ssi_int);
		sem_post(&done);
	}
	return NULL;
}

static void timers(void)
{
	timer_t ids[3];
	int raw[3];
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
	for (int i = 0; i < 3; i++) {
		ev.sigev_value.sival_int = 10 + i;
		ev.sigev_notify_thread_id = shared->tid[i % 2];
		printf("create %ld", result(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &raw[i])));
		printf(", id %d\n", raw[i]);
	}
	printf("delete %ld, again %ld\n", result(syscall(SYS_timer_delete, raw[1])), result(syscall(SYS_timer_delete, raw[1])));
	printf("create %ld", result(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &raw[1])));
	printf(", id %d\n", raw[1]);
	struct itimerspec it = {{0, 0}, {0, 1000000}};
	printf("unknown %ld\n", result(syscall(SYS_timer_settime, 99, 0, &it, NULL)));
	syscall(SYS_timer_settime, raw[0], 0, &it, NULL);
	expect("timer for a thread");
	printf("value %d, timer %d\n", value, from);
	for (int i = 0; i < 3; i++)
		syscall(SYS_timer_delete, raw[i]);
	pid_t child = fork();
	if (child == 0) {
		printf("in a child %ld", result(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &raw[0])));
		printf(", id %d\n", raw[0]);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sem_init(&shared->ready, 1, 0);
	sem_init(&shared->next, 1, 0);
	sem_init(&done, 0, 0);
	shared->pid = getpid();
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGRTMIN, &sa, NULL);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	for (int i = 1; i < 5; i++)
		sigaddset(&usr2, SIGRTMIN + i);
	sigprocmask(SIG_BLOCK, &usr2, NULL);
	pid_t child = fork();
	if (child == 0)
		sender();
	pthread_t t[3];
	for (long i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, waits, (void *)i);
	sem_wait(&shared->ready);
	sem_wait(&shared->ready);
	sem_post(&shared->next);
	expect("tgkill from a process");
	printf("from the child %d\n", from == child);
	sem_post(&shared->next);
	expect("tkill from a process");
	sem_post(&shared->next);
	expect("queued by a process");
	printf("value %d\n", value);
	pthread_create(&t[2], NULL, sigwaits, NULL);
	sem_wait(&shared->ready);
	from = child;
	sem_post(&shared->next);
	while (sem_wait(&done))
		;
	sem_post(&shared->next);
	while (sem_wait(&done))
		;
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};
	ev.sigev_value.sival_int = 5;
	ev.sigev_notify_thread_id = shared->tid[2];
	struct itimerspec it = {{0, 0}, {0, 1000000}};
	timer_t id;
	timer_create(CLOCK_MONOTONIC, &ev, &id);
	timer_settime(id, 0, &it, NULL);
	pthread_join(t[2], NULL);
	timer_delete(id);
	sem_post(&shared->next);
	waitpid(child, NULL, 0);

	int fd = signalfd(-1, &usr2, 0);
	pthread_create(&t[2], NULL, reads, (void *)(long)fd);
	sem_wait(&shared->ready);
	union sigval v = {.sival_int = 42};
	pthread_kill(t[2], SIGRTMIN + 1);
	while (sem_wait(&done))
		;
	pthread_sigqueue(t[2], SIGRTMIN + 2, v);
	while (sem_wait(&done))
		;
	sigqueue(getpid(), SIGRTMIN + 3, v);
	pthread_join(t[2], NULL);
	sem_wait(&done);
	/* One that is blocked goes to its thread when that lets it through. */
	number = 2;
	pthread_kill(pthread_self(), SIGUSR2);
	sigset_t pending;
	sigpending(&pending);
	printf("pending %d\n", sigismember(&pending, SIGUSR2));
	sigaction(SIGUSR2, &sa, NULL);
	sigprocmask(SIG_UNBLOCK, &usr2, NULL);
	expect("let through");
	number = -1;
	timers();
	return 0;
}
