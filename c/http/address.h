/* address: is an address one of the open Internet, or of somebody's own house? Rank 0. */
#ifndef XH_ADDRESS_H
#define XH_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Not loopback, private, link-local, shared, reserved, a group's or nobody's (RFC 6890), neither by itself nor as the IPv4
 * address that an IPv6 one stands for (mapped, NAT64, 6to4). Of another family than these two: false. */
bool xh_address_is_public(const struct sockaddr *sa);
bool xh_address_is_loopback(const struct sockaddr *sa);
/* In figures: "192.0.2.7", "2001:db8::7". false: it is none. */
bool xh_address_read(const char *text, struct sockaddr_storage *sa);
/* The same machine, as far as that can be told: the same address, or both loopback. */
bool xh_address_same(const struct sockaddr *a, const struct sockaddr *b);

#endif
