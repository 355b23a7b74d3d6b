#ifndef AEC_SHA256_H
#define AEC_SHA256_H
#include <stddef.h>
#include <stdint.h>
void aec__sha256(const uint8_t *data, size_t size, uint8_t digest[32]); /* FIPS 180-4 */
#endif
