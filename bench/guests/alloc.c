// Allocation: a binary tree built and freed.
#include <stdio.h>
#include <stdlib.h>
struct tree { struct tree *l, *r; };
static struct tree *grow(int d) {
    struct tree *t = malloc(sizeof *t);
    t->l = d ? grow(d - 1) : 0;
    t->r = d ? grow(d - 1) : 0;
    return t;
}
static int drop(struct tree *t) {
    if (!t) return 0;
    int n = 1 + drop(t->l) + drop(t->r);
    free(t);
    return n;
}
int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 10, n = 0;
    while (rounds--) n += drop(grow(17));
    printf("%d\n", n);
}
