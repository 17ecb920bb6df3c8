/* fork, vfork, posix_spawn, exec, wait, descriptors across exec, environment, auxv. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char stack[65536];
static int shared_by_clone;
static int clone_child(void *arg) { shared_by_clone = 77; _exit(*(int *)arg); }

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
