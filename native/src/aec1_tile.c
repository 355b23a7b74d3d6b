/* A tile's payload to its latents: hyper latents, scale indices, symbols, signs, means. Data lie in memory as
 * (row, column, channel); a position of the result is `latent` floats in quantisation steps, then `trunk` features. */
#include "aec1.h"
#include "hiding.h"
#include "threads.h"

#include <string.h>

#define Z_TOP 127
#define SYMBOL_TOP 2047

/* A map whose rows begin and end with a position of zeros. */
typedef struct map {
    float *data;
    int h, w, channels;
} map;

typedef struct work {
    const aec1_prepared *prepared;
    const aec1 *model;
    int h, w; /* in latents */
    int positions; /* floats of a position of the result */
    float *latents;
    uint8_t *indices; /* (h, w, latent) */
    int32_t *symbols; /* the same */
    map asinh;        /* (h, w, half): of what the first pass decoded */
    float *zeros;
    float *scratch; /* for each worker */
    size_t scratch_size;
    map from, to; /* of the layer at work */
    int layer;
} work;

static float *line(const map *m, int y) { return m->data + ((size_t)y * (m->w + 2) + 1) * m->channels; }

static const float *line_or_zeros(const work *k, const map *m, int y) {
    return y < 0 || y >= m->h ? k->zeros + m->channels : line(m, y);
}

static bool new_map(arena *a, map *m, int h, int w, int channels) {
    *m = (map){aec__arena_alloc(a, (size_t)h * (w + 2), channels, sizeof(float)), h, w, channels};
    return m->data != NULL;
}

/* ---- hyper latents, which nothing else in the network needs ---- */

static void predict_hyper_latents(const aec1 *m, const int32_t *coded, map *z) {
    int channels = z->channels;
    const int32_t *left = m->z_weights, *above = left + channels, *corner = above + channels;
    for (int y = 0; y < z->h; y++)
        for (int x = 0; x < z->w; x++) {
            float *own = line(z, y) + (ptrdiff_t)x * channels;
            const float *up = y ? line(z, y - 1) + (ptrdiff_t)x * channels : NULL;
            for (int k = 0; k < channels; k++) {
                int sum = left[k] * (int)own[k - channels]; /* the border's zero at the left */
                if (up) sum += above[k] * (int)up[k] + corner[k] * (int)up[k - channels];
                int32_t value = coded[((size_t)y * z->w + x) * channels + k];
                int predicted = (sum + 32 >= 0) ? (sum + 32) / 64 : -((-(sum + 32) + 63) / 64);
                own[k] = (float)aec__clamp(value + predicted, -Z_TOP, Z_TOP);
            }
        }
}

/* ---- scale indices: integer layers, exact in float32 ---- */

static void trunk_row(void *context, int y, int worker) {
    const work *k = context;
    (void)worker;
    const exact_layer *e = &k->model->exact[k->layer];
    const packed *layers = k->prepared->exact[k->layer];
    int c = k->from.channels, n = k->model->config.trunk;
    row_job job = {.layer = &layers[0], .width = k->from.w, .act = INTEGER};
    if (e->kernel == 3) {
        job.count = 3;
        for (int t = 0; t < 3; t++) job.segments[t] = (segment){line_or_zeros(k, &k->from, y + t - 1) - c, c, 3 * c};
    } else {
        job.count = 1;
        job.segments[0] = (segment){line(&k->from, y), c, c};
    }
    if (k->layer == TRUNK - 1) { /* the features */
        job.out = k->latents + (size_t)y * k->w * k->positions + k->model->config.latent;
        job.out_step = k->positions;
        k->model->kernels->row(&job);
    } else if (e->doubles) {
        for (int i = 0; i < 2; i++) {
            job.layer = &layers[i], job.out = line(&k->to, 2 * y + i), job.out_step = 2 * n;
            k->model->kernels->row(&job);
        }
    } else {
        job.out = line(&k->to, y), job.out_step = n;
        k->model->kernels->row(&job);
    }
}

static segment features_of(const work *k, int y, int x, int every) {
    const config *c = &k->model->config;
    return (segment){k->latents + ((size_t)y * k->w + x) * k->positions + c->latent, (ptrdiff_t)every * k->positions, c->trunk};
}

static void head_row(void *context, int y, int worker) {
    const work *k = context;
    int m = k->model->config.latent;
    float *out = k->scratch + worker * k->scratch_size;
    row_job job = {.layer = &k->prepared->exact[TRUNK][0], .width = k->w, .act = INTEGER, .count = 1, .out = out, .out_step = m};
    job.segments[0] = features_of(k, y, 0, 1);
    k->model->kernels->row(&job);
    uint8_t *indices = k->indices + (size_t)y * k->w * m;
    for (size_t i = 0; i < (size_t)k->w * m; i++) indices[i] = (uint8_t)out[i];
}

/* ---- means, in two passes over a checkerboard; positions of a row whose row + column is even, then the odd ones ---- */

static int first_of(int y, int parity) { return (y ^ parity) & 1; }
static int count_of(int w, int first) { return (w - first + 1) / 2; }

/* mean + symbol for the half of the channels that a pass decodes at position (y, x). Returns where it is. */
static float *decode_half(const work *k, int y, int x, int parity, int pass, const float *means, int *start, int *size) {
    const config *c = &k->model->config;
    *start = parity ^ pass ? c->latent / 2 : 0;
    *size = parity ^ pass ? c->latent - c->latent / 2 : c->latent / 2;
    size_t element = ((size_t)y * k->w + x) * c->latent + *start;
    float *out = k->latents + ((size_t)y * k->w + x) * k->positions + *start;
    k->model->kernels->dequantise(k->symbols + element, k->indices + element, k->model->scales, means, out, *size);
    return out;
}

static void first_pass_row(void *context, int y, int worker) {
    work *k = context;
    const aec1 *m = k->model;
    const config *c = &m->config;
    float *hidden = k->scratch + worker * k->scratch_size, *means = hidden + (size_t)k->w * c->context;
    row_job job = {.layer = &m->first_hidden, .width = k->w, .act = GELU, .count = 1, .out = hidden, .out_step = c->context};
    job.segments[0] = features_of(k, y, 0, 1);
    m->kernels->row(&job);
    for (int parity = 0; parity < 2; parity++) {
        int first = first_of(y, parity), count = count_of(k->w, first), start, size;
        job = (row_job){.layer = &m->first_mean[parity], .width = count, .act = NONE, .count = 1, .out = means, .out_step = c->half};
        job.segments[0] = (segment){hidden + (size_t)first * c->context, 2 * c->context, c->context};
        m->kernels->row(&job);
        for (int i = 0; i < count; i++) {
            int x = first + 2 * i;
            const float *out = decode_half(k, y, x, parity, 0, means + (size_t)i * c->half, &start, &size);
            m->kernels->asinh(out, line(&k->asinh, y) + (ptrdiff_t)x * c->half, size);
        }
    }
}

static void second_pass_row(void *context, int y, int worker) {
    work *k = context;
    const aec1 *m = k->model;
    const config *c = &m->config;
    size_t row = (size_t)k->w * c->context;
    float *hidden = k->scratch + worker * k->scratch_size, *more = hidden + row, *means = more + row;
    for (int parity = 0; parity < 2; parity++) {
        int first = first_of(y, parity), count = count_of(k->w, first), start, size;
        row_job job = {.layer = &m->context[parity], .width = count, .act = GELU, .count = 4, .out = hidden, .out_step = c->context};
        for (int t = 0; t < 3; t++)
            job.segments[t] = (segment){line_or_zeros(k, &k->asinh, y + t - 1) + (ptrdiff_t)(first - 1) * c->half, 2 * c->half, 3 * c->half};
        job.segments[3] = features_of(k, y, first, 2);
        m->kernels->row(&job);
        job = (row_job){.layer = &m->second_hidden, .width = count, .act = GELU, .count = 1, .out = more, .out_step = c->context};
        job.segments[0] = (segment){hidden, c->context, c->context};
        m->kernels->row(&job);
        job = (row_job){.layer = &m->second_mean[parity], .width = count, .act = NONE, .count = 1, .out = means, .out_step = c->half};
        job.segments[0] = (segment){more, c->context, c->context};
        m->kernels->row(&job);
        for (int i = 0; i < count; i++) {
            int x = first + 2 * i;
            float *out = decode_half(k, y, x, parity, 1, means + (size_t)i * c->half, &start, &size);
            ptrdiff_t below = (ptrdiff_t)k->w * k->positions, right = k->positions;
            const float *around[4] = {y ? out - below : k->zeros, x ? out - right : k->zeros,
                                      x + 1 < k->w ? out + right : k->zeros, y + 1 < k->h ? out + below : k->zeros};
            const float *weights[4];
            for (int t = 0; t < 4; t++) weights[t] = m->neighbours[t] + start;
            m->kernels->add_neighbours(around, weights, out, size);
        }
    }
}

aec_status aec__aec1_tile(const void *prepared, const uint8_t *payload, size_t size, int h, int w, int threads,
                          void *latents, aec_error *error) {
    const aec1_prepared *p = prepared;
    const aec1 *m = p->model;
    const config *c = &m->config;
    arena a = {0};
    aec_status status = AEC_MEMORY;
    size_t elements = (size_t)h * w * c->latent, hyper = (size_t)(h / 4) * (w / 4) * c->hyper;
    size_t most = elements > hyper ? elements : hyper;
    int widest = aec__max(aec__max(c->half, c->trunk), aec__max(c->hyper, c->latent));
    work k = {.prepared = p, .model = m, .h = h, .w = w, .positions = c->latent + c->trunk, .latents = latents};
    threads = aec__max(1, aec__min(threads, h));
    k.scratch_size = (size_t)w * aec__max(c->latent, 2 * c->context + c->half);
    k.scratch = aec__arena_alloc(&a, threads, k.scratch_size, sizeof(float));
    k.zeros = aec__arena_alloc(&a, w + 2, widest, sizeof(float));
    k.indices = aec__arena_alloc(&a, most, 1, 1);
    k.symbols = aec__arena_alloc(&a, most, 1, sizeof *k.symbols);
    uint32_t *places = aec__arena_alloc(&a, most, 1, sizeof *places);
    map z;
    if (!k.scratch || !k.zeros || !k.indices || !k.symbols || !places) goto end;
    if (!new_map(&a, &z, h / 4, w / 4, c->hyper) || !new_map(&a, &k.asinh, h, w, c->half)) goto end;

    ans coder;
    if (!aec__ans_start(&coder, payload, size)) {
        status = aec__fail(error, AEC_FORMAT, "entropy-coded data ends in a zero word");
        goto end;
    }
    for (size_t i = 0; i < hyper; i++) k.indices[i] = p->z_index[i % c->hyper];
    aec__take(&coder, &m->tables, k.indices, (size_t)(h / 4) * (w / 4), c->hyper, places, k.symbols);
    predict_hyper_latents(m, k.symbols, &z);

    k.from = z;
    for (k.layer = 0; k.layer < TRUNK; k.layer++) {
        int doubling = m->exact[k.layer].doubles ? 2 : 1;
        if (k.layer < TRUNK - 1 && !new_map(&a, &k.to, doubling * k.from.h, doubling * k.from.w, c->trunk)) goto end;
        aec__run(threads, k.from.h, trunk_row, &k);
        k.from = k.to;
    }
    aec__run(threads, h, head_row, &k);

    sign_groups groups[2] = {{0}};
    uint32_t *carriers = NULL;
    uint8_t *parities = NULL;
    if (c->hidden_signs) {
        carriers = aec__arena_alloc(&a, elements, 1, sizeof *carriers);
        if (!carriers) goto end;
        aec__find_groups(k.indices, h, w, c->latent, carriers, groups);
        parities = aec__arena_alloc(&a, groups[0].groups > groups[1].groups ? groups[0].groups : groups[1].groups, 5, 1);
        if (!parities) goto end;
    }
    aec__take(&coder, &m->tables, k.indices, (size_t)h * w, c->latent, places, k.symbols);
#ifdef AEC_FUZZING /* nearly every change is noticed here, but forged payloads need not be */
    coder = (ans){0};
#endif
    if (!aec__ans_ended(&coder)) {
        status = aec__fail(error, AEC_FORMAT, "entropy-coded data continues after its last symbol");
        goto end;
    }
    for (int pass = 0; pass < 2; pass++) aec__restore_signs(&groups[pass], k.symbols, parities);
    for (size_t i = 0; i < elements; i++) k.symbols[i] = aec__max(-SYMBOL_TOP, aec__min(k.symbols[i], SYMBOL_TOP));

    aec__run(threads, h, first_pass_row, &k);
    aec__run(threads, h, second_pass_row, &k);
    status = AEC_OK;
end:
    aec__arena_free(&a);
    return status == AEC_MEMORY ? aec__fail(error, AEC_MEMORY, "no memory for a tile of %dx%d pixels", w * AEC_STRIDE, h * AEC_STRIDE)
                                : status;
}
