// Byte stores: the sieve of Eratosthenes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 12, n = 4000000, count = 0;
    char *c = malloc(n);
    while (rounds--) {
        memset(c, 1, n);
        for (int i = 2; i * i < n; i++)
            if (c[i]) for (int j = i * i; j < n; j += i) c[j] = 0;
        count = 0;
        for (int i = 2; i < n; i++) count += c[i];
    }
    printf("%d\n", count);
}
