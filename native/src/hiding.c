#include "hiding.h"

#include <string.h>

enum { QUIET = 4, ACTIVITY_TOP = 26, ACTIVITY_OF_SIGN = 78, CHAIN = 32, INDICES = 64 };
static const uint8_t CLASSES[4] = {9, 11, 13, 15};

void aec__find_groups(uint8_t *indices, int h, int w, int channels, uint32_t *places, sign_groups groups[2]) {
    size_t count[2][INDICES] = {{0}};
    int half = channels / 2;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const uint8_t *own = indices + ((size_t)y * w + x) * channels;
            int odd = (y + x) & 1; /* the first half of the channels is of pass `odd`, the second of the other */
            for (int k = 0; k < half; k++) count[odd][own[k]]++;
            for (int k = half; k < channels; k++) count[!odd][own[k]]++;
        }
    size_t at[2][INDICES], start = 0;
    for (int pass = 0; pass < 2; pass++) {
        size_t activity = 0, elements = 0, number;
        groups[pass].places = places + start;
        for (int i = INDICES - 1; i > QUIET; i--) {
            at[pass][i] = start;
            start += count[pass][i];
            elements += count[pass][i];
            activity += count[pass][i] * (size_t)aec__min(i - QUIET, ACTIVITY_TOP);
        }
        number = activity / ACTIVITY_OF_SIGN;
        if (number) number -= number % (number < CHAIN ? number : CHAIN);
        groups[pass].groups = number;
        groups[pass].rows = number ? elements / number : 0;
    }
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            size_t first = ((size_t)y * w + x) * channels;
            int odd = (y + x) & 1;
            for (int k = 0; k < channels; k++) {
                uint8_t index = indices[first + k];
                if (index > QUIET) places[at[k < half ? odd : !odd][index]++] = (uint32_t)(first + k);
            }
        }
    for (int pass = 0; pass < 2; pass++)
        for (size_t g = 0; g < groups[pass].groups; g++) indices[groups[pass].places[g]] += INDICES;
}

void aec__restore_signs(const sign_groups *own, int32_t *symbols, uint8_t *parities) {
    size_t groups = own->groups;
    if (!groups) return;
    size_t chains = groups / (groups < CHAIN ? groups : CHAIN);
    uint8_t *negative = parities + 4 * groups;
    memset(parities, 0, 5 * groups);
    for (size_t r = 0; r < own->rows; r++) {
        uint8_t *parity = parities + r % 4 * groups;
        const uint32_t *places = own->places + r * groups;
        for (size_t g = 0; g < groups; g++) parity[g] ^= symbols[places[g]] & 1;
    }
    for (size_t j = 0; j < 4; j++)
        for (int k = 0; k < 4; k++)
            if (CLASSES[k] >> j & 1)
                for (size_t g = j * chains; g < groups; g++) negative[g] ^= parities[k * groups + g - j * chains];
    for (size_t g = 0; g < groups; g++)
        if (negative[g]) symbols[own->places[g]] = -symbols[own->places[g]];
}
