/*
 * panda_common.h - guest memory and the current point of execution
 */
#ifndef PANDA1_PANDA_COMMON_H
#define PANDA1_PANDA_COMMON_H

#include "cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As cpu_memory_rw_debug: 0, or -1. */
int panda_virtual_memory_rw(CPUState *env, target_ulong addr, uint8_t *buf, int len, int is_write);
/* Physical addresses of a program are its virtual ones. 0, or -1. */
int panda_physical_memory_rw(target_phys_addr_t addr, uint8_t *buf, int len, int is_write);
/* The same address, or -1 when nothing readable is there. */
target_phys_addr_t panda_virt_to_phys(CPUState *env, target_ulong addr);

target_ulong panda_current_pc(CPUState *env);
/* The address space; 0 for a program. */
target_ulong panda_current_asid(CPUState *env);
/* A program never is. */
bool panda_in_kernel(CPUState *env);

#ifdef __cplusplus
}
#endif

#endif
