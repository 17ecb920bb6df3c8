/* One error of the kind named, for a sanitizer to find. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shared;

/* Looking for leaks takes a process that traces this one. */
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static void *adds(void *unused)
{
	for (int i = 0; i < 1000; i++)
		shared++;
	return unused;
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "none";
	volatile char *block = malloc(10);
	int array[4] = {0};
	volatile int index = 4, most = 2147483647;

	memset((char *)block, 1, 10);
	printf("%d\n", block[9]);
	fflush(stdout);
	if (!strcmp(kind, "heap"))
		block[index + 6] = 1;
	free((char *)block);
	if (!strcmp(kind, "freed"))
		printf("%d\n", (block[index], 1));
	if (!strcmp(kind, "stack"))
		((volatile int *)array)[index] = 1;
	if (!strcmp(kind, "overflow"))
		printf("%d\n", most + index);
	if (!strcmp(kind, "race")) {
		pthread_t one, two;
		pthread_create(&one, 0, adds, 0);
		pthread_create(&two, 0, adds, 0);
		pthread_join(one, 0);
		pthread_join(two, 0);
	}
	return 7;
}
