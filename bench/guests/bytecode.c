// A bytecode interpreter: computed jumps.
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    static const unsigned char code[] = {0, 1, 2, 3, 1, 4, 5, 2, 6, 7};
    static void *ops[] = {&&load, &&add, &&xor_, &&shift, &&mul, &&rot, &&sub, &&loop};
    unsigned long n = argc > 1 ? atol(argv[1]) : 15000000, acc = 1, x = 3;
    const unsigned char *pc = code;
#define NEXT goto *ops[*pc++]
    NEXT;
load: acc += n; NEXT;
add: acc += x; NEXT;
xor_: acc ^= x << 3; NEXT;
shift: x = (x >> 1) + acc; NEXT;
mul: acc *= 31; NEXT;
rot: acc = acc << 5 | acc >> 3; NEXT;
sub: x -= acc; NEXT;
loop:
    if (--n) { pc = code; NEXT; }
    printf("%u\n", (unsigned)(acc ^ x));
}
