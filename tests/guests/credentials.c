/* What exec makes of ids, capabilities and the right to be looked into. As another user than root
 * most changes are refused, natively too. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>

enum { OTHER = 65534 };
static int self;

static void show(void)
{
	uid_t r, e, s;
	getresuid(&r, &e, &s);
	printf("  uid %d %d %d", r, e, s);
	getresgid(&r, &e, &s);
	printf(", gid %d %d %d, dumpable %d, keep %d", r, e, s, prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS));
	int fd = open("/proc/self/uid_map", O_RDWR);
	printf(", uid_map %d\n", fd >= 0 ? 0 : errno);
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, "Cap", 3))
			printf("  %s", line);
	fflush(stdout);
}

/* Through the descriptor, since others may not search the directory the program is in. */
static void next(void)
{
	char *args[] = {"credentials", "after", NULL}, *env[] = {NULL};
	fflush(stdout);
	syscall(SYS_execveat, self, "", args, env, AT_EMPTY_PATH);
	printf("  exec: %d\n", errno);
	exit(1);
}

static int inherit(unsigned long set)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &header, data))
		return errno;
	data[0].inheritable = set;
	return syscall(SYS_capset, &header, data) ? errno : 0;
}

static void unchanged(void) { }
static void undumpable(void) { printf("  %d\n", prctl(PR_SET_DUMPABLE, 0)); }
static void other_user(void)
{
	printf("  %d", setresgid(OTHER, OTHER, OTHER));
	printf(" %d\n", setresuid(OTHER, OTHER, OTHER));
}
static void kept(void)
{
	printf("  %d\n", prctl(PR_SET_KEEPCAPS, 1));
	other_user();
}
static void saved(void)
{
	printf("  %d", setresgid(-1, -1, OTHER));
	printf(" %d\n", setresuid(-1, -1, OTHER));
}
static void effective(void) { printf("  %d\n", setresuid(-1, OTHER, -1)); }
static void real(void) { printf("  %d\n", setresuid(OTHER, -1, -1)); }
static void namespace(void) { printf("  %d\n", unshare(CLONE_NEWUSER)); }
static void inheritable(void) { printf("  %d\n", inherit(1 << CAP_CHOWN)); }
static void bounded(void) { printf("  %d\n", prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE)); }
static void without_root(void) { printf("  %d\n", prctl(PR_SET_SECUREBITS, 1)); }
static void ambient(void)
{
	printf("  %d", inherit(1 << CAP_CHOWN | 1 << CAP_KILL));
	printf(" %d", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
	printf(" %d\n", prctl(PR_SET_SECUREBITS, 1));
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*change)(void); } cases[] = {
		{"unchanged", unchanged}, {"undumpable", undumpable}, {"another user", other_user},
		{"kept capabilities", kept}, {"saved ids", saved}, {"effective user", effective},
		{"real user", real}, {"new user namespace", namespace}, {"inheritable", inheritable},
		{"bounded", bounded}, {"unprivileged root", without_root}, {"ambient", ambient},
	};
	if (argc > 1) {
		show();
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	self = open("/proc/self/exe", O_RDONLY);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		printf("%s\n", cases[i].name);
		pid_t child = fork();
		if (child == 0) {
			cases[i].change();
			next();
		}
		int status;
		waitpid(child, &status, 0);
		printf("  status %x\n", status);
	}
	return 0;
}
