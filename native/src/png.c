#include "png.h"

#include <stdlib.h>
#include <string.h>

#include "container.h"

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint8_t paeth(int left, int above, int corner) {
    int p = left + above - corner, a = abs(p - left), b = abs(p - above), c = abs(p - corner);
    return (uint8_t)(a <= b && a <= c ? left : b <= c ? above : corner);
}

/* Undoes the filter of a row in place; above: the row before it, or 0. size, bytes: of the row, of a sample. */
static bool unfilter(int filter, uint8_t *row, const uint8_t *above, size_t size, size_t bytes) {
    for (size_t x = 0; x < size; x++) {
        int left = x < bytes ? 0 : row[x - bytes], up = above ? above[x] : 0, corner = above && x >= bytes ? above[x - bytes] : 0, add;
        switch (filter) {
        case 0: return true;
        case 1: add = left; break;
        case 2: add = up; break;
        case 3: add = (left + up) / 2; break;
        case 4: add = paeth(left, up, corner); break;
        default: return false;
        }
        row[x] = (uint8_t)(row[x] + add);
    }
    return true;
}

aec_status aec__read_alpha(const uint8_t *data, size_t size, uint32_t width, uint32_t height, int bytes, uint8_t **rows,
                           aec_error *error) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    enum { HEADER, DATA, END } place = HEADER;
    size_t at = 8, count = 0, room = 0, pitch = 1 + (size_t)width * bytes, expected = pitch * height;
    part *parts = NULL;
    uint8_t *raw = NULL;
    const char *wrong = "it is no PNG";
    aec_status status = AEC_FORMAT;
    if (size < 8 || memcmp(data, signature, 8)) goto end;
    while (at < size) {
        wrong = "a chunk is damaged, or none that it may have";
        if (size - at < 12) goto end;
        size_t length = big_endian(data + at);
        const uint8_t *type = data + at + 4, *content = type + 4;
        if (length > size - at - 12) goto end;
#ifndef AEC_FUZZING
        if (big_endian(content + length) != aec__crc(0, type, length + 4)) goto end;
#endif
        if (place == HEADER && !memcmp(type, "IHDR", 4)) {
            wrong = "it has another size or kind than expected";
            if (length != 13 || big_endian(content) != width || big_endian(content + 4) != height) goto end;
            if (content[8] != 8 * bytes || content[9] || content[10] || content[11] || content[12]) goto end;
            place = DATA;
        } else if (place == DATA && !memcmp(type, "IDAT", 4)) {
            if (count == room) {
                room = room ? 2 * room : 16;
                part *grown = realloc(parts, room * sizeof *grown);
                if (!grown) {
                    status = AEC_MEMORY;
                    goto end;
                }
                parts = grown;
            }
            parts[count++] = (part){content, length};
        } else if (place == DATA && !memcmp(type, "IEND", 4) && !length && at + 12 == size) {
            place = END;
        } else {
            goto end;
        }
        at += length + 12;
    }
    wrong = "it has no end";
    if (place != END) goto end;
    /* Deflate makes at most 1032 bytes of one: a small chunk cannot ask for the memory of a large plane. */
    wrong = "its data do not fill the plane";
    if (expected / 1100 > size) goto end;
    raw = aec__alloc(expected, 1, 1);
    if (!raw) {
        status = AEC_MEMORY;
        goto end;
    }
    if (!aec__inflate(parts, count, raw, expected)) goto end;
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *row = raw + y * pitch;
        if (!unfilter(row[0], row + 1, y ? row + 1 - pitch : NULL, pitch - 1, bytes)) goto end;
    }
    status = AEC_OK;
end:
    free(parts);
    if (status) free(raw);
    else *rows = raw;
    if (status == AEC_MEMORY) aec__fail(error, status, "no memory for the alpha plane");
    if (status == AEC_FORMAT) aec__fail(error, status, "damaged alpha plane (%s)", wrong);
    return status;
}
