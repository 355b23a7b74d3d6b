/* Bits of a stream, the lowest of a byte first, as Deflate and lossless WebP have them. */
#ifndef AEC_BITS_H
#define AEC_BITS_H

#include "png.h"

typedef struct input {
    const part *parts;
    size_t count, at; /* parts that are left, place in the first */
    uint64_t bits;
    int held;
    int beyond; /* zero bytes that were read after the end */
} input;

static inline void fill(input *in) {
    while (in->held <= 56) {
        while (in->count && in->at == in->parts->size) in->parts++, in->count--, in->at = 0;
        uint64_t byte = 0;
        if (in->count) byte = in->parts->data[in->at++];
        else in->beyond++;
        in->bits |= byte << in->held;
        in->held += 8;
    }
}

/* Up to 24 bits. */
static inline unsigned take(input *in, int count) {
    fill(in);
    unsigned value = (unsigned)(in->bits & ((1u << count) - 1));
    in->bits >>= count;
    in->held -= count;
    return value;
}

/* Whether more was read than there is. */
static inline bool exhausted(const input *in) { return in->beyond * 8 > in->held; }

/* Whether all there is was read; at the end of a byte. */
static inline bool ended(const input *in) {
    size_t left = 0;
    for (size_t i = 0; i < in->count; i++) left += in->parts[i].size;
    return left == in->at && in->held == in->beyond * 8;
}

#endif
