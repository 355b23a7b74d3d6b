#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define VL 8
#define P 6
#define NB 2
#define KERNELS aec__kernels_avx2
#define INSTRUCTIONS "avx2"
#include <immintrin.h>
#define PRODUCTS(a, b) ((ivec)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#include "kernels.inc.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
