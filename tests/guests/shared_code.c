// Hot code that faults, to be run by several processes of a run; -DV changes a constant in it.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __x86_64__
#define PC REG_RIP
#define ARG REG_RDI
#else
#define PC REG_EIP
#define ARG REG_ECX
#endif

static char *area;
static unsigned faults, sum;

static void on_fault(int n, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    faults++;
    sum = sum * 31 + (unsigned)((char *)info->si_addr - area) + (unsigned)u->uc_mcontext.gregs[PC] % 4096;
    mprotect(area + 4096, 4096, PROT_READ | PROT_WRITE);
}

__attribute__((noinline)) static unsigned work(unsigned *p, unsigned n) {
    unsigned s = 0;
    for (unsigned i = 0; i < n; i++) {
        s += p[i] * V;
        p[i] = s ^ i;
    }
    return s;
}

static unsigned twice(unsigned x) { return 2 * x + V; }
static unsigned thrice(unsigned x) { return 3 * x - V; }

int main(void) {
    area = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    unsigned (*volatile f[2])(unsigned) = {twice, thrice};
    double d = V;
    for (int i = 0; i < 40; i++) {
        mprotect(area + 4096, 4096, i & 1 ? PROT_NONE : PROT_READ);
        sum += work((unsigned *)area, 2048);
        sum = f[i & 1](sum);
        d = d * 1.25 + sum % 7;
    }
    printf("%u faults, sum %u, %.6g\n", faults, sum, d);
    return 0;
}
