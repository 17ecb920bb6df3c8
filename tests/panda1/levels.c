/* Callbacks whose results changed over the years. Prints how often insn_translate was asked. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"

static unsigned long asked, blocks;

static bool translate(CPUState *env, target_ulong pc)
{
    (void)env;
    (void)pc;
    asked++;
    return false;
}

#if PANDA_COMPAT_LEVEL == 0
static bool before_block(CPUState *env, TranslationBlock *tb)
{
    (void)env;
    (void)tb;
    return ++blocks == 2;
}
#elif PANDA_COMPAT_LEVEL == 1
static int before_block(CPUState *env, TranslationBlock *tb)
{
    (void)env;
    (void)tb;
    return ++blocks == 2;
}
#else
static void before_block(CPUState *env, TranslationBlock *tb)
{
    (void)env;
    (void)tb;
    ++blocks;
}
#endif

#if PANDA_COMPAT_LEVEL < 2
static int hypercall(CPUState *env)
#else
static bool hypercall(CPUState *env)
#endif
{
    return env->regs[R_EAX] == 0xdeadbeef;
}

bool init_plugin(void *self)
{
    panda_cb pcb;
    pcb.insn_translate = translate;
    panda_register_callback(self, PANDA_CB_INSN_TRANSLATE, pcb);
    pcb.before_block_exec = before_block;
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, pcb);
    pcb.guest_hypercall = hypercall;
    panda_register_callback(self, PANDA_CB_GUEST_HYPERCALL, pcb);
    return true;
}

void uninit_plugin(void *self)
{
    (void)self;
    printf("%s, %lu blocks\n", asked > 8 ? "asked again" : "asked once", blocks);
}
