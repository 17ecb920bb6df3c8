/* The local descriptor table: descriptors, selectors, what instructions say about them, threads and
 * children, signal frames. */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The segment register that the C library does not use. */
#ifdef __x86_64__
#define S "gs"
#else
#define S "fs"
#endif

static long modify(int f, void *p, unsigned long n)
{
	long r = syscall(SYS_modify_ldt, f, p, n);
	return r == -1 ? -errno : r;
}

static unsigned *memory;

static struct user_desc desc(unsigned entry, unsigned base, unsigned limit)
{
	struct user_desc d;
	memset(&d, 0, sizeof d);
	d.entry_number = entry;
	d.base_addr = base;
	d.limit = limit;
	d.seg_32bit = 1;
	d.useable = 1;
	return d;
}

static void load(unsigned selector) { asm volatile("mov %w0, %%" S :: "r"(selector)); }
static unsigned selector(void)
{
	unsigned s;
	asm volatile("mov %%" S ", %0" : "=r"(s));
	return s & 0xffff;
}
static unsigned value(long at)
{
	unsigned v;
	asm volatile("movl %%" S ":(%1), %0" : "=r"(v) : "r"(at));
	return v;
}

static void describe(unsigned s)
{
	unsigned lar = 0, lsl = 0;
	unsigned char has_lar, has_lsl, r, w;
	asm volatile("lar %2, %0; setz %1" : "+r"(lar), "=q"(has_lar) : "r"(s));
	asm volatile("lsl %2, %0; setz %1" : "+r"(lsl), "=q"(has_lsl) : "r"(s));
	asm volatile("verr %w1; setz %0" : "=q"(r) : "r"(s));
	asm volatile("verw %w1; setz %0" : "=q"(w) : "r"(s));
	printf("%#x: lar %d %#x, lsl %d %#x, read %d, write %d\n", s, has_lar, lar & 0xf0ff00, has_lsl, lsl, r, w);
}

static sigjmp_buf env;
static int got;
static void fault(int s)
{
	got = s;
	siglongjmp(env, 1);
}
static void quiet(int s)
{
	got = s;
	load(0);
}

static void try(unsigned s)
{
	got = 0;
	if (sigsetjmp(env, 1) == 0)
		load(s);
	printf("load %#x: signal %d, selector %#x\n", s, got, selector());
}

static void *thread(void *arg)
{
	load(7);
	printf("thread %u\n", value(0));
	struct user_desc d = desc(3, (uintptr_t)(memory + 64), 0xfffff);
	d.limit_in_pages = 1;
	printf("write in a thread %ld\n", modify(0x11, &d, sizeof d));
	return NULL;
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_32BIT
	flags |= MAP_32BIT;
#endif
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
	for (int i = 0; i < 1024; i++)
		memory[i] = i;
	uint64_t table[16];
	memset(table, 0x55, sizeof table);
	printf("empty %ld\n", modify(0, table, sizeof table));
	printf("default %ld\n", modify(2, table, 24));
	printf("unknown %ld\n", modify(7, table, 24));
	struct user_desc d = desc(0, (uintptr_t)(memory + 10), 0xfffff);
	printf("size %ld\n", modify(0x11, &d, 15));
	printf("nowhere %ld\n", modify(0x11, (void *)16, sizeof d));
	d.limit_in_pages = 1;
	printf("write %ld\n", modify(0x11, &d, sizeof d));
	d = desc(2, (uintptr_t)(memory + 20), 99);
	d.read_exec_only = 1;
	printf("read-only %ld\n", modify(1, &d, sizeof d));
	d = desc(4, 0, 0);
	d.seg_not_present = 1;
	d.contents = 1;
	printf("not present %ld\n", modify(0x11, &d, sizeof d));
	d = desc(8192, 0, 0);
	printf("beyond %ld\n", modify(0x11, &d, sizeof d));
	d = desc(5, 0, 0);
	d.contents = 3;
	printf("conforming %ld, first form %ld\n", modify(0x11, &d, sizeof d), modify(1, &d, sizeof d));
	long n = modify(0, table, sizeof table);
	printf("read %ld:", n);
	for (int i = 0; i < 6; i++)
		printf(" %llx", (unsigned long long)table[i] & 0x00ffff000000ffff);
	printf("\n");
	printf("little %ld, nowhere %ld\n", modify(0, table, 12), modify(0, (void *)16, 8));

	load(7);
	printf("values %u %u, selector %#x\n", value(0), value(8), selector());
	d = desc(0, (uintptr_t)(memory + 100), 0xfffff);
	d.limit_in_pages = 1;
	printf("change %ld\n", modify(0x11, &d, sizeof d));
	load(7);
	printf("values %u %u\n", value(0), value(8));
	load(0x17);
	printf("read-only value %u\n", value(4));
	for (unsigned s = 7; s < 0x37; s += 8)
		describe(s);
	struct sigaction sa = {.sa_handler = fault};
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	load(0);
	try(0xf);
	try(0x27);
	try(0x87);
	try(0xfff7);
	try(5);
	load(0);
	pthread_t t;
	pthread_create(&t, NULL, thread, NULL);
	pthread_join(t, NULL);
	load(0x1f);
	printf("a thread's entry %u\n", value(0));
	pid_t child = fork();
	if (child == 0) {
		printf("child %u\n", value(4));
		load(7);
		printf("child %u\n", value(4));
		_exit(0);
	}
	waitpid(child, NULL, 0);
#ifdef __i386__
	/* The 32-bit frame holds the selector. */
	load(7);
	sa.sa_handler = quiet;
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	printf("behind a handler %#x %u\n", selector(), value(0));
	load(0);
#endif
	d = desc(0, 0, 0);
	d.seg_32bit = d.useable = 0;
	d.read_exec_only = d.seg_not_present = 1;
	printf("clear %ld\n", modify(0x11, &d, sizeof d));
	try(7);
	return 0;
}
