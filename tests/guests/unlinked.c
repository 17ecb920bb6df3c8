/* A program whose file has no name any more, or never had one, is still reached by its link. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void show(const char *what)
{
	static const char *link = "/proc/self/exe";
	char name[4200], comm[32] = "", magic[4] = "";
	int n = readlink(link, name, sizeof name - 1);
	name[n > 0 ? n : 0] = 0;
	int slash = 0;
	for (int i = 0; name[i]; i++)
		if (name[i] == '/')
			slash = i;
	struct stat is = {0};
	int found = stat(link, &is);
	int fd = open(link, O_RDONLY);
	read(fd, magic, sizeof magic);
	close(fd);
	fd = open("/proc/self/comm", O_RDONLY);
	read(fd, comm, sizeof comm - 1);
	close(fd);
	printf("%s: %s, stat %d, links %d, ELF %d, descriptor %d, access %d\n", what, name + slash, found, (int)is.st_nlink,
	       memcmp(magic, "\177ELF", 4) == 0, fd, access(link, X_OK));
	const char *by = (const char *)getauxval(AT_EXECFN);
	if (!strncmp(by, "/proc/", 6))
		printf("started as %s, called %s", by, comm);
	fflush(stdout);
}

/* A copy of the program in `fd`. */
static void copy(int fd)
{
	int from = open("/proc/self/exe", O_RDONLY);
	struct stat is;
	fstat(from, &is);
	for (off_t left = is.st_size, n; left > 0; left -= n)
		if ((n = sendfile(fd, from, NULL, left)) <= 0) {
			printf("copy: %d\n", errno);
			exit(1);
		}
	close(from);
}

int main(int argc, char **argv)
{
	const char *step = argc > 1 ? argv[1] : "first";
	char *next[] = {"unlinked", NULL, NULL, NULL}, *env[] = {NULL};
	if (!strcmp(step, "first")) {
		char name[4200];
		snprintf(name, sizeof name, "%s-copy", argv[0]);
		int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700);
		copy(fd);
		close(fd);
		next[1] = "named";
		next[2] = name;
		execve(name, next, env);
	} else if (!strcmp(step, "named")) {
		show(step);
		unlink(argv[2]);
		show("nameless");
		/* Something else gets its name. */
		close(open(argv[2], O_WRONLY | O_CREAT, 0600));
		show("replaced");
		unlink(argv[2]);
		next[1] = "again";
		execve("/proc/self/exe", next, env);
	} else if (!strcmp(step, "again")) {
		show(step);
		int fd = memfd_create("program", MFD_CLOEXEC);
		copy(fd);
		next[1] = "memory";
		syscall(SYS_execveat, fd, "", next, env, AT_EMPTY_PATH);
	} else if (!strcmp(step, "memory")) {
		show(step);
		next[1] = "last";
		execve("/proc/self/exe", next, env);
	} else {
		show(step);
		return 0;
	}
	printf("%s: exec: %d\n", step, errno);
	return 1;
}
