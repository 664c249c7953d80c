/* framing: cuts the XML stream that the modules above write into the messages of RFC 7395 3.3: each child of the
 * stream's root is a message of its own, with its namespaces; the stream's header becomes <open/>, its end <close/>.
 * Rank 1: uses ns, ws (the parts of a message). No I/O, and no memory of its own: a message's parts point into the
 * stream, except for what is inserted.
 *
 * The stream is our own, so it is well-formed, its names are plain, and it has neither comments nor CDATA. Anything
 * else is cut into the wrong pieces, or into none; nothing worse happens. */
#ifndef XM_FRAMING_H
#define XM_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

#include "ws.h"

#define XM_NS_FRAMING "urn:ietf:params:xml:ns:xmpp-framing"

typedef enum xm_piece_kind {
  XM_PIECE_HALF,    /* its end hasn't come yet */
  XM_PIECE_OPEN,    /* the stream's header */
  XM_PIECE_ELEMENT,
  XM_PIECE_CLOSE,   /* the stream's end tag */
  XM_PIECE_SPACE,   /* white space between elements, which has no message (RFC 7395 3.8) */
} xm_piece_kind;

enum { XM_PIECE_PARTS = 8 };

typedef struct xm_piece {
  size_t n;                         /* bytes of the stream that make it up */
  int count;
  xm_ws_part parts[XM_PIECE_PARTS]; /* the message */
} xm_piece;

/* How far the next piece was scanned; all zero: not at all. */
typedef struct xm_framing {
  size_t seen;    /* bytes from its front */
  size_t tag;     /* where the current tag begins */
  size_t first;   /* length of its first tag; 0: that isn't complete yet */
  unsigned depth; /* open elements, not counting the stream's root */
  bool in_tag;
  char quote;     /* of the attribute value that is open; 0: none */
} xm_framing;

/* `s` is the stream from the end of the last piece on, as far as it has come: there may be more of it with each call,
 * and each byte is scanned once. A piece is valid until the bytes of the stream are moved. */
xm_piece_kind xm_framing_next(xm_framing *f, const char *s, size_t n, xm_piece *p);

#endif
