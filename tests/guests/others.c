/* What a process sees of another one in /proc: its memory, numbers, threads and descriptors. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include <sys/wait.h>

static char text[1 << 20], own[4096], path[64];
static volatile int marker = 0x1234567;

static int slurp(int pid, const char *name)
{
	sprintf(path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY), n = 0, r;
	if (fd < 0)
		return -errno;
	while (n < (int)sizeof text - 1 && (r = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += r;
	close(fd);
	text[n] = 0;
	return n;
}

static int numbers(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The numbers that a directory lists, less `base`. */
static void list(int pid, const char *name, int base)
{
	int found[64], n = 0;
	sprintf(path, "/proc/%d/%s", pid, name);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && n < 64)
			found[n++] = atoi(e->d_name);
	if (d)
		closedir(d);
	qsort(found, n, sizeof *found, numbers);
	printf("%s: %d", strrchr(path, '/') + 1, n);
	for (int i = 0; i < n && !base; i++)
		printf(" %d", found[i]);
	printf(base ? ", first %d\n" : "\n", n && found[0] == base);
}

static void line(const char *key)
{
	const char *at = strstr(text, key);
	printf("%.*s\n", at ? (int)strcspn(at, "\n") : 4, at ? at : "none");
}

static unsigned long field(int number)
{
	char *at = strrchr(text, ')') + 2;
	for (int i = 3; i < number; i++)
		at = strchr(at, ' ') + 1;
	return strtoul(at, NULL, 10);
}

struct facts {
	unsigned long marker, code, local, heap, env, entry;
};

static void memory(int pid, const char *name, const struct facts *f)
{
	unsigned long start, end, program = 0, total = 0;
	char prot[8], seen[6][8] = {{0}}, named[6][4096] = {{0}};
	const unsigned long wanted[] = {f->marker, f->code, f->local, f->heap, f->env, getauxval(AT_SYSINFO_EHDR)};
	printf("%s: %d", name, slurp(pid, name) > 0);
	int foreign = 0, sizes = 0;
	for (char *l = text; *l; l += strcspn(l, "\n"), l += *l == '\n') {
		char file[4096] = "";
		sizes += !strncmp(l, "Size:", 5);
		if (sscanf(l, "%lx-%lx %7s %*s %*s %*s%*[ ]%4095[^\n]", &start, &end, prot, file) < 3)
			continue;
		for (int i = 0; i < 6; i++)
			if (start <= wanted[i] && wanted[i] < end) {
				strcpy(seen[i], prot);
				strcpy(named[i], file);
			}
		program += !strcmp(file, own);
		foreign += strstr(file, "/host") != NULL || strstr(file, "libpanda") != NULL;
		total += end - start;
	}
	printf(" program %d, foreign %d, sizes %d\n", program > 2, foreign, sizes > 5);
	printf("data %s %d, code %s %d, stack %s %s, heap %s %s, environment %s %s\n", seen[0], !strcmp(named[0], own),
	       seen[1], !strcmp(named[1], own), seen[2], named[2], seen[3], named[3], seen[4], named[4]);
	slurp(pid, "stat");
	printf("size %d\n", total / 2 < field(23) && field(23) < total * 2);
}

static void handler(int n)
{
	(void)n;
}

static int child(void)
{
	struct facts f = {(unsigned long)&marker, (unsigned long)child, (unsigned long)&f, (unsigned long)malloc(100),
			  (unsigned long)getenv("A"), getauxval(AT_ENTRY)};
	marker = 0x7654321;
	signal(SIGHUP, SIG_IGN);
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGUSR2, &sa, NULL);
	sigaction(SIGRTMIN + 3, &sa, NULL);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGRTMAX);
	sigprocmask(SIG_BLOCK, &set, NULL);
	write(1, &f, sizeof f);
	char c;
	read(0, &c, 1);
	return 0;
}

static void *reads(void *out)
{
	char c;
	write(*(int *)out, "t", 1);
	read(0, &c, 1);
	return NULL;
}

/* One with two threads, both of which wait. */
static int threaded(void)
{
	pthread_t t;
	int one = 1, ends[2];
	struct facts f = {0};
	pipe(ends);
	pthread_create(&t, NULL, reads, &ends[1]);
	/* Let the first one wait for the other, in the kernel. */
	char c;
	read(ends[0], &c, 1);
	write(one, &f, sizeof f);
	pthread_join(t, NULL);
	return 0;
}

static int begin(char **argv, const char *what, int *in, struct facts *f, int by_exec)
{
	int a[2], b[2];
	pipe2(a, O_CLOEXEC);
	pipe2(b, O_CLOEXEC);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(a[0], 0);
		dup2(b[1], 1);
		close(a[1]);
		dup2(1, 7);
		if (!by_exec)
			_exit(child());
		char *args[] = {argv[0], (char *)what, "for it", NULL}, *env[] = {"A=1", "B=22", NULL};
		execve(own, args, env);
		_exit(1);
	}
	close(a[0]);
	close(b[1]);
	*in = a[1];
	read(b[0], f, sizeof *f);
	close(b[0]);
	return pid;
}

static void end(int pid, int in)
{
	int status;
	write(in, "..", 2);
	close(in);
	waitpid(pid, &status, 0);
	printf("ended %d\n", status);
}

static void look(int pid, const struct facts *f)
{
	memory(pid, "maps", f);
	memory(pid, "smaps", f);
	slurp(pid, "stat");
	unsigned long args = field(48), args_end = field(49), env = field(50), stack = field(28);
	printf("threads %lu, arguments %lu, environment %d, stack %d\n", field(20), args_end - args,
	       env <= f->env && f->env < field(51), stack > f->local && stack - f->local < 1 << 20);
	sprintf(path, "/proc/%d/mem", pid);
	int mem = open(path, O_RDONLY), value = 0;
	char first[8] = "";
	int n = pread64(mem, &value, sizeof value, f->marker);
	pread64(mem, first, sizeof first - 1, f->env);
	printf("memory %d %x %.7s\n", n, value, first);
	close(mem);
	slurp(pid, "status");
	line("Name:");
	line("Threads:");
	line("SigBlk:");
	line("SigIgn:");
	line("SigCgt:");
	n = slurp(pid, "auxv");
	unsigned long entry = 0;
	for (unsigned long *a = (unsigned long *)text; (char *)a < text + n; a += 2)
		entry = a[0] == AT_ENTRY ? a[1] : entry;
	printf("entry %d\n", entry == f->entry);
	list(pid, "fd", 0);
	list(pid, "fdinfo", 0);
	list(pid, "task", pid);
	sprintf(path, "task/%d/fd", pid);
	strcpy(text, path);
	list(pid, text, 0);
	/* Whatever is open elsewhere is not there. */
	int there = 0;
	struct stat st;
	for (int fd = 0; fd < 1100; fd++) {
		sprintf(path, "/proc/%d/fd/%d", pid, fd);
		there += lstat(path, &st) == 0;
		sprintf(path, "/proc/%d/fdinfo/%d", pid, fd);
		int info = open(path, O_RDONLY);
		there += info >= 0;
		close(info);
	}
	printf("by name %d\n", there);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1)
		return !strcmp(argv[1], "wait") ? child() : threaded();
	int n = readlink("/proc/self/exe", own, sizeof own - 1), in;
	own[n > 0 ? n : 0] = 0;
	setenv("A", "1", 1);
	struct facts f;
	int pid = begin(argv, "wait", &in, &f, 1);
	look(pid, &f);
	end(pid, in);
	printf("gone %d\n", slurp(pid, "maps"));
	/* A forked child goes on as its parent began. */
	pid = begin(argv, "", &in, &f, 0);
	list(pid, "fd", 0);
	slurp(pid, "status");
	line("Threads:");
	line("SigIgn:");
	line("SigCgt:");
	memory(pid, "maps", &f);
	end(pid, in);
	pid = begin(argv, "threads", &in, &f, 1);
	list(pid, "task", pid);
	slurp(pid, "stat");
	printf("threads %lu\n", field(20));
	slurp(pid, "status");
	line("Threads:");
	end(pid, in);
	return 0;
}
