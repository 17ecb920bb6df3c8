// Double arithmetic: gravity between five bodies.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#define N 5
static double p[N][3] = {{0, 0, 0}, {4.84, -1.16, -0.10}, {8.34, 4.12, -0.40}, {12.89, -15.11, -0.22}, {15.37, -25.91, 0.17}};
static double v[N][3] = {{0, 0, 0}, {0.6, 2.8, -0.02}, {-1.0, 1.8, 0.008}, {1.08, 0.86, -0.01}, {0.97, 0.59, -0.03}};
static double m[N] = {39.47, 0.037, 0.011, 0.0017, 0.002};
int main(int argc, char **argv) {
    int steps = argc > 1 ? atoi(argv[1]) : 1500000;
    for (int s = 0; s < steps; s++) {
        for (int i = 0; i < N; i++)
            for (int j = i + 1; j < N; j++) {
                double d[3], r2 = 0;
                for (int k = 0; k < 3; k++) d[k] = p[i][k] - p[j][k], r2 += d[k] * d[k];
                double f = 0.001 / (r2 * sqrt(r2));
                for (int k = 0; k < 3; k++) v[i][k] -= d[k] * m[j] * f, v[j][k] += d[k] * m[i] * f;
            }
        for (int i = 0; i < N; i++)
            for (int k = 0; k < 3; k++) p[i][k] += 0.001 * v[i][k];
    }
    printf("%.9f %.9f\n", p[0][0], p[1][1]);
}
