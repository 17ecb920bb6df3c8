/* A plugin in the common subset of C and C++ that uses every part of the interface. */
#include "panda_plugin.h"

struct state {
    const panda_host_api *host;
    panda_plugin *self;
    const panda_mem_api *mem;
    const panda_regs_api *regs;
    const panda_os_api *os;
    const panda_counters_api *counters;
    const panda_monitor_api *monitor;
    const panda_conditions_api *conditions;
    uint64_t events[25];
    uint64_t insns;
    uint64_t threshold;
};

static struct state plugin;

static panda_str str(const char *text)
{
    panda_str s;
    s.ptr = text;
    s.len = 0;
    while (text[s.len])
        s.len++;
    return s;
}

static uint32_t on_insn_translate(void *user, panda_cpu *cpu, uint64_t pc, const uint8_t *bytes, uint32_t len)
{
    (void)user; (void)cpu; (void)pc;
    plugin.events[PANDA_CB_INSN_TRANSLATE]++;
    return len == 2 && bytes[0] == 0x0f && bytes[1] == 0x05;
}

/* The user data of the payload-free callbacks is their counter. */
static void on_pc(void *user, panda_cpu *cpu, uint64_t pc)
{
    (void)cpu; (void)pc;
    ++*(uint64_t *)user;
}

static void on_block(void *user, panda_cpu *cpu, const panda_block_info *block)
{
    (void)cpu; (void)block;
    ++*(uint64_t *)user;
}

static void on_after_block_exec(void *user, panda_cpu *cpu, const panda_block_info *block, uint32_t exit)
{
    (void)cpu; (void)block; (void)exit;
    ++*(uint64_t *)user;
}

static void on_mem(void *user, panda_cpu *cpu, uint64_t pc, uint64_t addr, uint64_t size, const uint8_t *data)
{
    uint8_t byte = 0;
    uint64_t length = 0;
    (void)pc; (void)data; (void)size;
    plugin.mem->read(cpu, addr, &byte, 1);
    plugin.mem->read_cstr(cpu, addr, &byte, 1, &length);
    plugin.mem->write(cpu, addr, &byte, 1);
    ++*(uint64_t *)user;
}

static void on_syscall_enter(void *user, panda_cpu *cpu, const panda_syscall_info *call)
{
    (void)cpu;
    plugin.os->syscall_name(plugin.self, call->abi, call->number);
    ++*(uint64_t *)user;
}

static void on_syscall_return(void *user, panda_cpu *cpu, const panda_syscall_info *call, int64_t result)
{
    (void)cpu; (void)call; (void)result;
    ++*(uint64_t *)user;
}

static uint32_t on_guest_hypercall(void *user, panda_cpu *cpu)
{
    uint64_t value = 0;
    uint64_t size = 0;
    (void)user;
    plugin.events[PANDA_CB_GUEST_HYPERCALL]++;
    plugin.regs->read_u64(cpu, 0, &value);
    plugin.regs->write(cpu, 0, (const uint8_t *)&value, sizeof value);
    plugin.regs->read(cpu, 0, (uint8_t *)&value, sizeof value, &size);
    return plugin.regs->pc(cpu) == plugin.regs->sp(cpu);
}

static uint32_t on_monitor(void *user, panda_cpu *cpu, const uint8_t *text, uint64_t len)
{
    (void)user; (void)cpu; (void)text;
    plugin.events[PANDA_CB_MONITOR]++;
    plugin.monitor->reply(plugin.self, str("heard"));
    return len == 4;
}

static void on_module(void *user, panda_cpu *cpu, const panda_module_info *module)
{
    (void)cpu; (void)module;
    ++*(uint64_t *)user;
}

static void on_thread(void *user, panda_cpu *cpu, const panda_thread_info *thread)
{
    (void)cpu; (void)thread;
    ++*(uint64_t *)user;
}

static void on_fork(void *user, panda_cpu *cpu, const panda_fork_info *info)
{
    (void)cpu; (void)info;
    ++*(uint64_t *)user;
}

static void on_exec(void *user, panda_cpu *cpu, const panda_exec_info *info)
{
    (void)cpu; (void)info;
    ++*(uint64_t *)user;
}

static void on_signal(void *user, panda_cpu *cpu, const panda_signal_info *info)
{
    (void)cpu; (void)info;
    ++*(uint64_t *)user;
}

static void on_guest_ready(void *user, panda_cpu *cpu)
{
    plugin.os->pid(cpu);
    plugin.os->tid(cpu);
    plugin.os->retired(cpu);
    plugin.os->in_kernel(cpu);
    plugin.os->address_space(cpu);
    ++*(uint64_t *)user;
}

static void on_guest_exit(void *user, panda_cpu *cpu, uint32_t kind, int32_t code)
{
    (void)cpu; (void)kind; (void)code;
    ++*(uint64_t *)user;
}

static uint32_t init(const panda_host_api *host, panda_plugin *self, const panda_init_info *info, void **state)
{
    panda_id id = 0;
    uint32_t i;
    uint32_t bad = 0;
    const uint32_t flags = PANDA_CB_READS_REGS;

    plugin.host = host;
    plugin.self = self;
    plugin.mem = (const panda_mem_api *)host->get_extension(host, self, str(PANDA_SERVICE_MEM));
    plugin.regs = (const panda_regs_api *)host->get_extension(host, self, str(PANDA_SERVICE_REGS));
    plugin.os = (const panda_os_api *)host->get_extension(host, self, str(PANDA_SERVICE_OS));
    plugin.counters = (const panda_counters_api *)host->get_extension(host, self, str(PANDA_SERVICE_COUNTERS));
    plugin.monitor = (const panda_monitor_api *)host->get_extension(host, self, str(PANDA_SERVICE_MONITOR));
    plugin.conditions = (const panda_conditions_api *)host->get_extension(host, self, str(PANDA_SERVICE_CONDITIONS));
    if (!plugin.conditions || !plugin.mem || !plugin.regs || !plugin.os || !plugin.counters || !plugin.monitor) {
        host->plugin_failed(host, self, str("a table is missing"));
        return PANDA_FAILED;
    }
    for (i = 0; i < info->args_count; i++) {
        const panda_arg_value *arg =
            (const panda_arg_value *)(const void *)((const char *)info->args + (size_t)i * info->arg_size);
        if (arg->kind == PANDA_ARG_U64)
            plugin.threshold = arg->bits;
    }

#define COUNT(name, KIND, func) bad |= panda_on_##name(host, self, func, &plugin.events[KIND], flags, &id);
    COUNT(insn_translate, PANDA_CB_INSN_TRANSLATE, on_insn_translate)
    COUNT(insn_exec, PANDA_CB_INSN_EXEC, on_pc)
    COUNT(after_insn_exec, PANDA_CB_AFTER_INSN_EXEC, on_pc)
    COUNT(before_block_translate, PANDA_CB_BEFORE_BLOCK_TRANSLATE, on_pc)
    COUNT(after_block_translate, PANDA_CB_AFTER_BLOCK_TRANSLATE, on_block)
    COUNT(before_block_exec, PANDA_CB_BEFORE_BLOCK_EXEC, on_block)
    COUNT(after_block_exec, PANDA_CB_AFTER_BLOCK_EXEC, on_after_block_exec)
    COUNT(virt_mem_before_read, PANDA_CB_VIRT_MEM_BEFORE_READ, on_mem)
    COUNT(virt_mem_after_read, PANDA_CB_VIRT_MEM_AFTER_READ, on_mem)
    COUNT(virt_mem_before_write, PANDA_CB_VIRT_MEM_BEFORE_WRITE, on_mem)
    COUNT(virt_mem_after_write, PANDA_CB_VIRT_MEM_AFTER_WRITE, on_mem)
    COUNT(syscall_enter, PANDA_CB_SYSCALL_ENTER, on_syscall_enter)
    COUNT(syscall_return, PANDA_CB_SYSCALL_RETURN, on_syscall_return)
    COUNT(guest_hypercall, PANDA_CB_GUEST_HYPERCALL, on_guest_hypercall)
    COUNT(monitor, PANDA_CB_MONITOR, on_monitor)
    COUNT(module_loaded, PANDA_CB_MODULE_LOADED, on_module)
    COUNT(module_unloaded, PANDA_CB_MODULE_UNLOADED, on_module)
    COUNT(thread_start, PANDA_CB_THREAD_START, on_thread)
    COUNT(thread_exit, PANDA_CB_THREAD_EXIT, on_thread)
    COUNT(process_fork, PANDA_CB_PROCESS_FORK, on_fork)
    COUNT(process_exec, PANDA_CB_PROCESS_EXEC, on_exec)
    COUNT(signal_delivered, PANDA_CB_SIGNAL_DELIVERED, on_signal)
    COUNT(guest_ready, PANDA_CB_GUEST_READY, on_guest_ready)
    COUNT(guest_exit, PANDA_CB_GUEST_EXIT, on_guest_exit)
#undef COUNT
    bad |= host->disable_cb(host, self, id);
    bad |= host->enable_cb(host, self, id);
    if (plugin.conditions->countdown(self, id, 2, 2) != PANDA_UNSUPPORTED)
        bad = 1; /* guest_exit has no conditions */
    bad |= panda_on_virt_mem_after_write(host, self, on_mem, &plugin.events[0], flags, &id);
    bad |= plugin.conditions->within(self, id, 0x1000, 0x2000);
    bad |= plugin.conditions->countdown(self, id, 1, 100);
    bad |= host->unregister_cb(host, self, id);
    bad |= plugin.counters->add(self, PANDA_COUNT_INSNS, &plugin.insns, 1, &id);
    bad |= plugin.counters->remove(self, id);
    bad |= plugin.counters->add(self, PANDA_COUNT_INSNS, &plugin.insns, 1, &id);
    if (bad) {
        host->plugin_failed(host, self, str("the host refused something"));
        return PANDA_FAILED;
    }
    host->log(host, self, PANDA_INFO, str("c_plugin is ready"));
    *state = &plugin;
    return PANDA_OK;
}

static void uninit(void *state)
{
    const struct state *s = (const struct state *)state;
    uint32_t kind;
    for (kind = 1; kind < 25; kind++) {
        if (s->events[kind] < s->threshold)
            s->host->log(s->host, s->self, PANDA_WARN, str("a callback was seen too rarely"));
    }
    s->host->log(s->host, s->self, PANDA_INFO, str("c_plugin has ended"));
}

static uint32_t flush(void *state, uint32_t reason)
{
    (void)state;
    return reason == PANDA_FLUSH_REQUEST ? PANDA_OK : PANDA_UNSUPPORTED;
}

static const panda_arg_desc args[] = {
    {PANDA_STR("threshold"), PANDA_ARG_U64, 0, PANDA_STR("1"), PANDA_STR("least number of each callback"), NULL, 0,
     0},
};

PANDA_PLUGIN("c_plugin", "1.0", "Uses every part of the interface", args, 1, init, uninit, flush)
