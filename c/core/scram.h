/* scram: the client's side of SCRAM (RFC 5802, RFC 7677), bytes in, bytes out. Rank 1: knows err, buf, b64, rnd, keyring, and
 * is called by sasl only. The one door to OpenSSL's hashes.
 *
 *   C: n,,n=user,r=CNONCE          xm_scram_first; n,, is the GS2 header: y,, or p=tls-exporter,, may be there
 *   S: r=CNONCE+SNONCE,s=SALT,i=N  xm_scram_step; h= (XEP-0474) and t= (XEP-0515) are checked where they come
 *   C: c=biws,r=...,p=PROOF        c: the GS2 header and the channel binding's bytes
 *   S: v=SIGNATURE                 xm_scram_success, or xm_scram_step (answered by nothing) and xm_scram_success
 *
 * PBKDF2 runs in the step and blocks: a million rounds take 0.3 s (SHA-1) to 0.9 s (SHA-512). With `remember` it doesn't
 * the next time: the result is kept for the same account, password, salt, rounds and hash.
 * A refusal is for good: whatever comes after it is refused too. */
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
  const char *username; /* not escaped; neither empty nor with a NUL inside */
  size_t username_len;
  const char *password; /* the same; at most INT_MAX bytes */
  size_t password_len;
  unsigned min_rounds, max_rounds; /* 0: 4096 and 2,000,000 */
  const char *gs2;                 /* the GS2 header; NULL: "n,," */
  const void *binding;             /* behind it in c=; NULL: nothing */
  size_t binding_len;
  const char *offered; /* what h= is the hash of; NULL: not known, so that no h= is right */
  size_t offered_len;
  bool need_hash;       /* without h= the login fails: "no-channel-binding" */
  bool remember;        /* ClientKey and ServerKey are kept (keyring.h) if the login succeeds, and used if they are there */
  unsigned tls_version; /* 0x0304: TLS 1.3. What t= has to be; 0: no TLS, so that no t= is right */
} xm_scram_setup;

/* NULL when memory or randomness ran out (`e` set). */
xm_scram *xm_scram_new(const xm_scram_setup *setup, xm_err *e);
/* The same with a client nonce that is given, as a test vector needs it: printable ASCII without comma. */
xm_scram *xm_scram_new_with_nonce(const xm_scram_setup *setup, const char *nonce, xm_err *e);
void xm_scram_free(xm_scram *s); /* zeroises; NULL is fine */

/* As xm_sasl_first, xm_sasl_step and xm_sasl_success. 0 or XM_EFAIL; on failure `out` may hold half a message. */
int xm_scram_first(xm_scram *s, xm_buf *out, xm_err *e);
int xm_scram_step(xm_scram *s, const char *in, size_t n, xm_buf *out, xm_err *e);
int xm_scram_success(xm_scram *s, const char *in, size_t n, xm_err *e);

/* HMAC-SHA-256 of the `n` bytes by the key, for tokens (XEP-0484), which are no SCRAM but need the same door. 0 or XM_ENOMEM. */
enum { XM_SCRAM_MAC = 32 };
int xm_scram_hmac(const void *key, size_t key_len, const void *bytes, size_t n, unsigned char mac[XM_SCRAM_MAC]);
/* Are these two the same? In time that doesn't tell where they differ. */
bool xm_scram_is_same(const void *a, const void *b, size_t n);

#endif
