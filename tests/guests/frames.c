/* Signal frames byte by byte: handlers of both kinds for faults and a sent signal, with known registers
 * on a known stack. What the frame holds, the registers a handler starts with, and those of the
 * interrupted code after it has returned. Static and at a fixed place. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TOP 0x20010000
#define SIZE 0x10000
#ifdef __i386__
#define WORDS 9
#else
#define WORDS 17
#endif

/* What the handlers' assembly leaves: the frame's bytes, its address, the registers at the entry and
 * after the return, and where the interrupted code goes on. */
unsigned char copy[SIZE];
uintptr_t frame, entry[WORDS + 7], after[WORDS], resume, ip_offset, host_stack, how, own_pid;
unsigned char fx_entry[512] __attribute__((aligned(64))), fx_after[512] __attribute__((aligned(64)));

/* 16 bytes for each of 16 registers. */
unsigned char patterns[256] __attribute__((aligned(64)));

void trigger(void);
void handler(int);
void restorer(void);
void old_restorer(void);

#ifdef __i386__
asm(".text\n"
    "trigger:\n"
    "	pusha\n"
    "	mov %esp, host_stack\n"
    "	mov $resume_here, %eax\n"
    "	mov %eax, resume\n"
    "	fninit\n	fldpi\n	fld1\n	fldz\n	fdivrp\n	fldl2e\n"
    "	movaps patterns, %xmm0\n	movaps patterns+16, %xmm1\n	movaps patterns+48, %xmm7\n"
    "	pxor %xmm2, %xmm2\n	pxor %xmm3, %xmm3\n	pxor %xmm4, %xmm4\n	pxor %xmm5, %xmm5\n	pxor %xmm6, %xmm6\n"
    "	mov $0x20010000 - 64, %esp\n"
    "	mov $0x11111111, %ebx\n	mov $0x22222222, %ecx\n	mov $0x33333333, %edx\n"
    "	mov $0x44444444, %esi\n	mov $0x55555555, %edi\n	mov $0x66666666, %ebp\n"
    "	mov how, %eax\n"
    "	cmp $1, %eax\n	je 1f\n	jb 0f\n	cmp $3, %eax\n	je 3f\n	ja 4f\n"
    "	mov $0x1000, %eax\n	std\n	addl $1, 0x234(%eax)\n"
    "0:	ud2\n"
    "1:	int3\n	ud2\n"
    "3:	xor %ecx, %ecx\n	stc\n	div %ecx\n"
    "4:	mov own_pid, %ebx\n	mov $10, %ecx\n	mov $37, %eax\n	int $0x80\n"
    "resume_here:\n"
    "	pushf\n	pop after+32\n	cld\n"
    "	mov %eax, after\n	mov %ebx, after+4\n	mov %ecx, after+8\n	mov %edx, after+12\n"
    "	mov %esi, after+16\n	mov %edi, after+20\n	mov %ebp, after+24\n	mov %esp, after+28\n"
    "	fxsave fx_after\n"
    "	mov host_stack, %esp\n"
    "	popa\n	ret\n"
    "handler:\n"
    "	mov %eax, entry\n	mov %ebx, entry+4\n	mov %ecx, entry+8\n	mov %edx, entry+12\n"
    "	mov %esi, entry+16\n	mov %edi, entry+20\n	mov %ebp, entry+24\n	mov %esp, entry+28\n"
    "	pushf\n	pop entry+32\n"
    "	mov %cs, entry+36\n	mov %ds, entry+40\n	mov %es, entry+44\n	mov %fs, entry+48\n"
    "	mov %ss, entry+56\n"
    "	fxsave fx_entry\n"
    "	mov %esp, frame\n	mov %esp, %esi\n	mov $copy, %edi\n	mov $0x20010000, %ecx\n"
    "	sub %esp, %ecx\n	rep movsb\n"
    "	mov %esp, %eax\n	add ip_offset, %eax\n	mov resume, %edx\n	mov %edx, (%eax)\n"
    "	ret\n"
    "restorer:\n	mov $173, %eax\n	int $0x80\n"
    "old_restorer:\n	pop %eax\n	mov $119, %eax\n	int $0x80\n");
#else
asm(".text\n"
    "trigger:\n"
    "	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
    "	mov %rsp, host_stack\n"
    "	movq $resume_here, resume\n"
    "	fninit\n	fldpi\n	fld1\n	fldz\n	fdivrp\n	fldl2e\n"
    "	movaps patterns, %xmm0\n	movaps patterns+16, %xmm1\n	movaps patterns+48, %xmm15\n"
    "	pxor %xmm2, %xmm2\n	pxor %xmm3, %xmm3\n	pxor %xmm4, %xmm4\n	pxor %xmm5, %xmm5\n	pxor %xmm6, %xmm6\n	pxor %xmm7, %xmm7\n	pxor %xmm8, %xmm8\n	pxor %xmm9, %xmm9\n	pxor %xmm10, %xmm10\n	pxor %xmm11, %xmm11\n	pxor %xmm12, %xmm12\n	pxor %xmm13, %xmm13\n	pxor %xmm14, %xmm14\n"
    "	mov $0x20010000 - 64, %esp\n"
    "	mov $0x1111111111, %rbx\n	mov $0x2222222222, %rcx\n	mov $0x3333333333, %rdx\n"
    "	mov $0x4444444444, %rsi\n	mov $0x5555555555, %rdi\n	mov $0x6666666666, %rbp\n"
    "	mov $0x8888888888, %r8\n	mov $0x9999999999, %r9\n	mov $0xaaaaaaaaaa, %r10\n"
    "	mov $0xbbbbbbbbbb, %r11\n	mov $0xcccccccccc, %r12\n	mov $0xdddddddddd, %r13\n"
    "	mov $0xeeeeeeeeee, %r14\n	mov $0xffffffffff, %r15\n"
    "	mov how, %rax\n"
    "	cmp $1, %eax\n	je 1f\n	jb 0f\n	cmp $3, %eax\n	je 3f\n	ja 4f\n"
    "	mov $0x1000, %eax\n	std\n	addl $1, 0x234(%rax)\n"
    "0:	ud2\n"
    "1:	int3\n	ud2\n"
    "3:	xor %ecx, %ecx\n	stc\n	div %ecx\n"
    "4:	mov own_pid, %rdi\n	mov $10, %esi\n	mov $62, %eax\n	syscall\n"
    "resume_here:\n"
    "	pushf\n	popq after+128\n	cld\n"
    "	mov %rax, after\n	mov %rbx, after+8\n	mov %rcx, after+16\n	mov %rdx, after+24\n"
    "	mov %rsi, after+32\n	mov %rdi, after+40\n	mov %rbp, after+48\n	mov %rsp, after+56\n"
    "	mov %r8, after+64\n	mov %r9, after+72\n	mov %r10, after+80\n	mov %r11, after+88\n"
    "	mov %r12, after+96\n	mov %r13, after+104\n	mov %r14, after+112\n	mov %r15, after+120\n"
    "	fxsave64 fx_after\n"
    "	mov host_stack, %rsp\n"
    "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n	ret\n"
    "handler:\n"
    "	mov %rax, entry\n	mov %rbx, entry+8\n	mov %rcx, entry+16\n	mov %rdx, entry+24\n"
    "	mov %rsi, entry+32\n	mov %rdi, entry+40\n	mov %rbp, entry+48\n	mov %rsp, entry+56\n"
    "	mov %r8, entry+64\n	mov %r9, entry+72\n	mov %r10, entry+80\n	mov %r11, entry+88\n"
    "	mov %r12, entry+96\n	mov %r13, entry+104\n	mov %r14, entry+112\n	mov %r15, entry+120\n"
    "	pushf\n	popq entry+128\n"
    "	mov %cs, entry+136\n	mov %ds, entry+144\n	mov %es, entry+152\n	mov %fs, entry+160\n"
    "	mov %gs, entry+168\n	mov %ss, entry+176\n"
    "	fxsave64 fx_entry\n"
    "	mov %rsp, frame\n	mov %rsp, %rsi\n	mov $copy, %edi\n	mov $0x20010000, %ecx\n"
    "	sub %esp, %ecx\n	rep movsb\n"
    "	mov %rsp, %rax\n	add ip_offset, %rax\n	mov resume, %rdx\n	mov %rdx, (%rax)\n"
    "	ret\n"
    "restorer:\n	mov $15, %eax\n	syscall\n");
#endif

static void dump(const char *what, const unsigned char *b, int from, int to)
{
	static const unsigned char same[16] = {[0 ... 15] = 0xa5}, zero[16];
	printf(" %s\n", what);
	for (int i = from; i < to; i += 16) {
		int n = to - i < 16 ? to - i : 16;
		if (!memcmp(b + i, same, n) || !memcmp(b + i, zero, n)) {
			printf("  %3d: all %02x\n", i, b[i]);
			continue;
		}
		printf("  %3d:", i);
		for (int k = 0; k < n; k++)
			printf(" %02x", b[i + k]);
		printf("\n");
	}
}

static void words(const char *what, const uintptr_t *w, int n)
{
	printf(" %s:", what);
	for (int i = 0; i < n; i++)
		printf(" %lx", (long)w[i]);
	printf("\n");
}

static uint32_t u32(const unsigned char *b) { uint32_t v; memcpy(&v, b, 4); return v; }

/* What processors do differently: which instructions leave their address, and the bits of MXCSR. */
static void of_the_processor(unsigned char *fx)
{
	memset(fx + 6, 0xee, 18);
	memset(fx + 28, 0xee, 4);
}

/* Where an XSAVE image ends, and thus where the frame begins, depends on the processor: addresses are
 * given from the frame, and what only tells sizes is left out. */
static void show(int info)
{
	uintptr_t fp;
	int uc = 0;
#ifdef __i386__
	const int context = info ? 16 + 128 + 20 : 8;
	int end = info ? context + 88 + 8 + 8 : context + 88 + 624 + 4 + 8;
	uc = info ? 144 : 0;
	memcpy(&fp, copy + context + 76, 4);
	printf(" aligned: %d %d\n", (int)(frame + 4) % 16, (int)(fp + 112) % 64);
	memset(copy + context + 76, 0xee, 4);
	/* The selector of the thread-local storage. */
	memset(copy + context, 0xee, 4);
	if (info) {
		for (int i = 8; i < 16; i += 4) {
			uint32_t p = u32(copy + i) - frame;
			memcpy(copy + i, &p, 4);
		}
	}
#else
	const int context = 8 + 40;
	int end = 8 + 304 + 128;
	uc = 8;
	memcpy(&fp, copy + context + 184, 8);
	printf(" aligned: %d %d\n", (int)(frame + 8) % 16, (int)fp % 64);
	memset(copy + context + 184, 0xee, 8);
#endif
	for (int i = 0; i < WORDS; i++)
		if (entry[i] - frame < 1024)
			entry[i] -= frame;
	words("at entry", entry, WORDS + 7);
	if (uc) {
		/* UC_FP_XSTATE is there as the processor has it. */
		printf(" state is %d\n", copy[uc] & 1);
	}
	dump("frame", copy, 0, end);
#ifdef __i386__
	memset(copy + (fp - frame) + 12, 0xee, 4);
	memset(copy + (fp - frame) + 20, 0xee, 4);
	dump("fsave", copy, fp - frame, fp - frame + 112);
	fp += 112;
#endif
	unsigned char *fx = copy + (fp - frame);
	of_the_processor(fx);
	of_the_processor(fx_entry);
	of_the_processor(fx_after);
	dump("fxsave", fx, 0, 464);
	printf(" magic %x, components %x\n", u32(fx + 464), u32(fx + 472) & 7);
	uint32_t size = u32(fx + 480);
	printf(" extended %d, second magic %x\n", u32(fx + 468) - size, u32(fx + size));
	printf(" in use %x\n", u32(fx + 512) & 3);
	words("after", after, WORDS);
	dump("fxsave at entry", fx_entry, 0, 160 + 8 * 16);
	dump("fxsave after", fx_after, 0, 160 + 16 * 16);
}

static void on(int signal, int info, int masked)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} __attribute__((packed)) a = {handler, 0x04000000 | (info ? SA_SIGINFO : 0), restorer, 0};
#ifdef __i386__
	if (!info)
		a.restorer = old_restorer;
	ip_offset = info ? 16 + 128 + 20 + 56 : 8 + 56;
#else
	ip_offset = 8 + 40 + 128;
#endif
	if (masked)
		a.mask = 1ull << 40 | 1 << 16;
	syscall(SYS_rt_sigaction, signal, &a, NULL, 8);
}

int main(void)
{
	static const char *const names[] = {"ud2", "int3", "page fault", "division", "kill"};
	static const int signals[] = {SIGILL, SIGTRAP, SIGSEGV, SIGFPE, SIGUSR1};
	mmap((void *)(TOP - SIZE), SIZE, PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	own_pid = getpid();
	for (int i = 0; i < 256; i++)
		patterns[i] = i * 7 + 1;
	uint64_t blocked = 1ull << 45 | 1 << 15;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, NULL, 8);
	for (how = 0; how < 5; how++)
		for (int info = 0; info < 2; info++) {
			memset((void *)(TOP - SIZE), 0xa5, SIZE);
			on(signals[how], info, how & 1);
			trigger();
			printf("%s, %s\n", names[how], info ? "SA_SIGINFO" : "plain");
#ifdef __i386__
			if (how == 4 && info)
				memset(copy + 16 + 12, 0xee, 8);
#else
			if (how == 4)
				memset(copy + 8 + 304 + 16, 0xee, 8);
#endif
			if (how == 4)
				for (int i = 0; i < WORDS; i++) {
					if (after[i] == own_pid)
						after[i] = 1;
					if (entry[i] == own_pid)
						entry[i] = 1;
				}
#ifdef __i386__
			if (how == 4)
				memset(copy + (info ? 16 + 128 + 20 : 8) + 32, 0xee, 4);
#else
			if (how == 4)
				memset(copy + 8 + 40 + 64, 0xee, 8);
#endif
			show(info);
		}
	return 0;
}
