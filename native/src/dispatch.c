/* Which kernels this machine can run, and what does not depend on that. */
#include "../aec.h"
#include "kernels.h"

#if defined(AEC_KERNELS) /* for tests: these, whatever the machine is */
const kernels *aec__kernels(void) { return &AEC_KERNELS; }
#elif defined(__x86_64__)
#include <cpuid.h>

/* By cpuid itself: __builtin_cpu_supports wants a runtime library that not every compiler brings along. */
const kernels *aec__kernels(void) {
    unsigned a, b, c, d, low, high;
    enum { FMA = 1 << 12, XSAVE = 1 << 27, AVX = 1 << 28 };
    enum { AVX2 = 1 << 5, F = 1 << 16, DQ = 1 << 17, BW = 1 << 30 };
    enum { VNNI = 1 << 11, AVX_VNNI = 1 << 4 };
    const unsigned VL = 1u << 31;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (FMA | XSAVE | AVX)) != (FMA | XSAVE | AVX)) return &aec__kernels_plain;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* which registers the system keeps */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & AVX2) || (low & 6) != 6) return &aec__kernels_plain;
    unsigned wide = F | DQ | BW | VL;
    if ((b & wide) == wide && (low & 0xe6) == 0xe6) return c & VNNI ? &aec__kernels_avx512vnni : &aec__kernels_avx512;
#if AEC_AVXVNNI
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX_VNNI)) return &aec__kernels_avxvnni;
#endif
    return &aec__kernels_avx2;
}
#else
const kernels *aec__kernels(void) { return &aec__kernels_plain; }
#endif

void aec__transform_weights(const float weights[9], float transformed[36]) {
    static const float g[6][3] = {{1 / 4.f, 0, 0},
                                  {-1 / 6.f, -1 / 6.f, -1 / 6.f},
                                  {-1 / 6.f, 1 / 6.f, -1 / 6.f},
                                  {1 / 24.f, 1 / 12.f, 1 / 6.f},
                                  {1 / 24.f, -1 / 12.f, 1 / 6.f},
                                  {0, 0, 1}};
    float half[6][3];
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 3; k++) half[i][k] = g[i][0] * weights[k] + g[i][1] * weights[3 + k] + g[i][2] * weights[6 + k];
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            transformed[6 * i + j] = half[i][0] * g[j][0] + half[i][1] * g[j][1] + half[i][2] * g[j][2];
}

const char *aec_instructions(void) { return aec__kernels()->name; }
