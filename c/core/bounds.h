/* bounds: how large one stanza may be, whichever way it goes: what is sent is held against the same numbers as what comes
 * in, so that one end of this library never sends what the other wouldn't take. Rank 0: knows no other room. Read by xml
 * and out. */
#ifndef XM_BOUNDS_H
#define XM_BOUNDS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct xm_bounds {
  size_t stanza;       /* bytes of one level-1 element, tags included */
  size_t start_tag;    /* bytes of one tag */
  unsigned depth;      /* of elements; a stanza has depth 1 */
  unsigned attributes; /* of one element, and namespace declarations of one element: see xm_bounds_counts */
  unsigned nodes;      /* elements and texts in one stanza; and as many attributes below its own start tag */
  size_t ns;           /* bytes of one namespace's name */
} xm_bounds;

typedef enum xm_bound {
  XM_BOUND_NONE,
  XM_BOUND_STANZA,
  XM_BOUND_START_TAG,
  XM_BOUND_DEPTH,
  XM_BOUND_ATTRIBUTES,
  XM_BOUND_NODES,
  XM_BOUND_NS,
  XM_BOUND_CLARK, /* the namespaces in the names of attributes, "{uri}local", of one stanza: XM_CLARK_NAMES of the longest */
} xm_bound;

enum { XM_CLARK_NAMES = 1024 };

/* What applies where no option says otherwise. */
#define XM_BOUNDS_DEFAULT \
  {.stanza = 10u << 20, .start_tag = 1u << 20, .depth = 128, .attributes = 256, .nodes = 500000, .ns = 1024}

/* The number itself. */
size_t xm_bounds_most(const xm_bounds *b, xm_bound which);
/* What is counted, "attributes of an element"; and the option that sets the bound, "max_attributes". */
const char *xm_bounds_what(xm_bound which);
const char *xm_bounds_option(xm_bound which);

/* Is this attribute counted? On the stanza itself not the three that a server puts in, or what was sent with as many as may
 * be would arrive with too many. */
bool xm_bounds_counts(bool is_stanza, const char *name, size_t n);

#endif
