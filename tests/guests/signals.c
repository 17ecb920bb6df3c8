/* Handlers, masks, siginfo, nesting, restart rules, alternate stack. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t count, depth, max_depth, raised;
static volatile int last_code, last_value;

static void plain(int s) { count += s; }

static void info(int s, siginfo_t *i, void *c) {
    (void)s; (void)c;
    last_code = i->si_code;
    last_value = i->si_value.sival_int;
    count++;
}

static void nest(int s) {
    depth++;
    if (depth > max_depth) max_depth = depth;
    if (raised++ < 3) raise(s);
    depth--;
}

static char alt[65536];
static volatile int on_alt;
static void where(int s) { char c; (void)s; on_alt = &c >= alt && &c < alt + sizeof alt; }

static void set(int sig, void (*h)(int), int flags) {
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler = h;
    a.sa_flags = flags;
    sigaction(sig, &a, 0);
}

int main(void) {
    set(SIGUSR1, plain, 0);
    raise(SIGUSR1);
    printf("plain %d\n", (int)count);

    count = 0;
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_sigaction = info;
    a.sa_flags = SA_SIGINFO;
    sigaction(SIGRTMIN + 1, &a, 0);
    sigset_t set1, old, pend;
    sigemptyset(&set1);
    sigaddset(&set1, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set1, &old);
    for (int i = 0; i < 5; i++) {
        union sigval v = {.sival_int = 40 + i};
        sigqueue(getpid(), SIGRTMIN + 1, v);
    }
    sigpending(&pend);
    printf("pending %d count %d\n", sigismember(&pend, SIGRTMIN + 1), (int)count);
    sigprocmask(SIG_SETMASK, &old, 0);
    printf("queued %d code %d value %d\n", (int)count, last_code, last_value);

    set(SIGUSR1, nest, 0);
    raise(SIGUSR1);
    printf("masked depth %d\n", (int)max_depth);
    max_depth = raised = 0;
    set(SIGUSR1, nest, SA_NODEFER);
    raise(SIGUSR1);
    printf("nodefer depth %d\n", (int)max_depth);

    set(SIGUSR2, plain, SA_RESETHAND);
    raise(SIGUSR2);
    sigaction(SIGUSR2, 0, &a);
    printf("reset %d\n", a.sa_handler == SIG_DFL);

    stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt}, oss;
    sigaltstack(&ss, 0);
    set(SIGUSR2, where, SA_ONSTACK);
    raise(SIGUSR2);
    printf("on alt %d\n", on_alt);
    sigaltstack(0, &oss);
    printf("alt flags %d size %d\n", oss.ss_flags, (int)oss.ss_size);

    /* read from a pipe, interrupted by an alarm, without and with SA_RESTART */
    int p[2];
    char c;
    if (pipe(p)) return 1;
    struct itimerval it = {.it_value = {0, 20000}};
    set(SIGALRM, plain, 0);
    setitimer(ITIMER_REAL, &it, 0);
    int r = read(p[0], &c, 1);
    printf("read %d %d\n", r, r < 0 && errno == EINTR);
    set(SIGALRM, plain, SA_RESTART);
    pid_t kid = fork();
    if (kid == 0) {
        usleep(60000);
        if (write(p[1], "x", 1) != 1) _exit(1);
        _exit(0);
    }
    setitimer(ITIMER_REAL, &it, 0);
    count = 0;
    r = read(p[0], &c, 1);
    printf("restarted %d %c handler %d\n", r, c, (int)count);
    int st;
    while (waitpid(kid, &st, 0) < 0) {}
    printf("child %d\n", st);

    /* sigsuspend: the handler runs with the temporary mask, the old one comes back */
    sigemptyset(&set1);
    sigaddset(&set1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set1, 0);
    set(SIGUSR1, plain, 0);
    count = 0;
    raise(SIGUSR1);
    printf("held %d\n", (int)count);
    sigset_t none;
    sigemptyset(&none);
    r = sigsuspend(&none);
    printf("suspend %d %d count %d\n", r, errno == EINTR, (int)count);
    sigprocmask(SIG_BLOCK, 0, &old);
    printf("blocked again %d\n", sigismember(&old, SIGUSR1));

    raise(SIGUSR1);
    siginfo_t si;
    struct timespec ts = {1, 0};
    r = sigtimedwait(&set1, &si, &ts);
    printf("timedwait %d code %d\n", r == SIGUSR1, si.si_code);
    ts.tv_sec = 0;
    r = sigtimedwait(&set1, &si, &ts);
    printf("timedwait %d %d\n", r, errno == EAGAIN);

    /* children: SIGCHLD with siginfo */
    memset(&a, 0, sizeof a);
    a.sa_sigaction = info;
    a.sa_flags = SA_SIGINFO;
    sigaction(SIGCHLD, &a, 0);
    count = 0;
    kid = fork();
    if (kid == 0) _exit(5);
    while (waitpid(kid, &st, 0) < 0) {}
    printf("chld %d code %d status %d\n", (int)count, last_code, WEXITSTATUS(st));
    kid = fork();
    if (kid == 0) { signal(SIGTERM, SIG_DFL); raise(SIGTERM); _exit(0); }
    while (waitpid(kid, &st, 0) < 0) {}
    printf("killed by %d\n", WTERMSIG(st));
    kid = fork();
    if (kid == 0) { *(volatile int *)8 = 1; _exit(0); }
    while (waitpid(kid, &st, 0) < 0) {}
    printf("crashed by %d\n", WTERMSIG(st));
    return 0;
}
