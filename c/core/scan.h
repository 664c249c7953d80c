/* scan: reads ordinary stanzas in one pass, straight onto the tape. Rank 1: uses err, tape, bounds, ns, span, utf8;
 * only xml includes it.
 *
 * RFC 6120 11 allows only a part of XML, and stanzas use even less: elements and attributes with short ASCII names
 * without prefixes (except xml:lang), default namespaces, text, references. That is read here. About anything else,
 * about anything that is wrong and anything that crosses a bound, nothing is decided here: the whole stanza is left to
 * expat. So expat is the authority, and whatever is accepted here must be accepted by expat, too, with the same tape as
 * the result.
 *
 * Nor does scan wait for more of something that expat would refuse: at a byte that no ordinary stanza can have in its
 * place it gives up at once. When more comes, what has been read is not read again, except for a few bytes, so a peer
 * that sends byte by byte costs no more than what it sends. */
#ifndef XM_SCAN_H
#define XM_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "err.h"
#include "tape.h"

enum { XM_SCAN_ATTRIBUTES = 16 }; /* of one element, at most */

typedef enum xm_scanned {
  XM_SCAN_MORE,   /* what has come so far is the beginning of an ordinary stanza */
  XM_SCAN_STANZA, /* a complete one is on the tape; it had `at` bytes */
  XM_SCAN_LEFT,   /* it isn't ordinary: expat has to read it, from its first byte on */
} xm_scanned;

/* Offsets are from the stanza's first byte. */
typedef struct xm_scan_span {
  uint32_t at, n;
} xm_scan_span;

typedef struct xm_scan {
  uint32_t at;     /* everything before this is on the tape */
  uint32_t seen;   /* if not 0: the start tag that begins at `at` has been read up to here */
  char quote;      /* the quote that ends the attribute's value that is being read; 0: none is */
  bool is_empty;   /* the start tag is an empty-element tag */
  unsigned nodes, attributes; /* of the stanza, counted as xml counts them */
  xm_scan_span name;
  unsigned n;      /* attributes of the start tag, xmlns among them */
  unsigned ns;     /* which of them is xmlns, counted from 1; 0: none */
  struct xm_scan_attribute {
    xm_scan_span name, value;
    bool is_coded; /* its value has references or white space, so it has to be decoded */
  } attrs[XM_SCAN_ATTRIBUTES];
} xm_scan;

/* To be called where a stanza is going to begin. */
static inline void xm_scan_begin(xm_scan *s) { s->at = s->seen = 0; }
/* Has a part of a stanza been read? */
static inline bool xm_scan_is_inside(const xm_scan *s) { return s->at || s->seen; }

/* Reads on. The stanza begins at `from`, of which `n` bytes are there, including all that were there at the last call;
 * `ns` is the default namespace around it, which is the stream's. Returns an xm_scanned, or XM_ENOMEM. After anything
 * but MORE the next stanza begins. */
int xm_scan_stanza(xm_scan *s, xm_tape *t, const xm_bounds *bounds, const char *ns, const char *from, size_t n);

#endif
