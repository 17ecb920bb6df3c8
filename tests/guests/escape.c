/* Tries to get out of a sandbox: prints what each attempt gives.
 * usage: escape READABLE WRITABLE FORBIDDEN (directories; the last holds the file `secret`) */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long r)
{
	if (r == -1)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: ok\n", what);
}

static char buffer[4096];
static const char *in(const char *dir, const char *name)
{
	static char path[4][4096];
	static int n;
	char *p = path[n++ % 4];
	snprintf(p, 4096, "%s/%s", dir, name);
	return p;
}

int main(int argc, char **argv)
{
	const char *readable = argv[1], *writable = argv[2], *forbidden = argv[3];
	say("read allowed", open(in(readable, "file"), O_RDONLY));
	say("write in the readable tree", open(in(readable, "file"), O_WRONLY));
	say("create in the readable tree", open(in(readable, "new"), O_WRONLY | O_CREAT, 0600));
	say("create in the writable tree", open(in(writable, "new"), O_RDWR | O_CREAT, 0600));
	say("read forbidden", open(in(forbidden, "secret"), O_RDONLY));
	say("write forbidden", open(in(forbidden, "secret"), O_WRONLY));
	say("truncate forbidden", truncate(in(forbidden, "secret"), 0));
	say("list forbidden", open(forbidden, O_RDONLY | O_DIRECTORY));
	say("create forbidden", open(in(forbidden, "new"), O_WRONLY | O_CREAT, 0600));
	say("delete forbidden", unlink(in(forbidden, "secret")));
	say("make a directory", mkdir(in(forbidden, "dir"), 0700));
	say("link out", link(in(forbidden, "secret"), in(writable, "link")));
	say("rename out", rename(in(forbidden, "secret"), in(writable, "moved")));
	say("symlink", symlink(in(forbidden, "secret"), in(writable, "symlink")));
	say("through the symlink", open(in(writable, "symlink"), O_RDONLY));
	int dir = open(writable, O_PATH | O_DIRECTORY);
	chdir(writable);
	snprintf(buffer, sizeof buffer, "../../../../../../../../../..%s", in(forbidden, "secret"));
	say("dot dot", openat(dir, buffer, O_RDONLY));
	say("chmod", chmod(in(forbidden, "secret"), 0777));
	say("/etc/passwd", open("/etc/passwd", O_RDONLY));
	say("environment of process 1", open("/proc/1/environ", O_RDONLY));
	say("root of process 1", open("/proc/1/root/etc/passwd", O_RDONLY));
	say("own memory", open("/proc/self/mem", O_RDWR));
	say("socket", socket(AF_INET, SOCK_STREAM, 0));
	say("local socket", socket(AF_UNIX, SOCK_STREAM, 0));
	int pair[2];
	say("pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	say("signal to the parent", kill(getppid(), SIGTERM));
	say("trace", ptrace(PTRACE_TRACEME, 0, 0, 0));
	say("mount", mount("none", writable, "tmpfs", 0, NULL));
	say("shared memory by number", syscall(SYS_memfd_create, "ok", 0));
	say("run a forbidden program", execl(in(forbidden, "program"), "program", NULL));

	/* Addresses above the guest's: nothing the kernel does for the guest may touch them. */
	unsigned long above = sizeof(long) == 8 ? (unsigned long)0x560000000000 : 0xffffe000ul;
	int zero = open("/dev/zero", O_RDONLY);
	say("read to host memory", read(zero, (void *)above, 16));
	say("write from host memory", write(pair[0], (void *)above, 16));
	say("stat to host memory", syscall(SYS_uname, above));
	say("map over host memory",
	    mmap((void *)(above & ~4095ul), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
			== MAP_FAILED ? -1 : 0);

	/* A child is confined, too. */
	fflush(stdout);
	if (fork() == 0) {
		say("child reads forbidden", open(in(forbidden, "secret"), O_RDONLY));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	return 0;
}
