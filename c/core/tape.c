#include "tape.h"

#include <stdlib.h>
#include <string.h>

#include "rnd.h"

enum { USUAL_RECS = 4096, USUAL_BYTES = 256 * 1024, USUAL_LEVELS = 16, MOST_ATTRS = (1 << 29) - 1 };

/* An open hash table, whose hash no peer can predict: cells with an offset, 0 if empty, at least twice as many as are
 * used. */
struct xm_tape_ns_table {
  uint64_t seed;
  uint32_t n, cap; /* a power of two */
  struct cell {
    uint32_t at, len;
    uint64_t hash;
  } cells[];
};

void xm_tape_free(xm_tape *t) {
  free(t->recs);
  free(t->counts);
  free(t->long_ns);
  xm_buf_free(&t->bytes);
  *t = (xm_tape){.secret = t->secret};
}

/* Would every offset still fit in 32 bits with `n` bytes more and a NUL? */
static bool fits(const xm_tape *t, size_t n) { return n < UINT32_MAX - 1 - t->bytes.last; }

static int add_rec_room(xm_tape *t) {
  uint32_t cap = t->cap ? t->cap * 2 : 32;
  xm_tape_rec *bigger;
  size_t size;
  if (cap < t->cap || __builtin_mul_overflow(sizeof *bigger, (size_t)cap, &size)) return XM_ELIMIT;
  bigger = realloc(t->recs, size);
  if (!bigger) return XM_ENOMEM;
  t->recs = bigger;
  t->cap = cap;
  return XM_OK;
}

/* Makes room for the child counter of one more open element. */
static int make_level(xm_tape *t) {
  uint32_t levels = t->levels ? t->levels * 2 : USUAL_LEVELS, *more;
  if (t->depth + 1 < t->levels) return XM_OK;
  more = realloc(t->counts, levels * sizeof *more);
  if (!more) return XM_ENOMEM;
  t->counts = more;
  t->levels = levels;
  return XM_OK;
}

/* Makes room for a record and `n` bytes: after this put and add_rec can't fail, so a failure leaves nothing half
 * done. */
static inline int make_room(xm_tape *t, size_t n) {
  if (!fits(t, n)) return XM_ELIMIT;
  if (!xm_buf_reserve(&t->bytes, n)) return XM_ENOMEM;
  return t->n < t->cap ? XM_OK : add_rec_room(t);
}

/* Names and most values are short: they are copied as two overlapping halves, without a function call. */
static inline void copy(char *to, const char *s, size_t n) {
  if (n > 32) {
    memcpy(to, s, n);
  } else if (n >= 16) {
    memcpy(to, s, 16);
    memcpy(to + n - 16, s + n - 16, 16);
  } else if (n >= 8) {
    memcpy(to, s, 8);
    memcpy(to + n - 8, s + n - 8, 8);
  } else if (n >= 4) {
    memcpy(to, s, 4);
    memcpy(to + n - 4, s + n - 4, 4);
  } else if (n) {
    to[0] = s[0];
    to[n / 2] = s[n / 2];
    to[n - 1] = s[n - 1];
  }
}

static inline void put_raw(xm_tape *t, const char *s, size_t n) {
  copy(t->bytes.data + t->bytes.last, s, n);
  t->bytes.last += n;
}

/* Appends a string and a NUL; returns its offset. */
static inline uint32_t put(xm_tape *t, const char *s, size_t n) {
  uint32_t at = (uint32_t)t->bytes.last;
  put_raw(t, s, n);
  t->bytes.data[t->bytes.last++] = '\0';
  return at;
}

static inline xm_tape_rec *add_rec(xm_tape *t, xm_tape_kind kind) {
  t->recs[t->n] = (xm_tape_rec){.kind = kind};
  return &t->recs[t->n++];
}

int xm_tape_reset(xm_tape *t, const char *ns) {
  size_t n = strlen(ns);
  int rc;
  if (t->cap > USUAL_RECS || t->bytes.cap > USUAL_BYTES) xm_tape_free(t);
  xm_buf_clear(&t->bytes);
  t->bytes.secret = t->secret;
  free(t->long_ns);
  t->long_ns = NULL;
  t->n = t->open = t->depth = 0;
  rc = make_room(t, n + 1);
  if (rc == XM_OK) rc = make_level(t);
  if (rc < 0) return rc;
  t->counts[0] = 0;
  put(t, ns, n); /* at offset 0, where the first OPEN looks for its parent's namespace */
  t->ns_len = (uint32_t)n;
  return XM_OK;
}

/* Namespaces that are too long to be stored once for each element. */

static uint64_t hash_of(uint64_t seed, const char *s, size_t n) {
  uint64_t h = seed; /* FNV-1a */
  size_t i;
  for (i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
  return h ^ h >> 32;
}

/* The cell of that namespace, or the empty one into which it belongs. */
static struct cell *cell_of(const xm_tape *t, xm_tape_ns_table *h, uint64_t hash, const char *ns, size_t n) {
  uint32_t i = (uint32_t)hash & (h->cap - 1);
  for (; h->cells[i].at; i = (i + 1) & (h->cap - 1)) {
    const struct cell *c = &h->cells[i];
    if (c->hash == hash && c->len == n && memcmp(xm_tape_str(t, c->at), ns, n) == 0) break;
  }
  return &h->cells[i];
}

static void move_in(xm_tape_ns_table *to, const struct cell *c) {
  uint32_t i = (uint32_t)c->hash & (to->cap - 1);
  while (to->cells[i].at) i = (i + 1) & (to->cap - 1);
  to->cells[i] = *c;
  to->n++;
}

/* Makes room in the table for one more. */
static int make_ns_room(xm_tape *t) {
  xm_tape_ns_table *old = t->long_ns, *bigger;
  uint32_t i, cap = old ? old->cap * 2 : 16;
  if (old && old->n < old->cap / 2) return XM_OK;
  bigger = calloc(1, sizeof *bigger + cap * sizeof(struct cell));
  if (!bigger) return XM_ENOMEM;
  bigger->cap = cap;
  bigger->seed = old ? old->seed : 0;
  if (!old && xm_rnd_bytes(&bigger->seed, sizeof bigger->seed) < 0) bigger->seed = (uintptr_t)bigger;
  for (i = 0; old && i < old->cap; i++)
    if (old->cells[i].at) move_in(bigger, &old->cells[i]);
  free(old);
  t->long_ns = bigger;
  return XM_OK;
}

/* *at: the offset where that namespace lies already; 0: nowhere yet, and then it must be appended to the tape's bytes
 * next, where its cell points. XM_OK or XM_ENOMEM. */
static int find_long_ns(xm_tape *t, const char *ns, size_t n, uint32_t *at) {
  uint64_t hash;
  struct cell *c;
  if (make_ns_room(t) < 0) return XM_ENOMEM;
  hash = hash_of(t->long_ns->seed, ns, n);
  c = cell_of(t, t->long_ns, hash, ns, n);
  *at = c->at;
  if (c->at) return XM_OK;
  *c = (struct cell){.at = (uint32_t)t->bytes.last, .len = (uint32_t)n, .hash = hash};
  t->long_ns->n++;
  return XM_OK;
}

int xm_tape_open(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len) {
  uint32_t outer_at, outer_len, at = 0;
  const char *outer = xm_tape_outer(t, &outer_at, &outer_len);
  bool new_ns = ns && (outer_len != ns_len || memcmp(outer, ns, ns_len) != 0);
  int rc = make_room(t, (new_ns ? ns_len + 1 : 0) + name_len + 1);
  xm_tape_rec *r;
  if (rc == XM_OK) rc = make_level(t);
  if (rc == XM_OK && new_ns && ns_len > XM_TAPE_SHORT_NS) rc = find_long_ns(t, ns, ns_len, &at);
  if (rc < 0) return rc;
  r = add_rec(t, XM_TAPE_OPEN);
  r->new_ns = new_ns;
  r->text = !new_ns ? outer_at : at ? at : put(t, ns, ns_len);
  r->text_len = new_ns ? (uint32_t)ns_len : outer_len;
  r->name = put(t, name, name_len);
  r->name_len = (uint32_t)name_len;
  r->next = t->open;
  t->open = t->n - 1;
  t->counts[t->depth]++;
  t->counts[++t->depth] = 0;
  return XM_OK;
}

/* "{uri}local", or "local" where there is no namespace. */
static void put_clark(xm_tape *t, xm_tape_rec *r, const char *ns, size_t ns_len, const char *name, size_t name_len) {
  r->name = (uint32_t)t->bytes.last;
  if (ns_len) {
    put_raw(t, "{", 1);
    put_raw(t, ns, ns_len);
    put_raw(t, "}", 1);
  }
  put(t, name, name_len);
  r->name_len = (uint32_t)(t->bytes.last - r->name - 1);
}

int xm_tape_attr(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len, const char *value,
                 size_t value_len) {
  int rc = make_room(t, (ns_len ? ns_len + 2 : 0) + name_len + value_len + 2);
  xm_tape_rec *r;
  if (rc == XM_OK && t->recs[t->open].attrs == MOST_ATTRS) rc = XM_ELIMIT;
  if (rc < 0) return rc;
  r = add_rec(t, XM_TAPE_ATTR);
  put_clark(t, r, ns, ns_len, name, name_len);
  r->text = put(t, value, value_len);
  r->text_len = (uint32_t)value_len;
  t->recs[t->open].attrs++;
  return XM_OK;
}

char *xm_tape_last_value(xm_tape *t) {
  return t->bytes.data + t->recs[t->n - 1].text;
}

void xm_tape_shorten(xm_tape *t, size_t n) {
  xm_tape_rec *r = &t->recs[t->n - 1];
  r->text_len = (uint32_t)n;
  t->bytes.last = r->text + n;
  t->bytes.data[t->bytes.last++] = '\0';
}

int xm_tape_text(xm_tape *t, const char *s, size_t n) {
  bool joins = t->n && t->recs[t->n - 1].kind == XM_TAPE_TEXT;
  int rc = make_room(t, n + 1);
  xm_tape_rec *r;
  if (rc < 0) return rc;
  if (joins) {
    t->bytes.last--; /* the text is the last thing on the tape, so it grows in place, over its NUL */
    put(t, s, n);
    t->recs[t->n - 1].text_len += (uint32_t)n;
    return XM_OK;
  }
  r = add_rec(t, XM_TAPE_TEXT);
  r->text = put(t, s, n);
  r->text_len = (uint32_t)n;
  r->slot = ++t->counts[t->depth];
  return XM_OK;
}

int xm_tape_close(xm_tape *t) {
  uint32_t open = t->open;
  int rc = t->n < t->cap ? XM_OK : add_rec_room(t);
  xm_tape_rec *r;
  if (rc < 0) return rc;
  r = add_rec(t, XM_TAPE_CLOSE);
  r->next = open;
  r->children = t->counts[t->depth];
  r->slot = t->counts[t->depth - 1];
  t->open = t->recs[open].next;
  t->recs[open].next = t->n;
  t->depth--;
  return XM_OK;
}

/* Where the strings of the first `n` records end. */
static size_t end_of(const xm_tape *t, uint32_t n) {
  size_t end = t->ns_len + 1;
  uint32_t i;
  for (i = 0; i < n; i++) {
    const xm_tape_rec *r = &t->recs[i];
    if (r->name + r->name_len + 1 > end) end = (size_t)r->name + r->name_len + 1;
    if (r->text + r->text_len + 1 > end) end = (size_t)r->text + r->text_len + 1;
  }
  return end;
}

/* Frees memory that the cut tape doesn't need. Its new size is small, and if there is no memory for that the old block
 * stays. */
static void give_back(xm_tape *t) {
  uint32_t cap = t->n + 1;
  xm_tape_rec *smaller = t->cap > USUAL_RECS ? realloc(t->recs, cap * sizeof *smaller) : NULL;
  xm_buf bytes = {.secret = t->secret};
  if (smaller) {
    t->recs = smaller;
    t->cap = cap;
  }
  if (t->bytes.cap <= USUAL_BYTES || xm_buf_put(&bytes, xm_buf_at(&t->bytes), xm_buf_len(&t->bytes)) < 0) return;
  xm_buf_free(&t->bytes);
  t->bytes = bytes;
}

int xm_tape_cut(xm_tape *t) {
  int rc;
  if (t->n == 0) return XM_OK;
  t->n = 1 + t->recs[0].attrs;
  t->bytes.last = end_of(t, t->n);
  free(t->long_ns);
  t->long_ns = NULL;
  t->counts[1] = 0;
  t->recs[0].next = 0;
  t->open = 0;
  t->depth = 1;
  rc = xm_tape_close(t);
  if (rc == XM_OK) give_back(t);
  return rc;
}

int xm_tape_copy(xm_tape *to, const xm_tape *from) {
  xm_tape_rec *recs = malloc(from->n * sizeof *recs);
  char *data = malloc(from->bytes.last);
  if (!recs || !data) {
    free(recs);
    free(data);
    return XM_ENOMEM;
  }
  memcpy(recs, from->recs, from->n * sizeof *recs);
  memcpy(data, from->bytes.data, from->bytes.last);
  *to = (xm_tape){.recs = recs, .n = from->n, .cap = from->n, .ns_len = from->ns_len};
  to->bytes = (xm_buf){.data = data, .last = from->bytes.last, .cap = from->bytes.last};
  return XM_OK;
}

bool xm_tape_is(const xm_tape *t, uint32_t i, const char *ns, const char *name) {
  return (!ns || strcmp(xm_tape_ns(t, i), ns) == 0) && (!name || strcmp(xm_tape_name(t, i), name) == 0);
}

const char *xm_tape_get(const xm_tape *t, uint32_t i, const char *name, size_t *len) {
  const xm_tape_rec *r = &t->recs[i + 1], *end = r + t->recs[i].attrs;
  for (; r < end; r++) {
    if (strcmp(xm_tape_str(t, r->name), name) != 0) continue;
    if (len) *len = r->text_len;
    return xm_tape_str(t, r->text);
  }
  return NULL;
}

/* The first such element from record `i` on, before the parent's CLOSE. */
static uint32_t find(const xm_tape *t, uint32_t i, const char *ns, const char *name) {
  while (t->recs[i].kind != XM_TAPE_CLOSE) {
    if (t->recs[i].kind == XM_TAPE_TEXT) {
      i++;
    } else {
      if (xm_tape_is(t, i, ns, name)) return i;
      i = t->recs[i].next;
    }
  }
  return 0;
}

uint32_t xm_tape_child(const xm_tape *t, uint32_t i, const char *ns, const char *name) {
  return find(t, i + 1 + t->recs[i].attrs, ns, name);
}

uint32_t xm_tape_sibling(const xm_tape *t, uint32_t at, const char *ns, const char *name) {
  return find(t, t->recs[at].next, ns, name);
}

const char *xm_tape_content(const xm_tape *t, uint32_t i, size_t *len) {
  uint32_t at = i + 1 + t->recs[i].attrs;
  while (t->recs[at].kind == XM_TAPE_OPEN) at = t->recs[at].next;
  if (len) *len = t->recs[at].kind == XM_TAPE_TEXT ? t->recs[at].text_len : 0;
  return t->recs[at].kind == XM_TAPE_TEXT ? xm_tape_str(t, t->recs[at].text) : "";
}
