/* Every kind of bad pointer and length in the calls that take some: the result and the error of each
 * combination. One line per call. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The second time addresses that no program can have and senseless lengths come, too: calls look at
 * them earlier or later than at other things, so only survival counts. */
static int silent;

/* A page that may be written, a hole, a page to read, an inaccessible one; then one whose last bytes
 * are used. */
static char *pages;

/* What arguments begin at. */
enum { P = 0x7a000000, /* a pointer, in every kind */
       Q,              /* the same but for null */
       L,              /* a length, in every kind */
       N,              /* a count of elements, in every kind */
       GOOD,           /* a pointer to zeroed memory */
       NAME,           /* a pointer to the name of a file that does not exist */
       VECTORS,        /* a pointer to three vectors, of which the second is bad */
       MESSAGE,        /* a message header with bad members */
};

static long pointer(int i)
{
	switch (i) {
	case 0: return (long)pages + 256;
	case 1: return 0;
	case 2: return (long)pages + 4096 - 4;
	case 3: return (long)pages + 4096 - 1;
	case 4: return (long)pages + 4096;
	case 5: return (long)pages + 8192;
	case 6: return (long)pages + 12288;
	case 7: return -1;
	case 8: return -8;
	default: return sizeof(long) == 8 ? (long)0xffff800000000000 : (long)0xfffffff0u;
	}
}
#define POINTERS (silent ? 10 : 7)

static const long lengths[] = {0, 1, 4, 7, 8, 16, 20, 128, 4096, 100000, -1, INT_MIN, LONG_MAX, LONG_MIN, -4096, INT_MAX};
static const long counts[] = {0, 1, 2, 3, 1024, 1025, -1, INT_MAX, INT_MIN};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* Left out: calls that a host has not, and those that look at several bad arguments in another order. */
struct row {
	const char *name;
	long number, a[6];
};

static int zero, null, pipes[2], sockets[2], file, dir, poller, timer, unconnected, watcher;

static void fresh(void)
{
	memset(pages, 0, 4096);
	strcpy(pages + 2048, "absent");
	struct iovec *v = (void *)(pages + 1024);
	v[0] = (struct iovec){pages + 512, 8};
	v[1] = (struct iovec){pages + 4096, 8};
	v[2] = (struct iovec){pages + 512, 8};
	struct msghdr *m = (void *)(pages + 1536);
	m->msg_iov = v;
	m->msg_iovlen = 1;
}

static int kinds(long a)
{
	return a == P ? POINTERS : a == Q ? POINTERS - 1 : a == L ? (silent ? COUNT(lengths) : 10) : a == N ? COUNT(counts) : 1;
}

static long value(long a, int i)
{
	switch (a) {
	case P: return pointer(i);
	case Q: return pointer(i ? i + 1 : 0);
	case L: return lengths[i];
	case N: return counts[i];
	case GOOD: return (long)pages + 3072;
	case NAME: return (long)pages + 2048;
	case VECTORS: return (long)pages + 1024;
	case MESSAGE: return (long)pages + 1536;
	default: return a;
	}
}

/* Makes the call with every combination. */
static void run(const struct row *r)
{
	int total = 1, same = 0;
	long last = 0;
	char what[32] = "";
	for (int k = 0; k < 6; k++)
		total *= kinds(r->a[k]);
	if (!silent)
		printf("%s:", r->name);
	for (int i = 0; i < total; i++) {
		long a[6];
		for (int k = 0, rest = i; k < 6; k++) {
			a[k] = value(r->a[k], rest % kinds(r->a[k]));
			rest /= kinds(r->a[k]);
		}
		fresh();
		long n = syscall(r->number, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (n == -1)
			n = -errno;
		else if (n > 0 && (!strcmp(r->name, "time") || strstr(r->name, "mmap") || strstr(r->name, "set_tid")))
			n = 1; /* differs from run to run */
		if (i && n == last) {
			same++;
			continue;
		}
		if (same && !silent)
			printf("*%d", same + 1);
		same = 0;
		last = n;
		if (silent)
			continue;
		printf(" %ld", n);
	}
	if (!silent)
		printf(same ? "*%d\n" : "\n", same + 1);
}

#define C(name, ...) {#name, SYS_##name, {__VA_ARGS__}}

static void all(void)
{
	const struct row rows[] = {
		C(read, zero, P, L), C(write, null, P, L), C(pread64, file, P, L), C(pwrite64, null, P, L),
		C(readv, zero, P, N), C(writev, null, P, N), C(readv, zero, VECTORS, N), C(writev, null, VECTORS, N),
		C(preadv, zero, VECTORS, N), C(pwritev, null, VECTORS, N), C(preadv2, zero, P, N), C(pwritev2, null, P, N),
		C(readv, -1, P, N), C(vmsplice, pipes[1], P, 0), C(vmsplice, pipes[1], P, 1025),
		C(getcwd, P, L), C(uname, P), C(gettimeofday, P, 0), C(gettimeofday, 0, P), C(clock_getres, 1, P),
		C(clock_gettime, 99, P), C(clock_gettime, -2, P), C(nanosleep, P, 0), C(nanosleep, GOOD, P),
		C(clock_nanosleep, 1, 0, P, GOOD), C(clock_nanosleep, 1, 1, GOOD, P),
		C(open, P, 0), C(openat, -100, P, 0), C(openat, dir, P, 0), C(openat, -1, P, 0), C(access, P, 0),
		C(faccessat, -100, P, 0), C(stat, P, GOOD), C(stat, NAME, P), C(lstat, P, GOOD), C(fstat, file, P),
		C(fstat, -1, P), C(statx, -100, P, 0, 0xfff, GOOD), C(statx, file, P, 0x1000, 0xfff, GOOD),
		C(statx, file, NAME + 0, 0, 0xfff, P), C(statfs, P, GOOD), C(fstatfs, file, P),
		C(readlink, P, GOOD, 16), C(readlink, NAME, P, L), C(readlinkat, -100, P, GOOD, 16),
		C(chdir, P), C(mkdir, P, 0700), C(rmdir, P), C(unlink, P), C(unlinkat, -100, P, 0), C(rename, P, NAME),
		C(rename, NAME, P), C(renameat2, -100, P, -100, NAME, 0), C(link, P, NAME), C(symlink, P, NAME + 0),
		C(chmod, P, 0), C(utimensat, -100, P, 0, 0), C(utimensat, -100, NAME, P, 0), C(truncate, P, 0),
		C(getdents64, dir, P, 0), C(getdents, dir, P, 0), C(getdents64, file, P, 64), C(inotify_add_watch, watcher, P, 1),
		C(getxattr, P, NAME, GOOD, 16), C(getxattr, NAME, P, GOOD, 16), C(fgetxattr, file, P, GOOD, 16),
		C(listxattr, P, GOOD, 16), C(flistxattr, file, P, 16), C(fsetxattr, file, P, GOOD, 16, 0), C(name_to_handle_at, -100, P, GOOD, GOOD, 0),
		C(openat2, -100, NAME, P, 24), C(openat2, -100, NAME, GOOD, L), C(openat2, -100, P, GOOD, 24),
		C(memfd_create, P, 4096), C(execve, P, 0, 0), C(execve, NAME, P, 0), C(execve, NAME, 0, P),
		C(execveat, -100, P, 0, 0, 0), C(mount, P, P, 0, 4096 + 32, 0), C(umount2, P, 0), C(chroot, P), C(acct, P), C(swapon, P, 0),
		C(getrlimit, 7, P), C(getrlimit, 99, P), C(prlimit64, 0, 7, 0, P), C(prlimit64, 0, 99, P, 0), C(getrusage, 0, P),
		C(getrusage, 99, P), C(sysinfo, P), C(wait4, -1, P, 1, 0), C(wait4, -1, 0, 1, P), C(waitid, 0, 0, P, 5, 0),
		C(getgroups, -1, P), C(getresuid, P, GOOD, GOOD), C(getresgid, GOOD, P, GOOD), C(getcpu, P, 0, 0),
		C(getcpu, 0, P, 0), C(getrandom, P, 16, 0), C(getrandom, P, 0, 0), C(getrandom, GOOD, 4, 99), C(capget, P, 0), C(capget, GOOD, P),
		C(sched_getaffinity, 0, 0, P), C(sched_getaffinity, 0, 4, P), C(sched_getaffinity, 0, L, 0), C(sched_getparam, 0, P), C(sched_setparam, 0, P),
		C(sched_rr_get_interval, 0, P), C(sched_getattr, 0, P, 48, 0), C(sched_getattr, 0, GOOD, L, 0), C(sched_setattr, 0, P, 1),
		C(prctl, 16, P), C(prctl, 15, P), C(prctl, 2, P), C(prctl, 37, P), C(prctl, 25, P),
		C(sigaltstack, 0, P), C(sigaltstack, P, 0), C(rt_sigprocmask, 0, P, 0, 8), C(rt_sigprocmask, 0, 0, P, 8), C(rt_sigprocmask, 9, P, 0, 8), C(rt_sigprocmask, 0, GOOD, 0, L),
		C(rt_sigaction, 40, P, 0, 8), C(rt_sigaction, 40, 0, P, 8), C(rt_sigaction, 9, P, 0, 8), C(rt_sigaction, 40, 0, GOOD, L), C(rt_sigaction, 99, P, 0, 8),
		C(rt_sigpending, P, 8), C(rt_sigpending, P, 4), C(rt_sigpending, GOOD, L), C(rt_sigtimedwait, P, 0, GOOD, 8), C(rt_sigtimedwait, GOOD, P, GOOD, 8), C(rt_sigtimedwait, GOOD, 0, Q, 8),
		C(rt_sigtimedwait, GOOD, 0, GOOD, L), C(rt_sigqueueinfo, INT_MAX, 10, P), C(rt_sigsuspend, P, 7), C(signalfd4, file, P, 8, 0), C(signalfd4, file, GOOD, L, 0),
		C(pselect6, 8, P, 0, 0, GOOD, 0), C(pselect6, 0, 0, 0, 0, Q, 0), C(pselect6, 0, 0, 0, 0, GOOD, P),
		C(poll, P, 1, 0), C(poll, P, 0, 0), C(poll, GOOD, N, 0), C(ppoll, P, 1, GOOD, 0, 8), C(ppoll, GOOD, 1, Q, 0, 8), C(ppoll, GOOD, 1, GOOD, P, 8), C(ppoll, GOOD, 1, GOOD, GOOD, L),
		C(epoll_ctl, poller, 1, null, P), C(epoll_ctl, poller, 2, null, P), C(epoll_ctl, poller, 1, zero, P), C(epoll_ctl, poller, 3, pipes[0], P), C(epoll_ctl, poller, 1, -1, P), C(epoll_ctl, -1, 1, zero, P), C(epoll_wait, poller, P, 1, 0), C(epoll_wait, poller, GOOD, N, 0),
		C(epoll_wait, null, P, 1, 0), C(epoll_pwait, poller, GOOD, 1, 0, P, 8), C(epoll_pwait, poller, GOOD, 1, 0, GOOD, L), C(epoll_pwait2, poller, GOOD, 1, Q, 0, 8),
		C(sendto, sockets[0], P, 8, 64, 0, 0), C(sendto, sockets[0], GOOD, 8, 64, P, 16), C(sendto, sockets[0], GOOD, 8, 64, GOOD, L), C(sendto, sockets[0], GOOD, L, 64, 0, 0), C(recvfrom, sockets[1], P, 8, 64, 0, 0), C(recvfrom, sockets[1], GOOD, 8, 64, GOOD, P), C(recvfrom, sockets[1], GOOD, 8, 64, P, GOOD),
		C(sendmsg, sockets[0], P, 64), C(recvmsg, sockets[1], P, 64), C(sendmsg, null, P, 64), C(sendmsg, sockets[0], MESSAGE, 64), C(sendmmsg, sockets[0], P, 1, 64), C(sendmmsg, sockets[0], MESSAGE, 2, 64), C(recvmmsg, sockets[1], P, 1, 64, 0), C(recvmmsg, sockets[1], MESSAGE, N, 64, 0), C(recvmmsg, sockets[1], MESSAGE, 1, 64, P), C(sendmmsg, sockets[0], P, 0, 64),
		C(getsockopt, sockets[0], 1, 3, P, GOOD), C(getsockopt, sockets[0], 1, 3, GOOD, P), C(setsockopt, sockets[0], 1, 2, P, 4), C(setsockopt, sockets[0], 1, 2, GOOD, L), C(setsockopt, sockets[0], 1, 20, P, 16), C(setsockopt, sockets[0], 1, 20, GOOD, L), C(setsockopt, sockets[0], 1, 13, GOOD, L), C(setsockopt, unconnected, 1, 25, GOOD, L), C(setsockopt, unconnected, 6, 9, GOOD, L), C(setsockopt, unconnected, 0, 35, P, 4), C(setsockopt, unconnected, 0, 4, P, 8),
		C(getsockname, sockets[0], P, GOOD), C(getsockname, sockets[0], GOOD, P), C(getpeername, unconnected, P, GOOD), C(socketpair, 1, 1, 0, P), C(accept4, unconnected, P, GOOD, 0), C(accept4, sockets[0], GOOD, P, 0), C(bind, unconnected, P, 16), C(bind, unconnected, GOOD, L), C(connect, sockets[0], P, 16), C(connect, unconnected, GOOD, L), C(bind, null, P, 16),
		C(pipe, P), C(pipe2, P, 0), C(timerfd_gettime, timer, P), C(timerfd_settime, timer, 0, P, 0), C(timerfd_settime, timer, 0, GOOD, P), C(timerfd_settime, null, 0, P, 0), C(timer_create, 99, 0, P), C(timer_create, 1, P, GOOD), C(timer_create, 1, 0, P), C(timer_gettime, 77, P), C(timer_settime, 77, 0, P, 0), C(getitimer, 0, P), C(getitimer, 9, P), C(setitimer, 0, P, 0), C(setitimer, 0, GOOD, P),
		C(futex, P, 1, 1, 0, 0, 0), C(futex, P, 0, 1, 0, 0, 0), C(futex, GOOD, 0, 0, Q, 0, 0), C(futex, GOOD, 3, 0, 0, P, 0), C(futex, GOOD, 4, 0, 0, GOOD, 1), C(futex, GOOD, 5, 1, 1, P, 0), C(futex, P, 129, 1, 0, 0, 0), C(futex, GOOD, 9, 0, GOOD, 0, 0), C(futex, GOOD, 99, 0, 0, 0, 0), C(futex_waitv, P, 1, 0, 0, 0), C(futex_waitv, GOOD, 0, 0, 0, 0),
		C(set_robust_list, P, 12), C(set_robust_list, 0, L), C(get_robust_list, 0, P, GOOD), C(get_robust_list, 0, GOOD, P),
		C(mincore, P, 4096, GOOD), C(mincore, 0, L, GOOD), C(msync, P, 4096, 4), C(madvise, P, 4096, 0), C(munlock, P, 4096), C(mprotect, P, 0, 0), C(munmap, P, 0), C(mremap, P, 4096, 0, 0, 0),
		C(splice, zero, P, pipes[1], 0, 4, 0), C(splice, pipes[0], 0, null, P, 4, 2), C(copy_file_range, file, P, file, 0, 4, 0), C(copy_file_range, file, 0, file, P, 4, 0), C(sendfile, null, file, P, 4), C(sendfile, null, file, 0, 0),
		C(fcntl, file, 5, P), C(fcntl, file, 6, P), C(fcntl, file, 16, P), C(fcntl, file, 15, P), C(fcntl, file, 1035, P), C(fcntl, file, 1036, P), C(fcntl, -1, 5, P), C(fcntl, file, 77, P),
		C(ioctl, pipes[0], 0x541b, P), C(ioctl, zero, 0x5401, P), C(ioctl, zero, 0x5413, P), C(ioctl, file, 0x5421, P), C(ioctl, sockets[0], 0x8912, P), C(ioctl, unconnected, 0x8912, P), C(ioctl, unconnected, 0x8913, P), C(ioctl, -1, 0x5401, P), C(ioctl, file, 2, P), C(ioctl, file, 0x8008f513, P),
		C(mq_open, P, 0, 0, 0), C(mq_unlink, P), C(mq_timedsend, file, P, 1, 0, 0), C(mq_timedreceive, file, P, 1, 0, 0), C(mq_notify, file, P), C(mq_getsetattr, file, P, 0), C(io_setup, 0, P), C(io_submit, 0, 1, P), C(io_getevents, 0, 0, 1, P, 0), C(io_destroy, 0), C(io_cancel, 0, P, GOOD),
		C(clone3, P, 7), C(clone3, 0, L), C(kcmp, 0, 0, 99, 0, 0), C(pidfd_open, -1, 0), C(membarrier, 99, 0, 0), C(set_tid_address, GOOD), C(statfs, NAME, P), C(ustat, 0, P), C(sysfs, 1, P), C(sysfs, 2, 0, P), C(time, P),
		C(fanotify_mark, file, 0, 0, 0, 0), C(close_range, 5, 4, 0), C(close_range, 1000, 2000, 99),
#ifdef __i386__
		C(_newselect, N, 0, 0, 0, GOOD), C(oldolduname, P), C(olduname, P), C(stat64, P, GOOD), C(stat64, NAME, P), C(fstat64, file, P), C(fstatat64, -100, P, GOOD, 0), C(fstatat64, file, NAME, P, 0x1000), C(statfs64, P, 84, GOOD), C(statfs64, NAME, L, GOOD), C(fstatfs64, file, 84, P), C(fstatfs64, file, L, GOOD), C(_llseek, file, 0, 0, P, 0), C(_llseek, file, 0, 0, GOOD, 9), C(getgroups32, -1, P), C(getresuid32, P, GOOD, GOOD), C(waitpid, -1, P, 1),
		C(sigpending, P), C(sigprocmask, 0, P, 0), C(sigprocmask, 0, 0, P), C(sigaction, 40, P, 0), C(sigaction, 10, 0, P), C(_newselect, 0, 0, 0, 0, Q), C(_newselect, 8, P, 0, 0, GOOD), C(mmap, P), C(mmap2, 0, L, 0, 2, -1, 0), C(ipc, 1, 0, 1, 0, P), C(ipc, 3, 9999, 0, 1, P), C(ipc, 12, 9999, 4, 0, P), C(ipc, 14, 9999, 2, P, 0), C(ipc, 21, 9999, 0, P, 0), C(ipc, 24, 9999, 2, 0, P), C(ipc, 99, 0, 0, 0, 0),
		C(socketcall, 1, P), C(socketcall, 9, P), C(socketcall, 16, P), C(socketcall, N, GOOD), C(socketcall, 8, P), C(clock_gettime64, 99, P), C(clock_getres_time64, 1, P), C(clock_nanosleep_time64, 1, 0, P, GOOD), C(ppoll_time64, GOOD, 1, Q, 0, 8), C(pselect6_time64, 0, 0, 0, 0, Q, 0), C(recvmmsg_time64, sockets[1], MESSAGE, 1, 64, P), C(futex_time64, GOOD, 0, 0, Q, 0, 0), C(utimensat_time64, -100, NAME, P, 0), C(timerfd_gettime64, timer, P), C(timerfd_settime64, timer, 0, P, 0), C(timer_gettime64, 77, P), C(rt_sigtimedwait_time64, GOOD, 0, Q, 8), C(sched_rr_get_interval_time64, 0, P), C(ugetrlimit, 7, P), C(sendfile64, null, file, P, 4), C(fcntl64, file, 12, P), C(fcntl64, file, 5, P), C(set_thread_area, P), C(get_thread_area, P), C(modify_ldt, 0, P, 64), C(modify_ldt, 1, P, 16), C(modify_ldt, 1, GOOD, L), C(modify_ldt, 2, P, 64), C(utime, P, 0), C(utime, NAME, P), C(utimes, NAME, P), C(futimesat, -100, NAME, P), C(truncate64, P, 0, 0), C(ftruncate64, -1, 0, 0), C(clock_settime64, 99, P), C(io_pgetevents_time64, 0, 0, 1, P, 0, 0), C(getxattr, P, P, 0, 0), C(semctl, 9999, 0, 2, P), C(shmctl, 9999, 2, P), C(msgctl, 9999, 2, P), C(semtimedop_time64, 9999, P, 1, 0),
#else
		C(select, 0, 0, 0, 0, Q), C(select, 8, P, 0, 0, GOOD), C(select, N, 0, 0, 0, GOOD), C(fcntl, file, 36, P), C(newfstatat, -100, P, GOOD, 0), C(newfstatat, file, NAME, P, 0x1000), C(semop, 9999, P, N), C(semtimedop, 9999, P, 1, 0), C(semctl, 9999, 0, 2, P), C(shmctl, 9999, 2, P), C(msgctl, 9999, 2, P), C(msgsnd, 9999, P, L, 0), C(msgrcv, 9999, P, L, 0, 0), C(shmat, 9999, P, 0), C(utime, P, 0), C(utime, NAME, P), C(utimes, NAME, P), C(futimesat, -100, NAME, P), C(arch_prctl, 0x1003, P), C(arch_prctl, 0x1004, P), C(arch_prctl, 99, P), C(modify_ldt, 0, P, 64), C(modify_ldt, 1, P, 16), C(mmap, 0, L, 0, 2, -1, 0), C(mmap, P, 4096, 0, 0x100022, -1, 1), C(socketpair, 99, 1, 0, P), C(io_pgetevents, 0, 0, 1, P, 0, 0),
#endif
	};
	for (int i = 0; i < COUNT(rows); i++)
		run(&rows[i]);
}

static void nothing(int s) { (void)s; }

int main(void)
{
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 1;
	char where[] = "/tmp/pointersXXXXXX";
	if (!mkdtemp(where) || chdir(where))
		return 1;
	zero = open("/dev/zero", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	pipe2(pipes, O_NONBLOCK);
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sockets);
	file = open("file", O_RDWR | O_CREAT, 0600);
	write(file, "0123456789", 10);
	dir = open(".", O_RDONLY | O_DIRECTORY);
	poller = syscall(SYS_epoll_create1, 0);
	timer = syscall(SYS_timerfd_create, 1, O_NONBLOCK);
	unconnected = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	watcher = syscall(SYS_inotify_init1, O_NONBLOCK);
	signal(SIGALRM, nothing);
	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	pages = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(pages + 4096, 4096);
	mprotect(pages + 8192, 4096, PROT_READ);
	mprotect(pages + 12288, 4096, PROT_NONE);
	all();
	silent = 1;
	all();
	printf("survived\n");
	fflush(stdout);
	unlink("file");
	chdir("/");
	rmdir(where);
	return 0;
}
