/* sha1: SHA-1 (FIPS 180-4), for a component's handshake (XEP-0114) and a WebSocket's (RFC 6455), and for nothing else.
 * It is OpenSSL's, called by the one way that doesn't initialise all of OpenSSL first, which takes five million
 * instructions: a component without TLS needs nothing else of OpenSSL. Rank 0: for sasl and upgrade only; knows err,
 * buf. */
#ifndef XM_SHA1_H
#define XM_SHA1_H

#include <stddef.h>

enum { XM_SHA1 = 20 };

/* The hash of `n` bytes, which may be a secret: no copy of them stays in memory. XM_OK or XM_ENOMEM. */
int xm_sha1(unsigned char to[XM_SHA1], const void *bytes, size_t n);

#endif
