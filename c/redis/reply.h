/* reply: what Redis says (RESP2), read by hiredis's reader from bytes in any cutting. The one door to hiredis; knows neither
 * sockets nor Lua. Rank 0.
 *
 * A reply becomes a row of flat items instead of a tree of hiredis's own, so that what a hostile server announces (an array
 * of 2^31 elements) takes no memory before it has come, and all of it has one bound. */
#ifndef XR_REPLY_H
#define XR_REPLY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct xr_reader xr_reader;

typedef enum xr_kind { XR_STRING, XR_STATUS, XR_ERROR, XR_INTEGER, XR_NIL, XR_ARRAY } xr_kind;

typedef struct xr_item {
  xr_kind kind;
  long long number; /* an integer's; of an array how many elements follow, each with its own; of the others their length */
  size_t at;        /* of a text: where it is in the reader's bytes */
} xr_item;

/* NULL: no memory. `max`: bytes of one reply, as it comes and as it is kept. */
xr_reader *xr_reader_new(size_t max);
void xr_reader_free(xr_reader *r); /* NULL is fine */
/* What has come. Nothing more is taken behind a fault. */
void xr_reader_feed(xr_reader *r, const char *bytes, size_t n);
/* Is there a whole reply? It stays until it is dropped. */
bool xr_reader_has(xr_reader *r);
const xr_item *xr_reader_items(const xr_reader *r, size_t *n);
const char *xr_reader_bytes(const xr_reader *r);
void xr_reader_drop(xr_reader *r);
/* What is wrong with what has come, in a word, and `text`; NULL: nothing. */
const char *xr_reader_fault(const xr_reader *r, const char **text);

#endif
