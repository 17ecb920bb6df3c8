/*
 * panda_args.h - arguments: -panda 'NAME:KEY=VALUE,...', -panda-arg NAME:KEY=VALUE, or --plugins NAME:KEY=VALUE
 *
 * Names match exactly. Of a name given twice, panda_get_args lists both and the panda_parse_... functions take the
 * first. Numbers may be decimal, hexadecimal with 0x, or octal with 0.
 */
#ifndef PANDA1_PANDA_ARGS_H
#define PANDA1_PANDA_ARGS_H

#include "cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct panda_arg {
    char *argptr; /* NAME:KEY=VALUE */
    char *key;
    char *value; /* "" when none was given */
} panda_arg;

typedef struct panda_arg_list {
    int nargs;
    panda_arg *list;
    char *plugin_name;
} panda_arg_list;

/* The plugin's own arguments, whatever name it asks by: the host passes no others on. Never NULL; free it with
 * panda_free_args, which makes the texts invalid. */
panda_arg_list *panda_get_args(const char *plugin_name);
void panda_free_args(panda_arg_list *args);

/* The value of an argument, or defval when it was not given. A number that is none counts as not given, and a line
 * in the log says so. args may be NULL. */
const char *panda_parse_string(panda_arg_list *args, const char *argname, const char *defval);
target_ulong panda_parse_ulong(panda_arg_list *args, const char *argname, target_ulong defval);
uint32_t panda_parse_uint32(panda_arg_list *args, const char *argname, uint32_t defval);
uint64_t panda_parse_uint64(panda_arg_list *args, const char *argname, uint64_t defval);
double panda_parse_double(panda_arg_list *args, const char *argname, double defval);
/* True when it was given, unless as "false" or "no". */
bool panda_parse_bool(panda_arg_list *args, const char *argname);

#ifdef __cplusplus
}
#endif

#endif
