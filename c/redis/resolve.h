/* resolve: a host's name to addresses, by a thread of its own, since getaddrinfo waits and a loop must not. Rank 0. */
#ifndef XR_RESOLVE_H
#define XR_RESOLVE_H

#include <netdb.h>
#include <stdbool.h>

typedef struct xr_resolve xr_resolve;

/* An address in figures is there at once; a name is looked up meanwhile. NULL: no memory, or no thread. */
xr_resolve *xr_resolve_new(const char *host, int port);
/* Becomes readable when it is over. -1: it is over already. */
int xr_resolve_fd(const xr_resolve *r);
/* true: it is over. Then the addresses, which stay its own, or NULL and why there are none. */
bool xr_resolve_done(xr_resolve *r, const struct addrinfo **addresses, const char **why);
/* Also while it is under way: the thread ends by itself. NULL is fine. */
void xr_resolve_free(xr_resolve *r);

#endif
