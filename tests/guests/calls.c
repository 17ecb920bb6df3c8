/* Makes many system calls and prints what they gave, in a form that is the same on every run, so
 * that a native run and an emulated one can be compared. Built for both widths. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <mqueue.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

/* A call's result: its value, or the name of the error. */
#define SHOW(expr)                                                     \
	do {                                                               \
		errno = 0;                                                     \
		long long r_ = (long long)(expr);                              \
		if (r_ == -1)                                                  \
			printf("%s: -1 %s\n", #expr, strerrorname_np(errno));      \
		else                                                           \
			printf("%s: %lld\n", #expr, r_);                           \
	} while (0)
/* A call whose value differs from run to run. */
#define OK(expr)                                                       \
	do {                                                               \
		errno = 0;                                                     \
		long long r_ = (long long)(expr);                              \
		printf("%s: %s\n", #expr, r_ == -1 ? strerrorname_np(errno) : "ok"); \
	} while (0)

static int count;
static void handler(int s) { count += s; }

static void files(void)
{
	struct stat st;
	struct statfs fs;
	char buf[256];
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0640);
	SHOW(write(fd, "hello world", 11));
	SHOW(pwrite(fd, "W", 1, 6));
	SHOW(pread(fd, buf, 5, 6));
	printf("%.5s\n", buf);
	SHOW(lseek(fd, -3, SEEK_END));
	SHOW(read(fd, buf, 100));
	SHOW(lseek(fd, 5, SEEK_DATA));
	SHOW(lseek(fd, 0, 77));
	SHOW(fstat(fd, &st));
	printf("%lld %o %d\n", (long long)st.st_size, st.st_mode, (int)st.st_nlink);
	SHOW(stat("file", &st));
	SHOW(stat("nothing", &st));
	SHOW(lstat("/proc/self/exe", &st));
	SHOW(S_ISLNK(st.st_mode));
	SHOW(fstatat(AT_FDCWD, "file", &st, AT_SYMLINK_NOFOLLOW));
	SHOW(fstatat(fd, "", &st, AT_EMPTY_PATH));
	struct statx sx;
	SHOW(statx(AT_FDCWD, "file", 0, STATX_ALL, &sx));
	printf("%llu\n", (unsigned long long)sx.stx_size);
	SHOW(statfs("/proc", &fs));
	printf("%lx %lx\n", (long)fs.f_type, (long)fs.f_namelen);
	SHOW(fstatfs(fd, &fs));
	SHOW(ftruncate(fd, 5));
	SHOW(truncate("file", 100));
	SHOW(lseek(fd, 0, SEEK_END));
#ifdef _FILE_OFFSET_BITS
	SHOW(ftruncate(fd, 5000000000LL));
	SHOW(pwrite(fd, "far", 3, 4999999990LL));
	SHOW(pread(fd, buf, 3, 4999999990LL));
	SHOW(lseek(fd, 4999999990LL, SEEK_SET));
	SHOW(fstat(fd, &st));
	printf("%lld\n", (long long)st.st_size);
	SHOW(posix_fadvise(fd, 4000000000LL, 100, POSIX_FADV_DONTNEED));
	SHOW(sync_file_range(fd, 4999999000LL, 4096, SYNC_FILE_RANGE_WRITE));
	SHOW(ftruncate(fd, 100));
#endif
	SHOW(fallocate(fd, 0, 0, 8192));
	struct iovec iov[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(writev(fd, iov, 3));
	SHOW(pwritev(fd, iov, 3, 10));
	char b1[3] = "", b2[5] = "";
	struct iovec in[2] = {{b1, 2}, {b2, 4}};
	SHOW(preadv(fd, in, 2, 10));
	printf("%s %s\n", b1, b2);
	SHOW(readv(fd, in, 2000));
	SHOW(readv(fd, in, -1));
	SHOW(preadv2(fd, in, 2, 0, 0));
	SHOW(flock(fd, LOCK_EX));
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
	SHOW(fcntl(fd, F_SETLK, &fl));
	if (fork() == 0) {
		struct flock q = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		SHOW(fcntl(fd, F_GETLK, &q));
		printf("%d %lld %lld %d\n", q.l_type, (long long)q.l_start, (long long)q.l_len,
		       q.l_pid == getppid());
		struct flock w = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		SHOW(fcntl(fd, F_SETLK, &w));
		struct flock o = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100};
		SHOW(fcntl(fd, F_OFD_SETLK, &o));
		fflush(stdout);
		_exit(0);
	}
	SHOW(wait(NULL) > 0);
	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, F_SETFD, FD_CLOEXEC));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
	SHOW(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
	SHOW(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
	SHOW(fcntl(fd, F_DUPFD, 50));
	SHOW(fcntl(fd, F_DUPFD_CLOEXEC, 60));
	SHOW(fcntl(fd, F_SETOWN, getpid()));
	SHOW(fcntl(fd, F_GETOWN) == getpid());
	SHOW(fcntl(fd, 9999, 0));
	SHOW(fcntl(77, F_GETFD));
	SHOW(dup2(fd, 70));
	SHOW(dup3(fd, 71, O_CLOEXEC));
	SHOW(dup3(fd, fd, 0));
	SHOW(syscall(SYS_close_range, 60, 80, 0));
	SHOW(fcntl(70, F_GETFD));
	SHOW(close(fd));
	SHOW(close(fd));
	SHOW(access("file", R_OK));
	SHOW(access("file", 99));
	SHOW(faccessat(AT_FDCWD, "none", F_OK, 0));
	SHOW(chmod("file", 0600));
	SHOW(fchmodat(AT_FDCWD, "file", 0644, 0));
	SHOW(chown("file", -1, -1));
	SHOW(lchown("file", getuid(), getgid()));
	SHOW(fchownat(AT_FDCWD, "file", -1, -1, 0));
	SHOW(link("file", "link"));
	SHOW(symlink("file", "sym"));
	SHOW(readlink("sym", buf, sizeof buf));
	SHOW(readlink("sym", buf, 2));
	SHOW(readlink("sym", buf, 0));
	SHOW(readlink("file", buf, sizeof buf));
	SHOW(rename("link", "moved"));
	SHOW(renameat2(AT_FDCWD, "moved", AT_FDCWD, "sym", RENAME_NOREPLACE));
	SHOW(mkdir("dir", 0755));
	SHOW(mkdirat(AT_FDCWD, "dir", 0755));
	SHOW(mknod("fifo", S_IFIFO | 0600, 0));
	SHOW(rmdir("dir"));
	SHOW(unlink("moved"));
	SHOW(unlinkat(AT_FDCWD, "sym", 0));
	struct utimbuf ut = {1000000000, 1500000000};
	SHOW(utime("file", &ut));
	SHOW(stat("file", &st));
	printf("%lld %lld\n", (long long)st.st_atime, (long long)st.st_mtime);
	struct timeval tv[2] = {{1, 2}, {3, 4}};
	SHOW(utimes("file", tv));
	struct timespec ts[2] = {{5, 6}, {0, UTIME_OMIT}};
	SHOW(utimensat(AT_FDCWD, "file", ts, 0));
	SHOW(stat("file", &st));
	printf("%lld.%ld %lld.%ld\n", (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
	       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	SHOW(setxattr("file", "user.a", "value", 5, 0));
	SHOW(getxattr("file", "user.a", buf, sizeof buf));
	SHOW(getxattr("file", "user.a", buf, 2));
	SHOW(listxattr("file", buf, sizeof buf));
	SHOW(removexattr("file", "user.a"));
	SHOW(umask(027));
	SHOW(umask(022));
	SHOW(getcwd(buf, sizeof buf) != NULL);
	SHOW(syscall(SYS_getcwd, buf, 3));
	SHOW(chdir("/"));
	SHOW(strlen(getcwd(buf, sizeof buf)));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void directories(void)
{
	/* One that nobody else changes, too large for one call. */
	char place[] = "/tmp/entriesXXXXXX", path[400];
	SHOW(mkdtemp(place) != NULL);
	for (int i = 0; i < 1000; i++) {
		sprintf(path, "%s/%0*d", place, 1 + i % 200, i);
		if (i % 3)
			close(open(path, O_CREAT | O_WRONLY, 0600));
		else
			mkdir(path, 0700);
	}
	struct dirent **list;
	int n = scandir(place, &list, NULL, by_name);
	unsigned sum = 0;
	for (int i = 0; i < n; i++)
		for (char *p = list[i]->d_name; *p; p++)
			sum = sum * 31 + (unsigned char)*p + list[i]->d_type;
	printf("%d entries, %u\n", n, sum);
	DIR *d = opendir(place);
	long where = 0;
	char name[256] = "";
	for (int i = 0; i < 20; i++) {
		where = telldir(d);
		struct dirent *e = readdir(d);
		if (e)
			strcpy(name, e->d_name);
	}
	while (readdir(d))
		;
	seekdir(d, where);
	struct dirent *e = readdir(d);
	printf("seekdir: %d\n", e && !strcmp(e->d_name, name));
	closedir(d);
	char buf[4096];
	int fd = open("/etc", O_RDONLY | O_DIRECTORY);
	OK(syscall(SYS_getdents, fd, buf, sizeof buf));
	OK(syscall(SYS_getdents64, fd, buf, sizeof buf));
	SHOW(syscall(SYS_getdents, fd, buf, 1));
	close(fd);
	for (int i = 0; i < n; i++) {
		sprintf(path, "%s/%s", place, list[i]->d_name);
		remove(path);
	}
	SHOW(rmdir(place));
}

static void waiting(void)
{
	int p[2];
	SHOW(pipe2(p, O_NONBLOCK));
	char buf[100];
	SHOW(read(p[0], buf, 10));
	struct pollfd pf[2] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}};
	SHOW(poll(pf, 2, 0));
	printf("%x %x\n", pf[0].revents, pf[1].revents);
	struct timespec ts = {0, 1000000};
	sigset_t set;
	sigemptyset(&set);
	SHOW(ppoll(pf, 1, &ts, &set));
	fd_set r, w;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	struct timeval tv = {0, 1000};
	SHOW(select(p[1] + 1, &r, &w, NULL, &tv));
	printf("%d %d\n", FD_ISSET(p[0], &r) != 0, FD_ISSET(p[1], &w) != 0);
	FD_ZERO(&r);
	FD_SET(p[0], &r);
	SHOW(pselect(p[0] + 1, &r, NULL, NULL, &ts, &set));
	FD_SET(100, &r);
	SHOW(select(101, &r, NULL, NULL, &tv));
	SHOW(select(-1, NULL, NULL, NULL, NULL));
	SHOW(write(p[1], "xyz", 3));
	int n;
	SHOW(ioctl(p[0], FIONREAD, &n));
	printf("%d\n", n);
	int ep = epoll_create1(0);
	struct epoll_event ev = {EPOLLIN, {.u64 = 0x123456789abcdefULL}}, got[4];
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	SHOW(epoll_wait(ep, got, 4, 0));
	printf("%x %llx\n", got[0].events, (unsigned long long)got[0].data.u64);
	SHOW(epoll_pwait(ep, got, 4, 0, &set));
	SHOW(epoll_wait(ep, got, 0, 0));
	SHOW(close(ep));
	int ef = eventfd(5, EFD_NONBLOCK);
	uint64_t v;
	SHOW(read(ef, &v, 8));
	printf("%llu\n", (unsigned long long)v);
	SHOW(read(ef, &v, 8));
	int tf = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec it = {{0, 0}, {0, 1000000}}, old;
	SHOW(timerfd_settime(tf, 0, &it, &old));
	SHOW(read(tf, &v, 8));
	SHOW(timerfd_gettime(tf, &old));
	printf("%lld %ld\n", (long long)old.it_value.tv_sec, old.it_value.tv_nsec);
	int in = inotify_init1(IN_NONBLOCK);
	OK(inotify_add_watch(in, "/tmp", IN_CREATE));
	SHOW(splice(p[0], NULL, ef, NULL, 1, 0));
	SHOW(tee(p[0], p[1], 1, 0));
	SHOW(close(p[0]));
	signal(SIGPIPE, SIG_IGN);
	SHOW(write(p[1], "x", 1));
}

static void signals(void)
{
	struct sigaction sa = {.sa_handler = handler};
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	struct itimerval it = {{0, 0}, {0, 20000}}, old;
	SHOW(setitimer(ITIMER_REAL, &it, &old));
	SHOW(pause());
	printf("%d\n", count);
	SHOW(getitimer(ITIMER_REAL, &old));
	printf("%ld %ld\n", (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);
	setitimer(ITIMER_REAL, &it, NULL);
	struct timespec ts = {5, 0}, left;
	SHOW(nanosleep(&ts, &left));
	printf("%lld\n", (long long)left.tv_sec);
	setitimer(ITIMER_REAL, &it, NULL);
	SHOW(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &left));
	setitimer(ITIMER_REAL, &it, NULL);
	SHOW(poll(NULL, 0, 5000));
	setitimer(ITIMER_REAL, &it, NULL);
	struct timeval tv = {5, 0};
	SHOW(select(0, NULL, NULL, NULL, &tv));
	printf("%ld\n", (long)tv.tv_sec);
	int p[2];
	pipe(p);
	char c;
	setitimer(ITIMER_REAL, &it, NULL);
	SHOW(read(p[0], &c, 1));
	sigset_t set, none;
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	SHOW(sigprocmask(SIG_BLOCK, &set, NULL));
	SHOW(raise(SIGUSR1));
	count = 0;
	struct timespec second = {1, 0};
	SHOW(ppoll(NULL, 0, &second, &none));
	printf("%d\n", count);
	raise(SIGUSR1);
	fd_set r;
	FD_ZERO(&r);
	SHOW(pselect(0, NULL, NULL, NULL, &second, &none));
	printf("%d\n", count);
	int sfd = signalfd(-1, &set, SFD_NONBLOCK);
	struct signalfd_siginfo si;
	SHOW(read(sfd, &si, sizeof si));
	raise(SIGUSR1);
	SHOW(read(sfd, &si, sizeof si));
	printf("%d\n", si.ssi_signo);
	union sigval sv = {.sival_int = 1234};
	siginfo_t info;
	SHOW(sigqueue(getpid(), SIGUSR1, sv));
	SHOW(sigwaitinfo(&set, &info));
	printf("%d %d\n", info.si_code, info.si_value.sival_int);
	struct timespec zero = {0, 0};
	SHOW(sigtimedwait(&set, &info, &zero));
	SHOW(sigpending(&set));
	timer_t t;
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	se.sigev_value.sival_int = 77;
	SHOW(timer_create(CLOCK_MONOTONIC, &se, &t));
	struct itimerspec its = {{0, 0}, {0, 1000000}}, o;
	SHOW(timer_settime(t, 0, &its, NULL));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	SHOW(sigwaitinfo(&set, &info));
	printf("%d %d\n", info.si_code, info.si_value.sival_int);
	SHOW(timer_gettime(t, &o));
	SHOW(timer_getoverrun(t));
	SHOW(timer_delete(t));
	SHOW(timer_delete(t));
}

static void sockets(void)
{
	int s[2];
	char buf[200];
	SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	SHOW(send(s[0], "abc", 3, 0));
	SHOW(recv(s[1], buf, 100, 0));
	SHOW(recv(s[1], buf, 100, MSG_DONTWAIT));
	int p[2];
	pipe(p);
	union {
		char raw[CMSG_SPACE(sizeof(int) * 3)];
		struct cmsghdr align;
	} control;
	memset(&control, 0, sizeof control);
	struct iovec iov = {"msg", 3};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
	                   .msg_controllen = CMSG_SPACE(sizeof(int) * 2)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * 2);
	memcpy(CMSG_DATA(c), p, sizeof p);
	SHOW(sendmsg(s[0], &m, 0));
	int one = 1;
	SHOW(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
	struct iovec in = {buf, sizeof buf};
	char room[200];
	struct msghdr r = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = room,
	                   .msg_controllen = sizeof room};
	SHOW(recvmsg(s[1], &r, 0));
	printf("%d %d\n", (int)r.msg_controllen, r.msg_flags);
	for (c = CMSG_FIRSTHDR(&r); c; c = CMSG_NXTHDR(&r, c)) {
		printf("%d %d %d\n", c->cmsg_level, c->cmsg_type, (int)c->cmsg_len);
		if (c->cmsg_type == SCM_RIGHTS) {
			int fds[2];
			memcpy(fds, CMSG_DATA(c), sizeof fds);
			SHOW(write(fds[1], "p", 1));
			SHOW(read(fds[0], buf, 9));
		}
	}
	/* Room for one descriptor only. */
	SHOW(sendmsg(s[1], &m, 0));
	struct msghdr q = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = room,
	                   .msg_controllen = CMSG_LEN(sizeof(int))};
	SHOW(recvmsg(s[0], &q, 0));
	printf("%d %d\n", (int)q.msg_controllen, q.msg_flags);
	struct timeval tv = {1, 500000}, got;
	socklen_t len = sizeof got;
	SHOW(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	SHOW(getsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &got, &len));
	printf("%ld %ld %d\n", (long)got.tv_sec, (long)got.tv_usec, (int)len);
	int l = socket(AF_INET, SOCK_STREAM, 0), n;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in b;
	SHOW(bind(l, (struct sockaddr *)&a, sizeof a));
	SHOW(listen(l, 5));
	len = sizeof b;
	SHOW(getsockname(l, (struct sockaddr *)&b, &len));
	int d = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SHOW(connect(d, (struct sockaddr *)&b, sizeof b));
	len = sizeof a;
	int e = accept4(l, (struct sockaddr *)&a, &len, SOCK_CLOEXEC);
	printf("%d %d\n", e > 0, (int)len);
	len = sizeof a;
	SHOW(getpeername(d, (struct sockaddr *)&a, &len));
	len = sizeof n;
	SHOW(getsockopt(d, SOL_SOCKET, SO_TYPE, &n, &len));
	printf("%d\n", n);
	SHOW(shutdown(d, SHUT_WR));
	SHOW(recv(e, buf, 10, 0));
	int u = socket(AF_INET, SOCK_DGRAM, 0);
	a.sin_port = 0;
	SHOW(bind(u, (struct sockaddr *)&a, sizeof a));
	len = sizeof b;
	getsockname(u, (struct sockaddr *)&b, &len);
	SHOW(setsockopt(u, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof one));
	// Among the numbers of netfilter.
	int six = socket(AF_INET6, SOCK_DGRAM, 0);
	SHOW(setsockopt(six, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof one));
	SHOW(setsockopt(six, IPPROTO_IPV6, IPV6_TCLASS, &one, sizeof one));
	int class = 0;
	socklen_t class_len = sizeof class;
	SHOW(getsockopt(six, IPPROTO_IPV6, IPV6_TCLASS, &class, &class_len));
	printf("class %d, %u bytes\n", class, class_len);
	close(six);
	SHOW(sendto(u, "dgram", 5, 0, (struct sockaddr *)&b, sizeof b));
	struct mmsghdr mm[2] = {{.msg_hdr = {.msg_name = &b, .msg_namelen = sizeof b, .msg_iov = &iov,
	                                     .msg_iovlen = 1}},
	                        {.msg_hdr = {.msg_name = &b, .msg_namelen = sizeof b, .msg_iov = &iov,
	                                     .msg_iovlen = 1}}};
	SHOW(sendmmsg(u, mm, 2, 0));
	printf("%u %u\n", mm[0].msg_len, mm[1].msg_len);
	len = sizeof a;
	SHOW(recvfrom(u, buf, sizeof buf, 0, (struct sockaddr *)&a, &len));
	printf("%d %d\n", (int)len, a.sin_port == b.sin_port);
	mm[0].msg_hdr.msg_iov = mm[1].msg_hdr.msg_iov = &in;
	mm[0].msg_hdr.msg_control = room;
	mm[0].msg_hdr.msg_controllen = sizeof room;
	SHOW(recvmmsg(u, mm, 2, 0, NULL));
	c = CMSG_FIRSTHDR(&mm[0].msg_hdr);
	printf("%d %d %d\n", c ? c->cmsg_level : -1, c ? (int)c->cmsg_type : -1,
	       c ? (int)c->cmsg_len : -1);
	SHOW(recv(99, buf, 1, 0));
	SHOW(recv(0, buf, 1, 0));
	SHOW(socket(99, 99, 99));
}

static void ipc(void)
{
	int id = semget(IPC_PRIVATE, 3, 0600);
	struct semid_ds ds;
	unsigned short all[3] = {1, 2, 3};
	union semun {
		int val;
		struct semid_ds *buf;
		unsigned short *array;
	} arg;
	arg.array = all;
	SHOW(semctl(id, 0, SETALL, arg));
	arg.val = 9;
	SHOW(semctl(id, 1, SETVAL, arg));
	memset(all, 0, sizeof all);
	arg.array = all;
	SHOW(semctl(id, 0, GETALL, arg));
	printf("%d %d %d\n", all[0], all[1], all[2]);
	struct sembuf op[2] = {{0, -1, IPC_NOWAIT}, {1, 1, 0}};
	SHOW(semop(id, op, 2));
	SHOW(semop(id, op, 2));
	struct timespec ts = {0, 1000000};
	struct sembuf wait_for = {0, -1, 0};
	SHOW(semtimedop(id, &wait_for, 1, &ts));
	arg.buf = &ds;
	SHOW(semctl(id, 0, IPC_STAT, arg));
	printf("%d %o\n", (int)ds.sem_nsems, ds.sem_perm.mode);
	SHOW(semctl(id, 0, IPC_RMID));
	int q = msgget(IPC_PRIVATE, 0600);
	struct {
		long type;
		char text[20];
	} msg = {7, "message"}, back;
	SHOW(msgsnd(q, &msg, 8, 0));
	SHOW(msgrcv(q, &back, sizeof back.text, 7, 0));
	printf("%ld %s\n", back.type, back.text);
	SHOW(msgrcv(q, &back, sizeof back.text, 0, IPC_NOWAIT));
	struct msqid_ds mq;
	SHOW(msgctl(q, IPC_STAT, &mq));
	printf("%d %d\n", (int)mq.msg_qnum, mq.msg_lspid == getpid());
	SHOW(msgctl(q, IPC_RMID, NULL));
	int sh = shmget(IPC_PRIVATE, 5000, 0600);
	char *p = shmat(sh, NULL, 0);
	printf("%d\n", p != (void *)-1);
	strcpy(p, "shared");
	if (fork() == 0) {
		strcpy(p, "from child");
		_exit(0);
	}
	wait(NULL);
	printf("%s\n", p);
	struct shmid_ds sd;
	SHOW(shmctl(sh, IPC_STAT, &sd));
	printf("%d %d\n", (int)sd.shm_segsz, (int)sd.shm_nattch);
	SHOW(shmdt(p));
	SHOW(shmctl(sh, IPC_RMID, NULL));
	struct mq_attr attr = {.mq_maxmsg = 3, .mq_msgsize = 50}, old;
	char name[40];
	sprintf(name, "/calls-%d", getpid());
	mqd_t d = mq_open(name, O_RDWR | O_CREAT | O_NONBLOCK, 0600, &attr);
	printf("%d\n", d >= 0);
	SHOW(mq_send(d, "queue", 5, 3));
	char buf[50];
	unsigned prio;
	SHOW(mq_getattr(d, &old));
	printf("%ld %ld %ld\n", old.mq_maxmsg, old.mq_msgsize, old.mq_curmsgs);
	SHOW(mq_receive(d, buf, sizeof buf, &prio));
	printf("%u\n", prio);
	SHOW(mq_receive(d, buf, sizeof buf, &prio));
	SHOW(mq_unlink(name));
}

static void system_facts(void)
{
	struct utsname u;
	SHOW(uname(&u));
	printf("%s %s %s\n", u.sysname, u.release, u.machine);
	struct sysinfo si;
	SHOW(sysinfo(&si));
	printf("%d\n", (int)((unsigned long long)si.totalram * si.mem_unit >> 20));
	struct rlimit rl;
	SHOW(getrlimit(RLIMIT_NOFILE, &rl));
	printf("%lld %lld\n", (long long)rl.rlim_cur, (long long)rl.rlim_max);
	SHOW(getrlimit(RLIMIT_CORE, &rl));
	SHOW(getrlimit(RLIMIT_AS, &rl));
	printf("%d\n", rl.rlim_cur == RLIM_INFINITY);
	rl.rlim_cur = 0;
	SHOW(setrlimit(RLIMIT_CORE, &rl));
	SHOW(getrlimit(RLIMIT_CORE, &rl));
	printf("%lld\n", (long long)rl.rlim_cur);
	struct rusage ru;
	SHOW(getrusage(RUSAGE_SELF, &ru));
	printf("%d\n", ru.ru_maxrss > 0);
	struct tms t;
	OK(times(&t));
	OK(time(NULL));
	struct timeval tv;
	struct timezone tz;
	SHOW(gettimeofday(&tv, &tz));
	printf("%d\n", tv.tv_sec > 1600000000);
	struct timespec ts;
	SHOW(clock_gettime(CLOCK_REALTIME, &ts));
	printf("%d\n", ts.tv_sec >= tv.tv_sec);
	SHOW(clock_gettime(99, &ts));
	SHOW(clock_getres(CLOCK_MONOTONIC, &ts));
	printf("%lld %ld\n", (long long)ts.tv_sec, ts.tv_nsec);
	struct timex tx = {0};
	OK(adjtimex(&tx));
	printf("%ld\n", tx.tick);
	printf("%d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
	gid_t groups[64];
	SHOW(getgroups(0, NULL) == getgroups(64, groups));
	uid_t a, b, c;
	SHOW(getresuid(&a, &b, &c));
	printf("%d %d %d\n", a, b, c);
	SHOW(setreuid(-1, -1));
	SHOW(setresgid(-1, -1, -1));
	SHOW(getpgrp() == getpgid(0));
	SHOW(getsid(0) > 0);
	SHOW(getpriority(PRIO_PROCESS, 0));
	SHOW(nice(3));
	SHOW(getpriority(PRIO_PROCESS, 0));
	cpu_set_t cpus;
	SHOW(sched_getaffinity(0, sizeof cpus, &cpus));
	printf("%d\n", CPU_COUNT(&cpus));
	SHOW(sched_getscheduler(0));
	struct sched_param sp;
	SHOW(sched_getparam(0, &sp));
	SHOW(sched_get_priority_max(SCHED_FIFO));
	SHOW(sched_rr_get_interval(0, &ts));
	SHOW(sched_yield());
	char buf[64];
	SHOW(getrandom(buf, 20, 0));
	SHOW(prctl(PR_SET_NAME, "renamed"));
	SHOW(prctl(PR_GET_NAME, buf));
	printf("%s\n", buf);
	int fd = open("/proc/self/comm", O_RDONLY);
	SHOW(read(fd, buf, sizeof buf));
	SHOW(readlink("/proc/self/exe", buf, sizeof buf) > 0);
	SHOW(isatty(0));
	SHOW(ioctl(fd, TCGETS, buf));
	SHOW(ioctl(fd, 0x12345678, buf));
	SHOW(ioctl(99, TIOCGWINSZ, buf));
	int memory = memfd_create("m", MFD_CLOEXEC);
	SHOW(write(memory, "0123456789", 10));
	off_t at = 2;
	int p[2];
	pipe(p);
	SHOW(sendfile(p[1], memory, &at, 5));
	printf("%d\n", (int)at);
	SHOW(read(p[0], buf, 60));
	printf("%.5s\n", buf);
	SHOW(copy_file_range(memory, &(off64_t){0}, memory, &(off64_t){10}, 5, 0));
	SHOW(syscall(9999));
	SHOW(syscall(SYS_io_uring_setup, 1, NULL) == -1);
}

#ifdef SYS_stat64
#define STAT SYS_stat64
#define FSTAT SYS_fstat64
#else
#define STAT SYS_stat
#define FSTAT SYS_fstat
#endif

static void bad_pointers(void)
{
	char *bad = (char *)16;
	char *high = (char *)(uintptr_t)-4096;
	int p[2];
	pipe(p);
	struct iovec iov = {bad, 10};
	SHOW(read(p[0], bad, 0));
	SHOW(write(p[1], bad, 10));
	SHOW(write(p[1], high, 10));
	SHOW(writev(p[1], &iov, 1));
	SHOW(writev(p[1], (void *)high, 1));
	SHOW(open(bad, O_RDONLY));
	SHOW(open(high, O_RDONLY));
	SHOW(syscall(STAT, "/", bad));
	SHOW(syscall(STAT, bad, bad));
	SHOW(syscall(SYS_getcwd, bad, 100));
	SHOW(syscall(SYS_uname, high));
	SHOW(syscall(SYS_pipe, bad));
	SHOW(syscall(SYS_nanosleep, bad, NULL));
	SHOW(syscall(SYS_gettimeofday, bad, NULL));
	SHOW(syscall(SYS_getrlimit, RLIMIT_NOFILE, high));
	SHOW(poll((void *)bad, 3, 0));
	SHOW(sendmsg(p[0], (void *)bad, 0));
	SHOW(sendmsg(99, (void *)bad, 0));
	SHOW(readv(99, (void *)bad, 1));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8));
	SHOW(getsockname(p[0], (void *)bad, (void *)bad));
	SHOW(ioctl(p[0], FIONREAD, bad));
	SHOW(syscall(SYS_wait4, -1, bad, WNOHANG, NULL));
	SHOW(syscall(SYS_statfs, "/", high));
	SHOW(readlink("/proc/self/exe", bad, 10));
	SHOW(syscall(SYS_getdents64, open("/etc", O_RDONLY), bad, 4096));
	SHOW(read(open("/etc/passwd", O_RDONLY), high, 4096));
	SHOW(getrandom(bad, 10, 0));
	SHOW(syscall(SYS_getgroups, 60, bad));
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	int z = open("/dev/zero", O_RDONLY);
	SHOW(read(z, page + 4090, 100));
	memset(page, 'a', 4096);
	SHOW(open(page + 4000, O_RDONLY));
	mprotect(page, 4096, PROT_READ);
	SHOW(read(z, page, 10));
	SHOW(syscall(FSTAT, z, page));
}

int main(void)
{
	char dir[] = "/tmp/callsXXXXXX";
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!mkdtemp(dir) || chdir(dir))
		return 1;
	system_facts();
	files();
	directories();
	waiting();
	sockets();
	ipc();
	signals();
	bad_pointers();
	execlp("rm", "rm", "-rf", dir, NULL);
	return 1;
}
