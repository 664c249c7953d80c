/* tunnel: the dialogue with a proxy that sets up a connection to a server: SOCKS5 (RFC 1928, with RFC 1929) or HTTP's
 * CONNECT (RFC 9110 9.3.6). Rank 1: uses err, buf, b64, head, srv. No I/O: bytes in, bytes out.
 *
 * One message is sent at a time, since some proxies lose what comes too early. The proxy's answer is read to its last
 * byte and no further: what follows is the server's. The address to which the proxy says it has connected is
 * ignored. */
#ifndef XM_TUNNEL_H
#define XM_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

typedef enum xm_proxy_kind { XM_PROXY_SOCKS5, XM_PROXY_HTTP } xm_proxy_kind;

/* A proxy, as configured by the program. The strings belong to whoever holds the struct. */
typedef struct xm_proxy {
  xm_proxy_kind kind;
  bool resolves;     /* the proxy resolves host names; no DNS query is made here, not even for SRV */
  const char *name;  /* for error texts: its URL without user and password */
  const char *host;  /* its own host name in ASCII, or its IP address without brackets */
  int port;
  const char *user, *password; /* SOCKS5: 1 to 255 bytes each; CONNECT: no colon in `user`. NULL: none */
} xm_proxy;

typedef struct xm_tunnel xm_tunnel;

/* A tunnel to `host`, a name or an IP address without brackets. The proxy is borrowed for the tunnel's life. NULL with
 * `e` set: no memory, or no proxy can be asked for such a host. */
xm_tunnel *xm_tunnel_new(const xm_proxy *proxy, const char *host, int port, xm_err *e);
void xm_tunnel_free(xm_tunnel *t); /* NULL is fine */

/* What is to be sent to the proxy, at the start and after each xm_tunnel_take; the caller consumes it. It may contain
 * the password. */
xm_buf *xm_tunnel_out(xm_tunnel *t);

/* The next `n` bytes from the proxy; *used of them belonged to its answer. 1: the tunnel is established. 0: more has to
 * come. XM_EFAIL (layer proxy): after that nothing more is accepted. */
int xm_tunnel_take(xm_tunnel *t, const char *bytes, size_t n, size_t *used, xm_err *e);
/* The proxy has closed the connection before the tunnel was established. Sets the error and returns XM_EFAIL. */
int xm_tunnel_end(xm_tunnel *t, xm_err *e);

/* Does a failure concern this host, and not the proxy itself (a login that it wants, an answer that is invalid)? Then
 * another host may be reachable. */
bool xm_tunnel_is_of_target(const xm_tunnel *t);

#endif
