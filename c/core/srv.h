/* srv: which targets of SRV records are tried, and in which order (RFC 2782). Rank 0: knows no other room. Pure
 * functions, but for the dice they are given. */
#ifndef XM_SRV_H
#define XM_SRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XM_SRV_NAME = 253 }; /* bytes of the longest name of a host */

typedef struct xm_srv {
  const char *host; /* borrowed */
  uint16_t priority, weight, port;
  bool direct_tls; /* XEP-0368: the records of both services are mixed as if they were of one */
} xm_srv;

/* Letters, digits, hyphens, underscores and dots, from 1 to XM_SRV_NAME of them. */
bool xm_srv_is_host(const char *s);

/* An IPv6 address, as it is or with a zone, "fe80::1%eth0" (RFC 4007 11): what names an interface has no white space, no '/',
 * and not more bytes than the system takes. Whether there is one of that name is seen when it is dialled. */
bool xm_srv_is_ipv6(const char *s);

/* Moves those to be tried first to the front, in their order: the lower priority first, among equals at random, the
 * heavier the likelier. Returns how many that are, at most `want`; the rest is left in no order. Left out is what
 * nobody can dial: port 0, a name that is no host, no name (the target "." says that there is no such service). `dice`
 * fills n bytes with chance, like xm_rnd_bytes; where it fails, chance is left out. */
int xm_srv_order(xm_srv *list, int n, int want, int (*dice)(void *bytes, size_t n));

#endif
