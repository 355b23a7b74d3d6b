/* Decodes files with random changes, whose checksums nobody looks at; for sanitizers, which tell of what goes wrong.
 *
 *     fuzz WEIGHTS ROUNDS FILE...      compiled with -DAEC_FUZZING, see the Makefile
 *
 * The same arguments give the same changes. Prints how many files were decoded and how many refused. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../aec.h"

enum { LIMIT = 1 << 14 }; /* pixels */

static uint32_t next(uint64_t *state) { /* a linear congruential generator */
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static uint8_t *slurp(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(2);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size);
    if (!data || fread(data, 1, *size, file) != *size) exit(2);
    fclose(file);
    return data;
}

static size_t change(uint8_t *data, size_t size, uint64_t *state) {
    for (uint32_t changes = 1 + next(state) % 6; changes; changes--) {
        size_t at = next(state) % 3 ? next(state) % size : next(state) % (size < 48 ? size : 48); /* headers are short */
        if (at >= 6 && at < 10) continue; /* the model, of which there is but one here */
        data[at] = next(state) % 2 ? (uint8_t)next(state) : (uint8_t)(data[at] ^ 1u << next(state) % 8);
    }
    return next(state) % 8 ? size : 1 + next(state) % size;
}

static int decode(aec_status (*open)(const uint8_t *, size_t, uint64_t, aec_file **, aec_error *), const uint8_t *data,
                  size_t size, const aec_model *model, uint64_t *state) {
    aec_file *file;
    aec_error error;
    if (open(data, size, LIMIT, &file, &error)) return 0;
    const aec_info *info = aec_file_info(file);
    aec_options options = {.channels = next(state) % 2 ? 4 : 0, .threads = 1 + next(state) % 2};
    if (next(state) % 2) {
        options.x = next(state) % info->width, options.y = next(state) % info->height;
        options.width = 1 + next(state) % (info->width - options.x), options.height = 1 + next(state) % (info->height - options.y);
    }
    size_t row = (size_t)(options.width ? options.width : info->width) * (options.channels ? 4 : info->channels) * (info->depth > 8 ? 2 : 1);
    uint8_t *pixels = malloc(row * (options.height ? options.height : info->height));
    if (!pixels) exit(2);
    int decoded = !aec_decode(file, model, &options, pixels, row, &error);
    free(pixels);
    aec_file_close(file);
    return decoded;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    size_t size;
    aec_error error;
    aec_model *model;
    uint64_t state = 1;
    unsigned long decoded = 0, refused = 0;
    uint8_t *weights = slurp(argv[1], &size);
    if (aec_model_open(weights, size, NULL, &model, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    for (unsigned long round = strtoul(argv[2], NULL, 10); round; round--)
        for (int i = 3; i < argc; i++) {
            uint8_t *data = slurp(argv[i], &size);
            size = change(data, size, &state);
            uint8_t *exact = malloc(size ? size : 1); /* so that a byte read beyond the end is noticed */
            if (!exact) return 2;
            memcpy(exact, data, size);
            free(data);
            if (decode(next(&state) % 4 ? aec_file_open : aec_file_salvage, exact, size, model, &state)) decoded++;
            else refused++;
            free(exact);
        }
    /* Weights are changed, too: their numbers may be anything, their header must not mislead. */
    for (int round = 0; round < 200; round++) {
        aec_model *broken;
        uint8_t *copy = slurp(argv[1], &size);
        for (int k = 0; k < 3; k++) copy[next(&state) % (size < 4096 ? size : 4096)] = (uint8_t)next(&state);
        if (!aec_model_open(copy, size, aec_model_id(model), &broken, &error)) aec_model_close(broken);
        free(copy);
    }
    aec_model_close(model);
    free(weights);
    printf("%lu decoded, %lu refused\n", decoded, refused);
    return 0;
}
