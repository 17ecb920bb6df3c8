/*
 * panda_plugin.h - plugin interface, version 1.1
 *
 * A plugin is a shared library that exports one data symbol, panda_plugin_entry_v1. The smallest one:
 *
 *     #include "panda_plugin.h"
 *
 *     static void on_block(void *user, panda_cpu *cpu, const panda_block_info *block)
 *     {
 *         (void)cpu; (void)block;
 *         ++*(uint64_t *)user;
 *     }
 *
 *     static uint64_t blocks;
 *
 *     static uint32_t init(const panda_host_api *host, panda_plugin *self,
 *                          const panda_init_info *info, void **state)
 *     {
 *         panda_id id;
 *         (void)info; (void)state;
 *         return panda_on_before_block_exec(host, self, on_block, &blocks, PANDA_CB_NONE, &id);
 *     }
 *
 *     static void uninit(void *state) { (void)state; }
 *
 *     PANDA_PLUGIN("count", "1.0", "Counts blocks", NULL, 0, init, uninit, NULL)
 *
 * Build it with: cc -shared -fPIC -fvisibility=hidden -o panda_count.so count.c
 *
 * Rules
 *   - Every structure begins with its size in bytes. Use a field only if the size covers it, and a function only
 *     if it is not NULL. Fields are only ever added, at the end; kinds and ids are never reused.
 *   - Tolerate values of enumerations that you do not know.
 *   - Text and bytes are borrowed for the call, and are not NUL-terminated. Nobody frees the other's memory.
 *   - Everything is called on the thread that runs the guest. Only functions marked [any thread] may be called
 *     from threads of your own, which must have ended when uninit returns.
 *   - A panda_cpu is valid only inside the callback that received it.
 *   - No C++ exception may leave a function of the plugin.
 */
#ifndef PANDA_PLUGIN_H
#define PANDA_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PANDA_ABI_MAJOR 1u
#define PANDA_ABI_MINOR 1u

/* The processor a callback runs on. */
typedef struct panda_cpu panda_cpu;
/* The host's handle of a loaded plugin. */
typedef struct panda_plugin panda_plugin;
/* A subscription or counter; 0 is never valid. */
typedef uint64_t panda_id;

/* Borrowed bytes; UTF-8 unless said otherwise. */
typedef struct panda_str {
    const char *ptr;
    uint64_t len;
} panda_str;

/* A panda_str for a string literal, usable in static initializers. */
#define PANDA_STR(literal) { literal, sizeof(literal) - 1 }

/* Status codes. */
#define PANDA_OK 0u           /* done */
#define PANDA_INVALID 1u      /* an argument is wrong */
#define PANDA_UNKNOWN 2u      /* no such kind, register, service, counter */
#define PANDA_STALE_ID 3u     /* the id is stale or another plugin's */
#define PANDA_UNSUPPORTED 4u  /* not possible on this host */
#define PANDA_FAULT 5u        /* guest memory is not accessible there */
#define PANDA_TOO_SMALL 6u    /* the buffer is too small */
#define PANDA_NOT_DECLARED 7u /* the subscription's flags do not allow it */
#define PANDA_NOT_NOW 8u      /* outside a callback, or without a running guest */
#define PANDA_EXISTS 9u       /* already there */
#define PANDA_FAILED 10u      /* the plugin failed; plugin_failed said why */

/* Log levels. */
#define PANDA_ERROR 1u
#define PANDA_WARN 2u
#define PANDA_INFO 3u
#define PANDA_DEBUG 4u
#define PANDA_TRACE 5u

/* Guest architectures. */
#define PANDA_ARCH_I386 1u
#define PANDA_ARCH_X86_64 2u
#define PANDA_ARCH_ARM 3u
#define PANDA_ARCH_AARCH64 4u

/* ---- Callbacks ---------------------------------------------------------------------------------------- */

#define PANDA_CB_INSN_TRANSLATE 1u
#define PANDA_CB_INSN_EXEC 2u
#define PANDA_CB_AFTER_INSN_EXEC 3u
#define PANDA_CB_BEFORE_BLOCK_TRANSLATE 4u
#define PANDA_CB_AFTER_BLOCK_TRANSLATE 5u
#define PANDA_CB_BEFORE_BLOCK_EXEC 6u
#define PANDA_CB_AFTER_BLOCK_EXEC 7u
#define PANDA_CB_VIRT_MEM_BEFORE_READ 8u
#define PANDA_CB_VIRT_MEM_AFTER_READ 9u
#define PANDA_CB_VIRT_MEM_BEFORE_WRITE 10u
#define PANDA_CB_VIRT_MEM_AFTER_WRITE 11u
#define PANDA_CB_SYSCALL_ENTER 12u
#define PANDA_CB_SYSCALL_RETURN 13u
#define PANDA_CB_GUEST_HYPERCALL 14u
#define PANDA_CB_MONITOR 15u
#define PANDA_CB_MODULE_LOADED 16u
#define PANDA_CB_MODULE_UNLOADED 17u
#define PANDA_CB_THREAD_START 18u
#define PANDA_CB_THREAD_EXIT 19u
#define PANDA_CB_PROCESS_FORK 20u
#define PANDA_CB_PROCESS_EXEC 21u
#define PANDA_CB_SIGNAL_DELIVERED 22u
#define PANDA_CB_GUEST_READY 23u
#define PANDA_CB_GUEST_EXIT 24u

/* What a subscription touches; its callback is refused anything else with PANDA_NOT_DECLARED. */
#define PANDA_CB_NONE 0u        /* no registers: the cheapest */
#define PANDA_CB_READS_REGS 1u
#define PANDA_CB_WRITES_REGS 2u /* includes reading */

/* Why a block ended. */
#define PANDA_BLOCK_END 0u         /* it ran to its end */
#define PANDA_BLOCK_SYSCALL 1u     /* its last instruction entered the kernel */
#define PANDA_BLOCK_FAULT 2u       /* an instruction in it faulted */
#define PANDA_BLOCK_INTERRUPTED 3u /* interrupted between two instructions */

/* How a guest ended; the code is its status, the signal's number, or the status asked for. */
#define PANDA_EXITED 0u
#define PANDA_SIGNALED 1u
#define PANDA_STOPPED 2u

/* panda_syscall_info.abi */
#define PANDA_SYSCALL_LINUX_I386 1u
#define PANDA_SYSCALL_LINUX_X86_64 2u
#define PANDA_SYSCALL_LINUX_ARM 3u
#define PANDA_SYSCALL_LINUX_AARCH64 4u

/* panda_syscall_info.entry */
#define PANDA_ENTRY_SYSCALL 1u
#define PANDA_ENTRY_SYSENTER 2u
#define PANDA_ENTRY_INT80 3u
#define PANDA_ENTRY_SVC 4u

/* panda_module_info.flags */
#define PANDA_MODULE_MAIN 1u
#define PANDA_MODULE_INTERPRETER 2u
#define PANDA_MODULE_KERNEL 4u

/* panda_fork_info.side */
#define PANDA_FORK_PARENT 0u
#define PANDA_FORK_CHILD 1u

/* panda_signal_info.flags */
#define PANDA_SIGNAL_FATAL 1u
#define PANDA_SIGNAL_SYNCHRONOUS 2u

typedef struct panda_block_info {
    uint32_t struct_size;
    uint32_t insn_count; /* guest instructions */
    uint64_t pc;
    uint64_t size; /* guest bytes */
} panda_block_info;

typedef struct panda_syscall_info {
    uint32_t struct_size;
    uint32_t abi;
    uint32_t entry;
    uint32_t arg_count; /* UINT32_MAX: not known */
    uint32_t tid;
    uint32_t pid;
    uint64_t pc; /* of the instruction that entered the kernel */
    uint64_t number;
    uint64_t args[8];
} panda_syscall_info;

typedef struct panda_module_info {
    uint32_t struct_size;
    uint32_t flags;
    uint64_t base; /* where the file's offset 0 is, or would be, mapped */
    uint64_t size;
    panda_str path;
    panda_str build_id; /* raw bytes; may be empty */
} panda_module_info;

typedef struct panda_thread_info {
    uint32_t struct_size;
    uint32_t tid;
    uint32_t pid;
    int32_t status; /* thread_exit: exit status */
    uint64_t pc;
    uint64_t sp;
} panda_thread_info;

typedef struct panda_fork_info {
    uint32_t struct_size;
    uint32_t side;
    uint32_t parent;
    uint32_t child;
} panda_fork_info;

typedef struct panda_exec_info {
    uint32_t struct_size;
    uint32_t pid;
    panda_str path;
    uint32_t arch;
    uint32_t word_size;
} panda_exec_info;

typedef struct panda_signal_info {
    uint32_t struct_size;
    int32_t signo;
    int32_t code; /* si_code */
    uint32_t flags;
    uint64_t addr; /* si_addr of a fault, otherwise 0 */
    uint64_t pc;
    uint64_t handler; /* 0: none */
    uint32_t tid;
    uint32_t sender;
} panda_signal_info;

/* Each instruction while it is translated, exactly once: 1 = insn_exec and after_insn_exec of this plugin fire
 * for it. bytes are the whole instruction. */
typedef uint32_t (*panda_insn_translate_fn)(void *user, panda_cpu *cpu, uint64_t pc, const uint8_t *bytes,
                                            uint32_t len);
/* insn_exec, after_insn_exec, before_block_translate */
typedef void (*panda_pc_fn)(void *user, panda_cpu *cpu, uint64_t pc);
/* after_block_translate, before_block_exec */
typedef void (*panda_block_fn)(void *user, panda_cpu *cpu, const panda_block_info *block);
/* after_block_exec */
typedef void (*panda_after_block_exec_fn)(void *user, panda_cpu *cpu, const panda_block_info *block,
                                          uint32_t exit);
/* virt_mem_*; data is NULL before a read */
typedef void (*panda_mem_fn)(void *user, panda_cpu *cpu, uint64_t pc, uint64_t addr, uint64_t size,
                             const uint8_t *data);
typedef void (*panda_syscall_enter_fn)(void *user, panda_cpu *cpu, const panda_syscall_info *call);
/* result: the kernel's; -4095..-1 is an error number */
typedef void (*panda_syscall_return_fn)(void *user, panda_cpu *cpu, const panda_syscall_info *call,
                                        int64_t result);
/* 1 = handled, the instruction is skipped */
typedef uint32_t (*panda_guest_hypercall_fn)(void *user, panda_cpu *cpu);
/* 1 = handled; cpu may be NULL */
typedef uint32_t (*panda_monitor_fn)(void *user, panda_cpu *cpu, const uint8_t *text, uint64_t len);
/* module_loaded, module_unloaded */
typedef void (*panda_module_fn)(void *user, panda_cpu *cpu, const panda_module_info *module);
/* thread_start, thread_exit */
typedef void (*panda_thread_fn)(void *user, panda_cpu *cpu, const panda_thread_info *thread);
typedef void (*panda_fork_fn)(void *user, panda_cpu *cpu, const panda_fork_info *fork);
typedef void (*panda_exec_fn)(void *user, panda_cpu *cpu, const panda_exec_info *exec);
typedef void (*panda_signal_fn)(void *user, panda_cpu *cpu, const panda_signal_info *signal);
/* guest_ready */
typedef void (*panda_cpu_fn)(void *user, panda_cpu *cpu);
/* cpu may be NULL */
typedef void (*panda_guest_exit_fn)(void *user, panda_cpu *cpu, uint32_t kind, int32_t code);

/* Any of the above; use the panda_on_... functions below, which check the type. */
typedef void (*panda_any_fn)(void);

typedef struct panda_callback_desc {
    uint32_t struct_size;
    uint32_t flags;
    panda_any_fn func;
    void *user;
} panda_callback_desc;

/* ---- The host ----------------------------------------------------------------------------------------- */

typedef struct panda_host_api panda_host_api;

struct panda_host_api {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t reserved;
    panda_str name;
    panda_str version;
    void *context; /* the host's own */

    /* Writes a line to the host's log. [any thread] */
    void (*log)(const panda_host_api *host, panda_plugin *self, uint32_t level, panda_str text);
    /* A table of the host by id, or NULL. [any thread] */
    const void *(*get_extension)(const panda_host_api *host, panda_plugin *self, panda_str id);
    /* Subscribes; takes effect at once, also inside a callback. */
    uint32_t (*register_cb)(const panda_host_api *host, panda_plugin *self, uint32_t kind,
                            const panda_callback_desc *desc, panda_id *id);
    uint32_t (*unregister_cb)(const panda_host_api *host, panda_plugin *self, panda_id id);
    uint32_t (*enable_cb)(const panda_host_api *host, panda_plugin *self, panda_id id);
    uint32_t (*disable_cb)(const panda_host_api *host, panda_plugin *self, panda_id id);
    /* Stops the guest after the current callback; status becomes the host's exit status. */
    uint32_t (*request_stop)(const panda_host_api *host, panda_plugin *self, int32_t status, panda_str reason);
    /* The plugin cannot go on: its callbacks are removed. Also called by an init that fails. [any thread] */
    void (*plugin_failed)(const panda_host_api *host, panda_plugin *self, panda_str reason);
    /* Unloads this plugin after the current callback. */
    uint32_t (*unload_self)(const panda_host_api *host, panda_plugin *self);
    /* Offers a table, which begins with its size, to other plugins. Table and functions stay until uninit returned;
     * the host ends the plugins that use it first. PANDA_EXISTS: somebody offers it. */
    uint32_t (*provide_service)(const panda_host_api *host, panda_plugin *self, panda_str id,
                                const void *table);
    /* Gets another plugin's table of at least that size, for use until uninit returns. PANDA_UNKNOWN: nobody offers
     * it; PANDA_TOO_SMALL: the provider is older. */
    uint32_t (*use_service)(const panda_host_api *host, panda_plugin *self, panda_str id, uint32_t min_size,
                            const void **table);
    /* The most detailed level the log shows. [any thread] */
    uint32_t (*log_level)(const panda_host_api *host, panda_plugin *self);
    /* Loads and starts another plugin, named or by the path of its library, before it returns, unless it runs. Also in
     * init and in callbacks. PANDA_FAILED: the log says why. Since 1.1. */
    uint32_t (*load_plugin)(const panda_host_api *host, panda_plugin *self, panda_str name);
};

/* Guest memory. */
#define PANDA_SERVICE_MEM "panda.mem/1"
typedef struct panda_mem_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* All or nothing. */
    uint32_t (*read)(panda_cpu *cpu, uint64_t addr, uint8_t *buf, uint64_t len);
    /* All or nothing; raises no memory callbacks. */
    uint32_t (*write)(panda_cpu *cpu, uint64_t addr, const uint8_t *data, uint64_t len);
    /* Up to a NUL, which is not stored, or the end of the buffer or of readable memory. */
    uint32_t (*read_cstr)(panda_cpu *cpu, uint64_t addr, uint8_t *buf, uint64_t size, uint64_t *len);
} panda_mem_api;

/* panda_reg_info.kind */
#define PANDA_REG_GENERAL 1u
#define PANDA_REG_PC 2u
#define PANDA_REG_FLAGS 3u
#define PANDA_REG_SEGMENT 4u
#define PANDA_REG_VECTOR 5u
#define PANDA_REG_CONTROL 6u

typedef struct panda_reg_info {
    uint32_t struct_size;
    uint32_t id;
    panda_str name; /* lower case; static */
    uint32_t size;
    uint32_t kind;
} panda_reg_info;

/* Guest registers; values are little-endian bytes. */
#define PANDA_SERVICE_REGS "panda.regs/1"
typedef struct panda_regs_api {
    uint32_t struct_size;
    uint32_t reserved;
    uint32_t (*count)(panda_plugin *self);
    /* Set info->struct_size before the call. */
    uint32_t (*describe)(panda_plugin *self, uint32_t index, panda_reg_info *info);
    uint32_t (*by_name)(panda_plugin *self, panda_str name, uint32_t *id);
    /* size_out may be NULL. */
    uint32_t (*read)(panda_cpu *cpu, uint32_t id, uint8_t *buf, uint64_t size, uint64_t *size_out);
    /* size must be the register's. */
    uint32_t (*write)(panda_cpu *cpu, uint32_t id, const uint8_t *data, uint64_t size);
    /* For registers of at most eight bytes; zero-extended. */
    uint32_t (*read_u64)(panda_cpu *cpu, uint32_t id, uint64_t *value);
    /* 0 when the subscription does not read registers. */
    uint64_t (*pc)(panda_cpu *cpu);
    uint64_t (*sp)(panda_cpu *cpu);
    /* Several registers of at most eight bytes; zero-extended. Stops at the first that cannot be read. Since 1.1. */
    uint32_t (*read_u64s)(panda_cpu *cpu, const uint32_t *ids, uint64_t *values, uint32_t count);
} panda_regs_api;

/* The guest and its operating system. */
#define PANDA_SERVICE_OS "panda.os/1"
typedef struct panda_os_api {
    uint32_t struct_size;
    uint32_t reserved;
    uint32_t (*arch)(panda_plugin *self);
    uint32_t (*word_size)(panda_plugin *self); /* 4 or 8 */
    panda_str (*program)(panda_plugin *self);  /* valid until the next process_exec */
    panda_str (*out_dir)(panda_plugin *self);  /* where plugins write files */
    panda_str (*syscall_name)(panda_plugin *self, uint32_t abi, uint64_t number); /* static; may be empty */
    uint32_t (*pid)(panda_cpu *cpu);
    uint32_t (*tid)(panda_cpu *cpu);
    uint64_t (*retired)(panda_cpu *cpu); /* instructions so far; exact */
    uint32_t (*in_kernel)(panda_cpu *cpu);
    uint64_t (*address_space)(panda_cpu *cpu); /* 0 for a user-mode guest */
    uint32_t (*continued)(panda_plugin *self); /* 1: append to output files, do not empty them */
    /* Hides a file descriptor from a guest that shares the host's (1), or not any more (0, before closing it).
     * Those opened during init are hidden without it. */
    uint32_t (*hide_fd)(panda_plugin *self, int32_t fd, uint32_t hidden);
} panda_os_api;

/* What a counter counts. */
#define PANDA_COUNT_INSNS 1u
#define PANDA_COUNT_BLOCKS 2u
#define PANDA_COUNT_LOADS 3u
#define PANDA_COUNT_STORES 4u

/* Counters that generated code adds to, without a call. */
#define PANDA_SERVICE_COUNTERS "panda.counters/1"
typedef struct panda_counters_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* number must stay where it is until uninit returns or, when it was removed in a callback, the block
     * that made the callback has ended. */
    uint32_t (*add)(panda_plugin *self, uint32_t kind, uint64_t *number, uint64_t amount, panda_id *id);
    uint32_t (*remove)(panda_plugin *self, panda_id id);
} panda_counters_api;

/* Conditions of subscriptions to insn_exec, after_insn_exec, before_block_exec, after_block_exec and memory callbacks.
 * Generated code tests them: an event that is not due costs no call. Since 1.1. */
#define PANDA_SERVICE_CONDITIONS "panda.conditions/1"
typedef struct panda_conditions_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* Calls only for events at from <= address < to: the instruction's address, that of the block's first instruction,
     * or that of any byte of the access. Takes the place of an earlier range; 0 and UINT64_MAX: everywhere. */
    uint32_t (*within)(panda_plugin *self, panda_id id, uint64_t from, uint64_t to);
    /* Calls only for the first-th event from now on (1: the next), and then for every every-th (0: never again). Only
     * events within the range count. May be set anew at any time, also by the callback; 1 and 1: every event. */
    uint32_t (*countdown)(panda_plugin *self, panda_id id, uint64_t first, uint64_t every);
} panda_conditions_api;

/* The monitor. */
#define PANDA_SERVICE_MONITOR "panda.monitor/1"
typedef struct panda_monitor_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* Answers the line being handled; elsewhere, goes to the log. */
    uint32_t (*reply)(panda_plugin *self, panda_str text);
} panda_monitor_api;

/* ---- The plugin --------------------------------------------------------------------------------------- */

/* Types of arguments: what panda_arg_value.bits holds. */
#define PANDA_ARG_BOOL 1u   /* 1 or 0 */
#define PANDA_ARG_U64 2u    /* the number */
#define PANDA_ARG_I64 3u    /* its two's complement */
#define PANDA_ARG_F64 4u    /* its IEEE 754 encoding */
#define PANDA_ARG_STRING 5u
#define PANDA_ARG_PATH 6u
#define PANDA_ARG_ENUM 7u   /* the choice's index */
#define PANDA_ARG_LIST 8u

/* panda_arg_desc.flags */
#define PANDA_ARG_REQUIRED 1u
/* Stands for every name that has no description of its own, as often as it is given; the values come in the order they
 * were given, as text. The name is what help shows. Since 1.1. */
#define PANDA_ARG_ANY 2u

typedef struct panda_arg_desc {
    panda_str name;
    uint32_t kind;
    uint32_t flags;
    panda_str default_value; /* as text; NULL pointer: none */
    panda_str help;
    const panda_str *choices; /* ENUM */
    uint32_t choices_count;
    uint32_t reserved;
} panda_arg_desc;

typedef struct panda_arg_value {
    panda_str name;
    uint32_t kind;
    uint32_t given; /* 1: by the user, 0: the default */
    uint64_t bits;
    panda_str text;
    const panda_str *items; /* LIST */
    uint64_t items_count;
} panda_arg_value;

typedef struct panda_init_info {
    uint32_t struct_size;
    uint32_t args_count;
    uint32_t arg_size; /* bytes in one panda_arg_value of the host */
    uint32_t reserved;
    const panda_arg_value *args;
} panda_init_info;

/* Why flush is called. */
#define PANDA_FLUSH_FORK 1u    /* the guest is about to fork */
#define PANDA_FLUSH_EXEC 2u    /* the guest goes on in a process of its own */
#define PANDA_FLUSH_FATAL 3u   /* the host is about to end without uninit */
#define PANDA_FLUSH_REQUEST 4u /* the user asked */

/* Starts the plugin. Anything but PANDA_OK fails: the host removes what was registered and does not call uninit.
 * Report the reason through plugin_failed before returning. */
typedef uint32_t (*panda_init_fn)(const panda_host_api *host, panda_plugin *self, const panda_init_info *info,
                                  void **state);
typedef void (*panda_uninit_fn)(void *state);
typedef uint32_t (*panda_flush_fn)(void *state, uint32_t reason);
typedef const void *(*panda_plugin_extension_fn)(panda_str id);

#define PANDA_ENTRY_MAGIC UINT64_C(0x474c5041444e4150) /* "PANDAPLG", little-endian */

typedef struct panda_plugin_entry {
    uint64_t magic;
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor_built;
    uint32_t abi_minor_required;
    uint32_t flags;
    uint32_t requires_count;
    panda_str name;
    panda_str version;
    panda_str about;
    const panda_str *requires_ids; /* services of other plugins */
    const panda_arg_desc *args;
    uint32_t args_count;
    uint32_t arg_size;
    panda_init_fn init;
    panda_uninit_fn uninit;
    panda_flush_fn flush;                    /* may be NULL */
    panda_plugin_extension_fn get_extension; /* may be NULL */
} panda_plugin_entry;

#if defined(__GNUC__)
#define PANDA_EXPORT __attribute__((visibility("default")))
#else
#define PANDA_EXPORT
#endif

#ifdef __cplusplus
#define PANDA_EXTERN_C extern "C"
#else
#define PANDA_EXTERN_C extern
#endif

/* Defines the entry of a plugin. name, version and about are string literals; requires_ids is an array of panda_str,
 * services of other plugins without which it cannot start, args one of panda_arg_desc; or NULL with count 0. flush
 * may be NULL. */
#define PANDA_PLUGIN_REQUIRING(name, version, about, requires_ids, requires_count, args, args_count, init, uninit,   \
                               flush)                                                                                \
    PANDA_EXTERN_C PANDA_EXPORT const panda_plugin_entry panda_plugin_entry_v1;                              \
    const panda_plugin_entry panda_plugin_entry_v1 = {                                                       \
        PANDA_ENTRY_MAGIC, (uint32_t)sizeof(panda_plugin_entry), PANDA_ABI_MAJOR, PANDA_ABI_MINOR, 0, 0,     \
        requires_count, PANDA_STR(name), PANDA_STR(version), PANDA_STR(about), requires_ids, args,           \
        args_count, (uint32_t)sizeof(panda_arg_desc), init, uninit, flush, NULL};

/* The same without required services. */
#define PANDA_PLUGIN(name, version, about, args, args_count, init, uninit, flush)                            \
    PANDA_PLUGIN_REQUIRING(name, version, about, NULL, 0, args, args_count, init, uninit, flush)

/* ---- Typed registration ------------------------------------------------------------------------------- */

static inline uint32_t panda_register(const panda_host_api *host, panda_plugin *self, uint32_t kind,
                                      panda_any_fn func, void *user, uint32_t flags, panda_id *id)
{
    panda_callback_desc desc;
    desc.struct_size = (uint32_t)sizeof desc;
    desc.flags = flags;
    desc.func = func;
    desc.user = user;
    return host->register_cb(host, self, kind, &desc, id);
}

#define PANDA_ON(name, KIND, type)                                                                           \
    static inline uint32_t panda_on_##name(const panda_host_api *host, panda_plugin *self, type func,        \
                                           void *user, uint32_t flags, panda_id *id)                         \
    {                                                                                                        \
        return panda_register(host, self, KIND, (panda_any_fn)func, user, flags, id);                        \
    }

PANDA_ON(insn_translate, PANDA_CB_INSN_TRANSLATE, panda_insn_translate_fn)
PANDA_ON(insn_exec, PANDA_CB_INSN_EXEC, panda_pc_fn)
PANDA_ON(after_insn_exec, PANDA_CB_AFTER_INSN_EXEC, panda_pc_fn)
PANDA_ON(before_block_translate, PANDA_CB_BEFORE_BLOCK_TRANSLATE, panda_pc_fn)
PANDA_ON(after_block_translate, PANDA_CB_AFTER_BLOCK_TRANSLATE, panda_block_fn)
PANDA_ON(before_block_exec, PANDA_CB_BEFORE_BLOCK_EXEC, panda_block_fn)
PANDA_ON(after_block_exec, PANDA_CB_AFTER_BLOCK_EXEC, panda_after_block_exec_fn)
PANDA_ON(virt_mem_before_read, PANDA_CB_VIRT_MEM_BEFORE_READ, panda_mem_fn)
PANDA_ON(virt_mem_after_read, PANDA_CB_VIRT_MEM_AFTER_READ, panda_mem_fn)
PANDA_ON(virt_mem_before_write, PANDA_CB_VIRT_MEM_BEFORE_WRITE, panda_mem_fn)
PANDA_ON(virt_mem_after_write, PANDA_CB_VIRT_MEM_AFTER_WRITE, panda_mem_fn)
PANDA_ON(syscall_enter, PANDA_CB_SYSCALL_ENTER, panda_syscall_enter_fn)
PANDA_ON(syscall_return, PANDA_CB_SYSCALL_RETURN, panda_syscall_return_fn)
PANDA_ON(guest_hypercall, PANDA_CB_GUEST_HYPERCALL, panda_guest_hypercall_fn)
PANDA_ON(monitor, PANDA_CB_MONITOR, panda_monitor_fn)
PANDA_ON(module_loaded, PANDA_CB_MODULE_LOADED, panda_module_fn)
PANDA_ON(module_unloaded, PANDA_CB_MODULE_UNLOADED, panda_module_fn)
PANDA_ON(thread_start, PANDA_CB_THREAD_START, panda_thread_fn)
PANDA_ON(thread_exit, PANDA_CB_THREAD_EXIT, panda_thread_fn)
PANDA_ON(process_fork, PANDA_CB_PROCESS_FORK, panda_fork_fn)
PANDA_ON(process_exec, PANDA_CB_PROCESS_EXEC, panda_exec_fn)
PANDA_ON(signal_delivered, PANDA_CB_SIGNAL_DELIVERED, panda_signal_fn)
PANDA_ON(guest_ready, PANDA_CB_GUEST_READY, panda_cpu_fn)
PANDA_ON(guest_exit, PANDA_CB_GUEST_EXIT, panda_guest_exit_fn)

#undef PANDA_ON

#ifdef __cplusplus
}
#endif

#endif
