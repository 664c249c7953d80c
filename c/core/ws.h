/* ws: WebSocket frames (RFC 6455 5), from the client's side. Rank 1: uses err, buf, rnd. The only file that includes
 * wslay, and it uses only wslay's frame functions: no I/O, no stored messages, and callbacks only into this file.
 *
 *   in   while ((ev = xm_ws_next(w, &in, to, room, &n, e)) > XM_WS_MORE) ...
 *   out  xm_ws_put_text(w, parts, 3, &out); a pong when one is due
 *
 * What the peer has sent lies in a buf of the caller's and is taken out of it, frame by frame. However the input is cut
 * into pieces, the payload and the ends of messages are the same. Memory doesn't grow with the length that a frame
 * announces. */
#ifndef XM_WS_H
#define XM_WS_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

/* The status codes of RFC 6455 7.4.1 that are used here. */
enum { XM_WS_NORMAL = 1000, XM_WS_PROTOCOL = 1002, XM_WS_UNSUPPORTED = 1003, XM_WS_NO_CODE = 1005 };

enum { XM_WS_CONTROL = 125 /* bytes that a ping, a pong or a close may have */, XM_WS_OVERHEAD = 14 /* of a frame */ };

typedef enum xm_ws_event {
  XM_WS_MORE,   /* more input is needed */
  XM_WS_DATA,   /* *n bytes of a text message are in `to` */
  XM_WS_END,    /* the message has ended */
  XM_WS_PASSED, /* a frame without data (a ping, a pong, a fragment without payload): a peer may send many of them */
  XM_WS_CLOSED, /* the peer has sent a close frame: see xm_ws_code, xm_ws_reason. Nothing follows */
} xm_ws_event;

typedef struct xm_ws xm_ws;

/* Was this built with wslay? Without it xm_ws_new returns NULL. */
bool xm_ws_is_there(void);

xm_ws *xm_ws_new(void); /* NULL: no memory */
void xm_ws_free(xm_ws *w);
/* While `secret`, what was read is wiped. It is true at first, and set to false when the login is over. */
void xm_ws_set_secret(xm_ws *w, bool secret);

/* Takes what there is of the next frame out of `in`. `room` is at least 1; *n is 0 except for DATA. An xm_ws_event, or
 * XM_EFAIL (layer websocket): the peer has violated the protocol, and xm_ws_code is the code to send it. After that
 * only xm_ws_free and xm_ws_put_close may be called. */
int xm_ws_next(xm_ws *w, xm_buf *in, char *to, size_t room, size_t *n, xm_err *e);

unsigned xm_ws_code(const xm_ws *w);       /* of the close frame; XM_WS_NO_CODE: it has none */
const char *xm_ws_reason(const xm_ws *w);  /* its text, which may contain any bytes except NUL; "": none */

/* Outgoing frames, each complete and with its own masking key. 0; XM_ENOMEM; XM_EFAIL: the system has no randomness to
 * give. On failure `out` is as it was. */

/* A part of a message. */
typedef struct xm_ws_part {
  const char *s;
  size_t n;
} xm_ws_part;

int xm_ws_put_text(xm_ws *w, const xm_ws_part *parts, int n, xm_buf *out);
int xm_ws_put_ping(xm_ws *w, xm_buf *out);
/* Is a pong due? One answers the last ping, and with it those before (5.5.3). */
bool xm_ws_owes_pong(const xm_ws *w);
int xm_ws_put_pong(xm_ws *w, xm_buf *out);
/* A close frame. XM_WS_NO_CODE: an empty one. */
int xm_ws_put_close(xm_ws *w, unsigned code, xm_buf *out);

#endif
