// A tight integer loop with unpredictable branches.
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    unsigned long long best = 0, n = argc > 1 ? atoi(argv[1]) : 1200000;
    for (unsigned long long i = 1; i < n; i++) {
        unsigned long long x = i, steps = 0;
        while (x != 1) x = x & 1 ? 3 * x + 1 : x / 2, steps++;
        if (steps > best) best = steps;
    }
    printf("%llu\n", best);
}
