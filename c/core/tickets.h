/* tickets: TLS sessions that later connections may resume (RFC 8446 2.2, 4.6.1; RFC 5246 F.1.4, RFC 5077): secrets of a
 * TLS context. Rank 1; included only by tls.
 *
 * A session, whose content only tls understands, is kept under a key that says with whom it is and on what terms, and
 * is given out once. For how long it may be used is decided by tls: until one of its certificates expires, or the full
 * handshake is too long ago. */
#ifndef XM_TICKETS_H
#define XM_TICKETS_H

#include <stdbool.h>
#include <time.h>

#include "buf.h"

enum { XM_TICKETS = 64 }; /* the most that are kept; then the oldest is dropped */

typedef struct xm_ticket {
  void *session; /* NULL: the key is barred, see xm_tickets_bar */
  xm_buf key;
  time_t made, until;     /* it is used from `made` on, and before `until` */
  unsigned long lifetime; /* for so many seconds after `made` the server accepts it; 0: it hasn't said */
} xm_ticket;

/* Initially all zero except `release`. */
typedef struct xm_tickets {
  void (*release)(void *session); /* frees a session */
  xm_ticket list[XM_TICKETS]; /* oldest first */
  int n;
} xm_tickets;

/* Keeps a ticket; takes over its session and key. */
void xm_tickets_put(xm_tickets *k, xm_ticket *t, time_t now);
/* Bars a key until then: nothing is kept or given out under it. The key is taken over. */
void xm_tickets_bar(xm_tickets *k, xm_buf *key, time_t until);
/* The newest session under that key that can still be used, and until when; the caller owns it. NULL: none. */
void *xm_tickets_take(xm_tickets *k, const xm_buf *key, time_t now, time_t *until);
void xm_tickets_clear(xm_tickets *k);

#endif
