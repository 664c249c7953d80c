/* digest: hashes that programs want: of files, of what can be asked of an entity (XEP-0300's names). Rank 0. */
#ifndef XM_DIGEST_H
#define XM_DIGEST_H

#include <stddef.h>

#include "err.h"

enum { XM_DIGEST_MOST = 64 }; /* bytes of the longest */

/* The names, in order; NULL behind the last: "sha-1", "sha-256", "sha-512", "sha3-256", "blake2b-256". */
const char *xm_digest_name(int i);

/* The hash of that number (of xm_digest_name) of `n` bytes. Its length; XM_EFAIL: OpenSSL doesn't give it (in FIPS mode, or
 * out of memory). */
int xm_digest(int i, const void *bytes, size_t n, unsigned char to[XM_DIGEST_MOST]);

#endif
