/*
 * config.h - the target a PANDA 1 plugin is compiled for
 *
 * panda.mak defines TARGET_I386 (with TARGET_X86_64 for 64-bit guests) or TARGET_ARM. The plugin itself is always a
 * library for the host.
 */
#ifndef PANDA1_CONFIG_H
#define PANDA1_CONFIG_H

#if defined(TARGET_X86_64) && !defined(TARGET_I386)
#define TARGET_I386 1
#endif

#if defined(TARGET_I386) && defined(TARGET_ARM)
#error "a plugin is compiled for one target: define TARGET_I386 or TARGET_ARM, not both"
#endif

#if defined(TARGET_X86_64)
#define TARGET_ARCH "x86_64"
#define TARGET_LONG_BITS 64
#define TARGET_VIRT_ADDR_SPACE_BITS 47
#elif defined(TARGET_I386)
#define TARGET_ARCH "i386"
#define TARGET_LONG_BITS 32
#define TARGET_VIRT_ADDR_SPACE_BITS 32
#elif defined(TARGET_ARM)
#define TARGET_ARCH "arm"
#define TARGET_LONG_BITS 32
#define TARGET_VIRT_ADDR_SPACE_BITS 32
#else
#error "no target: build with panda.mak, or define TARGET_I386, TARGET_X86_64 or TARGET_ARM"
#endif

/* Guests are programs, not machines. */
#define CONFIG_USER_ONLY 1
#define CONFIG_LINUX 1
#define CONFIG_LINUX_USER 1
#define HOST_X86_64 1
#define HOST_LONG_BITS 64

/*
 * What the plugin was written for. It decides what before_block_exec and guest_hypercall return:
 *   0  PANDA of 2012  bool: retranslate; int
 *   1  PANDA 1        int, ignored; int (the default)
 *   2  PANDA 2        void; bool: handled
 */
#ifndef PANDA_COMPAT_LEVEL
#define PANDA_COMPAT_LEVEL 1
#endif
#if PANDA_COMPAT_LEVEL < 0 || PANDA_COMPAT_LEVEL > 2
#error "PANDA_COMPAT_LEVEL is 0 (2012), 1 (PANDA 1) or 2 (PANDA 2)"
#endif

#endif
