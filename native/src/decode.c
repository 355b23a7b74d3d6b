/* A file to pixels: which tiles are needed, in which pieces pixels are made, and where they go. */
#include <stdlib.h>
#include <string.h>

#include "container.h"
#include "family.h"
#include "patches.h"
#include "png.h"
#include "sha256.h"
#include "threads.h"

#define LOST 128          /* level of the pixels of tiles that are lost to damage */
#define PIECE_WIDTH 96     /* latents: rows of a piece, a few for each layer, are a few megabytes */
#define PIECE_HEIGHT 16   /* latents, at least: what is around a piece is computed twice */
#define PIECES_A_THREAD 3 /* so that threads end at about the same time */

#define OLDEST "aec1"     /* the family of weights that name none */

static const family *const FAMILIES[] = {&aec__family_aec1, &aec__family_aec2};

struct aec_model {
    const family *family;
    void *model;
    uint8_t id[4];
};

aec_status aec_model_open(const uint8_t *data, size_t size, const uint8_t id[4], aec_model **model, aec_error *error) {
    weights w;
    *model = NULL;
    aec_status status = aec__weights_open(data, size, &w, error);
    if (status) return status;
    const family *own = NULL;
    for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++)
        if (!strcmp(w.family ? w.family : OLDEST, FAMILIES[i]->name)) own = FAMILIES[i];
    aec_model *m = aec__alloc(1, 1, sizeof *m);
    if (!m) {
        status = aec__fail(error, AEC_MEMORY, "no memory for the model");
    } else if (!own) {
        status = aec__fail(error, AEC_UNKNOWN_FAMILY, "weights: of the family %.40s, which this libaec does not know", w.family);
    } else if (!w.config) {
        status = aec__fail(error, AEC_MODEL, "not a weights file of aecodec (it has no config)");
    } else {
        m->family = own;
        if (id) {
            memcpy(m->id, id, 4);
        } else {
            uint8_t digest[32];
            aec__sha256(data, size, digest);
            memcpy(m->id, digest, 4);
        }
        status = own->open(&w, aec__kernels(), &m->model, error);
    }
    aec__weights_close(&w);
    if (status) free(m);
    else *model = m;
    return status;
}

const uint8_t *aec_model_id(const aec_model *model) { return model->id; }

void aec_model_close(aec_model *model) {
    if (!model) return;
    model->family->close(model->model);
    free(model);
}

const void *aec__latents_at(const latents *l, int y, int x, int *run) {
    int row = y / l->side, column = x / l->side, left = column * l->side;
    int width = aec__min(l->side, l->width - left);
    *run = width - (x - left);
    return (const uint8_t *)l->tiles[row * l->columns + column] +
           ((size_t)(y - row * l->side) * width + (size_t)(x - left)) * l->position;
}

typedef struct decoding {
    const aec_file *file;
    const family *family;
    void *prepared;
    latents latents;
    void **tiles;
    int threads_inside; /* of a tile */
    int *missing;       /* tiles that are to be decoded */
    box *pieces;
    aec_status *status; /* of each tile or piece */
    aec_error *errors;
    /* Where pixels go. */
    int x, y, width, height;
    int channels, depth; /* of the output */
    bool grey, neutral;
    uint8_t *pixels;
    size_t stride;
} decoding;

static void decode_tile(void *context, int number, int worker) {
    decoding *d = context;
    (void)worker;
    int t = d->missing[number];
    const aec_file *f = d->file;
    int side = d->latents.side, row = t / f->columns, column = t % f->columns;
    int h = aec__min(side, d->latents.height - row * side), w = aec__min(side, d->latents.width - column * side);
    d->tiles[t] = aec__alloc((size_t)h * w, d->latents.position, 1);
    if (!d->tiles[t]) d->status[number] = aec__fail(&d->errors[number], AEC_MEMORY, "no memory for tile %d", t);
    else if (f->tiles[t].lost) d->status[number] = AEC_OK; /* its latents are 0 */
    else
        d->status[number] = d->family->tile(d->prepared, f->tiles[t].data, f->tiles[t].size, h, w, d->threads_inside,
                                            d->tiles[t], &d->errors[number]);
}

/* Writes a sample, of 1 or 2 bytes. */
static inline void put(const decoding *d, uint8_t *row, size_t sample, unsigned level) {
    if (d->depth == 8) row[sample] = (uint8_t)level;
    else {
        uint16_t own = (uint16_t)level;
        memcpy(row + 2 * sample, &own, 2);
    }
}

static uint8_t *row_of(const decoding *d, int y) { return d->pixels + (size_t)(y - d->y) * d->stride; }

static void put_row(const sink *to, int y, int x, const uint16_t *rgb, int width) {
    const decoding *d = to->context;
    if (y < d->y || y >= d->y + d->height) return;
    int left = aec__max(x, d->x), right = aec__min(x + width, d->x + d->width), n = d->channels;
    const uint16_t *in = rgb + 3 * (left - x);
    uint8_t *row = row_of(d, y);
    unsigned white = (1u << d->depth) - 1;
    for (int i = left; i < right; i++, in += 3) {
        size_t at = (size_t)(i - d->x) * n;
        if (d->grey || d->neutral) {
            unsigned mean = (in[0] + in[1] + in[2] + 1u) / 3; /* to the nearest, halves up */
            put(d, row, at, mean);
            if (n > 2) put(d, row, at + 1, mean), put(d, row, at + 2, mean);
        } else {
            for (int k = 0; k < 3; k++) put(d, row, at + k, in[k]);
        }
        if (n % 2 == 0) put(d, row, at + n - 1, white);
    }
}

static void make_piece(void *context, int number, int worker) {
    decoding *d = context;
    (void)worker;
    sink to = {put_row, d, d->depth};
    d->status[number] = d->family->pixels(d->prepared, &d->latents, d->pieces[number], &to, &d->errors[number]);
}

/* The first error of some jobs. */
static aec_status outcome(const decoding *d, int count, aec_error *error) {
    for (int i = 0; i < count; i++)
        if (d->status[i]) {
            if (error) *error = d->errors[i];
            return d->status[i];
        }
    return AEC_OK;
}

/* Cuts a box of latents into pieces; returns how many. */
static int cut(box b, int threads, box *pieces) {
    int width = b.right - b.left, height = b.bottom - b.top;
    int across = (width + PIECE_WIDTH - 1) / PIECE_WIDTH, down = 1;
    if (threads > 1) {
        down = (PIECES_A_THREAD * threads + across - 1) / across;
        down = aec__max(1, aec__min(down, height / PIECE_HEIGHT));
    }
    int count = 0;
    for (int i = 0; i < down; i++)
        for (int j = 0; j < across; j++) {
            box piece = {b.top + height * i / down, b.left + width * j / across, b.top + height * (i + 1) / down,
                         b.left + width * (j + 1) / across};
            if (pieces) pieces[count] = piece;
            count++;
        }
    return count;
}

static box intersection(box a, box b) {
    return (box){aec__max(a.top, b.top), aec__max(a.left, b.left), aec__min(a.bottom, b.bottom), aec__min(a.right, b.right)};
}

static aec_status decode_colour(decoding *d, int threads, int halo, aec_error *error) {
    const aec_file *f = d->file;
    int side = d->latents.side;
    box picture = {0, 0, d->latents.height, d->latents.width};
    box area = {d->y / AEC_STRIDE, d->x / AEC_STRIDE, (d->y + d->height + AEC_STRIDE - 1) / AEC_STRIDE,
                (d->x + d->width + AEC_STRIDE - 1) / AEC_STRIDE};
    aec_status status = AEC_OK;
    for (int row = area.top / side; row * side < area.bottom && !status; row++) { /* tiles of a few rows are ever held */
        box wanted = intersection(area, (box){row * side, 0, (row + 1) * side, picture.right});
        box seen = intersection(picture, (box){wanted.top - halo, wanted.left - halo, wanted.bottom + halo, wanted.right + halo});
        box tiles = {seen.top / side, seen.left / side, (seen.bottom + side - 1) / side, (seen.right + side - 1) / side};
        for (int t = 0; t < f->columns * tiles.top; t++) {
            free(d->tiles[t]);
            d->tiles[t] = NULL;
        }
        int missing = 0;
        for (int y = tiles.top; y < tiles.bottom; y++)
            for (int x = tiles.left; x < tiles.right; x++)
                if (!d->tiles[y * f->columns + x]) d->missing[missing++] = y * f->columns + x;
        d->threads_inside = missing < threads ? threads : 1;
        aec__run(missing < threads ? 1 : threads, missing, decode_tile, d);
        status = outcome(d, missing, error);
        if (status) break;
        int pieces = cut(wanted, threads, d->pieces);
        aec__run(threads, pieces, make_piece, d);
        status = outcome(d, pieces, error);
    }
    return status;
}

static void put_lost(const decoding *d) {
    const aec_file *f = d->file;
    int n = d->channels, colours = n - (n % 2 == 0);
    for (uint32_t t = 0; t < f->info.tiles; t++) {
        if (!f->tiles[t].lost) continue;
        int top = (int)t / f->columns * f->side, left = (int)t % f->columns * f->side;
        int bottom = aec__min(top + f->side, d->y + d->height), right = aec__min(left + f->side, d->x + d->width);
        for (int y = aec__max(top, d->y); y < bottom; y++)
            for (int x = aec__max(left, d->x); x < right; x++)
                for (int k = 0; k < colours; k++) put(d, row_of(d, y), (size_t)(x - d->x) * n + k, LOST << (d->depth - 8));
    }
}

/* A number of chunk PTCH; *at moves on. */
static bool patch_number(const uint8_t *data, size_t size, size_t *at, uint64_t *value) {
    *value = 0;
    for (int place = 0; place < 5; place++) {
        if (*at == size) return false;
        uint8_t byte = data[(*at)++];
        *value |= (uint64_t)(byte & 127) << 7 * place;
        if (byte < 128) return true;
    }
    return false;
}

/* The blocks that are coded without loss, over what the network has made of them. */
static aec_status put_patches(const decoding *d, aec_error *error) {
    enum { BLOCK = 64 };
    const aec_file *f = d->file;
    size_t size, at = 0;
    const uint8_t *data = aec_file_chunk_of(f, "PTCH", &size);
    int64_t before = -1;
    if (data && f->info.depth != 8) return aec__fail(error, AEC_FORMAT, "a file of more than 8 bits has a chunk PTCH");
    while (data && at < size) {
        uint64_t number, length;
        if (!patch_number(data, size, &at, &number) || !patch_number(data, size, &at, &length) || (int64_t)number <= before || number >= f->info.tiles)
            return aec__fail(error, AEC_FORMAT, "chunk PTCH makes no sense at byte %zu", at);
        before = (int64_t)number;
        int top = (int)number / f->columns * f->side, left = (int)number % f->columns * f->side;
        int height = aec__min(f->side, (int)f->info.height - top), width = aec__min(f->side, (int)f->info.width - left);
        int columns = (width + BLOCK - 1) / BLOCK;
        size_t bits = (size_t)columns * ((height + BLOCK - 1) / BLOCK), bytes = (bits + 7) / 8;
        if (bytes > size - at || length > size - at - bytes) return aec__fail(error, AEC_FORMAT, "truncated in chunk PTCH, at byte %zu", at);
        const uint8_t *mask = data + at;
        at += bytes + (size_t)length;
        int bottom = aec__min(top + height, d->y + d->height), right = aec__min(left + width, d->x + d->width);
        if (bottom <= d->y || right <= d->x || top >= d->y + d->height || left >= d->x + d->width) continue;
        uint32_t *argb = aec__alloc(width, height, sizeof *argb);
        if (!argb) return aec__fail(error, AEC_MEMORY, "no memory for blocks without loss");
        aec_status status = aec__read_webp(mask + bytes, (size_t)length, width, height, argb, error);
        for (int y = aec__max(top, d->y); y < bottom && !status; y++)
            for (int x = aec__max(left, d->x); x < right; x++) {
                int block = (y - top) / BLOCK * columns + (x - left) / BLOCK;
                if (!(mask[block / 8] >> (7 - block % 8) & 1)) continue;
                uint32_t pixel = argb[(size_t)(y - top) * width + (x - left)];
                size_t sample = (size_t)(x - d->x) * d->channels;
                for (int k = 0; k < (d->grey && d->channels < 3 ? 1 : 3); k++)
                    put(d, row_of(d, y), sample + k, pixel >> (d->grey ? 8 : 16 - 8 * k) & 255);
            }
        free(argb);
        if (status) return status;
    }
    return AEC_OK;
}

static aec_status put_alpha(const decoding *d, aec_error *error) {
    const aec_info *info = &d->file->info;
    int bytes = info->depth == 8 ? 1 : 2, n = d->channels, lost = (int)info->depth - d->depth;
    size_t size, pitch = 1 + (size_t)info->width * bytes;
    const uint8_t *data = aec_file_chunk_of(d->file, "ALPH", &size);
    uint8_t *rows;
    if (!data) return aec__fail(error, AEC_FORMAT, "the header promises an alpha channel, but there is none");
    aec_status status = aec__read_alpha(data, size, info->width, info->height, bytes, &rows, error);
    if (status) return status;
    for (uint32_t y = 0; y < info->height && !status; y++) {
        const uint8_t *in = rows + y * pitch + 1;
        bool wanted = (int)y >= d->y && (int)y < d->y + d->height;
        for (uint32_t x = 0; x < info->width; x++) {
            unsigned level = bytes == 1 ? in[x] : (unsigned)in[2 * x] << 8 | in[2 * x + 1];
            if (level >> info->depth) status = aec__fail(error, AEC_FORMAT, "an alpha plane with values of more than %u bits", info->depth);
            if (wanted && (int)x >= d->x && (int)x < d->x + d->width)
                put(d, row_of(d, (int)y), (size_t)((int)x - d->x) * n + n - 1, level >> lost);
        }
    }
    free(rows);
    return status;
}

aec_status aec_decode(const aec_file *file, const aec_model *model, const aec_options *options, void *pixels,
                      size_t stride, aec_error *error) {
    static const aec_options defaults = {0};
    const aec_options *o = options ? options : &defaults;
    const aec_info *info = &file->info;
    bool all = !(o->x | o->y | o->width | o->height);
    uint32_t width = all ? info->width : o->width, height = all ? info->height : o->height;
    uint32_t channels = o->channels ? o->channels : info->channels, threads = o->threads ? o->threads : 1;
    if (!width || !height || o->x > info->width || o->y > info->height || width > info->width - o->x || height > info->height - o->y)
        return aec__fail(error, AEC_ARGUMENT, "region %u,%u,%u,%u (x, y, width, height) is not inside %ux%u", o->x, o->y,
                         o->width, o->height, info->width, info->height);
    uint32_t colours = info->channels < 3 ? 1 : 3, depth = o->depth ? o->depth : info->depth;
    if (channels != info->channels && channels != 4 && channels != colours)
        return aec__fail(error, AEC_ARGUMENT, "%u channels asked for; possible are %u, %u and 4", channels, colours, info->channels);
    if (depth != info->depth && depth != 8)
        return aec__fail(error, AEC_ARGUMENT, "%u bits asked for; possible are %u and 8", depth, info->depth);
    if (stride < (size_t)width * channels * (depth > 8 ? 2 : 1)) return aec__fail(error, AEC_ARGUMENT, "rows of %zu bytes are too short", stride);
    if (memcmp(info->model, model->id, 4))
        return aec__fail(error, AEC_MODEL, "written with model %02x%02x%02x%02x; these weights are %02x%02x%02x%02x",
                         info->model[0], info->model[1], info->model[2], info->model[3], model->id[0], model->id[1],
                         model->id[2], model->id[3]);
    if (threads > 64) threads = 64;

    decoding d = {.file = file, .family = model->family, .x = (int)o->x, .y = (int)o->y, .width = (int)width,
                  .height = (int)height, .channels = (int)channels, .depth = (int)depth, .grey = colours == 1, .pixels = pixels, .stride = stride};
    aec_status status = model->family->prepare(model->model, (int)info->quality, &d.prepared, error);
    if (status) return status;
    d.neutral = !d.grey && aec_file_chunk_of(file, "neut", NULL) != NULL;
    d.tiles = aec__alloc(info->tiles, 1, sizeof *d.tiles);
    d.missing = aec__alloc(info->tiles, 1, sizeof *d.missing);
    d.latents = (latents){(void *const *)d.tiles, file->side / AEC_STRIDE, file->columns, file->padded_height / AEC_STRIDE,
                          file->padded_width / AEC_STRIDE, model->family->position(model->model)};
    /* As many jobs as there can be at once: pieces of a row of tiles, or tiles of all rows that it needs. */
    box widest = {0, 0, d.latents.side, d.latents.width};
    size_t jobs = (size_t)cut(widest, (int)threads, NULL) + (size_t)threads * PIECES_A_THREAD;
    if (jobs < info->tiles) jobs = info->tiles;
    d.pieces = aec__alloc(jobs, 1, sizeof *d.pieces);
    d.status = aec__alloc(jobs, 1, sizeof *d.status);
    d.errors = aec__alloc(jobs, 1, sizeof *d.errors);
    if (!d.tiles || !d.missing || !d.pieces || !d.status || !d.errors) status = aec__fail(error, AEC_MEMORY, "no memory for %u tiles", info->tiles);
    if (!status) status = decode_colour(&d, (int)threads, model->family->halo(model->model), error);
    if (!status) put_lost(&d);
    if (!status) status = put_patches(&d, error);
    if (!status && info->channels % 2 == 0 && channels % 2 == 0) status = put_alpha(&d, error);
    for (uint32_t t = 0; d.tiles && t < info->tiles; t++) free(d.tiles[t]);
    free(d.tiles);
    free(d.missing);
    free(d.pieces);
    free(d.status);
    free(d.errors);
    model->family->release(d.prepared);
    return status;
}
