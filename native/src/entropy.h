/* Entropy decoding: docs/format, section 3. */
#ifndef AEC_ENTROPY_H
#define AEC_ENTROPY_H

#include "weights.h"

#define AEC_TABLES 64 /* and as many again for magnitudes */

typedef struct table {
    uint32_t *starts; /* entries + 1, from 0 to 2^24; 0 if nothing is coded with it */
    uint16_t *first;  /* 4097: the entry in which the quantiles from k * 2^12 on begin */
    int reach;
    int lowest; /* the symbol of entry 0 */
} table;

typedef struct tables {
    table all[2 * AEC_TABLES];
    uint32_t *starts;
    uint16_t *first;
} tables;

aec_status aec__tables_open(const weights *, tables *, aec_error *);
void aec__tables_close(tables *);

typedef struct ans {
    uint64_t state;
    const uint8_t *data;
    size_t size, words; /* words that remain */
} ans;

/* false if the last word is 0, which no encoder writes. */
bool aec__ans_start(ans *, const uint8_t *data, size_t size);
static inline bool aec__ans_ended(const ans *a) { return !a->state && !a->words; }

/* Reads symbols of known indices (0..127). indices, out: (positions, channels) in memory; the order in which elements of
 * an index are coded is (channel, position). Elements that are not coded become 0.
 * places: room for positions * channels; scratch. */
void aec__take(ans *, const tables *, const uint8_t *indices, size_t positions, size_t channels, uint32_t *places,
               int32_t *out);

#endif
