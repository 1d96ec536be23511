/* Five-body gravity, two doubles at a time: packed SSE2. */
#include "bodies.h"
#include <emmintrin.h>
const char bench_name[] = "nbody_sse2";
uint64_t bench_events;

struct body {
    __m128d xy, z, vxy, vz;
    double m;
};

static void step(struct body *b, __m128d dt)
{
    for (int i = 0; i < BODIES; i++)
        for (int j = i + 1; j < BODIES; j++) {
            __m128d dxy = _mm_sub_pd(b[i].xy, b[j].xy), dz = _mm_sub_pd(b[i].z, b[j].z);
            __m128d q = _mm_add_pd(_mm_mul_pd(dxy, dxy), _mm_mul_pd(dz, dz));
            __m128d d2 = _mm_add_pd(_mm_add_pd(q, _mm_shuffle_pd(q, q, 1)), _mm_set1_pd(1e-3));
            __m128d k = _mm_div_pd(dt, _mm_mul_pd(d2, _mm_sqrt_pd(d2)));
            __m128d mi = _mm_mul_pd(k, _mm_set1_pd(b[i].m)), mj = _mm_mul_pd(k, _mm_set1_pd(b[j].m));
            b[i].vxy = _mm_sub_pd(b[i].vxy, _mm_mul_pd(dxy, mj));
            b[i].vz = _mm_sub_pd(b[i].vz, _mm_mul_pd(dz, mj));
            b[j].vxy = _mm_add_pd(b[j].vxy, _mm_mul_pd(dxy, mi));
            b[j].vz = _mm_add_pd(b[j].vz, _mm_mul_pd(dz, mi));
        }
    for (int i = 0; i < BODIES; i++) {
        b[i].xy = _mm_add_pd(b[i].xy, _mm_mul_pd(dt, b[i].vxy));
        b[i].z = _mm_add_pd(b[i].z, _mm_mul_pd(dt, b[i].vz));
    }
}

uint64_t bench_run(uint8_t *heap)
{
    struct body *b = (struct body *)heap;
    uint32_t seed = 11;
    uint64_t h = 1;
    for (int i = 0; i < BODIES; i++) {
        double d[6];
        for (int k = 0; k < 6; k++)
            d[k] = drawn(&seed);
        b[i] = (struct body){_mm_set_pd(d[1], d[0]), _mm_set_pd(0, d[2]), _mm_set_pd(d[4], d[3]), _mm_set_pd(0, d[5]), 1.0 + i};
    }
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < STEPS; i++)
            step(b, _mm_set1_pd(1e-4));
        h = mix(mix(h, bits(b[r % BODIES].xy[0])), bits(b[r % BODIES].z[0]));
    }
    bench_events = ROUNDS * STEPS;
    return h;
}
