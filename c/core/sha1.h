/* sha1: SHA-1 (FIPS 180-4), for a component's handshake (XEP-0114), and for nothing else. OpenSSL's has to be
 * set up first, which takes five million instructions: a component without TLS needs nothing else of it. Rank 0: sasl's own. */
#ifndef XM_SHA1_H
#define XM_SHA1_H

#include <stddef.h>

enum { XM_SHA1 = 20 };

/* The hash of `n` bytes, which may be a secret: nothing of them stays in memory. */
void xm_sha1(unsigned char to[XM_SHA1], const void *bytes, size_t n);

#endif
