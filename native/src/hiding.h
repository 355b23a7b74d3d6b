/* Signs that follow from parities: docs/format, section 3, "Hidden signs". */
#ifndef AEC_HIDING_H
#define AEC_HIDING_H

#include "common.h"

typedef struct sign_groups {
    const uint32_t *places; /* (rows, groups), the first row of which are the carriers */
    size_t groups, rows;
} sign_groups;

/* Finds the groups of both passes. indices: (h, w, channels), 0..63, of which those of carriers are raised by 64.
 * places: room for h * w * channels, where the groups' places go. */
void aec__find_groups(uint8_t *indices, int h, int w, int channels, uint32_t *places, sign_groups groups[2]);

/* Gives carriers their signs. parities: room for 5 * groups. */
void aec__restore_signs(const sign_groups *, int32_t *symbols, uint8_t *parities);

#endif
