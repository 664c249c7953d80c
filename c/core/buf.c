#include "buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 256 };

void xm_wipe(void *p, size_t n) {
  if (!n) return;
  memset(p, 0, n);
  __asm__ __volatile__("" : : "r"(p) : "memory"); /* the compiler must believe that somebody looks */
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

/* A secret must not stay behind in memory that realloc gave back. */
static char *grow(xm_buf *b, size_t cap) {
  char *bigger = b->secret ? malloc(cap) : realloc(b->data, cap);
  if (!bigger) return NULL;
  if (b->secret) {
    if (b->last) memcpy(bigger, b->data, b->last);
    xm_wipe(b->data, b->last);
    free(b->data);
  }
  return bigger;
}

char *xm_buf_reserve(xm_buf *b, size_t n) {
  size_t need, cap;
  char *bigger;
  if (b->cap - b->last >= n && b->data) return b->data + b->last;
  if (n > SIZE_MAX / 4 - xm_buf_len(b)) return NULL;
  /* Sliding costs a copy of what is unread: worth it only when that is the smaller part. */
  if (b->data && b->pos >= xm_buf_len(b)) slide(b);
  need = b->last + n;
  if (b->data && need <= b->cap) return b->data + b->last;
  for (cap = b->cap ? b->cap : SMALLEST; cap < need;) cap *= 2;
  bigger = grow(b, cap);
  if (!bigger) return NULL;
  b->data = bigger;
  b->cap = cap;
  return b->data + b->last;
}

int xm_buf_put(xm_buf *b, const void *bytes, size_t n) {
  char *to;
  if (n == 0) return XM_OK;
  to = xm_buf_reserve(b, n);
  if (!to) return XM_ENOMEM;
  memcpy(to, bytes, n);
  xm_buf_commit(b, n);
  return XM_OK;
}

int xm_buf_puts(xm_buf *b, const char *s) {
  return xm_buf_put(b, s, strlen(s));
}

int xm_buf_putc(xm_buf *b, char c) {
  return xm_buf_put(b, &c, 1);
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
