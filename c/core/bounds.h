/* bounds: how large one stanza may be, in both directions: what is sent is checked against the same numbers as what
 * comes in, so that one end of this library never sends what the other would refuse. Rank 0: uses no other module. Used
 * by xml and out. */
#ifndef XM_BOUNDS_H
#define XM_BOUNDS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct xm_bounds {
  size_t stanza;       /* bytes of one child of the stream's root, tags included */
  size_t start_tag;    /* bytes of one tag */
  unsigned depth;      /* of elements; a stanza has depth 1 */
  unsigned attributes; /* of one element; and, counted apart, its namespace declarations: see xm_bounds_counts */
  unsigned nodes;      /* elements and texts in one stanza; and as many attributes below the stanza's own start tag */
  size_t ns;           /* bytes of one namespace name */
} xm_bounds;

typedef enum xm_bound {
  XM_BOUND_NONE,
  XM_BOUND_STANZA,
  XM_BOUND_START_TAG,
  XM_BOUND_DEPTH,
  XM_BOUND_ATTRIBUTES,
  XM_BOUND_NODES,
  XM_BOUND_NS,
  XM_BOUND_CLARK, /* bytes of namespaces in a stanza's attribute names ("{uri}local"): `ns` times XM_CLARK_NAMES */
} xm_bound;

enum { XM_CLARK_NAMES = 1024 };

/* What applies where no option says otherwise. */
#define XM_BOUNDS_DEFAULT \
  {.stanza = 10u << 20, .start_tag = 1u << 20, .depth = 128, .attributes = 256, .nodes = 500000, .ns = 1024}

/* The bound's value. */
size_t xm_bounds_most(const xm_bounds *b, xm_bound which);
/* What it counts, as in "attributes of an element"; and the option that sets it, as in "max_attributes". */
const char *xm_bounds_what(xm_bound which);
const char *xm_bounds_option(xm_bound which);

/* Does this attribute count? The three that a server adds to a stanza (to, from, xml:lang) don't: a stanza that is sent
 * with as many attributes as are allowed would otherwise arrive with too many. */
bool xm_bounds_counts(bool is_stanza, const char *name, size_t n);

#endif
