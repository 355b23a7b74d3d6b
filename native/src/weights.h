/* A weights file: safetensors, whose metadata hold `config`, the sizes of the network as JSON, and `family`. */
#ifndef AEC_WEIGHTS_H
#define AEC_WEIGHTS_H

#include "common.h"

typedef enum number_type { FLOAT32, FLOAT16, INT64, INT32, INT16, INT8, OTHER } number_type;

typedef struct tensor {
    const uint8_t *data; /* 0 if there is no such tensor */
    size_t count;
    number_type type;
    int rank;
    uint64_t shape[4];
} tensor;

typedef struct named_tensor {
    const char *name;
    size_t length;
    tensor tensor;
} named_tensor;

typedef struct weights {
    named_tensor *tensors;
    size_t count;
    char *config; /* JSON, ends in a zero */
    char *family; /* 0 if the file names none */
} weights;

aec_status aec__weights_open(const uint8_t *data, size_t size, weights *, aec_error *);
void aec__weights_close(weights *);

/* A tensor that must be there, of the type (FLOAT32 stands for any float) and shape; rank 0: any shape. */
aec_status aec__tensor(const weights *, const char *name, number_type, int rank, const uint64_t *shape, tensor *, aec_error *);
bool aec__has_tensor(const weights *, const char *name);

void aec__float_values(const tensor *, float *);    /* of FLOAT32 or FLOAT16, all of them */
int64_t aec__integer(const tensor *, size_t index); /* of any integer type */

/* A whole number or truth value (0, 1) of the config, or what it is without. */
long aec__config_number(const weights *, const char *key, long without);

#endif
