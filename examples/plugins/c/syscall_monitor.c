/*
 * Logs every system call of an x86 guest: PC=<address>, SYSCALL=<number>.
 *
 *     cc -shared -fPIC -fvisibility=hidden -I plugin-api/include -o panda_syscall_monitor.so syscall_monitor.c
 *     host --plugins ./panda_syscall_monitor.so -- /bin/ls
 *
 * Only instructions that enter the kernel are instrumented; all others run at full speed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "panda_plugin.h"

static const panda_regs_api *regs;
static FILE *plugin_log;
static uint32_t number_register; /* rax or eax */
static int digits;               /* of a guest word */

static panda_str str(const char *text)
{
    panda_str s;
    s.ptr = text;
    s.len = strlen(text);
    return s;
}

/* syscall, sysenter, int 0x80 */
static uint32_t translate_callback(void *user, panda_cpu *cpu, uint64_t pc, const uint8_t *bytes, uint32_t len)
{
    (void)user; (void)cpu; (void)pc;
    return len == 2 && ((bytes[0] == 0x0f && (bytes[1] == 0x05 || bytes[1] == 0x34)) ||
                        (bytes[0] == 0xcd && bytes[1] == 0x80));
}

/* Called only before instructions for which translate_callback returned 1. */
static void exec_callback(void *user, panda_cpu *cpu, uint64_t pc)
{
    uint64_t number;
    (void)user;
    if (regs->read_u64(cpu, number_register, &number) == PANDA_OK)
        fprintf(plugin_log, "PC=%0*" PRIx64 ", SYSCALL=%0*" PRIx64 "\n", digits, pc, digits, number);
}

static uint32_t fail(const panda_host_api *host, panda_plugin *self, const char *reason)
{
    host->plugin_failed(host, self, str(reason));
    return PANDA_FAILED;
}

static uint32_t init(const panda_host_api *host, panda_plugin *self, const panda_init_info *info, void **state)
{
    const panda_os_api *os = (const panda_os_api *)host->get_extension(host, self, str(PANDA_SERVICE_OS));
    panda_str dir;
    char path[4096];
    panda_id id;
    (void)info; (void)state;

    regs = (const panda_regs_api *)host->get_extension(host, self, str(PANDA_SERVICE_REGS));
    if (!os || !regs)
        return fail(host, self, "the host offers neither registers nor facts about the guest");
    if (os->arch(self) != PANDA_ARCH_I386 && os->arch(self) != PANDA_ARCH_X86_64)
        return fail(host, self, "only x86 guests are supported");
    digits = os->word_size(self) == 8 ? 16 : 8;
    if (regs->by_name(self, str(digits == 16 ? "rax" : "eax"), &number_register) != PANDA_OK)
        return fail(host, self, "the host does not know the accumulator");

    if (panda_on_insn_translate(host, self, translate_callback, NULL, PANDA_CB_NONE, &id) != PANDA_OK ||
        panda_on_insn_exec(host, self, exec_callback, NULL, PANDA_CB_READS_REGS, &id) != PANDA_OK)
        return fail(host, self, "the host offers no instruction callbacks");

    dir = os->out_dir(self);
    snprintf(path, sizeof path, "%.*s/syscall_monitor.txt", (int)dir.len, dir.ptr);
    /* After an execve that the host follows, the log goes on where it was. */
    plugin_log = fopen(path, os->continued(self) ? "a" : "w");
    if (!plugin_log)
        return fail(host, self, "syscall_monitor.txt cannot be opened");
    return PANDA_OK;
}

static void uninit(void *state)
{
    (void)state;
    fclose(plugin_log);
}

/* Before a fork, so that no line is written twice, and before the host ends without uninit. */
static uint32_t flush(void *state, uint32_t reason)
{
    (void)state; (void)reason;
    return fflush(plugin_log) == 0 ? PANDA_OK : PANDA_FAILED;
}

PANDA_PLUGIN("syscall_monitor", "1.0", "Logs system calls (C)", NULL, 0, init, uninit, flush)
