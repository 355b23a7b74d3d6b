/* What every machine of an architecture has: SSE2, NEON, WebAssembly's vectors. */
#define VL 4
#define NB 2
#if defined(__aarch64__)
#include <arm_neon.h>
#define P 8
#define INSTRUCTIONS "neon"
#define PRODUCTS(a, b) ((ivec)products_of((int16x8_t)(a), (int16x8_t)(b)))
static inline int32x4_t products_of(int16x8_t a, int16x8_t b) {
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}
#else
#define P 4
#if defined(__wasm_simd128__)
#define INSTRUCTIONS "simd128"
typedef short shorts __attribute__((vector_size(16)));
#define PRODUCTS(a, b) ((ivec)__builtin_wasm_dot_s_i32x4_i16x8((shorts)(a), (shorts)(b)))
#elif defined(__SSE2__)
#include <emmintrin.h>
#define INSTRUCTIONS "plain"
#define PRODUCTS(a, b) ((ivec)_mm_madd_epi16((__m128i)(a), (__m128i)(b)))
#else
#define INSTRUCTIONS "plain"
#endif
#endif
#define KERNELS aec__kernels_plain
#include "kernels.inc.h"
