/* Latents to pixels. Everything is rows: each layer keeps a ring of a few and makes the next when the layer behind it
 * asks, so a picture streams through the caches, and no feature map is ever held whole. A layer computes no more columns
 * around the box than the next one needs. Gains are in the weights, and activations in the convolutions.
 *
 * Pixels are the same on every machine: sums have one order whatever the vectors, nothing is fused, and tiles of Winograd's
 * algorithm, on which rounding depends, are where they are in the whole picture, whichever part of it is made. */
#include "aec1.h"

#include <string.h>

enum { MOST_LAYERS = 3 + 2 * MOST_BLOCKS + 1 + 2 * MOST_BLOCKS + 2 + MOST_FILTER_LAYERS, SQUARE = 12, ROOM = 16 };
enum { BEFORE = 4, AFTER = 4 }; /* positions beside a row, all 0: what a tile of Winograd's sees beyond the picture */

typedef struct range {
    int from, to;
} range;

typedef enum kind { FROM_LATENTS, CONVOLUTION, DOUBLING, PIXELS } kind;

typedef struct layer {
    kind kind;
    const packed *weights;
    activation act;
    int kernel;
    int input, add; /* numbers of layers, or -1 */
    int channels, room;
    int factor; /* rows and columns for each latent */
    int at_once; /* rows that are computed together: 4 by Winograd's algorithm, or 1 */
    int shift;   /* tiles of 4x4 begin this much before multiples of 4 */
    int rows;    /* that the ring holds */
    range x, y; /* columns and rows that are computed: whole tiles, as far as the picture reaches */
    size_t pitch;    /* floats of a row */
    float *ring;
    bool begun;
    int next; /* row to compute, once begun */
} layer;

typedef struct stream {
    const aec1_prepared *prepared;
    const latents *latents;
    layer layers[MOST_LAYERS];
    int count;
    float *zeros;
    float *blocks; /* a row of squares of the linear path */
    float *scratch;
} stream;

static int add_layer(stream *s, layer l) {
    if (!l.at_once) l.at_once = 1;
    if (!l.room) l.room = l.channels;
    s->layers[s->count] = l;
    return s->count++;
}

static int convolve(stream *s, const packed *weights, int input, int kernel, activation act, int add) {
    return add_layer(s, (layer){.kind = CONVOLUTION, .weights = weights, .act = act, .kernel = kernel, .input = input, .add = add,
                                .channels = weights->outputs, .factor = s->layers[input].factor,
                                .at_once = weights->inputs == 36 * s->layers[input].channels ? 4 : 1});
}

static int residual(stream *s, const residual_block *b, int input) {
    return convolve(s, &b->second, convolve(s, &b->first, input, 3, GELU, -1), 3, NONE, input);
}

static void lay_out(stream *s) {
    const aec1_prepared *p = s->prepared;
    const aec1 *m = p->model;
    const config *c = &m->config;
    int x = add_layer(s, (layer){.kind = FROM_LATENTS, .weights = &p->first, .input = -1, .add = -1, .channels = c->at_16, .factor = 1});
    for (int k = 0; k < c->blocks_16; k++) x = residual(s, &m->blocks_16[k], x);
    x = add_layer(s, (layer){.kind = DOUBLING, .weights = p->up, .kernel = 1, .input = x, .add = -1, .channels = c->at_8, .factor = 2});
    for (int k = 0; k < c->blocks_8; k++) x = residual(s, &m->blocks_8[k], x);
    x = add_layer(s, (layer){.kind = PIXELS, .weights = p->last, .kernel = 1, .input = x, .add = -1, .channels = SQUARE, .factor = 8});
    if (!c->filter) return;
    int pixels = x;
    x = convolve(s, &p->filter_first, x, 3, RELU, -1);
    for (int k = 0; k < c->filter_layers; k++) x = convolve(s, &m->filter_layers[k], x, 3, RELU, -1);
    x = convolve(s, &p->filter_last, x, 1, NONE, pixels);
    s->layers[x].channels = s->layers[x].room = ROOM; /* 4 floats for nothing, so that vectors can be written whole */
}

/* Makes a range hold another, but not beyond the picture. */
static void need(range *r, range more, int limit) {
    more = (range){aec__max(more.from, 0), aec__min(more.to, limit)};
    bool first = r->to == 0;
    r->from = first ? more.from : aec__min(r->from, more.from);
    r->to = aec__max(r->to, more.to);
}

/* What begins and ends with a unit, outward; units begin `shift` before their multiples. */
static range whole(range r, int unit, int shift) {
    int from = r.from + shift, to = r.to + shift;
    return (range){from - (from % unit + unit) % unit - shift, to + (unit - to % unit) % unit - shift};
}

/* What a layer sees of the one before it. */
static range seen(range r, int per, int reach) { return (range){r.from / per - reach, r.to / per + reach}; }

/* Which columns and rows each layer has to make, and how many rows it has to keep, from the last one back. */
static void measure(stream *s, box wanted, int width, int height) {
    layer *last = &s->layers[s->count - 1];
    need(&last->x, (range){wanted.left * last->factor, wanted.right * last->factor}, width * last->factor);
    need(&last->y, (range){wanted.top * last->factor, wanted.bottom * last->factor}, height * last->factor);
    last->rows = 1;
    for (int i = s->count - 1; i > 0; i--) {
        layer *l = &s->layers[i], *in = &s->layers[l->input];
        int reach = l->kernel / 2, per = l->kind == DOUBLING ? 2 : l->kind == PIXELS ? 4 : 1;
        int unit = l->at_once == 4 ? 4 : per, shift = l->at_once == 4 ? l->shift : 0;
        range x = whole(l->x, unit, shift), y = whole(l->y, unit, shift);
        need(&l->x, x, width * l->factor);
        need(&l->y, y, height * l->factor);
        need(&in->x, seen(x, per, reach), width * in->factor);
        need(&in->y, seen(y, per, reach), height * in->factor);
        if (in->factor == l->factor) in->shift = (l->shift + reach) % 4; /* so that tiles begin where they are needed */
        /* Rows that are looked at together, and what was made beyond them because several are made at once. */
        in->rows = aec__max(in->rows, l->at_once + 2 * reach + in->at_once - 1);
        if (l->add >= 0) {
            need(&s->layers[l->add].x, l->x, width * l->factor);
            need(&s->layers[l->add].y, l->y, height * l->factor);
            /* What is added is asked for again after all between have looked ahead. */
            int ahead = l->at_once + s->layers[l->add].at_once - 1;
            for (int j = i; j > l->add; j = s->layers[j].input) ahead += s->layers[j].kernel / 2 + s->layers[j].at_once - 1;
            s->layers[l->add].rows = aec__max(s->layers[l->add].rows, ahead);
        }
    }
}

static const float *row_of(stream *s, int number, int y);

/* A layer over columns left..right of a row of latents, tile by tile, as far as tiles reach. */
static void over_latents(const stream *s, const packed *weights, int y, int left, int right, int count, float *out, int outputs) {
    int positions = s->prepared->model->config.latent + s->prepared->model->config.trunk;
    for (int x = left, run; x < right; x += run) {
        const float *at = aec__latents_at(s->latents, y, x, &run);
        run = aec__min(run, right - x);
        row_job job = {.layer = weights, .width = run, .act = NONE, .count = 1, .out = out + (ptrdiff_t)(x - left) * outputs, .out_step = outputs};
        job.segments[0] = (segment){at, positions, count};
        s->prepared->model->kernels->row(&job);
    }
}

static float *slot(const layer *l, int y) { return l->ring + (size_t)(y % l->rows) * l->pitch + BEFORE * l->channels; }

static void compute(stream *s, int number, int y) {
    const config *c = &s->prepared->model->config;
    const kernels *k = s->prepared->model->kernels;
    layer *l = &s->layers[number];
    int left = l->x.from, width = l->x.to - left;
    float *out = slot(l, y);
    if (l->kind == FROM_LATENTS) {
        over_latents(s, l->weights, y, left, l->x.to, c->latent + c->trunk, out, l->channels);
        return;
    }
    const layer *in = &s->layers[l->input];
    int channels = in->channels;
    row_job job = {.layer = l->weights, .width = width, .act = l->act, .count = 1, .out = out, .out_step = l->channels, .room = l->room};
    if (l->kind == DOUBLING) {
        job.layer += y % 2;
        job.width = width / 2, job.out_step = 2 * l->channels, job.room = 0;
        job.segments[0] = (segment){row_of(s, l->input, y / 2) + (ptrdiff_t)(left / 2 - in->x.from) * channels, channels, channels};
    } else if (l->kind == PIXELS) {
        over_latents(s, &s->prepared->linear[y % 8], y / 8, left / 8, (l->x.to + 7) / 8, c->latent, s->blocks, 8 * SQUARE);
        job.layer += y % 4;
        job.width = width / 4, job.out_step = 4 * SQUARE, job.room = 0;
        job.segments[0] = (segment){row_of(s, l->input, y / 4) + (ptrdiff_t)(left / 4 - in->x.from) * channels, channels, channels};
        job.add = s->blocks + left % 8 * SQUARE, job.add_step = 4 * SQUARE;
    } else {
        int reach = l->kernel / 2;
        job.count = l->kernel;
        for (int t = 0; t < l->kernel; t++)
            job.segments[t] = (segment){row_of(s, l->input, y + t - reach) + (ptrdiff_t)(left - reach - in->x.from) * channels, channels, l->kernel * channels};
        if (l->add >= 0) {
            const layer *add = &s->layers[l->add];
            job.add = row_of(s, l->add, y) + (ptrdiff_t)(left - add->x.from) * add->channels, job.add_step = add->channels;
        }
    }
    k->row(&job);
}

/* Rows y to y + 3, where tiles begin. */
static void compute_four(stream *s, int number, int y) {
    layer *l = &s->layers[number];
    const layer *in = &s->layers[l->input];
    int left = whole(l->x, 4, l->shift).from;
    quad_job job = {.layer = l->weights, .in_step = in->channels, .width = l->x.to - left, .skip = l->x.from - left,
                    .act = l->act, .out_step = l->channels, .scratch = s->scratch};
    for (int t = 0; t < 6; t++)
        job.in[t] = row_of(s, l->input, y + t - 1) + (ptrdiff_t)(left - 1 - in->x.from) * in->channels;
    for (int t = 0; t < 4; t++) {
        if (y + t < l->y.from || y + t >= l->y.to) continue;
        job.out[t] = slot(l, y + t) - (ptrdiff_t)job.skip * l->channels;
        if (l->add < 0) continue;
        const layer *add = &s->layers[l->add];
        job.add[t] = row_of(s, l->add, y + t) + (ptrdiff_t)(left - add->x.from) * add->channels;
        job.add_step = add->channels;
    }
    s->prepared->model->kernels->quad(&job);
}

/* The first computed position of a row; before it and after the last there are zeros. */
static const float *row_of(stream *s, int number, int y) {
    layer *l = &s->layers[number];
    if (!l->begun) l->begun = true, l->next = whole(l->y, l->at_once, l->shift).from;
    if (y < l->y.from || y >= l->y.to) return s->zeros + BEFORE * l->channels; /* beyond the picture */
    for (; l->next <= y; l->next += l->at_once) {
        if (l->at_once == 4) compute_four(s, number, l->next);
        else compute(s, number, l->next);
    }
    return slot(l, y);
}

aec_status aec__aec1_pixels(const void *prepared, const latents *from, box wanted, const sink *to, aec_error *error) {
    arena a = {0};
    stream *s = aec__arena_alloc(&a, 1, 1, sizeof *s);
    size_t longest = 0, scratch = 0;
    bool fits = s != NULL;
    if (fits) {
        s->prepared = prepared, s->latents = from;
        lay_out(s);
        measure(s, wanted, from->width, from->height);
        for (int i = 0; i < s->count && fits; i++) {
            layer *l = &s->layers[i];
            l->pitch = (size_t)(l->x.to - l->x.from + BEFORE + AFTER) * l->channels + ROOM;
            l->ring = aec__arena_alloc(&a, l->rows, l->pitch, sizeof(float));
            if (l->pitch > longest) longest = l->pitch;
            size_t own = (size_t)36 * s->prepared->model->kernels->tiles * 2 * l->channels;
            if (l->at_once == 4 && own > scratch) scratch = own;
            fits = l->ring != NULL;
        }
    }
    const int width = fits ? 8 * (wanted.right - wanted.left) : 0; /* squares */
    float *blocks = NULL;
    for (int i = 0; fits && i < s->count; i++)
        if (s->layers[i].kind == PIXELS) /* whole latents */
            blocks = aec__arena_alloc(&a, s->layers[i].x.to - s->layers[i].x.from + 14, SQUARE, sizeof(float));
    float *zeros = fits ? aec__arena_alloc(&a, longest, 1, sizeof(float)) : NULL;
    float *room = fits ? aec__arena_alloc(&a, scratch, 1, sizeof(float)) : NULL;
    uint16_t *levels = fits ? aec__arena_alloc(&a, width, ROOM, sizeof *levels) : NULL;
    uint16_t *rgb = fits ? aec__arena_alloc(&a, width, 6, sizeof *rgb) : NULL;
    if (!blocks || !zeros || !room || !levels || !rgb) {
        aec__arena_free(&a);
        return aec__fail(error, AEC_MEMORY, "no memory for the pixels of a piece");
    }
    s->blocks = blocks, s->zeros = zeros, s->scratch = room;

    int step = s->layers[s->count - 1].channels;
    for (int y = 8 * wanted.top; y < 8 * wanted.bottom; y++) {
        const float *row = row_of(s, s->count - 1, y) + (ptrdiff_t)(8 * wanted.left - s->layers[s->count - 1].x.from) * step;
        s->prepared->model->kernels->to_levels(row, levels, (float)((1 << to->depth) - 1), (size_t)width * step);
        for (int i = 0; i < 2; i++) {
            for (int x = 0; x < width; x++) memcpy(rgb + 6 * x, levels + x * step + 6 * i, 6 * sizeof *rgb);
            to->row(to, 2 * y + i, 16 * wanted.left, rgb, 2 * width);
        }
    }
    aec__arena_free(&a);
    return AEC_OK;
}
