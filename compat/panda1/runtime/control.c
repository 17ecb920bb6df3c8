/*
 * control.c - translation, and what QEMU had that is not there
 */
#include "runtime.h"

int execute_llvm;
int generate_llvm;
FILE *funclog;

void panda_do_flush_tb(void)
{
    /* Code without and with a counter differs: adding one and taking it away makes all code out of date. */
    static uint64_t unused;
    panda_id id;
    if (panda1.counters && panda1.counters->add(panda1.self, PANDA_COUNT_BLOCKS, &unused, 0, &id) == PANDA_OK)
        panda1.counters->remove(panda1.self, id);
    else
        panda1_log(PANDA_ERROR, "this host cannot translate code anew");
}

bool panda_flush_tb(void)
{
    return false;
}

void panda_enable_precise_pc(void) {}
void panda_disable_precise_pc(void) {}

static void no_llvm(void)
{
    panda1_log(PANDA_WARN, "there is no LLVM in this host: plugins that work on LLVM code cannot be used");
}

void panda_enable_llvm(void)
{
    no_llvm();
}

void panda_enable_llvm_helpers(void)
{
    no_llvm();
}

void panda_disable_llvm(void) {}
void panda_disable_llvm_helpers(void) {}

void panda_memsavep(FILE *file)
{
    (void)file;
    panda1_log(PANDA_ERROR,
               "panda_memsavep writes nothing: a program has no physical memory; read what you need with "
               "panda_virtual_memory_rw");
}
