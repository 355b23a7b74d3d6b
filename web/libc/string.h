#ifndef AEC_LIBC_STRING_H
#define AEC_LIBC_STRING_H

#include <stddef.h>

void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int memcmp(const void *, const void *, size_t);
size_t strlen(const char *);
char *strchr(const char *, int);
int strcmp(const char *, const char *);

#endif
