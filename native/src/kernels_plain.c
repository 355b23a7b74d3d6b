/* What every machine of an architecture has: SSE2, NEON, WebAssembly's vectors. */
#include <stdint.h>

#define VL 4
#define NB 2
#if defined(__aarch64__)
#define P 8
#define INSTRUCTIONS "neon"
#else
#define P 4
#if defined(__wasm_simd128__)
#define INSTRUCTIONS "simd128"
typedef int16_t pairs __attribute__((vector_size(16)));
#define PRODUCTS(a, b) ((ivec)__builtin_wasm_dot_s_i32x4_i16x8((pairs)(a), (pairs)(b)))
#else
#define INSTRUCTIONS "plain"
#endif
#endif
#define KERNELS aec__kernels_plain
#include "kernels.inc.h"
