/* Opens one file in init and one when the guest calls getppid, and keeps both open. */
#include "config.h"
#include "qemu-common.h"
#include "cpu.h"

#include "panda_plugin.h"

#ifdef TARGET_X86_64
#define GETPPID 110
#else
#define GETPPID 64
#endif

static FILE *early, *late;

static int before_syscall(void *cpu_env, bitmask_transtbl *table, int num, abi_long arg1, abi_long arg2, abi_long arg3,
                          abi_long arg4, abi_long arg5, abi_long arg6, abi_long arg7, abi_long arg8)
{
    (void)cpu_env; (void)table; (void)arg1; (void)arg2; (void)arg3; (void)arg4; (void)arg5; (void)arg6; (void)arg7;
    (void)arg8;
    if (num == GETPPID && !late) {
        char line[80] = "";
        FILE *input = fopen("input.txt", "r");
        late = fopen("late.txt", "w");
        if (input && fgets(line, sizeof line, input))
            fprintf(late, "%s", line);
        if (input)
            fclose(input);
    }
    fprintf(early, "%d\n", num);
    return 0;
}

bool init_plugin(void *self)
{
    panda_cb pcb;
    early = fopen("early.txt", "w");
    pcb.user_before_syscall = before_syscall;
    panda_register_callback(self, PANDA_CB_USER_BEFORE_SYSCALL, pcb);
    return early != NULL;
}

void uninit_plugin(void *self)
{
    (void)self;
    fclose(early);
    if (late)
        fclose(late);
}
