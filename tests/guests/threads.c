/* Threads: create, join, mutex, condition variable, TLS, signals to threads, blocking calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int counter, turn;
static __thread int local = 5;
static atomic_int spins;

static void *add(void *arg) {
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
    }
    local += (int)(long)arg;
    return (void *)(long)local;
}

static void *player(void *arg) {
    int me = (int)(long)arg;
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me) pthread_cond_wait(&cond, &lock);
        turn = !me;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return 0;
}

static void *spinner(void *arg) {
    int me = (int)(long)arg;
    while (atomic_load(&spins) != me) {}
    atomic_store(&spins, me + 1);
    return 0;
}

static int fds[2];
static void *reader(void *arg) {
    char c = 0;
    (void)arg;
    if (read(fds[0], &c, 1) != 1) return 0;
    return (void *)(long)c;
}

static volatile sig_atomic_t hit;
static pthread_t hit_in;
static void on(int s) { hit = s; hit_in = pthread_self(); }

static void *sleeper(void *arg) {
    (void)arg;
    char c;
    int r = read(fds[0], &c, 1);
    return (void *)(long)(r == -1 && errno == EINTR);
}

static void *canceled(void *arg) { (void)arg; for (;;) pause(); return 0; }

static void *waiter(void *arg) {
    int s = 0;
    sigwait(arg, &s);
    return (void *)(long)s;
}

static void *quitter(void *arg) { (void)arg; pthread_exit((void *)99); }

static void *forker(void *arg) {
    (void)arg;
    pid_t k = fork();
    if (k == 0) _exit(12);
    int st;
    waitpid(k, &st, 0);
    return (void *)(long)WEXITSTATUS(st);
}

static pthread_mutex_t robust;
static void *owner(void *arg) { (void)arg; pthread_mutex_lock(&robust); return 0; }

/* Makes calls that never wait until the other thread, whose wait has a limit, has run. */
static atomic_int late;
static void *caller(void *arg) {
    (void)arg;
    struct pollfd none = {-1, POLLIN, 0};
    while (!late) poll(&none, 1, 0);
    return 0;
}

/* A lock that its holder gives up for some instructions only, often, and that others wait for with a
   time limit each: as an interpreter's, whose holder makes calls in between. */
static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static int held;
static atomic_int visits;

static void take(void) {
    pthread_mutex_lock(&door);
    while (held) {
        struct timespec limit;
        clock_gettime(CLOCK_REALTIME, &limit);
        limit.tv_sec += 1;
        pthread_cond_timedwait(&opened, &door, &limit);
    }
    held = 1;
    pthread_mutex_unlock(&door);
}

static void give_up(void) {
    pthread_mutex_lock(&door);
    held = 0;
    pthread_cond_signal(&opened);
    pthread_mutex_unlock(&door);
}

static void *holder(void *arg) {
    (void)arg;
    while (visits < 100) {
        take();
        for (volatile int i = 0; i < 3000; i++) {}
        give_up();
    }
    return 0;
}

static void *visitor(void *arg) {
    (void)arg;
    for (int i = 0; i < 100; i++) {
        take();
        visits++;
        give_up();
        usleep(100);
    }
    return 0;
}

int main(void) {
    pthread_t t[20];
    void *r;
    for (long i = 0; i < 8; i++) pthread_create(&t[i], 0, add, (void *)i);
    for (int i = 0; i < 8; i++) { pthread_join(t[i], &r); printf("%ld ", (long)r); }
    printf("sum %d local %d\n", counter, local);

    pthread_create(&t[0], 0, player, (void *)0);
    pthread_create(&t[1], 0, player, (void *)1);
    pthread_join(t[0], 0);
    pthread_join(t[1], 0);
    printf("ping pong %d\n", turn);

    for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, spinner, (void *)(3 - i));
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    printf("spins %d\n", spins);

    pthread_create(&t[0], 0, holder, 0);
    pthread_create(&t[1], 0, visitor, 0);
    for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
    printf("visits %d\n", visits);

    pthread_create(&t[0], 0, caller, 0);
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 5000000;
    limit.tv_sec += limit.tv_nsec / 1000000000;
    limit.tv_nsec %= 1000000000;
    pthread_mutex_lock(&lock);
    while (pthread_cond_timedwait(&cond, &lock, &limit) == 0) {}
    pthread_mutex_unlock(&lock);
    late = 1;
    pthread_join(t[0], 0);
    printf("late\n");

    if (pipe(fds)) return 1;
    pthread_create(&t[0], 0, reader, 0);
    usleep(20000);
    if (write(fds[1], "q", 1) != 1) return 1;
    pthread_join(t[0], &r);
    printf("read %c\n", (char)(long)r);

    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on;
    sigaction(SIGUSR1, &sa, 0);
    pthread_create(&t[0], 0, sleeper, 0);
    /* The first ones may come before it waits. */
    do {
        usleep(20000);
        pthread_kill(t[0], SIGUSR1);
    } while (pthread_tryjoin_np(t[0], &r));
    printf("interrupted %ld in thread %d\n", (long)r, pthread_equal(hit_in, t[0]));

    pthread_create(&t[0], 0, canceled, 0);
    usleep(10000);
    pthread_cancel(t[0]);
    pthread_join(t[0], &r);
    printf("canceled %d\n", r == PTHREAD_CANCELED);

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    pthread_create(&t[0], 0, waiter, &set);
    usleep(10000);
    kill(getpid(), SIGUSR2);
    pthread_join(t[0], &r);
    printf("sigwait %d\n", (long)r == SIGUSR2);

    pthread_create(&t[0], 0, quitter, 0);
    pthread_join(t[0], &r);
    printf("exit %ld\n", (long)r);
    pthread_create(&t[0], 0, forker, 0);
    pthread_join(t[0], &r);
    printf("forked %ld\n", (long)r);

    /* Copies of the process while threads are about to be gone. */
    for (int i = 0; i < 100; i++) {
        for (int j = 0; j < 8; j++) pthread_create(&t[j], 0, quitter, 0);
        for (int j = 0; j < 8; j++) pthread_join(t[j], 0);
        fflush(stdout);
        if (fork() == 0) exit(0);
        wait(0);
    }
    printf("forked after joins\n");

    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += 20000000;
    if (ts.tv_nsec >= 1000000000) { ts.tv_sec++; ts.tv_nsec -= 1000000000; }
    pthread_create(&t[0], 0, canceled, 0);
    pthread_mutex_lock(&lock);
    printf("timedwait %d\n", pthread_cond_timedwait(&cond, &lock, &ts) == ETIMEDOUT);
    pthread_mutex_unlock(&lock);
    sem_t sem;
    sem_init(&sem, 0, 0);
    printf("sem %d\n", sem_timedwait(&sem, &ts) == -1 && errno == ETIMEDOUT);

    pthread_mutexattr_t ma;
    pthread_mutexattr_init(&ma);
    pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &ma);
    pthread_create(&t[1], 0, owner, 0);
    pthread_join(t[1], 0);
    printf("owner died %d\n", pthread_mutex_lock(&robust) == EOWNERDEAD);
    printf("tid %d\n", (pid_t)syscall(SYS_gettid) == getpid());
    fflush(stdout);
    /* one thread is still blocked; exec ends it */
    execlp("echo", "echo", "exec from threads", (char *)0);
    return 1;
}
