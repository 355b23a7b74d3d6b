/* Lossless WebP: RFC 9649, sections 3 to 5, with its names. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "bits.h"
#include "patches.h"

enum { LITERALS = 256, LENGTHS = 24, DISTANCES = 40, MOST_CACHE = 11, CODES = 5, MOST_BITS = 15, MOST_TRANSFORMS = 4 };
enum { GREEN, RED, BLUE, ALPHA, DISTANCE };
enum { PREDICTOR, COLOUR, SUBTRACT_GREEN, INDEXING };

typedef struct prefix_code {
    uint16_t counts[MOST_BITS + 1]; /* of each length; all zero: one symbol, of no bits */
    uint16_t *symbols;
} prefix_code;

typedef struct image {
    int width, height;
    uint32_t *pixels;
} image;

typedef struct transform {
    int type, bits, width; /* width: of the picture that it gives */
    image data;
} transform;

typedef struct decoder {
    input in;
    arena memory;
    bool no_memory;
} decoder;

static void *room(decoder *d, size_t a, size_t b, size_t element) {
    void *block = aec__arena_alloc(&d->memory, a, b, element);
    if (!block) d->no_memory = true;
    return block;
}

static int blocks(int side, int bits) { return (side + (1 << bits) - 1) >> bits; }

/* ---- prefix codes ---- */

static bool make_code(decoder *d, prefix_code *c, const uint8_t *lengths, int count) {
    uint16_t starts[MOST_BITS + 2] = {0};
    int used = 0, last = 0, left = 1;
    memset(c->counts, 0, sizeof c->counts);
    for (int i = 0; i < count; i++)
        if (lengths[i]) c->counts[lengths[i]]++, used++, last = i;
    if (!used || !(c->symbols = room(d, used, 1, sizeof *c->symbols))) return false;
    if (used == 1) {
        memset(c->counts, 0, sizeof c->counts);
        c->symbols[0] = (uint16_t)last;
        return true;
    }
    for (int bits = 1; bits <= MOST_BITS; bits++) {
        left = 2 * left - c->counts[bits];
        if (left < 0) return false;
        starts[bits + 1] = starts[bits] + c->counts[bits];
        if (c->counts[bits]) c->counts[0] = 1; /* there are codes of some bits */
    }
    for (int i = 0; i < count; i++)
        if (lengths[i]) c->symbols[starts[lengths[i]]++] = (uint16_t)i;
    return left == 0;
}

static int symbol(decoder *d, const prefix_code *c) {
    if (!c->counts[0]) return c->symbols[0];
    fill(&d->in);
    int first = 0, at = 0, value = 0;
    for (int bits = 1; bits <= MOST_BITS; bits++) {
        value |= (int)(d->in.bits >> (bits - 1) & 1);
        int count = c->counts[bits];
        if (value - first < count) {
            d->in.bits >>= bits;
            d->in.held -= bits;
            return c->symbols[at + value - first];
        }
        at += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    return c->symbols[0]; /* not reached: codes are complete */
}

static bool read_code(decoder *d, prefix_code *c, int alphabet) {
    static const uint8_t order[19] = {17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t lengths[LITERALS + LENGTHS + (1 << MOST_CACHE)] = {0}, own[19] = {0};
    if (take(&d->in, 1)) {
        int two = (int)take(&d->in, 1), first = (int)take(&d->in, take(&d->in, 1) ? 8 : 1);
        int second = two ? (int)take(&d->in, 8) : first;
        if (first >= alphabet || second >= alphabet) return false;
        lengths[first] = lengths[second] = 1;
        return make_code(d, c, lengths, alphabet);
    }
    prefix_code code;
    int count = (int)take(&d->in, 4) + 4, left = alphabet, before = 8;
    for (int i = 0; i < count; i++) own[order[i]] = (uint8_t)take(&d->in, 3);
    if (!make_code(d, &code, own, 19)) return false;
    if (take(&d->in, 1)) {
        int bits = 2 + 2 * (int)take(&d->in, 3);
        left = 2 + (int)take(&d->in, bits);
        if (left > alphabet) return false;
    }
    for (int i = 0; i < alphabet && left; left--) {
        int s = symbol(d, &code), repeat = 1, value = s;
        if (exhausted(&d->in)) return false;
        if (s == 16) repeat = 3 + (int)take(&d->in, 2), value = before;
        else if (s == 17) repeat = 3 + (int)take(&d->in, 3), value = 0;
        else if (s == 18) repeat = 11 + (int)take(&d->in, 7), value = 0;
        else if (s) before = s;
        if (repeat > alphabet - i) return false;
        while (repeat--) lengths[i++] = (uint8_t)value;
    }
    return make_code(d, c, lengths, alphabet);
}

/* ---- entropy-coded images ---- */

static int prefix_value(decoder *d, int code) {
    if (code < 4) return code + 1;
    int bits = (code - 2) >> 1, offset = (2 + (code & 1)) << bits;
    return offset + (int)take(&d->in, bits) + 1;
}

/* Distances 1 to 120 stand for pixels nearby: 8 + column, row, of a hexadecimal digit each. */
static int distance_of(int code, int width) {
    static const uint8_t near[120] = {
        0x18, 0x07, 0x17, 0x19, 0x28, 0x06, 0x27, 0x29, 0x16, 0x1a, 0x26, 0x2a, 0x38, 0x05, 0x37, 0x39, 0x15, 0x1b, 0x36, 0x3a,
        0x25, 0x2b, 0x48, 0x04, 0x47, 0x49, 0x14, 0x1c, 0x35, 0x3b, 0x46, 0x4a, 0x24, 0x2c, 0x58, 0x45, 0x4b, 0x34, 0x3c, 0x03,
        0x57, 0x59, 0x13, 0x1d, 0x56, 0x5a, 0x23, 0x2d, 0x44, 0x4c, 0x55, 0x5b, 0x33, 0x3d, 0x68, 0x02, 0x67, 0x69, 0x12, 0x1e,
        0x66, 0x6a, 0x22, 0x2e, 0x54, 0x5c, 0x43, 0x4d, 0x65, 0x6b, 0x32, 0x3e, 0x78, 0x01, 0x77, 0x79, 0x53, 0x5d, 0x11, 0x1f,
        0x64, 0x6c, 0x42, 0x4e, 0x76, 0x7a, 0x21, 0x2f, 0x75, 0x7b, 0x31, 0x3f, 0x63, 0x6d, 0x52, 0x5e, 0x00, 0x74, 0x7c, 0x41,
        0x4f, 0x10, 0x20, 0x62, 0x6e, 0x30, 0x73, 0x7d, 0x51, 0x5f, 0x40, 0x72, 0x7e, 0x61, 0x6f, 0x50, 0x71, 0x7f, 0x60, 0x70};
    if (code > 120) return code - 120;
    int y = near[code - 1] >> 4, x = 8 - (near[code - 1] & 15), distance = y * width + x;
    return distance < 1 ? 1 : distance;
}

static bool read_pixels(decoder *d, image *out, const prefix_code (*groups)[CODES], const image *numbers, int bits, int cache_bits) {
    uint32_t *cache = cache_bits ? room(d, (size_t)1 << cache_bits, 1, sizeof *cache) : NULL;
    size_t count = (size_t)out->width * out->height, at = 0;
    if (cache_bits && !cache) return false;
    int x = 0, y = 0;
    while (at < count) {
        const prefix_code *codes = groups[numbers ? numbers->pixels[(size_t)(y >> bits) * numbers->width + (x >> bits)] >> 8 & 0xffff : 0];
        int s = symbol(d, &codes[GREEN]), length = 1;
        if (exhausted(&d->in)) return false;
        if (s < LITERALS) {
            uint32_t red = (uint32_t)symbol(d, &codes[RED]), blue = (uint32_t)symbol(d, &codes[BLUE]);
            out->pixels[at] = (uint32_t)symbol(d, &codes[ALPHA]) << 24 | red << 16 | (uint32_t)s << 8 | blue;
        } else if (s < LITERALS + LENGTHS) {
            length = prefix_value(d, s - LITERALS);
            int code = prefix_value(d, symbol(d, &codes[DISTANCE])), distance = distance_of(code, out->width);
            if ((size_t)distance > at || (size_t)length > count - at) return false;
            for (int i = 0; i < length; i++) out->pixels[at + i] = out->pixels[at + i - distance];
        } else {
            out->pixels[at] = cache[s - LITERALS - LENGTHS];
        }
        for (; length; length--, at++) {
            if (cache) cache[(0x1e35a7bdu * out->pixels[at]) >> (32 - cache_bits)] = out->pixels[at];
            if (++x == out->width) x = 0, y++;
        }
    }
    return !exhausted(&d->in);
}

static bool read_image(decoder *d, image *out, bool may_have_groups) {
    int cache_bits = take(&d->in, 1) ? (int)take(&d->in, 4) : -1, bits = 0, count = 1;
    if (cache_bits == 0 || cache_bits > MOST_CACHE) return false;
    if (cache_bits < 0) cache_bits = 0;
    image numbers = {0, 0, NULL};
    if (may_have_groups && take(&d->in, 1)) {
        bits = (int)take(&d->in, 3) + 2;
        numbers.width = blocks(out->width, bits), numbers.height = blocks(out->height, bits);
        if (!read_image(d, &numbers, false)) return false;
        for (size_t i = 0; i < (size_t)numbers.width * numbers.height; i++)
            count = aec__max(count, (int)(numbers.pixels[i] >> 8 & 0xffff) + 1);
    }
    if ((size_t)count > 8 * (d->in.count ? d->in.parts->size - d->in.at : 0) + 64) return false; /* a group has several bits */
    prefix_code(*groups)[CODES] = room(d, count, CODES, sizeof(prefix_code));
    if (!groups) return false;
    for (int g = 0; g < count; g++)
        for (int k = 0; k < CODES; k++) {
            int alphabet = k == GREEN ? LITERALS + LENGTHS + (cache_bits ? 1 << cache_bits : 0) : k == DISTANCE ? DISTANCES : LITERALS;
            if (!read_code(d, &groups[g][k], alphabet) || exhausted(&d->in)) return false;
        }
    out->pixels = room(d, out->width, out->height, sizeof *out->pixels);
    return out->pixels && read_pixels(d, out, (const prefix_code(*)[CODES])groups, numbers.pixels ? &numbers : NULL, bits, cache_bits);
}

/* ---- transforms, undone ---- */

static uint32_t added(uint32_t a, uint32_t b) { /* each channel by itself */
    return (((a & 0xff00ff00u) + (b & 0xff00ff00u)) & 0xff00ff00u) | (((a & 0x00ff00ffu) + (b & 0x00ff00ffu)) & 0x00ff00ffu);
}

static uint32_t mean(uint32_t a, uint32_t b) { return (((a ^ b) & 0xfefefefeu) >> 1) + (a & b); }
static int channel(uint32_t a, int shift) { return (int)(a >> shift & 255); }

static uint32_t selected(uint32_t left, uint32_t top, uint32_t corner) {
    int by_left = 0, by_top = 0;
    for (int s = 0; s < 32; s += 8) {
        by_left += abs(channel(top, s) - channel(corner, s));
        by_top += abs(channel(left, s) - channel(corner, s));
    }
    return by_left < by_top ? left : top;
}

static uint32_t gradient(uint32_t left, uint32_t top, uint32_t corner, bool half) {
    uint32_t out = 0, middle = mean(left, top);
    for (int s = 0; s < 32; s += 8) {
        int a = channel(half ? middle : left, s), b = channel(corner, s);
        int value = half ? a + (a - b) / 2 : a + channel(top, s) - b;
        out |= (uint32_t)aec__clamp(value, 0, 255) << s;
    }
    return out;
}

static uint32_t predicted(int mode, uint32_t l, uint32_t t, uint32_t tr, uint32_t tl) {
    switch (mode) {
    case 1: return l;
    case 2: return t;
    case 3: return tr;
    case 4: return tl;
    case 5: return mean(mean(l, tr), t);
    case 6: return mean(l, tl);
    case 7: return mean(l, t);
    case 8: return mean(tl, t);
    case 9: return mean(t, tr);
    case 10: return mean(mean(l, tl), mean(t, tr));
    case 11: return selected(l, t, tl);
    case 12: return gradient(l, t, tl, false);
    case 13: return gradient(l, t, tl, true);
    default: return 0xff000000u;
    }
}

static void undo_predictor(const transform *t, image *p) {
    for (int y = 0; y < p->height; y++) {
        uint32_t *row = p->pixels + (size_t)y * p->width, *above = y ? row - p->width : NULL;
        const uint32_t *modes = t->data.pixels + (size_t)(y >> t->bits) * t->data.width;
        for (int x = 0; x < p->width; x++) {
            uint32_t guess;
            if (!y) guess = x ? row[x - 1] : 0xff000000u;
            else if (!x) guess = above[0];
            else guess = predicted(channel(modes[x >> t->bits], 8) & 15, row[x - 1], above[x], above[x + 1], above[x - 1]);
            row[x] = added(row[x], guess); /* beside the last of a row above is the first of this one */
        }
    }
}

static int shifted(uint32_t a, uint32_t b) { return ((int8_t)(a & 255) * (int8_t)(b & 255)) >> 5; }

static void undo_colour(const transform *t, image *p) {
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            uint32_t *own = p->pixels + (size_t)y * p->width + x;
            uint32_t by = t->data.pixels[(size_t)(y >> t->bits) * t->data.width + (x >> t->bits)], green = *own >> 8;
            uint32_t red = (*own >> 16) + (uint32_t)shifted(by, green);
            uint32_t blue = *own + (uint32_t)shifted(by >> 8, green) + (uint32_t)shifted(by >> 16, red);
            *own = (*own & 0xff00ff00u) | (red & 255) << 16 | (blue & 255);
        }
}

static void undo_green(image *p) {
    for (size_t i = 0; i < (size_t)p->width * p->height; i++) {
        uint32_t green = p->pixels[i] >> 8 & 255;
        p->pixels[i] = added(p->pixels[i], green << 16 | green);
    }
}

static bool undo_indexing(decoder *d, const transform *t, image *p) {
    image out = {t->width, p->height, room(d, t->width, p->height, sizeof *out.pixels)};
    if (!out.pixels) return false;
    int per = 1 << t->bits, bits = 8 >> t->bits;
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++) {
            int index = channel(p->pixels[(size_t)y * p->width + x / per], 8) >> x % per * bits & ((1 << bits) - 1);
            out.pixels[(size_t)y * out.width + x] = index < t->data.width ? t->data.pixels[index] : 0;
        }
    *p = out;
    return true;
}

static bool read_transform(decoder *d, transform *t, int *width, int height) {
    t->width = *width;
    if (t->type == SUBTRACT_GREEN) return true;
    if (t->type == INDEXING) {
        int size = (int)take(&d->in, 8) + 1;
        t->data = (image){size, 1, NULL};
        t->bits = size <= 2 ? 3 : size <= 4 ? 2 : size <= 16 ? 1 : 0;
        if (!read_image(d, &t->data, false)) return false;
        for (int i = 1; i < size; i++) t->data.pixels[i] = added(t->data.pixels[i], t->data.pixels[i - 1]);
        *width = blocks(*width, t->bits);
        return true;
    }
    t->bits = (int)take(&d->in, 3) + 2;
    t->data = (image){blocks(*width, t->bits), blocks(height, t->bits), NULL};
    return read_image(d, &t->data, false);
}

static bool read_picture(decoder *d, int width, int height, image *out) {
    transform transforms[MOST_TRANSFORMS];
    int count = 0, seen = 0, coded = width;
    while (take(&d->in, 1)) {
        transform *t = &transforms[count];
        int type = (int)take(&d->in, 2);
        if (seen >> type & 1) return false;
        seen |= 1 << type;
        *t = (transform){.type = type};
        if (!read_transform(d, t, &coded, height) || exhausted(&d->in)) return false;
        count++;
    }
    *out = (image){coded, height, NULL};
    if (!read_image(d, out, true)) return false;
    while (count--) {
        const transform *t = &transforms[count];
        if (t->type == PREDICTOR) undo_predictor(t, out);
        else if (t->type == COLOUR) undo_colour(t, out);
        else if (t->type == SUBTRACT_GREEN) undo_green(out);
        else if (!undo_indexing(d, t, out)) return false;
    }
    return true;
}

aec_status aec__read_webp(const uint8_t *data, size_t size, int width, int height, uint32_t *argb, aec_error *error) {
    static const uint8_t name[8] = {'W', 'E', 'B', 'P', 'V', 'P', '8', 'L'};
    bool fits = size >= 25 && size < UINT32_MAX && !memcmp(data, "RIFF", 4) && !memcmp(data + 8, name, 8) && data[20] == 0x2f;
    if (fits) {
        uint32_t chunk = aec__u32(data + 16), sides = aec__u32(data + 21);
        fits = aec__u32(data + 4) + (uint64_t)8 == size && ((uint64_t)chunk + 1) / 2 * 2 + 20 == size;
        fits = fits && (int)(sides & 0x3fff) + 1 == width && (int)(sides >> 14 & 0x3fff) + 1 == height && !(sides >> 29);
    }
    if (!fits) return aec__fail(error, AEC_FORMAT, "chunk PTCH holds what is no lossless WebP of %dx%d pixels", width, height);
    part rest = {data + 25, size - 25};
    decoder d = {.in = {&rest, 1, 0, 0, 0, 0}};
    image out;
    aec_status status = AEC_OK;
    if (read_picture(&d, width, height, &out)) memcpy(argb, out.pixels, (size_t)width * height * sizeof *argb);
    else if (d.no_memory) status = aec__fail(error, AEC_MEMORY, "no memory for a lossless block");
    else status = aec__fail(error, AEC_FORMAT, "damaged chunk PTCH");
    aec__arena_free(&d.memory);
    return status;
}
