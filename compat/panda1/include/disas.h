/*
 * disas.h - symbols of addresses
 *
 * There is no disassembler behind these headers: target_disas and disas are not declared. Plugins that disassemble
 * link a library of their own, for instance Capstone.
 */
#ifndef PANDA1_DISAS_H
#define PANDA1_DISAS_H

#include "cpu.h"

/* QEMU's answer for an address without a known symbol, which here is every address. */
static inline const char *lookup_symbol(target_ulong address)
{
    (void)address;
    return "";
}

#endif
