// Uses the callback and the function of the plugin `provider`; in C++.
extern "C" {
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"
#include "panda_plugin_plugin.h"
#include "rr_log.h"

bool init_plugin(void *);
void uninit_plugin(void *);
}

#include <cstdio>
#include <map>

typedef void (*on_block_t)(CPUState *env, target_ulong pc);
typedef unsigned long (*provider_blocks_t)(void);

static std::map<target_ulong, unsigned long> seen;
static unsigned long calls, readable;
static bool counts_grow = true;
static uint64_t last_count;
static provider_blocks_t provider_blocks;

static void on_block(CPUState *env, target_ulong pc)
{
    uint8_t byte;
    const uint64_t now = rr_get_guest_instr_count();
    calls++;
    seen[pc]++;
    counts_grow = counts_grow && now >= last_count;
    last_count = now;
    if (cpu_memory_rw_debug(env, pc, &byte, 1, 0) == 0 && env->eip == pc && provider_blocks() == calls)
        readable++;
}

bool init_plugin(void *self)
{
    (void)self;
    panda_require("provider");
    void *provider = panda_get_plugin_by_name("panda_provider.so");
    if (!provider)
        return false;
    provider_blocks = (provider_blocks_t)dlsym(provider, "provider_blocks");
    PPP_REG_CB("provider", on_block, on_block);
    return provider_blocks != NULL;
}

void uninit_plugin(void *)
{
    std::printf("consumer: %lu blocks at %zu places, %lu readable, count %s\n", calls, seen.size(), readable,
                counts_grow && last_count > 0 ? "grows" : "does not grow");
    std::fflush(stdout);
}
