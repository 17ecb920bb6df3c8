/*
 * glib.c - GLib's allocator on the C library's, as GLib's own is
 */
#include "qemu-common.h"

static void *have(void *memory, size_t size)
{
    if (!memory && size > 0) {
        fprintf(stderr, "a PANDA plugin cannot get %zu bytes of memory\n", size);
        abort();
    }
    return memory;
}

void *g_malloc(size_t size)
{
    return size ? have(malloc(size), size) : NULL;
}

void *g_malloc0(size_t size)
{
    return size ? have(calloc(1, size), size) : NULL;
}

void *g_realloc(void *memory, size_t size)
{
    if (size == 0) {
        free(memory);
        return NULL;
    }
    return have(realloc(memory, size), size);
}

void g_free(void *memory)
{
    free(memory);
}

char *g_strdup(const char *text)
{
    return text ? (char *)have(strdup(text), 1) : NULL;
}

char *g_strndup(const char *text, size_t size)
{
    return text ? (char *)have(strndup(text, size), size + 1) : NULL;
}

char *g_strdup_printf(const char *format, ...)
{
    char *text = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&text, format, list) < 0)
        text = NULL;
    va_end(list);
    return (char *)have(text, 1);
}
