/* The kernels, for vectors of VL floats; blocks of P outputs of a row times NB vectors of channels stay in registers.
 * To be included with VL, P, NB, KERNELS (the table's name) and INSTRUCTIONS (what people call them) defined.
 * Vectors are the compiler's own (GCC, clang), so nothing here knows any instruction by name. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
#define LOAD(p) (*(const vec *)(p))
#define STORE(p, x) (*(vec *)(p) = (x))

INLINE vec splat(float x) { return x - (vec){0}; }
INLINE vec choose(ivec mask, vec a, vec b) { return (vec)(((ivec)a & mask) | ((ivec)b & ~mask)); }
INLINE vec smaller(vec a, vec b) { return choose(a < b, a, b); }
INLINE vec larger(vec a, vec b) { return choose(a > b, a, b); }
INLINE vec down(vec x) { /* floor, of numbers far below 2^31 */
    vec cut = __builtin_convertvector(__builtin_convertvector(x, ivec), vec);
    return cut + __builtin_convertvector((ivec)(cut > x), vec);
}

INLINE vec gelu(vec x) { /* x / 2 (1 + erf(x / sqrt 2)); erf as a quotient of polynomials, to 2 ulp, as Eigen has it */
    vec t = smaller(larger(x * 0.70710678f, splat(-4)), splat(4)), s = t * t;
    vec p = splat(-2.72614225801306e-10f);
    p = p * s + 2.77068142495902e-08f;
    p = p * s + -2.10102402082508e-06f;
    p = p * s + -5.69250639462346e-05f;
    p = p * s + -7.34990630326855e-04f;
    p = p * s + -2.95459980854025e-03f;
    p = p * s + -1.60960333262415e-02f;
    vec q = splat(-1.45660718464996e-05f);
    q = q * s + -2.13374055278905e-04f;
    q = q * s + -1.68282697438203e-03f;
    q = q * s + -7.37332916720468e-03f;
    q = q * s + -1.42647390514189e-02f;
    return 0.5f * x * (1.f + t * p / q);
}

INLINE vec logarithm(vec x) { /* of normal numbers of at least 1; to 1e-7 (Cephes) */
    ivec bits = (ivec)x;
    vec e = __builtin_convertvector((bits >> 23) - 126, vec);
    vec m = (vec)((bits & 0x007fffff) | 0x3f000000); /* 0.5..1 */
    ivec low = m < 0.70710678f;
    e += __builtin_convertvector(low, vec);
    m = m + choose(low, m, splat(0)) - 1.f;
    vec z = m * m, y = splat(7.0376836292e-2f);
    y = y * m + -1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m + -1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m + -1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m + -2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z + e * -2.12194440e-4f - 0.5f * z;
    return m + y + e * 0.693359375f;
}

/* One block: P_ outputs (or 1) times NB_ vectors of channels, of which `valid` channels are wanted. */
INLINE void block(int P_, int NB_, const row_job *job, int x, const float *weights, int first, int valid) {
    vec sum[P][NB], done[P * NB];
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < NB_; b++) sum[p][b] = (vec){0};
    for (int s = 0; s < job->count; s++) {
        const ptrdiff_t step = job->segments[s].step;
        const float *in = job->segments[s].at + x * step;
        const int count = job->segments[s].count;
        for (int i = 0; i < count; i++, weights += NB * VL) {
            vec w[NB];
#pragma GCC unroll 4
            for (int b = 0; b < NB_; b++) w[b] = LOAD(weights + b * VL);
#pragma GCC unroll 16
            for (int p = 0; p < P_; p++) {
                vec a = splat(in[p * step + i]);
#pragma GCC unroll 4
                for (int b = 0; b < NB_; b++) sum[p][b] = sum[p][b] + a * w[b];
            }
        }
    }
    /* Sums stay in registers because only this copy of them is ever indexed; what follows is small code, not unrolled. */
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < NB_; b++) done[p * NB_ + b] = sum[p][b];
    const packed *layer = job->layer;
    for (int b = 0; b < NB_; b++) {
        const int left = valid - b * VL, whole = left >= VL;
        if (left <= 0) break;
        const vec bias = LOAD(layer->bias + first + b * VL);
        for (int p = 0; p < P_; p++) {
            vec y = done[p * NB_ + b] + bias;
            float *out = job->out + (x + p) * job->out_step + first + b * VL;
            if (job->add) {
                const float *add = job->add + (x + p) * job->add_step + first + b * VL;
                vec part = {0};
                if (whole) part = LOAD(add);
                else memcpy(&part, add, (size_t)left * 4);
                y += part;
            }
            if (job->act == RELU) y = larger(y, splat(0));
            else if (job->act == GELU) y = gelu(y);
            else if (job->act == INTEGER)
                y = smaller(larger(down(y * LOAD(layer->scale + first + b * VL)), splat(0)), splat(layer->top));
            if (whole) STORE(out, y);
            else memcpy(out, &y, (size_t)left * 4);
        }
    }
}

static void row(const row_job *job) {
    const packed *layer = job->layer;
    for (int first = 0; first < layer->padded; first += NB * VL) {
        const float *weights = layer->weights + (size_t)first * layer->inputs;
        int room = (job->room ? job->room : layer->outputs) - first, valid = room < NB * VL ? room : NB * VL;
        if (valid <= 0) break;
        int x = 0;
        if (job->width >= P)
            while (x < job->width) {
                if (x > job->width - P) x = job->width - P; /* some are computed twice, to the same */
                if (NB > 1 && valid <= VL) block(P, 1, job, x, weights, first, valid);
                else block(P, NB, job, x, weights, first, valid);
                x += P;
            }
        for (; x < job->width; x++) block(1, NB, job, x, weights, first, valid);
    }
}

#include "kernels_exact.inc.h"

INLINE vec asinh_of(vec x) {
    vec a = choose(x < 0, -x, x), square = a * a + 1.f, root;
    for (int k = 0; k < VL; k++) root[k] = sqrtf(square[k]);
    vec y = logarithm(a + root);
    return choose(x < 0, -y, y);
}

/* ---- Winograd's algorithm ---- */

/* The transform of 6 inputs, `step` vectors apart. */
INLINE void transform_in(const vec *in, int step, vec out[6]) {
    vec a = in[0], b = in[step], c = in[2 * step], d = in[3 * step], e = in[4 * step], f = in[5 * step];
    vec even = e - 4.f * c, odd = d - 4.f * b, half = e - c, rest = 2.f * (d - b);
    out[0] = 4.f * a - 5.f * c + e;
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = half + rest;
    out[4] = half - rest;
    out[5] = 4.f * b - 5.f * d + f;
}

/* The transform of 6 sums to 4 outputs. */
INLINE void transform_out(const vec m[6], vec out[4]) {
    vec even = m[1] + m[2], odd = m[1] - m[2], even2 = m[3] + m[4], odd2 = m[3] - m[4];
    out[0] = m[0] + even + even2;
    out[1] = odd + 2.f * odd2;
    out[2] = even + 4.f * even2;
    out[3] = odd + 8.f * odd2 + m[5];
}

/* sums (P_, outputs) = values (P_, inputs) * weights, for one of the 36 and one group of outputs. */
INLINE void product(int P_, const float *values, int inputs, const float *weights, float *sums, int outputs) {
    vec sum[P][NB];
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < NB; b++) sum[p][b] = (vec){0};
    for (int i = 0; i < inputs; i++, weights += NB * VL) {
        vec w[NB];
#pragma GCC unroll 4
        for (int b = 0; b < NB; b++) w[b] = LOAD(weights + b * VL);
#pragma GCC unroll 16
        for (int p = 0; p < P_; p++) {
            vec a = splat(values[p * inputs + i]);
#pragma GCC unroll 4
            for (int b = 0; b < NB; b++) sum[p][b] = sum[p][b] + a * w[b];
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < NB; b++) STORE(sums + p * outputs + b * VL, sum[p][b]);
}

static void quad(const quad_job *job) {
    const packed *layer = job->layer;
    const int inputs = layer->inputs / 36, outputs = layer->outputs;
    float *values = job->scratch, *sums = values + (size_t)36 * P * inputs;
    for (int x = 0; x < job->width; x += 4 * P) {
        int left = (job->width - x + 3) / 4, tiles = left < P ? left : P;
        for (int c = 0; c < inputs; c += VL) {
            vec columns[6][4 * P + 2], t[6];
            for (int j = 0; j < 4 * tiles + 2; j++) {
                vec own[6];
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) own[i] = LOAD(job->in[i] + (x + j) * job->in_step + c);
                transform_in(own, 1, t);
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) columns[i][j] = t[i];
            }
            for (int i = 0; i < 6; i++)
                for (int k = 0; k < tiles; k++) {
                    transform_in(&columns[i][4 * k], 1, t);
#pragma GCC unroll 6
                    for (int j = 0; j < 6; j++) STORE(values + ((size_t)(6 * i + j) * P + k) * inputs + c, t[j]);
                }
        }
        for (int k = 0; k < 36; k++)
            for (int first = 0; first < outputs; first += NB * VL) {
                const float *weights = layer->weights + ((size_t)k * outputs + first) * inputs;
                const float *in = values + (size_t)k * P * inputs;
                float *out = sums + (size_t)k * P * outputs + first;
                if (tiles > P / 2) product(P, in, inputs, weights, out, outputs);
                else product(P / 2, in, inputs, weights, out, outputs);
            }
        for (int k = 0; k < tiles; k++)
            for (int c = 0; c < outputs; c += VL) {
                vec rows[4][6], t[6], bias = LOAD(layer->bias + c);
                for (int j = 0; j < 6; j++) {
#pragma GCC unroll 6
                    for (int i = 0; i < 6; i++) t[i] = LOAD(sums + ((size_t)(6 * i + j) * P + k) * outputs + c);
                    vec out[4];
                    transform_out(t, out);
#pragma GCC unroll 4
                    for (int i = 0; i < 4; i++) rows[i][j] = out[i];
                }
                int columns = job->width - x - 4 * k < 4 ? job->width - x - 4 * k : 4;
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) {
                    vec out[4];
                    if (!job->out[i]) continue;
                    transform_out(rows[i], out);
                    for (int j = x + k ? 0 : job->skip; j < columns; j++) {
                        vec y = out[j] + bias;
                        if (job->add[i]) y += LOAD(job->add[i] + (x + 4 * k + j) * job->add_step + c);
                        if (job->act == RELU) y = larger(y, splat(0));
                        else if (job->act == GELU) y = gelu(y);
                        STORE(job->out[i] + (x + 4 * k + j) * job->out_step + c, y);
                    }
                }
            }
    }
}

static void asinh_(const float *in, float *out, size_t count) {
    size_t i = 0;
    for (; i + VL <= count; i += VL) STORE(out + i, asinh_of(LOAD(in + i)));
    if (i == count) return;
    vec x = {0};
    memcpy(&x, in + i, (count - i) * 4);
    x = asinh_of(x);
    memcpy(out + i, &x, (count - i) * 4);
}

static void dequantise(const int32_t *symbols, const uint8_t *indices, const float *scales, const float *means, float *out,
                       size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = (float)symbols[i] + scales[indices[i] & 63] * means[i];
}

static void add_neighbours(const float *const a[4], const float *const w[4], float *out, size_t count) {
    const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3], *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    for (size_t i = 0; i < count; i++) out[i] += a0[i] * w0[i] + a1[i] * w1[i] + a2[i] * w2[i] + a3[i] * w3[i];
}

static void to_levels(const float *in, uint16_t *out, float white, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float x = (in[i] + 0.5f) * white;
        x = x > 0 ? x : 0; /* not a number becomes 0 */
        x = (x < white ? x : white) + 8388608.f; /* 2^23: what is added is rounded to the nearest, halves to even */
        int32_t bits;
        memcpy(&bits, &x, 4);
        out[i] = (uint16_t)bits;
    }
}

const kernels KERNELS = {INSTRUCTIONS, NB * VL, P, sizeof(element), row, quad, narrow_row, wide_row, to_activations, change,
                         to_steps, rectify, levels, asinh_, dequantise, add_neighbours, to_levels};
