/* Calls the kernel with random numbers and arguments, hostile pointers among them, in children that
 * may die of it. Left out are calls that act on other processes or on the machine, that wait with
 * nothing to wake them, or that take the program's own memory away. A child has as many descriptors
 * that are not its own behind the calls as before: none natively.
 * usage: fuzz SEED CALLS CHILDREN */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int left_out[] = {
	SYS_restart_syscall, SYS_exit, SYS_exit_group, SYS_fork, SYS_vfork, SYS_clone, SYS_clone3,
	SYS_execve, SYS_execveat, SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo,
	SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal, SYS_reboot, SYS_mount, SYS_umount2,
	SYS_pivot_root, SYS_chroot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_sethostname,
	SYS_setdomainname, SYS_syslog, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
	SYS_clock_adjtime, SYS_vhangup, SYS_setpriority, SYS_ioprio_set, SYS_sched_setscheduler,
	SYS_sched_setparam, SYS_sched_setattr, SYS_sched_setaffinity, SYS_prlimit64, SYS_setrlimit,
	SYS_setns, SYS_unshare, SYS_fanotify_init, SYS_fanotify_mark, SYS_sync, SYS_syncfs,
	SYS_mlockall, SYS_fallocate, SYS_ftruncate, SYS_truncate, SYS_open_tree, SYS_move_mount,
	SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_add_key,
	SYS_request_key, SYS_setsid, SYS_setpgid,
	/* attributes of files: root would change those of the open devices (452: fchmodat2) */
	SYS_fchmod, SYS_fchown, SYS_fchownat, SYS_fsetxattr, SYS_fremovexattr, 452,
	/* waits */
	SYS_pause, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_futex, SYS_nanosleep,
	SYS_clock_nanosleep, SYS_futex_waitv, SYS_flock,
	/* objects that outlive the process */
	SYS_shmget, SYS_mq_open, SYS_msgget, SYS_semget,
	/* the program's own memory and signals */
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_brk, SYS_mprotect, SYS_madvise, SYS_shmat, SYS_shmdt,
	SYS_rt_sigreturn, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_sigaltstack, SYS_setitimer,
	SYS_arch_prctl, SYS_set_thread_area, SYS_modify_ldt, SYS_prctl, SYS_alarm, SYS_personality, SYS_seccomp, SYS_ptrace,
	/* uretprobe and uprobe kill those they did not trap */
	335, 336,
#ifdef __i386__
	SYS_fchown32, SYS_waitpid, SYS_stime, SYS_umount, SYS_signal, SYS_sigaction, SYS_sigsuspend, SYS_sigreturn,
	SYS_sigprocmask, SYS_ssetmask, SYS_mmap2, SYS_nice, SYS_ftruncate64, SYS_truncate64, SYS_ipc,
	SYS_clock_settime64, SYS_clock_adjtime64, SYS_clock_nanosleep_time64,
	SYS_rt_sigtimedwait_time64, SYS_futex_time64,
#endif
};

static uint64_t state;
static uint32_t next(void)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return state >> 33;
}

static char *pages;
static void tick(int s) { (void)s; }

static long argument(void)
{
	uint32_t r = next();
	switch (r % 20) {
	case 0: return 0;
	case 1: return -1;
	case 2: return -100;
	case 3: case 4: case 5: return next() % 24;
	case 6: return next() % 4096;
	case 7: return 1L << next() % (8 * sizeof(long));
	case 8: return next();
	case 9: case 10: case 11: case 12: return (long)(pages + next() % 4096);
	case 13: return (long)(pages + 4096 - next() % 64);
	case 14: return (long)(pages + 8192 + next() % 4096);
	case 15: return (long)(pages + 12288 + next() % 4096);
	case 16: return -(long)(next() % 8192);
#ifdef __i386__
	case 17: return 0xffffe000u + next() % 8192;
	default: return next() * 2u;
#else
	case 17: {
		/* The ends of what a guest may map under the host. */
		static const long end[] = {0x555500000000, 0x568000000000, 0x7ec000000000};
		return end[next() % 3] + 4096 - (long)(next() % 8192);
	}
	case 18: return 0x555555554000 + ((long)next() << 12);
	default: return ((long)next() << 33) ^ next();
#endif
	}
}

static int allowed(int n)
{
	for (unsigned i = 0; i < sizeof left_out / sizeof *left_out; i++)
		if (left_out[i] == n)
			return 0;
	return 1;
}

/* What a child and its parent tell each other: how far the child is, how many descriptors it has,
 * how far the parent has counted them. */
static struct { volatile int stage, own, counted; } *shared;

static void report(void)
{
	int own = 0;
	for (int fd = 0; fd < 65536; fd++)
		own += fcntl(fd, F_GETFD) != -1;
	shared->own = own;
	shared->stage++;
	while (shared->counted < shared->stage)
		usleep(1000);
}

/* The descriptors of a child that it does not know of, as the kernel lists them. */
static int foreign(pid_t pid)
{
	char path[64];
	int n = 0;
	sprintf(path, "/proc/%d/fd", pid);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n - shared->own;
}

static void child(uint64_t seed, long calls)
{
	state = seed;
	close(0);
	close(1);
	close(2);
	int p[2], s[2];
	open("/dev/zero", O_RDONLY);
	open("/dev/null", O_WRONLY);
	open("/dev/null", O_WRONLY);
	pipe2(p, O_NONBLOCK);
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s);
	socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	open(".", O_RDONLY | O_DIRECTORY);
	open("file", O_RDWR | O_CREAT, 0600);
	syscall(SYS_eventfd2, 0, O_NONBLOCK);
	syscall(SYS_epoll_create1, 0);
	syscall(SYS_timerfd_create, 1, O_NONBLOCK);
	syscall(SYS_inotify_init1, O_NONBLOCK);
	/* Read-write, unmapped, read-only, inaccessible. */
	pages = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(pages + 4096, 4096);
	mprotect(pages + 8192, 4096, PROT_READ);
	mprotect(pages + 12288, 4096, PROT_NONE);
	struct sigaction sa = {.sa_handler = tick};
	sigaction(SIGALRM, &sa, NULL);
	for (int n = 1; n < 65; n++)
		if (n != SIGALRM && n != SIGSEGV && n != SIGBUS && n != SIGILL && n != SIGFPE)
			signal(n, SIG_IGN);
	report();
	struct itimerval it = {{0, 3000}, {0, 3000}};
	setitimer(ITIMER_REAL, &it, NULL);
	for (long i = 0; i < calls; i++) {
		int n = next() % 470;
		if (!allowed(n))
			continue;
		if (next() % 8 == 0)
			for (int k = 0; k < 16; k++)
				((uint32_t *)pages)[next() % 1024] = argument();
		long a[6];
		for (int k = 0; k < 6; k++)
			a[k] = argument();
		long r = syscall(n, a[0], a[1], a[2], a[3], a[4], a[5]);
		(void)r;
	}
	report();
	_exit(0);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	long calls = argc > 2 ? atol(argv[2]) : 2000;
	int children = argc > 3 ? atoi(argv[3]) : 5;
	int finished = 0;
	char dir[] = "/tmp/fuzzXXXXXX";
	if (!mkdtemp(dir) || chdir(dir))
		return 1;
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < children; i++) {
		int descriptors[3] = {0};
		memset((void *)shared, 0, sizeof *shared);
		pid_t pid = fork();
		if (pid == 0)
			child(seed + i, calls);
		int status = 0, ended = 0;
		for (int t = 0; t < 6000 && !ended; t++) {
			ended = waitpid(pid, &status, WNOHANG) == pid;
			int stage = shared->stage;
			if (stage != shared->counted && stage < 3) {
				descriptors[stage] = foreign(pid);
				shared->counted = stage;
			}
			if (!ended)
				usleep(10000);
		}
		if (!ended) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			printf("child %d hangs\n", i);
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			finished++;
			if (descriptors[1] != descriptors[2])
				printf("child %d: %d descriptors, then %d\n", i, descriptors[1], descriptors[2]);
		} else {
			printf("child %d: status %#x\n", i, status);
		}
		fflush(stdout);
	}
	printf("%d of %d finished\n", finished, children);
	fflush(stdout);
	execlp("rm", "rm", "-rf", dir, NULL);
	return 1;
}
