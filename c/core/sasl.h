/* sasl: the client's side of authentication (RFC 4422), as a thing that turns bytes into bytes. Rank 1: knows err, buf,
 * b64, rnd, scram. What XML is round the bytes, and that TLS is there, is nego's business.
 *
 * Mechanisms, strongest first: SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1 (RFC 5802, RFC 7677), PLAIN (RFC 4616). */
#ifndef XM_SASL_H
#define XM_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

typedef struct xm_sasl xm_sasl;
typedef struct xm_sasl_mech xm_sasl_mech;

/* What the server offers, collected name by name. Names we don't know are passed over. */
typedef struct xm_sasl_offer {
  unsigned known;   /* a bit for each mechanism of ours that was offered */
  char names[256];  /* what was offered, for error texts: "SCRAM-SHA-1, X-FOO, ..." cut to fit */
} xm_sasl_offer;

void xm_sasl_offer_add(xm_sasl_offer *offer, const char *name, size_t n);

/* A comma- or space-separated allow-list of mechanism names ("SCRAM-SHA-256 PLAIN") as bits; NULL: all. XM_EINVAL-like
 * mistakes are told by a NULL-free `*unknown` (the first name that is not one of ours, with its length), else NULL. */
unsigned xm_sasl_allowed(const char *list, const char **unknown, size_t *unknown_len);

/* The strongest mechanism that is offered, allowed, and (for PLAIN) permitted: `plain` says that the channel is TLS with a
 * verified certificate. PLAIN is chosen only when nothing better is both offered and allowed. NULL with `e` set (layer sasl,
 * condition "invalid-mechanism", which lists what was offered) when there is none. */
const xm_sasl_mech *xm_sasl_choose(const xm_sasl_offer *offer, unsigned allowed, bool plain, xm_err *e);
const char *xm_sasl_mech_name(const xm_sasl_mech *mech);

/* Who logs in. Borrowed for the call of xm_sasl_new only. */
typedef struct xm_sasl_login {
  const char *username; /* the localpart, prepared */
  size_t username_len;
  const char *password; /* prepared by OpaqueString */
  size_t password_len;
  unsigned min_rounds, max_rounds; /* 0: 4096 and 2,000,000 */
} xm_sasl_login;

/* NULL with `e` set: memory or randomness ran out, or the login can't be said in the mechanism (conditions
 * "invalid-username", "invalid-password": empty, over-long, or with a NUL inside). */
xm_sasl *xm_sasl_new(const xm_sasl_mech *mech, const xm_sasl_login *login, xm_err *e);
void xm_sasl_free(xm_sasl *s); /* zeroises; NULL is fine */

/* Appends the initial response (raw bytes, to be put in base64 by the caller). 0 or XM_EFAIL. */
int xm_sasl_first(xm_sasl *s, xm_buf *out, xm_err *e);

/* Takes a <challenge/>'s bytes, appends the response's. 0, or XM_EFAIL with layer sasl: more challenges than the mechanism
 * has, or one that it refuses (condition "incorrect-encoding", "bad-server-nonce", "bad-server-signature", ...). */
int xm_sasl_step(xm_sasl *s, const char *in, size_t n, xm_buf *out, xm_err *e);

/* Takes <success/>'s additional data (n = 0: none). 0 only when the mechanism is complete AND the server has proved that it
 * knows the password, where the mechanism can show it (SCRAM's server signature, checked in constant time). */
int xm_sasl_success(xm_sasl *s, const char *in, size_t n, xm_err *e);

enum { XM_SASL_HANDSHAKE = 40 };

/* A component's proof that it knows the secret (XEP-0114 3): SHA-1 of the stream id and the secret, in lower-case hex, with
 * a NUL. No SASL mechanism, but the same kind of thing. 0 or XM_ENOMEM. */
int xm_sasl_handshake(const char *stream_id, const char *secret, size_t n, char hex[XM_SASL_HANDSHAKE + 1]);

#endif
