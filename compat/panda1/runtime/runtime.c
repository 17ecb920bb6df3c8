/*
 * runtime.c - the whole runtime as one unit, which builds in a moment
 *
 * panda.mak compiles it for each plugin and target, with _GNU_SOURCE and hidden symbols.
 */
#include "args.c"
#include "callbacks.c"
#include "control.c"
#include "entry.c"
#include "env.c"
#include "files.c"
#include "glib.c"
#include "group.c"
#include "log.c"
#include "memory.c"
#include "point.c"
#include "target-arm.c"
#include "target-x86.c"
