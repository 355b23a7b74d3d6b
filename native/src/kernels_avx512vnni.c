#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,fma,avx512vnni")
#endif
#define VL 16
#define P 12
#define NB 2
#define KERNELS aec__kernels_avx512vnni
#define INSTRUCTIONS "avx512vnni"
#include <immintrin.h>
#define BYTES(sums, a, b) ((ivec)_mm512_dpbusd_epi32((__m512i)(sums), (__m512i)(a), (__m512i)(b)))
#define PRODUCTS(a, b) ((ivec)_mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
#include "kernels.inc.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
