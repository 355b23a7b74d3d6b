/* The alpha plane: a PNG, grey, of the picture's size, with nothing in it but header, data and end. */
#ifndef AEC_PNG_H
#define AEC_PNG_H

#include "common.h"

/* Decodes to rows, each 1 + width * bytes long, of which the first byte is to be ignored; samples of 2 bytes have the upper
 * one first. bytes: 1 or 2. */
aec_status aec__read_alpha(const uint8_t *data, size_t size, uint32_t width, uint32_t height, int bytes, uint8_t **rows,
                           aec_error *);

/* zlib's format (RFC 1950 and 1951), from parts that follow one another as if they were one and hold
 * nothing else, to exactly `expected` bytes. */
typedef struct part {
    const uint8_t *data;
    size_t size;
} part;
bool aec__inflate(const part *parts, size_t count, uint8_t *out, size_t expected);

#endif
