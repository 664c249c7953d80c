/* early: copies of the stanzas that come before the session that they belong to, in order, up to a bound. Rank 1: uses
 * tape. Called by link.
 *
 * For the server a session may begin with the request for it, and the first stanzas may then come before its answer.
 * The bound is what a server to which we have logged in may cost: what doesn't fit is refused, as dropping it would be
 * a loss that nobody is told of. */
#ifndef XM_EARLY_H
#define XM_EARLY_H

#include <stddef.h>

#include "tape.h"

enum { XM_EARLY_STANZAS = 100, XM_EARLY_BYTES = 1 << 20 /* of memory */ };

typedef struct xm_early {
  xm_tape *list;
  unsigned n, next; /* how many there are; the next one to give out */
  size_t bytes;     /* of memory, in all */
} xm_early;

#define XM_EARLY_INIT ((xm_early){0})

/* Appends a copy of the stanza on the tape. 0; XM_ENOMEM; XM_ELIMIT: it doesn't fit. Not after xm_early_next. */
int xm_early_put(xm_early *e, const xm_tape *stanza);
/* The next one, valid until the next call; NULL: there is none. */
const xm_tape *xm_early_next(xm_early *e);
/* One of those that are still to be given out, which stays there; 0: the next one. NULL: there are no more. */
const xm_tape *xm_early_peek(const xm_early *e, unsigned i);
void xm_early_free(xm_early *e);

#endif
