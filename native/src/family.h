/* What a family of networks has to know how to do. Container, entropy coder, tiles, regions and metadata do not depend on
 * it; a file's model names its family. Sizes are in latents (16x16 pixels) unless they say otherwise. */
#ifndef AEC_FAMILY_H
#define AEC_FAMILY_H

#include "kernels.h"
#include "weights.h"

/* What tiles of a picture decoded to, one block of memory each: (height, width, bytes of a position). */
typedef struct latents {
    void *const *tiles; /* row by row; 0 where nobody will ask */
    int side;           /* of the tiles */
    int columns;        /* of tiles */
    int height, width;  /* of the padded picture */
    size_t position;    /* bytes */
} latents;

/* The position (y, x), and how many of its row follow in the same tile, itself included. */
const void *aec__latents_at(const latents *, int y, int x, int *run);

typedef struct box {
    int top, left, bottom, right;
} box;

/* Takes rows of a picture as they are made: (width, 3) RGB from pixel (y, x) of the padded picture on, 0 to 2^depth - 1. */
typedef struct sink {
    void (*row)(const struct sink *, int y, int x, const uint16_t *rgb, int width);
    void *context;
    int depth;
} sink;

typedef struct family {
    const char *name; /* as in the config of weights files */
    /* A model for all qualities. */
    aec_status (*open)(const weights *, const kernels *, void **model, aec_error *);
    void (*close)(void *model);
    /* The same for one quality (hundredths). */
    aec_status (*prepare)(const void *model, int quality, void **prepared, aec_error *);
    void (*release)(void *prepared);
    size_t (*position)(const void *model); /* bytes that a tile leaves for each latent position */
    int (*halo)(const void *model);        /* latents around a box that its pixels depend on */
    /* Decodes a tile of h x w latents; latents are zeroed memory. */
    aec_status (*tile)(const void *prepared, const uint8_t *payload, size_t size, int h, int w, int threads, void *latents,
                       aec_error *);
    /* Makes the pixels of a box of latents. */
    aec_status (*pixels)(const void *prepared, const latents *, box, const sink *, aec_error *);
} family;

extern const family aec__family_aec1, aec__family_aec2;

#endif
