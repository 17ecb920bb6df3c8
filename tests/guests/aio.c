/* Asynchronous input and output of the kernel, by hand: the ring that libraries read, every kind of
 * request, events, errors, and what becomes of a context in a child and behind an execve. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long result(long r) { return r == -1 ? -errno : r; }

static unsigned long id;

static struct iocb request(int op, int fd, void *buffer, size_t n, long offset)
{
	struct iocb c;
	memset(&c, 0, sizeof c);
	c.aio_data = 100 + op;
	c.aio_lio_opcode = op;
	c.aio_fildes = fd;
	c.aio_buf = (uintptr_t)buffer;
	c.aio_nbytes = n;
	c.aio_offset = offset;
	return c;
}

static long submit(struct iocb *c)
{
	return result(syscall(SYS_io_submit, id, 1L, &c));
}

static long events(long least, long most, struct io_event *e, struct timespec *t)
{
	return result(syscall(SYS_io_getevents, id, least, most, e, t));
}

static void run(const char *what, struct iocb *c)
{
	struct io_event e = {0};
	uint64_t buffer = c->aio_buf;
	long s = submit(c);
	printf("%s: submit %ld", what, s);
	if (s == 1) {
		long n = events(1, 1, &e, NULL);
		printf(", events %ld, data %d, object %d, result %lld", n, (int)e.data,
		       e.obj == (uintptr_t)c, (long long)e.res);
	}
	printf(", block %d\n", c->aio_buf == buffer);
}

static void handler(int s) { (void)s; }

static void *writes(void *arg)
{
	struct timespec t = {0, 20000000};
	nanosleep(&t, NULL);
	write((int)(long)arg, "x", 1);
	return NULL;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1) {
		id = strtoul(argv[1], NULL, 16);
		printf("behind execve %ld\n", result(syscall(SYS_io_destroy, id)));
		return 0;
	}
	char name[] = "/tmp/aioXXXXXX", text[64] = "", a[5] = "", b[5] = "";
	int fd = mkstemp(name);
	unlink(name);
	printf("no context %ld\n", result(syscall(SYS_io_submit, 4096L, 0L, NULL)));
	id = 5;
	printf("used id %ld\n", result(syscall(SYS_io_setup, 8, &id)));
	id = 0;
	printf("no events %ld\n", result(syscall(SYS_io_setup, 0, &id)));
	printf("nowhere %ld\n", result(syscall(SYS_io_setup, 8, (void *)8)));
	printf("setup %ld\n", result(syscall(SYS_io_setup, 8, &id)));
	unsigned *ring = (unsigned *)id;
	printf("ring: %#x, header %u, head %u, tail %u\n", ring[4], ring[7], ring[2], ring[3]);

	struct iocb c = request(IOCB_CMD_PWRITE, fd, "hello, world", 12, 0);
	run("pwrite", &c);
	c = request(IOCB_CMD_PREAD, fd, text, sizeof text, 7);
	run("pread", &c);
	printf("%s\n", text);
	struct iovec out[2] = {{"abc", 3}, {"defg", 4}}, in[2] = {{a, 4}, {b, 4}};
	c = request(IOCB_CMD_PWRITEV, fd, out, 2, 0);
	run("pwritev", &c);
	c = request(IOCB_CMD_PREADV, fd, in, 2, 0);
	run("preadv", &c);
	printf("%s %s\n", a, b);
	c = request(IOCB_CMD_FSYNC, fd, NULL, 0, 0);
	run("fsync", &c);
	printf("head %u, tail %u\n", ring[2], ring[3]);

	c = request(99, fd, NULL, 0, 0);
	run("unknown", &c);
	c = request(IOCB_CMD_PREAD, 99, text, 1, 0);
	run("bad descriptor", &c);
	c = request(IOCB_CMD_PREAD, fd, (void *)4096, 1, 0);
	run("bad buffer", &c);
	c = request(IOCB_CMD_PREADV, fd, (void *)16, 1, 0);
	run("bad list", &c);
	c = request(IOCB_CMD_PREADV, fd, in, 2000, 0);
	run("long list", &c);
	c = request(IOCB_CMD_PREAD, fd, text, 1, 0);
	c.aio_reserved2 = 1;
	run("reserved", &c);
	struct iocb good = request(IOCB_CMD_PREAD, fd, text, 1, 0);
	struct iocb *list[3] = {&good, &c, &good}, *nowhere[2] = {&good, (void *)8};
	struct io_event e[4];
	printf("second bad: %ld\n", result(syscall(SYS_io_submit, id, 3L, list)));
	printf("event %ld\n", events(1, 4, e, NULL));
	printf("second nowhere: %ld\n", result(syscall(SYS_io_submit, id, 2L, nowhere)));
	printf("event %ld\n", events(1, 4, e, NULL));
	printf("negative: %ld\n", result(syscall(SYS_io_submit, id, -1L, list)));

	int count = eventfd(0, 0), p[2];
	uint64_t value = 0;
	pipe(p);
	good.aio_flags = IOCB_FLAG_RESFD;
	good.aio_resfd = count;
	run("to an eventfd", &good);
	read(count, &value, 8);
	printf("count %d\n", (int)value);
	struct timespec none = {0, 0}, soon = {0, 2000000};
	printf("none %ld, later %ld\n", events(1, 4, e, &none), events(1, 4, e, &soon));
	printf("least > most %ld, negative %ld\n", events(3, 2, e, &none), events(-1, 2, e, &none));
	c = request(IOCB_CMD_POLL, p[0], (void *)(long)POLLIN, 0, 0);
	c.aio_nbytes = 0;
	printf("poll %ld, ", submit(&c));
	printf("not yet %ld, ", events(0, 4, e, NULL));
	pthread_t t;
	pthread_create(&t, NULL, writes, (void *)(long)p[1]);
	printf("event %ld", events(1, 4, e, NULL));
	printf(", result %#x\n", (int)e[0].res);
	pthread_join(t, NULL);
	read(p[0], text, 1);
	printf("poll %ld, ", submit(&c));
	struct io_event cancelled;
	printf("cancel %ld, ", result(syscall(SYS_io_cancel, id, &c, &cancelled)));
	printf("event %ld, ", events(1, 4, e, NULL));
	printf("again %ld\n", result(syscall(SYS_io_cancel, id, &c, &cancelled)));

	/* Signals: blocked but for the time of the wait. */
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &sa, NULL);
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	unsigned long long open_mask = 0;
	struct { void *mask; size_t size; } packed = {&open_mask, 8};
	printf("signal in pgetevents %ld\n", result(syscall(SYS_io_pgetevents, id, 1L, 4L, e, NULL, &packed)));
	printf("none %ld\n", result(syscall(SYS_io_pgetevents, id, 1L, 4L, e, &soon, &packed)));
	packed.size = 4;
	printf("mask size %ld\n", result(syscall(SYS_io_pgetevents, id, 1L, 4L, e, &none, &packed)));

	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		printf("in the child %ld\n", result(syscall(SYS_io_destroy, id)));
		printf("its memory %ld\n", result(syscall(SYS_mprotect, id, 4096, PROT_READ)));
		_exit(0);
	}
	waitpid(child, NULL, 0);
	unsigned long moved = id, other = 0;
	printf("another %ld\n", result(syscall(SYS_io_setup, 1000, &other)));
	printf("different %d\n", other != moved);
	printf("destroy %ld\n", result(syscall(SYS_io_destroy, id)));
	printf("again %ld\n", result(syscall(SYS_io_destroy, id)));
	printf("its memory %ld\n", result(syscall(SYS_mprotect, id, 4096, PROT_READ)));
	char hex[32];
	sprintf(hex, "%lx", other);
	execl("/proc/self/exe", "aio", hex, NULL);
	return 1;
}
