#include "weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 16

/* ---- as much of JSON as is needed: a reader that walks on and never past the end ---- */

typedef struct json {
    const char *at, *end;
    bool wrong;
} json;

static void spaces(json *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r')) j->at++;
}

static bool accept(json *j, char c) {
    spaces(j);
    if (j->at >= j->end || *j->at != c) return false;
    j->at++;
    return true;
}

static void expect(json *j, char c) {
    if (!accept(j, c)) j->wrong = true;
}

/* A string as it is written, escapes included. */
static const char *string(json *j, size_t *length) {
    *length = 0;
    expect(j, '"');
    if (j->wrong) return "";
    const char *start = j->at;
    while (j->at < j->end && *j->at != '"') j->at += *j->at == '\\' ? 2 : 1;
    if (j->at >= j->end) {
        j->wrong = true;
        return "";
    }
    *length = (size_t)(j->at++ - start);
    return start;
}

static uint64_t whole(json *j) {
    spaces(j);
    uint64_t n = 0;
    const char *start = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9' && n < UINT64_MAX / 16) n = 10 * n + (uint64_t)(*j->at++ - '0');
    if (j->at == start) j->wrong = true;
    return n;
}

static void skip(json *j, int depth) {
    size_t ignored;
    if (depth > MAX_DEPTH) j->wrong = true;
    spaces(j);
    if (j->wrong || j->at >= j->end) {
        j->wrong = true;
    } else if (*j->at == '"') {
        string(j, &ignored);
    } else if (*j->at == '{' || *j->at == '[') {
        bool object = *j->at == '{';
        char close = object ? '}' : ']';
        j->at++;
        if (accept(j, close)) return;
        do {
            if (object) {
                string(j, &ignored);
                expect(j, ':');
            }
            skip(j, depth + 1);
        } while (!j->wrong && accept(j, ','));
        expect(j, close);
    } else {
        const char *start = j->at;
        while (j->at < j->end && !strchr(",]} \t\r\n", *j->at)) j->at++;
        if (j->at == start) j->wrong = true;
    }
}

static bool same(const char *text, size_t length, const char *other) {
    return strlen(other) == length && !memcmp(text, other, length);
}

/* ---- the file ---- */

static char *unescaped(const char *text, size_t length) {
    char *out = aec__alloc(length + 1, 1, 1);
    if (!out) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\\' && i + 1 < length) i++; /* of a config only quotation marks are escaped */
        out[n++] = text[i];
    }
    return out;
}

static aec_status metadata(json *j, weights *w, aec_error *error) {
    expect(j, '{');
    if (j->wrong || accept(j, '}')) return AEC_OK;
    do {
        size_t key_length, length;
        const char *key = string(j, &key_length);
        expect(j, ':');
        char **own = same(key, key_length, "config") ? &w->config : same(key, key_length, "family") ? &w->family : NULL;
        if (!j->wrong && own && !*own) {
            const char *text = string(j, &length);
            if (!j->wrong && !(*own = unescaped(text, length)))
                return aec__fail(error, AEC_MEMORY, "no memory for the weights file's header");
        } else {
            skip(j, 1);
        }
    } while (!j->wrong && accept(j, ','));
    expect(j, '}');
    return AEC_OK;
}

static void entry(json *j, const uint8_t *data, uint64_t size, named_tensor *own) {
    uint64_t from = 0, to = 0, count = 1;
    size_t element = 0, length;
    tensor *t = &own->tensor;
    t->type = OTHER;
    expect(j, '{');
    do {
        const char *key = string(j, &length);
        expect(j, ':');
        if (j->wrong) return;
        if (same(key, length, "dtype")) {
            const char *type = string(j, &length);
            if (same(type, length, "F32")) t->type = FLOAT32, element = 4;
            else if (same(type, length, "F16")) t->type = FLOAT16, element = 2;
            else if (same(type, length, "I32")) t->type = INT32, element = 4;
            else if (same(type, length, "I64")) t->type = INT64, element = 8;
            else if (same(type, length, "I16")) t->type = INT16, element = 2;
            else if (same(type, length, "I8")) t->type = INT8, element = 1;
        } else if (same(key, length, "shape")) {
            expect(j, '[');
            if (accept(j, ']')) continue;
            do {
                uint64_t side = whole(j);
                if (side > UINT32_MAX || (side && count > UINT32_MAX / side)) {
                    j->wrong = true;
                    return;
                }
                /* Families that are not ours may have more dimensions; a rank of 5 is one that nobody here asks for. */
                if (t->rank < 4) t->shape[t->rank++] = side;
                else t->rank = 5;
                count *= side;
            } while (!j->wrong && accept(j, ','));
            expect(j, ']');
        } else if (same(key, length, "data_offsets")) {
            expect(j, '[');
            from = whole(j);
            expect(j, ',');
            to = whole(j);
            expect(j, ']');
        } else {
            skip(j, 2);
        }
    } while (!j->wrong && accept(j, ','));
    expect(j, '}');
    if (j->wrong) return;
    if (from > to || to > size || (element && to - from != count * element)) {
        j->wrong = true;
        return;
    }
    t->data = data + from;
    t->count = (size_t)count;
}

static int by_name(const void *a, const void *b) {
    const named_tensor *p = a, *q = b;
    size_t length = p->length < q->length ? p->length : q->length;
    int order = memcmp(p->name, q->name, length);
    return order ? order : (p->length > q->length) - (p->length < q->length);
}

aec_status aec__weights_open(const uint8_t *data, size_t size, weights *w, aec_error *error) {
    memset(w, 0, sizeof *w);
    uint64_t header = size >= 8 ? (uint64_t)aec__u32(data) | (uint64_t)aec__u32(data + 4) << 32 : 0;
    if (size < 8 || header > size - 8) return aec__fail(error, AEC_MODEL, "not a weights file (safetensors)");
    const uint8_t *tensors = data + 8 + header;
    json j = {(const char *)data + 8, (const char *)tensors, false};
    size_t room = 0;
    aec_status status = AEC_OK;
    expect(&j, '{');
    do {
        size_t length;
        const char *name = string(&j, &length);
        expect(&j, ':');
        if (j.wrong) break;
        if (same(name, length, "__metadata__")) {
            status = metadata(&j, w, error);
            continue;
        }
        if (w->count == room) {
            room = room ? 2 * room : 128;
            named_tensor *grown = realloc(w->tensors, room * sizeof *grown);
            if (!grown) {
                status = aec__fail(error, AEC_MEMORY, "no memory for the weights file's header");
                break;
            }
            w->tensors = grown;
        }
        named_tensor *own = &w->tensors[w->count++];
        memset(own, 0, sizeof *own);
        own->name = name, own->length = length;
        entry(&j, tensors, size - 8 - header, own);
    } while (!status && !j.wrong && accept(&j, ','));
    if (!status) expect(&j, '}');
    if (!status && j.wrong)
        status = aec__fail(error, AEC_MODEL, "not a weights file of aecodec (its header is damaged)");
    if (status) aec__weights_close(w);
    else qsort(w->tensors, w->count, sizeof *w->tensors, by_name);
    return status;
}

void aec__weights_close(weights *w) {
    free(w->tensors);
    free(w->config);
    free(w->family);
    memset(w, 0, sizeof *w);
}

static const tensor *find(const weights *w, const char *name) {
    named_tensor key = {name, strlen(name), {0}};
    const named_tensor *own = bsearch(&key, w->tensors, w->count, sizeof key, by_name);
    return own ? &own->tensor : NULL;
}

bool aec__has_tensor(const weights *w, const char *name) { return find(w, name) != NULL; }

aec_status aec__tensor(const weights *w, const char *name, number_type type, int rank, const uint64_t *shape, tensor *out,
                       aec_error *error) {
    const tensor *own = find(w, name);
    if (!own) return aec__fail(error, AEC_MODEL, "weights: there is no tensor %s", name);
    bool fits = own->type == type || (type == FLOAT32 && own->type == FLOAT16);
    if (rank) fits &= own->rank == rank;
    for (int i = 0; fits && i < rank; i++) fits = own->shape[i] == shape[i];
    if (!fits) return aec__fail(error, AEC_MODEL, "weights: tensor %s has another type or shape than the config says", name);
    *out = *own;
    return AEC_OK;
}

static float of_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023, bits;
    float x = (float)mantissa * 0x1p-24f; /* without an exponent; without branches, so that several are done at once */
    memcpy(&bits, &x, 4);
    uint32_t other = (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | mantissa << 13;
    bits = sign | (exponent ? other : bits);
    memcpy(&x, &bits, 4);
    return x;
}

void aec__float_values(const tensor *t, float *values) {
    const uint8_t *at = t->data;
    if (t->type == FLOAT16)
        for (size_t i = 0; i < t->count; i++) values[i] = of_half((uint16_t)(at[2 * i] | at[2 * i + 1] << 8));
    else
        for (size_t i = 0; i < t->count; i++) {
            uint32_t bits = aec__u32(at + 4 * i);
            memcpy(&values[i], &bits, 4);
        }
}

int64_t aec__integer(const tensor *t, size_t i) {
    const uint8_t *at = t->data;
    if (t->type == INT8) return (int8_t)at[i];
    if (t->type == INT16) return (int16_t)(at[2 * i] | at[2 * i + 1] << 8);
    if (t->type == INT32) return (int32_t)aec__u32(at + 4 * i);
    return (int64_t)((uint64_t)aec__u32(at + 8 * i) | (uint64_t)aec__u32(at + 8 * i + 4) << 32);
}

/* Where the value of a key of the config begins. */
static bool value_of(const weights *w, const char *key, json *j) {
    *j = (json){w->config, w->config + strlen(w->config), false};
    expect(j, '{');
    do {
        size_t length;
        const char *name = string(j, &length);
        expect(j, ':');
        if (j->wrong) return false;
        if (same(name, length, key)) {
            spaces(j);
            return j->at < j->end;
        }
        skip(j, 1);
    } while (!j->wrong && accept(j, ','));
    return false;
}

long aec__config_number(const weights *w, const char *key, long without) {
    json j;
    if (!value_of(w, key, &j)) return without;
    if (*j.at == 't') return 1;
    if (*j.at == 'f') return 0;
    uint64_t n = whole(&j);
    return j.wrong || n > INT32_MAX ? -1 : (long)n;
}
