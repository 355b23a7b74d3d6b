/* libaec: opens .aec pictures (docs/format). Plain C11, no dependencies, no global state.
 *
 *     aec_error error;
 *     aec_file *file;    an .aec file, taken apart and verified; refers to the caller's bytes
 *     aec_model *model;  a weights file, unpacked; read only, so threads may share it
 *     if (aec_file_open(bytes, size, 0, &file, &error)) ...
 *     if (aec_model_open(weights, weights_size, 0, &model, &error)) ...
 *     const aec_info *info = aec_file_info(file);
 *     uint8_t *pixels = malloc((size_t)info->width * info->height * info->channels);   of 8-bit samples
 *     if (aec_decode(file, model, 0, pixels, (size_t)info->width * info->channels, &error)) ...
 *
 * No bytes make it crash, hang or allocate what the header does not justify: everything is checked before it is
 * allocated, and a tile has at most 2^22 pixels. Errors are a status and a sentence that names the place.
 */
#ifndef AEC_H
#define AEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define AEC_API __declspec(dllexport)
#else
#define AEC_API __attribute__((visibility("default")))
#endif

#define AEC_VERSION "0.1.0"
#define AEC_DEFAULT_PIXEL_LIMIT 178956970u /* where Pillow, too, refuses a picture as a decompression bomb */

typedef enum aec_status {
    AEC_OK = 0,
    AEC_FORMAT = 1,   /* the bytes are not an undamaged .aec file */
    AEC_MODEL = 2,    /* the weights are unusable, or not those that the file names */
    AEC_LIMIT = 3,    /* more pixels than the limit */
    AEC_MEMORY = 4,   /* an allocation failed */
    AEC_ARGUMENT = 5, /* of the caller: a region outside of the picture, impossible numbers */
    AEC_UNKNOWN_FAMILY = 6, /* the weights are of a family of networks that this libaec does not know */
} aec_status;

typedef struct aec_error {
    aec_status status;
    char message[240];
} aec_error;

typedef struct aec_info {
    uint32_t width, height; /* pixels, at least 1 */
    uint32_t channels;      /* 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA */
    uint32_t quality;       /* hundredths, 100 to 10000 */
    uint32_t tile;          /* side of the tiles in pixels, 0 if there is only one */
    uint32_t tiles;         /* how many */
    uint32_t depth;         /* bits of a sample, 8 to 16 */
    uint32_t chunks;
    uint32_t damages; /* of a salvaged file */
    uint8_t model[4]; /* id: the first bytes of the SHA-256 of the weights file */
} aec_info;

typedef struct aec_file aec_file;
typedef struct aec_model aec_model;

/* Takes a file apart and verifies every checksum. The bytes must stay where they are until aec_file_close.
 * pixel_limit: larger pictures are AEC_LIMIT; 0 stands for AEC_DEFAULT_PIXEL_LIMIT. */
AEC_API aec_status aec_file_open(const uint8_t *data, size_t size, uint64_t pixel_limit, aec_file **file, aec_error *);

/* As aec_file_open, but of a damaged file everything that is intact: damaged tiles become grey, damaged chunks are left
 * out, and aec_file_damage tells of each. AEC_FORMAT if the header or every tile is damaged. */
AEC_API aec_status aec_file_salvage(const uint8_t *data, size_t size, uint64_t pixel_limit, aec_file **file, aec_error *);

/* Declares a tile lost, as aec_file_salvage does with damaged ones: it becomes grey. */
AEC_API void aec_file_lose(aec_file *, uint32_t tile);

AEC_API const aec_info *aec_file_info(const aec_file *);
AEC_API const char *aec_file_damage(const aec_file *, uint32_t number); /* 0 if there are not so many */

/* Data of a chunk by number (0 to chunks - 1) or by type ("exif", "iccp", "xmpd"); 0 if there is none.
 * type: receives its four letters and a zero, unless 0. */
AEC_API const uint8_t *aec_file_chunk(const aec_file *, uint32_t number, char type[5], size_t *size);
AEC_API const uint8_t *aec_file_chunk_of(const aec_file *, const char *type, size_t *size);
AEC_API void aec_file_close(aec_file *);

/* Unpacks a released weights file (safetensors); tensors that only an encoder needs may be missing. The bytes are not
 * needed afterwards. id: what files call it, if the caller knows (and has verified) the SHA-256 of the released file;
 * 0: it is computed. */
AEC_API aec_status aec_model_open(const uint8_t *data, size_t size, const uint8_t id[4], aec_model **model, aec_error *);
AEC_API const uint8_t *aec_model_id(const aec_model *);
AEC_API void aec_model_close(aec_model *);

typedef struct aec_options {
    uint32_t x, y, width, height; /* only this part, in stored pixels; all zero: everything */
    uint32_t channels;            /* 0: as many as the file has; 1 or 3: without its alpha; 4: RGBA whatever it has */
    uint32_t depth;               /* 0: as many bits as the file has; 8: 8 bits whatever it has */
    uint32_t threads;             /* at most; 0 stands for 1 */
} aec_options;

/* Decodes a picture, or a part of it. options may be 0. pixels: rows, each `stride` bytes after the one before, of
 * interleaved samples: uint8_t, or uint16_t (0 to 2^depth - 1) if they have more than 8 bits. On an error their content
 * is undefined. */
AEC_API aec_status aec_decode(const aec_file *, const aec_model *, const aec_options *options, void *pixels, size_t stride,
                              aec_error *);

/* The instructions that convolutions use on this machine: "avx512", "avx2", "neon", "simd128" or "plain". */
AEC_API const char *aec_instructions(void);
AEC_API const char *aec_version(void);

#ifdef __cplusplus
}
#endif
#endif
