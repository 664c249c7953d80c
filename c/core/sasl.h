/* sasl: the client's side of authentication (RFC 4422; XEP-0484's HT): bytes in, bytes out. Rank 1: uses err, buf,
 * mech, scram. The XML around the bytes, and whether there is TLS, is the business of login and nego; the choice of
 * mechanism is mech's. */
#ifndef XM_SASL_H
#define XM_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "mech.h"

typedef struct xm_sasl xm_sasl;

/* Who logs in, and over which channel. Borrowed for the call of xm_sasl_new only. */
typedef struct xm_sasl_login {
  const char *username; /* SCRAM, PLAIN, HT: the localpart, prepared */
  size_t username_len;
  const char *password; /* SCRAM, PLAIN: prepared by OpaqueString. HT: the token, as it came */
  size_t password_len;
  unsigned min_rounds, max_rounds; /* SCRAM: 0: 4096 and 2,000,000 */
  bool remember;                   /* SCRAM: keep the keys for the next login */
  const char *authzid;             /* EXTERNAL: whom to log in as; NULL: as the certificate says */
  size_t authzid_len;
  const xm_mech_channel *channel; /* SCRAM, HT: the channel to bind to, if the choice says so; NULL: no TLS */
  const char *offered;            /* SCRAM: what xm_mech_offer_text says; NULL: not known */
  size_t offered_len;
} xm_sasl_login;

/* NULL with `e` set: memory or randomness ran out, or the mechanism can't express the login (conditions
 * "invalid-username", "invalid-password": empty, too long, or with a NUL inside). */
xm_sasl *xm_sasl_new(const xm_mech_choice *choice, const xm_sasl_login *login, xm_err *e);
void xm_sasl_free(xm_sasl *s); /* zeroises; NULL is fine */

/* Appends the initial response (raw bytes, to be put in base64 by the caller). 0 or XM_EFAIL. */
int xm_sasl_first(xm_sasl *s, xm_buf *out, xm_err *e);

/* Takes a <challenge/>'s bytes, appends the response's. 0, or XM_EFAIL with layer sasl: more challenges than the
 * mechanism has, or one that it refuses (condition "incorrect-encoding", "bad-server-nonce", "bad-server-signature",
 * ...). */
int xm_sasl_step(xm_sasl *s, const char *in, size_t n, xm_buf *out, xm_err *e);

/* Takes <success/>'s additional data (n = 0: none). 0 only when the mechanism is complete AND the server has proved
 * that it knows the password or token, if the mechanism has such a proof (SCRAM's server signature, HT's answer;
 * compared in constant time). */
int xm_sasl_success(xm_sasl *s, const char *in, size_t n, xm_err *e);

enum { XM_SASL_HANDSHAKE = 40 };

/* A component's proof that it knows the secret (XEP-0114 3): SHA-1 of the stream id and the secret, in lower-case hex,
 * with a NUL. Not a SASL mechanism, but the same kind of computation. 0 or XM_ENOMEM. */
int xm_sasl_handshake(const char *stream_id, const char *secret, size_t n, char hex[XM_SASL_HANDSHAKE + 1]);

#endif
