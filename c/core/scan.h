/* scan: reads ordinary stanzas in one pass, straight onto the tape. Rank 1: knows err, tape, bounds, ns, span, utf8; xml's own.
 *
 * RFC 6120 11 leaves little of XML, and stanzas have less: elements and attributes with short names in ASCII and without
 * prefixes (but xml:lang), default namespaces, text, references. That is read here. Of everything else, of what is wrong and
 * of what crosses a bound nothing is decided: the stanza is left to expat, whole. So expat is the authority, and what is
 * taken here must be what it takes, to the same tape.
 *
 * Nor is anything waited for that expat would refuse: a byte that no ordinary stanza can have in its place is left at once.
 * What has been read is not read again when more comes, but for a few bytes, so a peer that drips costs what it sends. */
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
  XM_SCAN_MORE,   /* what is there is the beginning of an ordinary stanza */
  XM_SCAN_STANZA, /* one is on the tape, complete; it has `at` bytes */
  XM_SCAN_LEFT,   /* it isn't ordinary: expat is to read it, from its first byte */
} xm_scanned;

/* Offsets are from the stanza's first byte. */
typedef struct xm_scan_span {
  uint32_t at, n;
} xm_scan_span;

typedef struct xm_scan {
  uint32_t at;     /* what lies before this is on the tape */
  uint32_t seen;   /* what lies before this has been read of the start tag that begins there */
  char quote;      /* inside of an attribute's value that ends with this one; 0: not inside */
  bool is_empty;   /* the start tag is the whole element */
  unsigned nodes, attributes; /* of the stanza, counted as xml counts them */
  xm_scan_span name;
  unsigned n;      /* attributes of the start tag, xmlns among them */
  unsigned ns;     /* the one that is xmlns, counted from 1; 0: none */
  struct xm_scan_attribute {
    xm_scan_span name, value;
    bool is_coded; /* its value has references or white space, and is not what it looks like */
  } attrs[XM_SCAN_ATTRIBUTES];
} xm_scan;

/* Where a stanza is to begin. */
static inline void xm_scan_begin(xm_scan *s) { s->at = s->seen = 0; }
/* Is a part of one on the tape, or was looked at? */
static inline bool xm_scan_is_inside(const xm_scan *s) { return s->at || s->seen; }

/* Reads on. The stanza begins at `from`, of which `n` bytes are there, all that were there at the last call among them; `ns`
 * is the default namespace around it, and the stream's. An xm_scanned or XM_ENOMEM. After all but MORE another begins. */
int xm_scan_stanza(xm_scan *s, xm_tape *t, const xm_bounds *bounds, const char *ns, const char *from, size_t n);

#endif
