/* What libaec needs of a C library, for WebAssembly without a system: memory, strings, messages, sorting, exponentials. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory: a list of free blocks by address, neighbours joined, the first that fits ---- */

enum { HEAD = 16, PAGE = 65536 };

typedef struct block {
    size_t size; /* bytes, this head included */
    struct block *next;
} block;

extern unsigned char __heap_base;
static block start; /* the list begins behind it */
static uintptr_t top;

/* Puts a block where its address belongs, and joins it with its neighbours. */
static void give_back(block *own) {
    block *before = &start;
    while (before->next && before->next < own) before = before->next;
    own->next = before->next;
    before->next = own;
    if (own->next && (char *)own + own->size == (char *)own->next) own->size += own->next->size, own->next = own->next->next;
    if (before != &start && (char *)before + before->size == (char *)own)
        before->size += own->size, before->next = own->next;
}

static bool grow(size_t size) {
    if (!top) top = ((uintptr_t)&__heap_base + HEAD - 1) / HEAD * HEAD;
    uintptr_t end = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
    if (size > SIZE_MAX - PAGE - top) return false;
    if (top + size > end) {
        size_t pages = (top + size - end + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == SIZE_MAX) return false;
        end += pages * PAGE;
    }
    block *own = (block *)top;
    own->size = end - top;
    top = end;
    give_back(own);
    return true;
}

void *malloc(size_t size) {
    if (size > SIZE_MAX - PAGE) return NULL;
    size = (size + HEAD + HEAD - 1) / HEAD * HEAD;
    for (;;) {
        for (block *before = &start, *own; (own = before->next); before = own) {
            if (own->size < size) continue;
            if (own->size - size > HEAD) {
                block *rest = (block *)((char *)own + size);
                rest->size = own->size - size, rest->next = own->next;
                before->next = rest, own->size = size;
            } else {
                before->next = own->next;
            }
            return (char *)own + HEAD;
        }
        if (!grow(size)) return NULL;
    }
}

void free(void *memory) {
    if (memory) give_back((block *)((char *)memory - HEAD));
}

void *calloc(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    void *memory = malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

void *realloc(void *memory, size_t size) {
    size_t had = memory ? ((block *)((char *)memory - HEAD))->size - HEAD : 0;
    if (memory && had >= size) return memory;
    void *grown = malloc(size);
    if (!grown) return NULL;
    if (memory) memcpy(grown, memory, had);
    free(memory);
    return grown;
}

/* ---- bytes and strings; the compiler makes one instruction of each of the first three ---- */

void *(memcpy)(void *to, const void *from, size_t size) { return __builtin_memcpy(to, from, size); }
void *(memmove)(void *to, const void *from, size_t size) { return __builtin_memmove(to, from, size); }
void *(memset)(void *to, int value, size_t size) { return __builtin_memset(to, value, size); }

int memcmp(const void *a, const void *b, size_t size) {
    const unsigned char *p = a, *q = b;
    for (; size; size--, p++, q++)
        if (*p != *q) return *p - *q;
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length]) length++;
    return length;
}

int strcmp(const char *a, const char *b) {
    for (; *a && *a == *b; a++, b++) {}
    return (unsigned char)*a - (unsigned char)*b;
}

char *strchr(const char *text, int wanted) {
    for (; *text != (char)wanted; text++)
        if (!*text) return NULL;
    return (char *)text;
}

/* ---- messages: %s, %d, %u, %x with widths, precisions and the lengths l, ll and z ---- */

typedef struct output {
    char *at, *end;
} output;

static void put(output *o, char c) {
    if (o->at < o->end) *o->at++ = c;
}

static void put_number(output *o, uint64_t value, unsigned base, int width, char filling) {
    char digits[20];
    int count = 0;
    do digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    for (; width > count; width--) put(o, filling);
    while (count) put(o, digits[--count]);
}

int vsnprintf(char *out, size_t size, const char *format, va_list arguments) {
    output o = {out, out + (size ? size - 1 : 0)};
    for (; *format; format++) {
        if (*format != '%' || *++format == '%') {
            put(&o, *format);
            continue;
        }
        char filling = *format == '0' ? '0' : ' ';
        int width = 0, most = -1, longs = 0;
        for (; *format >= '0' && *format <= '9'; format++) width = 10 * width + *format - '0';
        if (*format == '.')
            for (most = 0, format++; *format >= '0' && *format <= '9'; format++) most = 10 * most + *format - '0';
        for (; *format == 'l' || *format == 'z'; format++) longs += *format == 'l';
        if (*format == 's') {
            const char *text = va_arg(arguments, const char *);
            while (most-- && *text) put(&o, *text++);
        } else if (*format == 'd') {
            int64_t value = longs > 1 ? va_arg(arguments, long long) : va_arg(arguments, int);
            if (value < 0) put(&o, '-');
            put_number(&o, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width, filling);
        } else {
            uint64_t value = longs > 1 ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned);
            put_number(&o, value, *format == 'x' ? 16 : 10, width, filling);
        }
    }
    if (size) *o.at = 0;
    return (int)(o.at - out);
}

int snprintf(char *out, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return count;
}

/* ---- a few hundred names, sorted (Shell's sort, Ciura's gaps) and found ---- */

void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    static const size_t gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};
    char *items = base, held[256];
    if (size > sizeof held) __builtin_trap();
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (size_t i = gaps[g]; i < count; i++) {
            size_t j = i;
            memcpy(held, items + i * size, size);
            for (; j >= gaps[g] && compare(items + (j - gaps[g]) * size, held) > 0; j -= gaps[g])
                memcpy(items + j * size, items + (j - gaps[g]) * size, size);
            memcpy(items + j * size, held, size);
        }
}

void *bsearch(const void *key, const void *base, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    const char *items = base;
    while (count) {
        size_t half = count / 2;
        int order = compare(key, items + half * size);
        if (!order) return (void *)(items + half * size);
        if (order > 0) items += (half + 1) * size, count -= half + 1;
        else count = half;
    }
    return NULL;
}

/* ---- exponentials, in double precision, so that the float is the nearest but for rare ties ---- */

/* 2^exponent, for -1022..1023. */
static double power(int exponent) {
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double x;
    memcpy(&x, &bits, 8);
    return x;
}

/* Of -1000..1000. */
double exp2(double x) {
    double whole = __builtin_floor(x + 0.5), r = (x - whole) * 0.69314718055994530942, sum = 1;
    for (int k = 12; k; k--) sum = 1 + sum * r / k;
    return sum * power((int)whole);
}

/* Of exponents in -1000..1000 alone, as all of libaec's are. */
double ldexp(double x, int exponent) { return x * power(exponent); }

float ldexpf(float x, int exponent) { return (float)(x * power(exponent < -300 ? -300 : exponent > 300 ? 300 : exponent)); }
