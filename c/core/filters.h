/* filters: which of many filters want a stanza. Rank 2: knows err, tape, jid, spelled, table. Holds no function: a filter is
 * a slot number. Called by the binding, which has one set for callbacks and one for taps.
 *
 * What a filter asks for, besides the stanza's name, is a word: an id, a sender, a namespace, a type. Words are found by a
 * hash, so a stanza costs a look for each of its own words and a comparison for each filter whose most telling word (id, then
 * from, has, xmlns, type) it has, or that has none: ten thousand filters with other words cost it nothing. */
#ifndef XM_FILTERS_H
#define XM_FILTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "tape.h"

typedef struct xm_filters xm_filters;

/* Strings are copied; NULL asks for nothing. A `from` without resourcepart stands for all of its resources; addresses are
 * compared as spelled says: a server of RFC 6122 writes none of them otherwise, and to it they are one. */
typedef struct xm_filter {
  const char *name, *type;
  const char *xmlns; /* of the first child element */
  const char *has;   /* of any child element */
  const char *from, *id;
} xm_filter;

/* A stanza's own words, where there is no tape. NULL: it has none. */
typedef struct xm_filter_stanza {
  const char *name, *type, *from, *id;
  const char *const *children; /* the namespaces of its child elements, in order */
  size_t n;
} xm_filter_stanza;

/* NULL: no memory. */
xm_filters *xm_filters_new(void);
void xm_filters_free(xm_filters *f); /* NULL is fine */

/* The new slot's number (never used again), from 1, or XM_ENOMEM. NULL wants every stanza. */
int64_t xm_filters_add(xm_filters *f, const xm_filter *filter);
/* false: no such slot (any more). */
bool xm_filters_remove(xm_filters *f, uint64_t slot);
bool xm_filters_holds(const xm_filters *f, uint64_t slot);
/* The newest slot's number; 0: there was none yet. */
uint64_t xm_filters_last(const xm_filters *f);
/* The first slot after `after` (0: of all), whatever it wants; 0: none. */
uint64_t xm_filters_after(const xm_filters *f, uint64_t after);

/* How many want the stanza on the tape. The first `most` of those that were found are in `slots`; in order of installation,
 * if these are all. Takes no memory. What a filter wants never changes, so a caller that goes through them while others come
 * and go needs only ask xm_filters_holds. */
size_t xm_filters_match(xm_filters *f, const xm_tape *t, uint64_t *slots, size_t most);
size_t xm_filters_match_like(xm_filters *f, const xm_filter_stanza *s, uint64_t *slots, size_t most);

#endif
