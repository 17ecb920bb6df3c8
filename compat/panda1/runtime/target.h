/*
 * target.h - which registers of the host go where in the target's CPUState
 */
#ifndef PANDA1_TARGET_H
#define PANDA1_TARGET_H

#include "runtime.h"

/* A register and its field of four or eight bytes, which is at least as large. */
typedef struct panda1_register {
    const char *name; /* the host's */
    uint32_t offset;
    uint32_t size; /* of the field */
} panda1_register;

#define PANDA1_REGISTER(name, field)                                                                                   \
    {                                                                                                                  \
        name, (uint32_t)offsetof(CPUState, field), (uint32_t)sizeof(((CPUState *)0)->field)                            \
    }

/* The program counter is the first one. */
extern const panda1_register panda1_registers[];
extern const unsigned panda1_register_count;

/* Fills in what never changes while a program runs. */
void panda1_target_constants(CPUState *env);
/* Fills in what follows from the registers. */
void panda1_target_derived(CPUState *env, uint64_t pc);

#endif
