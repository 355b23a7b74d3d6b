/* What families with a hyperprior share: a tile's payload to features, scale indices and symbols. docs/format/aec1.md,
 * sections 2 and 3. Data lie in memory as (row, column, channel). */
#ifndef AEC_HYPER_H
#define AEC_HYPER_H

#include "entropy.h"
#include "loader.h"

enum { TRUNK = 5 };

/* An integer layer. Of one that doubles the resolution there are two, for the upper and the lower row. */
typedef struct exact_layer {
    packed rows[2];
    int kernel, outputs;
    bool doubles;
    int32_t *biases; /* (learned rows, outputs) */
} exact_layer;

/* What is the same for all qualities. */
typedef struct hyper {
    const kernels *kernels;
    int latent, hyper, trunk; /* channels */
    int rows;                 /* learned qualities */
    tables tables;
    int32_t *z_index;   /* (learned rows, hyper) */
    int32_t *z_weights; /* (3, hyper) */
    exact_layer exact[TRUNK + 1];
} hyper;

/* The same for one quality. */
typedef struct hyper_prepared {
    const hyper *hyper;
    uint8_t *z_index; /* (hyper,) */
    packed exact[TRUNK + 1][2];
} hyper_prepared;

/* Unpacks what is not there yet; sizes are. prefix: of the names of its tensors. */
void aec__hyper_load(loader *, hyper *, const char *prefix);
void aec__hyper_close(hyper *);
bool aec__hyper_prepare(const hyper *, arena *, int position, hyper_prepared *); /* false: no memory */

/* A tile on its way: h x w latents; `positions` floats of the result for each, of which the features are the last. */
typedef struct symbols {
    int h, w, positions;
    float *latents;
    uint8_t *indices; /* (h, w, latent) */
    int32_t *symbols; /* the same; signs are there */
} symbols;

/* Reads a payload; memory comes from the arena. latents: zeroed memory of h * w positions. */
aec_status aec__hyper_decode(const hyper_prepared *, const uint8_t *payload, size_t size, int threads, arena *, symbols *,
                             aec_error *);

/* A map of floats whose rows begin and end with a position of zeros. */
typedef struct map {
    float *data;
    int h, w, channels;
} map;

bool aec__new_map(arena *, map *, int h, int w, int channels);
static inline float *aec__line(const map *m, int y) { return m->data + ((size_t)y * (m->w + 2) + 1) * m->channels; }

/* Channels that a pass decodes at positions of a parity (row + column): those of a half. */
static inline int aec__half_start(int latent, int parity, int pass) { return (parity ^ pass) ? latent / 2 : 0; }
static inline int aec__half_size(int latent, int parity, int pass) {
    return (parity ^ pass) ? latent - latent / 2 : latent / 2;
}

#endif
