/* framing: the XML stream that the rooms above write, in the pieces that RFC 7395 3.3 sends it by: each element of level 1 is a
 * message of its own, with its namespaces; the stream's header is <open/>, its end <close/>. Rank 1: knows ns, ws (the parts of a
 * message). No I/O, and no memory of its own: a piece's parts lie in the stream, but for what is put in between.
 *
 * The stream is our own, so it is well-formed, its names are plain, and it has neither comments nor CDATA. What is none comes to
 * other pieces, or to none, and to nothing worse. */
#ifndef XM_FRAMING_H
#define XM_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

#include "ws.h"

#define XM_NS_FRAMING "urn:ietf:params:xml:ns:xmpp-framing"

typedef enum xm_piece_kind {
  XM_PIECE_HALF,    /* its end isn't there yet */
  XM_PIECE_OPEN,    /* the stream's header */
  XM_PIECE_ELEMENT,
  XM_PIECE_CLOSE,   /* the stream's end tag */
  XM_PIECE_SPACE,   /* white space between elements, which has no message (RFC 7395 3.8) */
} xm_piece_kind;

enum { XM_PIECE_PARTS = 8 };

typedef struct xm_piece {
  size_t n;                         /* bytes of the stream that it is made of */
  int count;
  xm_ws_part parts[XM_PIECE_PARTS]; /* the message */
} xm_piece;

/* How far the next piece was looked at; all zero: not at all. */
typedef struct xm_framing {
  size_t seen;    /* bytes from its front */
  size_t tag;     /* where the tag at hand begins */
  size_t first;   /* how long its first tag is; 0: that isn't complete */
  unsigned depth; /* open elements, the stream's root not among them */
  bool in_tag;
  char quote;     /* of the value that is open in it; 0: none */
} xm_framing;

/* The stream from the end of the last piece on, as far as it has come: each time it is asked there is more of it, and each byte is
 * looked at once. A piece is out until its bytes are moved. */
xm_piece_kind xm_framing_next(xm_framing *f, const char *s, size_t n, xm_piece *p);

#endif
