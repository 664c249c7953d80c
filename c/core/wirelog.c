#include "wirelog.h"

#include <string.h>

#include "out.h"

static const char mask[] = "[masked]";

/* Names of secrets. */

static bool is_named(const char *tag, const char *name) {
  size_t n = strlen(name);
  return strncmp(tag, name, n) == 0 && strchr(" />", tag[n]);
}

static bool has_secret_values(const char *field) {
  return strstr(field, "'text-private'") || strstr(field, "password") || strstr(field, "secret");
}

/* The tag is complete in `tag`, up to its '>', as far as it was kept. */
static void on_tag(xm_wirelog_look *l) {
  const char *name = l->tag + 1;
  bool opens = *name != '/' && (l->len < 2 || l->tag[l->len - 2] != '/');
  if (is_named(name, "field")) l->field = opens && has_secret_values(name);
  if (is_named(name, "/field")) l->field = false;
  l->secret = opens && (is_named(name, "password") || is_named(name, "digest") || (l->field && is_named(name, "value")));
}

/* Does the part of the tag that was read end with the name of a secret attribute? */
static bool is_secret_value(const xm_wirelog_look *l) {
  static const char *const names[] = {" password=", " token="}; /* of XEP-0484 */
  size_t i;
  for (i = 0; i < sizeof names / sizeof *names; i++) {
    size_t n = strlen(names[i]);
    if (l->len > n + 1 && memcmp(l->tag + l->len - n - 1, names[i], n) == 0) return true;
  }
  return false;
}

static void add_to_tag(xm_wirelog_look *l, char c) {
  enum { KEPT = XM_WIRELOG_TAG / 2 };
  if (l->len == sizeof l->tag - 1) {
    l->len--;
    memmove(l->tag + KEPT, l->tag + KEPT + 1, l->len - KEPT);
  }
  l->tag[l->len++] = c;
  l->tag[l->len] = '\0';
}

/* Examines one byte: may it be shown? */
static bool look_at(xm_wirelog_look *l, char c) {
  bool in_tag = l->len > 0 || c == '<';
  if (!in_tag) return !l->secret;
  if (l->quote && c != l->quote) {
    if (!l->secret) add_to_tag(l, c);
    return !l->secret;
  }
  if (l->len == 0 || l->quote) l->secret = false; /* what was secret has ended */
  add_to_tag(l, c);
  if (l->quote) {
    l->quote = 0;
  } else if (c == '\'' || c == '"') {
    l->quote = c;
    l->secret = is_secret_value(l);
  } else if (c == '>') {
    on_tag(l);
    l->len = 0;
  }
  return true;
}

/* Appends the text, with a mask in place of each secret that isn't empty. */
static int put_shown(xm_wirelog_look *l, const char *s, size_t n, xm_buf *to) {
  size_t i, from = 0;
  int rc = XM_OK;
  for (i = 0; i < n; i++) { /* goes on to the end even when memory has run out, since the state must be right for
                               what comes next */
    if (look_at(l, s[i])) {
      l->told = false;
      continue;
    }
    if (rc == XM_OK) rc = xm_buf_put(to, s + from, i - from);
    if (rc == XM_OK && !l->told) rc = xm_buf_puts(to, mask);
    l->told = true;
    from = i + 1;
  }
  return rc == XM_OK ? xm_buf_put(to, s + from, n - from) : rc;
}

/* Records. */

void xm_wirelog_begin(xm_wirelog *log) {
  log->out = (xm_wirelog_look){.len = 0};
}

static void put_record(xm_wirelog *log, char direction, const char *s, size_t n) {
  xm_buf *b = &log->records;
  size_t mark = xm_buf_mark(b);
  if (xm_buf_putc(b, direction) < 0 || xm_buf_put(b, &n, sizeof n) < 0 || xm_buf_put(b, s, n) < 0)
    xm_buf_rollback(b, mark);
}

void xm_wirelog_text(xm_wirelog *log, char direction, const char *s, size_t n) {
  xm_wirelog_look whole = {.len = 0};
  xm_buf text = XM_BUF_SECRET;
  if (!log->on || n == 0) return;
  if (put_shown(direction == '>' ? &log->out : &whole, s, n, &text) == XM_OK && xm_buf_len(&text))
    put_record(log, direction, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
}

void xm_wirelog_masked(xm_wirelog *log, char direction, const char *s, size_t n, bool secret) {
  const char *content = secret && n ? memchr(s, '>', n) : NULL, *end = content ? xm_memrchr(s, '<', n) : NULL;
  xm_buf text = XM_BUF_INIT;
  if (!log->on) return;
  if (!end || end <= content) return xm_wirelog_text(log, direction, s, n);
  if (xm_buf_put(&text, s, (size_t)(content + 1 - s)) == XM_OK && xm_buf_puts(&text, mask) == XM_OK &&
      xm_buf_put(&text, end, (size_t)(s + n - end)) == XM_OK)
    put_record(log, direction, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
}

void xm_wirelog_tape(xm_wirelog *log, const xm_tape *t, bool secret) {
  xm_buf text = XM_BUF_SECRET;
  xm_out o = xm_out_begin(&text);
  if (!log->on) return;
  if (xm_out_tape(&o, t, 0) == XM_OK)
    xm_wirelog_masked(log, '<', xm_buf_at(&text), xm_buf_len(&text), secret);
  xm_buf_free(&text);
}
