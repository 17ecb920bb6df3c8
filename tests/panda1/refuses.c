/* Registers callbacks, then refuses to start. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"

static bool translate(CPUState *env, target_ulong pc)
{
    (void)env;
    (void)pc;
    fprintf(stderr, "a callback of a plugin that did not start\n");
    return true;
}

bool init_plugin(void *self)
{
    panda_cb pcb;
    pcb.insn_translate = translate;
    panda_register_callback(self, PANDA_CB_INSN_TRANSLATE, pcb);
    panda_enable_memcb();
    return false;
}

void uninit_plugin(void *self)
{
    (void)self;
    fprintf(stderr, "uninit of a plugin that did not start\n");
}
