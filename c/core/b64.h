/* b64: base64 (RFC 4648), strict. Rank 0. */
#ifndef XM_B64_H
#define XM_B64_H

#include "buf.h"

/* Appends the base64 form of `n` bytes (section 4: + / and padding). 0 or XM_ENOMEM. */
int xm_b64_encode(xm_buf *out, const void *bytes, size_t n);

/* Appends the bytes that the base64 text encodes. Strict: only the alphabet of section 4, correct padding, zero
 * trailing bits, no white space. 0, XM_EINVAL, XM_ENOMEM; on failure `out` is as it was. */
int xm_b64_decode(xm_buf *out, const char *text, size_t n);

#endif
