#include "arena.h"

#include <stdlib.h>
#include <string.h>

void *aec__arena_alloc(arena *a, size_t n, size_t m, size_t element) {
    if (a->count == a->room) {
        size_t room = a->room ? 2 * a->room : 64;
        void **grown = realloc(a->blocks, room * sizeof *grown);
        if (!grown) return NULL;
        a->blocks = grown, a->room = room;
    }
    void *block = aec__alloc(n, m, element);
    if (block) a->blocks[a->count++] = block;
    return block;
}

void aec__arena_free(arena *a) {
    for (size_t i = 0; i < a->count; i++) free(a->blocks[i]);
    free(a->blocks);
    memset(a, 0, sizeof *a);
}
