/* aecd: an .aec file to a PNG (stored, not compressed), or to a portable pixmap, greymap or arbitrary map.
 *
 *     aecd [options] IN.aec OUT.png|OUT.ppm|OUT.pgm|OUT.pam|-
 *
 * "-" is standard output, as a pixmap. Exits with 0, or with 1 and one line of explanation. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../aec.h"

static const char USAGE[] =
    "usage: aecd [--model FILE] [--threads N] [--region X,Y,W,H] [--pixel-limit N] [--salvage] IN.aec OUT\n"
    "       aecd --info IN.aec\n"
    "       aecd --version\n"
    "OUT ends in .png, .ppm, .pgm or .pam, or is - (standard output, as a pixmap).\n"
    "Without --model, the weights file is MODEL.safetensors, MODEL being the id that the file names,\n"
    "in the folder that AEC_MODELS names.\n";

static void complain(const char *path, const char *reason) { fprintf(stderr, "aecd: %s: %s\n", path, reason); }

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t room = 0;
    *size = 0;
    if (!file) {
        complain(path, strerror(errno));
        return NULL;
    }
    for (;;) {
        if (*size == room) {
            room = room ? 2 * room : 1 << 16;
            uint8_t *grown = realloc(data, room);
            if (!grown) break;
            data = grown;
        }
        size_t count = fread(data + *size, 1, room - *size, file);
        *size += count;
        if (!count) break;
    }
    if (ferror(file) || !data || *size == room) {
        complain(path, ferror(file) ? strerror(errno) : "not enough memory");
        free(data);
        data = NULL;
    }
    fclose(file);
    return data;
}

/* Both formats have the upper byte of a sample first. PNG knows no depths between 8 and 16: samples are spread. */
static void arrange(uint8_t *pixels, size_t samples, uint32_t depth, int spread) {
    if (depth == 8) return;
    for (size_t i = 0; i < samples; i++) {
        uint16_t level;
        memcpy(&level, pixels + 2 * i, 2);
        uint32_t white = (1u << depth) - 1, own = spread ? (level * 65535u + white / 2) / white : level;
        pixels[2 * i] = (uint8_t)(own >> 8), pixels[2 * i + 1] = (uint8_t)own;
    }
}

/* ---- PNG, stored ---- */

typedef struct png {
    FILE *file;
    uint32_t crc, a, b;
} png;

static void put(png *p, const void *data, size_t size) {
    const uint8_t *bytes = data;
    fwrite(data, 1, size, p->file);
    for (size_t i = 0; i < size; i++) {
        p->crc ^= bytes[i];
        for (int k = 0; k < 8; k++) p->crc = p->crc & 1 ? p->crc >> 1 ^ 0xedb88320u : p->crc >> 1;
    }
}

static void put32(png *p, uint32_t x) {
    uint8_t bytes[4] = {(uint8_t)(x >> 24), (uint8_t)(x >> 16), (uint8_t)(x >> 8), (uint8_t)x};
    put(p, bytes, 4);
}

static void begin(png *p, const char *type, uint32_t size) {
    put32(p, size);
    p->crc = ~0u;
    put(p, type, 4);
}

static void end(png *p) { put32(p, ~p->crc); }

static void stored(png *p, const uint8_t *data, size_t size, int last) {
    uint8_t head[5] = {(uint8_t)last, (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)~size, (uint8_t)(~size >> 8)};
    put(p, head, 5);
    put(p, data, size);
    for (size_t i = 0; i < size; i++) p->a = (p->a + data[i]) % 65521, p->b = (p->b + p->a) % 65521;
}

static void write_png(FILE *file, uint8_t *pixels, const aec_info *info, uint32_t width, uint32_t height) {
    static const uint8_t kinds[5] = {0, 0, 4, 2, 6};
    png p = {file, 0, 1, 0};
    size_t row = (size_t)width * info->channels * (info->depth > 8 ? 2 : 1);
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, file);
    begin(&p, "IHDR", 13);
    put32(&p, width);
    put32(&p, height);
    put(&p, (uint8_t[5]){info->depth > 8 ? 16 : 8, kinds[info->channels], 0, 0, 0}, 5);
    end(&p);
    for (uint32_t y = 0; y < height; y++) { /* an IDAT for each row, so that sizes are known beforehand */
        const uint8_t none = 0;
        size_t blocks = (row + 65534) / 65535;
        begin(&p, "IDAT", (uint32_t)((y == 0) * 2 + 6 + row + 5 * blocks + (y == height - 1) * 4));
        if (y == 0) put(&p, "\x78\x01", 2);
        stored(&p, &none, 1, 0);
        for (size_t at = 0; at < row; at += 65535) {
            size_t size = row - at < 65535 ? row - at : 65535;
            stored(&p, pixels + y * row + at, size, y == height - 1 && at + size == row);
        }
        if (y == height - 1) put32(&p, p.b << 16 | p.a);
        end(&p);
    }
    begin(&p, "IEND", 0);
    end(&p);
}

static void write_map(FILE *file, uint8_t *pixels, const aec_info *info, uint32_t width, uint32_t height, int pam) {
    const unsigned white = (1u << info->depth) - 1;
    static const char *const kinds[5] = {"", "GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA"};
    if (pam || info->channels % 2 == 0)
        fprintf(file, "P7\nWIDTH %u\nHEIGHT %u\nDEPTH %u\nMAXVAL %u\nTUPLTYPE %s\nENDHDR\n", width, height, info->channels, white,
                kinds[info->channels]);
    else fprintf(file, "P%d\n%u %u\n%u\n", info->channels == 1 ? 5 : 6, width, height, white);
    fwrite(pixels, info->depth > 8 ? 2 : 1, (size_t)width * height * info->channels, file);
}

static int ends_in(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Writes under a temporary name, then renames: a result is there whole or not at all. */
static int write_picture(const char *path, uint8_t *pixels, const aec_info *info, uint32_t width, uint32_t height) {
    arrange(pixels, (size_t)width * height * info->channels, info->depth, ends_in(path, ".png"));
    if (!strcmp(path, "-")) {
        write_map(stdout, pixels, info, width, height, 0);
        if (!fflush(stdout)) return 0;
        complain("standard output", strerror(errno));
        return 1;
    }
    size_t size = strlen(path) + 16;
    char *temporary = malloc(size);
    if (!temporary) return 1;
    snprintf(temporary, size, "%s.aecd-part", path);
    FILE *file = fopen(temporary, "wb");
    int wrong = !file;
    if (file) {
        if (ends_in(path, ".png")) write_png(file, pixels, info, width, height);
        else write_map(file, pixels, info, width, height, ends_in(path, ".pam"));
        wrong = ferror(file);
        wrong |= fclose(file) != 0;
        if (!wrong) wrong = rename(temporary, path) != 0;
    }
    if (wrong) {
        complain(path, strerror(errno));
        remove(temporary);
    }
    free(temporary);
    return wrong;
}

static void show(const aec_file *file) {
    const aec_info *info = aec_file_info(file);
    printf("width     %u\nheight    %u\nchannels  %u\ndepth     %u\nquality   %g\nmodel     %02x%02x%02x%02x\ntile      %u\ntiles     %u\n",
           info->width, info->height, info->channels, info->depth, info->quality / 100.0, info->model[0], info->model[1], info->model[2],
           info->model[3], info->tile, info->tiles);
    char type[5];
    size_t size;
    for (uint32_t i = 0; aec_file_chunk(file, i, type, &size); i++) printf("chunk     %s, %zu bytes\n", type, size);
}

int main(int argc, char **argv) {
    const char *model_path = NULL, *paths[2] = {NULL, NULL};
    aec_options options = {0};
    unsigned long long limit = 0;
    int salvage = 0, only_info = 0, count = 0;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(word, "--version")) {
            printf("aecd %s (%s)\n", aec_version(), aec_instructions());
            return 0;
        } else if (!strcmp(word, "--model")) model_path = value, i++;
        else if (!strcmp(word, "--threads")) options.threads = (uint32_t)strtoul(value, NULL, 10), i++;
        else if (!strcmp(word, "--pixel-limit")) limit = strtoull(value, NULL, 10), i++;
        else if (!strcmp(word, "--salvage")) salvage = 1;
        else if (!strcmp(word, "--info")) only_info = 1;
        else if (!strcmp(word, "--region")) {
            if (sscanf(value, "%u,%u,%u,%u", &options.x, &options.y, &options.width, &options.height) != 4) {
                complain(value, "no region; write X,Y,W,H in pixels");
                return 2;
            }
            i++;
        } else if ((word[0] == '-' && word[1]) || count == 2) {
            fputs(USAGE, stderr);
            return 2;
        } else paths[count++] = word;
    }
    if (count != (only_info ? 1 : 2)) {
        fputs(USAGE, stderr);
        return 2;
    }

    int code = 1;
    size_t size, weights_size;
    aec_error error;
    aec_file *file = NULL;
    aec_model *model = NULL;
    uint8_t *weights = NULL, *pixels = NULL, *data = read_file(paths[0], &size);
    char found[4096];
    if (!data) return 1;
    if ((salvage ? aec_file_salvage : aec_file_open)(data, size, limit, &file, &error)) {
        complain(paths[0], error.message);
        goto end;
    }
    if (only_info) {
        show(file);
        code = 0;
        goto end;
    }
    const aec_info *info = aec_file_info(file);
    if (!model_path) {
        const char *folder = getenv("AEC_MODELS");
        snprintf(found, sizeof found, "%s/%02x%02x%02x%02x.safetensors", folder ? folder : ".", info->model[0],
                 info->model[1], info->model[2], info->model[3]);
        model_path = found;
    }
    if (!(weights = read_file(model_path, &weights_size))) goto end;
    if (aec_model_open(weights, weights_size, NULL, &model, &error)) {
        complain(model_path, error.message);
        goto end;
    }
    uint32_t width = options.width ? options.width : info->width, height = options.height ? options.height : info->height;
    if (width > info->width || height > info->height) width = height = 1; /* aec_decode tells */
    size_t row = (size_t)width * info->channels * (info->depth > 8 ? 2 : 1);
    pixels = malloc(row * height);
    if (!pixels) {
        complain(paths[0], "not enough memory");
        goto end;
    }
    if (aec_decode(file, model, &options, pixels, row, &error)) {
        complain(paths[0], error.message);
        goto end;
    }
    code = write_picture(paths[1], pixels, info, width, height);
    for (uint32_t i = 0; i < info->damages; i++) {
        complain(paths[0], aec_file_damage(file, i));
        code = 1;
    }
end:
    aec_model_close(model);
    aec_file_close(file);
    free(pixels);
    free(weights);
    free(data);
    return code;
}
