/* Unpacks an aec1 model, and puts the gains of a quality into its weights. */
#include "aec1.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FEATURE (1 / 16.f) /* of features, which are integers, for the float layers */

static float *weight_of(loader *l, const char *name, int outputs, int inputs, int kernel) {
    char full[96];
    aec__joined(full, sizeof full, name, ".weight");
    return aec__floats(l, &l->scratch, full, 4, outputs, inputs, kernel, kernel);
}

static float *bias_of(loader *l, const char *name, int outputs) {
    char full[96];
    return aec__floats(l, &l->scratch, aec__joined(full, sizeof full, name, ".bias"), 1, outputs, 0, 0, 0);
}

static float_rows rows_of(loader *l, const char *name, int count, int channels) {
    float_rows rows = {aec__floats(l, l->memory, name, 2, count, channels, 0, 0), channels};
    return rows;
}

/* ---- packing: weights in the order in which the kernel reads them ---- */

/* A convolution of the file, whose outputs are wanted in another order (0: in their own). */
static packed convolution(loader *l, const char *name, int outputs, int inputs, int kernel, int wanted, const int *order,
                          bool has_bias) {
    packed p = aec__new_packed(l, wanted, inputs * kernel * kernel);
    const float *w = weight_of(l, name, outputs, inputs, kernel);
    const float *b = has_bias ? bias_of(l, name, outputs) : NULL;
    if (l->status) return p;
    int block = l->kernels->block, taps = kernel * kernel;
    for (int o = 0; o < wanted; o++) {
        int from = order ? order[o] : o;
        if (b) p.bias[o] = b[from];
        for (int i = 0; i < inputs; i++)
            for (int t = 0; t < taps; t++) *aec__place(&p, block, o, t * inputs + i) = w[((size_t)from * inputs + i) * taps + t];
    }
    return p;
}

static packed plain(loader *l, const char *name, int outputs, int inputs, int kernel) {
    return convolution(l, name, outputs, inputs, kernel, outputs, NULL, true);
}

/* A 3x3 convolution with as many inputs as outputs: by Winograd's algorithm if it can be. */
static packed square(loader *l, const char *name, int channels) {
    int block = l->kernels->block;
    if (channels % QUAD_CHANNELS) return plain(l, name, channels, channels, 3);
    packed p = aec__new_packed(l, channels, 36 * channels);
    const float *w = weight_of(l, name, channels, channels, 3), *b = bias_of(l, name, channels);
    if (l->status) return p;
    memcpy(p.bias, b, channels * sizeof *b);
    for (int group = 0; group < channels / block; group++)
        for (int i = 0; i < channels; i++) /* a block of outputs after the other, which is how they are written */
            for (int o = 0; o < block; o++) {
                float transformed[36], *out = p.weights + ((size_t)group * channels + i) * block + o;
                aec__transform_weights(w + ((size_t)(group * block + o) * channels + i) * 9, transformed);
                for (int k = 0; k < 36; k++) out[(size_t)k * channels * channels] = transformed[k];
            }
    return p;
}

static void scale_inputs(loader *l, packed *p, int from, int to, float by) {
    if (l->status) return;
    for (int o = 0; o < p->padded; o++)
        for (int i = from; i < to; i++) *aec__place(p, l->kernels->block, o, i) *= by;
}

static void load_means(loader *l, aec1 *m) {
    const config *c = &m->config;
    int *order = aec__own(l, &l->scratch, c->latent, 1, sizeof *order);
    if (l->status) return;
    m->first_hidden = plain(l, "entropy_model.first_mean.0", c->context, c->trunk, 1);
    scale_inputs(l, &m->first_hidden, 0, c->trunk, FEATURE);
    m->second_hidden = plain(l, "entropy_model.second_mean.1", c->context, c->context, 1);
    const float *context = weight_of(l, "entropy_model.context", c->context, c->latent, 3);
    const float *context_bias = bias_of(l, "entropy_model.context", c->context);
    const float *features = weight_of(l, "entropy_model.context_features", c->context, c->trunk, 1);
    const float *features_bias = bias_of(l, "entropy_model.context_features", c->context);
    for (int parity = 0; parity < 2; parity++) {
        for (int pass = 0; pass < 2; pass++) {
            for (int k = 0; k < aec__half_size(c->latent, parity, pass); k++) order[k] = aec__half_start(c->latent, parity, pass) + k;
            (pass ? m->second_mean : m->first_mean)[parity] =
                convolution(l, pass ? "entropy_model.second_mean.3" : "entropy_model.first_mean.2", c->latent, c->context, 1,
                            aec__half_size(c->latent, parity, pass), order, true);
        }
        /* What the context sees at a position is only what the first pass decoded there, the other half is 0. */
        packed p = m->context[parity] = aec__new_packed(l, c->context, 9 * c->half + c->trunk);
        if (l->status) return;
        for (int o = 0; o < c->context; o++) {
            for (int t = 0; t < 9; t++) {
                int there = parity ^ (t & 1); /* the four sides have odd numbers */
                for (int k = 0; k < aec__half_size(c->latent, there, 0); k++)
                    *aec__place(&p, m->kernels->block, o, t * c->half + k) =
                        context[((size_t)o * c->latent + aec__half_start(c->latent, there, 0) + k) * 9 + t];
            }
            for (int k = 0; k < c->trunk; k++)
                *aec__place(&p, m->kernels->block, o, 9 * c->half + k) = features[(size_t)o * c->trunk + k] * FEATURE;
            p.bias[o] = context_bias[o] + features_bias[o];
        }
    }
    /* Of the neighbours the first pass decoded these channels only at the four sides. */
    static const int taps[4] = {1, 3, 5, 7};
    const float *neighbours = weight_of(l, "entropy_model.neighbours", c->latent, 1, 3);
    for (int t = 0; t < 4; t++) {
        m->neighbours[t] = aec__own(l, l->memory, c->latent, 1, sizeof(float));
        for (int k = 0; k < c->latent && !l->status; k++) m->neighbours[t][k] = neighbours[k * 9 + taps[t]];
    }
}

static void load_block(loader *l, residual_block *b, const char *name, int number, int channels) {
    char full[96], first[96], second[96];
    char digit[2] = {(char)('0' + number), 0};
    aec__joined(full, sizeof full, name, digit);
    b->first = square(l, aec__joined(first, sizeof first, full, ".first"), channels);
    b->second = square(l, aec__joined(second, sizeof second, full, ".second"), channels);
}

static void load_synthesis(loader *l, aec1 *m) {
    const config *c = &m->config;
    int most = aec__max(96, 2 * c->at_8);
    int *order = aec__own(l, &l->scratch, most, 1, sizeof *order);
    if (l->status) return;
    m->first = plain(l, "synthesis.first", c->at_16, c->latent + c->trunk, 1);
    for (int k = 0; k < c->blocks_16; k++) load_block(l, &m->blocks_16[k], "synthesis.blocks_16.", k, c->at_16);
    for (int i = 0; i < 2; i++) {
        aec__order_of_row(c->at_8, i, order);
        m->up[i] = convolution(l, "synthesis.up", 4 * c->at_8, c->at_16, 1, 2 * c->at_8, order, true);
    }
    for (int k = 0; k < c->blocks_8; k++) load_block(l, &m->blocks_8[k], "synthesis.blocks_8.", k, c->at_8);
    for (int row = 0; row < 4; row++) {
        aec__order_of_squares(8, row, order);
        m->last[row] = convolution(l, "synthesis.last", 192, c->at_8, 1, 48, order, true);
    }
    for (int row = 0; row < 8; row++) {
        aec__order_of_squares(16, row, order);
        m->linear[row] = convolution(l, "synthesis.linear", 768, c->latent, 1, 96, order, false);
    }
    m->input_gain = rows_of(l, "synthesis.log_input_gain", c->rows, c->latent);
    m->output_gain = rows_of(l, "synthesis.log_output_gain", c->rows, 1);
    m->decoder_gain = rows_of(l, "log_decoder_gain", c->rows, c->latent);
    m->first_bias = rows_of(l, "synthesis.first_bias", c->rows, c->at_16);
    m->up_bias = rows_of(l, "synthesis.up_bias", c->rows, c->at_8);
    if (!c->filter) return;
    /* The filter knows the samples of a square as (colour, row, column), all else as (row, column, colour). */
    for (int k = 0; k < 12; k++) order[k] = k % 3 * 4 + k / 3;
    const float *w = weight_of(l, "synthesis.filter.first", c->filter, 12, 3);
    m->filter_first = aec__new_packed(l, c->filter, 9 * 12);
    for (int o = 0; o < c->filter && !l->status; o++)
        for (int t = 0; t < 9; t++)
            for (int k = 0; k < 12; k++)
                *aec__place(&m->filter_first, m->kernels->block, o, t * 12 + k) = w[((size_t)o * 12 + order[k]) * 9 + t];
    m->filter_layers[0] = square(l, "synthesis.filter.second", c->filter);
    for (int k = 1; k < c->filter_layers; k++) {
        char name[] = "synthesis.filter.more.00", *digits = name + sizeof name - 3;
        int number = k - 1;
        if (number > 9) digits[0] = (char)('0' + number / 10), digits[1] = (char)('0' + number % 10);
        else digits[0] = (char)('0' + number), digits[1] = 0;
        m->filter_layers[k] = square(l, name, c->filter);
    }
    m->filter_last = convolution(l, "synthesis.filter.last", 12, c->filter, 1, 12, order, true);
    m->filter_gain = rows_of(l, "synthesis.filter.log_first_gain", c->rows, c->filter);
    m->filter_bias = rows_of(l, "synthesis.filter.first_bias", c->rows, c->filter);
}

static aec_status read_config(const weights *w, config *c, aec_error *error) {
    enum { MOST_CHANNELS = 1024, MOST_ROWS = 64 };
    const config_number numbers[] = {
        {"latent_channels", &c->latent, -1, 2, MOST_CHANNELS},
        {"hyper_channels", &c->hyper, -1, 1, MOST_CHANNELS},
        {"trunk_channels", &c->trunk, -1, 1, MOST_CHANNELS},
        {"context_channels", &c->context, -1, 1, MOST_CHANNELS},
        {"channels_16", &c->at_16, -1, 1, MOST_CHANNELS},
        {"channels_8", &c->at_8, -1, 1, MOST_CHANNELS},
        {"filter_channels", &c->filter, 0, 0, MOST_CHANNELS},
        {"blocks_16", &c->blocks_16, -1, 0, MOST_BLOCKS},
        {"blocks_8", &c->blocks_8, -1, 0, MOST_BLOCKS},
        {"filter_layers", &c->filter_layers, 1, 1, MOST_FILTER_LAYERS},
        {"rows", &c->rows, -1, 2, MOST_ROWS},
    };
    aec_status status = aec__read_numbers(w, numbers, sizeof numbers / sizeof *numbers, error);
    if (status) return status;
    c->half = c->latent - c->latent / 2;
    if (aec__config_number(w, "hidden_signs", 0) != 1) return aec__fail(error, AEC_MODEL, "weights: a network that hides no signs");
    return AEC_OK;
}

static void close_model(void *model) {
    aec1 *m = model;
    if (!m) return;
    aec__hyper_close(&m->hyper);
    aec__arena_free(&m->memory);
    free(m);
}

static aec_status open_model(const weights *w, const kernels *k, void **model, aec_error *error) {
    aec1 *m = aec__alloc(1, 1, sizeof *m);
    *model = m;
    if (!m) return aec__fail(error, AEC_MEMORY, "no memory for the model");
    loader l = {w, k, &m->memory, {0}, error, AEC_OK};
    const config *c = &m->config;
    m->kernels = k;
    l.status = read_config(w, &m->config, error);
    for (int i = 0; i < AEC_TABLES; i++) m->scales[i] = 0.11f * aec__exp((float)i / 6 * 0.69314718f);
    m->hyper = (hyper){.latent = c->latent, .hyper = c->hyper, .trunk = c->trunk, .rows = c->rows};
    if (!l.status) aec__hyper_load(&l, &m->hyper, "exact.");
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

static float row_at(const float_rows *r, int rows, int channel, int position) {
    float at = (float)position / AEC_POSITION_STEPS * (float)(rows - 1);
    int low = aec__min((int)at, rows - 2);
    float part = at - (float)low;
    float a = r->values[(size_t)low * r->channels + channel], b = r->values[(size_t)(low + 1) * r->channels + channel];
    return part < 0.5f ? a + part * (b - a) : b - (b - a) * (1 - part);
}

/* A copy whose inputs and outputs are scaled (0: by 1); what to add to the bias after that is the caller's. */
static bool scaled(const aec1 *m, arena *memory, const packed *from, const float *inputs, const float *outputs, packed *to) {
    size_t weights = (size_t)from->padded * from->inputs;
    *to = *from;
    to->bias = aec__arena_alloc(memory, from->padded, 1, sizeof(float));
    if (!to->bias) return false;
    memcpy(to->bias, from->bias, (size_t)from->padded * sizeof(float));
    if (!inputs && !outputs) return true; /* weights are shared */
    to->weights = aec__arena_alloc(memory, weights, 1, sizeof(float));
    if (!to->weights) return false;
    int block = m->kernels->block;
    for (int first = 0; first < from->padded; first += block)
        for (int i = 0; i < from->inputs; i++) {
            const float *a = from->weights + (size_t)first * from->inputs + (size_t)i * block;
            float *b = to->weights + (size_t)first * from->inputs + (size_t)i * block;
            for (int o = 0; o < block; o++)
                b[o] = a[o] * (inputs ? inputs[i] : 1) * (outputs && first + o < from->outputs ? outputs[first + o] : 1);
        }
    if (outputs)
        for (int o = 0; o < from->outputs; o++) to->bias[o] *= outputs[o];
    return true;
}

static void release(void *prepared) {
    aec1_prepared *p = prepared;
    if (!p) return;
    aec__arena_free(&p->memory);
    free(p);
}

static aec_status prepare(const void *model, int quality, void **prepared, aec_error *error) {
    const aec1 *m = model;
    const config *c = &m->config;
    int position = quality - AEC_QUALITY_MIN, inputs = c->latent + c->trunk;
    aec1_prepared *p = *prepared = aec__alloc(1, 1, sizeof *p);
    if (!p) return aec__fail(error, AEC_MEMORY, "no memory for the model");
    arena *a = &p->memory;
    p->model = m;
    float *gain = aec__arena_alloc(a, aec__max(inputs, aec__max(108, c->filter)), 1, sizeof *gain);
    float *steps = aec__arena_alloc(a, 96, 1, sizeof *steps);
    bool fits = gain && steps && aec__hyper_prepare(&m->hyper, a, position, &p->hyper);

    float step = aec__exp(row_at(&m->output_gain, c->rows, 0, position));
    for (int k = 0; k < inputs && fits; k++)
        gain[k] = k < c->latent ? aec__exp(row_at(&m->input_gain, c->rows, k, position)) : FEATURE;
    fits = fits && scaled(m, a, &m->first, gain, NULL, &p->first);
    for (int k = 0; k < c->at_16 && fits; k++) p->first.bias[k] += row_at(&m->first_bias, c->rows, k, position);
    for (int i = 0; i < 2 && fits; i++) {
        if (!(fits = scaled(m, a, &m->up[i], NULL, NULL, &p->up[i]))) break;
        for (int o = 0; o < 2 * c->at_8; o++) p->up[i].bias[o] += row_at(&m->up_bias, c->rows, o % c->at_8, position);
    }
    for (int k = 0; k < 96 && fits; k++) steps[k] = step;
    for (int row = 0; row < 4 && fits; row++) fits = scaled(m, a, &m->last[row], NULL, steps, &p->last[row]);
    for (int k = 0; k < c->latent && fits; k++) gain[k] = aec__exp(row_at(&m->decoder_gain, c->rows, k, position));
    for (int row = 0; row < 8 && fits; row++) fits = scaled(m, a, &m->linear[row], gain, NULL, &p->linear[row]);
    if (c->filter && fits) {
        float *inverse = aec__arena_alloc(a, 108, 1, sizeof *inverse);
        fits = inverse != NULL;
        for (int k = 0; k < 108 && fits; k++) inverse[k] = 1 / step;
        for (int k = 0; k < c->filter && fits; k++) gain[k] = aec__exp(row_at(&m->filter_gain, c->rows, k, position));
        fits = fits && scaled(m, a, &m->filter_first, inverse, gain, &p->filter_first);
        for (int k = 0; k < c->filter && fits; k++) p->filter_first.bias[k] = row_at(&m->filter_bias, c->rows, k, position);
        fits = fits && scaled(m, a, &m->filter_last, NULL, steps, &p->filter_last);
    }
    if (fits) return AEC_OK;
    release(p);
    *prepared = NULL;
    return aec__fail(error, AEC_MEMORY, "no memory for the model");
}

static size_t position(const void *model) {
    const config *c = &((const aec1 *)model)->config;
    return (size_t)(c->latent + c->trunk) * sizeof(float);
}

/* How far layers at the same resolution reach, one behind the other, whose tiles of 4 positions are whole: towards the end
 * of a picture 3 positions each. first: of the last one, which begins or ends within a tile. */
static int reach(int layers, int first) { return layers ? first + 3 * (layers - 1) + 1 : 0; }

/* What all layers reach together, in latents. */
static int halo(const void *model) {
    const config *c = &((const aec1 *)model)->config;
    int squares = c->filter ? reach(c->filter_layers, 0) + 1 : 0, at_8 = (squares + 3) / 4 + reach(2 * c->blocks_8, 3);
    return (at_8 + 1) / 2 + reach(2 * c->blocks_16, 3);
}

const family aec__family_aec1 = {"aec1",  open_model, close_model,    prepare,         release,
                                 position, halo,      aec__aec1_tile, aec__aec1_pixels};
