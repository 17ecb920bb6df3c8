// Moves labelled data in several ways and asks where it went. Prints the name and address of each buffer.
#include <emmintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LABEL, QUERY };

__attribute__((noinline)) static unsigned ask(unsigned what, void *at, unsigned length)
{
    unsigned answer = 0xdeadbeef;
    uintptr_t address = (uintptr_t)at;
    __asm__ volatile("cpuid" : "+a"(answer), "+b"(what), "+c"(address), "+d"(length) : : "memory");
    return answer;
}

#define SHOW(buffer) printf("%s %lu\n", #buffer, (unsigned long)(uintptr_t)(buffer))

static unsigned char secret[16] = "0123456789abcdef", key[16] = "yellow submarine";
static unsigned char copy[16], mixed[16], table[256], vectors[256], back[16], handled[16], threaded[16];
static unsigned char forked[16], encoded[32];
static char text[32];

static void handler(int signo)
{
    (void)signo;
    memcpy(handled, secret + 4, 4);
}

static void *worker(void *from)
{
    memcpy(threaded, from, 8);
    return NULL;
}

static void base64(const unsigned char *from, unsigned length, unsigned char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned n = 0; n + 2 < length; n += 3) {
        unsigned bits = from[n] << 16 | from[n + 1] << 8 | from[n + 2];
        for (int digit = 0; digit < 4; digit++)
            *to++ = digits[bits >> (18 - 6 * digit) & 63];
    }
}

int main(void)
{
    SHOW(secret), SHOW(key), SHOW(copy), SHOW(mixed), SHOW(table), SHOW(vectors), SHOW(back);
    SHOW(handled), SHOW(threaded), SHOW(forked), SHOW(encoded), SHOW(text);
    fflush(stdout);

    ask(LABEL, secret, sizeof secret);
    ask(LABEL, key, sizeof key);
    ask(LABEL, table + 100, 8);

    memcpy(copy, secret, sizeof copy);
    memset(copy + 4, 'x', 8);
    ask(QUERY, copy, sizeof copy);

    for (unsigned n = 0; n < sizeof mixed; n++)
        mixed[n] = n < 8 ? secret[n] ^ key[n] : n;
    ask(QUERY, mixed, sizeof mixed);

    for (unsigned n = 0; n < sizeof table; n += 16)
        _mm_storeu_si128((__m128i *)(vectors + n), _mm_loadu_si128((const __m128i *)(table + n)));
    ask(QUERY, vectors, sizeof vectors);

    uint32_t number;
    memcpy(&number, secret, sizeof number);
    int length = snprintf(text, sizeof text, "<%u>%s", number / 16 + 1000000000, "tail");
    ask(QUERY, text, sizeof text);

    base64(secret, 6, encoded);
    ask(QUERY, encoded, sizeof encoded);

    int ends[2];
    memcpy(back, secret, sizeof back);
    if (pipe(ends) || write(ends[1], secret, 8) != 8 || read(ends[0], back, 8) != 8)
        return 1;
    ask(QUERY, back, sizeof back);

    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    ask(QUERY, handled, sizeof handled);

    pthread_t thread;
    if (pthread_create(&thread, NULL, worker, secret) || pthread_join(thread, NULL))
        return 1;
    ask(QUERY, threaded, sizeof threaded);

    pid_t child = fork();
    if (child == 0) {
        memcpy(forked, key, 4);
        ask(QUERY, forked, sizeof forked);
        _exit(0);
    }
    if (waitpid(child, NULL, 0) != child)
        return 1;
    // The child's memory is another one.
    ask(QUERY, forked, sizeof forked);
    printf("%d %s %.8s\n", length, text, encoded);
    return 0;
}
