#include "out.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ns.h"
#include "span.h"
#include "utf8.h"

/* For the functions through which every name and every value passes. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* How a byte is treated in text, in an attribute's value and in a name. */
enum { PLAIN = 0, MULTI = 1, FORBIDDEN = 2, IN_TEXT = 4, IN_VALUE = 8, NO_NAME = 16, NO_START = 32 };

static unsigned char class_of[256];

__attribute__((constructor)) static void classify(void) {
  int c;
  for (c = 0; c < 256; c++) {
    bool starts = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
    bool follows = starts || (c >= '0' && c <= '9') || c == '-' || c == '.';
    class_of[c] = (unsigned char)(c >= 0x80 ? MULTI : c < 0x20 ? FORBIDDEN : PLAIN);
    if (!starts) class_of[c] |= NO_START;
    if (!follows) class_of[c] |= NO_NAME;
  }
  class_of['\t'] = class_of['\n'] = IN_VALUE | NO_START | NO_NAME;
  class_of['\r'] = class_of['&'] = class_of['<'] = class_of['>'] = IN_TEXT | IN_VALUE | NO_START | NO_NAME;
  class_of['\''] = IN_VALUE | NO_START | NO_NAME;
}

static int refuse(xm_out *o, const char *why) {
  o->fault = why;
  return XM_EINVAL;
}

static int refuse_character(xm_out *o, unsigned code) {
  snprintf(o->fault_room, sizeof o->fault_room, "U+%04X, which XML 1.0 forbids", code);
  return refuse(o, o->fault_room);
}

/* Bounds, each counted in the same way as the room xml does. */

static int refuse_bound(xm_out *o, xm_bound which) {
  snprintf(o->fault_room, sizeof o->fault_room, "%s over the limit of %zu (the option %s)", xm_bounds_what(which),
           xm_bounds_most(o->bounds, which), xm_bounds_option(which));
  return refuse(o, o->fault_room);
}

static int count_node(xm_out *o) {
  return o->bounds && ++o->nodes > o->bounds->nodes ? refuse_bound(o, XM_BOUND_NODES) : XM_OK;
}

static int count_element(xm_out *o) {
  o->attributes = 0;
  o->tag = xm_buf_mark(o->buf);
  if (++o->depth > o->bounds->depth) return refuse_bound(o, XM_BOUND_DEPTH);
  return count_node(o);
}

static int count_attribute(xm_out *o, const char *name, size_t n) {
  if (!xm_bounds_counts(o->depth == 1, name, n)) return XM_OK;
  if (++o->attributes > o->bounds->attributes) return refuse_bound(o, XM_BOUND_ATTRIBUTES);
  return o->depth > 1 && ++o->all_attributes > o->bounds->nodes ? refuse_bound(o, XM_BOUND_NODES) : XM_OK;
}

static int count_ns(xm_out *o, size_t n, bool is_clark) {
  if (!o->bounds) return XM_OK;
  if (n > o->bounds->ns) return refuse_bound(o, XM_BOUND_NS);
  if (is_clark) o->clark += n;
  return o->clark > xm_bounds_most(o->bounds, XM_BOUND_CLARK) ? refuse_bound(o, XM_BOUND_CLARK) : XM_OK;
}

static int count_tag(xm_out *o) {
  return o->bounds && xm_buf_mark(o->buf) - o->tag > o->bounds->start_tag ? refuse_bound(o, XM_BOUND_START_TAG) : XM_OK;
}

static const char *entity(char c) {
  switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '\'': return "&apos;";
    case '\t': return "&#9;";
    case '\n': return "&#10;";
    default: return "&#13;";
  }
}

/* Copies up to the first byte that may need more than copying, by its class. Returns how many bytes were copied. */
ALWAYS_INLINE size_t copy_plain(char *to, const char *s, size_t n) {
  return xm_span_copy(to, s, n, '&', '\'', '<', '>');
}

/* Checks the non-ASCII character at `s`; *used is its length in bytes. */
static int check_multi(xm_out *o, const char *s, size_t n, size_t *used) {
  int len = xm_utf8_length(s, n);
  *used = len > 0 ? (size_t)len : 0;
  if (len <= 0) return refuse(o, "bytes that are not UTF-8");
  return xm_utf8_is_forbidden(s) ? refuse_character(o, 0xFFFEu + ((unsigned char)s[2] & 1)) : XM_OK;
}

/* Puts the non-ASCII characters with which `s` begins, all at once. */
static int put_multi(xm_out *o, const char *s, size_t n, size_t *used) {
  size_t one;
  int rc = XM_OK;
  for (*used = 0; *used < n && class_of[(unsigned char)s[*used]] & MULTI && rc == XM_OK; *used += one)
    rc = check_multi(o, s + *used, n - *used, &one);
  return rc == XM_OK ? xm_buf_put(o->buf, s, *used) : rc;
}

/* Puts the character at which copy_plain has stopped. */
static int put_special(xm_out *o, const char *s, size_t n, unsigned stop, size_t *used) {
  unsigned class = class_of[(unsigned char)*s];
  if (class & MULTI) return put_multi(o, s, n, used);
  *used = 1;
  if (class & FORBIDDEN) return refuse_character(o, (unsigned char)*s);
  return class & stop ? xm_buf_puts(o->buf, entity(*s)) : xm_buf_putc(o->buf, *s);
}

static int put_escaped(xm_out *o, const char *s, size_t n, unsigned stop) {
  size_t used;
  int rc = XM_OK;
  while (n && rc == XM_OK) {
    char *to = xm_buf_reserve(o->buf, n);
    if (!to) return XM_ENOMEM;
    used = copy_plain(to, s, n);
    xm_buf_commit(o->buf, used);
    if (used == n) return XM_OK;
    s += used, n -= used;
    rc = put_special(o, s, n, stop, &used);
    s += used, n -= used;
  }
  return rc;
}

/* For names: checks only that it is UTF-8. */
static int check_wide(xm_out *o, const char *s, size_t n) {
  size_t i, used = 1;
  int rc = XM_OK;
  o->wide = true;
  for (i = 0; i < n && rc == XM_OK; i += used) {
    used = 1;
    if (class_of[(unsigned char)s[i]] & MULTI) rc = check_multi(o, s + i, n - i, &used);
  }
  return rc;
}

/* The full check of a name. */
static __attribute__((noinline)) int check_name(xm_out *o, const char *name, size_t n) {
  unsigned any = 0;
  size_t i;
  for (i = 0; i < n; i++) any |= class_of[(unsigned char)name[i]];
  if (n == 0) return refuse(o, "an empty name");
  if (any & NO_NAME || class_of[(unsigned char)name[0]] & NO_START) return refuse(o, "not an XML name");
  return any & MULTI ? check_wide(o, name, n) : XM_OK;
}

/* Are these eight bytes all letters from a to z? (A byte beyond ASCII makes the answer no, so it doesn't matter what is
 * carried from it to the next one.) */
static inline bool are_letters(uint64_t eight) {
  const uint64_t ones = UINT64_MAX / 255, highs = ones << 7;
  return ((eight + ones * (0x80 - 'a')) & ~(eight + ones * (0x7F - 'z')) & highs) == highs;
}

/* Most names are short. A name of four to eight bytes is covered by its first four and its last four bytes, which may
 * overlap; one of one to three bytes by its first, its middle and its last one. */
enum { HALF = 4 };

static inline void copy_short(char *to, const char *name, size_t n) {
  if (n >= HALF) {
    memcpy(to, name, HALF);
    memcpy(to + n - HALF, name + n - HALF, HALF);
  } else {
    to[0] = name[0];
    to[n / 2] = name[n / 2];
    to[n - 1] = name[n - 1];
  }
}

/* A quick check. True: it is a valid name in ASCII. False: check_name has to decide. */
static inline bool is_plain_name(const char *name, size_t n) {
  const unsigned char *u = (const unsigned char *)name;
  uint32_t first, last;
  if (n < HALF) return !((class_of[u[0]] | class_of[u[n / 2]] | class_of[u[n - 1]]) & (NO_START | MULTI));
  memcpy(&first, name, HALF);
  memcpy(&last, name + n - HALF, HALF);
  return are_letters(first | (uint64_t)last << 32);
}

/* Copies the name to `to`, where there is room for it, and checks it. */
ALWAYS_INLINE int copy_name(xm_out *o, char *to, const char *name, size_t n) {
  if (n - 1 >= 2 * HALF) {
    memcpy(to, name, n);
    return check_name(o, name, n);
  }
  copy_short(to, name, n);
  return is_plain_name(name, n) ? XM_OK : check_name(o, name, n);
}

static int put_name(xm_out *o, const char *name, size_t n) {
  char *to = xm_buf_reserve(o->buf, n + 1);
  int rc = to ? copy_name(o, to, name, n) : XM_ENOMEM;
  if (rc == XM_OK) xm_buf_commit(o->buf, n);
  return rc;
}

/* Ends the start tag by a '>' at the end of the buffer, which must have room for it. */
static inline int end_tag_here(xm_out *o) {
  o->buf->data[o->buf->last++] = '>';
  o->in_tag = false;
  return count_tag(o);
}

static inline int end_tag(xm_out *o) {
  if (!o->in_tag) return XM_OK;
  return xm_buf_reserve(o->buf, 1) ? end_tag_here(o) : XM_ENOMEM;
}

ALWAYS_INLINE int put_start(xm_out *o, const char *begin, const char *name, size_t n) {
  size_t len = strlen(begin);
  int rc = xm_buf_reserve(o->buf, sizeof ">" + len + n) ? XM_OK : XM_ENOMEM;
  if (rc == XM_OK && o->in_tag) rc = end_tag_here(o);
  if (rc == XM_OK && o->bounds) rc = count_element(o);
  if (rc < 0) return rc;
  memcpy(o->buf->data + o->buf->last, begin, len);
  rc = copy_name(o, o->buf->data + o->buf->last + len, name, n);
  if (rc == XM_OK) xm_buf_commit(o->buf, len + n);
  return rc;
}

ALWAYS_INLINE int open_tag(xm_out *o, const char *begin, const char *name, size_t n) {
  int rc = put_start(o, begin, name, n);
  o->in_tag = true;
  o->in_text = false;
  o->prefixes = 0;
  return rc;
}

int xm_out_open(xm_out *o, const char *name, size_t n) {
  return open_tag(o, "<", name, n);
}

static int put_value(xm_out *o, const char *value, size_t n) {
  int rc = xm_buf_puts(o->buf, "='");
  if (rc == XM_OK) rc = put_escaped(o, value, n, IN_VALUE);
  return rc == XM_OK ? xm_buf_putc(o->buf, '\'') : rc;
}

/* Puts ` name='value'` at once, as far as the value needs no escaping. */
static inline int put_plain_attr(xm_out *o, const char *name, size_t n, const char *value, size_t value_len) {
  char *to = xm_buf_reserve(o->buf, n + value_len + sizeof " =''");
  size_t plain;
  int rc = to ? copy_name(o, to + 1, name, n) : XM_ENOMEM;
  if (rc < 0) return rc;
  to[0] = ' ';
  to[n + 1] = '=';
  to[n + 2] = '\'';
  to += n + 3;
  plain = copy_plain(to, value, value_len);
  to[plain] = '\'';
  xm_buf_commit(o->buf, n + 3 + plain + (plain == value_len));
  if (plain == value_len) return XM_OK;
  rc = put_escaped(o, value + plain, value_len - plain, IN_VALUE);
  return rc == XM_OK ? xm_buf_putc(o->buf, '\'') : rc;
}

static bool equals(const char *s, size_t n, const char *what) {
  return strlen(what) == n && memcmp(s, what, n) == 0;
}

/* {uri}local becomes xmlns:nsN='uri' nsN:local='value'. The XML namespace needs no declaration: its prefix is always
 * xml. */
static int put_clark(xm_out *o, const char *name, size_t n, const char *value, size_t value_len) {
  const char *brace = xm_memrchr(name, '}', n), *uri = name + 1, *local;
  char prefix[16] = "xml";
  size_t uri_len, local_len;
  int rc = XM_OK;
  if (!brace) return refuse(o, "a '{' without its '}'; a namespaced attribute is \"{uri}local\"");
  local = brace + 1;
  uri_len = (size_t)(brace - uri);
  local_len = n - uri_len - 2;
  if (uri_len == 0 || equals(uri, uri_len, XM_NS_XMLNS)) return refuse(o, "a namespace that no attribute can have");
  if (equals(uri, uri_len, XM_NS_XML) && equals(local, local_len, "lang")) return refuse(o, "xml:lang under another name");
  if (!equals(uri, uri_len, XM_NS_XML)) {
    snprintf(prefix, sizeof prefix, "ns%u", ++o->prefixes);
    rc = xm_buf_puts(o->buf, " xmlns:");
    if (rc == XM_OK) rc = xm_buf_puts(o->buf, prefix);
    if (rc == XM_OK) rc = put_value(o, uri, uri_len);
  }
  if (rc == XM_OK) rc = count_ns(o, uri_len, true);
  if (rc == XM_OK) rc = xm_buf_putc(o->buf, ' ');
  if (rc == XM_OK) rc = xm_buf_puts(o->buf, prefix);
  if (rc == XM_OK) rc = xm_buf_putc(o->buf, ':');
  if (rc == XM_OK) rc = put_name(o, local, local_len);
  return rc == XM_OK ? put_value(o, value, value_len) : rc;
}

static int check_xmlns(xm_out *o, const char *ns, size_t n) {
  if (equals(ns, n, XM_NS_XML) || equals(ns, n, XM_NS_XMLNS)) return refuse(o, "a namespace that no element can have");
  return count_ns(o, n, false);
}

static int put_lang(xm_out *o, const char *value, size_t n) {
  int rc = xm_buf_puts(o->buf, " xml:lang");
  return rc == XM_OK ? put_value(o, value, n) : rc;
}

int xm_out_attr(xm_out *o, const char *name, size_t n, const char *value, size_t value_len) {
  if (equals(name, n, "xmlns")) {
    if (check_xmlns(o, value, value_len) < 0) return XM_EINVAL;
  } else {
    if (o->bounds && count_attribute(o, name, n) < 0) return XM_EINVAL;
    if (n && name[0] == '{') return put_clark(o, name, n, value, value_len);
    if (equals(name, n, "xml:lang")) return put_lang(o, value, value_len);
  }
  return put_plain_attr(o, name, n, value, value_len);
}

int xm_out_text(xm_out *o, const char *s, size_t n) {
  int rc = n ? end_tag(o) : XM_OK;
  if (rc == XM_OK && n && !o->in_text) rc = count_node(o);
  if (n) o->in_text = true;
  return rc == XM_OK ? put_escaped(o, s, n, IN_TEXT) : rc;
}

static inline int put_end_tag(xm_out *o, const char *begin, const char *name, size_t n) {
  size_t len = strlen(begin);
  char *to = xm_buf_reserve(o->buf, len + n + sizeof ">");
  if (!to) return XM_ENOMEM;
  o->tag = xm_buf_mark(o->buf);
  memcpy(to, begin, len);
  if (n - 1 < 2 * HALF) copy_short(to + len, name, n);
  else memcpy(to + len, name, n);
  to[len + n] = '>';
  xm_buf_commit(o->buf, len + n + 1);
  return XM_OK;
}

ALWAYS_INLINE int close_tag(xm_out *o, const char *begin, const char *name, size_t n) {
  int rc = o->in_tag ? xm_buf_put(o->buf, "/>", 2) : put_end_tag(o, begin, name, n);
  o->in_tag = o->in_text = false;
  if (rc < 0 || !o->bounds) return rc;
  if (--o->depth == 0 && xm_buf_mark(o->buf) - o->mark > o->bounds->stanza) return refuse_bound(o, XM_BOUND_STANZA);
  return count_tag(o);
}

int xm_out_close(xm_out *o, const char *name, size_t n) {
  return close_tag(o, "</", name, n);
}

int xm_out_start(xm_out *o, const char *name, ...) {
  va_list args;
  const char *key;
  int rc = xm_out_open(o, name, strlen(name));
  va_start(args, name);
  while (rc == XM_OK && (key = va_arg(args, const char *))) {
    const char *value = va_arg(args, const char *);
    if (value) rc = xm_out_attr(o, key, strlen(key), value, strlen(value));
  }
  va_end(args);
  return rc;
}

int xm_out_end(xm_out *o, const char *name) {
  return xm_out_close(o, name, strlen(name));
}

/* The XML namespace can't be declared as the default, so an element in it must be written with the prefix xml. */
static bool has_xml_prefix(const xm_tape *t, const xm_tape_rec *r) {
  return equals(xm_tape_str(t, r->text), r->text_len, XM_NS_XML);
}

static int put_open(xm_out *o, const xm_tape *t, const xm_tape_rec *r) {
  const char *name = xm_tape_str(t, r->name);
  int rc;
  if (has_xml_prefix(t, r)) return open_tag(o, "<xml:", name, r->name_len);
  rc = open_tag(o, "<", name, r->name_len);
  if (rc == XM_OK && r->new_ns) rc = xm_out_attr(o, "xmlns", 5, xm_tape_str(t, r->text), r->text_len);
  return rc;
}

static int put_close(xm_out *o, const xm_tape *t, const xm_tape_rec *r) {
  return close_tag(o, has_xml_prefix(t, r) ? "</xml:" : "</", xm_tape_str(t, r->name), r->name_len);
}

static int put_rec(xm_out *o, const xm_tape *t, const xm_tape_rec *r) {
  const xm_tape_rec *opened = &t->recs[r->next];
  switch ((xm_tape_kind)r->kind) {
    case XM_TAPE_OPEN: return put_open(o, t, r);
    case XM_TAPE_ATTR:
      return xm_out_attr(o, xm_tape_str(t, r->name), r->name_len, xm_tape_str(t, r->text), r->text_len);
    case XM_TAPE_TEXT: return xm_out_text(o, xm_tape_str(t, r->text), r->text_len);
    case XM_TAPE_CLOSE: return put_close(o, t, opened);
  }
  return XM_EINVAL;
}

int xm_out_tape(xm_out *o, const xm_tape *t, uint32_t i) {
  uint32_t end = t->recs[i].next;
  int rc = XM_OK;
  for (; i < end && rc == XM_OK; i++) rc = put_rec(o, t, &t->recs[i]);
  return rc;
}
