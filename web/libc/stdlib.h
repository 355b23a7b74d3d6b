#ifndef AEC_LIBC_STDLIB_H
#define AEC_LIBC_STDLIB_H

#include <stddef.h>

void *malloc(size_t);
void *calloc(size_t, size_t);
void *realloc(void *, size_t);
void free(void *);
void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
#define abs __builtin_abs
#define labs __builtin_labs
#define llabs __builtin_llabs
void *bsearch(const void *, const void *, size_t, size_t, int (*)(const void *, const void *));

#endif
