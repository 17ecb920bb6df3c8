// String hashing and table look-ups.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static unsigned table[1 << 16];
int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 4000000;
    unsigned sum = 0;
    char buf[32];
    memcpy(buf, "key-00000000-tail", 18);
    for (int i = 0; i < n; i++) {
        for (int j = 11, x = i; j > 3; j--, x /= 10) buf[j] = '0' + x % 10;
        unsigned h = 2166136261u;
        for (const char *p = buf; *p; p++) h = (h ^ (unsigned char)*p) * 16777619u;
        sum += table[h & 0xffff]++;
    }
    printf("%u\n", sum);
}
