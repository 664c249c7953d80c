/* table: a hash table of nodes with 64-bit hashes, and a hash function for strings. Rank 0: uses err.
 *
 * A node is the first member of what is stored. Several nodes may have the same hash, whether they are equal or not:
 * the caller compares. */
#ifndef XM_TABLE_H
#define XM_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef struct xm_node {
  struct xm_node *next, **at; /* the next node in its bucket, and the pointer that points to this one; `at` NULL: it
                                 is in no table */
  uint64_t hash;
} xm_node;

/* All zero: empty. */
typedef struct xm_table {
  xm_node **buckets;
  size_t cap; /* a power of two, or 0 */
  size_t n;
} xm_table;

/* Puts it in by its hash. 0 or XM_ENOMEM. */
int xm_table_put(xm_table *t, xm_node *n);
void xm_table_take(xm_table *t, xm_node *n); /* removes it; the order of those with the same hash may change */
/* Puts `with` in the place of `n`; they must have the same hash. */
void xm_table_replace(xm_node *n, xm_node *with);
/* Any node, for a caller that removes them all one by one: *at is 0 at first, and says where the search goes on. NULL:
 * the table is empty. */
xm_node *xm_table_any(const xm_table *t, size_t *at);
/* Frees the table's own memory; the nodes are the caller's. */
void xm_table_free(xm_table *t);

/* The first node with this hash, or the next one after `from`; NULL: there is none. */
static inline xm_node *xm_table_find(const xm_table *t, const xm_node *from, uint64_t hash) {
  xm_node *n = from ? from->next : t->cap ? t->buckets[hash & (t->cap - 1)] : NULL;
  while (n && n->hash != hash) n = n->next;
  return n;
}

/* FNV-1a: mixes a string into `h`, which begins as a number that no peer can know. The end of the string is mixed in as
 * no byte can be, so that two strings don't count as one. */
static inline uint64_t xm_mix(uint64_t h, const char *s, size_t n) {
  static const uint64_t prime = 0x100000001B3u;
  size_t i;
  for (i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * prime;
  return (h ^ 0x100) * prime;
}

/* Makes the final hash, whose low bits choose the bucket. */
static inline uint64_t xm_mixed(uint64_t h) { return h ^ h >> 32; }

#endif
