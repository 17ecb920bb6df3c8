/* Synchronous faults: si_code, si_addr, ucontext contents, changing the context, longjmp. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <fcntl.h>

#ifdef __x86_64__
#define IP REG_RIP
#define AX REG_RAX
#else
#define IP REG_EIP
#define AX REG_EAX
#endif

static sigjmp_buf env;
static volatile int skip;
static uintptr_t base;

static void on(int s, siginfo_t *i, void *c) {
    ucontext_t *u = c;
    greg_t *g = u->uc_mcontext.gregs;
    uintptr_t a = (uintptr_t)i->si_addr;
    const char *where = a == (uintptr_t)g[IP] ? "ip" : a == base ? "base" : a ? "other" : "0";
    printf("sig %d code %d addr %s trap %d err %d", s, i->si_code, where, (int)g[REG_TRAPNO],
           (int)g[REG_ERR]);
#ifdef __x86_64__
    printf(" cr2 %s", (uintptr_t)g[REG_CR2] == base ? "base" : "-");
#else
    printf(" cr2 %s", (uintptr_t)u->uc_mcontext.cr2 == base ? "base" : "-");
#endif
    puts("");
    if (skip) {
        g[IP] += skip;
        g[AX] = 4711;
        skip = 0;
        return;
    }
    siglongjmp(env, 1);
}

#define TRY(stmt) do { if (!sigsetjmp(env, 1)) { stmt; puts("no fault"); } } while (0)

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0);
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on;
    sa.sa_flags = SA_SIGINFO;
    int all[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (unsigned n = 0; n < 5; n++) sigaction(all[n], &sa, 0);

    char *p = mmap(0, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p + 8192, 4096);
    base = (uintptr_t)p + 8192;
    TRY(*(volatile char *)base = 1);
    TRY((void)*(volatile char *)base);
    base = (uintptr_t)p;
    (void)*(volatile char *)base;
    TRY(*(volatile char *)base = 1);
    mprotect(p, 4096, PROT_NONE);
    TRY((void)*(volatile char *)base);
    /* execute data */
    char *d = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    d[0] = (char)0xc3;
    base = (uintptr_t)d;
    TRY(((void (*)(void))d)());
    munmap(d, 4096);
    TRY(((void (*)(void))d)());
    base = 1;
    volatile int zero = 0;
    TRY(zero = 1 / zero);
    TRY(__asm__ volatile("ud2"));
    TRY(__asm__ volatile("int3"));
    TRY(__asm__ volatile("hlt"));
    TRY(__asm__ volatile("int $0x2e"));
    /* beyond the end of a file */
    char name[] = "/tmp/faultXXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    char *f = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    base = (uintptr_t)f;
    TRY((void)*(volatile char *)f);
    if (ftruncate(fd, 4096)) return 1;
    base = (uintptr_t)f + 4096;
    f[0] = 1;
    TRY(*(volatile char *)base = 1);
    /* the handler skips the instruction and sets a register */
    skip = 2;
    uintptr_t out = 0;
    __asm__ volatile("ud2" : "=a"(out) : "a"(0));
    printf("skipped: %d\n", (int)out);
    /* SSE exception */
    unsigned csr = 0x1f80 & ~0x200;
    __asm__ volatile("ldmxcsr %0" ::"m"(csr));
    volatile double a = 1.0, z = 0.0;
    TRY(a = a / z);
    csr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(csr));
    /* a process without memory */
    fflush(stdout);
    if (fork() == 0) _exit(munmap(0, sizeof(void *) == 8 ? 0x7ffffffff000 : 0xffffe000));
    int status = 0;
    wait(&status);
    printf("unmapped: %#x\n", status & 0x7f);
    printf("too much: %d\n", munmap(0, sizeof(void *) == 8 ? 0x800000000000 : 0xfffff000));
    /* blocked fault kills */
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGSEGV);
    sigprocmask(SIG_BLOCK, &s, 0);
    *(volatile int *)16 = 1;
    return 0;
}
