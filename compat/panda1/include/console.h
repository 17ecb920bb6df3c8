/*
 * console.h - a program has no console device; sources that include the header find what it included
 */
#ifndef PANDA1_CONSOLE_H
#define PANDA1_CONSOLE_H

#include "monitor.h"
#include "qemu-common.h"

#endif
