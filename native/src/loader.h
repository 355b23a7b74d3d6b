/* What families share in unpacking a weights file: the first error stops all that follows. */
#ifndef AEC_LOADER_H
#define AEC_LOADER_H

#include "arena.h"
#include "kernels.h"
#include "weights.h"

typedef struct loader {
    const weights *weights;
    const kernels *kernels;
    arena *memory; /* of the model */
    arena scratch; /* until it is unpacked */
    aec_error *error;
    aec_status status;
} loader;

void *aec__own(loader *, arena *, size_t n, size_t m, size_t element);
/* The numbers of a tensor, in memory of the arena; 0 on an error. Shape: as many sides as `rank` says. */
float *aec__floats(loader *, arena *, const char *name, int rank, uint64_t, uint64_t, uint64_t, uint64_t);
int32_t *aec__integers(loader *, arena *, const char *name, number_type, int rank, uint64_t, uint64_t, uint64_t, uint64_t);

/* A name and what is added to it, cut off to the room. */
const char *aec__joined(char *out, size_t room, const char *name, const char *end);

/* Weights and biases of a layer, all 0, and where a weight is: of the layer with groups of `block` outputs. */
packed aec__new_packed(loader *, int outputs, int inputs);
static inline float *aec__place(const packed *p, int block, int output, int input) {
    return p->weights + ((size_t)(output / block) * p->inputs + input) * block + output % block;
}

/* Channels 4 c + 2 i + j of a position become channel c of position (i, j) of a square: the order (j, c) of row i. */
void aec__order_of_row(int channels, int i, int *order);

/* Outputs of a layer that writes blocks of size x size pixels: those of a row of squares of 2x2 pixels, in the order
 * (column of the square; row, column, colour in it). The file has them as pixels unshuffled by 8, then by 2. */
void aec__order_of_squares(int size, int row, int *order);

/* The floor of what is between the learned rows (rows, channels) at a position in 0..AEC_POSITION_STEPS. */
#define AEC_POSITION_STEPS 9900
int64_t aec__exact_row(const int32_t *values, int rows, int channels, int channel, int position);

/* A whole number of the config, or `without`; AEC_MODEL unless it is in range. */
typedef struct config_number {
    const char *key;
    int *value;
    long without, least, most;
} config_number;
aec_status aec__read_numbers(const weights *, const config_number *, size_t count, aec_error *);

#endif
