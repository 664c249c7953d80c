/* failing: a heap whose nth request fails, for tests that compile modules into themselves:
 *
 *   #include "failing.h"        (from here on malloc and the others are this heap's)
 *   #include "../core/tape.c"
 *   #include "failing_off.h"    (and the C library's again)
 *
 *   do { heap_fails(n++, false); ... } while (heap_is_well());      fails at every place in turn, until nothing fails
 */
#ifndef FAILING_H
#define FAILING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static struct heap {
  bool armed;
  bool for_good; /* after the first failure, every request fails */
  long left;     /* requests until one fails */
  long noes;
  long live; /* blocks that haven't been freed */
} heap;

static bool heap_refuses(void) {
  if (!heap.armed) return false;
  if (heap.left-- > 0 || (heap.noes && !heap.for_good)) return false;
  heap.noes++;
  return true;
}

static inline void heap_fails(long n, bool for_good) {
  heap.armed = true;
  heap.for_good = for_good;
  heap.left = n;
  heap.noes = 0;
}

/* From now on no request fails. Returns whether one had failed. */
static inline bool heap_is_well(void) {
  heap.armed = false;
  return heap.noes > 0;
}

static inline void *heap_malloc(size_t n) {
  void *p = heap_refuses() ? NULL : malloc(n ? n : 1);
  heap.live += p != NULL;
  return p;
}

static inline void *heap_calloc(size_t count, size_t n) {
  void *p = heap_malloc(count * n);
  return p ? memset(p, 0, count * n) : NULL;
}

static inline void *heap_realloc(void *p, size_t n) {
  void *to = heap_refuses() ? NULL : realloc(p, n);
  heap.live += to && !p;
  return to;
}

static inline void heap_free(void *p) {
  heap.live -= p != NULL;
  free(p);
}

static inline char *heap_strdup(const char *s) {
  char *to = heap_malloc(strlen(s) + 1);
  return to ? strcpy(to, s) : NULL;
}

#endif

#define malloc heap_malloc
#define calloc heap_calloc
#define realloc heap_realloc
#define free heap_free
#define strdup heap_strdup
