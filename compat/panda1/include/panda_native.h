/*
 * panda_native.h - the host's native interface, for a plugin that uses both
 *
 * The native header and PANDA's have the same file name, and give the callback kinds the same names with other
 * numbers. This header includes the native one and leaves those names to PANDA's panda_plugin.h; it may be included
 * before or after that. The native panda_on_... functions work as they are.
 */
#ifndef PANDA1_PANDA_NATIVE_H
#define PANDA1_PANDA_NATIVE_H

#include "../../../plugin-api/include/panda_plugin.h"

#undef PANDA_CB_INSN_TRANSLATE
#undef PANDA_CB_INSN_EXEC
#undef PANDA_CB_BEFORE_BLOCK_TRANSLATE
#undef PANDA_CB_AFTER_BLOCK_TRANSLATE
#undef PANDA_CB_BEFORE_BLOCK_EXEC
#undef PANDA_CB_AFTER_BLOCK_EXEC
#undef PANDA_CB_VIRT_MEM_BEFORE_READ
#undef PANDA_CB_VIRT_MEM_AFTER_READ
#undef PANDA_CB_VIRT_MEM_BEFORE_WRITE
#undef PANDA_CB_VIRT_MEM_AFTER_WRITE
#undef PANDA_CB_GUEST_HYPERCALL
#undef PANDA_CB_MONITOR

#endif
