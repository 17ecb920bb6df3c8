/* Prints its arguments. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"

bool init_plugin(void *self)
{
    panda_arg_list *args = panda_get_args("arguments");
    int n;
    (void)self;
    for (n = 0; n < args->nargs; n++)
        printf("%s=%s\n", args->list[n].key, args->list[n].value);
    printf("string %s, %s\n", panda_parse_string(args, "s", "none"), panda_parse_string(args, "t", "none"));
    printf("ulong " TARGET_FMT_lx "\n", panda_parse_ulong(args, "u", 7));
    printf("uint32 %u\n", panda_parse_uint32(args, "w", 7));
    printf("uint64 %" PRIu64 "\n", panda_parse_uint64(args, "q", 7));
    printf("double %g\n", panda_parse_double(args, "d", 1.5));
    printf("bool %d %d %d\n", panda_parse_bool(args, "b"), panda_parse_bool(args, "n"), panda_parse_bool(args, "x"));
    panda_free_args(args);
    return true;
}

void uninit_plugin(void *self)
{
    (void)self;
}
