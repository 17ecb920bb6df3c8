/* A program that filters its own system calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __i386__
#define ARCH AUDIT_ARCH_I386
#define RESULT REG_EAX
#else
#define ARCH AUDIT_ARCH_X86_64
#define RESULT REG_RAX
#endif

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void say(long result)
{
	printf("%ld %d\n", result, result == -1 ? errno : 0);
}

static int install(struct sock_filter *program, int count, int flags)
{
	struct sock_fprog all = {count, program};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &all);
}

/* A filter that says `action` of one call, and lets others pass. */
static int answer(int call, unsigned action, int flags)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	return install(program, COUNT(program), flags);
}

static void on_call(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	printf("signal %d: code %d, error %d, call %d, arch %d, address %d, result register %d\n", signal,
	       info->si_code, info->si_errno, info->si_syscall == SYS_getppid, info->si_arch == ARCH,
	       info->si_call_addr != 0, (int)u->uc_mcontext.gregs[RESULT] == SYS_getppid);
	u->uc_mcontext.gregs[RESULT] = 4711;
}

static void *gets_killed(void *unused)
{
	syscall(SYS_getppid);
	puts("not reached");
	return unused;
}

static void *calls(void *number)
{
	while (!*(volatile int *)number)
		;
	return (void *)syscall(SYS_getppid);
}

static void status(void)
{
	char line[128];
	FILE *f = fopen("/proc/self/status", "r");
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, "Seccomp", 7))
			fputs(line, stdout);
	fclose(f);
}

static void child(int what, char *self)
{
	pthread_t thread;
	void *result = 0;
	static int go;

	switch (what) {
	case 0: /* errors; the most severe of several filters counts */
		printf("%d\n", answer(SYS_getppid, SECCOMP_RET_ERRNO | 77, 0));
		say(syscall(SYS_getppid));
		printf("%d\n", answer(SYS_getppid, SECCOMP_RET_ERRNO | 5, 0));
		say(syscall(SYS_getppid));
		printf("%d\n", answer(SYS_getppid, SECCOMP_RET_TRACE | 1, SECCOMP_FILTER_FLAG_LOG));
		say(syscall(SYS_getppid));
		printf("%d %d\n", prctl(PR_GET_SECCOMP), getpid() == (int)syscall(SYS_getpid));
		status();
		printf("%d\n", answer(SYS_getsid, SECCOMP_RET_ERRNO | 0, 0));
		printf("%ld\n", syscall(SYS_getsid, 0));
		return;
	case 1: { /* a handler that stands in for the kernel */
		struct sigaction a = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
		sigaction(SIGSYS, &a, 0);
		answer(SYS_getppid, SECCOMP_RET_TRAP | 12, 0);
		printf("%ld\n", syscall(SYS_getppid));
		signal(SIGSYS, SIG_IGN);
		fflush(stdout);
		syscall(SYS_getppid);
		return;
	}
	case 2:
		answer(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0);
		syscall(SYS_getppid);
		return;
	case 3:
		answer(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0);
		syscall(SYS_getppid);
		return;
	case 4: /* one thread of two dies */
		answer(SYS_getppid, SECCOMP_RET_KILL_THREAD, 0);
		pthread_create(&thread, 0, gets_killed, 0);
		pthread_join(thread, 0);
		puts("the other goes on");
		return;
	case 5: /* a new thread inherits, a running one is made to */
		pthread_create(&thread, 0, calls, &go);
		answer(SYS_getppid, SECCOMP_RET_ERRNO | 9, SECCOMP_FILTER_FLAG_TSYNC);
		go = 1;
		pthread_join(thread, &result);
		printf("%ld\n", (long)result);
		pthread_create(&thread, 0, calls, &go);
		pthread_join(thread, &result);
		printf("%ld\n", (long)result);
		return;
	case 6: /* a running thread keeps what it has; one with filters of its own cannot follow */
		go = 0;
		pthread_create(&thread, 0, calls, &go);
		answer(SYS_getppid, SECCOMP_RET_ERRNO | 9, 0);
		go = 1;
		pthread_join(thread, &result);
		printf("%d\n", (long)result > 0);
		return;
	case 7: /* strict */
		printf("%d\n", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
		fflush(stdout);
		write(1, "write works\n", 12);
		syscall(SYS_getpid);
		return;
	case 8: /* kept by programs it runs */
		answer(SYS_getppid, SECCOMP_RET_ERRNO | 33, 0);
		fflush(stdout);
		execl(self, self, "again", (char *)0);
		return;
	case 9: { /* what is refused */
		struct sock_filter bad[] = {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), BPF_STMT(BPF_RET | BPF_K, 0)};
		struct sock_filter endless[] = {BPF_STMT(BPF_LD | BPF_IMM, 0)};
		unsigned known = SECCOMP_RET_ERRNO, unknown = 0x12340000;
		say(install(bad, 2, 0));
		say(install(endless, 1, 0));
		say(install(bad, 0, 0));
		say(install((void *)1, 2, 0));
		say(install(bad + 1, 1, 1 << 20));
		say(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 1));
		say(syscall(SYS_seccomp, 99, 0, 0));
		printf("%ld\n", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &known));
		say(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown));
		say(prctl(PR_SET_SECCOMP, 3));
		printf("%d\n", prctl(PR_GET_SECCOMP));
		return;
	}
#ifdef __x86_64__
	case 10: { /* the vDSO makes no call that a filter could see */
		struct timespec t;
		answer(SYS_clock_gettime, SECCOMP_RET_KILL_PROCESS, 0);
		printf("%d\n", clock_gettime(CLOCK_REALTIME_COARSE, &t));
		return;
	}
	case 11: { /* arguments and address */
		struct sock_filter program[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 4),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]) + 4),
			BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
			BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO),
			BPF_STMT(BPF_RET | BPF_A, 0),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		install(program, COUNT(program), 0);
		say(syscall(SYS_getpgid, 0, 0, 0, 0, 0, 40L << 32));
		return;
	}
#endif
	}
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		say(syscall(SYS_getppid));
		return 0;
	}
	setvbuf(stdout, 0, _IOFBF, 4096);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 1;
	for (int what = 0; what < 12; what++) {
		int s;
		printf("case %d\n", what);
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			child(what, argv[0]);
			exit(what);
		}
		waitpid(pid, &s, 0);
		printf("exited %d with %d, signal %d\n", WIFEXITED(s), WEXITSTATUS(s), WTERMSIG(s));
	}
	status();
	return 0;
}
