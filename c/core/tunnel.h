/* tunnel: the dialogue with a proxy, until the way to a server stands: SOCKS5 (RFC 1928, with RFC 1929) or HTTP's CONNECT
 * (RFC 9110 9.3.6). Rank 1: knows err, buf, b64, head, srv. No I/O: bytes in, bytes out.
 *
 * A proxy is told one thing at a time: some lose what they get too early. Its answer is taken to the last byte and no further:
 * what is behind it is the server's. The address that it says it has connected to is passed over. */
#ifndef XM_TUNNEL_H
#define XM_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

typedef enum xm_proxy_kind { XM_PROXY_SOCKS5, XM_PROXY_HTTP } xm_proxy_kind;

/* A proxy, as a program names it. The strings are the holder's. */
typedef struct xm_proxy {
  xm_proxy_kind kind;
  bool resolves;     /* it looks up names, and nobody here does: SRV isn't asked for */
  const char *name;  /* for texts: its URL without user and password */
  const char *host;  /* where it is: ASCII, or an IP address without brackets */
  int port;
  const char *user, *password; /* of 1 to 255 bytes (SOCKS5); without a colon in `user` (CONNECT). NULL: none */
} xm_proxy;

typedef struct xm_tunnel xm_tunnel;

/* To `host`, a name or an IP address without brackets. The proxy is borrowed for the tunnel's life. NULL with `e` set: no
 * memory, or no proxy can be asked for such a host. */
xm_tunnel *xm_tunnel_new(const xm_proxy *proxy, const char *host, int port, xm_err *e);
void xm_tunnel_free(xm_tunnel *t); /* NULL is fine */

/* What the proxy is to be told, from the start and after each take; to be consumed by the caller. It is secret. */
xm_buf *xm_tunnel_out(xm_tunnel *t);

/* The next `n` bytes of the proxy's; *used of them were its answer. 1: the way stands. 0: there is more to come. XM_EFAIL
 * (layer proxy), and then nothing more is taken. */
int xm_tunnel_take(xm_tunnel *t, const char *bytes, size_t n, size_t *used, xm_err *e);
/* The proxy has gone before the way stood. XM_EFAIL. */
int xm_tunnel_end(xm_tunnel *t, xm_err *e);

/* Was the proxy asked for this host, and is no failure its own (a login that it wants, an answer that is none)? Then another host
 * may do better. */
bool xm_tunnel_is_of_target(const xm_tunnel *t);

#endif
