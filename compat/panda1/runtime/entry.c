/*
 * entry.c - the plugin's entry: starts and ends the PANDA plugin
 */
#include <dlfcn.h>

#include "runtime.h"

#if defined(TARGET_X86_64)
#define TARGET_NATIVE PANDA_ARCH_X86_64
#elif defined(TARGET_I386)
#define TARGET_NATIVE PANDA_ARCH_I386
#else
#define TARGET_NATIVE PANDA_ARCH_ARM
#endif

struct panda1 panda1;

/* Not every plugin has it. */
__attribute__((weak)) void uninit_plugin(void *self);

static const char *arch_name(uint32_t arch)
{
    switch (arch) {
    case PANDA_ARCH_I386: return "i386";
    case PANDA_ARCH_X86_64: return "x86-64";
    case PANDA_ARCH_ARM: return "ARM";
    case PANDA_ARCH_AARCH64: return "AArch64";
    default: return "unknown";
    }
}

/* The library's handle, as dlopen gives it: it is open already, under the name the loader knows it by. */
static void *own_handle(void)
{
    Dl_info info;
    if (!dladdr((const void *)&panda1, &info) || !info.dli_fname)
        return NULL;
    return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
}

static const void *table(const char *id)
{
    return panda1.host->get_extension(panda1.host, panda1.self, panda1_text(id));
}

/* The guest goes on with another program. */
static void on_exec(void *user, panda_cpu *cpu, const panda_exec_info *exec)
{
    static bool paused;
    (void)user;
    (void)cpu;
    if ((exec->arch != TARGET_NATIVE) == paused)
        return;
    paused = !paused;
    if (paused)
        panda1_log(PANDA_WARN, "%.*s is an %s program, which this plugin, built for %s, does not watch",
                   (int)exec->path.len, exec->path.ptr, arch_name(exec->arch), arch_name(TARGET_NATIVE));
    panda1_set_running(!paused);
}

static void release(void)
{
    panda1_callbacks_end();
    panda1_group_leave();
    panda1_args_end();
    panda1_files_end();
    if (panda1.handle)
        dlclose(panda1.handle);
    panda1.handle = NULL;
}

static uint32_t start(const panda_init_info *info)
{
    uint32_t arch;
    panda_id id;
    panda1.mem = (const panda_mem_api *)table(PANDA_SERVICE_MEM);
    panda1.regs = (const panda_regs_api *)table(PANDA_SERVICE_REGS);
    panda1.os = (const panda_os_api *)table(PANDA_SERVICE_OS);
    panda1.counters = (const panda_counters_api *)table(PANDA_SERVICE_COUNTERS);
    panda1.monitor = (const panda_monitor_api *)table(PANDA_SERVICE_MONITOR);
    if (!panda1.mem || !panda1.regs || !panda1.os) {
        panda1_fail("the host has no tables for memory, registers and the operating system");
        return PANDA_FAILED;
    }
    arch = panda1.os->arch(panda1.self);
    if (arch != TARGET_NATIVE) {
        panda1_fail("it is built for %s guests, and this guest is %s; build it with `make TARGET_DIR=%s`",
                    arch_name(TARGET_NATIVE), arch_name(arch),
                    arch == PANDA_ARCH_I386 ? "i386-linux-user" : "x86_64-linux-user");
        return PANDA_FAILED;
    }
    if (!panda1_env_start())
        return PANDA_FAILED;
    panda1.handle = own_handle();
    if (!panda1.handle) {
        panda1_fail("the loader does not find the library again: %s", dlerror());
        return PANDA_FAILED;
    }
    panda1_files_start();
    if (!panda1_args_start(info) || !panda1_group_join())
        return PANDA_FAILED;
    if (panda_on_process_exec(panda1.host, panda1.self, on_exec, NULL, PANDA_CB_NONE, &id) != PANDA_OK) {
        panda1_fail("the host does not report new programs");
        return PANDA_FAILED;
    }
    if (!init_plugin(panda1.handle)) {
        panda1_fail("init_plugin returned false");
        return PANDA_FAILED;
    }
    panda1.started = true;
    return PANDA_OK;
}

static uint32_t init(const panda_host_api *host, panda_plugin *self, const panda_init_info *info, void **state)
{
    uint32_t status;
    (void)state;
    panda1.host = host;
    panda1.self = self;
    status = start(info);
    if (status != PANDA_OK) {
        fflush(NULL);
        release();
    }
    return status;
}

static void uninit(void *state)
{
    (void)state;
    if (panda1.started && uninit_plugin)
        uninit_plugin(panda1.handle);
    panda1.started = false;
    /* What it printed must not wait for the end of the host, which may end by a signal. */
    fflush(NULL);
    release();
}

/* A fork would write buffered text twice. */
static uint32_t flush(void *state, uint32_t reason)
{
    (void)state;
    (void)reason;
    return fflush(NULL) == 0 ? PANDA_OK : PANDA_FAILED;
}

static const panda_arg_desc any_argument = {
    PANDA_STR("KEY"), PANDA_ARG_STRING, PANDA_ARG_ANY, {NULL, 0},
    PANDA_STR("PANDA plugins check their arguments themselves"), NULL, 0, 0,
};

#define ABOUT "PANDA 1 plugin for " TARGET_ARCH " guests"

PANDA_EXPORT const panda_plugin_entry panda_plugin_entry_v1;
const panda_plugin_entry panda_plugin_entry_v1 = {
    PANDA_ENTRY_MAGIC, (uint32_t)sizeof(panda_plugin_entry), PANDA_ABI_MAJOR, PANDA_ABI_MINOR, 0, 0, 0,
    PANDA_STR(PANDA1_PLUGIN_NAME), PANDA_STR("panda1"), PANDA_STR(ABOUT), NULL, &any_argument, 1,
    (uint32_t)sizeof(panda_arg_desc), init, uninit, flush, NULL,
};
