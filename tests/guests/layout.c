/* Fixed mappings where programs of this width have them natively: the shadows, origins and heaps of
 * the sanitizers' run times, and the program, libraries and stack where those expect them. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define T 0x10000000000UL /* 1 TiB */

static void touch(const char *what, unsigned long start, unsigned long end)
{
	char *at = mmap((void *)start, end - start, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED) {
		printf("%s: error %d\n", what, errno);
		return;
	}
	unsigned long last = end - start - 1;
	at[0] = 1, at[last] = 2, at[last / 2] = 3;
	/* The kernel looks at the range as well. */
	int advised = madvise(at, 4096, MADV_DONTNEED), named = access(at + last - 1, F_OK);
	printf("%s: %d %d %d, %d, %d\n", what, at[0], at[last], at[last / 2], advised, named);
	printf("%d\n", munmap(at, end - start));
}

static int within(void *p, unsigned long start, unsigned long end)
{
	return (unsigned long)p >= start && (unsigned long)p < end;
}

int main(void)
{
	int local;
	touch("shadow of addresses below", 0x7fff8000, T);
	touch("shadow", T, 0x20 * T);
	touch("meta shadow", 0x30 * T, 0x34 * T);
	touch("shadow of the program", 0x50 * T, 0x51 * T);
	touch("allocator", 0x60 * T, 0x64 * T);
	touch("between program and heap", 0x5680 * T / 256, 0x7b * T);
	touch("heap", 0x7b * T, 0x7c * T);
	/* What lies between is not mapped; what does not is. */
	char *low = mmap((void *)T, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	char *high = mmap((void *)(0x60 * T), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	printf("%d", mprotect(low, high + 4096 - low, PROT_NONE));
	printf(" %d\n", errno);
	printf("%d", madvise(low, high + 4096 - low, MADV_NORMAL));
	printf(" %d\n", errno);
	printf("%d %d\n", within(low, T, 2 * T), within(high, 0x60 * T, 0x61 * T));
	void *moved = mremap(low, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, high);
	printf("%d\n", moved == high);
	/* Below 2 GiB whatever the hint: one that is taken, one too high. */
	char *first = mmap(0, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	char *second = mmap(first, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	char *third = mmap((void *)T, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	printf("%d %d\n", second != first && within(second, 65536, 1UL << 31), within(third, 65536, 1UL << 31));
	puts(within(main, 0x55 * T, 0x5680 * T / 256) ? "program in its place" : "program elsewhere");
	puts(within(&local, 0x7e80 * T / 256, 0x80 * T) ? "stack in its place" : "stack elsewhere");
	puts(within(puts, 0x7e80 * T / 256, 0x80 * T) ? "libraries in their place" : "libraries elsewhere");
	return 0;
}
