/* Subscribes to every kind three times: without registers, reading and writing them, and tries every access each
 * time. "kind K flags F: N calls, W wrong" at the end. */
#include "panda_plugin.h"

#include <stdio.h>
#include <string.h>

static const panda_host_api *host;
static panda_plugin *self;
static const panda_regs_api *regs;
static uint32_t reg; /* the return value's */
static uint32_t word;

static const uint32_t FLAGS[3] = {PANDA_CB_NONE, PANDA_CB_READS_REGS, PANDA_CB_WRITES_REGS};

typedef struct subscription {
    uint32_t kind, flags;
    uint64_t calls, wrong;
} subscription;

static subscription subscriptions[25][3];

static panda_str text(const char *s)
{
    panda_str t = {s, strlen(s)};
    return t;
}

/* Everything a callback may try with registers. */
static void try(subscription *s, panda_cpu *cpu)
{
    uint8_t bytes[64];
    uint64_t value = 0, again = 0, size = 0;
    const uint32_t may_read = s->flags ? PANDA_OK : PANDA_NOT_DECLARED;
    const uint32_t may_write = s->flags & PANDA_CB_WRITES_REGS ? PANDA_OK : PANDA_NOT_DECLARED;
    s->calls++;
    if (!cpu) {
        s->wrong += regs->read_u64(cpu, reg, &value) != PANDA_NOT_NOW;
        s->wrong += regs->write(cpu, reg, (uint8_t *)&value, word) != PANDA_NOT_NOW;
        s->wrong += regs->pc(cpu) != 0;
        return;
    }
    s->wrong += regs->read_u64(cpu, reg, &value) != may_read;
    s->wrong += regs->read_u64s(cpu, &reg, &again, 1) != may_read || again != value;
    s->wrong += regs->read(cpu, reg, bytes, sizeof bytes, &size) != may_read;
    s->wrong += size != (s->flags ? word : 0);
    if (!s->flags)
        s->wrong += regs->sp(cpu) != 0 || regs->pc(cpu) != 0;
    else if (s->kind != PANDA_CB_MODULE_LOADED) /* the first comes before they are known */
        s->wrong += regs->sp(cpu) == 0 || regs->pc(cpu) == 0;
    if (may_write != PANDA_OK)
        value = ~value; /* the guest would not survive it */
    s->wrong += regs->write(cpu, reg, (uint8_t *)&value, word) != may_write;
}

static uint32_t on_translate(void *user, panda_cpu *cpu, uint64_t pc, const uint8_t *bytes, uint32_t len)
{
    (void)pc; (void)bytes; (void)len;
    try(user, cpu);
    return 1;
}

static void on_pc(void *user, panda_cpu *cpu, uint64_t pc)
{
    (void)pc;
    try(user, cpu);
}

static void on_block(void *user, panda_cpu *cpu, const panda_block_info *block)
{
    (void)block;
    try(user, cpu);
}

static void on_after_block(void *user, panda_cpu *cpu, const panda_block_info *block, uint32_t exit)
{
    (void)block; (void)exit;
    try(user, cpu);
}

static void on_mem(void *user, panda_cpu *cpu, uint64_t pc, uint64_t addr, uint64_t size, const uint8_t *data)
{
    (void)pc; (void)addr; (void)size; (void)data;
    try(user, cpu);
}

static void on_enter(void *user, panda_cpu *cpu, const panda_syscall_info *call)
{
    (void)call;
    try(user, cpu);
}

static void on_return(void *user, panda_cpu *cpu, const panda_syscall_info *call, int64_t result)
{
    (void)call; (void)result;
    try(user, cpu);
}

static uint32_t on_hypercall(void *user, panda_cpu *cpu)
{
    try(user, cpu);
    return 0;
}

static uint32_t on_monitor(void *user, panda_cpu *cpu, const uint8_t *line, uint64_t len)
{
    (void)line; (void)len;
    try(user, cpu);
    return 1;
}

#define ON_INFO(name, type)                                                                                           \
    static void name(void *user, panda_cpu *cpu, const type *info)                                                    \
    {                                                                                                                 \
        (void)info;                                                                                                   \
        try(user, cpu);                                                                                               \
    }
ON_INFO(on_module, panda_module_info)
ON_INFO(on_thread, panda_thread_info)
ON_INFO(on_fork, panda_fork_info)
ON_INFO(on_exec, panda_exec_info)
ON_INFO(on_signal, panda_signal_info)

static void on_ready(void *user, panda_cpu *cpu) { try(user, cpu); }

static void on_exit_(void *user, panda_cpu *cpu, uint32_t kind, int32_t code)
{
    (void)kind; (void)code;
    try(user, cpu);
}

static uint32_t init(const panda_host_api *h, panda_plugin *s, const panda_init_info *info, void **state)
{
    const panda_os_api *os;
    uint32_t bad = 0;
    (void)info; (void)state;
    host = h;
    self = s;
    regs = host->get_extension(host, self, text(PANDA_SERVICE_REGS));
    os = host->get_extension(host, self, text(PANDA_SERVICE_OS));
    word = os->word_size(self);
    bad |= regs->by_name(self, text(word == 8 ? "rax" : "eax"), &reg);
    for (int n = 0; n < 3; n++) {
        panda_id id;
        for (uint32_t k = 1; k < 25; k++) {
            subscriptions[k][n].kind = k;
            subscriptions[k][n].flags = FLAGS[n];
        }
#define ON(name, KIND, function)                                                                                      \
    bad |= panda_on_##name(host, self, function, &subscriptions[PANDA_CB_##KIND][n], FLAGS[n], &id)
        ON(insn_translate, INSN_TRANSLATE, on_translate);
        ON(insn_exec, INSN_EXEC, on_pc);
        ON(after_insn_exec, AFTER_INSN_EXEC, on_pc);
        ON(before_block_translate, BEFORE_BLOCK_TRANSLATE, on_pc);
        ON(after_block_translate, AFTER_BLOCK_TRANSLATE, on_block);
        ON(before_block_exec, BEFORE_BLOCK_EXEC, on_block);
        ON(after_block_exec, AFTER_BLOCK_EXEC, on_after_block);
        ON(virt_mem_before_read, VIRT_MEM_BEFORE_READ, on_mem);
        ON(virt_mem_after_read, VIRT_MEM_AFTER_READ, on_mem);
        ON(virt_mem_before_write, VIRT_MEM_BEFORE_WRITE, on_mem);
        ON(virt_mem_after_write, VIRT_MEM_AFTER_WRITE, on_mem);
        ON(syscall_enter, SYSCALL_ENTER, on_enter);
        ON(syscall_return, SYSCALL_RETURN, on_return);
        ON(guest_hypercall, GUEST_HYPERCALL, on_hypercall);
        ON(monitor, MONITOR, on_monitor);
        ON(module_loaded, MODULE_LOADED, on_module);
        ON(module_unloaded, MODULE_UNLOADED, on_module);
        ON(thread_start, THREAD_START, on_thread);
        ON(thread_exit, THREAD_EXIT, on_thread);
        ON(process_fork, PROCESS_FORK, on_fork);
        ON(process_exec, PROCESS_EXEC, on_exec);
        ON(signal_delivered, SIGNAL_DELIVERED, on_signal);
        ON(guest_ready, GUEST_READY, on_ready);
        ON(guest_exit, GUEST_EXIT, on_exit_);
    }
    return bad ? PANDA_FAILED : PANDA_OK;
}

static void uninit(void *state)
{
    char line[100];
    (void)state;
    for (int k = 1; k < 25; k++)
        for (int n = 0; n < 3; n++) {
            const subscription *s = &subscriptions[k][n];
            snprintf(line, sizeof line, "kind %d flags %u: %s, %lu wrong", k, s->flags, s->calls ? "called" : "never",
                     (unsigned long)s->wrong);
            host->log(host, self, PANDA_INFO, text(line));
        }
}

PANDA_PLUGIN("declared", "1.0", "Tries what it did not declare", NULL, 0, init, uninit, NULL)
