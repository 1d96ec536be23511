/* Copies of 64 to 4096 bytes, three ways. Phases: REP MOVSB, SSE2 and AVX2 moves. */
#include "enable.h"
#include <immintrin.h>
const char bench_name[] = "memcpy";
uint64_t bench_events;

static void rep(uint8_t *to, const uint8_t *from, uint64_t n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

static void sse2(uint8_t *to, const uint8_t *from, uint64_t n)
{
    for (uint64_t k = 0; k < n; k += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(from + k)), b = _mm_loadu_si128((const __m128i *)(from + k + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(from + k + 32)), d = _mm_loadu_si128((const __m128i *)(from + k + 48));
        _mm_storeu_si128((__m128i *)(to + k), a);
        _mm_storeu_si128((__m128i *)(to + k + 16), b);
        _mm_storeu_si128((__m128i *)(to + k + 32), c);
        _mm_storeu_si128((__m128i *)(to + k + 48), d);
    }
}

__attribute__((target("avx2"))) static void avx2(uint8_t *to, const uint8_t *from, uint64_t n)
{
    for (uint64_t k = 0; k < n; k += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(from + k)), b = _mm256_loadu_si256((const __m256i *)(from + k + 32));
        _mm256_storeu_si256((__m256i *)(to + k), a);
        _mm256_storeu_si256((__m256i *)(to + k + 32), b);
    }
    _mm256_zeroupper();
}

static uint64_t copies(void (*copy)(uint8_t *, const uint8_t *, uint64_t), uint8_t *heap, uint32_t many, uint64_t h)
{
    uint8_t *a = heap, *b = heap + (8u << 20);
    uint32_t seed = 5;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < many; i++) {
        uint32_t x = lcg(&seed), n = 64 * ((x >> 26) + 1), from = (x >> 4) & 0xfffff;
        uint8_t *to = b + (x * 2654435761u >> 12);
        copy(to, a + from, n);
        h = mix(h, to[n - 1] | (uint64_t)to[n / 2] << 8);
        bytes += n;
    }
    bench_events += bytes;
    return h;
}

uint64_t bench_run(uint8_t *heap)
{
    enable_avx();
    for (uint32_t i = 0; i < (2u << 20); i++)
        heap[i] = (uint8_t)(i * 131 >> 3);
    uint64_t h = copies(rep, heap, 150000, 1);
    bench_phase("movsb", bench_events);
    h = copies(sse2, heap, 1000000, h);
    bench_phase("sse2", bench_events);
    h = copies(avx2, heap, 1500000, h);
    bench_phase("avx2", bench_events);
    return h;
}
