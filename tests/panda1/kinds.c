/* Counts every kind of callback and checks what comes with it. Writes kinds.txt at the end. */
#include "config.h"
#include "qemu-common.h"
#include "monitor.h"
#include "cpu.h"
#include "disas.h"
#include "console.h"

#include "panda_plugin.h"
#include "panda_common.h"
#include "rr_log.h"

#define KINDS(K)                                                                                                       \
    K(before_block_translate) K(after_block_translate) K(before_block_exec_invalidate_opt) K(before_block_exec)        \
    K(after_block_exec) K(insn_translate) K(insn_exec) K(mem_read) K(mem_write) K(virt_mem_read) K(virt_mem_write)     \
    K(virt_mem_before_read) K(virt_mem_after_write) K(phys_mem_read) K(phys_mem_write) K(guest_hypercall) K(monitor)   \
    K(user_before_syscall) K(user_after_syscall)

#define COUNTER(name) static unsigned long count_##name;
KINDS(COUNTER)

static unsigned long wrong, block_insns, read_sum, write_sum, old_sum, last_syscall;
static bool flush;
static char first_problem[200];

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition) && wrong++ == 0)                                                                              \
            snprintf(first_problem, sizeof first_problem, "line %d: %s", __LINE__, #condition);                        \
    } while (0)

static void check_env(CPUState *env, target_ulong pc)
{
    CHECK(env == cpu_single_env);
    CHECK(env->eip == pc && env->panda_guest_pc == pc && panda_current_pc(env) == pc);
    CHECK((env->hflags & HF_CPL_MASK) == 3 && (env->segs[R_CS].selector & 3) == 3);
    CHECK(env->segs[R_CS].base == 0 && env->cr[3] == 0 && (env->cr[0] & CR0_PG_MASK));
#ifdef TARGET_X86_64
    CHECK((env->hflags & HF_LMA_MASK) && sizeof(target_ulong) == 8);
#else
    CHECK(!(env->hflags & HF_LMA_MASK) && (env->hflags & HF_CS32_MASK) && sizeof(target_ulong) == 4);
#endif
    CHECK(!panda_in_kernel(env) && panda_current_asid(env) == 0 && !rr_in_replay());
    CHECK(rr_prog_point.guest_instr_count == rr_get_guest_instr_count());
    CHECK(rr_prog_point().pc == pc);
    CHECK(panda_virt_to_phys(env, pc) == pc);
}

static int before_block_translate(CPUState *env, target_ulong pc)
{
    count_before_block_translate++;
    CHECK(env != NULL && pc != 0);
    return 0;
}

static int after_block_translate(CPUState *env, TranslationBlock *tb)
{
    count_after_block_translate++;
    CHECK(env != NULL && tb->pc != 0 && tb->size != 0);
    return 0;
}

static bool before_block_exec_invalidate_opt(CPUState *env, TranslationBlock *tb)
{
    check_env(env, tb->pc);
    return count_before_block_exec_invalidate_opt++ == 1 && flush;
}

static int before_block_exec(CPUState *env, TranslationBlock *tb)
{
    count_before_block_exec++;
    check_env(env, tb->pc);
    block_insns += tb->icount;
    return 0;
}

static int after_block_exec(CPUState *env, TranslationBlock *tb, TranslationBlock *next_tb)
{
    count_after_block_exec++;
    CHECK(env != NULL && tb->size != 0 && next_tb == NULL);
    return 0;
}

static bool insn_translate(CPUState *env, target_ulong pc)
{
    uint8_t byte;
    count_insn_translate++;
    check_env(env, pc);
    CHECK(cpu_memory_rw_debug(env, pc, &byte, 1, 0) == 0);
    return true;
}

static int insn_exec(CPUState *env, target_ulong pc)
{
    CHECK(rr_get_guest_instr_count() == count_insn_exec);
    count_insn_exec++;
    check_env(env, pc);
    return 0;
}

/* The value in guest memory. */
static target_ulong in_memory(CPUState *env, target_ulong addr)
{
    target_ulong value = 0;
    CHECK(panda_virtual_memory_rw(env, addr, (uint8_t *)&value, sizeof value, 0) == 0);
    return value;
}

static int on_read(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    check_env(env, pc);
    CHECK(size == sizeof(target_ulong) && !memcmp(buf, &(target_ulong){in_memory(env, addr)}, size));
    return 0;
}

static int mem_read(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    count_mem_read++;
    read_sum += *(target_ulong *)buf;
    return on_read(env, pc, addr, size, buf);
}

static int virt_mem_read(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    count_virt_mem_read++;
    return on_read(env, pc, addr, size, buf);
}

static int phys_mem_read(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    target_ulong value = 0;
    count_phys_mem_read++;
    CHECK(panda_physical_memory_rw(addr, (uint8_t *)&value, sizeof value, 0) == 0 && value == in_memory(env, addr));
    cpu_physical_memory_rw(addr, (uint8_t *)&value, sizeof value, 0);
    CHECK(value == in_memory(env, addr));
    return on_read(env, pc, addr, size, buf);
}

static int virt_mem_before_read(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    count_virt_mem_before_read++;
    check_env(env, pc);
    CHECK(addr != 0 && size == sizeof(target_ulong) && buf == NULL);
    return 0;
}

/* PANDA calls it before the store. */
static int mem_write(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    count_mem_write++;
    check_env(env, pc);
    CHECK(size == sizeof(target_ulong));
    write_sum += *(target_ulong *)buf;
    old_sum += in_memory(env, addr);
    return 0;
}

static int virt_mem_write(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    (void)addr; (void)size; (void)buf;
    count_virt_mem_write++;
    check_env(env, pc);
    return 0;
}

static int phys_mem_write(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    (void)addr; (void)size; (void)buf;
    count_phys_mem_write++;
    check_env(env, pc);
    return 0;
}

static int virt_mem_after_write(CPUState *env, target_ulong pc, target_ulong addr, target_ulong size, void *buf)
{
    count_virt_mem_after_write++;
    return on_read(env, pc, addr, size, buf);
}

/* As PANDA's sample does: 1 for every CPUID, its own or not. */
static int guest_hypercall(CPUState *env)
{
    count_guest_hypercall++;
    if (EAX == 0xdeadbeef)
        env->regs[R_EAX] = 0x0badf00d;
    return 1;
}

static int monitor(Monitor *mon, const char *cmd)
{
    count_monitor++;
    if (!strcmp(cmd, "help"))
        monitor_printf(mon, "kinds_count: how many\nkinds_%s: ", "name");
    if (!strcmp(cmd, "help"))
        monitor_printf(mon, "who\n");
    else if (!strcmp(cmd, "kinds_count"))
        monitor_printf(mon, "%lu commands", count_monitor);
    return 0;
}

static int user_before_syscall(void *cpu_env, bitmask_transtbl *table, int num, abi_long arg1, abi_long arg2,
                               abi_long arg3, abi_long arg4, abi_long arg5, abi_long arg6, abi_long arg7,
                               abi_long arg8)
{
    CPUState *env = (CPUState *)cpu_env;
    (void)arg2; (void)arg3; (void)arg4; (void)arg5; (void)arg6;
    count_user_before_syscall++;
    CHECK(table == NULL && arg7 == 0 && arg8 == 0 && env->regs[R_EAX] == (target_ulong)num);
#ifdef TARGET_X86_64
    CHECK(env->regs[R_EDI] == (target_ulong)arg1);
#else
    CHECK(env->regs[R_EBX] == (target_ulong)arg1);
#endif
    last_syscall = (unsigned long)num;
    return 0;
}

static int user_after_syscall(void *cpu_env, bitmask_transtbl *table, int num, abi_long arg1, abi_long arg2,
                              abi_long arg3, abi_long arg4, abi_long arg5, abi_long arg6, abi_long arg7,
                              abi_long arg8, void *p, abi_long ret)
{
    (void)arg1; (void)arg2; (void)arg3; (void)arg4; (void)arg5; (void)arg6; (void)arg7; (void)arg8;
    count_user_after_syscall++;
    CHECK(cpu_env != NULL && table == NULL && p == NULL && num >= 0 && ret > -4096);
    return 0;
}

static int never(CPUState *env)
{
    (void)env;
    CHECK(!"this never fires");
    return 0;
}

bool init_plugin(void *self)
{
    panda_arg_list *args = panda_get_args("kinds");
    panda_cb pcb;
    flush = panda_parse_bool(args, "flush");
#define REGISTER(kind, name)                                                                                           \
    pcb.name = name;                                                                                                   \
    panda_register_callback(self, kind, pcb)
    REGISTER(PANDA_CB_GUEST_HYPERCALL, guest_hypercall);
    REGISTER(PANDA_CB_MONITOR, monitor);
    REGISTER(PANDA_CB_USER_BEFORE_SYSCALL, user_before_syscall);
    REGISTER(PANDA_CB_USER_AFTER_SYSCALL, user_after_syscall);
    if (panda_parse_bool(args, "all")) {
        REGISTER(PANDA_CB_BEFORE_BLOCK_TRANSLATE, before_block_translate);
        REGISTER(PANDA_CB_AFTER_BLOCK_TRANSLATE, after_block_translate);
        REGISTER(PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, before_block_exec_invalidate_opt);
        REGISTER(PANDA_CB_BEFORE_BLOCK_EXEC, before_block_exec);
        REGISTER(PANDA_CB_AFTER_BLOCK_EXEC, after_block_exec);
        REGISTER(PANDA_CB_INSN_TRANSLATE, insn_translate);
        REGISTER(PANDA_CB_INSN_EXEC, insn_exec);
        REGISTER(PANDA_CB_MEM_READ, mem_read);
        REGISTER(PANDA_CB_MEM_WRITE, mem_write);
        REGISTER(PANDA_CB_VIRT_MEM_READ, virt_mem_read);
        REGISTER(PANDA_CB_VIRT_MEM_WRITE, virt_mem_write);
        REGISTER(PANDA_CB_VIRT_MEM_BEFORE_READ, virt_mem_before_read);
        REGISTER(PANDA_CB_VIRT_MEM_AFTER_WRITE, virt_mem_after_write);
        REGISTER(PANDA_CB_PHYS_MEM_READ, phys_mem_read);
        REGISTER(PANDA_CB_PHYS_MEM_WRITE, phys_mem_write);
    }
    if (panda_parse_bool(args, "machine")) {
        pcb.hd_read = never;
        panda_register_callback(self, PANDA_CB_HD_READ, pcb);
        panda_register_callback(self, PANDA_CB_VMI_PGD_CHANGED, pcb);
        panda_register_callback(self, PANDA_CB_REPLAY_HD_TRANSFER, pcb);
        panda_memsavep(stdout);
        panda_enable_llvm();
    }
    if (panda_parse_bool(args, "memcb"))
        panda_enable_memcb();
    panda_enable_precise_pc();
    panda_free_args(args);
    return ram_size == 0 && !execute_llvm && !generate_llvm && !funclog;
}

void uninit_plugin(void *self)
{
    FILE *out = fopen("kinds.txt", "w");
    (void)self;
    if (!out)
        return;
#define LINE(name) fprintf(out, #name " %lu\n", count_##name);
    KINDS(LINE)
    fprintf(out, "block_insns %lu\nread_sum %lu\nwrite_sum %lu\nold_sum %lu\nlast_syscall %lu\nwrong %lu %s\n",
            block_insns, read_sum, write_sum, old_sum, last_syscall, wrong, first_problem);
    fclose(out);
}
