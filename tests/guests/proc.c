/* What /proc shows: of the process itself, its threads, other processes and the processors. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char own[4096];

static int slurp(const char *path, char *to, int size)
{
	int fd = open(path, O_RDONLY), n = 0, r;
	if (fd < 0)
		return -errno;
	while (n < size - 1 && (r = read(fd, to + n, size - 1 - n)) > 0)
		n += r;
	close(fd);
	to[n] = 0;
	return n;
}

static const char *last(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void line(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	printf("%.*s\n", at ? (int)strcspn(at, "\n") : 4, at ? at : "none");
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

/* The program of process `pid`, in every way there is. */
static void program(int pid)
{
	char path[64], to[4096];
	sprintf(path, "/proc/%d/exe", pid);
	int n = readlink(path, to, sizeof to);
	to[n > 0 ? n : 0] = 0;
	printf("link %d, ", !strcmp(to, own));
	struct stat a, b, c, d;
	stat(own, &a);
	stat(path, &b);
	int fd = open(path, O_RDONLY);
	fstat(fd, &c);
	close(fd);
	struct open_how how = {.flags = O_RDONLY};
	fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
	fstat(fd, &d);
	close(fd);
	printf("same file %d %d %d, access %d\n", a.st_ino == b.st_ino, a.st_ino == c.st_ino, a.st_ino == d.st_ino,
	       access(path, X_OK));
	sprintf(path, "/proc/%d/cmdline", pid);
	n = slurp(path, to, sizeof to);
	printf("cmdline:");
	for (int i = 0; i < n; i += strlen(to + i) + 1)
		printf(" [%s]", last(to + i));
	sprintf(path, "/proc/%d/environ", pid);
	n = slurp(path, to, sizeof to);
	printf("\nenviron %d [%s]\n", n, to);
	sprintf(path, "/proc/%d/auxv", pid);
	n = slurp(path, to, sizeof to);
	printf("auxv %d\n", n > 100 && ((unsigned long *)to)[0] != 0);
	sprintf(path, "/proc/%d/comm", pid);
	slurp(path, to, sizeof to);
	printf("comm %s", to);
	sprintf(path, "/proc/%d/stat", pid);
	slurp(path, to, sizeof to);
	char *end = strrchr(to, ')');
	printf("stat %d, name %.*s\n", atoi(to) == pid, end ? (int)(end - strchr(to, '(') + 1) : 0, strchr(to, '('));
}

static int rendezvous[2], leave[2];

static void *thread(void *arg)
{
	char name[32] = "", path[64], to[64];
	prctl(PR_GET_NAME, name);
	printf("inherited %s, ", name);
	prctl(PR_SET_NAME, "a thread");
	prctl(PR_GET_NAME, name);
	printf("new %s\n", name);
	sprintf(path, "/proc/self/task/%d/comm", (int)syscall(SYS_gettid));
	slurp(path, to, sizeof to);
	printf("file %s", to);
	write(rendezvous[1], "", 1);
	char c;
	read(leave[0], &c, 1);
	return arg;
}

static void threads(void)
{
	pthread_t t[2];
	char c, to[8192], name[32] = "";
	prctl(PR_SET_NAME, "first");
	for (int i = 0; i < 2; i++) {
		pthread_create(&t[i], NULL, thread, NULL);
		read(rendezvous[0], &c, 1);
	}
	pthread_setname_np(t[0], "given");
	pthread_getname_np(t[0], name, sizeof name);
	printf("%s\n", name);
	prctl(PR_GET_NAME, name);
	printf("still %s\n", name);
	printf("tasks %d\n", entries("/proc/self/task"));
	slurp("/proc/self/status", to, sizeof to);
	line(to, "Name:");
	line(to, "Threads:");
	slurp("/proc/self/stat", to, sizeof to);
	int number = 0;
	char *at = strrchr(to, ')') + 2;
	for (int i = 3; i < 20; i++)
		at = strchr(at, ' ') + 1;
	printf("threads in stat %d\n", atoi(at));
	write(leave[1], "..", 2);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	printf("tasks %d\n", entries("/proc/self/task"));
}

static void signals(void)
{
	char to[8192];
	struct sigaction sa = {.sa_handler = (void (*)(int))signals};
	sigset_t set;
	signal(SIGHUP, SIG_IGN);
	sigaction(SIGUSR2, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	slurp("/proc/self/status", to, sizeof to);
	line(to, "SigBlk:");
	line(to, "SigIgn:");
	line(to, "SigCgt:");
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Whether /proc/cpuinfo names exactly the features that the processor says it has. */
static void processors(void)
{
	static const struct { const char *name; unsigned leaf, reg, bit; } known[] = {
		{"fpu", 1, 3, 0}, {"cx8", 1, 3, 8}, {"cmov", 1, 3, 15}, {"mmx", 1, 3, 23}, {"sse2", 1, 3, 26},
		{"pni", 1, 2, 0}, {"pclmulqdq", 1, 2, 1}, {"ssse3", 1, 2, 9}, {"fma", 1, 2, 12},
		{"sse4_1", 1, 2, 19}, {"sse4_2", 1, 2, 20}, {"movbe", 1, 2, 22}, {"popcnt", 1, 2, 23},
		{"aes", 1, 2, 25}, {"avx", 1, 2, 28}, {"f16c", 1, 2, 29}, {"bmi1", 7, 1, 3}, {"avx2", 7, 1, 5},
		{"bmi2", 7, 1, 8}, {"avx512f", 7, 1, 16}, {"sha_ni", 7, 1, 29},
	};
	static char text[1 << 20];
	slurp("/proc/cpuinfo", text, sizeof text);
	char *flags = strstr(text, "\nflags"), vendor[13] = "", wanted[64];
	flags[strcspn(flags + 1, "\n") + 1] = ' ';
	char *end = strchr(flags + 1, '\n');
	if (end)
		*end = 0;
	for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
		unsigned r[4] = {0};
		sprintf(wanted, " %s ", known[i].name);
		__get_cpuid_count(known[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]);
		if ((r[known[i].reg] >> known[i].bit & 1) != (strstr(flags, wanted) != NULL))
			printf("%s differs\n", known[i].name);
	}
	unsigned a, b, c, d;
	__cpuid(0, a, b, c, d);
	memcpy(vendor, &b, 4);
	memcpy(vendor + 4, &d, 4);
	memcpy(vendor + 8, &c, 4);
	sprintf(wanted, "vendor_id\t: %s\n", vendor);
	printf("vendor %d\n", strstr(text, wanted) != NULL);
}

/* Calls that follow the link to the program concern the program. */
static void followed(void)
{
	const char *link = "/proc/self/exe";
	char name[4200];
	struct stat was, is;
	stat(own, &was);
	printf("chmod %d", chmod(link, 0751));
	stat(own, &is);
	printf(" %o", is.st_mode & 07777);
	printf(", back %d\n", fchmodat(AT_FDCWD, link, was.st_mode & 07777, 0));
	struct timespec times[2] = {{1000, 0}, {2000, 0}};
	printf("utimensat %d", utimensat(AT_FDCWD, link, times, 0));
	stat(own, &is);
	printf(" %ld, of the descriptor %d\n", (long)is.st_mtime, futimens(open(own, O_RDONLY), NULL));
	snprintf(name, sizeof name, "%s-link", own);
	printf("linkat %d", linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
	stat(name, &is);
	printf(", same %d\n", is.st_ino == was.st_ino);
	unlink(name);
	close(creat(name, 0600));
	int r = fork();
	if (r == 0) {
		/* The program must have been started in the new namespace. */
		if (unshare(CLONE_NEWNS) == 0)
			mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
		execl(own, own, "mount", name, NULL);
		_exit(1);
	}
	waitpid(r, NULL, 0);
	unlink(name);
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "mount") == 0) {
		int failed = mount("/proc/self/exe", argv[2], "", MS_BIND, NULL);
		struct stat is, program;
		stat(argv[2], &is);
		stat(argv[0], &program);
		printf("mount %d, same %d\n", failed, is.st_ino == program.st_ino);
		return 0;
	}
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1) {
		if (!strcmp(argv[1], "run")) {
			printf("run by its link\n");
			return 0;
		}
		printf("ready\n");
		char c;
		read(0, &c, 1);
		return 0;
	}
	pipe(rendezvous);
	pipe(leave);
	int n = readlink("/proc/self/exe", own, sizeof own - 1);
	own[n > 0 ? n : 0] = 0;
	printf("%s\n", last(own));
	int in[2], out[2];
	pipe(in);
	pipe(out);
	followed();
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		char *args[] = {argv[0], "wait", "for it", NULL}, *env[] = {"A=1", "B=22", NULL};
		execve(own, args, env);
		_exit(1);
	}
	char text[65536];
	read(out[0], text, 6);
	program(child);
	char path[64];
	sprintf(path, "/proc/%d/exe", child);
	pid_t runs = fork();
	if (runs == 0) {
		execl(path, "x", "run", NULL);
		_exit(1);
	}
	waitpid(runs, NULL, 0);
	write(in[1], "", 1);
	waitpid(child, NULL, 0);
	printf("gone %d\n", (int)readlink(path, text, sizeof text));
	clearenv();
	threads();
	signals();
	processors();
	slurp("/proc/self/maps", text, sizeof text);
	printf("maps: program %d, stack %d, vdso %d\n", strstr(text, own) != NULL, strstr(text, "[stack]") != NULL,
	       strstr(text, "[vdso]") != NULL);
	sprintf(path, "/proc/self/task/%d/children", getpid());
	printf("children %d\n", slurp(path, text, sizeof text));
	return 0;
}
