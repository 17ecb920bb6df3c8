/*
 * cpu.h - the guest's processor and memory as PANDA 1 sources see them
 *
 * env is live: at every callback it holds the guest's registers, complete with flags, and what a callback changes in
 * regs, eip, eflags and segs (ARM: regs, cpsr) is written back when it returns. It is valid during the callback.
 */
#ifndef PANDA1_CPU_H
#define PANDA1_CPU_H

#include "qemu-common.h"

#if TARGET_LONG_BITS == 64
typedef uint64_t target_ulong;
typedef int64_t target_long;
#define TARGET_FMT_lx "%016" PRIx64
#define TARGET_FMT_ld "%" PRId64
#define TARGET_FMT_lu "%" PRIu64
#else
typedef uint32_t target_ulong;
typedef int32_t target_long;
#define TARGET_FMT_lx "%08x"
#define TARGET_FMT_ld "%d"
#define TARGET_FMT_lu "%u"
#endif
#define TARGET_LONG_SIZE (TARGET_LONG_BITS / 8)

typedef uint64_t target_phys_addr_t;
#define TARGET_PHYS_ADDR_BITS 64
#define TARGET_FMT_plx "%016" PRIx64

#define TARGET_PAGE_BITS 12
#define TARGET_PAGE_SIZE (1 << TARGET_PAGE_BITS)
#define TARGET_PAGE_MASK (~(target_ulong)(TARGET_PAGE_SIZE - 1))
#define TARGET_PAGE_ALIGN(addr) (((addr) + TARGET_PAGE_SIZE - 1) & TARGET_PAGE_MASK)

/* Values of system calls. */
typedef target_ulong abi_ulong;
typedef target_long abi_long;
typedef struct bitmask_transtbl bitmask_transtbl;

/* A translated block; valid during the callback. */
typedef struct TranslationBlock {
    target_ulong pc;
    target_ulong cs_base;
    uint64_t flags;
    uint32_t size;   /* guest bytes */
    uint32_t icount; /* guest instructions */
} TranslationBlock;

#if defined(TARGET_ARM)
#include "cpu-arm.h"
#else
#include "cpu-x86.h"
#endif

#define ENV_GET_CPU(env) (env)

#ifdef __cplusplus
extern "C" {
#endif

/* The processor of the callback being handled, otherwise NULL. */
extern CPUState *cpu_single_env;
extern CPUState *first_cpu;

/* Reads or (is_write) writes guest memory at a virtual address. 0, or -1 when a page is not there or not writable:
 * what lies before it has been transferred. Raises no memory callbacks. */
int cpu_memory_rw_debug(CPUState *env, target_ulong addr, uint8_t *buf, int len, int is_write);

/* Physical addresses of a program are its virtual ones. */
void cpu_physical_memory_rw(target_phys_addr_t addr, uint8_t *buf, int len, int is_write);
static inline void cpu_physical_memory_read(target_phys_addr_t addr, void *buf, int len)
{
    cpu_physical_memory_rw(addr, (uint8_t *)buf, len, 0);
}
static inline void cpu_physical_memory_write(target_phys_addr_t addr, const void *buf, int len)
{
    cpu_physical_memory_rw(addr, (uint8_t *)(uintptr_t)buf, len, 1);
}
/* The physical address of a page, or -1 when nothing readable is there. */
target_phys_addr_t cpu_get_phys_page_debug(CPUState *env, target_ulong addr);

/* A program has no RAM of its own: 0. */
extern ram_addr_t ram_size;

#ifdef __cplusplus
}
#endif

#endif
