/* Latents to pixels, in integers. Everything is rows, as in aec1_synthesis.c: each layer keeps a ring of a few and makes
 * the next when the layer behind it asks. */
#include "aec2.h"

#include <math.h>
#include <string.h>

enum { MOST_LAYERS = 4 + 2 * AEC2_BLOCKS + 2 + 2 * AEC2_BLOCKS + 3 + AEC2_FILTER_LAYERS, SQUARE = 12 };
#define STREAM_TOP 4194304.f /* 2^22 */
#define STEPS_TOP 32767.0

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
    int16_t *seen;  /* what the next layer sees, with zeros before and after each row */
    float *values;  /* of a stream, which others are added to */
    double *pixels; /* in 1/64 of a level; 0 is mid-grey */
    int next;       /* row to compute; -1: not begun */
} layer;

typedef struct stream {
    const aec2_prepared *prepared;
    const latents *latents;
    layer layers[MOST_LAYERS];
    int count;
    int16_t *zeros;
    double *gained; /* a row of latents as a layer sees them */
    double *wide;
    float *sums;
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

/* What is seen of a row, from column x on; zeros beyond the picture. */
static const int16_t *seen_from(stream *s, int number, int y, int x) {
    layer *l = &s->layers[number];
    ask(s, number, y);
    if (y < l->y.from || y >= l->y.to) return s->zeros;
    return l->seen + slot(l, y) + (ptrdiff_t)(1 + x - l->x.from) * l->channels;
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

/* Sums of a narrow layer over a row, into s->sums. */
static void convolve(stream *s, const layer *l, const narrow *weights, int y, int left, int width, bool raw) {
    const layer *in = &s->layers[l->input];
    int reach = l->kernel / 2;
    narrow_job job = {.layer = weights, .count = l->kernel, .width = width, .out = s->sums, .out_step = weights->outputs,
                      .sums = raw ? (int32_t *)s->sums : NULL};
    for (int t = 0; t < l->kernel; t++)
        job.segments[t] = (narrow_segment){seen_from(s, l->input, y + t - reach, left - reach), in->channels, l->kernel * in->channels};
    s->prepared->model->kernels->narrow(&job);
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
    int16_t *seen = l->seen ? l->seen + at + n : NULL;
    float *values = l->values ? l->values + at : NULL;
    double *pixels = l->pixels ? l->pixels + at : NULL;
    switch (l->kind) {
    case FIRST: {
        look_at_latents(s, y, left, l->x.to, p->input_gain, LATENT_TOP, true, s->gained);
        wide_job job = {&p->first, s->gained, c->latent + c->trunk, width, s->wide, n};
        k->wide(&job);
        for (size_t i = 0; i < count; i++) {
            float x = (float)s->wide[i];
            values[i] = x < -STREAM_TOP ? -STREAM_TOP : x > STREAM_TOP ? STREAM_TOP : x;
        }
        k->activations(values, seen, -SIGNED_TOP, SIGNED_TOP, count);
        break;
    }
    case RECTIFIED:
        convolve(s, l, l->weights, y, left, width, false);
        k->activations(s->sums, seen, 0, ACTIVATION_TOP, count);
        break;
    case STREAM: {
        convolve(s, l, l->weights, y, left, width, false);
        const float *add = NULL;
        if (l->add >= 0) {
            const layer *from = &s->layers[l->add];
            ask(s, l->add, y);
            add = from->values + slot(from, y) + (size_t)(left - from->x.from) * n;
        }
        k->add_rounded(s->sums, add, values, count);
        k->activations(values, seen, -SIGNED_TOP, SIGNED_TOP, count);
        break;
    }
    case UP: {
        const int16_t *in = seen_from(s, l->input, y / 2, left / 2);
        narrow_job job = {.layer = l->weights + y % 2, .count = 1, .width = width / 2, .out = s->sums, .out_step = 2 * n};
        job.segments[0] = (narrow_segment){in, c->at_16, c->at_16};
        k->narrow(&job);
        k->activations(s->sums, seen, -SIGNED_TOP, SIGNED_TOP, count);
        break;
    }
    case PIXELS: {
        look_at_latents(s, y / 8, left / 8, l->x.to / 8, p->decoder_gain, HUGE_VAL, false, s->gained);
        wide_job job = {&m->linear[y % 8], s->gained, c->latent, width / 8, pixels, 8 * SQUARE};
        k->wide(&job);
        narrow_job last = {.layer = l->weights + y % 4, .count = 1, .width = width / 4, .out = s->sums, .out_step = 4 * SQUARE};
        last.segments[0] = (narrow_segment){seen_from(s, l->input, y / 4, left / 4), c->at_8, c->at_8};
        k->narrow(&last);
        for (size_t i = 0; i < count; i++) {
            pixels[i] += nearbyint(s->sums[i] * per_step);
            double steps = nearbyint(pixels[i] * ((double)SUM_STEPS / (255 * PIXEL_STEPS)) / p->step);
            seen[i] = (int16_t)(steps < -STEPS_TOP - 1 ? -STEPS_TOP - 1 : steps > STEPS_TOP ? STEPS_TOP : steps);
        }
        break;
    }
    case FILTER: {
        convolve(s, l, l->weights, y, left, width, true);
        const int32_t *sums = (const int32_t *)s->sums;
        for (int x = 0; x < width; x++)
            for (int i = 0; i < n; i++, sums++) {
                double sum = nearbyint((*sums + m->filter_first_bias[i]) * l->weights->step[i] * p->filter_gain[i]);
                sum = nearbyint((sum + p->filter_bias[i]) / (SUM_STEPS / ACTIVATION_STEPS));
                *seen++ = (int16_t)(sum < 0 ? 0 : sum > ACTIVATION_TOP ? ACTIVATION_TOP : sum);
            }
        break;
    }
    case CHANGED: {
        convolve(s, l, l->weights, y, left, width, false);
        const layer *from = &s->layers[l->add];
        ask(s, l->add, y);
        const double *before = from->pixels + slot(from, y) + (size_t)(left - from->x.from) * SQUARE;
        for (size_t i = 0; i < count; i++) pixels[i] = before[i] + nearbyint(s->sums[i] * per_step);
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

static uint16_t level(double pixel, double white, int depth) {
    pixel += 255 * PIXEL_STEPS / 2;
    double x = depth == 8 ? pixel / PIXEL_STEPS : pixel * white / (255 * PIXEL_STEPS);
    x = nearbyint(x);
    return (uint16_t)(x > 0 ? x < white ? x : white : 0);
}

aec_status aec__aec2_pixels(const void *prepared, const latents *from, box wanted, const sink *to, aec_error *error) {
    const aec2_config *c = &((const aec2_prepared *)prepared)->model->config;
    arena a = {0};
    stream *s = aec__arena_alloc(&a, 1, 1, sizeof *s);
    size_t longest = 0, widest = 0, columns = 0;
    bool fits = s != NULL;
    if (fits) {
        s->prepared = prepared, s->latents = from;
        lay_out(s);
        measure(s, wanted, from->width, from->height);
    }
    for (int i = 0; fits && i < s->count; i++) {
        layer *l = &s->layers[i];
        size_t width = (size_t)(l->x.to - l->x.from), row = width * l->channels;
        bool stream_ = l->kind == FIRST || l->kind == STREAM, pixels = l->kind == PIXELS || l->kind == CHANGED;
        l->pitch = (width + 2) * l->channels;
        if (l->pitch > longest) longest = l->pitch;
        if (row > widest) widest = row;
        if (width / l->factor + 2 > columns) columns = width / l->factor + 2;
        if (l->kind != CHANGED) fits = (l->seen = aec__arena_alloc(&a, l->rows, l->pitch, sizeof *l->seen)) != NULL;
        if (stream_) fits = fits && (l->values = aec__arena_alloc(&a, l->rows, l->pitch, sizeof *l->values));
        if (pixels) fits = fits && (l->pixels = aec__arena_alloc(&a, l->rows, l->pitch, sizeof *l->pixels));
    }
    if (fits) {
        s->zeros = aec__arena_alloc(&a, longest, 1, sizeof *s->zeros);
        s->gained = aec__arena_alloc(&a, columns, c->latent + c->trunk, sizeof *s->gained);
        s->wide = aec__arena_alloc(&a, columns, c->at_16, sizeof *s->wide);
        s->sums = aec__arena_alloc(&a, widest, 1, sizeof *s->sums);
    }
    const int width = fits ? 8 * (wanted.right - wanted.left) : 0; /* squares */
    uint16_t *rgb = fits ? aec__arena_alloc(&a, width, 6, sizeof *rgb) : NULL;
    if (!rgb || !s->zeros || !s->gained || !s->wide || !s->sums) {
        aec__arena_free(&a);
        return aec__fail(error, AEC_MEMORY, "no memory for the pixels of a piece");
    }
    layer *last = &s->layers[s->count - 1];
    const double white = (double)((1 << to->depth) - 1);
    for (int y = 8 * wanted.top; y < 8 * wanted.bottom; y++) {
        ask(s, s->count - 1, y);
        const double *row = last->pixels + slot(last, y) + (size_t)(8 * wanted.left - last->x.from) * SQUARE;
        for (int i = 0; i < 2; i++) {
            for (int x = 0; x < width; x++)
                for (int k = 0; k < 6; k++) rgb[6 * x + k] = level(row[x * SQUARE + 6 * i + k], white, to->depth);
            to->row(to, 2 * y + i, 16 * wanted.left, rgb, 2 * width);
        }
    }
    aec__arena_free(&a);
    return AEC_OK;
}
