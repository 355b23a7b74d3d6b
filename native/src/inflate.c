#include <string.h>

#include "bits.h"

enum { MOST_BITS = 15, FAST_BITS = 10, LITERALS = 288, DISTANCES = 32 };

/* Canonical Huffman code: short codes are looked up, long ones are counted out. */
typedef struct code {
    uint16_t fast[1 << FAST_BITS]; /* symbol << 4 | length, 0 if the code is longer */
    uint16_t counts[MOST_BITS + 1], symbols[LITERALS];
} code;

static bool make_code(code *c, const uint8_t *lengths, int count) {
    uint16_t starts[MOST_BITS + 2] = {0};
    memset(c, 0, sizeof *c);
    for (int i = 0; i < count; i++) c->counts[lengths[i]]++;
    int used = count - c->counts[0], left = 1;
    c->counts[0] = 0;
    for (int bits = 1; bits <= MOST_BITS; bits++) {
        left = 2 * left - c->counts[bits];
        if (left < 0) return false; /* more codes than there is room for */
        starts[bits + 1] = starts[bits] + c->counts[bits];
    }
    if (left && used > 1) return false; /* only a code of one symbol may be incomplete */
    for (int i = 0; i < count; i++)
        if (lengths[i]) c->symbols[starts[lengths[i]]++] = (uint16_t)i;
    unsigned next = 0;
    for (int bits = 1, at = 0; bits <= FAST_BITS; bits++, next <<= 1)
        for (int i = 0; i < c->counts[bits]; i++, next++, at++) {
            unsigned reversed = 0;
            for (int k = 0; k < bits; k++) reversed |= (next >> k & 1) << (bits - 1 - k);
            for (unsigned k = reversed; k < 1u << FAST_BITS; k += 1u << bits)
                c->fast[k] = (uint16_t)(c->symbols[at] << 4 | bits);
        }
    return true;
}

static int symbol(input *in, const code *c) {
    fill(in);
    unsigned entry = c->fast[in->bits & ((1 << FAST_BITS) - 1)];
    if (entry) {
        in->bits >>= entry & 15;
        in->held -= entry & 15;
        return (int)(entry >> 4);
    }
    int first = 0, at = 0, value = 0;
    for (int bits = 1; bits <= MOST_BITS; bits++) {
        value |= (int)(in->bits >> (bits - 1) & 1);
        int count = c->counts[bits];
        if (value - first < count) {
            in->bits >>= bits;
            in->held -= bits;
            return c->symbols[at + value - first];
        }
        at += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    return -1;
}

static bool read_codes(input *in, code *literals, code *distances) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[LITERALS + DISTANCES] = {0};
    int n = (int)take(in, 5) + 257, m = (int)take(in, 5) + 1, k = (int)take(in, 4) + 4;
    if (n > 286 || m > 30) return false;
    for (int i = 0; i < k; i++) lengths[order[i]] = (uint8_t)take(in, 3);
    if (!make_code(literals, lengths, 19)) return false;
    memset(lengths, 0, sizeof lengths);
    for (int i = 0; i < n + m;) {
        int s = symbol(in, literals), repeat, value = 0;
        if (s < 0 || exhausted(in)) return false;
        if (s < 16) {
            lengths[i++] = (uint8_t)s;
            continue;
        }
        if (s == 16) {
            if (!i) return false;
            value = lengths[i - 1], repeat = 3 + (int)take(in, 2);
        } else {
            repeat = s == 17 ? 3 + (int)take(in, 3) : 11 + (int)take(in, 7);
        }
        if (i + repeat > n + m) return false;
        while (repeat--) lengths[i++] = (uint8_t)value;
    }
    return lengths[256] && make_code(literals, lengths, n) && make_code(distances, lengths + n, m);
}

static void fixed_codes(code *literals, code *distances) {
    uint8_t lengths[LITERALS];
    for (int i = 0; i < LITERALS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_code(literals, lengths, LITERALS);
    memset(lengths, 5, 32); /* the last two are never valid, but make the code complete */
    make_code(distances, lengths, 32);
}

static bool inflate_block(input *in, const code *literals, const code *distances, uint8_t *out, size_t *at, size_t expected) {
    static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                             31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distance_base[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                               193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    for (;;) {
        int s = symbol(in, literals);
        if (s < 0 || exhausted(in)) return false;
        if (s < 256) {
            if (*at == expected) return false;
            out[(*at)++] = (uint8_t)s;
            continue;
        }
        if (s == 256) return true;
        if (s > 285) return false;
        size_t length = length_base[s - 257] + take(in, length_bits[s - 257]);
        int d = symbol(in, distances);
        if (d < 0 || d > 29) return false;
        size_t distance = distance_base[d] + take(in, d < 2 ? 0 : d / 2 - 1);
        if (distance > *at || length > expected - *at) return false;
        for (; length; length--, (*at)++) out[*at] = out[*at - distance];
    }
}

static uint32_t adler(const uint8_t *data, size_t size) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < size;) {
        size_t end = size - i > 5552 ? i + 5552 : size; /* as many as fit without overflow */
        for (; i < end; i++) a += data[i], b += a;
        a %= 65521, b %= 65521;
    }
    return b << 16 | a;
}

bool aec__inflate(const part *parts, size_t count, uint8_t *out, size_t expected) {
    input in = {parts, count, 0, 0, 0, 0};
    code literals, distances;
    size_t at = 0;
    unsigned method = take(&in, 8), flags = take(&in, 8);
    if ((method & 15) != 8 || method >> 4 > 7 || (method << 8 | flags) % 31 || flags & 32) return false;
    bool last;
    do {
        last = take(&in, 1);
        unsigned type = take(&in, 2);
        if (type == 0) {
            take(&in, in.held & 7);
            unsigned length = take(&in, 16), inverse = take(&in, 16);
            if ((length ^ inverse) != 0xffff || length > expected - at) return false;
            for (; length && !exhausted(&in); length--) out[at++] = (uint8_t)take(&in, 8);
        } else if (type == 1) {
            fixed_codes(&literals, &distances);
            if (!inflate_block(&in, &literals, &distances, out, &at, expected)) return false;
        } else if (type == 2) {
            if (!read_codes(&in, &literals, &distances)) return false;
            if (!inflate_block(&in, &literals, &distances, out, &at, expected)) return false;
        } else {
            return false;
        }
        if (exhausted(&in)) return false;
    } while (!last);
    take(&in, in.held & 7);
    uint32_t sum = 0;
    for (int i = 0; i < 4; i++) sum = sum << 8 | take(&in, 8);
    return at == expected && ended(&in) && sum == adler(out, at);
}
