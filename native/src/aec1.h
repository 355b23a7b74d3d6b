/* The family "aec1": docs/format, sections 3 and 4; read in the order in which data flows. */
#ifndef AEC_AEC1_H
#define AEC_AEC1_H

#include "family.h"
#include "hyper.h"

enum { MOST_BLOCKS = 8, MOST_FILTER_LAYERS = 16 };

typedef struct config {
    int latent, hyper, trunk, context; /* channels */
    int half;                          /* of the latents, the larger half: a pass decodes a half at each position */
    int at_16, at_8, filter;           /* channels of the synthesis */
    int blocks_16, blocks_8, filter_layers;
    int rows; /* learned qualities */
} config;

typedef struct residual_block {
    packed first, second;
} residual_block;

/* Learned rows (rows, channels), between which qualities are interpolated. */
typedef struct float_rows {
    float *values;
    int channels;
} float_rows;

/* What is the same for all qualities. */
typedef struct aec1 {
    arena memory;
    const kernels *kernels;
    config config;
    hyper hyper;
    float scales[AEC_TABLES];
    /* Means. Pairs are for positions of even and of odd row + column. */
    packed first_hidden, first_mean[2], context[2], second_hidden, second_mean[2];
    float *neighbours[4]; /* above, left, right, below: (latent,) */
    /* Synthesis; gains and rows are still to be put in. */
    packed first, up[2], last[4], linear[8], filter_first, filter_layers[MOST_FILTER_LAYERS], filter_last;
    residual_block blocks_16[MOST_BLOCKS], blocks_8[MOST_BLOCKS];
    float_rows input_gain, decoder_gain, output_gain, first_bias, up_bias, filter_gain, filter_bias;
} aec1;

/* The same for one quality. */
typedef struct aec1_prepared {
    arena memory;
    const aec1 *model;
    hyper_prepared hyper;
    packed first, up[2], last[4], linear[8], filter_first, filter_last;
} aec1_prepared;

aec_status aec__aec1_tile(const void *prepared, const uint8_t *payload, size_t size, int h, int w, int threads,
                          void *latents, aec_error *);
aec_status aec__aec1_pixels(const void *prepared, const latents *, box, const sink *, aec_error *);

#endif
