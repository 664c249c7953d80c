/* blake2b: BLAKE2b without a key (RFC 7693), as long as is wanted: OpenSSL has it in one length only, and the shorter ones
 * aren't its beginning. Rank 0: digest's own. */
#ifndef XM_BLAKE2B_H
#define XM_BLAKE2B_H

#include <stddef.h>

/* The hash of `n` bytes, in `len` bytes: 1 to 64. */
void xm_blake2b(unsigned char *to, size_t len, const void *bytes, size_t n);

#endif
