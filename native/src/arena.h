/* Blocks of memory that are freed together. */
#ifndef AEC_ARENA_H
#define AEC_ARENA_H

#include "common.h"

typedef struct arena {
    void **blocks;
    size_t count, room;
} arena;

void *aec__arena_alloc(arena *, size_t a, size_t b, size_t element); /* as aec__alloc */
void aec__arena_free(arena *);

#endif
