/* A vfork child's memory is its parent's wherever the two are: out of reach of /proc, or in a PID namespace. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[1 << 16], text[64];
static const char *root;

static int child(void *arg)
{
	int failed = root && chroot(root) ? errno : 0;
	snprintf(text, sizeof text, "%s %d, first %d", (const char *)arg, failed, getpid() == 1);
	_exit(0);
}

/* The new namespaces are of this process alone, unless a kernel refuses them, natively too. */
static void in_child(const char *name, int spaces, int flags)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		int refused = unshare(CLONE_NEWUSER | spaces) ? errno : 0;
		int made = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD | flags, (void *)name);
		int status = -1;
		waitpid(made, &status, 0);
		printf("%s: unshare %d, child %d, status %x\n", text, refused, made > 0, status);
		exit(0);
	}
	waitpid(pid, NULL, 0);
}

int main(void)
{
	in_child("as usual", 0, 0);
	in_child("in a PID namespace", CLONE_NEWPID, 0);
	root = "/proc/self/fdinfo";
	in_child("another root", 0, 0);
	in_child("another root for both", 0, CLONE_FS);
	in_child("both", CLONE_NEWPID, CLONE_FS);
	return 0;
}
