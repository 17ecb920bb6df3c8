/*
 * callbacks.c - registration, and the bridges from native callbacks to PANDA's
 */
#include "runtime.h"

#define READS_WRITES (PANDA_CB_READS_REGS | PANDA_CB_WRITES_REGS)
#define HOST panda1.host, panda1.self

/* A registered callback. */
typedef struct subscription {
    panda_cb_type type;
    panda_cb cb;
    int level;
    bool memory; /* subject to panda_enable_memcb */
    bool on;
    panda_id id; /* 0: it never fires */
    struct subscription *next;
} subscription;

/* In the order of registration. */
static subscription *subscriptions;
/* The native insn_translate, for all of this plugin's. */
static panda_id insn_translate_id;
static bool running = true;

/* ---- Bridges ---- */

/* The processor while a callback runs; callbacks of other plugins may run inside. */
typedef struct scope {
    panda_cpu *cpu;
    CPUState *env;
} scope;

static CPUState *enter(scope *outer, panda_cpu *cpu, const uint64_t *pc)
{
    CPUState *env = panda1_env_load(cpu, pc);
    outer->cpu = panda1.group->cpu;
    outer->env = cpu_single_env;
    panda1.group->cpu = cpu;
    cpu_single_env = first_cpu = env;
    panda1_point_set(cpu, env);
    return env;
}

/* Whether the callback changed a register. */
static bool leave(const scope *outer, CPUState *env)
{
    const bool changed = panda1_env_store(env);
    panda1.group->cpu = outer->cpu;
    cpu_single_env = first_cpu = outer->env;
    return changed;
}

static TranslationBlock describe(CPUState *env, const panda_block_info *block)
{
    TranslationBlock tb;
    memset(&tb, 0, sizeof tb);
    tb.pc = (target_ulong)block->pc;
    tb.size = (uint32_t)block->size;
    tb.icount = block->insn_count;
#if defined(TARGET_I386)
    tb.flags = env->hflags;
#else
    (void)env;
#endif
    return tb;
}

static void before_block_translate(void *user, panda_cpu *cpu, uint64_t pc)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, &pc);
    ((subscription *)user)->cb.before_block_translate(env, (target_ulong)pc);
    leave(&outer, env);
}

static void after_block_translate(void *user, panda_cpu *cpu, const panda_block_info *block)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, &block->pc);
    TranslationBlock tb = describe(env, block);
    ((subscription *)user)->cb.after_block_translate(env, &tb);
    leave(&outer, env);
}

static void before_block_exec_invalidate_opt(void *user, panda_cpu *cpu, const panda_block_info *block)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, &block->pc);
    TranslationBlock tb = describe(env, block);
    if (((subscription *)user)->cb.before_block_exec_invalidate_opt(env, &tb))
        panda_do_flush_tb();
    leave(&outer, env);
}

static void before_block_exec(void *user, panda_cpu *cpu, const panda_block_info *block)
{
    const subscription *s = (const subscription *)user;
    scope outer;
    CPUState *env = enter(&outer, cpu, &block->pc);
    TranslationBlock tb = describe(env, block);
    if (s->level > 0)
        s->cb.before_block_exec(env, &tb); /* int or void: ignored */
    else if (s->cb.before_block_exec_invalidate_opt(env, &tb))
        panda_do_flush_tb(); /* in 2012 the two kinds were one */
    leave(&outer, env);
}

static void after_block_exec(void *user, panda_cpu *cpu, const panda_block_info *block, uint32_t exit)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, NULL);
    TranslationBlock tb = describe(env, block);
    (void)exit;
    ((subscription *)user)->cb.after_block_exec(env, &tb, NULL);
    leave(&outer, env);
}

static uint32_t insn_translate(void *user, panda_cpu *cpu, uint64_t pc, const uint8_t *bytes, uint32_t len)
{
    (void)user;
    (void)bytes;
    (void)len;
    return panda1_group_wants_insn(cpu, pc);
}

uint32_t panda1_wants_insn(panda_cpu *cpu, uint64_t pc)
{
    subscription *s;
    scope outer;
    CPUState *env = enter(&outer, cpu, &pc);
    uint32_t wanted = 0;
    for (s = subscriptions; s; s = s->next)
        if (s->type == PANDA_CB_INSN_TRANSLATE && s->cb.insn_translate(env, (target_ulong)pc))
            wanted = 1;
    leave(&outer, env);
    return wanted;
}

static void insn_exec(void *user, panda_cpu *cpu, uint64_t pc)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, &pc);
    ((subscription *)user)->cb.insn_exec(env, (target_ulong)pc);
    leave(&outer, env);
}

/* All memory kinds have one type. */
static void memory(void *user, panda_cpu *cpu, uint64_t pc, uint64_t addr, uint64_t size, const uint8_t *data)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, &pc);
    ((subscription *)user)
        ->cb.virt_mem_read(env, (target_ulong)pc, (target_ulong)addr, (target_ulong)size, (void *)(uintptr_t)data);
    leave(&outer, env);
}

static uint32_t guest_hypercall(void *user, panda_cpu *cpu)
{
    const subscription *s = (const subscription *)user;
    scope outer;
    CPUState *env = enter(&outer, cpu, NULL);
    bool answered, changed;
    if (s->level >= 2)
        answered = ((bool (*)(CPUState *))(panda_any_fn)s->cb.guest_hypercall)(env);
    else
        answered = s->cb.guest_hypercall(env) != 0;
    changed = leave(&outer, env);
    /* PANDA 1 ignores the result, and its plugins return 1 for every CPUID, also when it is not for them. */
    return answered && (changed || s->level >= 2);
}

static uint32_t monitor(void *user, panda_cpu *cpu, const uint8_t *text, uint64_t len)
{
    const subscription *s = (const subscription *)user;
    char *command = g_strndup((const char *)text, (size_t)len);
    Monitor *mon = panda1_monitor_begin();
    bool understood;
    scope outer;
    CPUState *env = cpu ? enter(&outer, cpu, NULL) : NULL;
    understood = s->cb.monitor(mon, command) != 0;
    if (env)
        leave(&outer, env);
    g_free(command);
    return panda1_monitor_end(mon) || understood;
}

/* Arguments of a system call as PANDA passes them. */
#define SYSCALL_ARGUMENTS(call)                                                                                        \
    NULL, (int)(call)->number, (abi_long)(call)->args[0], (abi_long)(call)->args[1], (abi_long)(call)->args[2],        \
        (abi_long)(call)->args[3], (abi_long)(call)->args[4], (abi_long)(call)->args[5], 0, 0

static void user_before_syscall(void *user, panda_cpu *cpu, const panda_syscall_info *call)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, &call->pc);
    ((subscription *)user)->cb.user_before_syscall(env, SYSCALL_ARGUMENTS(call));
    leave(&outer, env);
}

static void user_after_syscall(void *user, panda_cpu *cpu, const panda_syscall_info *call, int64_t result)
{
    scope outer;
    CPUState *env = enter(&outer, cpu, NULL);
    ((subscription *)user)->cb.user_after_syscall(env, SYSCALL_ARGUMENTS(call), NULL, (abi_long)result);
    leave(&outer, env);
}

/* ---- Registration ---- */

/* Why a kind never fires, or NULL. */
static const char *never(panda_cb_type type)
{
    switch (type) {
    case PANDA_CB_HD_READ: return "HD_READ";
    case PANDA_CB_HD_WRITE: return "HD_WRITE";
    case PANDA_CB_LLVM_INIT: return "LLVM_INIT";
    case PANDA_CB_CPU_RESTORE_STATE: return "CPU_RESTORE_STATE";
    case PANDA_CB_BEFORE_REPLAY_LOADVM: return "BEFORE_REPLAY_LOADVM";
    case PANDA_CB_VMI_PGD_CHANGED: return "VMI_PGD_CHANGED";
    case PANDA_CB_REPLAY_HD_TRANSFER: return "REPLAY_HD_TRANSFER";
    case PANDA_CB_REPLAY_NET_TRANSFER: return "REPLAY_NET_TRANSFER";
    case PANDA_CB_REPLAY_BEFORE_CPU_PHYSICAL_MEM_RW_RAM: return "REPLAY_BEFORE_CPU_PHYSICAL_MEM_RW_RAM";
    case PANDA_CB_REPLAY_AFTER_CPU_PHYSICAL_MEM_RW_RAM: return "REPLAY_AFTER_CPU_PHYSICAL_MEM_RW_RAM";
    case PANDA_CB_REPLAY_HANDLE_PACKET: return "REPLAY_HANDLE_PACKET";
    default: return NULL;
    }
}

/* Subscribes natively. */
static uint32_t subscribe(subscription *s)
{
    panda_id *id = &s->id;
    switch (s->type) {
    case PANDA_CB_BEFORE_BLOCK_TRANSLATE:
        return panda_on_before_block_translate(HOST, before_block_translate, s, READS_WRITES, id);
    case PANDA_CB_AFTER_BLOCK_TRANSLATE:
        return panda_on_after_block_translate(HOST, after_block_translate, s, READS_WRITES, id);
    case PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT:
        return panda_on_before_block_exec(HOST, before_block_exec_invalidate_opt, s, READS_WRITES, id);
    case PANDA_CB_BEFORE_BLOCK_EXEC:
        return panda_on_before_block_exec(HOST, before_block_exec, s, READS_WRITES, id);
    case PANDA_CB_AFTER_BLOCK_EXEC:
        return panda_on_after_block_exec(HOST, after_block_exec, s, READS_WRITES, id);
    case PANDA_CB_INSN_TRANSLATE:
        return PANDA_OK;
    case PANDA_CB_INSN_EXEC:
        return panda_on_insn_exec(HOST, insn_exec, s, READS_WRITES, id);
    case PANDA_CB_VIRT_MEM_BEFORE_READ:
    case PANDA_CB_PHYS_MEM_BEFORE_READ:
        return panda_on_virt_mem_before_read(HOST, memory, s, READS_WRITES, id);
    case PANDA_CB_VIRT_MEM_AFTER_READ:
    case PANDA_CB_PHYS_MEM_AFTER_READ:
        return panda_on_virt_mem_after_read(HOST, memory, s, READS_WRITES, id);
    case PANDA_CB_VIRT_MEM_BEFORE_WRITE:
    case PANDA_CB_PHYS_MEM_BEFORE_WRITE:
        return panda_on_virt_mem_before_write(HOST, memory, s, READS_WRITES, id);
    case PANDA_CB_VIRT_MEM_AFTER_WRITE:
    case PANDA_CB_PHYS_MEM_AFTER_WRITE:
        return panda_on_virt_mem_after_write(HOST, memory, s, READS_WRITES, id);
    case PANDA_CB_GUEST_HYPERCALL:
        return panda_on_guest_hypercall(HOST, guest_hypercall, s, READS_WRITES, id);
    case PANDA_CB_MONITOR:
        return panda_on_monitor(HOST, monitor, s, READS_WRITES, id);
    case PANDA_CB_USER_BEFORE_SYSCALL:
        return panda_on_syscall_enter(HOST, user_before_syscall, s, READS_WRITES, id);
    case PANDA_CB_USER_AFTER_SYSCALL:
        return panda_on_syscall_return(HOST, user_after_syscall, s, READS_WRITES, id);
    default:
        return never(s->type) ? PANDA_OK : PANDA_UNKNOWN;
    }
}

/* Whether the kind's callbacks wait for panda_enable_memcb. */
static bool is_memory(panda_cb_type type)
{
    return type >= PANDA_CB_VIRT_MEM_BEFORE_READ && type <= PANDA_CB_PHYS_MEM_AFTER_WRITE;
}

/* Enables or disables the native subscription as the switches say. */
static void switch_on(subscription *s)
{
    const bool on = running && (!s->memory || panda1.group->memcb);
    if (s->id == 0 || s->on == on)
        return;
    s->on = on;
    if (on)
        panda1.host->enable_cb(HOST, s->id);
    else
        panda1.host->disable_cb(HOST, s->id);
}

static uint32_t ask_about_instructions(void)
{
    if (insn_translate_id != 0)
        return PANDA_OK;
    panda1.member.asks = running;
    panda1.group->insn_left = 0;
    return panda_on_insn_translate(HOST, insn_translate, NULL, READS_WRITES, &insn_translate_id);
}

void panda1_register_callback(void *self, panda_cb_type type, panda_cb cb, int level)
{
    subscription **end = &subscriptions;
    subscription *s;
    uint32_t status;
    if (self != panda1.handle) {
        panda1_log(PANDA_ERROR, "a callback is registered for another plugin's handle, and ignored");
        return;
    }
    if (!cb.insn_exec) {
        panda1_log(PANDA_ERROR, "a callback of kind %d is registered with a NULL function, and ignored", (int)type);
        return;
    }
    s = g_new0(subscription, 1);
    s->type = type;
    s->cb = cb;
    s->level = level;
    s->memory = is_memory(type);
    s->on = true;
    status = subscribe(s);
    if (status == PANDA_OK && (type == PANDA_CB_INSN_TRANSLATE || type == PANDA_CB_INSN_EXEC))
        status = ask_about_instructions();
    if (status != PANDA_OK) {
        panda1_fail("the host refused a callback of kind %d with status %u", (int)type, status);
        g_free(s);
        return;
    }
    if (never(type))
        panda1_log(PANDA_WARN, "PANDA_CB_%s never fires: the guest is a program, not a machine", never(type));
    while (*end)
        end = &(*end)->next;
    *end = s;
    switch_on(s);
    /* Instructions that were asked about have to be asked about again. */
    if (type == PANDA_CB_INSN_TRANSLATE)
        panda_do_flush_tb();
}

/* A callback may unregister itself: what it runs with stays until the end of the plugin. */
static void retire(subscription *s)
{
    if (s->id != 0)
        panda1.host->unregister_cb(HOST, s->id);
    s->id = 0;
    s->type = PANDA_CB_LAST;
}

void panda_unregister_callbacks(void *self)
{
    subscription *s;
    if (self != panda1.handle) {
        panda1_log(PANDA_ERROR, "callbacks of another plugin's handle cannot be unregistered");
        return;
    }
    for (s = subscriptions; s; s = s->next)
        retire(s);
    if (insn_translate_id != 0)
        panda1.host->unregister_cb(HOST, insn_translate_id);
    insn_translate_id = 0;
    panda1.member.asks = 0;
    panda1.group->insn_left = 0;
}

void panda1_callbacks_end(void)
{
    subscription *s = subscriptions, *next;
    if (panda1.group)
        panda_unregister_callbacks(panda1.handle);
    subscriptions = NULL;
    for (; s; s = next) {
        next = s->next;
        g_free(s);
    }
}

void panda1_set_running(uint32_t on)
{
    subscription *s;
    running = on != 0;
    for (s = subscriptions; s; s = s->next)
        switch_on(s);
    panda1.group->insn_left = 0;
    if (insn_translate_id == 0)
        return;
    panda1.member.asks = on;
    if (running)
        panda1.host->enable_cb(HOST, insn_translate_id);
    else
        panda1.host->disable_cb(HOST, insn_translate_id);
}

void panda1_memcb_changed(void)
{
    subscription *s;
    for (s = subscriptions; s; s = s->next)
        switch_on(s);
}
