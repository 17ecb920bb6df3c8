/*
 * panda_callstack.h - the service of the plugin `callstack`: who called the running function
 *
 *     static const panda_str requires_ids[] = {PANDA_STR(PANDA_SERVICE_CALLSTACK)};
 *     PANDA_PLUGIN_REQUIRING("mine", "1.0", "About", requires_ids, 1, NULL, 0, init, uninit, NULL)
 *
 * makes the host load `callstack` before `mine`. In init:
 *
 *     const void *table;
 *     panda_str id = PANDA_STR(PANDA_SERVICE_CALLSTACK);
 *     if (host->use_service(host, self, id, sizeof(panda_callstack_api), &table) == PANDA_OK)
 *         calls = (const panda_callstack_api *)table;
 *
 * Every function takes the table's context first. Those that take a processor may be called only inside a callback,
 * with the processor it got.
 */
#ifndef PANDA_CALLSTACK_H
#define PANDA_CALLSTACK_H

#include "panda_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PANDA_SERVICE_CALLSTACK "panda.callstack/1"

/* What a listener is told, and which of it listen asks for. */
#define PANDA_CALL_EVENT_CALL 1u
#define PANDA_CALL_EVENT_RETURN 2u

/* panda_call_info.flags: left by longjmp or an exception; told with the thread's next call or return. */
#define PANDA_CALL_UNWOUND 1u

typedef struct panda_call_info {
    uint32_t struct_size;
    uint32_t flags;
    uint64_t pc;         /* of the call instruction */
    uint64_t callee;     /* entry of the function */
    uint64_t returns_to; /* the return address */
    uint64_t slot;       /* where the return address lies */
    uint32_t depth;      /* calls in progress below this one */
    uint32_t tid;
} panda_call_info;

typedef void (*panda_call_fn)(void *user, panda_cpu *cpu, uint32_t event, const panda_call_info *call);

typedef struct panda_callstack_api {
    uint32_t struct_size;
    uint32_t reserved;
    void *context;
    /* The return address of the running function; PANDA_UNKNOWN when its call was not seen, PANDA_NOT_DECLARED when
     * the callback that asks may not read registers; so do the next two. */
    uint32_t (*caller)(void *context, panda_cpu *cpu, uint64_t *returns_to);
    /* The return addresses of all calls in progress, innermost first: at most size of them into buf, which may be
     * NULL when size is 0; count becomes how many there are. */
    uint32_t (*callers)(void *context, panda_cpu *cpu, uint64_t *buf, uint64_t size, uint64_t *count);
    /* The entry addresses of these calls' functions; as callers. */
    uint32_t (*functions)(void *context, panda_cpu *cpu, uint64_t *buf, uint64_t size, uint64_t *count);
    /* events: PANDA_CALL_EVENT_... or-ed. End it before uninit returns. */
    uint32_t (*listen)(void *context, uint32_t events, panda_call_fn func, void *user, panda_id *id);
    uint32_t (*unlisten)(void *context, panda_id id);
} panda_callstack_api;

#ifdef __cplusplus
}
#endif

#endif
