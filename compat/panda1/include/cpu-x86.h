/*
 * cpu-x86.h - CPUState of i386 and x86-64 guests; included by cpu.h
 *
 * Numbers are those of the processor (Intel SDM volume 3, chapters 2 and 3) and of QEMU's target-i386.
 */
#ifndef PANDA1_CPU_X86_H
#define PANDA1_CPU_X86_H

/* General registers, in encoding order. */
enum {
    R_EAX = 0, R_ECX = 1, R_EDX = 2, R_EBX = 3, R_ESP = 4, R_EBP = 5, R_ESI = 6, R_EDI = 7,
    R_AL = 0, R_CL = 1, R_DL = 2, R_BL = 3, R_AH = 4, R_CH = 5, R_DH = 6, R_BH = 7
};
#ifdef TARGET_X86_64
#define CPU_NB_REGS 16
#else
#define CPU_NB_REGS 8
#endif

/* Segment registers. */
enum { R_ES = 0, R_CS = 1, R_SS = 2, R_DS = 3, R_FS = 4, R_GS = 5 };

/* Bits of eflags. */
#define CC_C 0x0001
#define CC_P 0x0004
#define CC_A 0x0010
#define CC_Z 0x0040
#define CC_S 0x0080
#define CC_O 0x0800
#define TF_MASK 0x00000100
#define IF_MASK 0x00000200
#define DF_MASK 0x00000400
#define IOPL_MASK 0x00003000
#define NT_MASK 0x00004000
#define RF_MASK 0x00010000
#define VM_MASK 0x00020000
#define AC_MASK 0x00040000
#define VIF_MASK 0x00080000
#define VIP_MASK 0x00100000
#define ID_MASK 0x00200000

/* Bits of hflags. */
#define HF_CPL_SHIFT 0
#define HF_CS32_SHIFT 4
#define HF_SS32_SHIFT 5
#define HF_ADDSEG_SHIFT 6
#define HF_PE_SHIFT 7
#define HF_LMA_SHIFT 14
#define HF_CS64_SHIFT 15
#define HF_OSFXSR_SHIFT 22
#define HF_CPL_MASK (3 << HF_CPL_SHIFT)
#define HF_CS32_MASK (1 << HF_CS32_SHIFT)
#define HF_SS32_MASK (1 << HF_SS32_SHIFT)
#define HF_ADDSEG_MASK (1 << HF_ADDSEG_SHIFT)
#define HF_PE_MASK (1 << HF_PE_SHIFT)
#define HF_LMA_MASK (1 << HF_LMA_SHIFT)
#define HF_CS64_MASK (1 << HF_CS64_SHIFT)
#define HF_OSFXSR_MASK (1 << HF_OSFXSR_SHIFT)

/* Bits of control registers. */
#define CR0_PE_MASK (1U << 0)
#define CR0_MP_MASK (1U << 1)
#define CR0_EM_MASK (1U << 2)
#define CR0_TS_MASK (1U << 3)
#define CR0_ET_MASK (1U << 4)
#define CR0_NE_MASK (1U << 5)
#define CR0_WP_MASK (1U << 16)
#define CR0_AM_MASK (1U << 18)
#define CR0_PG_MASK (1U << 31)
#define CR4_PAE_MASK (1U << 5)
#define CR4_OSFXSR_MASK (1U << 9)
#define CR4_OSXMMEXCPT_MASK (1U << 10)

/* Bits of segment descriptors, in the second half of the descriptor. */
#define DESC_G_MASK (1U << 23)
#define DESC_B_SHIFT 22
#define DESC_B_MASK (1U << DESC_B_SHIFT)
#define DESC_L_SHIFT 21
#define DESC_L_MASK (1U << DESC_L_SHIFT)
#define DESC_P_MASK (1U << 15)
#define DESC_DPL_SHIFT 13
#define DESC_DPL_MASK (3U << DESC_DPL_SHIFT)
#define DESC_S_MASK (1U << 12)
#define DESC_CS_MASK (1U << 11)
#define DESC_R_MASK (1U << 9)
#define DESC_W_MASK (1U << 9)
#define DESC_A_MASK (1U << 8)

typedef struct SegmentCache {
    uint32_t selector;
    target_ulong base;
    uint32_t limit;
    uint32_t flags;
} SegmentCache;

typedef struct CPUX86State {
    target_ulong regs[CPU_NB_REGS];
    target_ulong eip;
    target_ulong eflags;  /* all flags, nothing is kept elsewhere */
    int32_t df;           /* 1, or -1 when the direction flag is set */
    uint32_t hflags;      /* user mode: CPL 3, protected, and the width of code */
    SegmentCache segs[6]; /* x86-64: only FS and GS have a base */
    SegmentCache ldt, tr, gdt, idt; /* a program cannot see them: zero */
    target_ulong cr[5];   /* as a program runs with; cr[3] is the address space, 0 for a program */
    uint64_t efer;
    target_ulong panda_guest_pc; /* always exact */
    int32_t cpu_index;
    void *host_cpu; /* the runtime's own */
} CPUX86State;

typedef CPUX86State CPUState;
#define CPUArchState CPUX86State

/* System headers have some of these names, too. */
#undef EAX
#undef ECX
#undef EDX
#undef EBX
#undef ESP
#undef EBP
#undef ESI
#undef EDI
#undef EIP
#define EAX (env->regs[R_EAX])
#define ECX (env->regs[R_ECX])
#define EDX (env->regs[R_EDX])
#define EBX (env->regs[R_EBX])
#define ESP (env->regs[R_ESP])
#define EBP (env->regs[R_EBP])
#define ESI (env->regs[R_ESI])
#define EDI (env->regs[R_EDI])
#define EIP (env->eip)

#endif
