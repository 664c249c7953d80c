/* buf: a growable window of bytes. Rank 0: uses err and has.
 *
 *   data ...... pos ........... last ........... cap
 *         read       unread           free
 *
 * Bytes are put in at `last` and taken out at `pos`. A mark is a count of unread bytes; rolling back to it drops what
 * was put in since. */
#ifndef XM_BUF_H
#define XM_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "err.h"
#include "has.h"

/* The last `c` of n bytes; NULL: there is none. */
static inline void *xm_memrchr(const void *bytes, int c, size_t n) {
#if XM_HAS_MEMRCHR
  return memrchr(bytes, c, n);
#else
  const unsigned char *p = bytes;
  while (n > 0)
    if (p[--n] == (unsigned char)c) return (void *)(uintptr_t)(p + n);
  return NULL;
#endif
}

typedef struct xm_buf {
  char *data;
  size_t pos;  /* first unread byte */
  size_t last; /* first free byte; pos <= last <= cap */
  size_t cap;
  bool secret; /* zeroise on growth, on consuming and on free: it holds passwords or keys */
} xm_buf;

#define XM_BUF_INIT ((xm_buf){0})
#define XM_BUF_SECRET ((xm_buf){.secret = true})

static inline size_t xm_buf_len(const xm_buf *b) { return b->last - b->pos; }
static inline char *xm_buf_at(const xm_buf *b) { return b->data ? b->data + b->pos : NULL; }

/* Room for `n` more bytes, to be filled by the caller and counted in by xm_buf_commit. NULL: no memory, `b` unchanged. */
char *xm_buf_grow(xm_buf *b, size_t n); /* its slow path: there may be no room yet */
static inline char *xm_buf_reserve(xm_buf *b, size_t n) {
  return b->data && b->cap - b->last >= n ? b->data + b->last : xm_buf_grow(b, n);
}
static inline void xm_buf_commit(xm_buf *b, size_t n) { b->last += n; }

/* 0 or XM_ENOMEM (and then nothing was added). */
static inline int xm_buf_put(xm_buf *b, const void *bytes, size_t n) {
  char *to = n ? xm_buf_reserve(b, n) : NULL;
  if (!to) return n ? XM_ENOMEM : XM_OK;
  memcpy(to, bytes, n);
  xm_buf_commit(b, n);
  return XM_OK;
}
static inline int xm_buf_puts(xm_buf *b, const char *s) { return xm_buf_put(b, s, strlen(s)); }
static inline int xm_buf_putc(xm_buf *b, char c) { return xm_buf_put(b, &c, 1); }

/* Drops the first `n` unread bytes. */
void xm_buf_consume(xm_buf *b, size_t n);

static inline size_t xm_buf_mark(const xm_buf *b) { return xm_buf_len(b); }
void xm_buf_rollback(xm_buf *b, size_t mark);

/* Both empty the window: clear keeps its memory, free gives it back. Both zeroise what a secret window held. Freeing
 * twice is harmless. */
void xm_buf_clear(xm_buf *b);
void xm_buf_free(xm_buf *b);
/* The bytes of memory that an empty window holds; and giving them back. */
static inline size_t xm_buf_spare(const xm_buf *b) { return b->pos == b->last ? b->cap : 0; }
static inline void xm_buf_rest(xm_buf *b) {
  if (b->pos == b->last) xm_buf_free(b);
}

/* Zeroises `n` bytes in a way that no compiler optimizes away. */
void xm_wipe(void *p, size_t n);

#endif
