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

const char *aec_version(void) { return AEC_VERSION; }
