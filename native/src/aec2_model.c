/* Unpacks an aec2 model, and what depends on a quality. */
#include "aec2.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUM_LIMIT (1 << 24)      /* integers below are exact in float32 */
#define WIDE_INPUT 67108864.0    /* 2^26: of a wide layer's inputs */
#define WIDE_SUM 9007199254740992.0 /* 2^53 */
#define GAIN_BITS 16             /* of the logarithm of a gain, below the point */

/* Weights of a layer in the file's order (outputs, inputs, taps), biases (rows, outputs), and powers of two (outputs,). */
typedef struct file_layer {
    const int64_t *weights, *exponents;
    integer_rows biases;
} file_layer;

static int64_t *numbers(loader *l, arena *a, const char *name, const char *end, number_type type, int rank, uint64_t s0,
                        uint64_t s1, uint64_t s2) {
    tensor t;
    char full[96];
    const uint64_t shape[4] = {s0, s1, s2, s2};
    snprintf(full, sizeof full, "decoder.%s%s", name, end);
    if (!l->status) l->status = aec__tensor(l->weights, full, type, rank, shape, &t, l->error);
    if (l->status) return NULL;
    int64_t *values = aec__own(l, a, t.count, 1, sizeof *values);
    for (size_t i = 0; values && i < t.count; i++) values[i] = aec__integer(&t, i);
    return values;
}

static file_layer layer_of(loader *l, const char *name, bool wide_, int rows, int outputs, int inputs, int kernel) {
    file_layer f = {0};
    f.weights = numbers(l, &l->scratch, name, ".weight", wide_ ? INT16 : INT8, 4, outputs, inputs, kernel);
    f.biases = (integer_rows){numbers(l, l->memory, name, ".bias", wide_ ? INT64 : INT32, 2, rows, outputs, 0), rows, outputs};
    f.exponents = numbers(l, &l->scratch, name, wide_ ? ".exponent" : ".shift", INT8, 1, outputs, 0, 0);
    for (int o = 0; o < outputs && !l->status; o++) {
        double worst = 0, bias = 0, most = wide_ ? WIDE_INPUT : ACTIVATION_TOP, limit = wide_ ? WIDE_SUM : SUM_LIMIT;
        int taps = inputs * kernel * kernel;
        for (int i = 0; i < taps; i++) worst += fabs((double)f.weights[(size_t)o * taps + i]);
        for (int r = 0; r < rows; r++) bias = fmax(bias, fabs((double)f.biases.values[(size_t)r * outputs + o]));
        bool fits = wide_ ? llabs(f.exponents[o]) <= 40 : f.exponents[o] >= 0 && f.exponents[o] <= 30;
        if (!fits || worst * most + bias >= limit || bias >= 1e14)
            l->status = aec__fail(l->error, AEC_MODEL, "weights: sums of layer %s do not fit exactly", name);
    }
    return f;
}

/* Activations of one sign or both, or integers of 16 bits. */
typedef enum sees { ONE_SIGN, BOTH_SIGNS, PAIRS_OF_BYTES } sees;

/* What the zeros of its activations add to a sum, as they are kept. */
static int32_t zero_of(const loader *l, const file_layer *f, int inputs, int output, sees sees_) {
    int64_t sum = 0;
    for (int i = 0; i < inputs; i++) sum += f->weights[(size_t)output * inputs + i];
    return sees_ == BOTH_SIGNS && l->kernels->activation == 1 ? (int32_t)(sum * SIGNED_ZERO) : 0;
}

static int padded_to(const loader *l, int outputs) {
    int block = l->kernels->block;
    return (outputs + block - 1) / block * block;
}

/* order: of the `wanted` outputs in the file, 0: their own. */
static narrow narrow_of(loader *l, const file_layer *f, int inputs, int kernel, int wanted, const int *order, sees sees_) {
    int taps = kernel * kernel, block = l->kernels->block, size = sees_ == PAIRS_OF_BYTES ? 2 : l->kernels->activation;
    int unit = 4 / size, segment = (kernel * inputs + unit - 1) / unit; /* inputs in 4 bytes; groups of them in a kernel's row */
    narrow n = {kernel * segment, wanted, padded_to(l, wanted), size, NULL, NULL, NULL};
    n.weights = aec__own(l, l->memory, n.padded, n.quads, 4);
    n.bias = aec__own(l, l->memory, n.padded, 1, sizeof *n.bias);
    n.step = aec__own(l, l->memory, n.padded, 1, sizeof *n.step);
    for (int o = 0; o < wanted && !l->status; o++) {
        int from = order ? order[o] : o;
        n.bias[o] = (int32_t)f->biases.values[from] - zero_of(l, f, inputs * taps, from, sees_);
        n.step[o] = ldexpf(1, -(int)f->exponents[from]);
        for (int i = 0; i < inputs; i++)
            for (int t = 0; t < taps; t++) {
                int k = t % kernel * inputs + i;
                size_t quad = (size_t)(o / block) * n.quads + t / kernel * segment + k / unit;
                char *at = n.weights + (quad * block + o % block) * 4 + k % unit * size;
                int16_t weight = (int16_t)f->weights[((size_t)from * inputs + i) * taps + t];
                if (size == 1) *(int8_t *)at = (int8_t)weight;
                else memcpy(at, &weight, 2);
            }
    }
    return n;
}

static narrow narrow_layer(loader *l, const char *name, int outputs, int inputs, int kernel, sees sees_) {
    file_layer f = layer_of(l, name, false, 1, outputs, inputs, kernel);
    return narrow_of(l, &f, inputs, kernel, outputs, NULL, sees_);
}

/* scale: of the results, a power of two. */
static wide wide_of(loader *l, const file_layer *f, int inputs, int wanted, const int *order, double scale) {
    int block = l->kernels->block;
    wide w = {inputs, wanted, padded_to(l, wanted), NULL, NULL, NULL};
    w.weights = aec__own(l, l->memory, w.padded, inputs, sizeof *w.weights);
    w.bias = aec__own(l, l->memory, w.padded, 1, sizeof *w.bias);
    w.factor = aec__own(l, l->memory, w.padded, 1, sizeof *w.factor);
    for (int o = 0; o < wanted && !l->status; o++) {
        int from = order ? order[o] : o;
        w.bias[o] = (double)f->biases.values[from];
        w.factor[o] = ldexp(scale, -(int)f->exponents[from]);
        for (int i = 0; i < inputs; i++)
            w.weights[((size_t)(o / block) * inputs + i) * block + o % block] = (double)f->weights[(size_t)from * inputs + i];
    }
    return w;
}

static wide wide_layer(loader *l, const char *name, int outputs, int inputs, double scale) {
    file_layer f = layer_of(l, name, true, 1, outputs, inputs, 1);
    return wide_of(l, &f, inputs, outputs, NULL, scale);
}

static void load_means(loader *l, aec2 *m) {
    const aec2_config *c = &m->config;
    const int64_t *thresholds = numbers(l, &l->scratch, "means.thresholds", "", INT32, 1, SIGNED_TOP, 0, 0);
    const int64_t *scales = numbers(l, &l->scratch, "means.scales", "", INT32, 1, AEC_TABLES, 0, 0);
    for (int i = 0; i < SIGNED_TOP && !l->status; i++) m->thresholds[i] = (double)thresholds[i];
    for (int i = 0; i < AEC_TABLES && !l->status; i++) m->scales[i] = (double)scales[i];
    const int64_t *gelu = numbers(l, &l->scratch, "means.gelu", "", INT16, 1, 2 * GELU_REACH, 0, 0);
    for (int i = 0; i < 2 * GELU_REACH && !l->status; i++) m->gelu[i] = (double)gelu[i];
    int *order = aec__own(l, &l->scratch, c->latent, 1, sizeof *order);
    const double of_sum = SUM_STEPS / ACTIVATION_STEPS;
    m->first_hidden = wide_layer(l, "means.first_mean.0", c->context, c->trunk, of_sum);
    m->context_features = wide_layer(l, "means.context_features", c->context, c->trunk, of_sum);
    m->second_hidden = wide_layer(l, "means.second_mean.1", c->context, c->context, 1);
    m->context = narrow_layer(l, "means.context", c->context, c->latent, 3, BOTH_SIGNS);
    for (int pass = 0; pass < 2; pass++) {
        file_layer f = layer_of(l, pass ? "means.second_mean.3" : "means.first_mean.2", true, 1, c->latent, c->context, 1);
        for (int parity = 0; parity < 2 && !l->status; parity++) {
            int size = aec__half_size(c->latent, parity, pass);
            for (int k = 0; k < size; k++) order[k] = aec__half_start(c->latent, parity, pass) + k;
            (pass ? m->second_mean : m->first_mean)[parity] = wide_of(l, &f, c->context, size, order, 1);
        }
    }
    /* Of the neighbours the first pass decoded these channels only at the four sides. */
    static const int taps[4] = {1, 3, 5, 7};
    file_layer f = layer_of(l, "means.neighbours", true, 1, c->latent, 1, 3);
    m->neighbour_bias = aec__own(l, l->memory, c->latent, 1, sizeof(double));
    m->neighbour_factor = aec__own(l, l->memory, c->latent, 1, sizeof(double));
    for (int t = 0; t < 4; t++) m->neighbours[t] = aec__own(l, l->memory, c->latent, 1, sizeof(double));
    for (int k = 0; k < c->latent && !l->status; k++) {
        m->neighbour_bias[k] = (double)f.biases.values[k];
        m->neighbour_factor[k] = ldexp(1, -(int)f.exponents[k]);
        for (int t = 0; t < 4; t++) m->neighbours[t][k] = (double)f.weights[k * 9 + taps[t]];
    }
}

static pair pair_of(loader *l, const char *name, int number, int channels) {
    char first[96], second[96];
    if (number < 0) {
        snprintf(first, sizeof first, "synthesis.%s.first", name);
        snprintf(second, sizeof second, "synthesis.%s.second", name);
    } else {
        snprintf(first, sizeof first, "synthesis.%s.%d.first", name, number);
        snprintf(second, sizeof second, "synthesis.%s.%d.second", name, number);
    }
    pair p = {narrow_layer(l, first, channels, channels, 3, BOTH_SIGNS), narrow_layer(l, second, channels, channels, 3, ONE_SIGN)};
    return p;
}

static integer_rows rows_of(loader *l, const char *name, int rows, int channels) {
    integer_rows r = {numbers(l, l->memory, name, "", INT32, 2, rows, channels, 0), rows, channels};
    return r;
}

static void load_synthesis(loader *l, aec2 *m) {
    const aec2_config *c = &m->config;
    int inputs = c->latent + c->trunk;
    int *order = aec__own(l, &l->scratch, aec__max(96, 2 * c->at_8), 1, sizeof *order);
    file_layer f = layer_of(l, "synthesis.first", true, c->rows, c->at_16, inputs, 1);
    m->first = wide_of(l, &f, inputs, c->at_16, NULL, (double)ACTIVATION_STEPS / SUM_STEPS);
    m->first_biases = f.biases;
    f = layer_of(l, "synthesis.up", false, c->rows, 4 * c->at_8, c->at_16, 1);
    for (int i = 0; i < 2 && !l->status; i++) {
        m->up[i].order = aec__own(l, l->memory, 2 * c->at_8, 1, sizeof *m->up[i].order);
        if (l->status) return;
        aec__order_of_row(c->at_8, i, m->up[i].order);
        m->up[i].layer = narrow_of(l, &f, c->at_16, 1, 2 * c->at_8, m->up[i].order, BOTH_SIGNS);
        m->up[i].biases = f.biases;
        m->up[i].zeros = aec__own(l, l->memory, 2 * c->at_8, 1, sizeof *m->up[i].zeros);
        for (int o = 0; o < 2 * c->at_8 && !l->status; o++) m->up[i].zeros[o] = zero_of(l, &f, c->at_16, m->up[i].order[o], BOTH_SIGNS);
    }
    m->enter = pair_of(l, "enter", -1, c->at_8);
    for (int k = 0; k < c->blocks_16; k++) m->blocks_16[k] = pair_of(l, "blocks_16", k, c->at_16);
    for (int k = 0; k < c->blocks_8; k++) m->blocks_8[k] = pair_of(l, "blocks_8", k, c->at_8);
    f = layer_of(l, "synthesis.last", false, 1, 192, c->at_8, 1);
    for (int row = 0; row < 4 && !l->status; row++) {
        aec__order_of_squares(8, row, order);
        m->last[row] = narrow_of(l, &f, c->at_8, 1, 48, order, BOTH_SIGNS);
    }
    f = layer_of(l, "synthesis.linear", true, 1, 768, c->latent, 1);
    for (int row = 0; row < 8 && !l->status; row++) {
        aec__order_of_squares(16, row, order);
        m->linear[row] = wide_of(l, &f, c->latent, 96, order, 1);
    }
    f = layer_of(l, "synthesis.filter.first", false, 1, c->filter, 12, 3);
    m->filter_first = narrow_of(l, &f, 12, 3, c->filter, NULL, PAIRS_OF_BYTES);
    m->filter_first_bias = aec__own(l, l->memory, c->filter, 1, sizeof(double));
    for (int o = 0; o < c->filter && !l->status; o++) m->filter_first_bias[o] = 257.0 * m->filter_first.bias[o]; /* of both bytes */
    for (int k = 0; k < c->filter_layers; k++) {
        char name[96];
        snprintf(name, sizeof name, "synthesis.filter.layers.%d", k);
        m->filter_layers[k] = narrow_layer(l, name, c->filter, c->filter, 3, ONE_SIGN);
    }
    m->filter_last = narrow_layer(l, "synthesis.filter.last", 12, c->filter, 1, ONE_SIGN);
    m->input_gain = rows_of(l, "synthesis.input_gain", c->rows, c->latent);
    m->output_gain = rows_of(l, "synthesis.output_gain", c->rows, 1);
    m->decoder_gain = rows_of(l, "synthesis.decoder_gain", c->rows, c->latent);
    m->filter_gain = rows_of(l, "synthesis.filter.gain", c->rows, c->filter);
    m->filter_bias = rows_of(l, "synthesis.filter.bias", c->rows, c->filter);
}

static aec_status read_config(const weights *w, aec2_config *c, aec_error *error) {
    enum { MOST_CHANNELS = 1024, MOST_ROWS = 64 };
    const config_number all[] = {
        {"latent_channels", &c->latent, -1, 2, MOST_CHANNELS},
        {"hyper_channels", &c->hyper, -1, 1, MOST_CHANNELS},
        {"trunk_channels", &c->trunk, -1, 1, MOST_CHANNELS},
        {"context_channels", &c->context, -1, 1, MOST_CHANNELS},
        {"channels_16", &c->at_16, -1, 1, MOST_CHANNELS},
        {"channels_8", &c->at_8, -1, 1, MOST_CHANNELS},
        {"filter_channels", &c->filter, -1, 1, MOST_CHANNELS},
        {"blocks_16", &c->blocks_16, -1, 0, AEC2_BLOCKS},
        {"blocks_8", &c->blocks_8, -1, 0, AEC2_BLOCKS},
        {"filter_layers", &c->filter_layers, -1, 0, AEC2_FILTER_LAYERS},
        {"rows", &c->rows, -1, 2, MOST_ROWS},
    };
    return aec__read_numbers(w, all, sizeof all / sizeof *all, error);
}

static void close_model(void *model) {
    aec2 *m = model;
    if (!m) return;
    aec__hyper_close(&m->hyper);
    aec__arena_free(&m->memory);
    free(m);
}

static aec_status open_model(const weights *w, const kernels *k, void **model, aec_error *error) {
    aec2 *m = *model = aec__alloc(1, 1, sizeof *m);
    if (!m) return aec__fail(error, AEC_MEMORY, "no memory for the model");
    loader l = {w, k, &m->memory, {0}, error, AEC_OK};
    const aec2_config *c = &m->config;
    m->kernels = k;
    l.status = read_config(w, &m->config, error);
    m->hyper = (hyper){.latent = c->latent, .hyper = c->hyper, .trunk = c->trunk, .rows = c->rows};
    if (!l.status) aec__hyper_load(&l, &m->hyper, "scales.");
    if (!l.status) load_means(&l, m);
    if (!l.status) load_synthesis(&l, m);
    aec__arena_free(&l.scratch);
    if (l.status) {
        close_model(m);
        *model = NULL;
    }
    return l.status;
}

/* ---- for one quality ---- */

/* The floor of what is between rows at a position. */
static int64_t between(const integer_rows *r, int channel, int position) {
    int low = position * (r->rows - 1) / AEC_POSITION_STEPS, part = position * (r->rows - 1) % AEC_POSITION_STEPS;
    int high = aec__min(low + 1, r->rows - 1);
    int64_t sum = r->values[(size_t)low * r->channels + channel] * (AEC_POSITION_STEPS - part) +
                  r->values[(size_t)high * r->channels + channel] * part;
    return sum >= 0 ? sum / AEC_POSITION_STEPS : -((-sum + AEC_POSITION_STEPS - 1) / AEC_POSITION_STEPS);
}

/* 2^(logarithm / 65536) with a mantissa of 16 bits: what the exp2 of a machine is off never shows. */
static double exact_gain(int64_t logarithm) {
    int64_t octave = logarithm >> GAIN_BITS, part = logarithm & ((1 << GAIN_BITS) - 1);
    if (octave > 1000 || octave < -1000) octave = octave > 0 ? 1000 : -1000;
    return ldexp(floor(exp2((double)part / (1 << GAIN_BITS)) * 32768 + 0.5) / 32768, (int)octave);
}

static double *gains(arena *a, const integer_rows *r, int position) {
    double *own = aec__arena_alloc(a, r->channels, 1, sizeof *own);
    for (int k = 0; own && k < r->channels; k++) own[k] = exact_gain(between(r, k, position));
    return own;
}

static void release(void *prepared) {
    aec2_prepared *p = prepared;
    if (!p) return;
    aec__arena_free(&p->memory);
    free(p);
}

static aec_status prepare(const void *model, int quality, void **prepared, aec_error *error) {
    const aec2 *m = model;
    const aec2_config *c = &m->config;
    int position = quality - AEC_QUALITY_MIN;
    aec2_prepared *p = *prepared = aec__alloc(1, 1, sizeof *p);
    if (!p) return aec__fail(error, AEC_MEMORY, "no memory for the model");
    arena *a = &p->memory;
    p->model = m;
    bool fits = aec__hyper_prepare(&m->hyper, a, position, &p->hyper);
    p->first = m->first;
    fits = fits && (p->first.bias = aec__arena_alloc(a, p->first.padded, 1, sizeof(double)));
    for (int k = 0; k < c->at_16 && fits; k++) p->first.bias[k] = (double)between(&m->first_biases, k, position);
    for (int i = 0; i < 2 && fits; i++) {
        narrow *up = &p->up[i];
        *up = m->up[i].layer;
        if (!(fits = (up->bias = aec__arena_alloc(a, up->padded, 1, sizeof *up->bias)) != NULL)) break;
        for (int o = 0; o < up->outputs; o++)
            up->bias[o] = (int32_t)between(&m->up[i].biases, m->up[i].order[o], position) - m->up[i].zeros[o];
    }
    fits = fits && (p->input_gain = gains(a, &m->input_gain, position));
    fits = fits && (p->decoder_gain = gains(a, &m->decoder_gain, position));
    fits = fits && (p->filter_gain = gains(a, &m->filter_gain, position));
    fits = fits && (p->filter_bias = aec__arena_alloc(a, c->filter, 1, sizeof(double)));
    for (int k = 0; k < c->latent && fits; k++) p->decoder_gain[k] *= 255.0 * PIXEL_STEPS / LATENT_STEPS;
    for (int k = 0; k < c->filter && fits; k++) p->filter_gain[k] *= m->filter_first.step[k]; /* a power of two */
    for (int k = 0; k < c->filter && fits; k++) p->filter_bias[k] = (double)between(&m->filter_bias, k, position);
    p->step = exact_gain(between(&m->output_gain, 0, position));
    if (fits) return AEC_OK;
    release(p);
    *prepared = NULL;
    return aec__fail(error, AEC_MEMORY, "no memory for the model");
}

static size_t position(const void *model) {
    const aec2_config *c = &((const aec2 *)model)->config;
    return (size_t)(c->latent + c->trunk) * sizeof(float);
}

/* Half of the pixels that a filter reaches, layers at 1/8 and at 1/16 of the resolution, in latents. */
static int halo(const void *model) {
    const aec2_config *c = &((const aec2 *)model)->config;
    int pixels = 8 * 2 * (c->blocks_8 + 1) + 2 * (1 + c->filter_layers);
    return (pixels + AEC_STRIDE - 1) / AEC_STRIDE + 2 * c->blocks_16;
}

const family aec__family_aec2 = {"aec2",  open_model, close_model,    prepare,         release,
                                 position, halo,      aec__aec2_tile, aec__aec2_pixels};
