#include "kernels.h"
#if AEC_AVXVNNI
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avxvnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avxvnni")
#endif
#define VL 8
#define P 6
#define NB 2
#define KERNELS aec__kernels_avxvnni
#define INSTRUCTIONS "avxvnni"
#include <immintrin.h>
#define BYTES(sums, a, b) ((ivec)_mm256_dpbusd_avx_epi32((__m256i)(sums), (__m256i)(a), (__m256i)(b)))
#define PRODUCTS(a, b) ((ivec)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#include "kernels.inc.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
