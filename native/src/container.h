/* The .aec file, taken apart: docs/format, section 1. */
#ifndef AEC_CONTAINER_H
#define AEC_CONTAINER_H

#include "common.h"

#define AEC_MAX_CHUNKS 64

typedef struct chunk {
    char type[5];
    const uint8_t *data;
    size_t size;
} chunk;

typedef struct tile_bytes {
    const uint8_t *data;
    size_t size;
    bool lost;
} tile_bytes;

struct aec_file {
    const uint8_t *data;
    size_t size;
    aec_info info;
    int padded_width, padded_height; /* pixels */
    int side, rows, columns;         /* of the tiles; side in pixels, of the padded picture if there is only one */
    chunk chunks[AEC_MAX_CHUNKS];
    tile_bytes *tiles; /* row by row */
    char **damages;
};

uint32_t aec__crc(uint32_t before, const uint8_t *data, size_t size); /* CRC-32 of zlib; 0 before the first byte */

#endif
