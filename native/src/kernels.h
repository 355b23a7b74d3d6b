/* Where the time goes: convolutions of a row with what follows them, and elementary functions. The same source is compiled
 * for several sets of instructions; which one runs is decided when a model is opened. */
#ifndef AEC_KERNELS_H
#define AEC_KERNELS_H

/* Whether the compiler knows the instructions. */
#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define AEC_AVXVNNI 1
#endif

#include <stddef.h>
#include <stdint.h>

/* A 3x3 convolution is done in quads if its channels are a multiple of this, of which all blocks are parts: it is not for a
 * machine to choose, since results differ in their last bits. */
enum { QUAD_CHANNELS = 32 };

typedef enum activation { NONE, RELU, GELU, INTEGER } activation;

/* A layer's weights in the order in which the kernel reads them: groups of `block` outputs, each as [input][block]. Inputs
 * are those of all segments, one after the other. Outputs are padded with zeros to whole groups. */
typedef struct packed {
    int inputs, outputs, padded;
    float *weights, *bias;
    float *scale; /* of INTEGER: 2^-shift for each output; otherwise 0 */
    float top;    /* of INTEGER */
} packed;

/* Neighbouring inputs of an output: `count` floats from `at` on for the first output of a row, and `step` floats further
 * on for each next one. A 3x3 convolution has three: in each row, three pixels side by side. */
typedef struct segment {
    const float *at;
    ptrdiff_t step;
    int count;
} segment;

/* activation(inputs * weights + bias + add), for `width` outputs. */
typedef struct row_job {
    const packed *layer;
    segment segments[4];
    int count; /* of segments */
    int width;
    activation act;
    const float *add; /* or 0 */
    ptrdiff_t add_step;
    float *out;
    ptrdiff_t out_step;
    int room; /* floats that may be read of add and written of out for an output; 0: the layer's outputs */
} row_job;

/* Four rows of a 3x3 convolution at once, by Winograd's algorithm F(4x4, 3x3): of 4x4 outputs, 36 products instead of 144
 * (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016). In float32 its errors are about 1e-6 of
 * the largest activation, far below a level of a pixel. Weights are `aec__transform_weights` of the layer's, in the order
 * [36][group][input][block]. */
typedef struct quad_job {
    const packed *layer;
    const float *in[6]; /* rows, from the pixel before the first output on; up to 4 pixels after the last are read */
    ptrdiff_t in_step;
    int width;
    int skip; /* the first outputs, fewer than 4, that are not written */
    activation act;
    const float *add[4]; /* or 0 */
    ptrdiff_t add_step;
    float *out[4]; /* 0: not wanted */
    ptrdiff_t out_step;
    float *scratch; /* 36 * tiles * (inputs of a pixel + outputs) floats */
} quad_job;

/* A layer of 8-bit weights on 8-bit activations, whose sums are below 2^24: float32 holds them exactly. Its inputs are
 * bytes where the machine has instructions for them, and otherwise have 16 bits. As bytes, activations of both signs are
 * kept with SIGNED_ZERO added, which the bias takes away again. Weights are as long as inputs and in the order
 * [group][4 bytes of inputs][block][4 bytes]; inputs of each segment are filled up with zeros to 4 bytes. */
typedef struct narrow {
    int quads, outputs, padded; /* quads: 4 bytes of inputs */
    int size; /* bytes of an input: `activation` of the kernels, or 2 */
    char *weights;
    int32_t *bias; /* in units of the sums */
    float *step;   /* of the result, powers of two */
} narrow;

enum { SIGNED_ZERO = 128 };

typedef struct narrow_segment {
    const void *at; /* up to 3 bytes after the last input are read */
    ptrdiff_t step; /* inputs */
    int count;
} narrow_segment;

/* y = (inputs * weights + bias) * step, exactly, + add, for `width` outputs. Into whichever of these is not 0: `sums`
 * (inputs * weights as they are, which may have 31 bits; then nothing else is made); `values`; and `seen`, activations of
 * both signs or of one, for which y, also in `values`, is rounded to the nearest, halves to even. */
typedef struct narrow_job {
    const narrow *layer;
    narrow_segment segments[3];
    int count;
    int width;
    int32_t *sums;
    const float *add;
    float *values;
    void *seen;
    int both_signs;
    ptrdiff_t out_step; /* elements, of all four */
} narrow_job;

/* A layer of 16-bit weights on integers below 2^26, whose sums are below 2^53: doubles hold them exactly. Weights in the
 * order [group][input][block]. */
typedef struct wide {
    int inputs, outputs, padded;
    double *weights, *bias, *factor;
} wide;

/* (inputs * weights + bias) * factor, to the nearest integer, halves to even. */
typedef struct wide_job {
    const wide *layer;
    const double *in;
    ptrdiff_t in_step;
    int width;
    double *out;
    ptrdiff_t out_step;
} wide_job;

void aec__transform_weights(const float weights[9], float transformed[36]);

typedef struct kernels {
    const char *name;
    int block;  /* outputs of a group */
    int tiles;  /* of 4x4 pixels that `quad` works on at once */
    int activation; /* bytes of what narrow layers see: 1 or 2 */
    void (*row)(const row_job *);
    void (*quad)(const quad_job *);
    void (*narrow)(const narrow_job *);
    void (*wide)(const wide_job *);
    /* Integers of both signs as activations, for `count` elements. */
    void (*to_activations)(const float *in, void *out, size_t count);
    /* out = in + sums * factor, the product rounded to the nearest, for `count` elements */
    void (*change)(const double *in, const float *sums, double factor, double *out, size_t count);
    /* in * factor / step, to the nearest, within 16 bits, for `count` elements */
    void (*to_steps)(const double *in, double factor, double step, int16_t *out, size_t count);
    /* ((sums + bias) * factor + offset) / 16, rounded to the nearest after both products, as activations of one sign, for
     * `width` outputs of `channels` elements */
    void (*rectify)(const int32_t *sums, const double *bias, const double *factor, const double *offset, void *out, int width,
                    int channels);
    /* (in + scale[0]) * scale[1] / scale[2], to the nearest, within 0..white, for `count` elements */
    void (*levels)(const double *in, const double scale[3], double white, uint16_t *out, size_t count);
    void (*asinh)(const float *in, float *out, size_t count);
    /* out = symbols + scales[indices mod 64] * means, for `count` elements */
    void (*dequantise)(const int32_t *symbols, const uint8_t *indices, const float *scales, const float *means, float *out,
                       size_t count);
    /* out += a[0] * w[0] + .. + a[3] * w[3], for `count` elements */
    void (*add_neighbours)(const float *const a[4], const float *const w[4], float *out, size_t count);
    /* (x + 0.5) * white, to the nearest, within 0..white */
    void (*to_levels)(const float *in, uint16_t *out, float white, size_t count);
} kernels;

const kernels *aec__kernels(void); /* the best for this machine */

extern const kernels aec__kernels_plain;
#if defined(__x86_64__)
extern const kernels aec__kernels_avx2, aec__kernels_avx512, aec__kernels_avx512vnni;
#if AEC_AVXVNNI
extern const kernels aec__kernels_avxvnni;
#endif
#endif

#endif
