// A pointer chase: dependent loads over 16 MB.
#include <stdio.h>
#include <stdlib.h>
struct node { struct node *next; long pad[7]; };
int main(int argc, char **argv) {
    int n = 1 << 18, steps = argc > 1 ? atoi(argv[1]) : 12000000;
    struct node *a = malloc(n * sizeof *a);
    unsigned *order = malloc(n * sizeof *order), s = 7;
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (s = s * 1664525 + 1013904223) % (i + 1);
        unsigned t = order[i]; order[i] = order[j]; order[j] = t;
    }
    for (int i = 0; i < n; i++) a[order[i]].next = &a[order[(i + 1) % n]];
    struct node *p = a;
    while (steps--) p = p->next;
    printf("%ld\n", (long)(p - a));
}
