/* Loads the plugin `provider` in its second block, and uses it from then on. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"
#include "panda_plugin_plugin.h"

typedef void (*on_block_t)(CPUState *env, target_ulong pc);
typedef unsigned long (*provider_blocks_t)(void);

static unsigned long blocks, told;
static provider_blocks_t provider_blocks;

static void on_block(CPUState *env, target_ulong pc)
{
    told += env->eip == pc;
}

static int before_block(CPUState *env, TranslationBlock *tb)
{
    (void)env;
    (void)tb;
    if (++blocks != 2)
        return 0;
    printf("late: nothing %d", panda_load_plugin("nothing"));
    printf(", provider %d", panda_load_plugin("/somewhere/else/panda_provider.so") || panda_load_plugin("provider"));
    printf(", again %d\n", panda_load_plugin("panda_provider.so"));
    provider_blocks = (provider_blocks_t)dlsym(panda_get_plugin_by_name("provider"), "provider_blocks");
    PPP_REG_CB("provider", on_block, on_block);
    return 0;
}

bool init_plugin(void *self)
{
    panda_cb pcb;
    pcb.before_block_exec = before_block;
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, pcb);
    return true;
}

void uninit_plugin(void *self)
{
    (void)self;
    printf("late: %lu blocks, provider %lu, told %lu\n", blocks, provider_blocks(), told);
}
