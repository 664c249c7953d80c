/* address: is an IP address public, that is, on the Internet and not in somebody's own network? Rank 0. */
#ifndef XH_ADDRESS_H
#define XH_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Public: not loopback, private, link-local, shared, reserved, multicast or unassigned (RFC 6890), neither itself nor
 * the IPv4 address that an IPv6 one contains (mapped, NAT64, 6to4). Of any family other than these two: false. */
bool xh_address_is_public(const struct sockaddr *sa);
bool xh_address_is_loopback(const struct sockaddr *sa);
/* Reads a numeric address: "192.0.2.7", "2001:db8::7". false: it is none. */
bool xh_address_read(const char *text, struct sockaddr_storage *sa);
/* Are they the same machine, as far as the addresses show: equal, or both loopback? */
bool xh_address_same(const struct sockaddr *a, const struct sockaddr *b);

#endif
