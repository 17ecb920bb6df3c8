// CPU clocks of threads: each has used what it has used, and no other's.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define MS 1000000LL

static pthread_barrier_t gate;
static clockid_t idle_clock, busy_clock;
static timer_t timer;
static volatile int fired;
static volatile pid_t fired_in;
static pid_t idle_tid;

static long long ns(struct timespec t) { return t.tv_sec * 1000000000LL + t.tv_nsec; }

static long long read_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t)) {
        perror("clock_gettime");
        exit(1);
    }
    return ns(t);
}

static void burn(long long how_much)
{
    long long end = read_clock(CLOCK_THREAD_CPUTIME_ID) + how_much;
    while (read_clock(CLOCK_THREAD_CPUTIME_ID) < end)
        for (volatile int i = 0; i < 10000; i++)
            ;
}

static long long used_by_me(void)
{
    struct rusage r;
    getrusage(RUSAGE_THREAD, &r);
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000000LL
        + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000LL;
}

static void on_timer(int n, siginfo_t *info, void *context)
{
    (void)n, (void)context;
    fired += info->si_code == SI_TIMER && info->si_value.sival_int == 77;
    fired_in = syscall(SYS_gettid);
}

static long long left(timer_t t)
{
    struct itimerspec s;
    timer_gettime(t, &s);
    return ns(s.it_value);
}

static void *idle(void *unused)
{
    (void)unused;
    idle_tid = syscall(SYS_gettid);
    pthread_getcpuclockid(pthread_self(), &idle_clock);
    struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
    e.sigev_value.sival_int = 77;
    e.sigev_notify_thread_id = idle_tid;
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &e, &timer))
        perror("timer_create");
    struct itimerspec s = { .it_value.tv_nsec = 60 * MS };
    if (timer_settime(timer, 0, &s, 0))
        perror("timer_settime");
    pthread_barrier_wait(&gate);
    // The other one burns now.
    pthread_barrier_wait(&gate);
    printf("idle: little by the clock %d, by getrusage %d, timer silent %d\n",
           read_clock(CLOCK_THREAD_CPUTIME_ID) < 50 * MS, used_by_me() < 50 * MS, !fired);
    while (!fired)
        burn(MS);
    printf("fired %d in its thread %d, after its time %d, now %lld left\n", fired,
           fired_in == idle_tid, read_clock(CLOCK_THREAD_CPUTIME_ID) >= 60 * MS, left(timer));
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    return 0;
}

static void *busy(void *unused)
{
    (void)unused;
    pthread_getcpuclockid(pthread_self(), &busy_clock);
    pthread_barrier_wait(&gate);
    burn(200 * MS);
    long long l = left(timer);
    printf("busy: by the clock %d, by getrusage %d; timer of the other has its time %d\n",
           read_clock(busy_clock) >= 200 * MS, used_by_me() >= 190 * MS, l > 10 * MS && l <= 60 * MS);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    return 0;
}

int main(void)
{
    struct sigaction a = { .sa_sigaction = on_timer, .sa_flags = SA_SIGINFO };
    sigaction(SIGUSR1, &a, 0);
    burn(5 * MS);
    pthread_barrier_init(&gate, 0, 3);
    pthread_t t[2];
    pthread_create(&t[0], 0, idle, 0);
    pthread_create(&t[1], 0, busy, 0);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    // Of other threads, and set from here.
    long long me = read_clock(CLOCK_THREAD_CPUTIME_ID), i = read_clock(idle_clock),
              b = read_clock(busy_clock);
    printf("main %d, idle %d, busy %d, all in the process's %d\n", me >= 5 * MS && me < 100 * MS,
           i >= 60 * MS && i < 150 * MS, b >= 200 * MS && b < 300 * MS,
           me + i + b <= read_clock(CLOCK_PROCESS_CPUTIME_ID));
    struct itimerspec s = { .it_value = { 1000, 0 }, .it_interval = { 3, 4 } }, old;
    timer_settime(timer, TIMER_ABSTIME, &s, &old);
    printf("was unset %d, ", ns(old.it_value) == 0);
    timer_gettime(timer, &s);
    printf("set %d, every %lld\n", s.it_value.tv_sec == 999, ns(s.it_interval));
    s.it_value.tv_nsec = 1000000000;
    int r = timer_settime(timer, 0, &s, 0);
    printf("bad nanoseconds %d %d\n", r, errno == EINVAL);
    struct sigevent none = { .sigev_notify = SIGEV_NONE };
    timer_t of_busy;
    printf("a timer by another's clock %d", timer_create(busy_clock, &none, &of_busy));
    printf(", has %d left", left(of_busy) != 0);
    printf(", goes %d\n", timer_delete(of_busy));
    pthread_barrier_wait(&gate);
    for (int n = 0; n < 2; n++)
        pthread_join(t[n], 0);
    long long alone = read_clock(CLOCK_THREAD_CPUTIME_ID);
    burn(10 * MS);
    printf("alone again %d\n", read_clock(CLOCK_THREAD_CPUTIME_ID) - alone < 50 * MS);
    return 0;
}
