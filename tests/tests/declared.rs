//! Registers are for callbacks whose subscription declared them; every kind, in every tier.

use e2e::{BOTH, Case, TempDir, compile, compile_plugin};

/// Raises every event there is, and copies with a string instruction, whose accesses a helper makes.
const GUEST: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>
static void handler(int n) { (void)n; }
static void *thread(void *p) { return p; }
int main(int argc, char **argv)
{
    static char from[100], to[100];
    void *d = to, *s = from;
    unsigned long c = sizeof from;
    unsigned a = 0, b, x = 0, e;
    int status, file;
    pthread_t t;
    memset(from, 7, sizeof from);
    asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c) :: "memory");
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(x), "=d"(e));
    if (memcmp(from, to, sizeof to) || a == 0)
        return 1;
    if (argc > 1)
        return 9;
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    file = open("/proc/self/exe", O_RDONLY);
    munmap(mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0), 4096);
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    if (fork() == 0)
        _exit(3);
    wait(&status);
    if (WEXITSTATUS(status) != 3)
        return 2;
    execl(argv[0], argv[0], "x", NULL);
    return 4;
}
"#;

#[test]
fn an_access_that_was_not_declared_is_refused() {
    let source = include_str!("../plugins/declared.c");
    for width in BOTH {
        let dir = TempDir::new();
        let exe = compile(&dir, "everything", GUEST, width, &["-static", "-pthread"]);
        let plugin = compile_plugin(&dir, "declared", source, &[]);
        for tier in ["interp", "jit", "auto"] {
            let out = Case::new([&exe])
                .host(["-v", "--tier", tier, "--plugin-cmd", "hello", "--plugins"])
                .host([&plugin])
                .hosted();
            assert_eq!(out.status.code(), Some(9), "{width:?} {tier}: {}", out.stderr);
            for kind in 1..25 {
                for flags in 0..3 {
                    let line = format!("[declared] kind {kind} flags {flags}: called, 0 wrong");
                    let said = || format!("{width:?} {tier}: no \"{line}\": {}", out.stderr);
                    assert!(out.stderr.contains(&line), "{}", said());
                }
            }
        }
    }
}
