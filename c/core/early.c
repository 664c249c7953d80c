#include "early.h"

#include <stdlib.h>

int xm_early_put(xm_early *e, const xm_tape *stanza) {
  size_t bytes = sizeof *e->list + xm_tape_used(stanza);
  xm_tape *list;
  if (e->n == XM_EARLY_STANZAS || bytes > XM_EARLY_BYTES - e->bytes) return XM_ELIMIT;
  list = realloc(e->list, (e->n + 1) * sizeof *list);
  if (!list) return XM_ENOMEM;
  e->list = list;
  if (xm_tape_copy(&list[e->n], stanza) < 0) return XM_ENOMEM;
  e->n++;
  e->bytes += bytes;
  return XM_OK;
}

const xm_tape *xm_early_next(xm_early *e) {
  if (e->next > 0) xm_tape_free(&e->list[e->next - 1]);
  if (e->next < e->n) return &e->list[e->next++];
  xm_early_free(e);
  return NULL;
}

const xm_tape *xm_early_peek(const xm_early *e, unsigned i) {
  return i < e->n - e->next ? &e->list[e->next + i] : NULL;
}

void xm_early_free(xm_early *e) {
  unsigned i;
  for (i = 0; i < e->n; i++) xm_tape_free(&e->list[i]);
  free(e->list);
  *e = XM_EARLY_INIT;
}
