/* SIMD exceptions the guest has unmasked, in code that has run long before: the handler sees the
   instruction, all registers and flags as they were, and the loop goes on when it masks them. */
#define _GNU_SOURCE
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#ifdef __x86_64__
#define R(x) "%%r" #x
#define IP REG_RIP
#define AX REG_RAX
#define CX REG_RCX
#define DX REG_RDX
#define FXSAVE 0
#else
#define R(x) "%%e" #x
#define IP REG_EIP
#define AX REG_EAX
#define CX REG_ECX
#define DX REG_EDX
#define FXSAVE 112
#endif

#define COUNT 3000
#define BAD 2500

static double values[COUNT][2] __attribute__((aligned(16)));
static uintptr_t start;
static sigjmp_buf env;
static int leave;

static void on(int s, siginfo_t *i, void *c) {
    ucontext_t *u = c;
    greg_t *g = u->uc_mcontext.gregs;
    unsigned char *fx = (unsigned char *)u->uc_mcontext.fpregs + FXSAVE;
    uint32_t csr;
    uint64_t x[6];
    memcpy(&csr, fx + 24, 4);
    memcpy(x, fx + 160, sizeof x);
    /* Tier 0 does not know exactly whether a result out of range is inexact. */
    uint32_t shown = csr & 0x18 & ~(csr >> 7) ? csr & ~0x20u : csr;
    printf("  sig %d code %d trap %d at +%ld addr %s ax %lx cx %ld dx %lx flags %x mxcsr %x\n", s, i->si_code,
           (int)g[REG_TRAPNO], (long)(g[IP] - start), (uintptr_t)i->si_addr == (uintptr_t)g[IP] ? "ip" : "?",
           (unsigned long)g[AX], (long)g[CX], (unsigned long)g[DX], (unsigned)g[REG_EFL] & 0x8d5, shown);
    for (int n = 0; n < 6; n++) printf(" %016llx", (unsigned long long)x[n]);
    puts("");
    if (leave) siglongjmp(env, 1);
    csr |= 0x1f80;
    memcpy(fx + 24, &csr, 4);
}

/* Goes through the values with `op` on xmm0 (1.5, 2.5) and xmm1 (a value), between changes of
   registers and flags. */
#define LOOP(name, op)                                                                             \
    static uint64_t name(void) {                                                                   \
        static const double first[2] __attribute__((aligned(16))) = {1.5, 2.5};                    \
        uint64_t sum[2] __attribute__((aligned(16)));                                              \
        uintptr_t at = (uintptr_t)values, from = (uintptr_t)first;                                 \
        __asm__ volatile("call 9f\n9: pop " R(dx) "\n"                                             \
                         "lea 1f-9b(" R(dx) "), " R(ax) "\n"                                       \
                         "mov " R(ax) ", %2\n"                                                     \
                         "xor %%ecx, %%ecx\n"                                                      \
                         "pxor %%xmm2, %%xmm2\n"                                                   \
                         "1: movapd (%1), %%xmm0\n"                                                \
                         "movapd (%0), %%xmm1\n"                                                   \
                         "mov %%ecx, %%edx\n"                                                      \
                         "xor $0x55, %%edx\n"                                                      \
                         "lea 7(" R(cx) "," R(cx) ",2), %%eax\n"                                   \
                         "add $1, %%ecx\n"                                                         \
                         "and $0x70f, %%eax\n" op "\n"                                             \
                         "mov $0x1234, %%eax\n"                                                    \
                         "mov %%ecx, %%edx\n"                                                      \
                         "paddq %%xmm0, %%xmm2\n"                                                  \
                         "add $16, %0\n"                                                           \
                         "cmp %5, %%ecx\n"                                                         \
                         "jb 1b\n"                                                                 \
                         "movapd %%xmm2, (%4)\n"                                                   \
                         : "+r"(at), "+r"(from), "=m"(start)                                       \
                         : "0"(at), "r"(sum), "i"(COUNT)                                           \
                         : "ecx", "eax", "edx", "memory", "xmm0", "xmm1", "xmm2", "cc");           \
        return sum[0] ^ sum[1];                                                                    \
    }

LOOP(divsd, "divsd %%xmm1, %%xmm0")
LOOP(divpd, "divpd %%xmm1, %%xmm0")
LOOP(divps, "divps %%xmm1, %%xmm0")
LOOP(mulsd, "mulsd %%xmm1, %%xmm0\nmulsd %%xmm1, %%xmm0")
LOOP(sqrtsd, "sqrtsd %%xmm1, %%xmm0")
LOOP(addss, "addss %%xmm1, %%xmm0")
LOOP(narrow, "cvtsd2ss %%xmm1, %%xmm0")
LOOP(whole, "cvttsd2si %%xmm1, %%edx\nmovd %%edx, %%xmm0")
LOOP(quiet, "ucomisd %%xmm1, %%xmm0")
LOOP(less, "comisd %%xmm1, %%xmm0\nseta %%dl")
LOOP(memory, "divsd (%0), %%xmm0")
LOOP(least, "minpd %%xmm1, %%xmm0")

static const struct {
    const char *name;
    uint64_t (*run)(void);
} loops[] = {{"divsd", divsd},   {"divpd", divpd},   {"divps", divps}, {"mulsd", mulsd},
             {"sqrtsd", sqrtsd}, {"addss", addss},   {"cvtsd2ss", narrow}, {"cvttsd2si", whole},
             {"ucomisd", quiet}, {"comisd", less},   {"divsd mem", memory}, {"minpd", least}};

static const uint64_t bad[][2] = {
    {0, 0},                                        /* zero */
    {0x4000000000000000, 0x8000000000000000},      /* minus zero above */
    {0x7ff0000000000001, 0x4000000000000000},      /* signalling */
    {0x7ff8000000000001, 0x4000000000000000},      /* quiet */
    {0x0000000000000123, 0x0000000000000001},      /* denormal */
    {0x7fefffffffffffff, 0x7fefffffffffffff},      /* huge */
    {0x0010000000000001, 0x3ff0000000000000},      /* tiny */
    {0xbff0000000000000, 0xbff0000000000000},      /* negative */
};

static void set(unsigned csr) { __asm__ volatile("ldmxcsr %0" ::"m"(csr)); }

int main(void) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGFPE, &sa, 0);
    for (int n = 0; n < COUNT; n++) values[n][0] = values[n][1] = 4.0;
    /* All of it runs, and masks are loaded, before anything is unmasked. */
    for (unsigned l = 0; l < sizeof loops / sizeof *loops; l++)
        for (int n = 0; n < 20; n++) {
            set(0x1f80);
            loops[l].run();
        }
    static const unsigned masks[] = {0x1f80 & ~0x200, 0x1f80 & ~0x80, 0x1f80 & ~0xc80, 0x1f80 & ~0x100, 0x1000};
    for (unsigned m = 0; m < sizeof masks / sizeof *masks; m++)
        for (unsigned l = 0; l < sizeof loops / sizeof *loops; l++)
            for (unsigned b = 0; b < sizeof bad / sizeof *bad; b++) {
                memcpy(values[BAD], bad[b], 16);
                printf("%x %s %u\n", masks[m], loops[l].name, b);
                set(masks[m]);
                uint64_t sum = loops[l].run();
                set(0x1f80);
                printf("  %llx\n", (unsigned long long)sum);
            }
    /* Precision, and a way out of the handler. */
    leave = 1;
    for (unsigned l = 0; l < sizeof loops / sizeof *loops; l++) {
        values[BAD][0] = values[BAD][1] = 7.0;
        printf("%s\n", loops[l].name);
        if (!sigsetjmp(env, 1)) {
            set(0x0f80);
            printf("  %llx\n", (unsigned long long)loops[l].run());
        }
        set(0x1f80);
    }
    /* By way of the C library, and x87 too. */
    leave = 0;
    feenableexcept(FE_DIVBYZERO);
    values[BAD][0] = 0;
    printf("%llx\n", (unsigned long long)divsd());
    printf("%x\n", (unsigned)fegetexcept());
    return 0;
}
