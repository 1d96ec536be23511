/* SHA-256 of a 1 MiB buffer by the SHA extensions; buffers and checksum are those of the plain sha256 guest. */
#pragma GCC target("sha,sse4.1")
#include "bench.h"
#include <immintrin.h>
const char bench_name[] = "sha_ni";
uint64_t bench_events;

static uint32_t K[64] __attribute__((aligned(16))), H0[8];

/* The first 32 bits behind the point of the square (r 2) or cube (r 3) root of p. */
static uint32_t fraction(uint32_t p, int r)
{
    uint64_t root = 0;
    for (int bit = 36; bit >= 0; bit--) {
        unsigned __int128 x = root | (uint64_t)1 << bit;
        if (r == 2 ? x * x <= (unsigned __int128)p << 64 : x * x * x <= (unsigned __int128)p << 96)
            root = (uint64_t)x;
    }
    return (uint32_t)root;
}

static void constants(void)
{
    for (uint32_t p = 2, n = 0, d; n < 64; p++) {
        for (d = 2; d < p && p % d; d++)
            ;
        if (d < p)
            continue;
        if (n < 8)
            H0[n] = fraction(p, 2);
        K[n++] = fraction(p, 3);
    }
}

static void blocks(uint32_t *s, const uint8_t *p, uint64_t many)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bll, 0x0405060700010203ll);
    __m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)s), 0xb1);
    __m128i u = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(s + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(t, u, 8), cdgh = _mm_blend_epi16(u, t, 0xf0);
    for (; many; many--, p += 64) {
        __m128i m[4], old1 = abef, old2 = cdgh;
        for (int i = 0; i < 4; i++)
            m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i k = _mm_add_epi32(m[i & 3], _mm_load_si128((const __m128i *)(K + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0e));
            if (i < 12) {
                __m128i w = _mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]);
                w = _mm_add_epi32(w, _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4));
                m[i & 3] = _mm_sha256msg2_epu32(w, m[(i + 3) & 3]);
            }
        }
        abef = _mm_add_epi32(abef, old1);
        cdgh = _mm_add_epi32(cdgh, old2);
    }
    t = _mm_shuffle_epi32(abef, 0x1b);
    u = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)s, _mm_blend_epi16(t, u, 0xf0));
    _mm_storeu_si128((__m128i *)(s + 4), _mm_alignr_epi8(u, t, 8));
}

static void sha256(const uint8_t *p, uint64_t bytes, uint32_t *s)
{
    uint8_t tail[128];
    uint64_t full = bytes / 64, rest = bytes % 64, end = rest < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        s[i] = H0[i];
    blocks(s, p, full);
    for (uint64_t i = 0; i < end; i++)
        tail[i] = i < rest ? p[64 * full + i] : i == rest ? 0x80 : i >= end - 8 ? (uint8_t)((bytes * 8) >> (8 * (end - 1 - i))) : 0;
    blocks(s, tail, end / 64);
}

uint64_t bench_run(uint8_t *heap)
{
    uint32_t s[8], seed = 7;
    uint64_t h = 1;
    constants();
    sha256((const uint8_t *)"abc", 3, s);
    if (s[0] != 0xba7816bf || s[7] != 0xf20015ad)
        return 0;
    for (uint32_t i = 0; i < 1u << 20; i++)
        heap[i] = (uint8_t)(lcg(&seed) >> 24);
    for (int r = 0; r < 26; r++) {
        sha256(heap, (1u << 20) - 5 * r, s);
        for (int i = 0; i < 8; i++)
            h = mix(h, s[i]);
        heap[r] ^= (uint8_t)h;
        bench_events += 1u << 20;
    }
    return h;
}
