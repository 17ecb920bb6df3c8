/*
 * monitor.h - answers to monitor commands
 */
#ifndef PANDA1_MONITOR_H
#define PANDA1_MONITOR_H

#include "qemu-common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Answers the command being handled. Outside of a monitor callback (mon is NULL or old) the text goes to the log.
 * Text is passed on by the line. */
void monitor_printf(Monitor *mon, const char *format, ...) __attribute__((format(printf, 2, 3)));
void monitor_vprintf(Monitor *mon, const char *format, va_list list) __attribute__((format(printf, 2, 0)));
void monitor_flush(Monitor *mon);

#ifdef __cplusplus
}
#endif

#endif
