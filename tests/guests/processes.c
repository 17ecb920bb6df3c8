/* fork, vfork, posix_spawn, exec, wait, descriptors across exec, environment, auxv. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char stack[65536];
static int shared_by_clone;
static int clone_child(void *arg) { shared_by_clone = 77; _exit(*(int *)arg); }

/* What another thread's call gives while the parent waits for its vfork child stays. */
static int pipe_of_reader[2];
static volatile pid_t reader;
static char read_page[3 * 4096];
static void *read_some(void *unused) {
    reader = syscall(SYS_gettid);
    return (void *)read(pipe_of_reader[0], read_page + 4096, 100);
}
/* Whether a thread is in a system call whose first argument is this. */
static int is_in_call(pid_t tid, unsigned long first) {
    char name[64];
    unsigned long got = -1;
    snprintf(name, sizeof name, "/proc/self/task/%d/syscall", tid);
    FILE *f = fopen(name, "r");
    if (f) {
        if (fscanf(f, "%*d %lx", &got) != 1) got = -1;
        fclose(f);
    }
    return got == first;
}
static void vfork_beside_reader(void) {
    pthread_t t;
    void *count;
    int st;
    pipe2(pipe_of_reader, O_CLOEXEC);
    memset(read_page, '-', sizeof read_page);
    pthread_create(&t, 0, read_some, 0);
    while (!reader || !is_in_call(reader, pipe_of_reader[0])) sched_yield();
    /* threads and the like take no descriptors */
    int free = open("/dev/null", O_RDONLY | O_CLOEXEC);
    printf("free descriptor %d\n", free - pipe_of_reader[1]);
    close(free);
    pid_t k = vfork();
    if (k == 0) {
        free = dup(0);
        read_page[1] = '0' + free - pipe_of_reader[1];
        int left = write(pipe_of_reader[1], "result", 6);
        while (left) ioctl(pipe_of_reader[0], FIONREAD, &left);
        read_page[0] = '!';
        _exit(0);
    }
    waitpid(k, &st, 0);
    pthread_join(t, &count);
    printf("vfork beside a reader: %d %.6s %c%c\n", (int)(long)count, read_page + 4096,
           read_page[0], read_page[1]);
    close(pipe_of_reader[0]);
    close(pipe_of_reader[1]);
}

/* The process's descriptors are those the program knows of, and each can be closed. */
static void own_descriptors(void) {
    long before = -1;
    int listed = 0, closed = 0, fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    int last = fcntl(0, F_DUPFD, 400);
    char entries[8192];
    for (;;) {
        long n = syscall(SYS_getdents64, fd, entries, before < 0 ? 48 : sizeof entries);
        if (n <= 0) break;
        before = n;
        for (char *e = entries; e < entries + n; e += *(unsigned short *)(e + 16)) {
            int number = atoi(e + 19);
            if (number < 400) continue;
            listed++;
            char link[64], to[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", number);
            closed += readlink(link, to, sizeof to) > 0 && close(number) == 0;
        }
    }
    printf("descriptors %d closed %d %d\n", listed, closed, close(last) == -1);
    close(fd);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "again")) {
        printf("again argc %d env %s fd3 %d fd4 %d\n", argc, getenv("MARK") ? getenv("MARK") : "-",
               fcntl(3, F_GETFD), fcntl(4, F_GETFD) == -1);
        struct sigaction a;
        sigaction(SIGUSR1, 0, &a);
        printf("usr1 default %d", a.sa_handler == SIG_DFL);
        sigaction(SIGUSR2, 0, &a);
        printf(" usr2 ignored %d", a.sa_handler == SIG_IGN);
        sigset_t s;
        sigprocmask(SIG_BLOCK, 0, &s);
        printf(" hup blocked %d\n", sigismember(&s, SIGHUP));
        return 33;
    }
    setvbuf(stdout, 0, _IOLBF, 0);
    int st;
    pid_t k = fork();
    if (k == 0) _exit(9);
    printf("wait %d", waitpid(k, &st, 0) == k);
    printf(" status %d\n", WEXITSTATUS(st));
    printf("no child %d\n", waitpid(-1, &st, WNOHANG) == -1 && errno == ECHILD);
    volatile int v = 1;
    k = vfork();
    if (k == 0) { v = 2; _exit(3); }
    waitpid(k, &st, 0);
    printf("vfork shares %d status %d\n", v, WEXITSTATUS(st));
    /* clone as vfork */
    int code = 21;
    k = clone(clone_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &code);
    waitpid(k, &st, 0);
    printf("clone %d shared %d\n", WEXITSTATUS(st), shared_by_clone);
    pid_t told = 0;
    char child_stack[8192];
    k = clone(clone_child, child_stack + 8192, CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD,
              &code, &told);
    waitpid(k, &st, 0);
    printf("told %d\n", k > 0 && told == k);
    vfork_beside_reader();
    own_descriptors();
    /* posix_spawn: errors come back */
    char *args[] = {"/nonexistent/x", 0};
    printf("spawn %d\n", posix_spawn(&k, "/nonexistent/x", 0, 0, args, environ) == ENOENT);
    char *echo[] = {"echo", "from", "spawn", 0};
    int spawned = posix_spawnp(&k, "echo", 0, 0, echo, environ);
    waitpid(k, &st, 0);
    printf("spawn %d\n", spawned);
    printf("system %d\n", WEXITSTATUS(system("exit 5")));
    /* waitid */
    siginfo_t si;
    k = fork();
    if (k == 0) _exit(44);
    memset(&si, 0, sizeof si);
    printf("waitid %d", waitid(P_PID, k, &si, WEXITED | WNOWAIT));
    printf(" status %d code %d pid %d\n", si.si_status, si.si_code, si.si_pid == k);
    struct rusage ru;
    printf("wait4 %d\n", wait4(k, &st, 0, &ru) == k);
    /* stop and continue */
    k = fork();
    if (k == 0) { raise(SIGSTOP); _exit(6); }
    waitpid(k, &st, WUNTRACED);
    printf("stopped %d by %d\n", WIFSTOPPED(st), WSTOPSIG(st));
    kill(k, SIGCONT);
    waitpid(k, &st, 0);
    printf("continued %d\n", WEXITSTATUS(st));
    /* auxv */
    printf("pagesz %d clktck %d secure %d platform %s\n", (int)getauxval(AT_PAGESZ),
           (int)getauxval(AT_CLKTCK), (int)getauxval(AT_SECURE), (char *)getauxval(AT_PLATFORM));
    printf("execfn %s\n", strrchr((char *)getauxval(AT_EXECFN), '/'));
    printf("vdso %d phnum %d\n", getauxval(AT_SYSINFO_EHDR) != 0, getauxval(AT_PHNUM) > 3);
    /* names and limits */
    char name[17] = {0};
    prctl(PR_SET_NAME, "a-very-long-name-indeed");
    prctl(PR_GET_NAME, name);
    printf("name %s\n", name);
    struct rlimit rl = {1 << 20, 1 << 30}, back;
    setrlimit(RLIMIT_DATA, &rl);
    getrlimit(RLIMIT_DATA, &back);
    printf("rlimit %d\n", back.rlim_cur == 1 << 20);
    rl.rlim_cur = 2 << 20;
    /* errors of exec */
    char *none[] = {0};
    printf("exec %d", execve("/nonexistent", none, none) == -1 && errno == ENOENT);
    printf(" %d", execve("/etc/passwd", none, none) == -1 && errno == EACCES);
    printf(" %d\n", execve("/etc", none, none) == -1 && errno == EACCES);
    /* the last: ourselves again */
    close(3);
    close(4);
    int keep = open("/dev/null", O_RDONLY), gone = open("/dev/null", O_RDONLY | O_CLOEXEC);
    printf("fds %d %d\n", keep, gone);
    signal(SIGUSR1, _exit);
    signal(SIGUSR2, SIG_IGN);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGHUP);
    sigprocmask(SIG_BLOCK, &s, 0);
    char *next[] = {argv[0], "again", "x y", 0};
    char *env[] = {"MARK=set", 0};
    execve("/proc/self/exe", next, env);
    return 1;
}
