/*
 * qemu-common.h - what PANDA 1 sources expect of QEMU's and GLib's basics
 */
#ifndef PANDA1_QEMU_COMMON_H
#define PANDA1_QEMU_COMMON_H

#include "config.h"

#ifndef __STDC_FORMAT_MACROS
#define __STDC_FORMAT_MACROS 1
#endif
#ifndef __STDC_LIMIT_MACROS
#define __STDC_LIMIT_MACROS 1
#endif
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifndef MIN
#define MIN(a, b) (((a) < (b)) ? (a) : (b))
#endif
#ifndef MAX
#define MAX(a, b) (((a) > (b)) ? (a) : (b))
#endif
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#endif
#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t ram_addr_t;
typedef struct Monitor Monitor;

/* GLib's allocator: memory of it may be freed by free and the other way round. They never return NULL for a size
 * above 0: without memory the process ends. A plugin that links GLib itself may include glib.h besides. */
void *g_malloc(size_t size);
void *g_malloc0(size_t size);
void *g_realloc(void *memory, size_t size);
void g_free(void *memory);
char *g_strdup(const char *text);
char *g_strndup(const char *text, size_t size);
char *g_strdup_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#ifndef g_new
#define g_new(type, count) ((type *)g_malloc(sizeof(type) * (size_t)(count)))
#define g_new0(type, count) ((type *)g_malloc0(sizeof(type) * (size_t)(count)))
#endif

/* QEMU's names for the same. */
static inline void *qemu_malloc(size_t size) { return g_malloc(size); }
static inline void *qemu_mallocz(size_t size) { return g_malloc0(size); }
static inline void *qemu_realloc(void *memory, size_t size) { return g_realloc(memory, size); }
static inline char *qemu_strdup(const char *text) { return g_strdup(text); }
static inline void qemu_free(void *memory) { g_free(memory); }

#ifdef __cplusplus
}
#endif

#endif
