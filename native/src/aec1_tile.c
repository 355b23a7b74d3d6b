/* A tile's payload to its latents: hyper latents, scale indices, symbols, signs, means. Data lie in memory as
 * (row, column, channel); a position of the result is `latent` floats in quantisation steps, then `trunk` features. */
#include "aec1.h"
#include "threads.h"


typedef struct work {
    const aec1 *model;
    symbols tile;
    map asinh; /* (h, w, half): of what the first pass decoded */
    float *zeros;
    float *scratch; /* for each worker */
    size_t scratch_size;
} work;

static const float *line_or_zeros(const work *k, const map *m, int y) {
    return y < 0 || y >= m->h ? k->zeros + m->channels : aec__line(m, y);
}

static segment features_of(const work *k, int y, int x, int every) {
    const config *c = &k->model->config;
    return (segment){k->tile.latents + ((size_t)y * k->tile.w + x) * k->tile.positions + c->latent, (ptrdiff_t)every * k->tile.positions, c->trunk};
}

/* ---- means, in two passes over a checkerboard; positions of a row whose row + column is even, then the odd ones ---- */

static int first_of(int y, int parity) { return (y ^ parity) & 1; }
static int count_of(int w, int first) { return (w - first + 1) / 2; }

/* mean + symbol for the half of the channels that a pass decodes at position (y, x). Returns where it is. */
static float *decode_half(const work *k, int y, int x, int parity, int pass, const float *means, int *start, int *size) {
    const config *c = &k->model->config;
    *start = aec__half_start(c->latent, parity, pass);
    *size = aec__half_size(c->latent, parity, pass);
    size_t element = ((size_t)y * k->tile.w + x) * c->latent + *start;
    float *out = k->tile.latents + ((size_t)y * k->tile.w + x) * k->tile.positions + *start;
    k->model->kernels->dequantise(k->tile.symbols + element, k->tile.indices + element, k->model->scales, means, out, *size);
    return out;
}

static void first_pass_row(void *context, int y, int worker) {
    work *k = context;
    const aec1 *m = k->model;
    const config *c = &m->config;
    float *hidden = k->scratch + worker * k->scratch_size, *means = hidden + (size_t)k->tile.w * c->context;
    row_job job = {.layer = &m->first_hidden, .width = k->tile.w, .act = GELU, .count = 1, .out = hidden, .out_step = c->context};
    job.segments[0] = features_of(k, y, 0, 1);
    m->kernels->row(&job);
    for (int parity = 0; parity < 2; parity++) {
        int first = first_of(y, parity), count = count_of(k->tile.w, first), start, size;
        job = (row_job){.layer = &m->first_mean[parity], .width = count, .act = NONE, .count = 1, .out = means, .out_step = c->half};
        job.segments[0] = (segment){hidden + (size_t)first * c->context, 2 * c->context, c->context};
        m->kernels->row(&job);
        for (int i = 0; i < count; i++) {
            int x = first + 2 * i;
            const float *out = decode_half(k, y, x, parity, 0, means + (size_t)i * c->half, &start, &size);
            m->kernels->asinh(out, aec__line(&k->asinh, y) + (ptrdiff_t)x * c->half, size);
        }
    }
}

static void second_pass_row(void *context, int y, int worker) {
    work *k = context;
    const aec1 *m = k->model;
    const config *c = &m->config;
    size_t row = (size_t)k->tile.w * c->context;
    float *hidden = k->scratch + worker * k->scratch_size, *more = hidden + row, *means = more + row;
    for (int parity = 0; parity < 2; parity++) {
        int first = first_of(y, parity), count = count_of(k->tile.w, first), start, size;
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
            ptrdiff_t below = (ptrdiff_t)k->tile.w * k->tile.positions, right = k->tile.positions;
            const float *around[4] = {y ? out - below : k->zeros, x ? out - right : k->zeros,
                                      x + 1 < k->tile.w ? out + right : k->zeros, y + 1 < k->tile.h ? out + below : k->zeros};
            const float *weights[4];
            for (int t = 0; t < 4; t++) weights[t] = m->neighbours[t] + start;
            m->kernels->add_neighbours(around, weights, out, size);
        }
    }
}

aec_status aec__aec1_tile(const void *prepared, const uint8_t *payload, size_t size, int h, int w, int threads,
                          void *latents, aec_error *error) {
    const aec1_prepared *p = prepared;
    const config *c = &p->model->config;
    arena a = {0};
    threads = aec__max(1, aec__min(threads, h));
    work k = {.model = p->model, .tile = {.h = h, .w = w, .positions = c->latent + c->trunk, .latents = latents}};
    k.scratch_size = (size_t)w * (2 * c->context + c->half);
    k.scratch = aec__arena_alloc(&a, threads, k.scratch_size, sizeof(float));
    k.zeros = aec__arena_alloc(&a, w + 2, c->half, sizeof(float));
    aec_status status = AEC_MEMORY;
    if (k.scratch && k.zeros && aec__new_map(&a, &k.asinh, h, w, c->half))
        status = aec__hyper_decode(&p->hyper, payload, size, threads, &a, &k.tile, error);
    if (!status) {
        aec__run(threads, h, first_pass_row, &k);
        aec__run(threads, h, second_pass_row, &k);
    }
    aec__arena_free(&a);
    return status == AEC_MEMORY ? aec__fail(error, AEC_MEMORY, "no memory for a tile of %dx%d pixels", w * AEC_STRIDE, h * AEC_STRIDE)
                                : status;
}
