#include "tape.h"

#include <stdlib.h>
#include <string.h>

enum { USUAL_RECS = 4096, USUAL_BYTES = 256 * 1024 };

void xm_tape_free(xm_tape *t) {
  free(t->recs);
  xm_buf_free(&t->bytes);
  *t = XM_TAPE_INIT;
}

/* Do `n` bytes more and a NUL leave every offset within its 32 bits? */
static bool fits(const xm_tape *t, size_t n) { return n < UINT32_MAX - 1 - t->bytes.last; }

static int add_bytes(xm_tape *t, const char *s, size_t n, uint32_t *at) {
  char *to;
  if (!fits(t, n)) return XM_ELIMIT;
  to = xm_buf_reserve(&t->bytes, n + 1);
  if (!to) return XM_ENOMEM;
  memcpy(to, s, n);
  to[n] = '\0';
  *at = (uint32_t)t->bytes.last;
  xm_buf_commit(&t->bytes, n + 1);
  return XM_OK;
}

static xm_tape_rec *add_rec(xm_tape *t, xm_tape_kind kind) {
  if (t->n == t->cap) {
    uint32_t cap = t->cap ? t->cap * 2 : 32;
    xm_tape_rec *bigger = realloc(t->recs, cap * sizeof *bigger);
    if (!bigger) return NULL;
    t->recs = bigger;
    t->cap = cap;
  }
  t->recs[t->n] = (xm_tape_rec){.kind = (unsigned char)kind};
  return &t->recs[t->n++];
}

int xm_tape_reset(xm_tape *t, const char *ns) {
  uint32_t at;
  if (t->cap > USUAL_RECS || t->bytes.cap > USUAL_BYTES) xm_tape_free(t);
  xm_buf_clear(&t->bytes);
  t->n = t->open = t->depth = 0;
  return add_bytes(t, ns, strlen(ns), &at); /* at offset 0, where the first OPEN looks for its parent's */
}

/* Where the parent's namespace lies; for record 0 the stream's. */
static const char *parent_ns(const xm_tape *t, uint32_t *at, uint32_t *len) {
  *at = t->depth ? t->recs[t->open].text : 0;
  *len = t->depth ? t->recs[t->open].text_len : (uint32_t)strlen(t->bytes.data);
  return xm_tape_str(t, *at);
}

static uint32_t next_slot(xm_tape *t) { return t->depth ? ++t->recs[t->open].children : 1; }

int xm_tape_open(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len) {
  uint32_t at, ns_at, parent_len;
  const char *parent = parent_ns(t, &ns_at, &parent_len);
  bool new_ns = parent_len != ns_len || memcmp(parent, ns, ns_len) != 0;
  xm_tape_rec *r;
  int rc = new_ns ? add_bytes(t, ns, ns_len, &ns_at) : XM_OK;
  if (rc == XM_OK) rc = add_bytes(t, name, name_len, &at);
  if (rc < 0) return rc;
  r = add_rec(t, XM_TAPE_OPEN);
  if (!r) return XM_ENOMEM;
  r->new_ns = new_ns;
  r->name = at;
  r->name_len = (uint32_t)name_len;
  r->text = ns_at;
  r->text_len = (uint32_t)ns_len;
  r->next = t->open;
  r->slot = next_slot(t);
  t->open = t->n - 1;
  t->depth++;
  return XM_OK;
}

/* "{uri}local", or "local" where there is no namespace. */
static int add_clark(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len, uint32_t *at) {
  uint32_t ignored;
  int rc;
  if (!ns_len) return add_bytes(t, name, name_len, at);
  if (!fits(t, ns_len + name_len + 2)) return XM_ELIMIT;
  *at = (uint32_t)t->bytes.last;
  rc = xm_buf_putc(&t->bytes, '{');
  if (rc == XM_OK) rc = xm_buf_put(&t->bytes, ns, ns_len);
  if (rc == XM_OK) rc = xm_buf_putc(&t->bytes, '}');
  return rc == XM_OK ? add_bytes(t, name, name_len, &ignored) : rc;
}

int xm_tape_attr(xm_tape *t, const char *ns, size_t ns_len, const char *name, size_t name_len, const char *value) {
  uint32_t name_at, value_at = 0;
  size_t value_len = strlen(value);
  xm_tape_rec *r;
  int rc = add_clark(t, ns, ns_len, name, name_len, &name_at);
  if (rc == XM_OK) rc = add_bytes(t, value, value_len, &value_at);
  if (rc < 0) return rc;
  r = add_rec(t, XM_TAPE_ATTR);
  if (!r) return XM_ENOMEM;
  r->name = name_at;
  r->name_len = (uint32_t)strlen(xm_tape_str(t, name_at));
  r->text = value_at;
  r->text_len = (uint32_t)value_len;
  t->recs[t->open].attrs++;
  return XM_OK;
}

/* The text is the last thing on the tape: it grows in place, over its NUL. */
static int join(xm_tape *t, xm_tape_rec *r, const char *s, size_t n) {
  uint32_t ignored;
  int rc;
  t->bytes.last--;
  rc = add_bytes(t, s, n, &ignored);
  if (rc == XM_OK) r->text_len += (uint32_t)n;
  return rc;
}

int xm_tape_text(xm_tape *t, const char *s, size_t n) {
  uint32_t at;
  xm_tape_rec *r;
  int rc;
  if (t->n && t->recs[t->n - 1].kind == XM_TAPE_TEXT) return join(t, &t->recs[t->n - 1], s, n);
  rc = add_bytes(t, s, n, &at);
  if (rc < 0) return rc;
  r = add_rec(t, XM_TAPE_TEXT);
  if (!r) return XM_ENOMEM;
  r->text = at;
  r->text_len = (uint32_t)n;
  r->slot = next_slot(t);
  return XM_OK;
}

int xm_tape_close(xm_tape *t) {
  uint32_t open = t->open;
  xm_tape_rec *r = add_rec(t, XM_TAPE_CLOSE);
  if (!r) return XM_ENOMEM;
  r->next = open;
  t->open = t->recs[open].next;
  t->recs[open].next = t->n;
  t->depth--;
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

/* The first element like that from record `i` on, before the parent's CLOSE. */
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
