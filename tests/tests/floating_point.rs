//! Floating point as C programs see it: long double, rounding modes, exception flags, traps.

use e2e::{BOTH, Case, TempDir, compile, compile_plugin};

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

static sigjmp_buf back;
static volatile int code;

static void handler(int sig, siginfo_t *info, void *context) {
    (void)context;
    code = info->si_code;
    siglongjmp(back, sig);
}

static void libm(void) {
    long double s = 0;
    double d = 0;
    for (int i = 1; i < 500; i++) {
        s += sinl(i) * expl(-(long double)i / 100) + sqrtl(i) / logl(i + 1);
        s += fmodl(i * 1.37L, 0.77L) + atan2l(i, 3) + powl(i, 0.3L) + tgammal(i % 20 + 1.5L);
        d += tan(i) + lgamma(i % 100 + 1) + exp2(i / 70.) + erf(i / 50.);
    }
    printf("%.20Lg %La %.17g\n", s, s, d);
    for (int i = -3; i <= 3; i++) {
        volatile double x = i * 0.75;
        volatile unsigned long long u = (unsigned long long)(x * x * 1e18);
        printf("%d %ld %lld %llu %.1f\n", (int)x, lrint(x), (long long)(x * 1e12), u, rint(x));
    }
}

static void rounding(void) {
    int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (int i = 0; i < 4; i++) {
        fesetround(modes[i]);
        volatile long double a = 1, b = 3;
        volatile float f = 1, g = 3;
        printf("%La %a %ld %ld\n", a / b, f / g, lrintl(2.5L), lrint(-2.5));
    }
    fesetround(FE_TONEAREST);
}

static void flags(void) {
    fenv_t saved;
    volatile long double zero = 0, one = 1, three = 3, tiny = 1e-4940L, r;
    volatile double dzero = 0, done = 1, huge = 1e308, dr;
    feclearexcept(FE_ALL_EXCEPT);
    r = one / zero; printf("%x ", fetestexcept(FE_ALL_EXCEPT));
    r = one / three; printf("%x ", fetestexcept(FE_ALL_EXCEPT));
    feholdexcept(&saved);
    r = tiny * tiny; printf("%x ", fetestexcept(FE_ALL_EXCEPT));
    r = zero / zero; printf("%x ", fetestexcept(FE_ALL_EXCEPT));
    feupdateenv(&saved);
    printf("%x ", fetestexcept(FE_ALL_EXCEPT));
    feclearexcept(FE_ALL_EXCEPT);
    dr = done / dzero; dr = huge * huge; printf("%x\n", fetestexcept(FE_ALL_EXCEPT));
    (void)r; (void)dr;
}

static void traps(void) {
    struct sigaction action = {0};
    volatile long double zero = 0, one = 1, r;
    volatile double dzero = 0, done = 1, dr;
    int sig;
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGFPE, &action, 0);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_DIVBYZERO | FE_INVALID);
    if (!(sig = sigsetjmp(back, 1))) { r = one / zero; r = r + 1; puts("none"); }
    else printf("signal %d code %d except %x\n", sig, code, fegetexcept());
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_DIVBYZERO | FE_INVALID);
    if (!(sig = sigsetjmp(back, 1))) { dr = dzero / dzero; dr = dr + done; puts("none"); }
    else printf("signal %d code %d\n", sig, code);
    (void)r; (void)dr;
}

int main(void) {
    libm();
    rounding();
    flags();
    traps();
    return 0;
}
"#;

#[test]
fn libm_rounding_flags_and_traps() {
    let dir = TempDir::new();
    for width in BOTH {
        for (name, flags) in [("dynamic", &["-lm"][..]), ("static", &["-static", "-lm"])] {
            let program = compile(&dir, name, SOURCE, width, flags);
            Case::new([program]).same_as_native();
        }
    }
}

const STACK: &str = include_str!("../guests/x87.c");

#[test]
fn the_x87_stack_survives_everything() {
    let dir = TempDir::new();
    for width in BOTH {
        for (name, flags) in
            [("dynamic", &["-pthread", "-lm"][..]), ("static", &["-static", "-lm"])]
        {
            let program = compile(&dir, name, STACK, width, flags);
            Case::new([program]).same_as_native();
        }
    }
}

#[test]
fn callbacks_see_the_x87_stack_and_have_their_own() {
    let dir = TempDir::new();
    let plugin = compile_plugin(&dir, "x87_user", include_str!("../plugins/x87_user.c"), &[]);
    for width in BOTH {
        let program = compile(&dir, "stack", STACK, width, &["-static", "-lm"]);
        let native = Case::new([program.as_os_str(), "x".as_ref()]).native();
        let seen = ["interp", "jit", "auto"].map(|tier| {
            let out = Case::new([program.as_os_str(), "x".as_ref()])
                .host(["-v", "--tier", tier, "--plugins"])
                .host([&plugin])
                .hosted();
            assert_eq!(out.stdout, native.stdout, "{width:?} {tier}");
            let seen = out.stderr.lines().find(|l| l.contains(" wrong 0 hash ")).map(str::to_owned);
            seen.unwrap_or_else(|| panic!("{width:?} {tier}: {}", out.stderr))
        });
        assert!(seen.iter().all(|s| *s == seen[0]), "{width:?}: {seen:#?}");
    }
}
