/* der: parses the outline of a certificate without OpenSSL, which takes a million instructions to read one. Rank 0:
 * used by bundle only.
 *
 * What is accepted here is accepted by OpenSSL as well; what isn't accepted may still be, and is left to OpenSSL. */
#ifndef XM_DER_H
#define XM_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that belong to the caller: one element of DER (X.690), or the content of one. */
typedef struct xm_der {
  const unsigned char *at;
  size_t n;
} xm_der;

/* Are these bytes exactly one certificate (RFC 5280 4.1)? *subject: its subject, as an element. */
bool xm_der_certificate(xm_der bytes, xm_der *subject);

/* Hashes a name (RFC 5280 4.1.2.4). The hash is the same for names that are equal by OpenSSL's rules, which ignore
 * case, spaces and the type of string. false: the name has a form for which there is no hash. */
bool xm_der_hash_name(xm_der name, uint32_t *hash);

#endif
