/* Calls and returns: a deep recursion, and small functions called from many places. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static unsigned ways(unsigned n)
{
	return n < 2 ? 1 : ways(n - 1) + ways(n - 2);
}

__attribute__((noinline)) static unsigned mix(unsigned a, unsigned b)
{
	return (a ^ b << 3) + (b >> 5);
}

__attribute__((noinline)) static unsigned step(unsigned a)
{
	unsigned x = mix(a, 1);
	x = mix(x, a) + mix(a, x);
	if (x & 64)
		x = mix(x, 7);
	return mix(x, 3) ^ mix(a, 9);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? atoi(argv[1]) : 36, x = 1;
	for (unsigned i = 0; i < 6000000; i++)
		x = step(x + i);
	printf("%u %u\n", ways(n), x);
	return 0;
}
