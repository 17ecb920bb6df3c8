/*
 * target-arm.c - ARM guests
 */
#include "target.h"

#if defined(TARGET_ARM)

const panda1_register panda1_registers[] = {
    PANDA1_REGISTER("pc", regs[15]),  PANDA1_REGISTER("r0", regs[0]),   PANDA1_REGISTER("r1", regs[1]),
    PANDA1_REGISTER("r2", regs[2]),   PANDA1_REGISTER("r3", regs[3]),   PANDA1_REGISTER("r4", regs[4]),
    PANDA1_REGISTER("r5", regs[5]),   PANDA1_REGISTER("r6", regs[6]),   PANDA1_REGISTER("r7", regs[7]),
    PANDA1_REGISTER("r8", regs[8]),   PANDA1_REGISTER("r9", regs[9]),   PANDA1_REGISTER("r10", regs[10]),
    PANDA1_REGISTER("r11", regs[11]), PANDA1_REGISTER("r12", regs[12]), PANDA1_REGISTER("sp", regs[13]),
    PANDA1_REGISTER("lr", regs[14]),  PANDA1_REGISTER("cpsr", uncached_cpsr),
};
const unsigned panda1_register_count = ARRAY_SIZE(panda1_registers);

void panda1_target_constants(CPUState *env)
{
    (void)env;
}

void panda1_target_derived(CPUState *env, uint64_t pc)
{
    env->regs[15] = (target_ulong)pc;
    env->panda_guest_pc = (target_ulong)pc;
    env->thumb = (env->uncached_cpsr & CPSR_T) != 0;
}

#endif
