// Logs every system call of an x86 guest: PC=<address>, SYSCALL=<number>.
//
//     c++ -shared -fPIC -fvisibility=hidden -I plugin-api/include -o panda_syscall_monitor_cpp.so syscall_monitor.cpp
//     host --plugins ./panda_syscall_monitor_cpp.so -- /bin/ls
//
// Only instructions that enter the kernel are instrumented; all others run at full speed.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "panda_plugin.h"

namespace {

panda_str str(const char *text)
{
    return panda_str{text, std::strlen(text)};
}

struct CloseFile {
    void operator()(std::FILE *file) const { std::fclose(file); }
};

class SyscallMonitor {
public:
    SyscallMonitor(const panda_host_api *host, panda_plugin *self)
        : regs(table<panda_regs_api>(host, self, PANDA_SERVICE_REGS))
    {
        const auto *os = table<panda_os_api>(host, self, PANDA_SERVICE_OS);
        const uint32_t arch = os->arch(self);
        if (arch != PANDA_ARCH_I386 && arch != PANDA_ARCH_X86_64)
            throw std::runtime_error("only x86 guests are supported");
        digits = arch == PANDA_ARCH_X86_64 ? 16 : 8;
        check(regs->by_name(self, str(digits == 16 ? "rax" : "eax"), &number), "finding the accumulator");

        panda_id id;
        check(panda_on_insn_translate(host, self, translate, this, PANDA_CB_NONE, &id), "insn_translate");
        check(panda_on_insn_exec(host, self, exec, this, PANDA_CB_READS_REGS, &id), "insn_exec");

        const panda_str dir = os->out_dir(self);
        const std::string path = std::string(dir.ptr, dir.len) + "/syscall_monitor_cpp.txt";
        // After an execve that the host follows, the log goes on where it was.
        log.reset(std::fopen(path.c_str(), os->continued(self) ? "a" : "w"));
        if (!log)
            throw std::runtime_error("cannot open " + path);
    }

    bool flush() { return std::fflush(log.get()) == 0; }

private:
    template <typename Table>
    static const Table *table(const panda_host_api *host, panda_plugin *self, const char *id)
    {
        const void *found = host->get_extension(host, self, str(id));
        if (!found)
            throw std::runtime_error(std::string("the host has no ") + id);
        return static_cast<const Table *>(found);
    }

    static void check(uint32_t status, const char *what)
    {
        if (status != PANDA_OK)
            throw std::runtime_error(std::string(what) + ": status " + std::to_string(status));
    }

    // syscall, sysenter, int 0x80
    static uint32_t translate(void *, panda_cpu *, uint64_t, const uint8_t *bytes, uint32_t len)
    {
        return len == 2 && ((bytes[0] == 0x0f && (bytes[1] == 0x05 || bytes[1] == 0x34)) ||
                            (bytes[0] == 0xcd && bytes[1] == 0x80));
    }

    static void exec(void *user, panda_cpu *cpu, uint64_t pc)
    {
        auto *self = static_cast<SyscallMonitor *>(user);
        uint64_t value;
        if (self->regs->read_u64(cpu, self->number, &value) == PANDA_OK)
            std::fprintf(self->log.get(), "PC=%0*" PRIx64 ", SYSCALL=%0*" PRIx64 "\n", self->digits, pc,
                         self->digits, value);
    }

    const panda_regs_api *regs;
    uint32_t number = 0;
    int digits = 16;
    std::unique_ptr<std::FILE, CloseFile> log;
};

// No exception may leave the plugin.
uint32_t init(const panda_host_api *host, panda_plugin *self, const panda_init_info *, void **state)
{
    try {
        *state = new SyscallMonitor(host, self);
        return PANDA_OK;
    } catch (const std::exception &e) {
        host->plugin_failed(host, self, str(e.what()));
        return PANDA_FAILED;
    }
}

void uninit(void *state)
{
    delete static_cast<SyscallMonitor *>(state);
}

uint32_t flush(void *state, uint32_t)
{
    return static_cast<SyscallMonitor *>(state)->flush() ? PANDA_OK : PANDA_FAILED;
}

} // namespace

PANDA_PLUGIN("syscall_monitor_cpp", "1.0", "Logs system calls (C++)", nullptr, 0, init, uninit, flush)
