#include "loader.h"

#include <math.h>
#include <string.h>

void *aec__own(loader *l, arena *a, size_t n, size_t m, size_t element) {
    void *block = l->status ? NULL : aec__arena_alloc(a, n, m, element);
    if (!block && !l->status) l->status = aec__fail(l->error, AEC_MEMORY, "no memory for the model");
    return block;
}

float *aec__floats(loader *l, arena *a, const char *name, int rank, uint64_t s0, uint64_t s1, uint64_t s2, uint64_t s3) {
    tensor t;
    const uint64_t shape[4] = {s0, s1, s2, s3};
    if (!l->status) l->status = aec__tensor(l->weights, name, FLOAT32, rank, shape, &t, l->error);
    if (l->status) return NULL;
    float *values = aec__own(l, a, t.count, 1, sizeof *values);
    if (values) aec__float_values(&t, values);
    int wrong = 0;
    for (size_t i = 0; values && i < t.count; i++) wrong |= !isfinite(values[i]);
    if (wrong) l->status = aec__fail(l->error, AEC_MODEL, "weights: tensor %s holds numbers that are not finite", name);
    return values;
}

int32_t *aec__integers(loader *l, arena *a, const char *name, number_type type, int rank, uint64_t s0, uint64_t s1,
                         uint64_t s2, uint64_t s3) {
    tensor t;
    const uint64_t shape[4] = {s0, s1, s2, s3};
    if (!l->status) l->status = aec__tensor(l->weights, name, type, rank, shape, &t, l->error);
    if (l->status) return NULL;
    int32_t *values = aec__own(l, a, t.count, 1, sizeof *values);
    for (size_t i = 0; values && i < t.count; i++) values[i] = (int32_t)aec__integer(&t, i);
    return values;
}

const char *aec__joined(char *out, size_t room, const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    if (n + m >= room) n = room - m - 1;
    memcpy(out, name, n);
    memcpy(out + n, end, m + 1);
    return out;
}

packed aec__new_packed(loader *l, int outputs, int inputs) {
    int block = l->kernels->block;
    packed p = {inputs, outputs, (outputs + block - 1) / block * block, NULL, NULL, NULL, 0};
    p.weights = aec__own(l, l->memory, p.padded, inputs, sizeof(float));
    p.bias = aec__own(l, l->memory, p.padded, 1, sizeof(float));
    return p;
}

void aec__order_of_row(int channels, int i, int *order) {
    for (int o = 0; o < 2 * channels; o++) order[o] = o % channels * 4 + 2 * i + o / channels;
}

void aec__order_of_squares(int size, int row, int *order) {
    for (int square = 0; square < size / 2; square++)
        for (int k = 0; k < 12; k++) {
            int colour = k % 3, y = 2 * row + k / 6, x = 2 * square + k / 3 % 2, at = colour * 64 + y % 8 * 8 + x % 8;
            order[square * 12 + k] = size == 16 ? at * 4 + y / 8 * 2 + x / 8 : at;
        }
}

int64_t aec__exact_row(const int32_t *values, int rows, int channels, int channel, int position) {
    int low = position * (rows - 1) / AEC_POSITION_STEPS, part = position * (rows - 1) % AEC_POSITION_STEPS;
    int high = aec__min(low + 1, rows - 1);
    int64_t sum = (int64_t)values[(size_t)low * channels + channel] * (AEC_POSITION_STEPS - part) +
                  (int64_t)values[(size_t)high * channels + channel] * part;
    return sum >= 0 ? sum / AEC_POSITION_STEPS : -((-sum + AEC_POSITION_STEPS - 1) / AEC_POSITION_STEPS);
}

aec_status aec__read_numbers(const weights *w, const config_number *numbers, size_t count, aec_error *error) {
    for (size_t i = 0; i < count; i++) {
        long value = aec__config_number(w, numbers[i].key, numbers[i].without);
        if (value < numbers[i].least || value > numbers[i].most)
            return aec__fail(error, AEC_MODEL, "weights: config has no usable %s", numbers[i].key);
        *numbers[i].value = (int)value;
    }
    return AEC_OK;
}
