/*
 * target-x86.c - i386 and x86-64 guests
 */
#include "target.h"

#if defined(TARGET_X86_64)
#define PC "rip"
#define WIDE(letter_names) "r" letter_names
#define FLAGS "rflags"
#elif defined(TARGET_I386)
#define PC "eip"
#define WIDE(letter_names) "e" letter_names
#define FLAGS "eflags"
#endif

#if defined(TARGET_I386)

const panda1_register panda1_registers[] = {
    PANDA1_REGISTER(PC, eip),
    PANDA1_REGISTER(WIDE("ax"), regs[R_EAX]),
    PANDA1_REGISTER(WIDE("cx"), regs[R_ECX]),
    PANDA1_REGISTER(WIDE("dx"), regs[R_EDX]),
    PANDA1_REGISTER(WIDE("bx"), regs[R_EBX]),
    PANDA1_REGISTER(WIDE("sp"), regs[R_ESP]),
    PANDA1_REGISTER(WIDE("bp"), regs[R_EBP]),
    PANDA1_REGISTER(WIDE("si"), regs[R_ESI]),
    PANDA1_REGISTER(WIDE("di"), regs[R_EDI]),
#if defined(TARGET_X86_64)
    PANDA1_REGISTER("r8", regs[8]),
    PANDA1_REGISTER("r9", regs[9]),
    PANDA1_REGISTER("r10", regs[10]),
    PANDA1_REGISTER("r11", regs[11]),
    PANDA1_REGISTER("r12", regs[12]),
    PANDA1_REGISTER("r13", regs[13]),
    PANDA1_REGISTER("r14", regs[14]),
    PANDA1_REGISTER("r15", regs[15]),
#endif
    PANDA1_REGISTER(FLAGS, eflags),
    PANDA1_REGISTER("es", segs[R_ES].selector),
    PANDA1_REGISTER("cs", segs[R_CS].selector),
    PANDA1_REGISTER("ss", segs[R_SS].selector),
    PANDA1_REGISTER("ds", segs[R_DS].selector),
    PANDA1_REGISTER("fs", segs[R_FS].selector),
    PANDA1_REGISTER("gs", segs[R_GS].selector),
    PANDA1_REGISTER("fs_base", segs[R_FS].base),
    PANDA1_REGISTER("gs_base", segs[R_GS].base),
#if !defined(TARGET_X86_64)
    PANDA1_REGISTER("es_base", segs[R_ES].base),
    PANDA1_REGISTER("cs_base", segs[R_CS].base),
    PANDA1_REGISTER("ss_base", segs[R_SS].base),
    PANDA1_REGISTER("ds_base", segs[R_DS].base),
#endif
};
const unsigned panda1_register_count = ARRAY_SIZE(panda1_registers);

/* Linux runs programs in ring 3, with flat segments and paging. */
void panda1_target_constants(CPUState *env)
{
    const uint32_t data = DESC_G_MASK | DESC_P_MASK | DESC_DPL_MASK | DESC_S_MASK | DESC_A_MASK;
    unsigned n;
    for (n = 0; n < ARRAY_SIZE(env->segs); n++) {
        env->segs[n].limit = 0xffffffff;
        env->segs[n].flags = data | DESC_B_MASK | DESC_W_MASK;
    }
    env->segs[R_CS].flags = data | DESC_CS_MASK | DESC_R_MASK;
    env->hflags = HF_CPL_MASK | HF_PE_MASK | HF_CS32_MASK | HF_SS32_MASK | HF_OSFXSR_MASK;
    env->cr[0] = CR0_PE_MASK | CR0_MP_MASK | CR0_ET_MASK | CR0_NE_MASK | CR0_WP_MASK | CR0_AM_MASK | CR0_PG_MASK;
    env->cr[4] = CR4_PAE_MASK | CR4_OSFXSR_MASK | CR4_OSXMMEXCPT_MASK;
#if defined(TARGET_X86_64)
    env->segs[R_CS].flags |= DESC_L_MASK;
    env->hflags |= HF_LMA_MASK | HF_CS64_MASK;
    env->efer = 0xd01; /* SCE, LME, LMA, NXE */
#else
    env->segs[R_CS].flags |= DESC_B_MASK;
#endif
}

void panda1_target_derived(CPUState *env, uint64_t pc)
{
    env->eip = (target_ulong)pc;
    env->panda_guest_pc = (target_ulong)pc;
    env->df = env->eflags & DF_MASK ? -1 : 1;
}

#undef PC
#undef WIDE
#undef FLAGS

#endif
