/* filters: which of many filters a stanza matches. Rank 2: uses err, tape, jid, spelled, table. Holds no functions: a
 * filter is the number of a slot. Called by the binding, which has one set for callbacks and one for taps.
 *
 * What a filter asks for, besides the stanza's name, are words: an id, a sender, namespaces, a type. Words are found by
 * a hash, so a match costs one lookup for each word of the stanza, and one comparison for each filter that has no
 * words, or whose most selective word (id, then from, has, xmlns, type) the stanza has: ten thousand filters with other
 * words cost nothing. */
#ifndef XM_FILTERS_H
#define XM_FILTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "tape.h"

typedef struct xm_filters xm_filters;

/* Strings are copied; NULL matches anything. A `from` without a resourcepart matches all of its resources; addresses
 * are compared as spelled.h says, since a server of RFC 6122 may write them otherwise. */
typedef struct xm_filter {
  const char *name, *type;
  const char *xmlns; /* of the first child element */
  const char *has;   /* of any child element */
  const char *from, *id;
} xm_filter;

/* A stanza's words, where there is no tape. NULL: it has none. */
typedef struct xm_filter_stanza {
  const char *name, *type, *from, *id;
  const char *const *children; /* the namespaces of its child elements, in order */
  size_t n;
} xm_filter_stanza;

/* NULL: no memory. */
xm_filters *xm_filters_new(void);
void xm_filters_free(xm_filters *f); /* NULL is allowed */

/* The new slot's number (from 1, never used again), or XM_ENOMEM. NULL matches every stanza. */
int64_t xm_filters_add(xm_filters *f, const xm_filter *filter);
/* false: there is no such slot, or not any more. */
bool xm_filters_remove(xm_filters *f, uint64_t slot);
bool xm_filters_holds(const xm_filters *f, uint64_t slot);
/* The newest slot's number; 0: there was none yet. */
uint64_t xm_filters_last(const xm_filters *f);
/* The first slot after `after` (0: the first of all), whatever it matches; 0: there is none. */
uint64_t xm_filters_after(const xm_filters *f, uint64_t after);

/* How many filters match the stanza on the tape. `slots` gets the first `most` of those that were found, in the order
 * of installation if these are all. Allocates nothing. What a filter matches never changes, so a caller that goes
 * through the slots while others come and go needs only ask xm_filters_holds. */
size_t xm_filters_match(xm_filters *f, const xm_tape *t, uint64_t *slots, size_t most);
size_t xm_filters_match_like(xm_filters *f, const xm_filter_stanza *s, uint64_t *slots, size_t most);

#endif
