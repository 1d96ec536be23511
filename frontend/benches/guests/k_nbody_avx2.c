/* Five-body gravity, four doubles at a time: AVX2 with FMA. The fourth is zero. */
#pragma GCC target("avx2,fma")
#include "bodies.h"
#include "enable.h"
#include <immintrin.h>
const char bench_name[] = "nbody_avx2";
uint64_t bench_events;

struct body {
    __m256d at, v;
    double m;
};

static void step(struct body *b, __m256d dt)
{
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            __m256d d = _mm256_sub_pd(b[i].at, b[j].at);
            __m256d q = _mm256_mul_pd(d, d);
            q = _mm256_hadd_pd(q, q);
            __m256d d2 = _mm256_add_pd(_mm256_add_pd(q, _mm256_permute4x64_pd(q, 0x4e)), _mm256_set1_pd(1e-3));
            __m256d k = _mm256_div_pd(dt, _mm256_mul_pd(d2, _mm256_sqrt_pd(d2)));
            b[i].v = _mm256_fnmadd_pd(d, _mm256_mul_pd(k, _mm256_set1_pd(b[j].m)), b[i].v);
            b[j].v = _mm256_fmadd_pd(d, _mm256_mul_pd(k, _mm256_set1_pd(b[i].m)), b[j].v);
        }
    for (int i = 0; i < BODIES; i++)
        b[i].at = _mm256_fmadd_pd(dt, b[i].v, b[i].at);
}

uint64_t bench_run(uint8_t *heap)
{
    enable_avx();
    struct body *b = (struct body *)heap;
    uint32_t seed = 11;
    uint64_t h = 1;
    for (int i = 0; i < BODIES; i++) {
        double d[6];
        for (int k = 0; k < 6; k++)
            d[k] = drawn(&seed);
        b[i] = (struct body){_mm256_set_pd(0, d[2], d[1], d[0]), _mm256_set_pd(0, d[5], d[4], d[3]), 1.0 + i};
    }
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < STEPS; i++)
            step(b, _mm256_set1_pd(1e-4));
        h = mix(mix(h, bits(b[r % BODIES].at[0])), bits(b[r % BODIES].at[2]));
    }
    bench_events = ROUNDS * STEPS;
    return h;
}
