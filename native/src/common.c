#include "common.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

aec_status aec__fail(aec_error *error, aec_status status, const char *format, ...) {
    if (error) {
        error->status = status;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

void *aec__alloc(size_t a, size_t b, size_t element) {
    if (b && a > SIZE_MAX / 2 / b) return NULL;
    size_t count = a * b;
    if (count > SIZE_MAX / 2 / element) return NULL;
    return calloc(count ? count : 1, element);
}

float aec__exp(float x) {
    if (!(x > -87)) return 0;
    if (x > 88) x = 88;
    /* e^x = 2^n e^r, r within +-0.35, of which the series is summed up to r^13: less than 1e-16 is left out. */
    const double ln2 = 0.69314718055994530942;
    int n = (int)(x / ln2 + (x < 0 ? -0.5 : 0.5));
    double r = x - n * ln2, sum = 1;
    for (int k = 13; k; k--) sum = 1 + sum * r / k;
    const double two = n < 0 ? 0.5 : 2;
    for (int k = n < 0 ? -n : n; k; k--) sum *= two;
    return (float)sum;
}

const char *aec_version(void) { return AEC_VERSION; }
