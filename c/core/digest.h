/* digest: hashes that programs want: of files, of an entity's capabilities (with XEP-0300's names). Rank 0. */
#ifndef XM_DIGEST_H
#define XM_DIGEST_H

#include <stddef.h>

#include "err.h"

enum { XM_DIGEST_MOST = 64 }; /* bytes of the longest hash */

/* The names, in order; NULL after the last: "sha-1", "sha-256", "sha-512", "sha3-256", "blake2b-256". */
const char *xm_digest_name(int i);

/* Writes the hash of `n` bytes; `i`: the algorithm's number in xm_digest_name. The hash's length; XM_EFAIL: OpenSSL
 * doesn't provide it (in FIPS mode, or out of memory). */
int xm_digest(int i, const void *bytes, size_t n, unsigned char to[XM_DIGEST_MOST]);

#endif
