/* The family "aec2": docs/format/aec2.md; read in the order in which data flows. All of it is integers, in 8 bits, floats
 * or doubles as they suffice, so that its pixels are the same everywhere. */
#ifndef AEC_AEC2_H
#define AEC_AEC2_H

#include "family.h"
#include "hyper.h"

enum { AEC2_BLOCKS = 16, AEC2_FILTER_LAYERS = 16 };
enum { GELU_REACH = 2048 };
enum { LATENT_STEPS = 256, PIXEL_STEPS = 64, ACTIVATION_STEPS = 16, SUM_STEPS = 256, SIGNED_TOP = 127, ACTIVATION_TOP = 255 };
#define LATENT_TOP 16777216.0 /* 2^24 */

typedef struct aec2_config {
    int latent, hyper, trunk, context; /* channels */
    int at_16, at_8, filter;           /* channels of the synthesis */
    int blocks_16, blocks_8, filter_layers;
    int rows; /* learned qualities */
} aec2_config;

/* Integers of the file, (rows, channels), between which qualities are interpolated. */
typedef struct integer_rows {
    int64_t *values;
    int rows, channels;
} integer_rows;

typedef struct narrow_rows {
    narrow layer; /* of the first row of biases */
    integer_rows biases;
    int *order;     /* of its outputs in the file */
    int32_t *zeros; /* what the zeros of its activations add to sums */
} narrow_rows;

typedef struct pair {
    narrow first, second;
} pair;

/* What is the same for all qualities. */
typedef struct aec2 {
    arena memory;
    const kernels *kernels;
    aec2_config config;
    hyper hyper;
    double gelu[2 * GELU_REACH];          /* of -2048..2047, in 1/256 */
    double scales[AEC_TABLES];            /* of an index: standard deviation in 1/4096 of a step */
    double thresholds[SIGNED_TOP];        /* latents from which the context sees 1, 2, .. */
    /* Means. Pairs of layers are for positions of even and of odd row + column. */
    wide first_hidden, first_mean[2], context_features, second_hidden, second_mean[2];
    narrow context;
    double *neighbours[4], *neighbour_bias, *neighbour_factor; /* above, left, right, below: (latent,) */
    /* Synthesis. */
    wide first;
    integer_rows first_biases;
    narrow_rows up[2];
    pair enter, blocks_16[AEC2_BLOCKS], blocks_8[AEC2_BLOCKS];
    narrow last[4];
    wide linear[8];
    narrow filter_layers[AEC2_FILTER_LAYERS], filter_last;
    narrow filter_first;
    double *filter_first_bias;
    integer_rows input_gain, output_gain, decoder_gain, filter_gain, filter_bias;
} aec2;

/* The same for one quality. */
typedef struct aec2_prepared {
    arena memory;
    const aec2 *model;
    hyper_prepared hyper;
    wide first;
    narrow up[2];
    double *input_gain, *decoder_gain, *filter_gain, *filter_bias;
    double step; /* a quantisation step, in units of white */
} aec2_prepared;

aec_status aec__aec2_tile(const void *prepared, const uint8_t *payload, size_t size, int h, int w, int threads,
                          void *latents, aec_error *);
aec_status aec__aec2_pixels(const void *prepared, const latents *, box, const sink *, aec_error *);

#endif
