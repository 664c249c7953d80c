/* scram: the client's side of SCRAM (RFC 5802, RFC 7677), bytes in, bytes out. Rank 1: uses err, buf, b64, rnd,
 * keyring, and is called by sasl and mech only. The only file of the login that calls OpenSSL's hashes.
 *
 *   C: n,,n=user,r=CNONCE          xm_scram_first; n,, is the GS2 header, which may also be y,, or p=tls-exporter,,
 *   S: r=CNONCE+SNONCE,s=SALT,i=N  xm_scram_step; h= (XEP-0474) and t= (XEP-0515) are checked if present
 *   C: c=biws,r=...,p=PROOF        c: the GS2 header and the channel binding's bytes
 *   S: v=SIGNATURE                 xm_scram_success, or xm_scram_step (whose response is empty) and xm_scram_success
 *
 * PBKDF2 runs in the step and blocks: a million rounds take 0.3 s (SHA-1) to 0.9 s (SHA-512). With `remember` it
 * doesn't run the next time: the result is kept for the same account, password, salt, rounds and hash. A refusal is
 * final: whatever comes after it is refused, too. */
#ifndef XM_SCRAM_H
#define XM_SCRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

typedef struct xm_scram xm_scram;

typedef enum xm_scram_hash {
  XM_SCRAM_SHA1,
  XM_SCRAM_SHA256,
  XM_SCRAM_SHA512,
} xm_scram_hash;

/* Borrowed for the call only. */
typedef struct xm_scram_setup {
  xm_scram_hash hash;
  const char *username; /* not escaped; not empty, no NUL inside */
  size_t username_len;
  const char *password; /* not empty, no NUL inside; at most INT_MAX bytes */
  size_t password_len;
  unsigned min_rounds, max_rounds; /* 0: 4096 and 2,000,000 */
  const char *gs2;                 /* the GS2 header; NULL: "n,," */
  const void *binding;             /* the channel binding's bytes, which follow the GS2 header in c=; NULL: none */
  size_t binding_len;
  const char *offered; /* the text of which h= must be the hash; NULL: not known, and then any h= is refused */
  size_t offered_len;
  bool need_hash;       /* fail without h=, with the condition "no-channel-binding" */
  bool remember;        /* use ClientKey and ServerKey from the keyring (keyring.h) if they are there; keep them
                           there if the login succeeds */
  unsigned tls_version; /* what t= must be; 0x0304: TLS 1.3; 0: no TLS, and then any t= is refused */
} xm_scram_setup;

/* NULL when memory or randomness ran out (`e` set). */
xm_scram *xm_scram_new(const xm_scram_setup *setup, xm_err *e);
/* The same with a given client nonce, for test vectors: printable ASCII without commas. */
xm_scram *xm_scram_new_with_nonce(const xm_scram_setup *setup, const char *nonce, xm_err *e);
void xm_scram_free(xm_scram *s); /* zeroises; NULL is fine */

/* As xm_sasl_first, xm_sasl_step and xm_sasl_success. 0 or XM_EFAIL; on failure `out` may have a part of a message. */
int xm_scram_first(xm_scram *s, xm_buf *out, xm_err *e);
int xm_scram_step(xm_scram *s, const char *in, size_t n, xm_buf *out, xm_err *e);
int xm_scram_success(xm_scram *s, const char *in, size_t n, xm_err *e);

/* HMAC-SHA-256 of the `n` bytes with that key, for tokens (XEP-0484), which aren't SCRAM but need OpenSSL's hashes as
 * well. 0 or XM_ENOMEM. */
enum { XM_SCRAM_MAC = 32 };
int xm_scram_hmac(const void *key, size_t key_len, const void *bytes, size_t n, unsigned char mac[XM_SCRAM_MAC]);
/* Are these two the same? The time that it takes doesn't tell where they differ. */
bool xm_scram_is_same(const void *a, const void *b, size_t n);

#endif
