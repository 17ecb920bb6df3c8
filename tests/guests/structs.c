/* Structures that calls fill, byte by byte: how far each is written, and what the fields hold that are
 * the same in every run. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <linux/ethtool.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/msdos_fs.h>
#include <linux/sockios.h>

static unsigned char b[8192] __attribute__((aligned(16)));

static void *fresh(void)
{
	memset(b, 0xa5, sizeof b);
	return b;
}

/* The result, and how many bytes were written. */
static void wrote(const char *what, long r)
{
	int n = sizeof b;
	while (n > 0 && b[n - 1] == 0xa5)
		n--;
	printf("%s: %ld, %d bytes\n", what, r == -1 ? -errno : r, n);
}

static void bytes(int from, int to)
{
	printf("  [%d]", from);
	for (int i = from; i < to; i++)
		printf(" %02x", b[i]);
	printf("\n");
}

#define CALL(name, ...) wrote(#name, syscall(SYS_##name, __VA_ARGS__))

static void files(int fd)
{
	CALL(fstat, fd, fresh());
	CALL(fstatfs, fd, fresh());
	CALL(statx, fd, "", 0x1000, 0x7ff, fresh());
#ifdef __i386__
	CALL(stat64, ".", fresh());
	CALL(fstat64, fd, fresh());
	bytes(16, 24);
	bytes(44, 52);
	CALL(fstatat64, AT_FDCWD, "/dev/null", fresh(), 0);
	bytes(16, 40);
	CALL(statfs64, "/proc", 84, fresh());
	bytes(0, 8);
	CALL(statfs64, "/proc", 88, fresh());
	CALL(fstatfs64, fd, 84, fresh());
	memset(fresh(), 0, 24);
	((short *)b)[0] = F_WRLCK;
	*(int64_t *)(b + 4) = 5000000000LL;
	*(int64_t *)(b + 12) = 10;
	CALL(fcntl64, fd, 12, b);
	bytes(0, 24);
	CALL(lstat, ".", fresh());
#endif
	struct flock l = {.l_type = F_WRLCK, .l_start = 3, .l_len = 4};
	fcntl(fd, F_SETLK, &l);
	pid_t child = fork();
	if (child == 0) {
		struct flock other = {.l_type = F_RDLCK};
		fcntl(fd, F_GETLK, &other);
		printf("lock %d %ld %ld, owner %d\n", other.l_type, (long)other.l_start, (long)other.l_len, other.l_pid == getppid());
		exit(0);
	}
	waitpid(child, NULL, 0);
	struct fiemap *map = fresh();
	memset(map, 0, sizeof *map);
	map->fm_length = -1;
	wrote("fiemap", ioctl(fd, FS_IOC_FIEMAP, map) ? 1 : 0);
	wrote("block size", ioctl(fd, FIGETBSZ, fresh()));
	/* A range to copy, which the file system may refuse; a length that points past the memory. */
	struct file_dedupe_range *copies = fresh();
	memset(copies, 0, 64);
	copies->dest_count = 1;
	copies->info[0].dest_fd = fd;
	wrote("no copies", ioctl(fd, FIDEDUPERANGE, copies));
	copies->dest_count = 0;
	wrote("none", ioctl(fd, FIDEDUPERANGE, copies));
	copies->reserved1 = 1;
	wrote("reserved", ioctl(fd, FIDEDUPERANGE, copies));
	wrote("clone", ioctl(-1, FICLONERANGE, fresh()));
	wrote("names", ioctl(fd, VFAT_IOCTL_READDIR_BOTH, fresh()) ? 1 : 0);
	wrote("flags", ioctl(fd, FS_IOC_GETFLAGS, fresh()) ? 1 : 0);
}

static void limits(void)
{
	CALL(getrlimit, RLIMIT_CORE, fresh());
	CALL(prlimit64, 0, RLIMIT_NOFILE, NULL, fresh());
#ifdef __i386__
	CALL(ugetrlimit, RLIMIT_FSIZE, fresh());
	bytes(0, 8);
	CALL(getrlimit, RLIMIT_FSIZE, fresh());
	bytes(0, 8);
#endif
	CALL(getrusage, RUSAGE_SELF, fresh());
	CALL(sysinfo, fresh());
	wrote("times", syscall(SYS_times, fresh()) > 0);
	CALL(uname, fresh());
	memset(fresh(), 0, 256);
	CALL(adjtimex, b);
	CALL(getitimer, ITIMER_REAL, fresh());
	CALL(sched_rr_get_interval, 0, fresh());
	CALL(sched_getaffinity, 0, 8, fresh());
	CALL(getgroups, 0, NULL);
	memset(fresh(), 0, 56);
	*(int *)b = 56;
	CALL(sched_getattr, 0, b, 56, 0);
}

static void ipcs(void)
{
	int shm = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600), sem = semget(IPC_PRIVATE, 3, IPC_CREAT | 0640),
	    msg = msgget(IPC_PRIVATE, IPC_CREAT | 0666);
	wrote("shm stat", shmctl(shm, IPC_STAT, fresh()));
	struct shmid_ds *s = (void *)b;
	printf("size %d, mode %o, creator %d, attached %d\n", (int)s->shm_segsz, s->shm_perm.mode, s->shm_cpid == getpid(), (int)s->shm_nattch);
	wrote("shm info", shmctl(0, IPC_INFO, fresh()) >= 0 ? 0 : -1);
	wrote("shm use", shmctl(0, SHM_INFO, fresh()) >= 0 ? 0 : -1);
	unsigned short values[3] = {7, 8, 9};
	printf("set %d\n", semctl(sem, 0, SETALL, values));
	wrote("values", semctl(sem, 0, GETALL, fresh()));
	bytes(0, 6);
	wrote("sem stat", semctl(sem, 0, IPC_STAT, fresh()));
	printf("count %d\n", (int)((struct semid_ds *)b)->sem_nsems);
	wrote("sem info", semctl(sem, 0, IPC_INFO, fresh()) >= 0 ? 0 : -1);
	struct { long type; char text[20]; } m = {5, "a message"}, got = {0};
	printf("send %d\n", msgsnd(msg, &m, 10, 0));
	wrote("msg stat", msgctl(msg, IPC_STAT, fresh()));
	struct msqid_ds *q = (void *)b;
	printf("messages %d, bytes %d, most %d, sender %d\n", (int)q->msg_qnum, (int)q->__msg_cbytes, (int)q->msg_qbytes, q->msg_lspid == getpid());
	wrote("msg info", msgctl(0, IPC_INFO, fresh()) >= 0 ? 0 : -1);
	printf("receive %d %ld %s\n", (int)msgrcv(msg, &got, 20, 0, IPC_NOWAIT), got.type, got.text);
	q->msg_perm.mode = 0600;
	printf("change %d\n", msgctl(msg, IPC_SET, q));
	msgctl(msg, IPC_RMID, NULL);
	semctl(sem, 0, IPC_RMID);
	shmctl(shm, IPC_RMID, NULL);
	char name[64];
	sprintf(name, "/structs-%d", getpid());
	struct mq_attr a = {.mq_maxmsg = 3, .mq_msgsize = 64};
	mqd_t mq = mq_open(name, O_RDWR | O_CREAT, 0600, &a);
	mq_unlink(name);
	wrote("mq", syscall(SYS_mq_getsetattr, mq, NULL, fresh()));
	bytes(0, 4 * sizeof(long));
	mq_close(mq);
}

static void messages(void)
{
	int s[2], p[2], on = 1;
	socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
	pipe(p);
	setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	for (int stamp = 0; stamp < 3; stamp++) {
		static const int options[3] = {0, SO_TIMESTAMP, SO_TIMESTAMPNS};
		if (stamp)
			setsockopt(s[1], SOL_SOCKET, options[stamp], &on, sizeof on);
		char control[CMSG_SPACE(2 * sizeof(int))], text[] = "hello", in[64];
		struct iovec v = {text, 5};
		struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(2 * sizeof(int));
		memcpy(CMSG_DATA(c), p, sizeof p);
		printf("sendmsg %d\n", (int)sendmsg(s[0], &h, 0));
		v = (struct iovec){in, sizeof in};
		h = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1, .msg_control = fresh(), .msg_controllen = 512};
		printf("recvmsg %d, flags %#x, control %d\n", (int)recvmsg(s[1], &h, MSG_CMSG_CLOEXEC), h.msg_flags, (int)h.msg_controllen);
		for (c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
			printf(" level %d, type %d, length %d", c->cmsg_level, c->cmsg_type, (int)c->cmsg_len);
			if (c->cmsg_type == SCM_RIGHTS) {
				int fd[2];
				memcpy(fd, CMSG_DATA(c), sizeof fd);
				printf(", descriptors %d %d", fd[0] - p[1], fcntl(fd[1], F_GETFD));
				close(fd[0]);
				close(fd[1]);
			} else if (c->cmsg_type == SCM_CREDENTIALS) {
				printf(", pid %d", ((struct ucred *)CMSG_DATA(c))->pid == getpid());
			}
			printf("\n");
		}
		/* No room for all of it. */
		char small[sizeof(struct cmsghdr) + 4];
		v = (struct iovec){text, 5};
		h = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		sendmsg(s[0], &h, 0);
		h = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1, .msg_control = small, .msg_controllen = sizeof small};
		printf("small %d, flags %#x, control %d\n", (int)recvmsg(s[1], &h, MSG_CMSG_CLOEXEC), h.msg_flags, (int)h.msg_controllen);
	}
	struct mmsghdr two[2];
	struct iovec v[2] = {{"ab", 2}, {"cde", 3}};
	memset(two, 0, sizeof two);
	for (int i = 0; i < 2; i++)
		two[i].msg_hdr.msg_iov = &v[i], two[i].msg_hdr.msg_iovlen = 1;
	printf("sendmmsg %d, lengths %d %d\n", sendmmsg(s[0], two, 2, 0), two[0].msg_len, two[1].msg_len);
	char in[2][8] = {"", ""};
	struct timespec t = {1, 0};
	for (int i = 0; i < 2; i++)
		v[i] = (struct iovec){in[i], 8};
	printf("recvmmsg %d", recvmmsg(s[1], two, 2, 0, &t));
	printf(", lengths %d %d, %s %s\n", two[0].msg_len, two[1].msg_len, in[0], in[1]);
	struct timeval tv = {2, 500000}, back;
	socklen_t len = sizeof back;
	setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	getsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &back, &len);
	printf("timeout %d.%06d, length %d\n", (int)back.tv_sec, (int)back.tv_usec, len);
	int inet = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq *r = fresh();
	strcpy(r->ifr_name, "lo");
	wrote("interface flags", ioctl(inet, SIOCGIFFLAGS, r));
	struct ifconf conf = {.ifc_len = 2 * sizeof(struct ifreq), .ifc_buf = fresh()};
	int ok = ioctl(inet, SIOCGIFCONF, &conf);
	printf("interfaces %d, of %d, first %s\n", ok, conf.ifc_len % (int)sizeof(struct ifreq), conf.ifc_req->ifr_name);
	conf.ifc_buf = NULL;
	printf("room %d, %d\n", ioctl(inet, SIOCGIFCONF, &conf), conf.ifc_len % (int)sizeof(struct ifreq));
	/* Data behind a pointer of the request, which also may lead nowhere. */
	memset(b, 0, sizeof b);
	strcpy(r->ifr_name, "lo");
	struct ethtool_drvinfo *info = (void *)(b + 1024);
	info->cmd = ETHTOOL_GDRVINFO;
	r->ifr_data = (void *)info;
	int asked = ioctl(inet, SIOCETHTOOL, r);
	printf("driver %d %d %d\n", asked ? -errno : 0, info->driver[0] != 0, r->ifr_data == (void *)info);
	r->ifr_data = (void *)-4096L;
	printf("no data %d\n", ioctl(inet, SIOCETHTOOL, r) ? -errno : 0);
	for (int request = 0x8b00; request < 0x8b2e; request++) {
		memset(r, 0, sizeof *r);
		strcpy(r->ifr_name, "lo");
		if (ioctl(inet, request, r) == 0)
			printf("wireless %x\n", request);
		else if (errno != ENODEV && errno != EOPNOTSUPP && errno != ENOTTY && errno != EINVAL)
			printf("wireless %x: %d\n", request, errno);
	}
	/* Requests that none of these has, by a number and by an address. */
	int unknown[] = {0x301, 0x31f, 0x1265, 0x4b62, 0x5207, 0x541e, 0x4004f50c, 0x8004f50c, 0x7a7a};
	int ends[2], some[] = {inet, -1, open("/etc/passwd", O_RDONLY), open("/", O_RDONLY), pipe(ends) ? -1 : ends[0]};
	for (unsigned i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		printf("ioctl %x:", unknown[i]);
		for (unsigned k = 0; k < sizeof some / sizeof *some; k++) {
			int by_number = ioctl(some[k], unknown[i], 1L) ? -errno : 1;
			printf(" %d %d", by_number, ioctl(some[k], unknown[i], fresh()) ? -errno : 1);
		}
		printf("\n");
	}
	int e = epoll_create1(0);
	struct epoll_event events[2] = {{EPOLLOUT, {.u64 = 0x123456789abcdefULL}}};
	epoll_ctl(e, EPOLL_CTL_ADD, p[1], events);
	epoll_wait(e, fresh(), 3, 0);
	wrote("epoll", 0);
	bytes(0, 12);
}

static void on_signal(int s, siginfo_t *si, void *u)
{
	ucontext_t *c = u;
	printf("signal %d, code %d, value %d, mask %d, stack %d\n", s, si->si_code, si->si_value.sival_int,
	       sigismember(&c->uc_sigmask, SIGUSR2), c->uc_stack.ss_flags);
}

static void times_and_signals(void)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO}, old;
	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaction(SIGRTMIN + 2, &sa, NULL);
	sigaction(SIGRTMIN + 2, NULL, &old);
	printf("action %d, flags %#x, mask %d\n", old.sa_sigaction == on_signal, old.sa_flags, sigismember(&old.sa_mask, SIGUSR2));
	union sigval v = {.sival_int = -5};
	sigqueue(getpid(), SIGRTMIN + 2, v);
	CALL(rt_sigaction, SIGRTMIN + 2, NULL, fresh(), 8);
	CALL(rt_sigpending, fresh(), 8);
	timer_t id;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2, .sigev_value = {.sival_int = 12}};
	timer_create(CLOCK_MONOTONIC, &ev, &id);
	struct itimerspec it = {{0, 0}, {100, 5}};
	timer_settime(id, 0, &it, NULL);
	CALL(timer_gettime, 0, fresh());
	sigset_t held, before;
	sigemptyset(&held);
	sigaddset(&held, SIGRTMIN + 2);
	sigprocmask(SIG_BLOCK, &held, &before);
	it.it_value = (struct timespec){0, 1};
	timer_settime(id, 0, &it, NULL);
	sigsuspend(&before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	timer_delete(id);
	CALL(clock_getres, CLOCK_MONOTONIC, fresh());
	CALL(clock_gettime, CLOCK_MONOTONIC, fresh());
	CALL(gettimeofday, fresh(), NULL);
	struct timespec bad = {0, 1000000000};
	CALL(nanosleep, &bad, NULL);
#ifdef __i386__
	CALL(clock_getres_time64, CLOCK_MONOTONIC, fresh());
	CALL(clock_gettime64, CLOCK_MONOTONIC, fresh());
	/* A kernel reads only the low half of the nanoseconds of a 32-bit program. */
	int64_t t64[2] = {0, 1 | 7LL << 32};
	CALL(clock_nanosleep_time64, CLOCK_MONOTONIC, 0, t64, NULL);
	CALL(ppoll_time64, NULL, 0, t64, NULL, 8);
	wrote("time", syscall(SYS_time, fresh()) > 0);
#endif
	pid_t child = fork();
	if (child == 0)
		_exit(3);
	CALL(waitid, P_ALL, 0, fresh(), WEXITED, NULL);
	siginfo_t *si = (void *)b;
	printf("child %d, status %d, code %d\n", si->si_pid == child, si->si_status, si->si_code);
	CALL(sigaltstack, NULL, fresh());
	bytes(0, 4);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	char name[] = "/tmp/structsXXXXXX";
	int fd = mkstemp(name);
	unlink(name);
	ftruncate(fd, 5000);
	files(fd);
	limits();
	ipcs();
	messages();
	times_and_signals();
	return 0;
}
