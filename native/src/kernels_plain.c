/* What every machine of an architecture has: SSE2, NEON, WebAssembly's vectors. */
#define VL 4
#define NB 2
#if defined(__aarch64__)
#define P 8
#define INSTRUCTIONS "neon"
#else
#define P 4
#if defined(__wasm_simd128__)
#define INSTRUCTIONS "simd128"
#else
#define INSTRUCTIONS "plain"
#endif
#endif
#define KERNELS aec__kernels_plain
#include "kernels.inc.h"
