#include "out.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ns.h"

#define NS_XMLNS "http://www.w3.org/2000/xmlns/"

/* What a byte is, to text, to an attribute's value and to a name. */
enum { PLAIN = 0, MULTI = 1, FORBIDDEN = 2, IN_TEXT = 4, IN_VALUE = 8, NAME = 16, NAME_START = 32 };

static unsigned char class_of[256];

__attribute__((constructor)) static void classify(void) {
  int c;
  for (c = 0; c < 256; c++) {
    bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    bool more = (c >= '0' && c <= '9') || c == '-' || c == '.';
    class_of[c] = (unsigned char)(c >= 0x80 ? MULTI : c < 0x20 ? FORBIDDEN : PLAIN);
    if (c >= 0x80 || alpha) class_of[c] |= NAME_START | NAME;
    if (more) class_of[c] |= NAME;
  }
  class_of['\t'] = class_of['\n'] = IN_VALUE;
  class_of['\r'] = class_of['&'] = class_of['<'] = class_of['>'] = IN_TEXT | IN_VALUE;
  class_of['\''] = IN_VALUE;
}

static int refuse(xm_out *o, const char *why) {
  o->fault = why;
  return XM_EINVAL;
}

static int refuse_character(xm_out *o, unsigned code) {
  snprintf(o->fault_room, sizeof o->fault_room, "U+%04X, which XML 1.0 forbids", code);
  return refuse(o, o->fault_room);
}

/* Length of the UTF-8 character at `s` (a lead byte, of which `n` bytes are there); 0 when it isn't one. */
static size_t utf8_length(const unsigned char *s, size_t n, unsigned *code) {
  static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t len = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2, i;
  if (s[0] < 0xC2 || s[0] > 0xF4 || len > n) return 0;
  *code = s[0] & (0x7Fu >> len);
  for (i = 1; i < len; i++) {
    if ((s[i] & 0xC0) != 0x80) return 0;
    *code = *code << 6 | (s[i] & 0x3Fu);
  }
  if (*code < least[len] || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF)) return 0;
  return len;
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

/* How many bytes from `s` on can be copied as they are; checks UTF-8 and characters on the way. XM_EINVAL in *rc. */
static size_t plain_run(xm_out *o, const unsigned char *s, size_t n, unsigned stop, int *rc) {
  size_t i = 0, len;
  unsigned code;
  while (i < n) {
    unsigned class = class_of[s[i]];
    if (!(class & (stop | MULTI | FORBIDDEN))) {
      i++;
      continue;
    }
    if (class & stop) return i;
    if (class & FORBIDDEN) return *rc = refuse_character(o, s[i]), i;
    len = utf8_length(s + i, n - i, &code);
    if (!len) return *rc = refuse(o, "bytes that are not UTF-8"), i;
    if (code == 0xFFFE || code == 0xFFFF) return *rc = refuse_character(o, code), i;
    i += len;
  }
  return n;
}

static int put_escaped(xm_out *o, const char *s, size_t n, unsigned stop) {
  int rc = XM_OK;
  while (n && rc == XM_OK) {
    size_t run = plain_run(o, (const unsigned char *)s, n, stop, &rc);
    if (rc == XM_OK) rc = xm_buf_put(o->buf, s, run);
    s += run;
    n -= run;
    if (rc != XM_OK || n == 0) continue;
    rc = xm_buf_puts(o->buf, entity(*s));
    s++;
    n--;
  }
  return rc;
}

static int put_name(xm_out *o, const char *name, size_t n) {
  size_t i;
  int rc = XM_OK;
  if (n == 0) return refuse(o, "an empty name");
  if (!(class_of[(unsigned char)name[0]] & NAME_START)) return refuse(o, "not an XML name");
  for (i = 1; i < n; i++)
    if (!(class_of[(unsigned char)name[i]] & NAME)) return refuse(o, "not an XML name");
  plain_run(o, (const unsigned char *)name, n, 0, &rc);
  return rc == XM_OK ? xm_buf_put(o->buf, name, n) : rc;
}

static int end_tag(xm_out *o) {
  if (!o->in_tag) return XM_OK;
  o->in_tag = false;
  return xm_buf_putc(o->buf, '>');
}

static int open_tag(xm_out *o, const char *begin, const char *name, size_t n) {
  int rc = end_tag(o);
  if (rc == XM_OK) rc = xm_buf_puts(o->buf, begin);
  if (rc == XM_OK) rc = put_name(o, name, n);
  o->in_tag = true;
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

static bool equals(const char *s, size_t n, const char *what) {
  return strlen(what) == n && memcmp(s, what, n) == 0;
}

/* {uri}local: xmlns:nsN='uri' nsN:local='value'. The namespace of xml: has its prefix by birth. */
static int put_clark(xm_out *o, const char *name, size_t n, const char *value, size_t value_len) {
  const char *brace = memrchr(name, '}', n), *uri = name + 1, *local;
  char prefix[16] = "xml";
  size_t uri_len, local_len;
  int rc = XM_OK;
  if (!brace) return refuse(o, "a '{' without its '}'; a namespaced attribute is \"{uri}local\"");
  local = brace + 1;
  uri_len = (size_t)(brace - uri);
  local_len = n - uri_len - 2;
  if (uri_len == 0 || equals(uri, uri_len, NS_XMLNS)) return refuse(o, "a namespace that no attribute can have");
  if (equals(uri, uri_len, XM_NS_XML) && equals(local, local_len, "lang")) return refuse(o, "xml:lang under another name");
  if (!equals(uri, uri_len, XM_NS_XML)) {
    snprintf(prefix, sizeof prefix, "ns%u", ++o->prefixes);
    rc = xm_buf_puts(o->buf, " xmlns:");
    if (rc == XM_OK) rc = xm_buf_puts(o->buf, prefix);
    if (rc == XM_OK) rc = put_value(o, uri, uri_len);
  }
  if (rc == XM_OK) rc = xm_buf_putc(o->buf, ' ');
  if (rc == XM_OK) rc = xm_buf_puts(o->buf, prefix);
  if (rc == XM_OK) rc = xm_buf_putc(o->buf, ':');
  if (rc == XM_OK) rc = put_name(o, local, local_len);
  return rc == XM_OK ? put_value(o, value, value_len) : rc;
}

int xm_out_attr(xm_out *o, const char *name, size_t n, const char *value, size_t value_len) {
  int rc;
  if (n && name[0] == '{') return put_clark(o, name, n, value, value_len);
  if (equals(name, n, "xmlns") && (equals(value, value_len, XM_NS_XML) || equals(value, value_len, NS_XMLNS)))
    return refuse(o, "a namespace that no element can have");
  rc = xm_buf_putc(o->buf, ' ');
  if (rc == XM_OK) rc = equals(name, n, "xml:lang") ? xm_buf_put(o->buf, name, n) : put_name(o, name, n);
  return rc == XM_OK ? put_value(o, value, value_len) : rc;
}

int xm_out_text(xm_out *o, const char *s, size_t n) {
  int rc = n ? end_tag(o) : XM_OK;
  return rc == XM_OK ? put_escaped(o, s, n, IN_TEXT) : rc;
}

static int close_tag(xm_out *o, const char *begin, const char *name, size_t n) {
  int rc;
  if (o->in_tag) {
    o->in_tag = false;
    return xm_buf_puts(o->buf, "/>");
  }
  rc = xm_buf_puts(o->buf, begin);
  if (rc == XM_OK) rc = xm_buf_put(o->buf, name, n);
  return rc == XM_OK ? xm_buf_putc(o->buf, '>') : rc;
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

/* Such an element came with the prefix it has by birth: no declaration leads to that namespace. */
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
