/* head: the head of an HTTP/1.x response (RFC 9112), read from a hostile peer's bytes in any cutting. Rank 0: knows err, buf
 * and ascii.
 *
 * It is strict: lines end with CR LF, nothing is folded, a field's name stands right in front of its colon, and there is no
 * control character but the tab. What is behind the empty line is somebody else's: not a byte of it is taken. */
#ifndef XM_HEAD_H
#define XM_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum { XM_HEAD_BYTES = 16 * 1024, XM_HEAD_LINES = 100 }; /* of a head, at most; the empty line is counted in bytes only */

typedef struct xm_head xm_head;

/* Errors have this layer, condition "invalid-response" and no retry; their text begins with `who` ("the proxy"), a constant.
 * NULL: no memory. Free is harmless with NULL. */
xm_head *xm_head_new(xm_layer layer, const char *who);
void xm_head_free(xm_head *h);

/* The next `n` bytes; *used of them were the head's: all, until it is complete, and none once it is. 1: it is complete. 0: there is
 * more to come. XM_EFAIL: it's no such head, or there is no memory; nothing more is taken then. */
int xm_head_take(xm_head *h, const char *bytes, size_t n, size_t *used, xm_err *e);
/* It was an interim response (1xx): another head follows. */
void xm_head_again(xm_head *h);

/* Of a complete head: its status, 100 to 599; its reason, "" if it has none; fields by their name, in any case: how many there
 * are, the first one's value without the white space around it (NULL: there is none), and whether `token`, in any case, is
 * in the comma-separated list that they make together. */
int xm_head_status(const xm_head *h);
int xm_head_minor(const xm_head *h); /* 1 of HTTP/1.1 */
const char *xm_head_reason(const xm_head *h);
unsigned xm_head_fields(const xm_head *h, const char *name);
const char *xm_head_field(const xm_head *h, const char *name);
bool xm_head_has_token(const xm_head *h, const char *name, const char *token);

#endif
