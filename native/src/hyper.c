/* A payload to symbols; read from the end. */
#include "hyper.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hiding.h"
#include "threads.h"

#define EXACT_LIMIT (1 << 24) /* integers below are exact in float32, in any order of summation */
#define ACTIVATION_TOP 255
#define INDEX_TOP 63
#define Z_INDEX_STEPS 4096
#define Z_TOP 127
#define SYMBOL_TOP 2047

static void load_exact(loader *l, hyper *m, int number, const char *prefix) {
    static const int kernels_[TRUNK + 1] = {3, 1, 3, 1, 3, 1};
    static const char *const names[TRUNK + 1] = {"trunk.0", "trunk.1", "trunk.2",
                                                 "trunk.3", "trunk.4", "head"};
    exact_layer *e = &m->exact[number];
    char full[96], own[96];
    const char *name = aec__joined(own, sizeof own, prefix, names[number]);
    int inputs = number ? m->trunk : m->hyper, kernel = kernels_[number], taps = kernel * kernel;
    e->doubles = number == 1 || number == 3;
    e->kernel = kernel;
    e->outputs = number == TRUNK ? m->latent : e->doubles ? 4 * m->trunk : m->trunk;
    const int32_t *w = aec__integers(l, &l->scratch, aec__joined(full, sizeof full, name, ".weight"), INT8, 4, e->outputs, inputs,
                                kernel, kernel);
    const int32_t *shift = aec__integers(l, &l->scratch, aec__joined(full, sizeof full, name, ".shift"), INT8, 1, e->outputs, 0, 0, 0);
    e->biases = aec__integers(l, l->memory, aec__joined(full, sizeof full, name, ".bias"), INT32, 2, m->rows, e->outputs, 0, 0);
    int *order = aec__own(l, &l->scratch, e->outputs, 1, sizeof *order);
    int rows = e->doubles ? 2 : 1, wanted = e->outputs / (e->doubles ? 2 : 1), block = l->kernels->block;
    for (int i = 0; i < rows && !l->status; i++) {
        packed *p = &e->rows[i];
        *p = aec__new_packed(l, wanted, inputs * taps);
        p->scale = aec__own(l, l->memory, p->padded, 1, sizeof(float));
        p->top = number == TRUNK ? INDEX_TOP : ACTIVATION_TOP;
        if (l->status) return;
        if (e->doubles) aec__order_of_row(m->trunk, i, order);
        for (int o = 0; o < wanted; o++) {
            int from = e->doubles ? order[o] : o;
            int64_t worst = 0, bias = 0;
            for (int r = 0; r < m->rows; r++) {
                int64_t b = e->biases[(size_t)r * e->outputs + from];
                if (llabs(b) > bias) bias = llabs(b);
            }
            for (int k = 0; k < inputs; k++)
                for (int t = 0; t < taps; t++) {
                    int32_t value = w[((size_t)from * inputs + k) * taps + t];
                    worst += labs(value);
                    *aec__place(p, block, o, t * inputs + k) = (float)value;
                }
            if (worst * ACTIVATION_TOP + bias >= EXACT_LIMIT || shift[from] < 0 || shift[from] > 30) {
                l->status = aec__fail(l->error, AEC_MODEL, "weights: sums of layer %s do not fit float32 exactly", name);
                return;
            }
            p->scale[o] = ldexpf(1, -shift[from]);
        }
    }
}

void aec__hyper_load(loader *l, hyper *m, const char *prefix) {
    char z_index[96], z_weights[96];
    aec__joined(z_index, sizeof z_index, prefix, "z_index");
    aec__joined(z_weights, sizeof z_weights, prefix, "z_weights");
    m->kernels = l->kernels;
    if (!l->status) l->status = aec__tables_open(l->weights, &m->tables, l->error);
    m->z_index = aec__integers(l, l->memory, z_index, INT32, 2, m->rows, m->hyper, 0, 0);
    if (!l->status && !aec__has_tensor(l->weights, z_weights))
        m->z_weights = aec__own(l, l->memory, 3, m->hyper, sizeof *m->z_weights);
    else m->z_weights = aec__integers(l, l->memory, z_weights, INT8, 2, 3, m->hyper, 0, 0);
    for (int number = 0; number <= TRUNK && !l->status; number++) load_exact(l, m, number, prefix);
}

void aec__hyper_close(hyper *m) { aec__tables_close(&m->tables); }

bool aec__hyper_prepare(const hyper *m, arena *a, int position, hyper_prepared *p) {
    p->hyper = m;
    p->z_index = aec__arena_alloc(a, m->hyper, 1, 1);
    if (!p->z_index) return false;
    for (int k = 0; k < m->hyper; k++) {
        int64_t row = aec__exact_row(m->z_index, m->rows, m->hyper, k, position) + Z_INDEX_STEPS / 2;
        p->z_index[k] = (uint8_t)(row < 0 ? 0 : row >> 12 > INDEX_TOP ? INDEX_TOP : row >> 12);
    }
    for (int number = 0; number <= TRUNK; number++) {
        const exact_layer *e = &m->exact[number];
        for (int i = 0; i <= (int)e->doubles; i++) {
            packed *q = &p->exact[number][i];
            *q = e->rows[i]; /* weights are shared */
            q->bias = aec__arena_alloc(a, q->padded, 1, sizeof(float));
            if (!q->bias) return false;
            for (int o = 0; o < q->outputs; o++) {
                int from = e->doubles ? o % m->trunk * 4 + 2 * i + o / m->trunk : o;
                q->bias[o] = (float)aec__exact_row(e->biases, m->rows, e->outputs, from, position);
            }
        }
    }
    return true;
}

bool aec__new_map(arena *a, map *m, int h, int w, int channels) {
    *m = (map){aec__arena_alloc(a, (size_t)h * (w + 2), channels, sizeof(float)), h, w, channels};
    return m->data != NULL;
}

/* ---- hyper latents, which nothing else in the network needs ---- */

static void predict_hyper_latents(const hyper *m, const int32_t *coded, map *z) {
    int channels = z->channels;
    const int32_t *left = m->z_weights, *above = left + channels, *corner = above + channels;
    for (int y = 0; y < z->h; y++)
        for (int x = 0; x < z->w; x++) {
            float *own = aec__line(z, y) + (ptrdiff_t)x * channels;
            const float *up = y ? aec__line(z, y - 1) + (ptrdiff_t)x * channels : NULL;
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

typedef struct work {
    const hyper_prepared *prepared;
    const symbols *tile;
    float *zeros;
    float *scratch; /* for each worker */
    size_t scratch_size;
    map from, to; /* of the layer at work */
    int layer;
} work;

static const float *line_or_zeros(const work *k, const map *m, int y) {
    return y < 0 || y >= m->h ? k->zeros + m->channels : aec__line(m, y);
}

static void trunk_row(void *context, int y, int worker) {
    const work *k = context;
    (void)worker;
    const hyper *m = k->prepared->hyper;
    const exact_layer *e = &k->prepared->hyper->exact[k->layer];
    const packed *layers = k->prepared->exact[k->layer];
    int c = k->from.channels, n = m->trunk;
    row_job job = {.layer = &layers[0], .width = k->from.w, .act = INTEGER};
    if (e->kernel == 3) {
        job.count = 3;
        for (int t = 0; t < 3; t++) job.segments[t] = (segment){line_or_zeros(k, &k->from, y + t - 1) - c, c, 3 * c};
    } else {
        job.count = 1;
        job.segments[0] = (segment){aec__line(&k->from, y), c, c};
    }
    if (k->layer == TRUNK - 1) { /* the features */
        job.out = k->tile->latents + (size_t)y * k->tile->w * k->tile->positions + m->latent;
        job.out_step = k->tile->positions;
        m->kernels->row(&job);
    } else if (e->doubles) {
        for (int i = 0; i < 2; i++) {
            job.layer = &layers[i], job.out = aec__line(&k->to, 2 * y + i), job.out_step = 2 * n;
            m->kernels->row(&job);
        }
    } else {
        job.out = aec__line(&k->to, y), job.out_step = n;
        m->kernels->row(&job);
    }
}

static void head_row(void *context, int y, int worker) {
    const work *k = context;
    const symbols *t = k->tile;
    const hyper *m = k->prepared->hyper;
    float *out = k->scratch + worker * k->scratch_size;
    row_job job = {.layer = &k->prepared->exact[TRUNK][0], .width = t->w, .act = INTEGER, .count = 1, .out = out, .out_step = m->latent};
    job.segments[0] = (segment){t->latents + ((size_t)y * t->w + 1) * t->positions - m->trunk, t->positions, m->trunk};
    m->kernels->row(&job);
    uint8_t *indices = t->indices + (size_t)y * t->w * m->latent;
    for (size_t i = 0; i < (size_t)t->w * m->latent; i++) indices[i] = (uint8_t)out[i];
}

/* ---- a payload ---- */

aec_status aec__hyper_decode(const hyper_prepared *p, const uint8_t *payload, size_t size, int threads, arena *a, symbols *t,
                             aec_error *error) {
    const hyper *m = p->hyper;
    const int h = t->h, w = t->w;
    size_t elements = (size_t)h * w * m->latent, coded = (size_t)(h / 4) * (w / 4) * m->hyper;
    size_t most = elements > coded ? elements : coded;
    work k = {.prepared = p, .tile = t, .scratch_size = (size_t)w * m->latent};
    k.scratch = aec__arena_alloc(a, threads, k.scratch_size, sizeof(float));
    k.zeros = aec__arena_alloc(a, w + 2, aec__max(m->trunk, m->hyper), sizeof(float));
    t->indices = aec__arena_alloc(a, most, 1, 1);
    t->symbols = aec__arena_alloc(a, most, 1, sizeof *t->symbols);
    uint32_t *places = aec__arena_alloc(a, most, 1, sizeof *places);
    map z;
    if (!k.scratch || !k.zeros || !t->indices || !t->symbols || !places) return AEC_MEMORY;
    if (!aec__new_map(a, &z, h / 4, w / 4, m->hyper)) return AEC_MEMORY;

    ans coder;
    if (!aec__ans_start(&coder, payload, size)) return aec__fail(error, AEC_FORMAT, "entropy-coded data ends in a zero word");
    for (size_t i = 0; i < coded; i++) t->indices[i] = p->z_index[i % m->hyper];
    aec__take(&coder, &m->tables, t->indices, (size_t)(h / 4) * (w / 4), m->hyper, places, t->symbols);
    predict_hyper_latents(m, t->symbols, &z);

    k.from = z;
    for (k.layer = 0; k.layer < TRUNK; k.layer++) {
        int doubling = m->exact[k.layer].doubles ? 2 : 1;
        if (k.layer < TRUNK - 1 && !aec__new_map(a, &k.to, doubling * k.from.h, doubling * k.from.w, m->trunk)) return AEC_MEMORY;
        aec__run(threads, k.from.h, trunk_row, &k);
        k.from = k.to;
    }
    aec__run(threads, h, head_row, &k);

    sign_groups groups[2] = {{0}};
    uint32_t *carriers = aec__arena_alloc(a, elements, 1, sizeof *carriers);
    if (!carriers) return AEC_MEMORY;
    aec__find_groups(t->indices, h, w, m->latent, carriers, groups);
    uint8_t *parities = aec__arena_alloc(a, groups[0].groups > groups[1].groups ? groups[0].groups : groups[1].groups, 5, 1);
    if (!parities) return AEC_MEMORY;
    aec__take(&coder, &m->tables, t->indices, (size_t)h * w, m->latent, places, t->symbols);
#ifdef AEC_FUZZING /* nearly every change is noticed here, but forged payloads need not be */
    coder = (ans){0};
#endif
    if (!aec__ans_ended(&coder)) return aec__fail(error, AEC_FORMAT, "entropy-coded data continues after its last symbol");
    for (int pass = 0; pass < 2; pass++) aec__restore_signs(&groups[pass], t->symbols, parities);
    for (size_t i = 0; i < elements; i++) t->symbols[i] = aec__max(-SYMBOL_TOP, aec__min(t->symbols[i], SYMBOL_TOP));
    return AEC_OK;
}
