/*
 * memory.c - guest memory
 */
#include "runtime.h"

static int transfer(panda_cpu *cpu, uint64_t addr, uint8_t *buf, uint64_t len, int is_write)
{
    return is_write ? (int)panda1.mem->write(cpu, addr, buf, len) : (int)panda1.mem->read(cpu, addr, buf, len);
}

static int rw(panda_cpu *cpu, uint64_t addr, uint8_t *buf, int len, int is_write)
{
    uint64_t done = 0;
    if (!cpu || len < 0)
        return -1;
    if (transfer(cpu, addr, buf, (uint64_t)len, is_write) == (int)PANDA_OK)
        return 0;
    /* The host does all or nothing, QEMU as much as there is. */
    while (done < (uint64_t)len) {
        const uint64_t at = addr + done;
        const uint64_t page = TARGET_PAGE_SIZE - (at & (TARGET_PAGE_SIZE - 1));
        const uint64_t part = MIN(page, (uint64_t)len - done);
        if (transfer(cpu, at, buf + done, part, is_write) != (int)PANDA_OK)
            return -1;
        done += part;
    }
    return 0;
}

int cpu_memory_rw_debug(CPUState *env, target_ulong addr, uint8_t *buf, int len, int is_write)
{
    return rw(env ? (panda_cpu *)env->host_cpu : NULL, addr, buf, len, is_write);
}

int panda_virtual_memory_rw(CPUState *env, target_ulong addr, uint8_t *buf, int len, int is_write)
{
    return cpu_memory_rw_debug(env, addr, buf, len, is_write);
}

int panda_physical_memory_rw(target_phys_addr_t addr, uint8_t *buf, int len, int is_write)
{
    return rw(panda1.group ? panda1.group->cpu : NULL, addr, buf, len, is_write);
}

void cpu_physical_memory_rw(target_phys_addr_t addr, uint8_t *buf, int len, int is_write)
{
    /* QEMU reads zeros where no memory is. */
    if (panda_physical_memory_rw(addr, buf, len, is_write) != 0 && !is_write && len > 0)
        memset(buf, 0, (size_t)len);
}

target_phys_addr_t panda_virt_to_phys(CPUState *env, target_ulong addr)
{
    uint8_t byte;
    return cpu_memory_rw_debug(env, addr, &byte, 1, 0) == 0 ? addr : (target_phys_addr_t)-1;
}

target_phys_addr_t cpu_get_phys_page_debug(CPUState *env, target_ulong addr)
{
    return panda_virt_to_phys(env, addr & TARGET_PAGE_MASK);
}
