/* Before each NOP of the guest it changes a register, a flag and memory. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"

static bool translate(CPUState *env, target_ulong pc)
{
    unsigned char byte = 0;
    cpu_memory_rw_debug(env, pc, &byte, 1, 0);
    return byte == 0x90;
}

static int exec(CPUState *env, target_ulong pc)
{
    uint8_t text[] = "plugin";
#ifdef TARGET_X86_64
    const int status = R_EDI;
#else
    const int status = R_EBX;
#endif
    if (env->regs[status] != 5 || (env->eflags & CC_Z))
        return 0;
    if (cpu_memory_rw_debug(env, env->regs[R_ESI], text, 6, 1) != 0)
        return 0;
    /* Code is not writable, and nothing is at address 0. */
    if (cpu_memory_rw_debug(env, pc, text, 1, 1) != -1 || cpu_memory_rw_debug(env, 0, text, 1, 0) != -1)
        return 0;
    env->regs[status] = 42;
    env->eflags |= CC_Z;
    return 0;
}

bool init_plugin(void *self)
{
    panda_cb pcb;
    pcb.insn_translate = translate;
    panda_register_callback(self, PANDA_CB_INSN_TRANSLATE, pcb);
    pcb.insn_exec = exec;
    panda_register_callback(self, PANDA_CB_INSN_EXEC, pcb);
    return true;
}

void uninit_plugin(void *self)
{
    (void)self;
}
