/* tickets: TLS sessions that later connections may resume (RFC 8446 2.2, 4.6.1; RFC 5246 F.1.4, RFC 5077), the secrets
 * of a context. Rank 1, tls's own: nobody else includes it.
 *
 * A session is kept under whom it is with and on what terms, and given out once. How long it may be used, is for tls to
 * say: a certificate that has expired since, or a full handshake that is long ago, ends it. */
#ifndef XM_TICKETS_H
#define XM_TICKETS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <time.h>

#include "buf.h"

enum { XM_TICKETS = 64 }; /* the oldest goes */

typedef struct xm_ticket {
  SSL_SESSION *session; /* NULL: none is kept under that key, see xm_tickets_bar */
  xm_buf key;
  time_t until; /* not then or later */
} xm_ticket;

/* All zero: none. */
typedef struct xm_tickets {
  xm_ticket list[XM_TICKETS]; /* oldest first */
  int n;
} xm_tickets;

/* Takes over session and key. */
void xm_tickets_put(xm_tickets *k, SSL_SESSION *session, xm_buf *key, time_t now, time_t until);
/* Nothing is kept or given out under that key, which is taken over, until then. */
void xm_tickets_bar(xm_tickets *k, xm_buf *key, time_t until);
/* The newest one kept under that key that can still be used, and until when; it is the caller's. NULL: none. */
SSL_SESSION *xm_tickets_take(xm_tickets *k, const xm_buf *key, time_t now, time_t *until);
void xm_tickets_clear(xm_tickets *k);

#endif
