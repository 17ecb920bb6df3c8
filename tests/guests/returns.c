/* Returns that are not the end of the last call: jumps over frames, stacks that take turns, changed return
 * addresses, callers whose code changes or goes away meanwhile, deep recursion. Every part runs often enough for
 * its code to be compiled. Prints the same on every run. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
/* Keeps compilers from making loops of recursions. */
#define HOLD(r) asm volatile("" : "+r"(r))
#define MIX(x) (sum = sum * 31 + (unsigned)(x))

static volatile unsigned sum;
static const size_t PAGE = 4096;

static void *pages(size_t n, int prot)
{
	void *p = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static void report(const char *part)
{
	printf("%s: %08x\n", part, sum);
	fflush(stdout);
}

NOINLINE static unsigned down(unsigned n)
{
	unsigned r = n ? down(n - 1) : 7;
	HOLD(r);
	return r * 3 + n;
}

static ucontext_t back, other;

static void deeply(void)
{
	for (unsigned n = 1; n <= 1000000; n *= 10)
		MIX(down(n));
	for (int i = 0; i < 3; i++)
		MIX(down(1000000));
}

static void on_stack(void (*f)(void), size_t bytes)
{
	getcontext(&other);
	other.uc_stack.ss_sp = pages(bytes / PAGE, PROT_READ | PROT_WRITE);
	other.uc_stack.ss_size = bytes;
	other.uc_link = &back;
	makecontext(&other, f, 0);
	swapcontext(&back, &other);
	munmap(other.uc_stack.ss_sp, bytes);
}

/* Jumps over frames. */
static jmp_buf places[8];

NOINLINE static unsigned leap(unsigned depth, unsigned to)
{
	if (!depth)
		longjmp(places[to], (int)to + 1);
	unsigned r = leap(depth - 1, to);
	HOLD(r);
	return r + depth;
}

NOINLINE static unsigned nest(unsigned level, unsigned depth, unsigned to)
{
	volatile unsigned kept = level * depth;
	if (setjmp(places[level]) == 0) {
		if (level < 7)
			kept += nest(level + 1, depth, to);
		else
			kept += leap(depth, to);
	} else {
		kept += 1000 + down(level);
	}
	return kept + down(3);
}

static void leaps(void)
{
	for (unsigned i = 0; i < 4000; i++)
		MIX(nest(0, i % 37, i % 8));
}

/* Stacks that take turns in the middle of their recursions. */
#define COROUTINES 3
static ucontext_t turns[COROUTINES], home;
static unsigned running, left;

NOINLINE static unsigned wander(unsigned n, unsigned seed)
{
	if (!n)
		return seed;
	if (seed % 5 == 0 && left) {
		unsigned me = running;
		left--;
		running = (me + 1) % COROUTINES;
		swapcontext(&turns[me], &turns[running]);
	}
	unsigned a = wander(n - 1, seed * 5 + 3), b = wander(n / 2, a);
	HOLD(b);
	return a + b + n;
}

static void coroutine(int me)
{
	for (unsigned i = 0; left; i++)
		MIX(wander(5 + (i + me) % 7, i + me));
	setcontext(&home);
}

static void coroutines(void)
{
	volatile int done = 0;
	left = 3000;
	running = 0;
	for (volatile int k = 0; k < COROUTINES; k++) {
		getcontext(&turns[k]);
		turns[k].uc_stack.ss_sp = pages(32, PROT_READ | PROT_WRITE);
		turns[k].uc_stack.ss_size = 32 * PAGE;
		turns[k].uc_link = &home;
		makecontext(&turns[k], (void (*)(void))coroutine, 1, k);
	}
	getcontext(&home);
	if (!done) {
		done = 1;
		setcontext(&turns[0]);
	}
	for (volatile int k = 0; k < COROUTINES; k++)
		munmap(turns[k].uc_stack.ss_sp, 32 * PAGE);
}

/* Calls that are jumps, as compilers make them of calls at a function's end. */
static unsigned odd(unsigned n, unsigned a);
NOINLINE static unsigned even(unsigned n, unsigned a) { return n ? odd(n - 1, a * 3) : a; }
NOINLINE static unsigned odd(unsigned n, unsigned a) { return n ? even(n - 1, a + 5) : ~a; }

static void tails(void)
{
	static unsigned (*const both[])(unsigned, unsigned) = {even, odd};
	for (unsigned i = 0; i < 2000; i++)
		MIX(both[i / 3 % 2](i % 97, i));
}

#ifdef __x86_64__
#define SP "%%rsp"
#define AX "%%rax"
#define WORD "q"
#else
#define SP "%%esp"
#define AX "%%eax"
#define WORD "l"
#endif
#ifdef __x86_64__
/* What is pushed here must not lie in the red zone. */
#define APART(code) "lea -128(%%rsp), %%rsp\n" code "lea 128(%%rsp), %%rsp\n"
#else
#define APART(code) code
#endif

/* Return addresses that are not those of the calls. */
static void tampered(void)
{
	for (unsigned i = 0; i < 3000; i++) {
		unsigned r = i;
		/* Goes on behind the three-byte instruction that follows the call, or at it. */
		asm volatile(APART("call 1f\n"
				   "2: lea 7(" AX "), %%ecx\n"
				   ".byte 0x83, 0xc0, 0x20\n"
				   "jmp 4f\n"
				   "1: test $1, %%al\n"
				   "jz 3f\n"
				   "add" WORD " $3, (" SP ")\n"
				   "3: ret\n"
				   "4:\n")
			     : "+a"(r)::"ecx", "memory", "cc");
		MIX(r);
		/* Code that learns where it is. */
		asm volatile(APART("call 1f\n"
				   "1: pop" WORD " " AX "\n"
				   "lea 2f-1b(" AX "), " AX "\n"
				   "push" WORD " " AX "\n"
				   "ret\n"
				   ".byte 0x0f, 0x0b\n"
				   "2: mov $5, %%eax\n")
			     : "=a"(r)::"memory", "cc");
		MIX(r);
		/* A computed jump in the guise of a return. */
		asm volatile(APART("call 1f\n"
				   "2: pause\n"
				   "jmp 2b\n"
				   "1: add" WORD " $3f-2b, (" SP ")\n"
				   "ret\n"
				   "3: mov $9, %%eax\n")
			     : "=a"(r)::"memory", "cc");
		MIX(r + down(2));
	}
}

/* A caller that is not there any more as it was when its call returns. */
static uint8_t *caller;
static unsigned round_;

enum { IMM = 16 };

static void write_caller(uint8_t *at, uintptr_t callee, unsigned value)
{
	uint8_t code[64], *c = code;
#ifdef __x86_64__
	const uint8_t head[] = {0x48, 0x83, 0xec, 8, 0x48, 0xb8};
	memcpy(c, head, sizeof head), c += sizeof head;
	memcpy(c, &callee, 8), c += 8;
	*c++ = 0xff, *c++ = 0xd0;
	*c++ = 0xb8, memcpy(c, &value, 4), c += 4;
	const uint8_t tail[] = {0x48, 0x83, 0xc4, 8, 0xc3};
#else
	const uint8_t head[] = {0x83, 0xec, 12, 0xb8};
	memcpy(c, head, sizeof head), c += sizeof head;
	memcpy(c, &callee, 4), c += 4;
	/* As long as in the other width. */
	for (int i = 0; i < 6; i++)
		*c++ = 0x90;
	*c++ = 0xff, *c++ = 0xd0;
	*c++ = 0xb8, memcpy(c, &value, 4), c += 4;
	const uint8_t tail[] = {0x83, 0xc4, 12, 0xc3};
#endif
	memcpy(c, tail, sizeof tail), c += sizeof tail;
	memcpy(at, code, c - code);
}

NOINLINE static void leaves_alone(void) { MIX(1); }

NOINLINE static void rewrites(void)
{
	if (round_ % 3 == 0) {
		unsigned value = round_ * 77;
		memcpy(caller + IMM + 1, &value, 4);
	}
	MIX(down(round_ % 5));
}

NOINLINE static void replaces(void)
{
	if (round_ % 4 == 0) {
		munmap(caller, PAGE);
		void *p = mmap(caller, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		if (p != caller)
			exit(2);
		write_caller(caller, (uintptr_t)replaces, round_ * 13);
	}
	MIX(down(round_ % 5));
}

static sigjmp_buf out;
static void *volatile fault_at;

static void on_fault(int s, siginfo_t *info, void *context)
{
	(void)s, (void)context;
	fault_at = info->si_addr;
	siglongjmp(out, 1);
}

NOINLINE static void removes(void)
{
	if (round_ % 5 == 0)
		mprotect(caller, PAGE, PROT_NONE);
	MIX(down(round_ % 5));
}

static void callers(void)
{
	void (*const callees[])(void) = {leaves_alone, rewrites, replaces, removes};
	for (volatile int k = 0; k < 4; k++) {
		caller = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
		write_caller(caller, (uintptr_t)callees[k], 40 + k);
		for (round_ = 1; round_ < 200; round_++) {
			if (sigsetjmp(out, 1) == 0) {
				MIX(((unsigned (*)(void))caller)());
			} else {
				MIX((uint8_t *)fault_at - caller);
				mprotect(caller, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
			}
		}
		munmap(caller, PAGE);
	}
}

/* Signals in the middle of recursions, whose handlers return elsewhere or not at all. */
static volatile unsigned *nowhere;

/* Where a handler returns to; no frame is below it. */
NOINLINE static void elsewhere(void)
{
	MIX(down(13));
	siglongjmp(out, 2);
}

static void redirect(int s, siginfo_t *info, void *context)
{
	(void)s, (void)info;
	ucontext_t *u = context;
#ifdef __x86_64__
	greg_t *sp = &u->uc_mcontext.gregs[REG_RSP], *pc = &u->uc_mcontext.gregs[REG_RIP];
#else
	greg_t *sp = &u->uc_mcontext.gregs[REG_ESP], *pc = &u->uc_mcontext.gregs[REG_EIP];
#endif
	/* Past the red zone, aligned as behind a call. */
	*sp = ((*sp - 128) & -16) - (greg_t)sizeof(void *);
	*(void **)(uintptr_t)*sp = (void *)abort;
	*pc = (greg_t)(uintptr_t)elsewhere;
}

NOINLINE static unsigned fault_below(unsigned n)
{
	unsigned r = n ? fault_below(n - 1) : *nowhere;
	HOLD(r);
	return r + n;
}

NOINLINE static unsigned raise_below(unsigned n)
{
	if (!n) {
		raise(SIGUSR1);
		return 3;
	}
	unsigned r = raise_below(n - 1);
	HOLD(r);
	return r * 5 + n;
}

static void on_usr1(int s) { MIX(s + down(11)); }

extern char resume_here[];

static void skip(int s, siginfo_t *info, void *context)
{
	(void)s, (void)info;
	ucontext_t *u = context;
#ifdef __x86_64__
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)resume_here;
#else
	u->uc_mcontext.gregs[REG_EIP] = (greg_t)(uintptr_t)resume_here;
#endif
	MIX(down(5));
}

static void handle(int signal, void (*f)(int, siginfo_t *, void *))
{
	struct sigaction a = {.sa_sigaction = f, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigaction(signal, &a, NULL);
}

/* Its fault is left by a return from another place of it. */
NOINLINE static unsigned skipped(unsigned n)
{
	if (n) {
		unsigned r = skipped(n - 1);
		HOLD(r);
		return r * 7 + n;
	}
	asm volatile("ud2\n"
		     ".globl resume_here\n"
		     "resume_here:\n" ::: "memory", "cc");
	return 6;
}

static void signals(void)
{
	nowhere = pages(1, PROT_NONE);
	handle(SIGSEGV, on_fault);
	handle(SIGILL, skip);
	signal(SIGUSR1, on_usr1);
	for (volatile unsigned i = 0; i < 600; i++) {
		if (sigsetjmp(out, 1) == 0)
			MIX(fault_below(i % 61));
		else
			MIX((volatile unsigned *)fault_at - nowhere);
		MIX(raise_below(i % 23));
		MIX(skipped(i % 19));
	}
	/* A fault below more frames than any host predicts. */
	handle(SIGSEGV, redirect);
	for (volatile unsigned i = 0; i < 20; i++)
		MIX(sigsetjmp(out, 1) == 0 ? fault_below(20000 + i) : down(i));
}

int main(void)
{
	handle(SIGSEGV, on_fault);
	on_stack(deeply, 256 << 20), report("deep");
	leaps(), report("leaps");
	coroutines(), report("coroutines");
	tails(), report("tails");
	tampered(), report("tampered");
	callers(), report("callers");
	signals(), report("signals");
	return 0;
}
