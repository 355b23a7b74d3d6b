#ifndef AEC_LIBC_STDIO_H
#define AEC_LIBC_STDIO_H

#include <stdarg.h>
#include <stddef.h>

int vsnprintf(char *, size_t, const char *, va_list);
int snprintf(char *, size_t, const char *, ...);

#endif
