/* Threads, faults, floating point, long long arithmetic, sockets, descriptors passed, timers, large
 * files: what a C library for 32 bits converts most. Ends with status 5. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static __thread int own;
static sigjmp_buf back;
extern char **environ;

static void *take_turns(void *p)
{
	long k = (long)p;
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&mutex);
		while (turn % 4 != k)
			pthread_cond_wait(&changed, &mutex);
		turn++;
		own++;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&mutex);
	}
	return (void *)(long)own;
}

static void fault(int s, siginfo_t *i, void *u)
{
	(void)u;
	printf("fault %d %d %p\n", s, i->si_code, i->si_addr);
	siglongjmp(back, 1);
}

static int compare(const void *a, const void *b)
{
	double x = *(double *)a, y = *(double *)b;
	return (x > y) - (x < y);
}

static void numbers(void)
{
	static double v[5000];
	for (int i = 0; i < 5000; i++)
		v[i] = sin(i) * pow(1.001, i) + atan2(i, 7) + fmod(i, 0.37) + (long double)i / 3;
	qsort(v, 5000, sizeof *v, compare);
	printf("%.17g %.17g %.17g %Lg\n", v[0], v[2500], v[4999], expl(3.5L));
	unsigned long long u = 0xfedcba9876543210ull;
	for (int i = 0; i < 1000; i++)
		u = u * 6364136223846793005ull + u / 1000003 + (long long)u % 77;
	printf("%llx %lld\n", u, (long long)u >> 7);
}

static void passed_descriptor(void)
{
	int s[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	char b[CMSG_SPACE(sizeof(int))] = {0}, got[9] = {0};
	struct iovec io = {"fd", 2};
	struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = b, .msg_controllen = sizeof b};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	*(int *)CMSG_DATA(c) = 1;
	printf("%zd ", sendmsg(s[0], &h, 0));
	io.iov_base = got;
	printf("%zd %s\n", recvmsg(s[1], &h, 0), got);
	if (write(*(int *)CMSG_DATA(CMSG_FIRSTHDR(&h)), "passed\n", 7) != 7)
		exit(1);
}

static void network(void)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), status;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	bind(l, (void *)&a, size);
	listen(l, 3);
	getsockname(l, (void *)&a, &size);
	if (!fork()) {
		int k = socket(AF_INET, SOCK_STREAM, 0);
		connect(k, (void *)&a, size);
		send(k, "net", 3, 0);
		_exit(2);
	}
	int k = accept4(l, 0, 0, SOCK_CLOEXEC);
	struct timeval limit = {5, 0};
	char got[4] = {0};
	setsockopt(k, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	recv(k, got, 3, MSG_WAITALL);
	wait(&status);
	printf("%s %x\n", got, status);
}

static void timers(void)
{
	int e = epoll_create1(0), f = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec in = {{0, 0}, {0, 1000000}};
	timerfd_settime(f, 0, &in, 0);
	struct epoll_event event = {EPOLLIN, {.u64 = 0x123456789abcdefull}};
	epoll_ctl(e, EPOLL_CTL_ADD, f, &event);
	memset(&event, 0, sizeof event);
	int n = epoll_wait(e, &event, 1, -1);
	printf("%d %llx\n", n, (long long)event.data.u64);
	sigset_t set;
	siginfo_t info;
	timer_t timer;
	struct sigevent how = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	how.sigev_value.sival_int = 77;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, 0);
	timer_create(CLOCK_MONOTONIC, &how, &timer);
	timer_settime(timer, 0, &in, 0);
	int s = sigwaitinfo(&set, &info);
	printf("%d %d %d\n", s, info.si_value.sival_int, info.si_code);
}

static void files(void)
{
	int fd = open("big", O_RDWR | O_CREAT | O_LARGEFILE, 0600);
	printf("%lld ", (long long)lseek64(fd, 5000000000ll, SEEK_SET));
	if (write(fd, "x", 1) != 1)
		exit(1);
	struct stat64 s;
	fstat64(fd, &s);
	struct flock64 lock = {.l_type = F_WRLCK, .l_start = 4999999999ll, .l_len = 2};
	printf("%lld %d ", (long long)s.st_size, fcntl(fd, F_SETLK64, &lock));
	off64_t page = 5000000000ll & -4096;
	char *p = mmap64(0, 4096, PROT_READ, MAP_SHARED, fd, page);
	printf("%c ", p == MAP_FAILED ? '?' : p[5000000000ll - page]);
	struct statvfs64 v;
	struct rusage r;
	printf("%d %d\n", statvfs64("/", &v), getrusage(RUSAGE_SELF, &r));
	int n = 0;
	DIR *d = opendir(".");
	while (readdir64(d))
		n++;
	printf("%d\n", n);
}

int main(void)
{
	setvbuf(stdout, 0, _IONBF, 0);
	pthread_t t[4];
	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], 0, take_turns, (void *)i);
	for (int i = 0; i < 4; i++) {
		void *r;
		pthread_join(t[i], &r);
		printf("%ld ", (long)r);
	}
	printf("%d\n", turn);
	struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &action, 0);
	if (!sigsetjmp(back, 1))
		*(volatile int *)16 = 1;
	numbers();
	passed_descriptor();
	network();
	timers();
	files();
	pid_t pid;
	int status;
	char *argv[] = {"sh", "-c", "echo spawned; exit 6", 0};
	posix_spawn(&pid, "/bin/sh", 0, 0, argv, environ);
	waitpid(pid, &status, 0);
	printf("%d\n", WEXITSTATUS(status));
	return 5;
}
