// Matrix multiplication, doubles.
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 500;
    double *a = malloc(8 * n * n), *b = malloc(8 * n * n), *c = calloc(n * n, 8);
    for (int i = 0; i < n * n; i++) a[i] = i % 7, b[i] = i % 11;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            for (int j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
    printf("%.1f\n", c[n * n / 2]);
}
