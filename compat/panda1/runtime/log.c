/*
 * log.c - lines for the host's log, and answers to monitor commands
 */
#include "runtime.h"

struct Monitor {
    size_t length;
    bool answered;
    char line[1024];
};

static struct Monitor the_monitor;

static void log_list(uint32_t level, const char *format, va_list list)
{
    char line[1024];
    vsnprintf(line, sizeof line, format, list);
    panda1.host->log(panda1.host, panda1.self, level, panda1_text(line));
}

void panda1_log(uint32_t level, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    log_list(level, format, list);
    va_end(list);
}

void panda1_fail(const char *format, ...)
{
    char line[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    panda1.host->plugin_failed(panda1.host, panda1.self, panda1_text(line));
}

Monitor *panda1_monitor_begin(void)
{
    the_monitor.length = 0;
    the_monitor.answered = false;
    return &the_monitor;
}

bool panda1_monitor_end(Monitor *mon)
{
    monitor_flush(mon);
    return mon->answered;
}

static void answer(struct Monitor *mon)
{
    panda_str line = {mon->line, mon->length};
    if (panda1.monitor)
        panda1.monitor->reply(panda1.self, line);
    else
        panda1.host->log(panda1.host, panda1.self, PANDA_INFO, line);
    mon->answered = true;
    mon->length = 0;
}

void monitor_flush(Monitor *mon)
{
    mon = mon ? mon : &the_monitor;
    if (mon->length > 0)
        answer(mon);
}

void monitor_vprintf(Monitor *mon, const char *format, va_list list)
{
    char *text = NULL, *at;
    mon = mon ? mon : &the_monitor;
    if (vasprintf(&text, format, list) < 0)
        return;
    for (at = text; *at; at++) {
        if (*at == '\n') {
            answer(mon);
        } else {
            if (mon->length == sizeof mon->line)
                answer(mon);
            mon->line[mon->length++] = *at;
        }
    }
    free(text);
}

void monitor_printf(Monitor *mon, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    monitor_vprintf(mon, format, list);
    va_end(list);
}
