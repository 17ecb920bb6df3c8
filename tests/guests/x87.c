/* Values that stay on the x87 stack while everything else happens: calls, string instructions, MMX,
 * faults, signals, forks, other threads, stores into code. */
#define _GNU_SOURCE
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"

static char from[64] = "some bytes to be moved", to[64];

/* a += 1/b every time, with both on the stack across other instructions. */
static long double mixed(int n) {
    long double a = 1, b = 3;
    for (int k = 0; k < n; k++) {
        void *s = from, *d = to;
        unsigned long count = 23;
        asm volatile("fld1; fdiv %%st(2), %%st; faddp %%st, %%st(1); fxch; fld1; faddp; fxch"
                     : "+t"(a), "+u"(b));
        asm volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(count), "+t"(a), "+u"(b) : : "memory");
        if (k % 50 == 0) {
            unsigned x = 0, y, z, w;
            asm volatile("cpuid" : "+a"(x), "=b"(y), "=c"(z), "=d"(w), "+t"(a), "+u"(b));
            getpid();
        }
    }
    return a * b;
}

/* More pushes than there is room for, reads of what is empty, and rotations. */
static void stack_faults(void) {
    for (int k = 0; k < 30; k++) {
        struct { uint16_t w[54]; } image;
        asm volatile("fninit\n"
                     "mov $11, %%ecx\n"
                     "1: fld1; fldpi; fmulp; dec %%ecx; jnz 1b\n"
                     "fstp %%st(3); fincstp; fadd %%st(2); ffree %%st(4); fxch %%st(5); fdecstp\n"
                     "fldl2e; fldz; fucompp; fldln2; fcos; fsin; fsqrt; fchs; frndint; fxam\n"
                     "fldlg2; fnstsw %%ax; fisttpll (%1); fildll (%1); fbstp (%1); fbld (%1)\n"
                     "fnsave %0; fninit"
                     : "=m"(image) : "r"(&image.w[4]) : "eax", "ecx", "cc", "memory", STACK);
        /* The pointers to the last instruction differ between processors. */
        memset(&image.w[6], 0, 16);
        if (k % 10 == 0) {
            for (int i = 0; i < 54; i++) printf("%04x%c", image.w[i], i % 18 == 17 ? '\n' : ' ');
        }
    }
}

static void mmx(void) {
    uint64_t sum = 0;
    double d = 0.25;
    for (int k = 0; k < 100; k++) {
        uint64_t x = k * 0x0102030405060708u, y;
        asm volatile("movq %1, %%mm3; paddb %%mm3, %%mm3; movq %%mm3, %0; emms"
                     : "=m"(y) : "m"(x) : STACK);
        asm volatile("fldl %0; fld1; faddp; fmull %0; fstpl %0" : "+m"(d));
        if (d > 1e6) d /= 1e6;
        sum += y;
    }
    printf("%llx %.17g\n", (unsigned long long)sum, d);
}

static char *page;

static void on_fault(int sig, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    (void)sig;
    if ((char *)info->si_addr != page + 8) _exit(9);
    printf("control %x status %x\n", (unsigned)u->uc_mcontext.fpregs->
#ifdef __x86_64__
           cwd, (unsigned)u->uc_mcontext.fpregs->swd & 0x7fff);
#else
           cw & 0xffff, (unsigned)u->uc_mcontext.fpregs->sw & 0x7fff);
#endif
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

/* Faults with values on the stack; the instruction starts again with them. */
static void faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long double a = 0, total = 0;
    for (int k = 0; k < 40; k++) {
        double x = k + 0.5;
        if (k % 8 == 7) mprotect(page, 4096, k % 16 == 7 ? PROT_NONE : PROT_READ);
        asm volatile("fldpi; fldl2t; fld %3; faddp; fstpl 8(%2); fmull 8(%2); fadd %%st, %%st(1)"
                     "; fstp %1"
                     : "+t"(a), "=m"(total) : "r"(page), "m"(x) : "memory", "st(6)", "st(7)");
    }
    printf("%La %La\n", a, total);
}

static volatile int ticks;
static volatile long double from_handler;

static void on_tick(int sig) {
    (void)sig;
    long double x = ++ticks;
    for (int k = 0; k < 20; k++) x = x / 3 + 1;
    from_handler = x;
}

static long double series(int n) {
    long double s = 0, t = 1;
    for (int k = 1; k < n; k++) {
        t = -t;
        s += t / k;
    }
    return s;
}

static void signals(void) {
    struct itimerval every = {{0, 500}, {0, 500}}, off = {0};
    signal(SIGALRM, on_tick);
    setitimer(ITIMER_REAL, &every, 0);
    long double first = series(20000);
    int same = 1;
    while (ticks < 20) same &= series(20000) == first;
    setitimer(ITIMER_REAL, &off, 0);
    printf("%La %d\n", first, same);
}

static void *worker(void *p) {
    long double *result = p;
    for (int k = 0; k < 50; k++) {
        *result += series(500 + k);
        sched_yield();
    }
    return 0;
}

static void threads_and_forks(void) {
    long double results[3] = {0, 1, 2};
    pthread_t t[3];
    for (int k = 0; k < 3; k++) pthread_create(&t[k], 0, worker, &results[k]);
    for (int k = 0; k < 3; k++) pthread_join(t[k], 0);
    printf("%La %La %La\n", results[0], results[1], results[2]);
    fflush(stdout);
    long double a = 7, b = 11;
    int pid, status;
    asm volatile("fxch" : "+t"(a), "+u"(b));
    if (!(pid = fork())) {
        printf("child %La %La\n", a / b, mixed(60));
        fflush(stdout);
        _exit(3);
    }
    waitpid(pid, &status, 0);
    printf("parent %La %d\n", a / b, WEXITSTATUS(status));
}

/* A counter in the page of the code that adds to it. */
static void stores_into_code(void) {
    static const unsigned char code[] = {
#ifdef __x86_64__
        0xdd, 0x07, 0xd9, 0xe8, 0xde, 0xc1, 0xdd, 0x1f, 0xc3 /* fld [rdi]; fld1; faddp; fstp [rdi] */
#else
        0x8b, 0x44, 0x24, 0x04, 0xdd, 0x00, 0xd9, 0xe8, 0xde, 0xc1, 0xdd, 0x18, 0xc3
#endif
    };
    char *p = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(p, code, sizeof code);
    for (int k = 0; k < 100; k++) ((void (*)(void *))p)(p + 1024);
    printf("%g\n", *(double *)(p + 1024));
}

static void conversions(void) {
    long long total = 0;
    for (int k = -200; k < 200; k++) {
        long double x = k * 1.37L;
        total = total * 3 + (int)x + (short)(x / 3) + (long long)(x * 1e9L);
        fesetround(k & 1 ? FE_UPWARD : FE_DOWNWARD);
        asm volatile("fistpll %0" : "=m"(*(long long *)to) : "t"(x) : "st");
        total ^= *(long long *)to;
        total += (x > 3) + 2 * (x < -1e2L) + 4 * (x != x) + (unsigned)(x < 0 ? -x : x);
    }
    fesetround(FE_TONEAREST);
    printf("%llx\n", total);
}

static sigjmp_buf back;

static void on_exception(int sig, siginfo_t *info, void *context) {
    (void)context;
    siglongjmp(back, info->si_code * 100 + sig);
}

/* Exceptions that are unmasked in the middle of it. */
static void unmasked(void) {
    struct sigaction action = {.sa_sigaction = on_exception, .sa_flags = SA_SIGINFO};
    sigaction(SIGFPE, &action, 0);
    volatile long double x = 0;
    volatile int k;
    long double before = series(1000);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_DIVBYZERO);
    int code = sigsetjmp(back, 1);
    if (!code) {
        for (k = 0; k < 1000; k++) x += 1 / (long double)(k - 700);
    }
    printf("%d after %d: %La\n", code, k, x);
    fedisableexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    printf("%d\n", before == series(1000));
}

/* With an argument: only what takes the same instructions every time. */
int main(int argc, char **argv) {
    (void)argv;
    printf("%La\n", mixed(300));
    stack_faults();
    mmx();
    faults();
    stores_into_code();
    conversions();
    if (argc > 1) return 0;
    signals();
    threads_and_forks();
    unmasked();
    printf("%La %s\n", mixed(100), to);
}
