/* Blocks that are coded without loss: docs/format, section 6. */
#ifndef AEC_PATCHES_H
#define AEC_PATCHES_H

#include "common.h"

/* Decodes a WebP file with one lossless picture of this size and nothing else, to ARGB. */
aec_status aec__read_webp(const uint8_t *data, size_t size, int width, int height, uint32_t *argb, aec_error *);

#endif
