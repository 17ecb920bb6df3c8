/* Looks at the guest's x87 registers before every block, and fills the x87 stack itself. */
#include "panda_plugin.h"

#include <stdio.h>
#include <string.h>

static const panda_host_api *host;
static panda_plugin *self;
static const panda_regs_api *regs;

#define REGISTERS 13
static const char *const names[REGISTERS] = {"st0", "st1", "st2", "st3", "st4", "st5", "st6", "st7",
                                             "fctrl", "fstat", "ftag", "fop", "fip"};
static uint32_t ids[REGISTERS];
static unsigned long blocks, wrong;
static uint64_t hash = 1469598103934665603u;

static panda_str text(const char *s)
{
    panda_str t = {s, strlen(s)};
    return t;
}

static void on_block(void *user, panda_cpu *cpu, const panda_block_info *block)
{
    uint8_t bytes[16];
    uint16_t control, status;
    long double last;
    (void)user; (void)block;
    blocks++;
    for (int k = 0; k < REGISTERS; k++) {
        memset(bytes, 0, sizeof bytes);
        wrong += regs->read(cpu, ids[k], bytes, sizeof bytes, NULL) != PANDA_OK;
        for (int i = 0; i < 10; i++)
            hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    __asm__ volatile("fnstcw %0; fld1; fld1; fld1; fld1; fld1; fld1; fld1; fldz; fnstsw %1; faddp; faddp;"
                     "faddp; faddp; faddp; faddp; faddp"
                     : "=m"(control), "=m"(status), "=t"(last));
    wrong += control != 0x37f || (status & 0x41) || last != 7;
}

static void on_exit_(void *user, panda_cpu *cpu, uint32_t kind, int32_t code)
{
    char line[100];
    (void)user; (void)cpu; (void)kind; (void)code;
    snprintf(line, sizeof line, "blocks %lu wrong %lu hash %016lx", blocks, wrong, (unsigned long)hash);
    host->log(host, self, PANDA_INFO, text(line));
}

static uint32_t init(const panda_host_api *h, panda_plugin *s, const panda_init_info *info, void **state)
{
    panda_id id;
    uint32_t bad = 0;
    (void)info; (void)state;
    host = h;
    self = s;
    regs = host->get_extension(host, self, text(PANDA_SERVICE_REGS));
    if (!regs)
        return PANDA_FAILED;
    for (int k = 0; k < REGISTERS; k++)
        bad |= regs->by_name(self, text(names[k]), &ids[k]);
    bad |= panda_on_before_block_exec(host, self, on_block, NULL, PANDA_CB_READS_REGS, &id);
    bad |= panda_on_guest_exit(host, self, on_exit_, NULL, 0, &id);
    return bad ? PANDA_FAILED : PANDA_OK;
}

PANDA_PLUGIN("x87_user", "1.0", "Reads x87 registers and uses the unit", NULL, 0, init, NULL, NULL)
