/*
 * panda_callbacks.h - kinds of callbacks and their types
 */
#ifndef PANDA1_PANDA_CALLBACKS_H
#define PANDA1_PANDA_CALLBACKS_H

#include "cpu.h"

#define MAX_PANDA_PLUGINS 16
#define MAX_PANDA_PLUGIN_ARGS 32

typedef enum panda_cb_type {
    PANDA_CB_BEFORE_BLOCK_TRANSLATE,
    PANDA_CB_AFTER_BLOCK_TRANSLATE,
    PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT,
    PANDA_CB_BEFORE_BLOCK_EXEC,
    PANDA_CB_AFTER_BLOCK_EXEC,
    PANDA_CB_INSN_TRANSLATE,
    PANDA_CB_INSN_EXEC,
    PANDA_CB_VIRT_MEM_BEFORE_READ,
    PANDA_CB_VIRT_MEM_AFTER_READ,
    PANDA_CB_VIRT_MEM_BEFORE_WRITE,
    PANDA_CB_VIRT_MEM_AFTER_WRITE,
    PANDA_CB_PHYS_MEM_BEFORE_READ,
    PANDA_CB_PHYS_MEM_AFTER_READ,
    PANDA_CB_PHYS_MEM_BEFORE_WRITE,
    PANDA_CB_PHYS_MEM_AFTER_WRITE,
    PANDA_CB_GUEST_HYPERCALL,
    PANDA_CB_MONITOR,
    PANDA_CB_USER_BEFORE_SYSCALL,
    PANDA_CB_USER_AFTER_SYSCALL,
    /* Of whole machines: they can be registered, and never fire for a program. */
    PANDA_CB_HD_READ,
    PANDA_CB_HD_WRITE,
    PANDA_CB_LLVM_INIT,
    PANDA_CB_CPU_RESTORE_STATE,
    PANDA_CB_BEFORE_REPLAY_LOADVM,
    PANDA_CB_VMI_PGD_CHANGED,
    PANDA_CB_REPLAY_HD_TRANSFER,
    PANDA_CB_REPLAY_NET_TRANSFER,
    PANDA_CB_REPLAY_BEFORE_CPU_PHYSICAL_MEM_RW_RAM,
    PANDA_CB_REPLAY_AFTER_CPU_PHYSICAL_MEM_RW_RAM,
    PANDA_CB_REPLAY_HANDLE_PACKET,
    PANDA_CB_LAST,
    /* Other names PANDA gave them over the years. */
    PANDA_CB_VIRT_MEM_READ = PANDA_CB_VIRT_MEM_AFTER_READ,
    PANDA_CB_VIRT_MEM_WRITE = PANDA_CB_VIRT_MEM_BEFORE_WRITE,
    PANDA_CB_PHYS_MEM_READ = PANDA_CB_PHYS_MEM_AFTER_READ,
    PANDA_CB_PHYS_MEM_WRITE = PANDA_CB_PHYS_MEM_BEFORE_WRITE,
    PANDA_CB_MEM_READ = PANDA_CB_VIRT_MEM_AFTER_READ,
    PANDA_CB_MEM_WRITE = PANDA_CB_VIRT_MEM_BEFORE_WRITE,
    PANDA_CB_START_BLOCK_EXEC = PANDA_CB_BEFORE_BLOCK_EXEC,
    PANDA_CB_END_BLOCK_EXEC = PANDA_CB_AFTER_BLOCK_EXEC,
    PANDA_CB_ASID_CHANGED = PANDA_CB_VMI_PGD_CHANGED
} panda_cb_type;

#if PANDA_COMPAT_LEVEL == 0
typedef bool panda1_before_block_result; /* as before_block_exec_invalidate_opt */
typedef int panda1_hypercall_result;
#elif PANDA_COMPAT_LEVEL == 1
typedef int panda1_before_block_result;
typedef int panda1_hypercall_result;
#else
typedef void panda1_before_block_result;
typedef bool panda1_hypercall_result;
#endif

/* One member for each kind, under all of its names. Results are ignored unless said otherwise. */
typedef union panda_cb {
    int (*before_block_translate)(CPUState *env, target_ulong pc);
    int (*after_block_translate)(CPUState *env, TranslationBlock *tb);
    /* true: all code is translated anew, from the next block on */
    bool (*before_block_exec_invalidate_opt)(CPUState *env, TranslationBlock *tb);
    panda1_before_block_result (*before_block_exec)(CPUState *env, TranslationBlock *tb);
    panda1_before_block_result (*start_block_exec)(CPUState *env, TranslationBlock *tb);
    /* next_tb is NULL */
    int (*after_block_exec)(CPUState *env, TranslationBlock *tb, TranslationBlock *next_tb);
    int (*end_block_exec)(CPUState *env, TranslationBlock *tb, TranslationBlock *next_tb);
    /* true: insn_exec of every PANDA plugin fires for it */
    bool (*insn_translate)(CPUState *env, target_ulong pc);
    int (*insn_exec)(CPUState *env, target_ulong pc);
    /* Memory callbacks; see panda_enable_memcb. buf is NULL before a read. */
    int (*virt_mem_before_read)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*virt_mem_after_read)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*virt_mem_before_write)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*virt_mem_after_write)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*virt_mem_read)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*virt_mem_write)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*mem_read)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*mem_write)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    /* The same accesses: a program's physical addresses are its virtual ones. */
    int (*phys_mem_before_read)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*phys_mem_after_read)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*phys_mem_before_write)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*phys_mem_after_write)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*phys_mem_read)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    int (*phys_mem_write)(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf);
    /* The guest executes CPUID. Not 0, and a register changed (level 2: true): the instruction is skipped. Otherwise
     * it is executed. */
    panda1_hypercall_result (*guest_hypercall)(CPUState *env);
    /* not 0, or an answer through monitor_printf: the command was understood */
    int (*monitor)(Monitor *mon, const char *cmd);
    /* fcntl_flags_tbl and p are NULL; arg7 and arg8 are 0 */
    int (*user_before_syscall)(void *cpu_env, bitmask_transtbl *fcntl_flags_tbl, int num, abi_long arg1,
                               abi_long arg2, abi_long arg3, abi_long arg4, abi_long arg5, abi_long arg6,
                               abi_long arg7, abi_long arg8);
    int (*user_after_syscall)(void *cpu_env, bitmask_transtbl *fcntl_flags_tbl, int num, abi_long arg1,
                              abi_long arg2, abi_long arg3, abi_long arg4, abi_long arg5, abi_long arg6,
                              abi_long arg7, abi_long arg8, void *p, abi_long ret);
    /* Of whole machines. */
    int (*hd_read)(CPUState *env);
    int (*hd_write)(CPUState *env);
    int (*llvm_init)(void *exec_engine, void *pass_manager, void *module);
    int (*cb_cpu_restore_state)(CPUState *env, TranslationBlock *tb);
    int (*before_loadvm)(void);
    int (*after_PGD_write)(CPUState *env, target_ulong oldval, target_ulong newval);
    int (*asid_changed)(CPUState *env, target_ulong oldval, target_ulong newval);
    int (*replay_hd_transfer)(CPUState *env, uint32_t type, uint64_t src_addr, uint64_t dest_addr,
                              uint32_t num_bytes);
    int (*replay_net_transfer)(CPUState *env, uint32_t type, uint64_t src_addr, uint64_t dest_addr,
                               uint32_t num_bytes);
    int (*replay_before_cpu_physical_mem_rw_ram)(CPUState *env, uint32_t is_write, uint64_t src_addr,
                                                 uint64_t dest_addr, uint32_t num_bytes);
    int (*replay_after_cpu_physical_mem_rw_ram)(CPUState *env, uint32_t is_write, uint64_t src_addr,
                                                uint64_t dest_addr, uint32_t num_bytes);
    int (*replay_handle_packet)(CPUState *env, uint8_t *buf, int size, uint8_t direction, uint64_t old_buf_addr);
} panda_cb;

#endif
