/* Latents to pixels, in integers. Everything is rows, as in aec1_synthesis.c: each layer keeps a ring of a few and makes
 * the next when the layer behind it asks. */
#include "aec2.h"

#include <math.h>
#include <string.h>

enum { MOST_LAYERS = 4 + 2 * AEC2_BLOCKS + 2 + 2 * AEC2_BLOCKS + 3 + AEC2_FILTER_LAYERS, SQUARE = 12, AHEAD = 4 };
#define STREAM_TOP 4194304.f  /* 2^22 */
#define WIDE_TOP 67108863.0   /* 2^26 - 1: of what enters a wide layer */

typedef struct range {
    int from, to;
} range;

/* FIRST: from latents to a stream. RECTIFIED: a convolution and 0..255. STREAM: a convolution, to the nearest, beside what
 * is added. UP: doubles the resolution. PIXELS: squares of 2x2 pixels. FILTER: the filter's first layer. CHANGED: pixels
 * and what the filter adds. */
typedef enum kind { FIRST, RECTIFIED, STREAM, UP, PIXELS, FILTER, CHANGED } kind;

typedef struct layer {
    kind kind;
    const narrow *weights;
    int kernel, input, add; /* numbers of layers, or -1 */
    int channels;
    int factor; /* rows and columns for each latent */
    int rows;   /* that the rings hold */
    range x, y; /* columns and rows that are computed */
    size_t pitch;
    int size;       /* bytes of what is seen */
    uint8_t *seen;  /* what the next layer sees, with zeros before and after each row */
    float *values;  /* of a stream, which others are added to */
    double *pixels; /* in 1/64 of a level; 0 is mid-grey */
    int next;       /* row to compute; -1: not begun */
} layer;

typedef struct stream {
    const aec2_prepared *prepared;
    const latents *latents;
    layer layers[MOST_LAYERS];
    int count;
    uint8_t *zeros[2]; /* of one sign, of both */
    double *gained, *for_pixels; /* a row of latents as layers see them */
    int row_for_pixels;
    double *wide;
    float *sums;
    int32_t *whole_sums;
} stream;

static int add_layer(stream *s, layer l) {
    l.next = -1;
    s->layers[s->count] = l;
    return s->count++;
}

static int behind(stream *s, kind kind, const narrow *weights, int input, int kernel, int add) {
    return add_layer(s, (layer){.kind = kind, .weights = weights, .kernel = kernel, .input = input, .add = add,
                                .channels = weights->outputs, .factor = s->layers[input].factor});
}

static int through(stream *s, const pair *p, int input, int add) {
    return behind(s, STREAM, &p->second, behind(s, RECTIFIED, &p->first, input, 3, -1), 3, add);
}

static void lay_out(stream *s) {
    const aec2_prepared *p = s->prepared;
    const aec2 *m = p->model;
    const aec2_config *c = &m->config;
    int x = add_layer(s, (layer){.kind = FIRST, .input = -1, .add = -1, .channels = c->at_16, .factor = 1});
    for (int k = 0; k < c->blocks_16; k++) x = through(s, &m->blocks_16[k], x, x);
    x = add_layer(s, (layer){.kind = UP, .weights = p->up, .kernel = 1, .input = x, .add = -1, .channels = c->at_8, .factor = 2});
    x = through(s, &m->enter, x, -1);
    for (int k = 0; k < c->blocks_8; k++) x = through(s, &m->blocks_8[k], x, x);
    int pixels = add_layer(s, (layer){.kind = PIXELS, .weights = m->last, .kernel = 1, .input = x, .add = -1, .channels = SQUARE, .factor = 8});
    x = behind(s, FILTER, &m->filter_first, pixels, 3, -1);
    for (int k = 0; k < c->filter_layers; k++) x = behind(s, RECTIFIED, &m->filter_layers[k], x, 3, -1);
    behind(s, CHANGED, &m->filter_last, x, 1, pixels);
}

static int per(const layer *l) { return l->kind == UP ? 2 : l->kind == PIXELS ? 4 : 1; }

/* Makes a range hold another, whose ends are moved outward to multiples of `unit`, but not beyond the picture. */
static void need(range *r, int from, int to, int unit, int limit) {
    from = aec__max(from, 0), to = aec__min(to, limit);
    from -= from % unit, to += (unit - to % unit) % unit;
    bool first = r->to == 0;
    r->from = first ? from : aec__min(r->from, from);
    r->to = aec__max(r->to, to);
}

/* Which columns and rows each layer has to make, and how many rows it has to keep, from the last one back. */
static void measure(stream *s, box wanted, int width, int height) {
    layer *last = &s->layers[s->count - 1];
    need(&last->x, wanted.left * last->factor, wanted.right * last->factor, 1, width * last->factor);
    need(&last->y, wanted.top * last->factor, wanted.bottom * last->factor, 1, height * last->factor);
    last->rows = 1;
    for (int i = s->count - 1; i > 0; i--) {
        layer *l = &s->layers[i], *in = &s->layers[l->input];
        int reach = l->kernel / 2, unit = l->kind == PIXELS ? 8 : per(l);
        need(&l->x, l->x.from, l->x.to, unit, width * l->factor);
        need(&l->y, l->y.from, l->y.to, unit, height * l->factor);
        need(&in->x, l->x.from / per(l) - reach, l->x.to / per(l) + reach, 1, width * in->factor);
        need(&in->y, l->y.from / per(l) - reach, l->y.to / per(l) + reach, 1, height * in->factor);
        in->rows = aec__max(in->rows, 1 + 2 * reach);
        if (l->add >= 0) {
            layer *add = &s->layers[l->add];
            need(&add->x, l->x.from, l->x.to, 1, width * l->factor);
            need(&add->y, l->y.from, l->y.to, 1, height * l->factor);
            int ahead = 1; /* it is asked for again after all between have looked ahead */
            for (int j = i; j > l->add; j = s->layers[j].input) ahead += s->layers[j].kernel / 2;
            add->rows = aec__max(add->rows, 2 * ahead);
        }
    }
}

static void ask(stream *s, int number, int y);

static size_t slot(const layer *l, int y) { return (size_t)(y % l->rows) * l->pitch; }

static bool both_signs(const layer *l) { return l->kind == FIRST || l->kind == STREAM || l->kind == UP; }

/* What is seen of a row, from column x on; zeros beyond the picture. */
static const uint8_t *seen_from(stream *s, int number, int y, int x) {
    layer *l = &s->layers[number];
    ask(s, number, y);
    if (y < l->y.from || y >= l->y.to) return s->zeros[both_signs(l)];
    return l->seen + (slot(l, y) + (ptrdiff_t)(1 + x - l->x.from) * l->channels) * l->size;
}

/* Latents of a row as a layer sees them: `inputs` doubles for each of the columns left..right. */
static void look_at_latents(const stream *s, int y, int left, int right, const double *gains, double top, bool with_features, double *out) {
    const aec2_config *c = &s->prepared->model->config;
    for (int x = left, run; x < right; x += run) {
        const float *at = aec__latents_at(s->latents, y, x, &run);
        run = aec__min(run, right - x);
        for (int i = 0; i < run; i++, at += c->latent + c->trunk) {
            for (int k = 0; k < c->latent; k++) {
                double gained = nearbyint(at[k] * gains[k]);
                *out++ = gained < -top ? -top : gained > top ? top : gained;
            }
            if (!with_features) continue;
            for (int k = 0; k < c->trunk; k++) *out++ = at[c->latent + k] * (double)(SUM_STEPS / ACTIVATION_STEPS);
        }
    }
}

/* A layer over its input, all but what becomes of it. */
static narrow_job convolution(stream *s, const layer *l, int y) {
    const layer *in = &s->layers[l->input];
    const int reach = l->kernel / 2, n = in->channels;
    const narrow *weights = l->weights + y % per(l);
    narrow_job job = {.layer = weights, .count = l->kernel, .width = (l->x.to - l->x.from) / per(l), .out_step = weights->outputs};
    for (int t = 0; t < l->kernel; t++)
        job.segments[t] = (narrow_segment){seen_from(s, l->input, y / per(l) + t - reach, l->x.from / per(l) - reach), n, l->kernel * n};
    return job;
}

static void compute(stream *s, int number, int y) {
    const aec2_prepared *p = s->prepared;
    const aec2 *m = p->model;
    const aec2_config *c = &m->config;
    const kernels *k = m->kernels;
    layer *l = &s->layers[number];
    const int left = l->x.from, width = l->x.to - left, n = l->channels;
    const size_t count = (size_t)width * n, at = slot(l, y);
    const double per_step = p->step * (255.0 * PIXEL_STEPS / ACTIVATION_STEPS);
    uint8_t *seen = l->seen ? l->seen + (at + n) * l->size : NULL;
    narrow_job job = {0};
    float *values = l->values ? l->values + at : NULL;
    double *pixels = l->pixels ? l->pixels + at : NULL;
    switch (l->kind) {
    case FIRST: {
        look_at_latents(s, y, left, l->x.to, p->input_gain, LATENT_TOP, true, s->gained);
        wide_job first = {&p->first, s->gained, c->latent + c->trunk, width, s->wide, n};
        k->wide(&first);
        for (size_t i = 0; i < count; i++) {
            float x = (float)s->wide[i];
            values[i] = x < -STREAM_TOP ? -STREAM_TOP : x > STREAM_TOP ? STREAM_TOP : x;
        }
        k->to_activations(values, seen, count);
        break;
    }
    case RECTIFIED:
    case UP:
        job = convolution(s, l, y);
        job.seen = seen, job.both_signs = l->kind == UP;
        k->narrow(&job);
        break;
    case STREAM:
        job = convolution(s, l, y);
        job.seen = seen, job.both_signs = true, job.values = values;
        if (l->add >= 0) {
            const layer *from = &s->layers[l->add];
            ask(s, l->add, y);
            job.add = from->values + slot(from, y) + (size_t)(left - from->x.from) * n;
        }
        k->narrow(&job);
        break;
    case PIXELS: {
        if (s->row_for_pixels != y / 8) look_at_latents(s, y / 8, left / 8, l->x.to / 8, p->decoder_gain, WIDE_TOP, false, s->for_pixels);
        s->row_for_pixels = y / 8;
        wide_job linear = {&m->linear[y % 8], s->for_pixels, c->latent, width / 8, pixels, 8 * SQUARE};
        k->wide(&linear);
        job = convolution(s, l, y);
        job.values = s->sums;
        k->narrow(&job);
        k->change(pixels, s->sums, per_step, pixels, count);
        k->to_steps(pixels, (double)SUM_STEPS / (255 * PIXEL_STEPS), p->step, (int16_t *)seen, count);
        break;
    }
    case FILTER:
        job = convolution(s, l, y);
        job.sums = s->whole_sums;
        k->narrow(&job);
        k->rectify(s->whole_sums, m->filter_first_bias, p->filter_gain, p->filter_bias, seen, width, n);
        break;
    case CHANGED: {
        job = convolution(s, l, y);
        job.values = s->sums;
        k->narrow(&job);
        const layer *from = &s->layers[l->add];
        ask(s, l->add, y);
        k->change(from->pixels + slot(from, y) + (size_t)(left - from->x.from) * SQUARE, s->sums, per_step, pixels, count);
        break;
    }
    }
}

/* Makes a row, if it is of the picture and not there yet. */
static void ask(stream *s, int number, int y) {
    layer *l = &s->layers[number];
    if (y < l->y.from || y >= l->y.to) return;
    if (l->next < 0) l->next = l->y.from;
    for (; l->next <= y; l->next++) compute(s, number, l->next);
}

/* Rows of activations that are zero. */
static uint8_t *zeros_of(const stream *s, arena *a, bool both, size_t rows, size_t pitch, size_t size) {
    uint8_t *own = aec__arena_alloc(a, rows, pitch, size);
    if (own && both && s->prepared->model->kernels->activation == 1) memset(own, SIGNED_ZERO, rows * pitch * size);
    return own;
}

aec_status aec__aec2_pixels(const void *prepared, const latents *from, box wanted, const sink *to, aec_error *error) {
    const aec2_config *c = &((const aec2_prepared *)prepared)->model->config;
    arena a = {0};
    stream *s = aec__arena_alloc(&a, 1, 1, sizeof *s);
    size_t longest = 0, widest = 0, columns = 0;
    uint16_t *row_levels = NULL;
    bool fits = s != NULL;
    if (fits) {
        s->prepared = prepared, s->latents = from, s->row_for_pixels = -1;
        lay_out(s);
        measure(s, wanted, from->width, from->height);
    }
    for (int i = 0; fits && i < s->count; i++) {
        layer *l = &s->layers[i];
        size_t width = (size_t)(l->x.to - l->x.from), row = width * l->channels;
        bool stream_ = l->kind == FIRST || l->kind == STREAM, pixels = l->kind == PIXELS || l->kind == CHANGED;
        l->pitch = (width + 2) * l->channels + AHEAD;
        l->size = l->kind == PIXELS ? 2 : s->prepared->model->kernels->activation;
        if (l->pitch > longest) longest = l->pitch;
        if (row > widest) widest = row;
        if (width / l->factor + 2 > columns) columns = width / l->factor + 2;
        if (l->kind != CHANGED) fits = (l->seen = zeros_of(s, &a, both_signs(l), l->rows, l->pitch, l->size)) != NULL;
        if (stream_) fits = fits && (l->values = aec__arena_alloc(&a, l->rows, l->pitch, sizeof *l->values));
        if (pixels) fits = fits && (l->pixels = aec__arena_alloc(&a, l->rows, l->pitch, sizeof *l->pixels));
    }
    if (fits) {
        for (int both = 0; both < 2; both++) s->zeros[both] = zeros_of(s, &a, both, 1, longest, 2);
        s->gained = aec__arena_alloc(&a, columns, c->latent + c->trunk, sizeof *s->gained);
        s->for_pixels = aec__arena_alloc(&a, columns, c->latent, sizeof *s->for_pixels);
        s->wide = aec__arena_alloc(&a, columns, c->at_16, sizeof *s->wide);
        s->sums = aec__arena_alloc(&a, widest, 1, sizeof *s->sums);
        s->whole_sums = aec__arena_alloc(&a, widest, 1, sizeof *s->whole_sums);
        row_levels = aec__arena_alloc(&a, widest, 1, sizeof *row_levels);
    }
    const int width = fits ? 8 * (wanted.right - wanted.left) : 0; /* squares */
    uint16_t *rgb = fits ? aec__arena_alloc(&a, width, 6, sizeof *rgb) : NULL;
    if (!rgb || !s->zeros[0] || !s->zeros[1] || !s->gained || !s->for_pixels || !s->wide || !s->sums || !s->whole_sums || !row_levels) {
        aec__arena_free(&a);
        return aec__fail(error, AEC_MEMORY, "no memory for the pixels of a piece");
    }
    layer *last = &s->layers[s->count - 1];
    const double white = (double)((1 << to->depth) - 1), middle = 255.0 * PIXEL_STEPS / 2;
    const double scale[3] = {middle, to->depth == 8 ? 1 : white, to->depth == 8 ? PIXEL_STEPS : 255.0 * PIXEL_STEPS};
    for (int y = 8 * wanted.top; y < 8 * wanted.bottom; y++) {
        ask(s, s->count - 1, y);
        const double *row = last->pixels + slot(last, y) + (size_t)(8 * wanted.left - last->x.from) * SQUARE;
        s->prepared->model->kernels->levels(row, scale, white, row_levels, (size_t)width * SQUARE);
        for (int i = 0; i < 2; i++) {
            for (int x = 0; x < width; x++) memcpy(rgb + 6 * x, row_levels + x * SQUARE + 6 * i, 6 * sizeof *rgb);
            to->row(to, 2 * y + i, 16 * wanted.left, rgb, 2 * width);
        }
    }
    aec__arena_free(&a);
    return AEC_OK;
}
