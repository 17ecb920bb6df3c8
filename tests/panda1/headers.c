/* Every header, in C and C++, with the native one. */
#ifdef __cplusplus
extern "C" {
#endif
#include "config.h"
#include "qemu-common.h"
#include "monitor.h"
#include "cpu.h"
#include "disas.h"
#include "console.h"
#include "panda_plugin.h"
#include "panda_plugin_plugin.h"
#include "panda_common.h"
#include "rr_log.h"
#ifdef __cplusplus
}
#endif

typedef void (*on_thing_t)(CPUState *env, int n);
#ifdef __cplusplus
extern "C" {
#endif
PPP_PROT_REG_CB(on_thing)
#ifdef __cplusplus
}
#endif
PPP_CB_BOILERPLATE(on_thing)

#if PANDA_COMPAT_LEVEL == 0
static bool before_block(CPUState *env, TranslationBlock *tb)
#elif PANDA_COMPAT_LEVEL == 1
static int before_block(CPUState *env, TranslationBlock *tb)
#else
static void before_block(CPUState *env, TranslationBlock *tb)
#endif
{
    printf(TARGET_FMT_lx " " TARGET_FMT_ld " " TARGET_FMT_lu " %u\n", tb->pc, (target_long)tb->pc, tb->pc, tb->size);
    printf("%s %d " TARGET_FMT_lx "\n", lookup_symbol(tb->pc), TARGET_LONG_SIZE, tb->pc & TARGET_PAGE_MASK);
#ifdef TARGET_ARM
    printf("%x %x %x\n", env->regs[15], env->cp15.c2_base0 & env->cp15.c2_base_mask, env->cp15.c2_mask);
#else
    printf(TARGET_FMT_lx " " TARGET_FMT_lx " %x\n", env->regs[R_EAX], env->segs[R_CS].base, env->hflags);
#endif
    PPP_RUN_CB(on_thing, env, 1);
#if PANDA_COMPAT_LEVEL < 2
    return 0;
#endif
}

bool init_plugin(void *self)
{
    panda_cb pcb;
    pcb.before_block_exec = before_block;
    panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, pcb);
    PPP_REG_CB("other", on_thing, (on_thing_t)0);
    return panda_get_plugin_by_name("other") == NULL && rr_prog_point().pc == rr_prog_point.pc;
}

void uninit_plugin(void *self)
{
    (void)self;
}

#include "panda_native.h"

uint32_t native_kind(void);
uint32_t native_kind(void)
{
    return PANDA_CB_SYSCALL_ENTER + (uint32_t)PANDA_CB_INSN_EXEC;
}
