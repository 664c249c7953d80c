/* table: things that are found by a 64-bit hash, and the hash of a string. Rank 0: knows err.
 *
 * A node lies first in what is found. Several may have the same hash, whether they are equal or not: who asks looks. */
#ifndef XM_TABLE_H
#define XM_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef struct xm_node {
  struct xm_node *next, **at; /* in its bucket, and what points to it there; `at` NULL: it is in no table */
  uint64_t hash;
} xm_node;

/* All zero: empty. */
typedef struct xm_table {
  xm_node **buckets;
  size_t cap; /* a power of two, or 0 */
  size_t n;
} xm_table;

/* By its hash. 0 or XM_ENOMEM. */
int xm_table_put(xm_table *t, xm_node *n);
void xm_table_take(xm_table *t, xm_node *n); /* the order of those with the same hash may change */
/* `with` takes the place of `n`, whose hash it has. */
void xm_table_replace(xm_node *n, xm_node *with);
/* Some node, for who takes them all: `at` begins as 0, and is where the search goes on. NULL: it is empty. */
xm_node *xm_table_any(const xm_table *t, size_t *at);
/* Its own memory; what is in it is the caller's. */
void xm_table_free(xm_table *t);

/* The first node with this hash, or the next one after `from`; NULL: there is none. */
static inline xm_node *xm_table_find(const xm_table *t, const xm_node *from, uint64_t hash) {
  xm_node *n = from ? from->next : t->cap ? t->buckets[hash & (t->cap - 1)] : NULL;
  while (n && n->hash != hash) n = n->next;
  return n;
}

/* FNV-1a, to go on with from `h`, which begins as what a peer can't know. What ends a string is no byte, so that two strings
 * are not one. */
static inline uint64_t xm_mix(uint64_t h, const char *s, size_t n) {
  static const uint64_t prime = 0x100000001B3u;
  size_t i;
  for (i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * prime;
  return (h ^ 0x100) * prime;
}

/* The hash that comes of it: its low bits choose the bucket. */
static inline uint64_t xm_mixed(uint64_t h) { return h ^ h >> 32; }

#endif
