/* Kernels of exact layers, for kernels.inc.h. With BYTES defined, activations are bytes, and BYTES(sums, inputs, weights)
 * adds products of unsigned bytes and signed ones, four for each sum. PRODUCTS(a, b) are sums of two products of 16-bit
 * integers. */

#ifdef BYTES
typedef uint8_t element;
#else
typedef int16_t element;
#endif
typedef element evec __attribute__((vector_size(VL * sizeof(element))));
typedef double dvec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int64_t lvec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
enum { DL = VL / 2, DP = P < 4 ? P : P < 8 ? 2 : 6 };
typedef float half_vec __attribute__((vector_size(VL * 2), aligned(4), may_alias));
typedef int32_t half_ivec __attribute__((vector_size(VL * 2), aligned(4), may_alias));
typedef uint16_t half_uvec __attribute__((vector_size(VL)));
typedef element half_evec __attribute__((vector_size(DL * sizeof(element))));

/* To the nearest integer, halves to even; from 2^23 on all are. The detour by bits keeps compilers from making one
 * operation, with one rounding, of the sum and a product before it. */
INLINE vec nearest(vec x) {
    const ivec sign = (ivec)x & INT32_MIN;
    const vec size = (vec)((ivec)x & INT32_MAX), magic = splat(8388608.f);
    const vec rounded = (vec)((ivec)(size + magic - magic) | sign);
    return choose(size < magic, rounded, x);
}

INLINE dvec dsplat(double x) { return x - (dvec){0}; }
INLINE dvec dchoose(lvec mask, dvec a, dvec b) { return (dvec)(((lvec)a & mask) | ((lvec)b & ~mask)); }
INLINE dvec dwithin(dvec x, double low, double high) {
    x = dchoose(x < dsplat(low), dsplat(low), x);
    return dchoose(x > dsplat(high), dsplat(high), x);
}
INLINE dvec dnearest(dvec x) {
    const lvec sign = (lvec)x & INT64_MIN;
    const dvec size = (dvec)((lvec)x & INT64_MAX), magic = dsplat(4503599627370496.);
    const dvec rounded = (dvec)((lvec)(size + magic - magic) | sign);
    return dchoose(size < magic, rounded, x);
}

/* n elements, one instruction if they are `whole`. */
#define MOVE(to, from, n, whole, size) ((n) == (whole) ? memcpy(to, from, (whole) * (size)) : memcpy(to, from, (n) * (size)))

INLINE dvec dload(const double *in, size_t n) {
    dvec x = {0};
    MOVE(&x, in, n, DL, sizeof *in);
    return x;
}

/* a + b's pairs of 16-bit integers times c's, summed in pairs. */
INLINE ivec add_products(ivec a, ivec b, ivec c) {
#ifdef PRODUCTS
    return a + PRODUCTS(b, c);
#else
    return a + (b << 16 >> 16) * (c << 16 >> 16) + (b >> 16) * (c >> 16);
#endif
}

INLINE void put_activations(vec y, void *out, size_t n, int both_signs) { /* y: integers */
    y = smaller(larger(y, splat(both_signs ? -127 : 0)), splat(both_signs ? 127 : 255));
    if (both_signs && sizeof(element) == 1) y += (float)SIGNED_ZERO;
    const evec seen = __builtin_convertvector(__builtin_convertvector(y, ivec), evec);
    MOVE(out, &seen, n, VL, sizeof(element));
}

/* What follows the sums of a block: small code, once for all blocks. */
static __attribute__((noinline)) void narrow_end(const narrow_job *job, const ivec *done, int positions, int x, int first) {
    const narrow *layer = job->layer;
    for (int b = 0; b < NB; b++) {
        const int channel = first + b * VL, left = layer->outputs - channel;
        if (left <= 0) break;
        const size_t n = left < VL ? (size_t)left : VL;
        const ivec bias = *(const ivec *)(layer->bias + channel);
        const vec step = LOAD(layer->step + channel);
        for (int p = 0; p < positions; p++) {
            const ptrdiff_t at = (x + p) * job->out_step + channel;
            if (job->sums) {
                MOVE(job->sums + at, &done[p * NB + b], n, VL, 4);
                continue;
            }
            vec y = __builtin_convertvector(done[p * NB + b] + bias, vec) * step, add = {0};
            if (job->add) {
                MOVE(&add, job->add + at, n, VL, 4);
                y += add;
            }
            if (job->seen) {
                y = nearest(y);
                put_activations(y, (element *)job->seen + at, n, job->both_signs);
            }
            if (job->values) MOVE(job->values + at, &y, n, VL, 4);
        }
    }
}

INLINE void narrow_block(int P_, int size, const narrow_job *job, int x, const char *weights, int first) {
    ivec sum[P][NB], done[P * NB];
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < NB; b++) sum[p][b] = (ivec){0};
    for (int s = 0; s < job->count; s++) {
        const ptrdiff_t step = job->segments[s].step * size;
        const char *in = (const char *)job->segments[s].at + x * step;
        const int count = job->segments[s].count * size;
        for (int i = 0; i < count; i += 4, weights += 4 * NB * VL) {
            ivec w[NB];
#pragma GCC unroll 4
            for (int b = 0; b < NB; b++) w[b] = *(const ivec *)(weights + 4 * b * VL);
#pragma GCC unroll 16
            for (int p = 0; p < P_; p++) {
                int32_t quad;
                memcpy(&quad, in + p * step + i, 4);
                ivec a = quad - (ivec){0};
#pragma GCC unroll 4
                for (int b = 0; b < NB; b++)
#ifdef BYTES
                    if (size == 1) sum[p][b] = BYTES(sum[p][b], a, w[b]);
                    else
#endif
                        sum[p][b] = add_products(sum[p][b], a, w[b]);
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < NB; b++) done[p * NB + b] = sum[p][b];
    narrow_end(job, done, P_, x, first);
}

INLINE void narrow_rows_of(int size, const narrow_job *job) {
    const narrow *layer = job->layer;
    for (int first = 0; first < layer->padded; first += NB * VL) {
        const char *weights = layer->weights + (size_t)first * layer->quads * 4;
        int x = 0;
        if (job->width >= P)
            while (x < job->width) {
                if (x > job->width - P) x = job->width - P; /* some are computed twice, to the same */
                narrow_block(P, size, job, x, weights, first);
                x += P;
            }
        for (; x < job->width; x++) narrow_block(1, size, job, x, weights, first);
    }
}

static void narrow_row(const narrow_job *job) {
#ifdef BYTES
    if (job->layer->size == 1) {
        narrow_rows_of(1, job);
        return;
    }
#endif
    narrow_rows_of(2, job);
}

static __attribute__((noinline)) void wide_end(const wide_job *job, const dvec *done, int positions, int x, int first) {
    const wide *layer = job->layer;
    for (int b = 0; b < 2 * NB; b++) {
        const int channel = first + b * DL, left = layer->outputs - channel;
        if (left <= 0) break;
        const size_t n = left < DL ? (size_t)left : DL;
        const dvec bias = *(const dvec *)(layer->bias + channel), factor = *(const dvec *)(layer->factor + channel);
        for (int p = 0; p < positions; p++) {
            dvec y = dnearest((done[p * 2 * NB + b] + bias) * factor);
            MOVE(job->out + (x + p) * job->out_step + channel, &y, n, DL, sizeof(double));
        }
    }
}

INLINE void wide_block(int P_, const wide_job *job, int x, const double *weights, int first) {
    dvec sum[DP][2 * NB], done[DP * 2 * NB];
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < 2 * NB; b++) sum[p][b] = (dvec){0};
    const wide *layer = job->layer;
    const double *in = job->in + x * job->in_step;
    for (int i = 0; i < layer->inputs; i++, weights += NB * VL)
#pragma GCC unroll 16
        for (int p = 0; p < P_; p++) {
            dvec a = dsplat(in[p * job->in_step + i]);
#pragma GCC unroll 4
            for (int b = 0; b < 2 * NB; b++) sum[p][b] = sum[p][b] + a * *(const dvec *)(weights + b * DL);
        }
#pragma GCC unroll 16
    for (int p = 0; p < P_; p++)
#pragma GCC unroll 4
        for (int b = 0; b < 2 * NB; b++) done[p * 2 * NB + b] = sum[p][b];
    wide_end(job, done, P_, x, first);
}

static void wide_row(const wide_job *job) {
    const wide *layer = job->layer;
    for (int first = 0; first < layer->padded; first += NB * VL) {
        const double *weights = layer->weights + (size_t)first * layer->inputs;
        int x = 0;
        for (; x + DP <= job->width; x += DP) wide_block(DP, job, x, weights, first);
        for (; x < job->width; x++) wide_block(1, job, x, weights, first);
    }
}

/* For all elements, vector by vector; `n` are fewer in the last. */
#define FOR_PIECES(whole) for (size_t i = 0, n; i < count && (n = count - i < whole ? count - i : whole); i += whole)

static void to_activations(const float *in, void *out, size_t count) {
    FOR_PIECES(VL) {
        vec x = {0};
        MOVE(&x, in + i, n, VL, sizeof *in);
        put_activations(x, (element *)out + i, n, 1);
    }
}

static void change(const double *in, const float *sums, double factor, double *out, size_t count) {
    FOR_PIECES(DL) {
        half_vec sum = {0};
        MOVE(&sum, sums + i, n, DL, sizeof *sums);
        dvec x = dload(in + i, n) + dnearest(__builtin_convertvector(sum, dvec) * factor);
        MOVE(out + i, &x, n, DL, sizeof *out);
    }
}

INLINE void put_shorts(dvec x, void *out, size_t n) {
    half_uvec y = __builtin_convertvector(__builtin_convertvector(x, half_ivec), half_uvec);
    MOVE(out, &y, n, DL, sizeof(uint16_t));
}

static void to_steps(const double *in, double factor, double step, int16_t *out, size_t count) {
    FOR_PIECES(DL) put_shorts(dwithin(dnearest(dload(in + i, n) * factor / step), -32768, 32767), out + i, n);
}

static void levels(const double *in, const double scale[3], double white, uint16_t *out, size_t count) {
    FOR_PIECES(DL) put_shorts(dwithin(dnearest((dload(in + i, n) + scale[0]) * scale[1] / scale[2]), 0, white), out + i, n);
}

static void rectify(const int32_t *sums, const double *bias, const double *factor, const double *offset, void *out, int width,
                    int channels) {
    const size_t count = (size_t)channels;
    element *to = out;
    for (int x = 0; x < width; x++, sums += channels, to += channels)
        FOR_PIECES(DL) {
            half_ivec sum = {0};
            MOVE(&sum, sums + i, n, DL, sizeof *sums);
            dvec y = dnearest((__builtin_convertvector(sum, dvec) + dload(bias + i, n)) * dload(factor + i, n));
            y = dwithin(dnearest((y + dload(offset + i, n)) / 16), 0, 255);
            half_evec z = __builtin_convertvector(__builtin_convertvector(y, half_ivec), half_evec);
            MOVE(to + i, &z, n, DL, sizeof *to);
        }
}
