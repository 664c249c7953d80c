/* head: parses the head of an HTTP/1.x response (RFC 9112), which may come from a hostile peer, and in pieces of any
 * size. Rank 0: uses err, buf and ascii.
 *
 * It is strict: lines end with CR LF, no line is folded, a field's name is directly followed by its colon, and the only
 * control character is the tab. Not a byte behind the empty line is taken: what follows isn't part of the head. */
#ifndef XM_HEAD_H
#define XM_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum { XM_HEAD_BYTES = 16 * 1024, XM_HEAD_LINES = 100 }; /* limits of a head; the empty line counts in bytes only */

typedef struct xm_head xm_head;

/* Errors have this layer, condition "invalid-response" and no retry; their text begins with `who` ("the proxy"), a
 * string that has to outlive the xm_head. NULL: no memory. xm_head_free allows NULL. */
xm_head *xm_head_new(xm_layer layer, const char *who);
void xm_head_free(xm_head *h);

/* Takes the next `n` bytes; *used: how many of them are the head's: all, until it is complete, and none once it is. 1:
 * it is complete. 0: there is more to come. XM_EFAIL: it isn't such a head, or there is no memory; nothing more is
 * taken then. */
int xm_head_take(xm_head *h, const char *bytes, size_t n, size_t *used, xm_err *e);
/* After an interim response (1xx): another head follows. */
void xm_head_again(xm_head *h);

/* Of a complete head: its status, 100 to 599; its reason, "" if it has none; fields by their name, ignoring case: how
 * many there are, the value of the first one without the white space around it (NULL: there is none), and whether
 * `token`, ignoring case, is in the comma-separated list that all of them form together. */
int xm_head_status(const xm_head *h);
int xm_head_minor(const xm_head *h); /* 1 of HTTP/1.1 */
const char *xm_head_reason(const xm_head *h);
unsigned xm_head_fields(const xm_head *h, const char *name);
const char *xm_head_field(const xm_head *h, const char *name);
bool xm_head_has_token(const xm_head *h, const char *name, const char *token);

#endif
