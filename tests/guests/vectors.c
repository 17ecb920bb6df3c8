/* The vector registers in signal frames: what a handler finds there, what its changes do, and what
   jumping out of it and saving contexts leave. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

/* Offsets in an XSAVE image. */
enum { XMM = 160, SOFTWARE = 464, HEADER = 512, YMM = 576 };
/* Components. */
enum { SSE = 2, AVX = 4 };

static int calls;

static void show(const char *name, int number, const void *bytes, int count) {
    const unsigned char *b = bytes;
    printf("%s%d ", name, number);
    for (int k = 0; k < count; k++) printf("%02x", b[k]);
    printf("\n");
}

static void handler(int signal, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    char *image = (char *)u->uc_mcontext.fpregs;
    int header = 4;
#ifdef __i386__
    image += 112; /* the FSAVE image */
    header += 112;
#endif
    uint32_t size = *(uint32_t *)(image + SOFTWARE + 16);
    uint32_t extended = *(uint32_t *)(image + SOFTWARE + 4);
    uint64_t features = *(uint64_t *)(image + SOFTWARE + 8);
    uint64_t *held = (uint64_t *)(image + HEADER);
    printf("aligned %d, magic %x %x, %d bytes around, features %d, held %d, xstate %d\n",
           ((uintptr_t)image & 63) == 0, *(uint32_t *)(image + SOFTWARE),
           *(uint32_t *)(image + size), (int)(extended - size) == header, (int)(features & 7),
           (int)(*held & (SSE | AVX)), (int)u->uc_flags & 1);
    for (int n = 0; n < 8; n++) {
        show("frame xmm", n, image + XMM + 16 * n, 16);
        show("frame ymm", n, image + YMM + 16 * n, 16);
    }
    unsigned char now[32];
    __asm__ volatile("vmovdqu %%ymm5, %0" : "=m"(now));
    show("now ymm", 5, now, 32);
    switch (calls++) {
    case 0:
        memset(image + YMM + 16 * 3, 0x77, 16);
        memset(image + XMM + 16 * 4, 0x44, 16);
        break;
    case 1:
        *held &= ~(uint64_t)AVX;
        break;
    case 2:
        *held &= ~(uint64_t)SSE;
        break;
    case 3:
        /* No longer an XSAVE image, only an FXSAVE image. */
        *(uint32_t *)(image + SOFTWARE) = 0;
        break;
    }
}

static sigjmp_buf back;

static void jump(int signal) {
    __asm__ volatile("vpcmpeqd %%ymm1, %%ymm1, %%ymm1" ::: "xmm1");
    siglongjmp(back, 1);
}

/* Loads the registers, sends this process a signal and stores the registers. */
static void signalled(unsigned char (*in)[32], unsigned char (*out)[32]) {
#define EACH(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)
#ifdef __x86_64__
    long pid, result;
    __asm__ volatile("syscall" : "=a"(pid) : "a"(SYS_getpid) : "rcx", "r11", "memory");
#define LOAD(n) "vmovdqu 32*" #n "(%%rdx), %%ymm" #n "\n"
#define STORE(n) "vmovdqu %%ymm" #n ", 32*" #n "(%%rbx)\n"
    __asm__ volatile(EACH(LOAD) "syscall\n" EACH(STORE)
                     : "=a"(result)
                     : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1), "d"(in), "b"(out)
                     : "rcx", "r11", "memory");
#else
    long pid, result;
    __asm__ volatile("int $0x80" : "=a"(pid) : "a"(SYS_getpid) : "memory");
#define LOAD(n) "vmovdqu 32*" #n "(%%edx), %%ymm" #n "\n"
#define STORE(n) "vmovdqu %%ymm" #n ", 32*" #n "(%%esi)\n"
    __asm__ volatile(EACH(LOAD) "int $0x80\n" EACH(STORE)
                     : "=a"(result)
                     : "a"(SYS_kill), "b"(pid), "c"(SIGUSR1), "d"(in), "S"(out)
                     : "memory");
#endif
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    static unsigned char in[8][32], out[8][32];
    for (int round = 0; round < 5; round++) {
        for (int n = 0; n < 8; n++)
            for (int k = 0; k < 32; k++) in[n][k] = n * 32 + k + round;
        signalled(in, out);
        for (int n = 0; n < 8; n++) show("after ymm", n, out[n], 32);
    }
    signal(SIGUSR2, jump);
    if (sigsetjmp(back, 1) == 0) raise(SIGUSR2);
    printf("jumped\n");
    volatile int again = 0;
    ucontext_t context;
    getcontext(&context);
    if (again++ == 0) setcontext(&context);
    printf("%d contexts\n", again);
    return 0;
}
