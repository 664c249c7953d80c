/* dns: from a domain to the addresses to dial, in order (RFC 2782, XEP-0368, RFC 6724). Rank 2: uses err, loop, srv and
 * rnd. The only module that uses c-ares. Asynchronous; a query never blocks and never outlives its xm_dns. */
#ifndef XM_DNS_H
#define XM_DNS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "err.h"
#include "loop.h"

enum { XM_DNS_TARGETS = 16, XM_DNS_ADDRESSES = 32 };

/* An address at which a connection may be tried. */
typedef struct xm_dns_address {
  struct sockaddr_storage sa; /* port filled in */
  bool direct_tls;            /* came from _xmpps-client: TLS from the first byte (XEP-0368) */
  unsigned char target;       /* number of the SRV target it belongs to, from 0, in the order to be tried */
} xm_dns_address;

/* The same by name, for a caller that leaves it to somebody else (a proxy) to look that up. */
typedef struct xm_dns_name {
  char host[254]; /* or an IP address */
  uint16_t port;
  bool direct_tls;
} xm_dns_name;

typedef struct xm_dns xm_dns;

/* What to look for. */
typedef struct xm_dns_query {
  const char *domain; /* ASCII (A-labels), or an IP address; a link-local one with its zone, "fe80::1%eth0" (RFC 4007 11) */
  int port;           /* for the domain itself */
  bool srv;           /* ask for _xmpps-client and _xmpp-client first; no answer: the domain itself on `port` */
  bool direct_tls;    /* the domain itself is dialled with TLS from the start; with srv: only _xmpps-client counts */
  bool no_tls;        /* with srv: only _xmpp-client counts */
  bool names;         /* only SRV records are asked for: the result is names */
  const char *nameservers; /* "127.0.0.1:5353", comma-separated, for tests; NULL: the system's */
  unsigned budget_ms;      /* how long the caller will wait for all of it; 0: 15000. A third of it is for SRV */
  int timeout_ms;          /* until the next name server is asked; doubles with each round; for tests; 0: 1000 */
} xm_dns_query;

/* A question that stays unanswered doesn't hold up the others: when one family's addresses have come, the other
 * family's are waited for only briefly (RFC 8305 3), and those of other targets a little longer; an unanswered SRV
 * query is given up, in favour of the domain itself, while there is still time to look that up and to dial it.
 *
 * Starts the query. NULL with `e` set when it can't even begin. `done(arg)` is called exactly once, from a turn of the
 * loop or from xm_loop_fire, never from inside xm_dns_start, and may only set a mark; xm_dns_free is allowed there too,
 * if somebody else holds the loop. */
xm_dns *xm_dns_start(xm_loop *l, const xm_dns_query *q, void (*done)(void *arg), void *arg, xm_err *e);

/* After done: the number of addresses, from 1 to XM_DNS_ADDRESSES, ordered by SRV priority and weight, then by RFC 6724
 * 2.1; or XM_EFAIL (layer dns, condition "NXDOMAIN", "SERVFAIL", "no-service" for the target ".", ...; if memory ran
 * out, layer limit). Before done: 0. */
int xm_dns_result(const xm_dns *d, const xm_dns_address **list, xm_err *e);

/* The same for a query with `names`: from 1 to XM_DNS_TARGETS names, ordered by SRV priority and weight. */
int xm_dns_names(const xm_dns *d, xm_dns_name to[XM_DNS_TARGETS], xm_err *e);

/* Ends the query, whatever state it is in; done is not called any more. NULL is allowed. */
void xm_dns_free(xm_dns *d);

#endif
