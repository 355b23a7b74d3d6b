/* What all of the library needs: errors and checked allocation. */
#ifndef AEC_COMMON_H
#define AEC_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../aec.h"

#define AEC_TILE_UNIT 64          /* pixels; tiles and padded pictures are multiples of it */
#define AEC_STRIDE 16             /* pixels per latent, each way */
#define AEC_MAX_TILE (1u << 22)   /* pixels of a tile, padding included */
#define AEC_QUALITY_MIN 100       /* hundredths */
#define AEC_QUALITY_MAX 10000

/* Fills the error in, unless it is 0, and returns its status. */
aec_status aec__fail(aec_error *error, aec_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Zeroed memory for a * b elements; 0 where that does not fit. Of no elements it is a valid block, too. */
void *aec__alloc(size_t a, size_t b, size_t element);

/* e^x, the same everywhere and to 1 ulp, which of the C library's nobody promises. */
float aec__exp(float x);

static inline uint32_t aec__u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline int aec__min(int a, int b) { return a < b ? a : b; }
static inline int aec__max(int a, int b) { return a > b ? a : b; }
static inline int aec__clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }

#endif
