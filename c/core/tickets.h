/* tickets: TLS sessions that later connections may resume (RFC 8446 2.2, 4.6.1; RFC 5246 F.1.4, RFC 5077), the secrets
 * of a context. Rank 1, tls's own: nobody else includes it.
 *
 * A session, which only tls can look into, is kept under whom it is with and on what terms, and given out once. How long it
 * may be used, is for tls to say: a certificate that has expired since, or a full handshake that is long ago, ends it. */
#ifndef XM_TICKETS_H
#define XM_TICKETS_H

#include <stdbool.h>
#include <time.h>

#include "buf.h"

enum { XM_TICKETS = 64 }; /* the oldest goes */

typedef struct xm_ticket {
  void *session; /* NULL: none is kept under that key, see xm_tickets_bar */
  xm_buf key;
  time_t made, until;     /* not before, and not then or later */
  unsigned long lifetime; /* seconds since it was made that the server honours it; 0: it hasn't said */
} xm_ticket;

/* All zero but for `release`: none. */
typedef struct xm_tickets {
  void (*release)(void *session); /* of what nobody wants any more */
  xm_ticket list[XM_TICKETS]; /* oldest first */
  int n;
} xm_tickets;

/* Takes over its session and key. */
void xm_tickets_put(xm_tickets *k, xm_ticket *t, time_t now);
/* Nothing is kept or given out under that key, which is taken over, until then. */
void xm_tickets_bar(xm_tickets *k, xm_buf *key, time_t until);
/* The newest one kept under that key that can still be used, and until when; it is the caller's. NULL: none. */
void *xm_tickets_take(xm_tickets *k, const xm_buf *key, time_t now, time_t *until);
void xm_tickets_clear(xm_tickets *k);

#endif
