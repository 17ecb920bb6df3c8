/* The 32-bit system calls of a 64-bit program: structures are those of 32 bits, and nothing behind them is touched. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static long call(long number, long a, long b, long c)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
}

/* How many bytes a call fills. */
static int filled(const unsigned char *p, int n, unsigned char with)
{
	while (n > 0 && p[n - 1] == with)
		n--;
	return n;
}

int main(void)
{
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint32_t *words = (uint32_t *)p;
	long at = (long)p;
	int fd = open("/", O_RDONLY);
	struct {
		const char *name;
		long number, a, b, c;
	} calls[] = {
		{"getitimer", 105, 0, at, 0},
		{"fstatfs", 100, fd, at, 0},
		{"gettimeofday", 78, at, 0, 0},
		{"clock_getres", 266, 1, at, 0},
		{"ugetrlimit", 191, 3, at, 0},
		{"sched_rr_get_interval", 161, 0, at, 0},
	};
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		int n[2];
		long r = 0;
		for (int k = 0; k < 2; k++) {
			memset(p, k ? 0x55 : 0xaa, 4096);
			r = call(calls[i].number, calls[i].a, calls[i].b, calls[i].c);
			n[k] = filled(p, 4096, k ? 0x55 : 0xaa);
		}
		printf("%s: %ld, %d bytes\n", calls[i].name, r, n[0] > n[1] ? n[0] : n[1]);
	}
	memset(p, 0xaa, 4096);
	printf("times: %d bytes\n", call(43, at, 0, 0) == -1 ? -1 : filled(p, 4096, 0xaa) <= 16);
	words[0] = 0, words[1] = 1000;
	printf("nanosleep: %ld\n", call(162, at, 0, 0));
	words[0] = 0, words[1] = -1;
	printf("nanosleep of too many ns: %ld\n", call(162, at, 0, 0));
	printf("write: %ld\n", call(4, 1, (long)memcpy(p, "text\n", 5), 5));
	return 0;
}
