/* Offers a callback for each block, and a function. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"
#include "panda_plugin_plugin.h"

typedef void (*on_block_t)(CPUState *env, target_ulong pc);
PPP_PROT_REG_CB(on_block)
PPP_CB_BOILERPLATE(on_block)

unsigned long provider_blocks(void);

static unsigned long blocks;

unsigned long provider_blocks(void)
{
    return blocks;
}

static int before_block(CPUState *env, TranslationBlock *tb)
{
    blocks++;
    PPP_RUN_CB(on_block, env, tb->pc)
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
    printf("provider: %lu blocks\n", blocks);
}
