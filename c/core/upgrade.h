/* upgrade: from HTTP to a WebSocket with XMPP on it, as a client asks for it (RFC 6455 4.1, RFC 7395 3.1). Rank 1: knows err, buf,
 * b64, rnd, sha1, head, url. No I/O: bytes in, bytes out, a verdict.
 *
 * Strict, since a cache, a proxy or a web server may be what answers: nothing but 101, for our key, for the subprotocol xmpp, and
 * without extensions. No redirect is followed: it would lead the login to another place than the one it was meant for. */
#ifndef XM_UPGRADE_H
#define XM_UPGRADE_H

#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "url.h"

enum { XM_UPGRADE_INTERIM = 8 }; /* responses of 1xx that may come before the one that counts */

typedef struct xm_upgrade xm_upgrade;

xm_upgrade *xm_upgrade_new(void); /* NULL: no memory */
void xm_upgrade_free(xm_upgrade *u); /* NULL is fine */

/* Appends the request, with a key of its own. 0 or XM_EFAIL. */
int xm_upgrade_ask(xm_upgrade *u, const xm_url *url, xm_buf *out, xm_err *e);
/* The next `n` bytes of the answer, of which *used are the head's; the others are frames already. 1: it is a WebSocket. 0: there is
 * more to come. XM_EFAIL: layer websocket, condition "http-403", "not-websocket", "subprotocol", "extension" or
 * "invalid-response". */
int xm_upgrade_take(xm_upgrade *u, const char *bytes, size_t n, size_t *used, xm_err *e);

#endif
