// Calls through a pointer: libc's qsort with a callback.
#include <stdio.h>
#include <stdlib.h>
static int compare(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}
int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 2000000;
    int *a = malloc(n * sizeof *a);
    unsigned s = 1;
    for (int i = 0; i < n; i++) a[i] = (s = s * 1664525 + 1013904223) >> 1;
    qsort(a, n, sizeof *a, compare);
    printf("%d %d\n", a[0], a[n / 2]);
}
