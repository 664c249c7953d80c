/* srv: which targets of SRV records are tried, and in which order (RFC 2782). Rank 0: uses no other module. Pure
 * functions, except for the source of randomness that they are given. */
#ifndef XM_SRV_H
#define XM_SRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XM_SRV_NAME = 253 }; /* bytes of the longest host name */

typedef struct xm_srv {
  const char *host; /* borrowed */
  uint16_t priority, weight, port;
  bool direct_tls; /* XEP-0368: the records of both services are mixed as if they belonged to one */
} xm_srv;

/* Is it a host name: 1 to XM_SRV_NAME letters, digits, hyphens, underscores and dots? */
bool xm_srv_is_host(const char *s);

/* Is it an IPv6 address, without a zone or with one, "fe80::1%eth0" (RFC 4007 11)? The zone names an interface: no
 * white space, no '/', and not longer than the system allows. Whether there is such an interface is only found out by
 * dialling. */
bool xm_srv_is_ipv6(const char *s);

/* Moves the targets to be tried to the front, in their order: lower priorities first, among equal ones at random, the
 * heavier the likelier. Returns how many they are, at most `want`; the rest of the list is left in no order. Targets
 * that can't be dialled are left out: port 0, a name that is no host name, an empty name (the target "." says that
 * there is no such service). `dice` fills n bytes at random, like xm_rnd_bytes; if it fails, the choice is not
 * random. */
int xm_srv_order(xm_srv *list, int n, int want, int (*dice)(void *bytes, size_t n));

#endif
