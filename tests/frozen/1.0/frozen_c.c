/* Uses the core table, every table of the host, arguments and eight kinds of callbacks of API 1.0. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "panda_plugin.h"

static const panda_host_api *host;
static panda_plugin *self;
static const panda_mem_api *mem;
static const panda_regs_api *regs;
static const panda_os_api *os;
static const panda_counters_api *counters;
static const panda_monitor_api *monitor;
static FILE *out;
static uint32_t rax;
static uint64_t insns, stores;

static panda_str str(const char *text)
{
    panda_str s;
    s.ptr = text;
    s.len = strlen(text);
    return s;
}

static uint32_t on_translate(void *user, panda_cpu *cpu, uint64_t pc, const uint8_t *bytes, uint32_t len)
{
    (void)user; (void)cpu; (void)pc;
    return len == 2 && bytes[0] == 0x0f && bytes[1] == 0x05;
}

static void on_insn(void *user, panda_cpu *cpu, uint64_t pc)
{
    uint64_t number = 0;
    uint32_t status = regs->read_u64(cpu, rax, &number);
    (void)user;
    fprintf(out, "insn %d %" PRIu32 " %" PRIu64 " pc %d retired %" PRIu64 "\n", regs->pc(cpu) == pc, status, number,
            os->pid(cpu) == os->tid(cpu), os->retired(cpu));
}

static void on_store(void *user, panda_cpu *cpu, uint64_t pc, uint64_t addr, uint64_t size, const uint8_t *data)
{
    uint8_t again[8] = {0};
    uint32_t status = mem->read(cpu, addr, again, size < 8 ? size : 8);
    (void)user; (void)pc;
    fprintf(out, "store %" PRIu64 " %u %" PRIu32 " %u\n", size, data[0], status, again[0]);
}

static void on_block(void *user, panda_cpu *cpu, const panda_block_info *block)
{
    (void)cpu;
    *(uint64_t *)user += block->insn_count;
}

static void on_syscall(void *user, panda_cpu *cpu, const panda_syscall_info *call)
{
    panda_str name = os->syscall_name(self, call->abi, call->number);
    (void)user; (void)cpu;
    fprintf(out, "%.*s(%" PRIu64 ")\n", (int)name.len, name.ptr, call->args[0]);
}

static uint32_t on_monitor(void *user, panda_cpu *cpu, const uint8_t *text, uint64_t len)
{
    (void)user; (void)cpu;
    if (len != 6 || memcmp(text, "frozen", 6) != 0)
        return 0;
    monitor->reply(self, str("still here"));
    return 1;
}

static void on_ready(void *user, panda_cpu *cpu)
{
    (void)user; (void)cpu;
    fprintf(out, "ready\n");
}

static void on_exit(void *user, panda_cpu *cpu, uint32_t kind, int32_t code)
{
    (void)cpu;
    fprintf(out, "exit %" PRIu32 " %" PRIi32 ", %" PRIu64 " in blocks, %" PRIu64 " insns, %" PRIu64 " stores\n", kind,
            code, *(uint64_t *)user, insns, stores);
}

static uint64_t in_blocks;

static uint32_t init(const panda_host_api *h, panda_plugin *p, const panda_init_info *info, void **state)
{
    char path[4096];
    panda_str dir;
    panda_id id, store;
    uint32_t i, bad = 0;
    host = h;
    self = p;
    mem = (const panda_mem_api *)host->get_extension(host, self, str(PANDA_SERVICE_MEM));
    regs = (const panda_regs_api *)host->get_extension(host, self, str(PANDA_SERVICE_REGS));
    os = (const panda_os_api *)host->get_extension(host, self, str(PANDA_SERVICE_OS));
    counters = (const panda_counters_api *)host->get_extension(host, self, str(PANDA_SERVICE_COUNTERS));
    monitor = (const panda_monitor_api *)host->get_extension(host, self, str(PANDA_SERVICE_MONITOR));
    if (!mem || !regs || !os || !counters || !monitor || regs->by_name(self, str("rax"), &rax) != PANDA_OK) {
        host->plugin_failed(host, self, str("a table of 1.0 is missing"));
        return PANDA_FAILED;
    }
    dir = os->out_dir(self);
    snprintf(path, sizeof path, "%.*s/frozen_c.txt", (int)dir.len, dir.ptr);
    out = fopen(path, os->continued(self) ? "a" : "w");
    if (!out) {
        host->plugin_failed(host, self, str("frozen_c.txt cannot be opened"));
        return PANDA_FAILED;
    }
    for (i = 0; i < info->args_count; i++) {
        const panda_arg_value *arg =
            (const panda_arg_value *)(const void *)((const char *)(const void *)info->args + i * info->arg_size);
        fprintf(out, "%.*s %" PRIu64 " %" PRIu32 "\n", (int)arg->name.len, arg->name.ptr, arg->bits, arg->given);
    }
    bad += panda_on_insn_translate(host, self, on_translate, NULL, PANDA_CB_NONE, &id);
    bad += panda_on_insn_exec(host, self, on_insn, NULL, PANDA_CB_READS_REGS, &id);
    bad += panda_on_virt_mem_after_write(host, self, on_store, NULL, PANDA_CB_NONE, &store);
    bad += panda_on_before_block_exec(host, self, on_block, &in_blocks, PANDA_CB_NONE, &id);
    bad += panda_on_syscall_enter(host, self, on_syscall, NULL, PANDA_CB_NONE, &id);
    bad += panda_on_monitor(host, self, on_monitor, NULL, PANDA_CB_NONE, &id);
    bad += panda_on_guest_ready(host, self, on_ready, NULL, PANDA_CB_NONE, &id);
    bad += panda_on_guest_exit(host, self, on_exit, &in_blocks, PANDA_CB_NONE, &id);
    bad += host->disable_cb(host, self, store);
    bad += host->enable_cb(host, self, store);
    bad += counters->add(self, PANDA_COUNT_INSNS, &insns, 1, &id);
    bad += counters->add(self, PANDA_COUNT_STORES, &stores, 1, &id);
    if (bad != PANDA_OK) {
        host->plugin_failed(host, self, str("a function of 1.0 refuses"));
        return PANDA_FAILED;
    }
    host->log(host, self, PANDA_INFO, str("frozen C plugin of API 1.0"));
    *state = out;
    return PANDA_OK;
}

static void uninit(void *state)
{
    fprintf((FILE *)state, "end\n");
    fclose((FILE *)state);
}

static uint32_t flush(void *state, uint32_t reason)
{
    (void)reason;
    return fflush((FILE *)state) == 0 ? PANDA_OK : PANDA_FAILED;
}

static const panda_str choices[] = {PANDA_STR("first"), PANDA_STR("second")};
static const panda_arg_desc args[] = {
    {PANDA_STR("number"), PANDA_ARG_U64, 0, PANDA_STR("7"), PANDA_STR("a number"), NULL, 0, 0},
    {PANDA_STR("choice"), PANDA_ARG_ENUM, 0, PANDA_STR("second"), PANDA_STR("a choice"), choices, 2, 0},
};

PANDA_PLUGIN("frozen_c", "1.0.0", "Built once against API 1.0, in C", args, 2, init, uninit, flush)
