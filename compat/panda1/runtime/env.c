/*
 * env.c - keeps CPUState and the host's registers in step
 */
#include "target.h"

#define MOST_REGISTERS 40

CPUState *cpu_single_env;
CPUState *first_cpu;
ram_addr_t ram_size;

static CPUState live;
/* As it was loaded. */
static CPUState loaded;
static uint32_t ids[MOST_REGISTERS];
static uint32_t sizes[MOST_REGISTERS];

static bool find_register(unsigned n)
{
    const uint32_t count = panda1.regs->count(panda1.self);
    uint32_t i;
    for (i = 0; i < count; i++) {
        panda_reg_info info;
        memset(&info, 0, sizeof info);
        info.struct_size = (uint32_t)sizeof info;
        if (panda1.regs->describe(panda1.self, i, &info) != PANDA_OK)
            continue;
        if (info.name.len == strlen(panda1_registers[n].name)
            && !memcmp(info.name.ptr, panda1_registers[n].name, info.name.len)) {
            ids[n] = info.id;
            sizes[n] = info.size;
            return info.size <= panda1_registers[n].size;
        }
    }
    return false;
}

bool panda1_env_start(void)
{
    unsigned n;
    assert(panda1_register_count <= MOST_REGISTERS);
    for (n = 0; n < panda1_register_count; n++)
        if (!find_register(n)) {
            panda1_fail("the host has no register %s for it", panda1_registers[n].name);
            return false;
        }
    memset(&live, 0, sizeof live);
    panda1_target_constants(&live);
    return true;
}

static void read_registers(panda_cpu *cpu, uint64_t *values)
{
    unsigned n;
    memset(values, 0, panda1_register_count * sizeof *values);
    if (panda1.regs->struct_size > offsetof(panda_regs_api, read_u64s) && panda1.regs->read_u64s) {
        panda1.regs->read_u64s(cpu, ids, values, panda1_register_count);
        return;
    }
    /* A host of version 1.0. */
    for (n = 0; n < panda1_register_count; n++)
        panda1.regs->read_u64(cpu, ids[n], &values[n]);
}

CPUState *panda1_env_load(panda_cpu *cpu, const uint64_t *pc)
{
    uint64_t values[MOST_REGISTERS];
    unsigned n;
    live.host_cpu = cpu;
    read_registers(cpu, values);
    /* The first one is the program counter. */
    for (n = 1; n < panda1_register_count; n++) {
        char *field = (char *)&live + panda1_registers[n].offset;
        if (panda1_registers[n].size == sizeof(uint64_t))
            memcpy(field, &values[n], sizeof(uint64_t));
        else
            memcpy(field, &values[n], sizeof(uint32_t));
    }
    panda1_target_derived(&live, pc ? *pc : panda1.regs->pc(cpu));
    loaded = live;
    return &live;
}

bool panda1_env_store(CPUState *env)
{
    bool changed = false;
    unsigned n;
    if (!memcmp(env, &loaded, sizeof loaded))
        return false;
    for (n = 0; n < panda1_register_count; n++) {
        const char *now = (const char *)env + panda1_registers[n].offset;
        if (memcmp(now, (const char *)&loaded + panda1_registers[n].offset, panda1_registers[n].size)) {
            panda1.regs->write((panda_cpu *)env->host_cpu, ids[n], (const uint8_t *)now, sizes[n]);
            changed = true;
        }
    }
    return changed;
}
