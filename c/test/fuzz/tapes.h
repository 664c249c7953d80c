/* tapes: writes a tape's complete content, except for where its strings lie, into a buffer; and compares two of
 * these. */
#ifndef TAPES_H
#define TAPES_H

#include "fuzz.h"
#include "tape.h"

static inline void put(xm_buf *log, const void *bytes, size_t n) {
  MUST(xm_buf_put(log, bytes, n) == XM_OK);
}

static inline void log_tape(xm_buf *log, const xm_tape *t) {
  uint32_t i;
  for (i = 0; i < t->n; i++) {
    const xm_tape_rec *r = &t->recs[i];
    bool has_name = r->kind == XM_TAPE_OPEN || r->kind == XM_TAPE_ATTR;
    const uint32_t numbers[] = {r->kind, r->new_ns, r->attrs, r->next, has_name ? 0 : r->slot, r->name_len, r->text_len};
    put(log, numbers, sizeof numbers);
    if (has_name) put(log, xm_tape_name(t, i), r->name_len);
    put(log, xm_tape_str(t, r->text), r->text_len);
  }
}

static inline bool is_same(const xm_buf *a, const xm_buf *b) {
  size_t n = xm_buf_len(a);
  return n == xm_buf_len(b) && (n == 0 || memcmp(xm_buf_at(a), xm_buf_at(b), n) == 0);
}

#endif
