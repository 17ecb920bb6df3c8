/*
 * panda_plugin.h - PANDA 1's plugin interface
 *
 * A plugin defines
 *     bool init_plugin(void *self);      false: it is unloaded at once, uninit_plugin is not called
 *     void uninit_plugin(void *self);
 * and registers callbacks. self may be used with dlsym. Everything is called on the thread that runs the guest.
 *
 * The host's native interface has a header of the same name: see panda_native.h.
 */
#ifndef PANDA1_PANDA_PLUGIN_H
#define PANDA1_PANDA_PLUGIN_H

#include "config.h"
#include "cpu.h"
#include "monitor.h"
#include "panda_args.h"
#include "panda_callbacks.h"
#include "panda_common.h"
#include "qemu-common.h"

#ifdef __cplusplus
extern "C" {
#endif

bool init_plugin(void *self);
void uninit_plugin(void *self);

/* Registers a callback; it is called from now on. A kind that never fires for a program is accepted, and a line in the
 * log says so. */
void panda1_register_callback(void *self, panda_cb_type type, panda_cb cb, int level);
static inline void panda_register_callback(void *self, panda_cb_type type, panda_cb cb)
{
    panda1_register_callback(self, type, cb, PANDA_COMPAT_LEVEL);
}
/* Unregisters all callbacks of this plugin. */
void panda_unregister_callbacks(void *self);

/* Whether the plugin, named by file or name, is running. Plugins are loaded from the host's command line only: when it
 * is not, a line in the log says how. */
bool panda_load_plugin(const char *filename);
/* Makes sure that the plugin panda_NAME.so is running. When it is not, this plugin has failed, and the host says that
 * the other one has to be listed before it. */
void panda_require(const char *name);
/* The handle of a running plugin, by name or as panda_NAME.so; NULL: there is none. It may be used with dlsym. */
void *panda_get_plugin_by_name(const char *name);
/* Unload, pause and resume a PANDA plugin by its handle. Unloading takes effect after the current callback. */
void panda_unload_plugin(void *plugin);
void panda_disable_plugin(void *plugin);
void panda_enable_plugin(void *plugin);

/* Memory callbacks of all PANDA plugins are on or off; they begin off. Takes effect at once, without a flush. */
void panda_enable_memcb(void);
void panda_disable_memcb(void);

/* env->eip, env->panda_guest_pc and the pc arguments are always exact: these do nothing. */
void panda_enable_precise_pc(void);
void panda_disable_precise_pc(void);

/* All code is translated anew, from the next block on: insn_translate is asked again. */
void panda_do_flush_tb(void);
bool panda_flush_tb(void);

/* There is no such choice here; callbacks of blocks never miss one. */
static inline void panda_enable_tb_chaining(void) {}
static inline void panda_disable_tb_chaining(void) {}

/* LLVM is not there: a line in the log says so. */
void panda_enable_llvm(void);
void panda_disable_llvm(void);
void panda_enable_llvm_helpers(void);
void panda_disable_llvm_helpers(void);
extern int execute_llvm;
extern int generate_llvm;
/* QEMU's trace of functions; NULL. */
extern FILE *funclog;

/* A program has no physical memory to save: writes nothing, and a line in the log says so. */
void panda_memsavep(FILE *file);

#ifdef __cplusplus
}
#endif

#endif
