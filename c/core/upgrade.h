/* upgrade: the HTTP upgrade to a WebSocket for XMPP, from the client's side (RFC 6455 4.1, RFC 7395 3.1). Rank 1: uses
 * err, buf, b64, rnd, sha1, head, url. No I/O: bytes in, bytes and a verdict out.
 *
 * Strict, since the answer may come from a cache, a proxy or a plain web server: only 101 is accepted, for our key,
 * with the subprotocol xmpp and without extensions. No redirect is followed: it would take the login to another place
 * than the one that was meant. */
#ifndef XM_UPGRADE_H
#define XM_UPGRADE_H

#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "url.h"

enum { XM_UPGRADE_INTERIM = 8 }; /* interim responses (1xx) that are accepted before the final one */

typedef struct xm_upgrade xm_upgrade;

xm_upgrade *xm_upgrade_new(void); /* NULL: no memory */
void xm_upgrade_free(xm_upgrade *u); /* NULL is fine */

/* Appends the request, with a new key. 0 or XM_EFAIL. */
int xm_upgrade_ask(xm_upgrade *u, const xm_url *url, xm_buf *out, xm_err *e);
/* The next `n` bytes of the answer, of which *used belong to its head; the others are frames already. 1: the WebSocket
 * is open. 0: more has to come. XM_EFAIL: layer websocket, condition "http-403" or the like, "not-websocket",
 * "subprotocol", "extension" or "invalid-response". */
int xm_upgrade_take(xm_upgrade *u, const char *bytes, size_t n, size_t *used, xm_err *e);

#endif
