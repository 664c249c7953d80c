#include "table.h"

#include <stdlib.h>

static void link_in(xm_table *t, xm_node *n) {
  n->at = &t->buckets[n->hash & (t->cap - 1)];
  n->next = *n->at;
  if (n->next) n->next->at = &n->next;
  *n->at = n;
}

enum { USUAL_BUCKETS = 1024 }; /* so many buckets are kept, however few nodes there are */

static int resize(xm_table *t, size_t cap) {
  xm_table other = {.buckets = calloc(cap, sizeof(xm_node *)), .cap = cap, .n = t->n};
  size_t i;
  if (!other.buckets) return XM_ENOMEM;
  for (i = 0; i < t->cap; i++) {
    xm_node *n = t->buckets[i], *next;
    for (; n; n = next) {
      next = n->next;
      link_in(&other, n);
    }
  }
  free(t->buckets);
  *t = other;
  return XM_OK;
}

int xm_table_put(xm_table *t, xm_node *n) {
  if (t->n >= t->cap && resize(t, t->cap ? t->cap * 2 : 16) < 0) return XM_ENOMEM;
  link_in(t, n);
  t->n++;
  return XM_OK;
}

void xm_table_take(xm_table *t, xm_node *n) {
  *n->at = n->next;
  if (n->next) n->next->at = n->at;
  n->at = NULL;
  t->n--;
  if (t->cap <= USUAL_BUCKETS || t->n >= t->cap / 8) return;
  if (t->n == 0) xm_table_free(t);     /* many nodes have come and gone: all memory is freed */
  else (void)resize(t, t->cap / 4);    /* or most of it; if there is no memory for the smaller table, the large one
                                          stays */
}

void xm_table_replace(xm_node *n, xm_node *with) {
  with->at = n->at;
  with->next = n->next;
  *with->at = with;
  if (with->next) with->next->at = &with->next;
  n->at = NULL;
}

/* In all, the calls go through the buckets once, and once more each time the table shrinks. */
xm_node *xm_table_any(const xm_table *t, size_t *at) {
  if (t->n == 0) return NULL;
  while (!t->buckets[*at &= t->cap - 1]) ++*at;
  return t->buckets[*at];
}

void xm_table_free(xm_table *t) {
  free(t->buckets);
  *t = (xm_table){0};
}
