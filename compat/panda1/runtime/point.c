/*
 * point.c - where in the guest's execution we are
 */
#include "runtime.h"
#include "rr_log.h"

RR_prog_point rr_prog_point;

void panda1_point_set(panda_cpu *cpu, CPUState *env)
{
    rr_prog_point.pc = env->panda_guest_pc;
#if defined(TARGET_I386)
    rr_prog_point.secondary = env->regs[R_ECX];
#endif
    rr_prog_point.guest_instr_count = panda1.os->retired(cpu);
}

uint64_t rr_get_guest_instr_count(void)
{
    /* Another plugin's callback may have called a function of this one. */
    if (panda1.group && panda1.group->cpu)
        return panda1.os->retired(panda1.group->cpu);
    return rr_prog_point.guest_instr_count;
}

RR_prog_point panda1_prog_point(void)
{
    rr_prog_point.guest_instr_count = rr_get_guest_instr_count();
    return rr_prog_point;
}

target_ulong panda_current_pc(CPUState *env)
{
    return env->panda_guest_pc;
}

target_ulong panda_current_asid(CPUState *env)
{
    return env->host_cpu ? (target_ulong)panda1.os->address_space((panda_cpu *)env->host_cpu) : 0;
}

bool panda_in_kernel(CPUState *env)
{
    return env->host_cpu && panda1.os->in_kernel((panda_cpu *)env->host_cpu) != 0;
}
