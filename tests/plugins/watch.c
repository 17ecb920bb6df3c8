/* Logs what it sees, a line an event: "PID what". Frequent kinds are counted and logged at the end.
 * What it does besides is chosen when it is compiled. */
#include "panda_plugin.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef SUBSCRIBE_HOT
#define SUBSCRIBE_HOT 0
#endif
#ifndef LEAVE_ON_FIRST /* unsubscribe from syscall_enter inside its first call */
#define LEAVE_ON_FIRST 0
#endif
#ifndef STOP_AT /* stop the guest at this system call, with status 42 */
#define STOP_AT -1
#endif
#ifndef FAIL_AT /* fail at this system call */
#define FAIL_AT -1
#endif
#ifndef UNLOAD_AT /* unload at this system call */
#define UNLOAD_AT -1
#endif

static const panda_host_api *host;
static panda_plugin *self;
static const panda_mem_api *mem;
static const panda_regs_api *regs;
static const panda_os_api *os;
static panda_id on_enter_id;
static uint64_t counts[25];

static panda_str text(const char *s)
{
    panda_str t = {s, strlen(s)};
    return t;
}

static void say(panda_cpu *cpu, const char *format, ...)
{
    /* The guest lives in the host's process. */
    char line[400];
    int at = snprintf(line, sizeof line, "%u ", (unsigned)getpid());
    va_list list;
    if (cpu && os->pid(cpu) != (uint32_t)getpid())
        at += snprintf(line + at, sizeof line - at, "WRONG PID %u ", os->pid(cpu));
    va_start(list, format);
    vsnprintf(line + at, sizeof line - at, format, list);
    va_end(list);
    host->log(host, self, PANDA_INFO, text(line));
}

static void on_enter(void *user, panda_cpu *cpu, const panda_syscall_info *call)
{
    uint32_t id = 0;
    uint64_t number = 0;
    uint8_t bytes[2] = {0, 0}, nothing;
    char data[64];
    const panda_str name = os->syscall_name(self, call->abi, call->number);
    (void)user;
    counts[PANDA_CB_SYSCALL_ENTER]++;
    regs->by_name(self, text(os->word_size(self) == 8 ? "rax" : "eax"), &id);
    regs->read_u64(cpu, id, &number);
    mem->read(cpu, call->pc, bytes, 2);
    if (number != call->number || mem->read(cpu, 0, &nothing, 1) != PANDA_FAULT)
        say(cpu, "WRONG: register %lu, number %lu", (unsigned long)number, (unsigned long)call->number);
    if (name.len == 5 && !memcmp(name.ptr, "write", 5) && call->args[2] < sizeof data
        && mem->read(cpu, call->args[1], (uint8_t *)data, call->args[2]) == PANDA_OK)
        say(cpu, "%02x %02x entry %u write(%d) %.*s", bytes[0], bytes[1], call->entry, (int)call->args[0],
            (int)call->args[2] - 1, data);
    if (LEAVE_ON_FIRST) {
        const uint32_t first = host->unregister_cb(host, self, on_enter_id);
        const uint32_t second = host->unregister_cb(host, self, on_enter_id);
        say(cpu, "unregister: %u, again: %u", first, second);
    }
    if ((long)call->number == STOP_AT)
        say(cpu, "request_stop: %u", host->request_stop(host, self, 42, text("enough")));
    if ((long)call->number == FAIL_AT)
        host->plugin_failed(host, self, text("this is too much"));
    if ((long)call->number == UNLOAD_AT)
        say(cpu, "unload_self: %u", host->unload_self(host, self));
}

static void on_return(void *user, panda_cpu *cpu, const panda_syscall_info *call, int64_t result)
{
    const panda_str name = os->syscall_name(self, call->abi, call->number);
    (void)user;
    counts[PANDA_CB_SYSCALL_RETURN]++;
    if (name.len == 5 && !memcmp(name.ptr, "write", 5))
        say(cpu, "write returns %ld", (long)result);
}

static void on_thread_start(void *user, panda_cpu *cpu, const panda_thread_info *thread)
{
    (void)user;
    say(cpu, "thread_start main=%d", thread->tid == thread->pid);
}

static void on_thread_exit(void *user, panda_cpu *cpu, const panda_thread_info *thread)
{
    (void)user;
    say(cpu, "thread_exit main=%d", thread->tid == thread->pid);
}

static void on_fork(void *user, panda_cpu *cpu, const panda_fork_info *fork)
{
    (void)user;
    say(cpu, "process_fork %s", fork->side == PANDA_FORK_CHILD ? "child" : "parent");
}

static void on_exec(void *user, panda_cpu *cpu, const panda_exec_info *exec)
{
    const char *slash = memrchr(exec->path.ptr, '/', exec->path.len);
    const int skip = slash ? (int)(slash + 1 - exec->path.ptr) : 0;
    (void)user;
    say(cpu, "process_exec %.*s arch %u word %u", (int)exec->path.len - skip, exec->path.ptr + skip, exec->arch,
        exec->word_size);
}

static void on_signal(void *user, panda_cpu *cpu, const panda_signal_info *signal)
{
    (void)user;
    say(cpu, "signal_delivered %d code %d handler=%d flags %u", signal->signo, signal->code, signal->handler != 0,
        signal->flags);
}

static void on_module(void *user, panda_cpu *cpu, const panda_module_info *module)
{
    const char *slash = memrchr(module->path.ptr, '/', module->path.len);
    const int skip = slash ? (int)(slash + 1 - module->path.ptr) : 0;
    say(cpu, "%s %.*s", (const char *)user, (int)module->path.len - skip, module->path.ptr + skip);
}

static void on_ready(void *user, panda_cpu *cpu)
{
    (void)user;
    say(cpu, "guest_ready");
}

static void on_exit_(void *user, panda_cpu *cpu, uint32_t kind, int32_t code)
{
    (void)user;
    if (SUBSCRIBE_HOT)
        for (int k = 1; k < 25; k++)
            if (counts[k] && k != PANDA_CB_INSN_TRANSLATE && k != PANDA_CB_BEFORE_BLOCK_TRANSLATE
                && k != PANDA_CB_AFTER_BLOCK_TRANSLATE)
                say(cpu, "kind %d: %lu", k, (unsigned long)counts[k]);
    say(cpu, "guest_exit kind %u code %d", kind, code);
}

static uint32_t on_hypercall(void *user, panda_cpu *cpu)
{
    uint32_t id = 0;
    uint64_t value = 0;
    uint8_t answer[8] = {0x0d, 0xf0, 0xad, 0x0b};
    const int wide = os->word_size(self) == 8;
    (void)user;
    regs->by_name(self, text(wide ? "rax" : "eax"), &id);
    regs->read_u64(cpu, id, &value);
    if (value != 0xdeadbeef)
        return 0;
    say(cpu, "guest_hypercall, write: %u", regs->write(cpu, id, answer, wide ? 8 : 4));
    return 1;
}

static uint32_t on_translate(void *user, panda_cpu *cpu, uint64_t pc, const uint8_t *bytes, uint32_t len)
{
    (void)user; (void)cpu; (void)pc; (void)bytes; (void)len;
    counts[PANDA_CB_INSN_TRANSLATE]++;
    return 1;
}

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

static void on_after_block(void *user, panda_cpu *cpu, const panda_block_info *block, uint32_t exit)
{
    (void)cpu; (void)block; (void)exit;
    ++*(uint64_t *)user;
}

static void on_mem(void *user, panda_cpu *cpu, uint64_t pc, uint64_t addr, uint64_t size, const uint8_t *data)
{
    (void)cpu; (void)pc; (void)addr; (void)size; (void)data;
    ++*(uint64_t *)user;
}

static uint32_t init(const panda_host_api *h, panda_plugin *s, const panda_init_info *info, void **state)
{
    panda_id id;
    uint32_t bad = 0;
    (void)info; (void)state;
    host = h;
    self = s;
    mem = host->get_extension(host, self, text(PANDA_SERVICE_MEM));
    regs = host->get_extension(host, self, text(PANDA_SERVICE_REGS));
    os = host->get_extension(host, self, text(PANDA_SERVICE_OS));
    if (!mem || !regs || !os)
        return PANDA_FAILED;
#define ON(name, function, user) bad |= panda_on_##name(host, self, function, user, PANDA_CB_READS_REGS, &id)
    bad |= panda_on_syscall_enter(host, self, on_enter, NULL, PANDA_CB_READS_REGS, &on_enter_id);
    ON(syscall_return, on_return, NULL);
    ON(thread_start, on_thread_start, NULL);
    ON(thread_exit, on_thread_exit, NULL);
    ON(process_fork, on_fork, NULL);
    ON(process_exec, on_exec, NULL);
    ON(signal_delivered, on_signal, NULL);
    ON(module_loaded, on_module, "module_loaded");
    ON(module_unloaded, on_module, "module_unloaded");
    ON(guest_ready, on_ready, NULL);
    ON(guest_exit, on_exit_, NULL);
    bad |= panda_on_guest_hypercall(host, self, on_hypercall, NULL, PANDA_CB_READS_REGS | PANDA_CB_WRITES_REGS, &id);
    if (SUBSCRIBE_HOT) {
        ON(insn_translate, on_translate, NULL);
        ON(insn_exec, on_pc, &counts[PANDA_CB_INSN_EXEC]);
        ON(after_insn_exec, on_pc, &counts[PANDA_CB_AFTER_INSN_EXEC]);
        ON(before_block_exec, on_block, &counts[PANDA_CB_BEFORE_BLOCK_EXEC]);
        ON(after_block_exec, on_after_block, &counts[PANDA_CB_AFTER_BLOCK_EXEC]);
        ON(virt_mem_before_read, on_mem, &counts[PANDA_CB_VIRT_MEM_BEFORE_READ]);
        ON(virt_mem_after_read, on_mem, &counts[PANDA_CB_VIRT_MEM_AFTER_READ]);
        ON(virt_mem_before_write, on_mem, &counts[PANDA_CB_VIRT_MEM_BEFORE_WRITE]);
        ON(virt_mem_after_write, on_mem, &counts[PANDA_CB_VIRT_MEM_AFTER_WRITE]);
    }
    return bad ? PANDA_FAILED : PANDA_OK;
}

static void uninit(void *state)
{
    (void)state;
    say(NULL, "uninit");
}

PANDA_PLUGIN("watch", "1.0", "Logs events", NULL, 0, init, uninit, NULL)
