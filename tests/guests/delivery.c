/* Whom signals reach and when: waiting threads, timers, job control, faults that a program lives on. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <poll.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_int ready, hits, hit_in;
static int tid(void) { return syscall(SYS_gettid); }
static void on(int s) { (void)s; hit_in = tid(); hits++; }

static void settle(void)
{
	struct timespec t = {0, 20000000};
	nanosleep(&t, NULL);
}

static void *waits(void *arg)
{
	sigset_t set;
	siginfo_t i;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 3);
	for (int n = 0; n < 3; n++) {
		ready++;
		int r = sigwaitinfo(&set, &i);
		printf("got %s code %d value %d\n", r == SIGUSR1 ? "USR1" : "RT", i.si_code,
		       r == SIGUSR1 ? 0 : i.si_value.sival_int);
	}
	return NULL;
}

static void waiting_threads(void)
{
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &set, &old);
	pthread_t t;
	pthread_create(&t, NULL, waits, NULL);
	while (ready < 1)
		usleep(1000);
	settle();
	pthread_kill(t, SIGUSR1);
	while (ready < 2)
		usleep(1000);
	settle();
	kill(getpid(), SIGUSR1);
	while (ready < 3)
		usleep(1000);
	settle();
	pthread_sigqueue(t, SIGRTMIN + 3, (union sigval){.sival_int = 42});
	pthread_join(t, NULL);
	/* A signal for the process goes to a thread that does not block it. */
	int fd = signalfd(-1, &set, SFD_NONBLOCK);
	struct signalfd_siginfo si;
	sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 7});
	int r = read(fd, &si, sizeof si);
	printf("signalfd %d: %d value %d\n", r, si.ssi_signo - SIGRTMIN, si.ssi_int);
	close(fd);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void *unblocked(void *arg)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	*(int *)arg = tid();
	ready = 1;
	while (!hits)
		;
	return NULL;
}

static void chosen_thread(void)
{
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGUSR2, on);
	ready = hits = 0;
	int there = 0;
	pthread_t t;
	pthread_create(&t, NULL, unblocked, &there);
	while (!ready)
		;
	kill(getpid(), SIGUSR2);
	pthread_join(t, NULL);
	printf("to the thread that takes it: %d\n", hit_in == there);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static atomic_int expired;
static void on_thread(union sigval v) { expired += v.sival_int; }

static void *has_timer(void *arg)
{
	struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	e.sigev_notify_thread_id = tid();
	timer_t timer;
	printf("timer %d\n", timer_create(CLOCK_MONOTONIC, &e, &timer));
	struct itimerspec its = {{0, 0}, {0, 1000000}};
	timer_settime(timer, 0, &its, NULL);
	while (!hits)
		;
	printf("to its thread: %d\n", hit_in == tid());
	timer_delete(timer);
	return NULL;
}

static void timers(void)
{
	hits = 0;
	signal(SIGUSR1, on);
	pthread_t t;
	pthread_create(&t, NULL, has_timer, NULL);
	pthread_join(t, NULL);
	struct sigevent e = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread};
	e.sigev_value.sival_int = 5;
	timer_t timer;
	printf("timer %d\n", timer_create(CLOCK_REALTIME, &e, &timer));
	struct itimerspec its = {{0, 0}, {0, 1000000}};
	timer_settime(timer, 0, &its, NULL);
	while (!expired)
		usleep(1000);
	printf("in a thread: %d\n", expired);
	timer_delete(timer);
	hits = 0;
	signal(SIGALRM, on);
	struct itimerval it = {{0, 1000}, {0, 1000}};
	setitimer(ITIMER_REAL, &it, NULL);
	while (hits < 20)
		pause();
	it = (struct itimerval){0};
	setitimer(ITIMER_REAL, &it, NULL);
	printf("interval done\n");
	signal(SIGVTALRM, on);
	hits = 0;
	it.it_value.tv_usec = 1000;
	setitimer(ITIMER_VIRTUAL, &it, NULL);
	while (!hits)
		;
	printf("virtual done\n");
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	timerfd_settime(fd, 0, &its, NULL);
	unsigned long long n = 0;
	read(fd, &n, 8);
	printf("timerfd %d\n", (int)n);
}

static atomic_int told, killed_by;
static void on_child(int s, siginfo_t *i, void *c)
{
	told = i->si_code;
	/* The status of a stop is lost when a wait takes it before its signal is made. */
	if (i->si_code == CLD_KILLED)
		killed_by = i->si_status;
}

/* A second SIGCHLD joins a pending first one and its tale is lost, so each is awaited before the next is
 * made. */
static void told_of(int code)
{
	sigset_t none;
	sigemptyset(&none);
	while (told != code)
		sigsuspend(&none);
}

static void job_control(void)
{
	fflush(stdout);
	struct sigaction a = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigset_t child, before;
	sigaction(SIGCHLD, &a, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	int status;
	pid_t pid = fork();
	/* A process group of its own, whose parent is in another one: SIGTSTP has no effect on orphans. */
	setpgid(pid, pid);
	if (pid == 0) {
		signal(SIGTERM, SIG_DFL);
		for (;;)
			pause();
	}
	static const int stops[] = {SIGSTOP, SIGTSTP};
	for (int i = 0; i < 2; i++) {
		kill(pid, stops[i]);
		printf("wait %d", waitpid(pid, &status, WUNTRACED) == pid);
		printf(" stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
		told_of(CLD_STOPPED);
		kill(pid, SIGCONT);
		printf("wait %d", waitpid(pid, &status, WCONTINUED) == pid);
		printf(" continued %d\n", WIFCONTINUED(status));
		told_of(CLD_CONTINUED);
		fflush(stdout);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	/* It comes before the wait can end. */
	printf("killed by %d, said %d\n", WTERMSIG(status), killed_by);
	fflush(stdout);
	signal(SIGCHLD, SIG_DFL);
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	for (int k = 0; k < 3; k++) {
		pid = fork();
		if (pid == 0) {
			if (k == 0)
				abort();
			if (k == 1)
				*(volatile int *)8 = 1;
			raise(SIGQUIT);
		}
		waitpid(pid, &status, 0);
		printf("died of %d, core %d\n", WTERMSIG(status), WCOREDUMP(status));
	}
}

/* A write barrier made of page protection, as garbage collectors have them. */
static char *heap;
static atomic_int faults;
enum { PAGES = 64 };

static void barrier(int s, siginfo_t *i, void *c)
{
	char *page = (char *)((unsigned long)i->si_addr & ~4095ul);
	if (page < heap || page >= heap + PAGES * 4096)
		_exit(9);
	faults++;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void *mutator(void *arg)
{
	for (int round = 0; round < 5; round++)
		for (int p = (int)(long)arg; p < PAGES; p += 4)
			heap[p * 4096 + round]++;
	return NULL;
}

static sigjmp_buf back;
static void jumps(int s) { siglongjmp(back, 1); }

static void living_on_faults(void)
{
	heap = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction a = {.sa_sigaction = barrier, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &a, NULL);
	int sum = 0;
	for (int cycle = 0; cycle < 10; cycle++) {
		mprotect(heap, PAGES * 4096, PROT_READ);
		pthread_t t[4];
		for (long i = 0; i < 4; i++)
			pthread_create(&t[i], NULL, mutator, (void *)i);
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
	}
	for (int i = 0; i < PAGES * 4096; i++)
		sum += heap[i];
	printf("faults %d, sum %d\n", faults, sum);
	signal(SIGSEGV, jumps);
	volatile int n = 0;
	while (n < 2000) {
		if (sigsetjmp(back, 1) == 0)
			*(volatile char *)16 = 1;
		n++;
	}
	printf("jumped out %d times\n", n);
}

/* A handler sees every register as it was and changes what the code goes on with. */
static void patches(int s, siginfo_t *i, void *c)
{
	ucontext_t *u = c;
	greg_t *g = u->uc_mcontext.gregs;
#ifdef __x86_64__
	for (int r = REG_R8; r <= REG_R15; r++)
		printf(" %llx", (unsigned long long)g[r]);
	printf(" rax %llx flags %llx\n", (unsigned long long)g[REG_RAX], (unsigned long long)g[REG_EFL] & 0xcd5);
	g[REG_RIP] += 3;
	g[REG_R10] = 99;
#else
	printf(" eax %x edi %x flags %x\n", g[REG_EAX], g[REG_EDI], g[REG_EFL] & 0xcd5);
	g[REG_EIP] += 2;
	g[REG_EDI] = 99;
#endif
}

static void contexts(void)
{
	struct sigaction a = {.sa_sigaction = patches, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &a, NULL);
	for (int i = 0; i < 20; i++) {
		long out;
#ifdef __x86_64__
		asm volatile("mov $8, %%r8; mov $9, %%r9; mov $10, %%r10; mov $11, %%r11; mov $12, %%r12\n"
			     "mov $13, %%r13; mov $14, %%r14; mov $15, %%r15; mov $0x123, %%rax\n"
			     "add %%r8, %%r9; cmp %%r12, %%r10\n"
			     "mov (%%r8), %%rcx\n" /* 3 bytes */
			     "mov %%r10, %0"
			     : "=r"(out) :: "rax", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory");
#else
		asm volatile("mov $16, %%edi; mov $0x123, %%eax; cmp %%eax, %%edi\n"
			     "mov (%%edi), %%ecx\n" /* 2 bytes */
			     "mov %%edi, %0"
			     : "=r"(out) :: "eax", "ecx", "edi", "memory");
#endif
		if (out != 99)
			printf("lost\n");
	}
}

/* A blocked thread's signal, an interrupted poll, a mask for the time of a call. */
static int pipes[2];
static void *polls(void *arg)
{
	struct pollfd p = {pipes[0], POLLIN, 0};
	sigset_t none;
	sigemptyset(&none);
	ready = 1;
	int r = ppoll(&p, 1, NULL, &none);
	printf("ppoll %d %s\n", r, errno == EINTR ? "EINTR" : "-");
	return NULL;
}

static void interrupted(void)
{
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGUSR1, on);
	pipe(pipes);
	ready = hits = 0;
	pthread_t t;
	pthread_create(&t, NULL, polls, NULL);
	while (!ready)
		usleep(1000);
	settle();
	pthread_kill(t, SIGUSR1);
	pthread_join(t, NULL);
	printf("handled %d\n", hits);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

int main(void)
{
	alarm(100);
	setvbuf(stdout, NULL, _IOLBF, 0);
	waiting_threads();
	chosen_thread();
	interrupted();
	timers();
	alarm(100);
	job_control();
	living_on_faults();
	contexts();
	return 0;
}
