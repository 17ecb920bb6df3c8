/*
 * args.c - the plugin's arguments
 */
#include "runtime.h"

/* What the host passed to init, kept as "NAME:KEY=VALUE". */
static char **given;
static int given_count;

bool panda1_args_start(const panda_init_info *info)
{
    uint32_t n;
    given = g_new0(char *, info->args_count + 1);
    for (n = 0; n < info->args_count; n++) {
        const panda_arg_value *value = (const panda_arg_value *)((const char *)info->args + (size_t)n * info->arg_size);
        given[given_count++] = g_strdup_printf("%s:%.*s=%.*s", PANDA1_PLUGIN_NAME, (int)value->name.len,
                                               value->name.ptr, (int)value->text.len, value->text.ptr);
    }
    return true;
}

void panda1_args_end(void)
{
    int n;
    for (n = 0; n < given_count; n++)
        g_free(given[n]);
    g_free(given);
    given = NULL;
    given_count = 0;
}

panda_arg_list *panda_get_args(const char *plugin_name)
{
    panda_arg_list *args = g_new0(panda_arg_list, 1);
    int n;
    args->plugin_name = g_strdup(plugin_name);
    args->nargs = given_count;
    args->list = g_new0(panda_arg, given_count + 1);
    for (n = 0; n < given_count; n++) {
        panda_arg *arg = &args->list[n];
        char *equals;
        arg->argptr = g_strdup(given[n]);
        arg->key = strchr(arg->argptr, ':') + 1;
        /* Key and value are parts of argptr: the key ends where the equals sign was. */
        equals = strchr(arg->key, '=');
        *equals = 0;
        arg->value = equals + 1;
    }
    return args;
}

void panda_free_args(panda_arg_list *args)
{
    int n;
    if (!args)
        return;
    for (n = 0; n < args->nargs; n++)
        g_free(args->list[n].argptr);
    g_free(args->list);
    g_free(args->plugin_name);
    g_free(args);
}

static const char *find(const panda_arg_list *args, const char *name)
{
    int n;
    for (n = 0; args && n < args->nargs; n++)
        if (!strcmp(args->list[n].key, name))
            return args->list[n].value;
    return NULL;
}

static void not_a_number(const char *name, const char *text)
{
    panda1_log(PANDA_WARN, "argument %s: \"%s\" is not a number it can take; its default is used", name, text);
}

/* The number, if it is one and at most `most`. */
static uint64_t number(panda_arg_list *args, const char *name, uint64_t defval, uint64_t most)
{
    const char *text = find(args, name);
    char *end = NULL;
    unsigned long long value;
    if (!text)
        return defval;
    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != 0 || value > most || strchr(text, '-')) {
        not_a_number(name, text);
        return defval;
    }
    return value;
}

const char *panda_parse_string(panda_arg_list *args, const char *argname, const char *defval)
{
    const char *text = find(args, argname);
    return text ? text : defval;
}

target_ulong panda_parse_ulong(panda_arg_list *args, const char *argname, target_ulong defval)
{
    return (target_ulong)number(args, argname, defval, (target_ulong)-1);
}

uint32_t panda_parse_uint32(panda_arg_list *args, const char *argname, uint32_t defval)
{
    return (uint32_t)number(args, argname, defval, UINT32_MAX);
}

uint64_t panda_parse_uint64(panda_arg_list *args, const char *argname, uint64_t defval)
{
    return number(args, argname, defval, UINT64_MAX);
}

double panda_parse_double(panda_arg_list *args, const char *argname, double defval)
{
    const char *text = find(args, argname);
    char *end = NULL;
    double value;
    if (!text)
        return defval;
    value = strtod(text, &end);
    if (end == text || *end != 0) {
        not_a_number(argname, text);
        return defval;
    }
    return value;
}

bool panda_parse_bool(panda_arg_list *args, const char *argname)
{
    const char *text = find(args, argname);
    return text && strcmp(text, "false") && strcmp(text, "no");
}
