/* mmap, mremap, mprotect, brk, madvise, mincore, file mappings, /proc/self/maps. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int code(void *p) { return p == MAP_FAILED ? errno : 0; }

int main(void) {
    long pg = 4096;
    char *a = mmap(0, 4 * pg, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(a, "first");
    strcpy(a + 3 * pg, "last");
    /* hint and fixed */
    char *h = mmap(a + pg, pg, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("hint taken elsewhere %d\n", h != a + pg);
    printf("noreplace %d\n", code(mmap(a, pg, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)) == EEXIST);
    char *fx = mmap(a + pg, pg, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    /* whether low memory is to be had is the system's affair */
    char *first = mmap((void *)pg, 16 * pg, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (code(first) == 0) strcpy(first, "low");
    printf("low %d %s\n", code(first), code(first) == 0 ? first : "-");
    printf("fixed %d zero %d\n", fx == a + pg, fx[0]);
    printf("unaligned %d\n", code(mmap(a + 1, pg, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)) == EINVAL);
    printf("zero length %d\n", code(mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == EINVAL);
    printf("huge %d\n", code(mmap(0, (size_t)-1 & ~4095ul, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == ENOMEM);
    printf("kernel fixed %d\n", code(mmap((void *)(intptr_t)-8192, pg, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)) == ENOMEM);
    /* mremap */
    char *m = mremap(a, 4 * pg, 64 * pg, MREMAP_MAYMOVE);
    printf("moved %s %s\n", m, m + 3 * pg);
    m[63 * pg] = 1;
    char *s = mremap(m, 64 * pg, 2 * pg, 0);
    printf("shrunk %d\n", s == m);
    printf("gone %d\n", syscall(SYS_mincore, m + 2 * pg, pg, h) == -1 && errno == ENOMEM);
    char *t = mmap(0, 2 * pg, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *f = mremap(m, 2 * pg, 2 * pg, MREMAP_MAYMOVE | MREMAP_FIXED, t);
    printf("fixed move %d %s\n", f == t, f);
    printf("bad mremap %d\n", code(mremap((void *)0x10000, pg, 2 * pg, MREMAP_MAYMOVE)) == EFAULT);
    /* mprotect errors */
    printf("mprotect hole %d\n", mprotect(m, pg, PROT_READ) == -1 && errno == ENOMEM);
    /* brk */
    char *b0 = sbrk(0);
    char *b = sbrk(3 * pg);
    memset(b, 7, 3 * pg);
    printf("brk %d %d\n", b == b0, (char *)sbrk(0) - b == 3 * pg);
    sbrk(-3 * pg);
    printf("shrunk %d\n", (char *)sbrk(0) == b0);
    b = sbrk(pg);
    printf("fresh %d\n", b[0]);
    /* files: shared and private, beyond the end */
    char name[] = "/tmp/memXXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    if (write(fd, "hello file", 10) != 10) return 1;
    char *sh = mmap(0, 2 * pg, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *pr = mmap(0, pg, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    sh[0] = 'J';
    pr[1] = 'E';
    char buf[16] = {0};
    if (pread(fd, buf, 10, 0) != 10) return 1;
    printf("%s|%s|%s|%d\n", buf, sh, pr, sh[4095]);
    printf("msync %d\n", msync(sh, pg, MS_SYNC));
    printf("misaligned offset %d\n", code(mmap(0, pg, PROT_READ, MAP_PRIVATE, fd, 100)) == EINVAL);
    printf("bad fd %d\n", code(mmap(0, pg, PROT_READ, MAP_PRIVATE, 99, 0)) == EBADF);
    /* madvise */
    char *z = mmap(0, 2 * pg, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(z, 9, 2 * pg);
    printf("madvise %d %d %d\n", madvise(z, pg, MADV_DONTNEED), z[0], z[pg]);
    /* shared anonymous memory across fork */
    int *w = mmap(0, pg, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int st;
    pid_t k = fork();
    if (k == 0) { *w = 42; _exit(0); }
    waitpid(k, &st, 0);
    printf("shared %d\n", *w);
    /* stack growth */
    volatile char big[300000];
    big[0] = 1;
    big[299999] = 2;
    printf("stack %d\n", big[0] + big[299999]);
    /* syscall into fresh stack memory, and a bad pointer */
    void *volatile bad = (void *)16;
    printf("efault %d\n", write(1, bad, 5) == -1 && errno == EFAULT);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int heap = 0, stack = 0, vdso = 0, exe = 0;
    while (fgets(line, sizeof line, maps)) {
        heap += strstr(line, "[heap]") != 0;
        stack += strstr(line, "[stack]") != 0;
        vdso += strstr(line, "[vdso]") != 0;
        exe += strstr(line, "memory") != 0;
    }
    printf("maps %d %d %d %d\n", heap, stack, vdso, exe > 2);
    /* remap_file_pages: pages of a shared mapping in another order; a page of code, too */
    int pages = memfd_create("pages", 0);
    ftruncate(pages, 6 * pg);
    for (int n = 0; n < 6; n++) {
        /* mov eax, n; ret */
        unsigned char ret_n[] = {0xb8, (unsigned char)n, 0, 0, 0, 0xc3};
        pwrite(pages, ret_n, sizeof ret_n, n * pg);
    }
    unsigned char *view = mmap(0, 4 * pg, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, pages, 0);
    int (*second)(void) = (int (*)(void))(view + pg);
    printf("page %d", second());
    printf(" remapped %d", remap_file_pages(view + pg, pg, 0, 5, 0));
    printf(" page %d %d %d\n", second(), view[1], view[2 * pg + 1]);
    view[pg + 1] = 77;
    unsigned char byte = 0;
    pread(pages, &byte, 1, 5 * pg + 1);
    printf("written %d, runs %d\n", byte, second());
    printf("all %d", remap_file_pages(view, 4 * pg, 0, 2, 0) ? errno : 0);
    printf(" parts %d", remap_file_pages(view, 2 * pg, 0, 2, 0) ? errno : 0);
    printf(" %d %d\n", view[1], view[pg + 1]);
    printf("prot %d", remap_file_pages(view, pg, PROT_READ, 0, 0) ? errno : 0);
    printf(" nothing %d", remap_file_pages(view, 0, 0, 0, 0) ? errno : 0);
    printf(" private %d", remap_file_pages(a, pg, 0, 0, 0) ? errno : 0);
    printf(" unmapped %d\n", remap_file_pages((char *)0x10000000, pg, 0, 0, 0) ? errno : 0);
    return 0;
}
