/* AES-128 in counter mode over 1 MiB, many times, four blocks at a time. */
#pragma GCC target("aes")
#include "bench.h"
#include <immintrin.h>
const char bench_name[] = "aes_ni";
uint64_t bench_events;

static __m128i keys[11];

static inline __m128i next(__m128i k, __m128i assist)
{
    k = _mm_xor_si128(k, _mm_slli_si128(k, 4));
    k = _mm_xor_si128(k, _mm_slli_si128(k, 8));
    return _mm_xor_si128(k, _mm_shuffle_epi32(assist, 0xff));
}

static void expand(__m128i k)
{
    keys[0] = k;
#define NEXT(n, rcon) keys[n] = next(keys[n - 1], _mm_aeskeygenassist_si128(keys[n - 1], rcon))
    NEXT(1, 1), NEXT(2, 2), NEXT(3, 4), NEXT(4, 8), NEXT(5, 16);
    NEXT(6, 32), NEXT(7, 64), NEXT(8, 128), NEXT(9, 27), NEXT(10, 54);
}

static inline __m128i encrypt(__m128i v)
{
    v = _mm_xor_si128(v, keys[0]);
    for (int r = 1; r < 10; r++)
        v = _mm_aesenc_si128(v, keys[r]);
    return _mm_aesenclast_si128(v, keys[10]);
}

static void counter_mode(uint8_t *p, uint32_t blocks, uint64_t nonce)
{
    __m128i v[4];
    for (uint64_t n = 0; n < blocks; n += 4, p += 64) {
        for (int i = 0; i < 4; i++)
            v[i] = _mm_xor_si128(_mm_set_epi64x((long long)nonce, (long long)(n + i)), keys[0]);
        for (int r = 1; r < 10; r++)
            for (int i = 0; i < 4; i++)
                v[i] = _mm_aesenc_si128(v[i], keys[r]);
        for (int i = 0; i < 4; i++) {
            __m128i *to = (__m128i *)(p + 16 * i);
            _mm_storeu_si128(to, _mm_xor_si128(_mm_loadu_si128(to), _mm_aesenclast_si128(v[i], keys[10])));
        }
    }
}

uint64_t bench_run(uint8_t *heap)
{
    uint64_t h = 1;
    /* The example of FIPS 197, appendix C.1. */
    expand(_mm_set_epi64x(0x0f0e0d0c0b0a0908ll, 0x0706050403020100ll));
    __m128i r = encrypt(_mm_set_epi64x((long long)0xffeeddccbbaa9988ull, 0x7766554433221100ll));
    if ((uint64_t)r[0] != 0x30047b6ad8e0c469ull || (uint64_t)r[1] != 0x5ac5b47080b7cdd8ull)
        return 0;
    for (int round = 0; round < 160; round++) {
        counter_mode(heap, 1u << 16, (uint64_t)round);
        h = mix(mix(h, *(uint64_t *)(heap + 16 * round)), *(uint64_t *)(heap + (1u << 20) - 8));
        bench_events += 1u << 20;
    }
    return h;
}
