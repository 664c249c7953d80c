#include "buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 256 };

void xm_wipe(void *p, size_t n) {
  if (!n) return;
  memset(p, 0, n);
  __asm__ __volatile__("" : : "r"(p) : "memory"); /* the compiler must assume that the bytes are read */
}

/* Moves the unread bytes to the front, so that all the free room is in one piece behind them. */
static void slide(xm_buf *b) {
  size_t n = xm_buf_len(b);
  if (b->pos == 0) return;
  memmove(b->data, b->data + b->pos, n);
  if (b->secret) xm_wipe(b->data + n, b->pos);
  b->pos = 0;
  b->last = n;
}

/* A secret must not be left in memory that realloc has given back. */
static char *larger(xm_buf *b, size_t cap) {
  char *bigger = b->secret ? malloc(cap) : realloc(b->data, cap);
  if (!bigger) return NULL;
  if (b->secret) {
    if (b->last) memcpy(bigger, b->data, b->last);
    xm_wipe(b->data, b->last);
    free(b->data);
  }
  return bigger;
}

char *xm_buf_grow(xm_buf *b, size_t n) {
  size_t need, cap;
  char *bigger;
  if (n > SIZE_MAX / 4 - xm_buf_len(b)) return NULL;
  /* Sliding copies what is unread, which is worth it only when that is the smaller part. */
  if (b->data && b->pos >= xm_buf_len(b)) slide(b);
  need = b->last + n;
  if (b->data && need <= b->cap) return b->data + b->last;
  for (cap = b->cap ? b->cap : SMALLEST; cap < need;) cap *= 2;
  bigger = larger(b, cap);
  if (!bigger) return NULL;
  b->data = bigger;
  b->cap = cap;
  return b->data + b->last;
}

void xm_buf_consume(xm_buf *b, size_t n) {
  if (n == 0) return;
  if (b->secret) xm_wipe(xm_buf_at(b), n);
  b->pos += n;
  if (b->pos == b->last) b->pos = b->last = 0;
}

void xm_buf_rollback(xm_buf *b, size_t mark) {
  size_t extra = xm_buf_len(b) - mark;
  if (b->secret && extra) xm_wipe(b->data + b->last - extra, extra);
  b->last -= extra;
}

void xm_buf_clear(xm_buf *b) {
  if (b->secret && b->data) xm_wipe(b->data, b->last);
  b->pos = b->last = 0;
}

void xm_buf_free(xm_buf *b) {
  bool secret = b->secret;
  xm_buf_clear(b);
  free(b->data);
  *b = (xm_buf){.secret = secret};
}
