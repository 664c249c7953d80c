#include "framing.h"

#include <string.h>

#include "ns.h"

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void add(xm_piece *p, const char *s, size_t n) {
  xm_ws_part *last = p->count ? &p->parts[p->count - 1] : NULL;
  if (last && last->s + last->n == s) last->n += n;
  else if (p->count < XM_PIECE_PARTS) p->parts[p->count++] = (xm_ws_part){s, n};
}

static void add_text(xm_piece *p, const char *text) {
  add(p, text, strlen(text));
}

/* Complete tags. */

static size_t name_length(const char *tag, size_t n) {
  size_t i = 1;
  while (i < n && !is_space(tag[i]) && tag[i] != '/' && tag[i] != '>') i++;
  return i - 1;
}

/* Where the attribute at or behind `at` ends; *name is without the space before it; 0: there are no more. */
static size_t next_attribute(const char *tag, size_t n, size_t at, const char **name, size_t *name_len) {
  size_t equals;
  const char *end;
  while (at < n && is_space(tag[at])) at++;
  for (equals = at; equals < n && tag[equals] != '=' && tag[equals] != '>';) equals++;
  if (equals + 1 >= n || tag[equals] != '=') return 0;
  *name = tag + at;
  *name_len = equals - at;
  end = memchr(tag + equals + 2, tag[equals + 1], n > equals + 2 ? n - equals - 2 : 0);
  return end ? (size_t)(end - tag) + 1 : 0;
}

static bool has_attribute(const char *tag, size_t n, const char *wanted) {
  size_t at = 1 + name_length(tag, n), len = 0;
  const char *name = NULL;
  while ((at = next_attribute(tag, n, at, &name, &len)))
    if (len == strlen(wanted) && memcmp(name, wanted, len) == 0) return true;
  return false;
}

static bool is_named(const char *tag, size_t n, const char *name) {
  size_t len = name_length(tag, n);
  return len == strlen(name) && memcmp(tag + 1, name, len) == 0;
}

/* Pieces. */

/* All attributes of the header but its namespaces; an XML declaration before it is left out (RFC 7395 3.3.3). */
static void write_open(xm_piece *p, const char *tag, size_t n) {
  size_t at = 1 + name_length(tag, n), end, len = 0;
  const char *name = NULL;
  add_text(p, "<open xmlns='" XM_NS_FRAMING "'");
  for (; (end = next_attribute(tag, n, at, &name, &len)); at = end)
    if (len < 5 || memcmp(name, "xmlns", 5) != 0) add(p, tag + at, end - at);
  add_text(p, "/>");
}

/* Adds the namespaces that the stream's header has declared for it. */
static void write_element(xm_piece *p, const char *s, size_t first) {
  size_t name = 1 + name_length(s, first);
  bool is_streams = name > 8 && memcmp(s + 1, "stream:", 7) == 0;
  add(p, s, name);
  if (is_streams && !has_attribute(s, first, "xmlns:stream")) add_text(p, " xmlns:stream='" XM_NS_STREAM "'");
  if (!is_streams && !has_attribute(s, first, "xmlns")) add_text(p, " xmlns='" XM_NS_CLIENT "'");
  add(p, s + name, p->n - name);
}

/* Scans to the end of the current tag; false: it hasn't come yet. */
static bool pass_tag(xm_framing *f, const char *s, size_t n) {
  for (; f->seen < n; f->seen++) {
    char c = s[f->seen];
    if (f->quote) f->quote = c == f->quote ? '\0' : f->quote;
    else if (c == '\'' || c == '"') f->quote = c;
    else if (c == '>') break;
  }
  if (f->seen == n) return false;
  f->seen++;
  f->in_tag = false;
  return true;
}

/* What the tag that has just ended makes of the piece. HALF: the piece goes on. */
static xm_piece_kind end_tag(xm_framing *f, const char *s) {
  const char *tag = s + f->tag;
  size_t n = f->seen - f->tag;
  if (tag[1] == '?') return XM_PIECE_HALF;
  if (f->depth == 0 && tag[1] == '/') return XM_PIECE_CLOSE;
  if (f->depth == 0 && is_named(tag, n, "stream:stream")) return XM_PIECE_OPEN;
  if (f->first == 0) f->first = f->seen;
  if (tag[1] == '/') f->depth--;
  else if (tag[n - 2] != '/') f->depth++;
  return f->depth == 0 ? XM_PIECE_ELEMENT : XM_PIECE_HALF;
}

static xm_piece_kind find_end(xm_framing *f, const char *s, size_t n) {
  xm_piece_kind kind = XM_PIECE_HALF;
  while (kind == XM_PIECE_HALF && f->seen < n) {
    const char *next = f->in_tag ? s + f->seen : memchr(s + f->seen, '<', n - f->seen);
    if (!f->in_tag) f->tag = f->seen = next ? (size_t)(next - s) : n;
    if (!next) break;
    f->in_tag = true;
    if (pass_tag(f, s, n)) kind = end_tag(f, s);
  }
  return kind;
}

xm_piece_kind xm_framing_next(xm_framing *f, const char *s, size_t n, xm_piece *p) {
  xm_piece_kind kind;
  *p = (xm_piece){.n = 0};
  if (f->seen == 0) {
    while (p->n < n && is_space(s[p->n])) p->n++;
    if (p->n) return XM_PIECE_SPACE;
  }
  kind = find_end(f, s, n);
  if (kind == XM_PIECE_HALF) return kind;
  p->n = f->seen;
  if (kind == XM_PIECE_OPEN) write_open(p, s + f->tag, f->seen - f->tag);
  if (kind == XM_PIECE_ELEMENT) write_element(p, s, f->first);
  if (kind == XM_PIECE_CLOSE) add_text(p, "<close xmlns='" XM_NS_FRAMING "'/>");
  *f = (xm_framing){.seen = 0};
  return kind;
}
