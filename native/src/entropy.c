#include "entropy.h"

#include <stdlib.h>
#include <string.h>

#define TOTAL (1u << 24)
#define LOOKUP 4096 /* quantiles are looked up by their upper 12 bits */
#define ESCAPE_TOP 32767

aec_status aec__tables_open(const weights *w, tables *t, aec_error *error) {
    static const uint64_t one_each[1] = {AEC_TABLES};
    tensor reaches, frequencies;
    memset(t, 0, sizeof *t);
    aec_status status = aec__tensor(w, "tables.reach", INT32, 1, one_each, &reaches, error);
    if (!status) status = aec__tensor(w, "tables.frequencies", INT32, 0, NULL, &frequencies, error);
    if (status) return status;

    size_t coded = 0, sum = 0, entries = 0;
    for (int i = 0; i < AEC_TABLES; i++) {
        int32_t reach = aec__integer(&reaches, i);
        if (reach < 0 || reach > ESCAPE_TOP) return aec__fail(error, AEC_MODEL, "weights: frequency table %d has an impossible reach", i);
        if (!reach) continue;
        coded++;
        sum += 2 * (size_t)reach + 2;
        entries += 2 * (size_t)reach + 3 + (size_t)reach + 3;
    }
    if (sum != frequencies.count) return aec__fail(error, AEC_MODEL, "weights: sizes of the frequency tables do not agree");
    t->starts = aec__alloc(entries, 1, sizeof *t->starts);
    t->first = aec__alloc(2 * coded, LOOKUP + 1, sizeof *t->first);
    if (!t->starts || !t->first) {
        aec__tables_close(t);
        return aec__fail(error, AEC_MEMORY, "no memory for frequency tables");
    }
    uint32_t *starts = t->starts;
    uint16_t *first = t->first;
    size_t at = 0;
    for (int i = 0; i < AEC_TABLES; i++) {
        int reach = aec__integer(&reaches, i);
        if (!reach) continue;
        for (int folded = 0; folded < 2; folded++) {
            int count = folded ? reach + 2 : 2 * reach + 2;
            uint64_t total = 0;
            for (int k = 0; k < count; k++) {
                size_t place = at + k + (folded ? reach : 0);
                int64_t frequency = aec__integer(&frequencies, place);
                bool both_signs = folded && k > 0 && k <= reach;
                if (both_signs) {
                    int32_t other = aec__integer(&frequencies, at + reach - k);
                    frequency = frequency < 1 || other < 1 ? 0 : frequency + other;
                }
                total += frequency < 1 ? 2 * (uint64_t)TOTAL : (uint64_t)frequency;
                starts[k + 1] = total > TOTAL ? TOTAL : (uint32_t)total;
            }
            if (total != TOTAL) {
                aec__tables_close(t);
                return aec__fail(error, AEC_MODEL, "weights: frequency table %d does not sum to 2^24 or holds a zero", i);
            }
            for (int k = 0, entry = 0; k <= LOOKUP; k++) {
                while (entry + 1 < count && starts[entry + 1] <= (uint32_t)k * (TOTAL / LOOKUP)) entry++;
                first[k] = (uint16_t)entry;
            }
            t->all[i + AEC_TABLES * folded] = (table){starts, first, reach, folded ? 0 : -reach};
            starts += count + 1;
            first += LOOKUP + 1;
        }
        at += 2 * (size_t)reach + 2;
    }
    return AEC_OK;
}

void aec__tables_close(tables *t) {
    free(t->starts);
    free(t->first);
    memset(t, 0, sizeof *t);
}

static inline void refill(ans *a) {
    if (a->state >> 32 || !a->words) return;
    size_t at = 4 * --a->words;
    uint32_t word = 0;
    if (at + 4 <= a->size) word = aec__u32(a->data + at);
    else
        for (size_t k = 0; at + k < a->size; k++) word |= (uint32_t)a->data[at + k] << 8 * k;
    a->state = a->state << 32 | word;
}

bool aec__ans_start(ans *a, const uint8_t *data, size_t size) {
    *a = (ans){0, data, size, (size + 3) / 4};
    size_t words = a->words;
    refill(a);
    bool valid = !words || a->state;
    refill(a);
    return valid;
}

static inline int symbol(ans *a, const table *t) {
    uint32_t quantile = (uint32_t)a->state & (TOTAL - 1);
    const uint32_t *starts = t->starts;
    uint32_t low = t->first[quantile >> 12], high = t->first[(quantile >> 12) + 1];
    while (high - low > 8) { /* a few steps; in tables of a usual size there are none */
        uint32_t middle = (low + high) / 2;
        if (starts[middle] <= quantile) low = middle;
        else high = middle;
    }
    while (starts[low + 1] <= quantile) low++;
    a->state = (a->state >> 24) * (starts[low + 1] - starts[low]) + quantile - starts[low];
    refill(a);
    return (int)low;
}

void aec__take(ans *a, const tables *t, const uint8_t *indices, size_t positions, size_t channels, uint32_t *places,
               int32_t *out) {
    size_t ends[2 * AEC_TABLES] = {0}, total = 0, escapes = 0;
    enum { LINES = 64 };
    for (size_t i = 0; i < positions * channels; i++) ends[indices[i]]++;
    for (int i = 0; i < 2 * AEC_TABLES; i++) {
        size_t own = t->all[i].starts ? ends[i] : 0;
        ends[i] = total; /* for now the beginning */
        total += own;
    }
    for (size_t channel = 0; channel < channels; channel += LINES) { /* some channels at once: they share cache lines */
        size_t several = channels - channel < LINES ? channels - channel : LINES;
        for (size_t k = channel; k < channel + several; k++)
            for (size_t p = 0; p < positions; p++) {
                uint8_t index = indices[p * channels + k];
                if (t->all[index].starts) places[ends[index]++] = (uint32_t)(p * channels + k);
            }
    }
    memset(out, 0, positions * channels * sizeof *out);
    size_t at = 0;
    for (int i = 0; i < 2 * AEC_TABLES; i++) {
        const table *own = &t->all[i];
        if (!own->starts) continue;
        int escape = own->reach + 1;
        for (; at < ends[i]; at++) {
            int value = symbol(a, own) + own->lowest;
            out[places[at]] = value;
            if (value == escape) places[escapes++] = places[at]; /* never ahead of what is read */
        }
    }
    for (size_t i = 0; i < escapes; i++) {
        uint32_t quantile = (uint32_t)a->state & (TOTAL - 1), entry = quantile >> 8;
        a->state = (a->state >> 24) * 256 + (quantile & 255);
        refill(a);
        out[places[i]] = (int32_t)entry - ESCAPE_TOP;
    }
}
