/* Does one thing a plugin must not do: `how` says what, `where` in which of its functions. In a callback it
 * does so at the third event. */
#include "panda_plugin.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static char how[32], where[32];
static unsigned events;
static volatile int sink;
static panda_id id;
/* A static that a reload must find as it was built. */
static unsigned inits;
static const panda_host_api *host;
static panda_plugin *self;

static int recurse(int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    return recurse(depth + 1) + frame[0];
}

static void *sleeping(void *p)
{
    for (;;)
        pause();
    return p;
}

static void *crashing(void *p)
{
    *(volatile int *)0x18 = 1;
    return p;
}

static void *exiting(void *p)
{
    exit(4);
    return p;
}

/* Takes all the memory there is, which is not much. */
static void exhaust(void)
{
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu", &pages) != 1)
        return;
    fclose(file);
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = pages * 4096 + (64 << 20);
    setrlimit(RLIMIT_AS, &limit);
    for (size_t size = 1 << 20; size > 0; size /= 2)
        for (char *p; (p = malloc(size)) != NULL;)
            *p = 1;
}

static void misbehave(void)
{
    pthread_t thread;
    if (!strcmp(how, "segv"))
        *(volatile int *)0x10 = 1;
    else if (!strcmp(how, "abort"))
        abort();
    else if (!strcmp(how, "fpe"))
        sink = (int)events / (sink * 0);
    else if (!strcmp(how, "ill"))
        __builtin_trap();
    else if (!strcmp(how, "null-call"))
        ((void (*volatile)(void))0)();
    else if (!strcmp(how, "stack"))
        sink = recurse(0);
    else if (!strcmp(how, "libc"))
        free((void *)(uintptr_t)0x12345670);
    else if (!strcmp(how, "loop"))
        for (;;)
            sink++;
    else if (!strcmp(how, "sleep"))
        for (;;)
            poll(NULL, 0, 1000000);
    else if (!strcmp(how, "read")) {
        int ends[2];
        if (pipe(ends) == 0 && read(ends[0], &sink, 1) == 0)
            sink = 0;
    } else if (!strcmp(how, "exit"))
        exit(3);
    else if (!strcmp(how, "take-all"))
        exhaust();
    else if (!strcmp(how, "memory")) {
        exhaust();
        *(volatile char *)malloc(1 << 20) = 1;
    } else if (!strcmp(how, "thread"))
        pthread_create(&thread, NULL, sleeping, NULL);
    else if (!strcmp(how, "thread-exit")) {
        pthread_create(&thread, NULL, exiting, NULL);
        for (;;)
            if (sink++ > 100000000)
                break;
    } else if (!strcmp(how, "thread-crash")) {
        pthread_create(&thread, NULL, crashing, NULL);
        /* It ends in the host's hands. */
        for (;;)
            if (sink++ > 100000000)
                break;
    }
}

static void at(const char *place)
{
    if (!strcmp(where, place))
        misbehave();
}

static void event(const char *place)
{
    if (!strcmp(where, place) && ++events == 3)
        misbehave();
}

static void on_syscall(void *u, panda_cpu *c, const panda_syscall_info *i)
{
    (void)u, (void)c, (void)i;
    event("syscall");
}

static void on_block(void *u, panda_cpu *c, const panda_block_info *b)
{
    (void)u, (void)c, (void)b;
    event("block");
}

static void on_write(void *u, panda_cpu *c, uint64_t pc, uint64_t addr, uint64_t size, const uint8_t *data)
{
    (void)u, (void)c, (void)pc, (void)addr, (void)size, (void)data;
    event("write");
}

static uint32_t on_monitor(void *u, panda_cpu *c, const uint8_t *text, uint64_t len)
{
    const panda_monitor_api *monitor = host->get_extension(host, self, (panda_str){PANDA_SERVICE_MONITOR, strlen(PANDA_SERVICE_MONITOR)});
    char line[100];
    int n = snprintf(line, sizeof line, "inits %u, %.*s", inits, (int)len, (const char *)text);
    (void)u, (void)c;
    monitor->reply(self, (panda_str){line, (uint64_t)n});
    return 1;
}

static uint32_t init(const panda_host_api *h, panda_plugin *p, const panda_init_info *info, void **state)
{
    uint32_t n;
    (void)state;
    host = h;
    self = p;
    inits++;
    for (n = 0; n < info->args_count; n++) {
        char *to = info->args[n].name.ptr[0] == 'h' ? how : where;
        snprintf(to, sizeof how, "%.*s", (int)info->args[n].text.len, info->args[n].text.ptr);
    }
    at("init");
    if (!strcmp(where, "block"))
        panda_on_before_block_exec(h, p, on_block, NULL, PANDA_CB_READS_REGS, &id);
    if (!strcmp(where, "write"))
        panda_on_virt_mem_after_write(h, p, on_write, NULL, PANDA_CB_READS_REGS, &id);
    panda_on_monitor(h, p, on_monitor, NULL, PANDA_CB_NONE, &id);
    return panda_on_syscall_enter(h, p, on_syscall, NULL, PANDA_CB_READS_REGS, &id);
}

static void uninit(void *state)
{
    (void)state;
    at("uninit");
}

static uint32_t flush(void *state, uint32_t reason)
{
    (void)state, (void)reason;
    at("flush");
    return PANDA_OK;
}

static const panda_arg_desc args[] = {
    {PANDA_STR("how"), PANDA_ARG_STRING, 0, PANDA_STR("not"), PANDA_STR("what to do"), NULL, 0, 0},
    {PANDA_STR("where"), PANDA_ARG_STRING, 0, PANDA_STR("nowhere"), PANDA_STR("in which function"), NULL, 0, 0},
};

PANDA_PLUGIN("misbehave", "0.1.0", "Does what a plugin must not", args, 2, init, uninit, flush)
