/* der: the outline of a certificate, without OpenSSL, which takes a million instructions to read one. Rank 0: bundle's own.
 *
 * What is found to be in order here is so for OpenSSL as well; what isn't may still be, and is left to it. */
#ifndef XM_DER_H
#define XM_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of somebody else's: one element of DER (X.690), or the content of one. */
typedef struct xm_der {
  const unsigned char *at;
  size_t n;
} xm_der;

/* Is this one certificate (RFC 5280 4.1), and nothing behind it? Its subject is told, as an element. */
bool xm_der_certificate(xm_der bytes, xm_der *subject);

/* A hash of a name (RFC 5280 4.1.2.4), the same for two that are the same by OpenSSL's rules, which look neither at case nor
 * at spaces nor at the kind of string. false: it is spelled in a way for which there is none. */
bool xm_der_hash_name(xm_der name, uint32_t *hash);

#endif
