/* Lets AVX instructions run: CR4.OSXSAVE, then x87, SSE and AVX in XCR0. The native program finds that done. */
#ifndef ENABLE_H
#define ENABLE_H
#include "bench.h"

static inline void enable_avx(void)
{
    uint16_t cs;
    __asm__("mov %%cs, %0" : "=r"(cs));
    if (cs & 3)
        return;
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | 1 << 18));
    __asm__ volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
}
#endif
