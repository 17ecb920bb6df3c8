/*
 * runtime.h - the compatibility runtime: PANDA 1's interface on top of the host's native one
 *
 * It is compiled into every plugin, with hidden symbols. The native interface knows the plugin as `panda1.self`; the
 * PANDA side knows it by the handle dlopen would give, `panda1.handle`.
 */
#ifndef PANDA1_RUNTIME_H
#define PANDA1_RUNTIME_H

#include "panda_native.h"
#include "panda_plugin.h"

#ifndef PANDA1_PLUGIN_NAME
#error "panda.mak defines PANDA1_PLUGIN_NAME, the plugin's name as a string literal"
#endif

/* A PANDA plugin as the others see it. Plugins may have been built with different versions of this runtime: fields
 * are only added, at the end, and `size` says how many there are. */
typedef struct panda1_member {
    uint32_t size;
    uint32_t asks; /* 1: its native insn_translate is on */
    const char *name;
    void *handle;
    const panda_host_api *host;
    panda_plugin *self;
    /* Asks its insn_translate callbacks: 1 = yes. */
    uint32_t (*wants_insn)(panda_cpu *cpu, uint64_t pc);
    /* Pauses (0) or resumes (1) its callbacks. */
    void (*set_running)(uint32_t running);
    /* The switch for memory callbacks has changed. */
    void (*memcb_changed)(void);
    struct panda1_member *next;
} panda1_member;

/* What the running PANDA plugins share: a service that the first of them provides. */
typedef struct panda1_group {
    uint32_t size;
    uint32_t memcb; /* panda_enable_memcb */
    panda1_member *members; /* in load order */
    panda1_member *provider;
    panda_cpu *cpu; /* of the callback being handled, or NULL */
    /* The verdict on the instruction that is being translated, for those not yet asked. */
    uint64_t insn_pc;
    uint32_t insn_left;
    uint32_t insn_wanted;
    /* What stdout and stderr write to, or -1. */
    int32_t output;
    int32_t errors;
} panda1_group;

struct panda1 {
    const panda_host_api *host;
    panda_plugin *self;
    const panda_mem_api *mem;
    const panda_regs_api *regs;
    const panda_os_api *os;
    const panda_counters_api *counters; /* may be NULL */
    const panda_monitor_api *monitor;   /* may be NULL */
    panda1_group *group;
    panda1_member member;
    void *handle;
    bool started; /* init_plugin has returned true */
};

extern struct panda1 panda1;

static inline panda_str panda1_text(const char *s)
{
    panda_str t = {s, strlen(s)};
    return t;
}

/* log.c */
void panda1_log(uint32_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void panda1_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A monitor for one command. */
Monitor *panda1_monitor_begin(void);
/* Whether something was answered. */
bool panda1_monitor_end(Monitor *mon);

/* env.c: false when the host lacks a register. */
bool panda1_env_start(void);
/* The processor's state, at the given pc or (NULL) where the processor is. */
CPUState *panda1_env_load(panda_cpu *cpu, const uint64_t *pc);
/* Writes back what changed; whether anything did. */
bool panda1_env_store(CPUState *env);

/* callbacks.c */
uint32_t panda1_wants_insn(panda_cpu *cpu, uint64_t pc);
void panda1_set_running(uint32_t running);
void panda1_memcb_changed(void);
void panda1_callbacks_end(void);

/* group.c */
bool panda1_group_join(void);
void panda1_group_leave(void);
uint32_t panda1_group_wants_insn(panda_cpu *cpu, uint64_t pc);

/* args.c: false without memory. */
bool panda1_args_start(const panda_init_info *info);
void panda1_args_end(void);

/* files.c */
void panda1_files_start(void);
void panda1_files_end(void);
/* Parts stdout and stderr from the guest's descriptors, and gives them back. */
void panda1_output_start(panda1_group *group);
void panda1_output_end(panda1_group *group);

/* point.c */
void panda1_point_set(panda_cpu *cpu, CPUState *env);

#endif
