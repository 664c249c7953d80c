/* blake2b: BLAKE2b without a key (RFC 7693), with a hash of any length: OpenSSL has it in one length only, and the
 * shorter hashes aren't prefixes of the longer ones. Rank 0: used by digest only. */
#ifndef XM_BLAKE2B_H
#define XM_BLAKE2B_H

#include <stddef.h>

/* Writes the hash of `n` bytes, in `len` bytes: 1 to 64. */
void xm_blake2b(unsigned char *to, size_t len, const void *bytes, size_t n);

#endif
