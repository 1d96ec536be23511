/* Five bodies from the same seed for both kinds of vectors. */
#ifndef BODIES_H
#define BODIES_H
#include "bench.h"

enum { BODIES = 5, ROUNDS = 1000, STEPS = 1000 };

static inline double drawn(uint32_t *seed)
{
    return (double)(int32_t)lcg(seed) / 2147483648.0;
}

static inline uint64_t bits(double d)
{
    union {
        double d;
        uint64_t u;
    } u = {d};
    return u.u;
}
#endif
