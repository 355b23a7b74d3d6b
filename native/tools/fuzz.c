/* Opens and decodes files with random changes, whose checksums nobody looks at; for sanitizers, which tell of what goes
 * wrong.
 *
 *     fuzz WEIGHTS COUNT EVERY SEED FILE...      compiled with -DAEC_FUZZING, see the Makefile
 *
 * COUNT inputs are opened (a quarter of them salvaged), with all chunks read; of those that open, one in EVERY is decoded
 * to pixels. Of COUNT / 1000 copies of the weights the header is changed. The same arguments give the same inputs. An
 * input that ends the run, or takes more than PATIENCE, is left as `crash-SEED`. Prints how many there were of each. */
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../aec.h"

enum { LIMIT = 1 << 14, /* pixels */ LONGEST = 1 << 16, /* bytes of an input */ PATIENCE = 60 /* seconds */ };

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static bytes input; /* for whoever asks what ended the run */
static const char *seed;

static void keep_input(void) {
    char name[64];
    snprintf(name, sizeof name, "crash-%s", seed);
    FILE *file = fopen(name, "wb");
    if (file && fwrite(input.data, 1, input.size, file) == input.size) fprintf(stderr, "left as %s\n", name);
    if (file) fclose(file);
}

static void give_up(int number) {
    fprintf(stderr, "more than %d seconds (signal %d)\n", PATIENCE, number);
    abort(); /* which the sanitizers answer with where it was */
}

static uint32_t next(uint64_t *state) { /* a linear congruential generator */
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static bytes slurp(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(2);
    bytes all = {NULL, (size_t)ftell(file)};
    rewind(file);
    all.data = malloc(all.size);
    if (!all.data || fread(all.data, 1, all.size, file) != all.size) exit(2);
    fclose(file);
    return all;
}

/* A place in the first `size` bytes: headers are short, and more likely. */
static size_t place(size_t size, uint64_t *state) { return next(state) % 3 ? next(state) % size : next(state) % (size < 48 ? size : 48); }

/* Changes bytes, moves, removes and repeats them; `other` gives some, too. Returns the new size. */
static size_t change(uint8_t *data, size_t size, bytes other, uint64_t *state) {
    static const uint8_t edges[] = {0, 1, 2, 63, 64, 65, 127, 128, 129, 254, 255};
    for (uint32_t changes = 1 + next(state) % 6; changes; changes--) {
        size_t at = place(size, state), from = next(state) % other.size, count = 1 + next(state) % (next(state) % 4 ? 4 : 64);
        if (at >= 6 && at < 10) continue; /* the model, of which there is but one here */
        switch (next(state) % 8) {
        case 0: data[at] = (uint8_t)next(state); break;
        case 1: data[at] = edges[next(state) % sizeof edges]; break;
        case 2: /* from another file, in place of what is there */
            if (at < 6 || count > size - at || count > other.size - from) continue;
            memcpy(data + at, other.data + from, count);
            break;
        case 3: /* the same, between */
            if (at < 6 || count > LONGEST - size || count > other.size - from) continue;
            memmove(data + at + count, data + at, size - at);
            memcpy(data + at, other.data + from, count);
            size += count;
            break;
        case 4: /* removed */
            if (at < 6 || count > size - at) continue;
            memmove(data + at, data + at + count, size - at - count);
            size -= count;
            break;
        default: data[at] ^= 1u << next(state) % 8;
        }
    }
    return next(state) % 8 ? size : 1 + next(state) % size;
}

static int decode(const aec_file *file, const aec_model *model, uint64_t *state) {
    const aec_info *info = aec_file_info(file);
    aec_error error;
    aec_options options = {.channels = next(state) % 2 ? 4 : 0, .threads = 1 + !(next(state) % 16)};
    if (next(state) % 2) {
        options.x = next(state) % info->width, options.y = next(state) % info->height;
        options.width = 1 + next(state) % (info->width - options.x), options.height = 1 + next(state) % (info->height - options.y);
    }
    size_t row = (size_t)(options.width ? options.width : info->width) * (options.channels ? 4 : info->channels) * (info->depth > 8 ? 2 : 1);
    uint8_t *pixels = malloc(row * (options.height ? options.height : info->height));
    if (!pixels) exit(2);
    int decoded = !aec_decode(file, model, &options, pixels, row, &error);
    free(pixels);
    return decoded;
}

static void touch(const aec_file *file) { /* all bytes of chunks, and letters of damages */
    static volatile unsigned sum;
    char type[5];
    size_t size;
    for (uint32_t i = 0; i < aec_file_info(file)->chunks; i++) {
        const uint8_t *data = aec_file_chunk(file, i, type, &size);
        while (size--) sum += data[size];
    }
    for (uint32_t i = 0; i < aec_file_info(file)->damages; i++) sum += (unsigned)strlen(aec_file_damage(file, i));
}

static void change_weights(bytes weights, const aec_model *model, uint64_t *state) {
    aec_model *broken; /* its numbers may be anything, its header must not mislead */
    aec_error error;
    bytes copy = {malloc(weights.size), weights.size};
    if (!copy.data) exit(2);
    memcpy(copy.data, weights.data, copy.size);
    for (int k = 0; k < 3; k++) copy.data[next(state) % (copy.size < 4096 ? copy.size : 4096)] = (uint8_t)next(state);
    input = copy;
    if (!aec_model_open(copy.data, copy.size, aec_model_id(model), &broken, &error)) aec_model_close(broken);
    free(copy.data);
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    aec_error error;
    aec_model *model;
    unsigned long count = strtoul(argv[2], NULL, 10), every = strtoul(argv[3], NULL, 10), opened = 0, decoded = 0, refused = 0;
    uint64_t state = strtoul(seed = argv[4], NULL, 10);
    int files = argc - 5;
    bytes weights = slurp(argv[1]), *seeds = malloc(files * sizeof *seeds);
    uint8_t *room = malloc(LONGEST);
    if (!seeds || !room || !every) return 2;
    for (int i = 0; i < files; i++)
        if ((seeds[i] = slurp(argv[5 + i])).size > LONGEST) return 2;
    if (aec_model_open(weights.data, weights.size, NULL, &model, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    __sanitizer_set_death_callback(keep_input);
    signal(SIGALRM, give_up);
    for (unsigned long i = 1; i <= count; i++) {
        bytes from = seeds[next(&state) % files];
        memcpy(room, from.data, from.size);
        input.size = change(room, from.size, seeds[next(&state) % files], &state);
        input.data = malloc(input.size); /* of its own, so that a byte read beyond the end is noticed */
        if (!input.data) return 2;
        memcpy(input.data, room, input.size);
        aec_file *file;
        alarm(PATIENCE);
        if (!(next(&state) % 4 ? aec_file_open : aec_file_salvage)(input.data, input.size, LIMIT, &file, &error)) {
            opened++;
            touch(file);
            if (!(next(&state) % every)) {
                if (decode(file, model, &state)) decoded++;
                else refused++;
            }
            aec_file_close(file);
        }
        free(input.data);
        if (!(i % 1000)) change_weights(weights, model, &state);
        if (!(i % 1000000) || i == count) {
            struct rusage used;
            getrusage(RUSAGE_SELF, &used);
            printf("%lu inputs, %lu opened; of these %lu decoded, %lu refused while decoding; %ld MB\n", i, opened, decoded, refused,
                   used.ru_maxrss / 1024);
            fflush(stdout);
        }
    }
    for (int i = 0; i < files; i++) free(seeds[i].data);
    free(seeds);
    free(room);
    aec_model_close(model);
    free(weights.data);
    return 0;
}
