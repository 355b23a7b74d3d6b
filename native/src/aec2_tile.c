/* A tile's payload to its latents, in integers. A position of the result is `latent` floats in 1/256 of a quantisation
 * step, then `trunk` features. */
#include "aec2.h"
#include "threads.h"

#include <math.h>
#include <string.h>

#define SUM_TOP 4194304.0 /* 2^22 */
#define SCALE_STEP 0x1p-12
#define HIDDEN_TOP 1048576.0 /* 2^20 */

typedef struct work {
    const aec2 *model;
    symbols tile;
    uint8_t *seen;  /* (h, w + 2, latent) activations: what the context sees of the first pass; rows begin and end with a zero */
    uint8_t *zeros; /* a row of these */
    double *scratch; /* for each worker */
    float *sums;
    size_t scratch_size, sums_size;
} work;

static uint8_t *seen_at(const work *k, int y, int x) {
    return k->seen + (((size_t)y * (k->tile.w + 2)) + 1 + x) * k->model->config.latent * k->model->kernels->activation;
}

static double within(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static void features_of(const work *k, int y, double *out) {
    const int n = k->model->config.trunk;
    const float *in = k->tile.latents + ((size_t)y * k->tile.w + 1) * k->tile.positions - n;
    for (int x = 0; x < k->tile.w; x++, in += k->tile.positions, out += n)
        for (int i = 0; i < n; i++) out[i] = in[i];
}

/* By the table; above it, x itself. */
static void gelu(const aec2 *m, double *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        x[i] = x[i] < GELU_REACH ? m->gelu[(int)within(x[i], -GELU_REACH, GELU_REACH - 1) + GELU_REACH] : within(x[i], 0, HIDDEN_TOP);
}

static void run_wide(const work *k, const wide *layer, const double *in, ptrdiff_t in_step, int width, double *out, int out_step) {
    wide_job job = {layer, in, in_step, width, out, out_step};
    k->model->kernels->wide(&job);
}

/* From a mean in 1/256 of a standard deviation to 1/256 of a step. */
static double mean_of(const work *k, double mean, uint8_t index) {
    return nearbyint(within(mean, -SUM_TOP, SUM_TOP) * k->model->scales[index & (AEC_TABLES - 1)] * SCALE_STEP);
}

static int first_of(int y, int parity) { return (y ^ parity) & 1; }
static int count_of(int w, int first) { return (w - first + 1) / 2; }

/* By how much a latent is seen: how many thresholds it reaches. */
static float magnitude(const double *thresholds, double latent) {
    int low = 0, high = SIGNED_TOP; /* thresholds below `low` are reached, from `high` on they are not */
    while (low < high) {
        int middle = (low + high) / 2;
        if (latent >= thresholds[middle]) low = middle + 1;
        else high = middle;
    }
    return (float)low;
}

static void first_pass_row(void *context, int y, int worker) {
    const work *k = context;
    const aec2 *m = k->model;
    const aec2_config *c = &m->config;
    const int w = k->tile.w;
    double *features = k->scratch + worker * k->scratch_size, *hidden = features + (size_t)w * c->trunk;
    double *means = hidden + (size_t)w * c->context;
    float *seen = k->sums + worker * k->sums_size;
    features_of(k, y, features);
    run_wide(k, &m->first_hidden, features, c->trunk, w, hidden, c->context);
    gelu(m, hidden, (size_t)w * c->context);
    for (int parity = 0; parity < 2; parity++) {
        int first = first_of(y, parity), count = count_of(w, first);
        int start = aec__half_start(c->latent, parity, 0), size = aec__half_size(c->latent, parity, 0);
        run_wide(k, &m->first_mean[parity], hidden + (size_t)first * c->context, 2 * c->context, count, means, size);
        for (int i = 0; i < count; i++) {
            size_t at = (size_t)y * w + first + 2 * i, element = at * c->latent + start;
            float *out = k->tile.latents + at * k->tile.positions + start;
            for (int n = 0; n < size; n++) {
                double mean = mean_of(k, means[(size_t)i * size + n], k->tile.indices[element + n]);
                double latent = within(LATENT_STEPS * (double)k->tile.symbols[element + n] + mean, -LATENT_TOP, LATENT_TOP);
                out[n] = (float)latent;
                seen[n] = magnitude(m->thresholds, fabs(latent));
                if (latent < 0) seen[n] = -seen[n];
            }
            m->kernels->to_activations(seen, seen_at(k, y, first + 2 * i) + start * m->kernels->activation, size);
        }
    }
}

static void second_pass_row(void *context, int y, int worker) {
    const work *k = context;
    const aec2 *m = k->model;
    const aec2_config *c = &m->config;
    const int w = k->tile.w, h = k->tile.h;
    const size_t row = (size_t)w * c->context;
    double *features = k->scratch + worker * k->scratch_size, *hidden = features + (size_t)w * c->trunk;
    double *more = hidden + row, *means = more + row;
    float *sums = k->sums + worker * k->sums_size;
    features_of(k, y, features);
    narrow_job job = {.layer = &m->context, .count = 3, .width = w, .values = sums, .out_step = c->context};
    for (int t = 0; t < 3; t++) {
        const uint8_t *line = y + t - 1 < 0 || y + t - 1 >= h ? k->zeros : seen_at(k, y + t - 1, -1);
        job.segments[t] = (narrow_segment){line, c->latent, 3 * c->latent};
    }
    m->kernels->narrow(&job);
    run_wide(k, &m->context_features, features, c->trunk, w, hidden, c->context);
    for (size_t i = 0; i < row; i++) hidden[i] += nearbyint(sums[i] * 16.0);
    gelu(m, hidden, row);
    run_wide(k, &m->second_hidden, hidden, c->context, w, more, c->context);
    gelu(m, more, row);
    for (int parity = 0; parity < 2; parity++) {
        int first = first_of(y, parity), count = count_of(w, first);
        int start = aec__half_start(c->latent, parity, 1), size = aec__half_size(c->latent, parity, 1);
        run_wide(k, &m->second_mean[parity], more + (size_t)first * c->context, 2 * c->context, count, means, size);
        for (int i = 0; i < count; i++) {
            const int x = first + 2 * i;
            size_t at = (size_t)y * w + x, element = at * c->latent + start;
            float *out = k->tile.latents + at * k->tile.positions + start;
            ptrdiff_t below = (ptrdiff_t)w * k->tile.positions, right = k->tile.positions;
            const bool there[4] = {y > 0, x > 0, x + 1 < w, y + 1 < h};
            const ptrdiff_t where[4] = {-below, -right, right, below};
            for (int n = 0; n < size; n++) {
                double sum = m->neighbour_bias[start + n];
                for (int t = 0; t < 4; t++)
                    if (there[t]) sum += out[where[t] + n] * m->neighbours[t][start + n];
                double mean = mean_of(k, means[(size_t)i * size + n], k->tile.indices[element + n]);
                mean += nearbyint(sum * m->neighbour_factor[start + n]);
                out[n] = (float)within(LATENT_STEPS * (double)k->tile.symbols[element + n] + mean, -LATENT_TOP, LATENT_TOP);
            }
        }
    }
}

aec_status aec__aec2_tile(const void *prepared, const uint8_t *payload, size_t size, int h, int w, int threads,
                          void *latents, aec_error *error) {
    const aec2_prepared *p = prepared;
    const aec2_config *c = &p->model->config;
    arena a = {0};
    threads = aec__max(1, aec__min(threads, h));
    work k = {.model = p->model, .tile = {.h = h, .w = w, .positions = c->latent + c->trunk, .latents = latents}};
    k.scratch_size = (size_t)w * (c->trunk + 2 * c->context + c->latent);
    k.sums_size = aec__max(w * c->context, c->latent);
    k.scratch = aec__arena_alloc(&a, threads, k.scratch_size, sizeof(double));
    k.sums = aec__arena_alloc(&a, threads, k.sums_size, sizeof(float));
    const size_t seen = (size_t)(w + 2) * c->latent * p->model->kernels->activation;
    k.seen = aec__arena_alloc(&a, h + 1, seen, 1); /* a little is read beyond */
    k.zeros = aec__arena_alloc(&a, 2, seen, 1);
    aec_status status = AEC_MEMORY;
    if (k.scratch && k.sums && k.seen && k.zeros) {
        if (p->model->kernels->activation == 1) memset(k.seen, SIGNED_ZERO, h * seen), memset(k.zeros, SIGNED_ZERO, seen);
        status = aec__hyper_decode(&p->hyper, payload, size, threads, &a, &k.tile, error);
    }
    if (!status) {
        aec__run(threads, h, first_pass_row, &k);
        aec__run(threads, h, second_pass_row, &k);
    }
    aec__arena_free(&a);
    return status == AEC_MEMORY ? aec__fail(error, AEC_MEMORY, "no memory for a tile of %dx%d pixels", w * AEC_STRIDE, h * AEC_STRIDE)
                                : status;
}
