/* A plugin of today in a host of any minor version: uses what that host has. REQUIRED is the minor version it says it
 * cannot do without. */
#include "panda_plugin.h"

#include <stdio.h>
#include <string.h>

#ifndef REQUIRED
#define REQUIRED 0
#endif

static panda_str text(const char *s)
{
    panda_str t = {s, strlen(s)};
    return t;
}

#define HAS(table, type, function)                                                                                    \
    ((table)->struct_size >= offsetof(type, function) + sizeof (table)->function && (table)->function)

static const panda_host_api *host;
static panda_plugin *self;
static const panda_regs_api *regs;
static uint32_t rax;
static unsigned calls, right;

static void on_syscall(void *user, panda_cpu *cpu, const panda_syscall_info *call)
{
    uint64_t value = 0, again = 0;
    (void)user;
    calls++;
    if (regs->read_u64(cpu, rax, &value) != PANDA_OK)
        return;
    again = value;
    if (HAS(regs, panda_regs_api, read_u64s) && regs->read_u64s(cpu, &rax, &again, 1) != PANDA_OK)
        return;
    right += value == call->number && again == value;
}

static uint32_t init(const panda_host_api *h, panda_plugin *s, const panda_init_info *info, void **state)
{
    panda_id id;
    char line[100];
    (void)info; (void)state;
    host = h;
    self = s;
    regs = host->get_extension(host, self, text(PANDA_SERVICE_REGS));
    if (regs->by_name(self, text("rax"), &rax) != PANDA_OK)
        return PANDA_FAILED;
    snprintf(line, sizeof line, "host 1.%u, read_u64s %d, load_plugin %d", host->abi_minor,
             HAS(regs, panda_regs_api, read_u64s), HAS(host, panda_host_api, load_plugin));
    host->log(host, self, PANDA_INFO, text(line));
    return panda_on_syscall_enter(host, self, on_syscall, NULL, PANDA_CB_READS_REGS, &id);
}

static void uninit(void *state)
{
    (void)state;
    host->log(host, self, PANDA_INFO, text(calls > 0 && right == calls ? "all right" : "wrong"));
}

PANDA_EXPORT extern const panda_plugin_entry panda_plugin_entry_v1;
const panda_plugin_entry panda_plugin_entry_v1 = {
    PANDA_ENTRY_MAGIC, (uint32_t)sizeof(panda_plugin_entry), PANDA_ABI_MAJOR, PANDA_ABI_MINOR, REQUIRED, 0, 0,
    PANDA_STR("newer"), PANDA_STR("1.0"), PANDA_STR("Uses what the host has"), NULL, NULL, 0,
    (uint32_t)sizeof(panda_arg_desc), init, uninit, NULL, NULL,
};
