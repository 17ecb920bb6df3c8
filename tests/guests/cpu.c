/* What processor this is: CPUID, XCR0 and the auxiliary vector; runs one AVX instruction if the
   argument says so. */
#include <cpuid.h>
#include <stdint.h>
#include <stdio.h>

enum { HWCAP = 16, HWCAP2 = 26 };

/* An entry of the vector behind the environment: the C library's own copy is edited. */
static unsigned long auxiliary(char **env, unsigned long key) {
    while (*env) env++;
    for (unsigned long *entry = (unsigned long *)(env + 1); entry[0]; entry += 2)
        if (entry[0] == key) return entry[1];
    return 0;
}

int main(int argc, char **argv, char **env) {
    unsigned a, b, c, d;
    __get_cpuid(1, &a, &b, &c, &d);
    printf("sse4.2 %u, osxsave %u, avx %u, fma %u\n", c >> 20 & 1, c >> 27 & 1, c >> 28 & 1,
           c >> 12 & 1);
    printf("hwcap agrees %d\n", auxiliary(env, HWCAP) == d);
    if (c >> 27 & 1) {
        uint32_t low, high;
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        printf("xcr0 %u\n", low & 7);
    }
    unsigned max = __get_cpuid_max(0, 0);
    b = c = 0;
    if (max >= 7) __cpuid_count(7, 0, a, b, c, d);
    printf("avx2 %u, bmi1 %u, bmi2 %u, fsgsbase agrees %d\n", b >> 5 & 1, b >> 3 & 1, b >> 8 & 1,
           sizeof(long) == 4 || (auxiliary(env, HWCAP2) >> 1 & 1) == (b & 1));
    __cpuid(0x80000001, a, b, c, d);
    printf("lzcnt %u\n", c >> 5 & 1);
    if (argc > 1) {
        __asm__ volatile("vpxor %ymm0, %ymm0, %ymm0");
        printf("executed\n");
    }
    return 0;
}
