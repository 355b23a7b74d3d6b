/* Reads the container field by field as in docs/format, in its order and with its names. */
#include "container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARINT_BYTES 5
#define MAX_PADDING 4         /* padded pixels for each pixel, where they are more than of a tile */
#define MAX_SIDE (1 << 30)    /* of a picture, so that sums and products of sides fit their types */

enum { TILED = 8, CHUNKED = 4 };
static const uint8_t MAGIC[5] = {0xAE, 'C', '\r', '\n', 0x1A};

uint32_t aec__crc(uint32_t before, const uint8_t *data, size_t size) {
    /* Half a byte at a time: tables of a whole one would have to be global, or made anew for every file. */
    static const uint32_t nibble[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    uint32_t crc = ~before;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

typedef struct cursor {
    const uint8_t *data;
    size_t size, at;
    aec_error *error;
} cursor;

static aec_status take(cursor *c, uint64_t count, const char *what, const uint8_t **bytes) {
    *bytes = c->data;
    if (count > c->size - c->at)
        return aec__fail(c->error, AEC_FORMAT, "truncated in %s, at byte %zu of %zu", what, c->at, c->size);
    *bytes = c->data + c->at;
    c->at += (size_t)count;
    return AEC_OK;
}

static aec_status varint(cursor *c, const char *what, uint64_t *value) {
    *value = 0;
    for (int place = 0; place < VARINT_BYTES; place++) {
        const uint8_t *byte;
        if (take(c, 1, what, &byte)) return AEC_FORMAT;
        *value |= (uint64_t)(*byte & 127) << 7 * place;
        if (*byte < 128) return AEC_OK;
    }
    return aec__fail(c->error, AEC_FORMAT, "%s: a number of more than %d bytes, at byte %zu", what, VARINT_BYTES, c->at);
}

/* Reads a checksum of the bytes from `start` on, up to here. *wrong: whether only the checksum is wrong. */
static aec_status check(cursor *c, size_t covered, const char *what, size_t start, bool *wrong) {
    const uint8_t *sum;
    size_t end = c->at;
    char name[64];
    snprintf(name, sizeof name, "%s (checksum)", what);
    if (take(c, 4, name, &sum)) return AEC_FORMAT;
#ifdef AEC_FUZZING /* a fuzzer cannot guess a checksum, an attacker computes it */
    (void)covered, (void)end;
    return AEC_OK;
#endif
    if (aec__u32(sum) == aec__crc(0, c->data + covered, end - covered)) return AEC_OK;
    if (wrong) *wrong = true;
    return aec__fail(c->error, AEC_FORMAT, "damaged: %s, bytes %zu to %zu, does not match its checksum", what, start,
                     c->at);
}

static uint64_t padded(uint64_t side) { return (side + AEC_TILE_UNIT - 1) / AEC_TILE_UNIT * AEC_TILE_UNIT; }

static aec_status read_header(cursor *c, aec_file *f, uint64_t limit, uint32_t *count) {
    const uint8_t *p;
    uint64_t width, height, unit = 0, chunks = 0;
    if (!c->size) return aec__fail(c->error, AEC_FORMAT, "the file is empty");
    if (memcmp(c->data, MAGIC, c->size < sizeof MAGIC ? c->size : sizeof MAGIC))
        return aec__fail(c->error, AEC_FORMAT, "not an .aec file (its first 5 bytes are others)");
    if (take(c, sizeof MAGIC, "header (magic)", &p) || take(c, 1, "header (kind)", &p)) return AEC_FORMAT;
    int kind = *p;
    if (kind >> 4 != 1)
        return aec__fail(c->error, AEC_FORMAT, "header: format version %d, at byte %zu; this libaec reads version 1",
                         kind >> 4, c->at - 1);
    f->info.channels = (kind & 3) + 1;
    if (take(c, 4, "header (model)", &p)) return AEC_FORMAT;
    memcpy(f->info.model, p, 4);
    if (varint(c, "header (width)", &width) || varint(c, "header (height)", &height)) return AEC_FORMAT;
    if (take(c, 2, "header (quality)", &p)) return AEC_FORMAT;
    f->info.quality = p[0] | p[1] << 8;

    uint64_t rows = 1, columns = 1;
    size_t lengths = c->at;
    if (kind & TILED) {
        if (varint(c, "header (tile)", &unit)) return AEC_FORMAT;
        if (!unit || !width || !height)
            return aec__fail(c->error, AEC_FORMAT, "header: a picture or tiles without pixels");
        uint64_t side = unit * AEC_TILE_UNIT;
        rows = (height + side - 1) / side, columns = (width + side - 1) / side;
        if (rows > c->size || columns > c->size || rows * columns > c->size) /* each takes a byte for its length */
            return aec__fail(c->error, AEC_FORMAT, "header: more tiles than %zu bytes can hold", c->size);
        lengths = c->at;
        for (uint64_t i = 0; i < rows * columns; i++) {
            uint64_t length;
            if (varint(c, "header (length of a tile)", &length)) return AEC_FORMAT;
        }
    }
    if (kind & CHUNKED && varint(c, "header (chunk count)", &chunks)) return AEC_FORMAT;
    if (check(c, 0, "header", 0, NULL)) return AEC_FORMAT;

    /* Only now is it known that the fields are what was written. */
    if (!width || !height || f->info.quality < AEC_QUALITY_MIN || f->info.quality > AEC_QUALITY_MAX)
        return aec__fail(c->error, AEC_FORMAT, "header: impossible size or quality");
    if (kind & CHUNKED && (chunks < 1 || chunks > AEC_MAX_CHUNKS))
        return aec__fail(c->error, AEC_FORMAT, "header: %llu chunks, expected 1 to %d", (unsigned long long)chunks,
                         AEC_MAX_CHUNKS);
    if (width > MAX_SIDE || height > MAX_SIDE || width * height > limit)
        return aec__fail(c->error, AEC_LIMIT, "%llux%llu pixels are more than the limit of %llu",
                         (unsigned long long)width, (unsigned long long)height, (unsigned long long)limit);
    uint64_t most = MAX_PADDING * width * height;
    if (padded(width) * padded(height) > (most > AEC_MAX_TILE ? most : AEC_MAX_TILE))
        return aec__fail(c->error, AEC_LIMIT, "%llux%llu pixels are a strip that padding makes more than %d times as large",
                         (unsigned long long)width, (unsigned long long)height, MAX_PADDING);
    f->padded_width = (int)padded(width), f->padded_height = (int)padded(height);
    uint64_t longer = f->padded_width > f->padded_height ? f->padded_width : f->padded_height;
    uint64_t side = kind & TILED && unit * AEC_TILE_UNIT < longer ? unit * AEC_TILE_UNIT : longer;
    uint64_t across = side < (uint64_t)f->padded_width ? side : (uint64_t)f->padded_width;
    uint64_t down = side < (uint64_t)f->padded_height ? side : (uint64_t)f->padded_height;
    if (across * down > AEC_MAX_TILE)
        return aec__fail(c->error, AEC_FORMAT, "header: a tile of %llu pixels, expected at most %u",
                         (unsigned long long)(across * down), AEC_MAX_TILE);
    f->info.width = (uint32_t)width, f->info.height = (uint32_t)height;
    f->info.tile = kind & TILED ? (uint32_t)side : 0;
    f->info.tiles = (uint32_t)(rows * columns);
    f->side = (int)side, f->rows = (int)rows, f->columns = (int)columns;
    *count = (uint32_t)chunks;

    f->tiles = aec__alloc(rows, columns, sizeof *f->tiles);
    if (!f->tiles) return aec__fail(c->error, AEC_MEMORY, "no memory for a list of tiles");
    if (kind & TILED) {
        cursor again = {c->data, c->size, lengths, c->error};
        for (uint64_t i = 0; i < rows * columns; i++) {
            uint64_t length;
            varint(&again, "header (length of a tile)", &length);
            f->tiles[i].size = length > SIZE_MAX ? SIZE_MAX : (size_t)length;
        }
    }
    return AEC_OK;
}

static bool is_letter(uint8_t c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

static aec_status read_chunk(cursor *c, aec_file *f, bool *only_checksum) {
    static const char *const known[] = {"ALPH", "DPTH", "PTCH"}; /* of those that must be understood */
    size_t start = c->at;
    const uint8_t *tag, *data;
    uint64_t length;
    if (take(c, 4, "chunk (type)", &tag)) return AEC_FORMAT;
    for (int i = 0; i < 4; i++)
        if (!is_letter(tag[i]))
            return aec__fail(c->error, AEC_FORMAT, "chunk of a type which is not four letters, at byte %zu", start);
    char what[40];
    snprintf(what, sizeof what, "chunk %.4s (length)", (const char *)tag);
    if (varint(c, what, &length)) return AEC_FORMAT;
    snprintf(what, sizeof what, "chunk %.4s", (const char *)tag);
    if (take(c, length, what, &data)) return AEC_FORMAT;
    /* The checksum is of type and data, without the length between them. */
    uint32_t sum = aec__crc(aec__crc(0, tag, 4), data, (size_t)length);
    const uint8_t *stored;
    char name[64];
    snprintf(name, sizeof name, "%s (checksum)", what);
    if (take(c, 4, name, &stored)) return AEC_FORMAT;
#ifdef AEC_FUZZING
    sum = aec__u32(stored);
#endif
    if (aec__u32(stored) != sum) {
        *only_checksum = true;
        return aec__fail(c->error, AEC_FORMAT, "damaged: %s, bytes %zu to %zu, does not match its checksum", what, start,
                         c->at);
    }
    if (aec_file_chunk_of(f, (char[5]){tag[0], tag[1], tag[2], tag[3], 0}, NULL))
        return aec__fail(c->error, AEC_FORMAT, "%s appears twice, at byte %zu", what, start);
    bool is_known = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) is_known |= !memcmp(known[i], tag, 4);
    if (!is_known && tag[0] <= 'Z')
        return aec__fail(c->error, AEC_FORMAT, "%s is needed to show the picture and is not known", what);
    chunk *own = &f->chunks[f->info.chunks++];
    memcpy(own->type, tag, 4);
    own->data = data, own->size = (size_t)length;
    return AEC_OK;
}

static aec_status read_tile(cursor *c, aec_file *f, uint32_t number) {
    size_t start = c->at, size = f->tiles[number].size;
    char what[32];
    snprintf(what, sizeof what, "tile %u", number);
    if (!f->info.tile) {
        if (c->size - start < 4)
            return aec__fail(c->error, AEC_FORMAT, "truncated in %s, at byte %zu of %zu", what, start, c->size);
        size = c->size - start - 4;
    }
    if (take(c, size, what, &f->tiles[number].data)) return AEC_FORMAT;
    f->tiles[number].size = size;
    return check(c, start, what, start, NULL);
}

static aec_status note(aec_file *f, aec_error *error, const char *phrase, const char *more) {
    size_t size = strlen(phrase) + strlen(more) + 1;
    if (!(f->info.damages & (f->info.damages + 1))) { /* grows by doubling, from 1 at 0 */
        char **grown = realloc(f->damages, (2 * (size_t)f->info.damages + 1) * sizeof *grown);
        if (!grown) return aec__fail(error, AEC_MEMORY, "no memory for a list of damages");
        f->damages = grown;
    }
    char *text = malloc(size);
    if (!text) return aec__fail(error, AEC_MEMORY, "no memory for a list of damages");
    snprintf(text, size, "%s%s", phrase, more);
    f->damages[f->info.damages++] = text;
    return AEC_OK;
}

static bool begins_chunk(cursor c, size_t at, size_t end) {
    aec_file none = {0};
    bool ignored = false;
    c.at = at, c.error = NULL;
    return at < end && read_chunk(&c, &none, &ignored) == AEC_OK && c.at <= end;
}

/* Where something begins that goes on to the end of the file and matches the checksum there, at `first` or later; `size`
 * if nothing does. The checksum of two parts, one after the other, is that of the first, with as many zeros behind it as
 * the second has bytes, xor that of the second: so every place can be tried in one pass, from the end on. */
static aec_status start_of_checked_end(const cursor *c, size_t first, size_t *start, aec_error *error) {
    *start = c->size;
    if (c->size - first < 4) return AEC_OK;
    size_t end = c->size - 4;
    uint32_t *before = aec__alloc(end - first + 1, 1, sizeof *before), table[256];
    uint8_t by_top[256];
    if (!before) return aec__fail(error, AEC_MEMORY, "no memory for checksums");
    for (int i = 0; i < 256; i++) {
        uint8_t byte = (uint8_t)i, zero = 0;
        table[i] = aec__crc(0, &byte, 1) ^ aec__crc(0, &zero, 1);
        by_top[table[i] >> 24] = byte;
    }
    for (size_t at = first; at < end; at++) before[at - first + 1] = aec__crc(before[at - first], c->data + at, 1);
    uint32_t rest = before[end - first] ^ aec__u32(c->data + end);
    for (size_t at = end;; at--) {
        if (before[at - first] == rest) {
            *start = at;
            break;
        }
        if (at == first) break;
        uint8_t lowest = by_top[rest >> 24];
        rest = (rest ^ table[lowest]) << 8 | lowest; /* one zero less */
    }
    free(before);
    return AEC_OK;
}

/* The intact chunks, and phrases for the damaged ones. Leaves the cursor where the tiles begin. */
static aec_status salvage_chunks(cursor *c, aec_file *f, uint32_t count, const aec_error *found, aec_error *error) {
    size_t end = c->size; /* of the chunks, once it has to be known: the lengths of damaged ones may be wrong */
    while (count) {
        size_t start = c->at;
        bool only_checksum = false;
        if (read_chunk(c, f, &only_checksum) == AEC_OK) {
            count--;
            continue;
        }
        if (note(f, error, found->message, "")) return AEC_MEMORY;
        size_t resumed = only_checksum ? c->at : c->size;
        if (end == c->size) {
            if (f->info.tile) {
                end = c->size;
                for (uint32_t i = 0; i < f->info.tiles; i++) {
                    size_t own = f->tiles[i].size;
                    end = own > end || end - own < 4 ? 0 : end - own - 4;
                }
            } else {
                if (start_of_checked_end(c, start, &end, error)) return AEC_MEMORY;
                if (end == c->size) end = c->at;
            }
            if (end < start) end = start;
        }
        /* What follows is either where the damaged length says, or where a chunk with a right checksum begins. */
        if (!only_checksum || !(resumed == end || begins_chunk(*c, resumed, end)))
            for (resumed = start + 1; resumed < end && !begins_chunk(*c, resumed, end);) resumed++;
        if (resumed > end) resumed = end;
        c->at = resumed;
        count = resumed < end ? count - 1 : 0;
    }
    if (f->info.damages) c->at = end;
    return AEC_OK;
}

static aec_status salvage(cursor *c, aec_file *f, uint32_t count) {
    aec_error found = {AEC_OK, ""}, *error = c->error;
    c->error = &found;
    if (salvage_chunks(c, f, count, &found, error)) return AEC_MEMORY;
    if (f->info.damages && f->info.channels % 2 == 0 && !aec_file_chunk_of(f, "ALPH", NULL)) {
        f->info.channels--;
        if (note(f, error, "the alpha channel is lost", "")) return AEC_MEMORY;
    }
    uint32_t lost = 0;
    for (uint32_t i = 0; i < f->info.tiles; i++) {
        if (read_tile(c, f, i) == AEC_OK) continue;
        char place[64];
        snprintf(place, sizeof place, " (pixels from %d,%d on)", (int)(i % f->columns) * (int)f->info.tile,
                 (int)(i / f->columns) * (int)f->info.tile);
        if (note(f, error, found.message, place)) return AEC_MEMORY;
        f->tiles[i].lost = true, f->tiles[i].size = 0;
        lost++;
    }
    if (lost == f->info.tiles) return aec__fail(error, AEC_FORMAT, "nothing can be salvaged: %s", found.message);
    if (c->at < c->size && !lost) {
        char text[80];
        snprintf(text, sizeof text, "%zu bytes follow the last tile, at byte %zu", c->size - c->at, c->at);
        if (note(f, error, text, "")) return AEC_MEMORY;
    }
    return AEC_OK;
}

static aec_status read_all(cursor *c, aec_file *f, uint32_t count) {
    bool ignored = false;
    for (uint32_t i = 0; i < count; i++)
        if (read_chunk(c, f, &ignored)) return AEC_FORMAT;
    for (uint32_t i = 0; i < f->info.tiles; i++)
        if (read_tile(c, f, i)) return AEC_FORMAT;
    if (c->at != c->size)
        return aec__fail(c->error, AEC_FORMAT, "%zu bytes follow the last tile, at byte %zu", c->size - c->at, c->at);
    return AEC_OK;
}

static aec_status open_file(const uint8_t *data, size_t size, uint64_t limit, bool salvaging, aec_file **file,
                            aec_error *error) {
    aec_error unwanted;
    cursor c = {data, size, 0, error ? error : &unwanted};
    *file = NULL;
    aec_file *f = aec__alloc(1, 1, sizeof *f);
    if (!f) return aec__fail(c.error, AEC_MEMORY, "no memory for a file");
    f->data = data, f->size = size;
    uint32_t count = 0;
    aec_status status = read_header(&c, f, limit ? limit : AEC_DEFAULT_PIXEL_LIMIT, &count);
    if (!status) status = salvaging ? salvage(&c, f, count) : read_all(&c, f, count);
    size_t bytes;
    const uint8_t *depth = status ? NULL : aec_file_chunk_of(f, "DPTH", &bytes);
    f->info.depth = 8;
    if (depth && (bytes != 1 || *depth < 9 || *depth > 16))
        status = aec__fail(error, AEC_FORMAT, "chunk DPTH holds no depth from 9 to 16");
    else if (depth) f->info.depth = *depth;
    if (status) aec_file_close(f);
    else *file = f;
    return status;
}

aec_status aec_file_open(const uint8_t *data, size_t size, uint64_t pixel_limit, aec_file **file, aec_error *error) {
    return open_file(data, size, pixel_limit, false, file, error);
}

aec_status aec_file_salvage(const uint8_t *data, size_t size, uint64_t pixel_limit, aec_file **file, aec_error *error) {
    return open_file(data, size, pixel_limit, true, file, error);
}

void aec_file_lose(aec_file *file, uint32_t tile) {
    if (tile < file->info.tiles) file->tiles[tile].lost = true;
}

const aec_info *aec_file_info(const aec_file *file) { return &file->info; }

const char *aec_file_damage(const aec_file *file, uint32_t number) {
    return number < file->info.damages ? file->damages[number] : NULL;
}

const uint8_t *aec_file_chunk(const aec_file *file, uint32_t number, char type[5], size_t *size) {
    if (number >= file->info.chunks) return NULL;
    const chunk *own = &file->chunks[number];
    if (type) memcpy(type, own->type, 5);
    if (size) *size = own->size;
    return own->data;
}

const uint8_t *aec_file_chunk_of(const aec_file *file, const char *type, size_t *size) {
    for (uint32_t i = 0; i < file->info.chunks; i++)
        if (!strcmp(file->chunks[i].type, type)) return aec_file_chunk(file, i, NULL, size);
    return NULL;
}

void aec_file_close(aec_file *file) {
    if (!file) return;
    for (uint32_t i = 0; i < file->info.damages; i++) free(file->damages[i]);
    free(file->damages);
    free(file->tiles);
    free(file);
}
