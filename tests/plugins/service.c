/* A plugin that offers, uses or requires services, as the macros say, and logs what becomes of it. */
#include <stdio.h>
#include <string.h>

#include "panda_plugin.h"

typedef struct service {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t (*answer)(void);
} service;

static const panda_host_api *host;
static panda_plugin *self;

static panda_str str(const char *text)
{
    panda_str s;
    s.ptr = text;
    s.len = strlen(text);
    return s;
}

/* The same name in every one of these libraries. */
PANDA_EXPORT uint64_t answer(void);
uint64_t answer(void) { return ANSWER; }

static service offered = {sizeof(service), 0, answer};

uint32_t fail(const char *what, uint32_t status)
{
    char line[100];
    snprintf(line, sizeof line, "%s: status %u", what, (unsigned)status);
    host->plugin_failed(host, self, str(line));
    return PANDA_FAILED;
}

static void on_syscall(void *user, panda_cpu *cpu, const panda_syscall_info *call)
{
    (void)user; (void)cpu; (void)call;
#ifdef FAILS_LATER
    host->plugin_failed(host, self, str("told to fail"));
#endif
#ifdef LEAVES_LATER
    host->unload_self(host, self);
#endif
}

static uint32_t init(const panda_host_api *h, panda_plugin *p, const panda_init_info *info, void **state)
{
    uint32_t status = PANDA_OK;
    panda_id id;
    (void)info; (void)state; (void)status;
    host = h;
    self = p;
#ifdef FAILS
    return fail("told to fail", 0);
#endif
#ifdef OFFERS
    status = host->provide_service(host, self, str(OFFERS), &offered);
    if (status != PANDA_OK)
        return fail("provide_service", status);
#endif
#ifdef USES
    {
        const void *table = NULL;
        char line[60];
        status = host->use_service(host, self, str(USES), MIN_SIZE, &table);
        if (status != PANDA_OK)
            return fail("use_service", status);
        snprintf(line, sizeof line, "the answer is %u", (unsigned)((const service *)table)->answer());
        host->log(host, self, PANDA_INFO, str(line));
    }
#endif
    (void)offered;
    host->log(host, self, PANDA_INFO, str("begins"));
    return panda_on_syscall_enter(host, self, on_syscall, NULL, PANDA_CB_NONE, &id);
}

static void uninit(void *state)
{
    (void)state;
    host->log(host, self, PANDA_INFO, str("ends"));
}

#ifdef REQUIRES
static const panda_str requires_ids[] = {PANDA_STR(REQUIRES)};
PANDA_PLUGIN_REQUIRING(NAME, "1", "Is tested", requires_ids, 1, NULL, 0, init, uninit, NULL)
#else
PANDA_PLUGIN(NAME, "1", "Is tested", NULL, 0, init, uninit, NULL)
#endif
