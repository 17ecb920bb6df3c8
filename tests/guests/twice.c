/* Code that is written where it is mapped a second time. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int file;

/* Returns a number: mov eax, n; ret. */
static void put(unsigned char *at, int n)
{
	at[0] = 0xb8;
	memcpy(at + 1, &n, 4);
	at[5] = 0xc3;
}

static int run(unsigned char *at)
{
	int sum = 0;
	/* Often enough for the code to be compiled. */
	for (int i = 0; i < 100; i++)
		sum += ((int (*)(void))at)();
	return sum;
}

static unsigned char *map(int prot, int pages, int offset)
{
	return mmap(0, pages * 4096, prot, MAP_SHARED, file, offset * 4096L);
}

int main(void)
{
	file = memfd_create("code", 0);
	ftruncate(file, 4 * 4096);
	unsigned char *code = map(PROT_READ | PROT_EXEC, 4, 0);
	unsigned char *text = map(PROT_READ | PROT_WRITE, 4, 0);

	for (int n = 1; n < 6; n++) {
		put(text + 100, n);
		printf("%d\n", run(code + 100));
	}
	/* Only the number. */
	text[101] = 9;
	printf("%d\n", run(code + 100));
	/* More often than a page is protected for. */
	int sum = 0;
	for (int n = 0; n < 200; n++) {
		put(text + 100, n);
		sum += run(code + 100);
	}
	printf("%d\n", sum);
	/* By the kernel. */
	int ends[2], eight = 8;
	pipe(ends);
	write(ends[1], &eight, sizeof eight);
	read(ends[0], text + 101, sizeof eight);
	printf("%d\n", run(code + 100));
	/* Across two pages. */
	put(text + 4094, 10);
	printf("%d\n", run(code + 4094));
	put(text + 4094, 0x01020304);
	printf("%d\n", run(code + 4094) == 100 * 0x01020304);
	/* In places mapped when the code has run: part of the file, made writable, moved, grown. */
	put(text + 2 * 4096, 11);
	munmap(text, 4 * 4096);
	printf("%d\n", run(code + 2 * 4096));
	unsigned char *part = map(PROT_READ | PROT_WRITE, 1, 2);
	part[1] = 12;
	printf("%d\n", run(code + 2 * 4096));
	mprotect(part, 4096, PROT_READ);
	printf("%d\n", run(code + 2 * 4096));
	mprotect(part, 4096, PROT_READ | PROT_WRITE);
	part[1] = 13;
	printf("%d\n", run(code + 2 * 4096));
	unsigned char *room = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	part = mremap(part, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	part[1] = 14;
	printf("%d\n", run(code + 2 * 4096));
	put(part + 100, 15);
	printf("%d\n", run(code + 2 * 4096 + 100));
	part = map(PROT_READ | PROT_WRITE, 1, 1);
	part = mremap(part, 4096, 2 * 4096, MREMAP_MAYMOVE);
	part[4096 + 101] = 16;
	printf("%d\n", run(code + 2 * 4096 + 100));
	/* Two places to run it. */
	unsigned char *again = map(PROT_READ | PROT_WRITE | PROT_EXEC, 4, 0);
	printf("%d\n", run(again + 2 * 4096 + 100));
	part[4096 + 101] = 17;
	printf("%d %d\n", run(again + 2 * 4096 + 100), run(code + 2 * 4096 + 100));
	again[2 * 4096 + 101] = 18;
	printf("%d %d\n", run(again + 2 * 4096 + 100), run(code + 2 * 4096 + 100));
	return 0;
}
