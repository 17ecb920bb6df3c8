/*
 * cpu-arm.h - CPUState of ARM guests; included by cpu.h
 */
#ifndef PANDA1_CPU_ARM_H
#define PANDA1_CPU_ARM_H

#define CPSR_M 0x1fU
#define CPSR_T (1U << 5)
#define ARM_CPU_MODE_USR 0x10

typedef struct CPUARMState {
    uint32_t regs[16]; /* regs[13] is sp, regs[14] lr, regs[15] pc */
    uint32_t uncached_cpsr;
    uint32_t thumb;
    struct {
        uint32_t c2_base0; /* a program cannot see them: zero */
        uint32_t c2_base1;
        uint32_t c2_base_mask;
        uint32_t c2_mask;
        uint32_t c2_control;
    } cp15;
    target_ulong panda_guest_pc; /* always exact */
    int32_t cpu_index;
    void *host_cpu; /* the runtime's own */
} CPUARMState;

typedef CPUARMState CPUState;
#define CPUArchState CPUARMState

#endif
