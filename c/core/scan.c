#include "scan.h"

#include <string.h>

#include "ns.h"
#include "span.h"
#include "utf8.h"

enum {
  GO_ON = XM_SCAN_LEFT + 1, /* this step is done; go on with the next one */
  LONGEST = 256,            /* bytes of a name or of white space in a tag: so much of a tag may be read again when
                               more comes */
  REFERENCE = 10,           /* bytes of the longest reference: &#x10FFFF; */
};

/* What a byte may be part of in a tag. */
enum { START = 1, NAME = 2, SPACE = 4 };

static const unsigned char kinds[256] = {
    ['a' ... 'z'] = START | NAME, ['A' ... 'Z'] = START | NAME, ['_'] = START | NAME, ['0' ... '9'] = NAME,
    ['-'] = NAME, ['.'] = NAME, [' '] = SPACE, ['\t'] = SPACE, ['\n'] = SPACE, ['\r'] = SPACE,
};

static inline bool is(char c, unsigned kind) { return kinds[(unsigned char)c] & kind; }

static inline const char *skip(const char *p, const char *end, unsigned kind) {
  while (p < end && is(*p, kind)) p++;
  return p;
}

/* The length of the non-ASCII character that begins at `p`; 0, -1: as xm_utf8_length. */
static int multi(const char *p, const char *end) {
  int len = xm_utf8_length(p, (size_t)(end - p));
  return len == 3 && xm_utf8_is_forbidden(p) ? -1 : len;
}

/* References. */

/* Reads the number of a character reference, whose "&#" ends at *p, and moves *p behind the number. UINT32_MAX: there
 * is none. */
static uint32_t number(const char **p, const char *end) {
  bool is_hex = *p < end && **p == 'x';
  const char *from = *p += is_hex;
  uint32_t code = 0;
  for (; *p < end && code <= 0x10FFFF; ++*p) {
    char c = **p;
    if (c >= '0' && c <= '9') code = code * (is_hex ? 16 : 10) + (uint32_t)(c - '0');
    else if (is_hex && c >= 'a' && c <= 'f') code = code * 16 + (uint32_t)(c - 'a' + 10);
    else if (is_hex && c >= 'A' && c <= 'F') code = code * 16 + (uint32_t)(c - 'A' + 10);
    else break;
  }
  return *p == from && *p < end ? UINT32_MAX : code;
}

/* XML 1.0 2.2: may a reference stand for this character? */
static bool is_character(uint32_t code) {
  if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
  return code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF) && code != 0xFFFE && code != 0xFFFF;
}

/* The length in bytes of the reference at `p`, and its character in *code. 0: its end has not come yet. -1: it is not a
 * reference, or not an ordinary one. */
static int reference(const char *p, const char *end, uint32_t *code) {
  static const struct {
    char name[7], n, code;
  } entities[] = {{"&lt;", 4, '<'}, {"&gt;", 4, '>'}, {"&amp;", 5, '&'}, {"&apos;", 6, '\''}, {"&quot;", 6, '"'}};
  size_t n = (size_t)(end - p), i;
  if (n > REFERENCE) n = REFERENCE;
  if (n > 1 && p[1] == '#') {
    const char *q = p + 2;
    *code = number(&q, p + n);
    if (q == p + n) return n < REFERENCE ? 0 : -1;
    return *q == ';' && is_character(*code) ? (int)(q + 1 - p) : -1;
  }
  for (i = 0; i < sizeof entities / sizeof *entities; i++) {
    size_t len = (size_t)entities[i].n;
    if (memcmp(p, entities[i].name, n < len ? n : len) != 0) continue;
    *code = (unsigned char)entities[i].code;
    return n < len ? 0 : (int)len;
  }
  return -1;
}

/* Decodes a value in place (XML 1.0 3.3.3): references are replaced, and each white space becomes a space, a line end
 * (2.11) one of them. Returns the new length. The value must have been checked before. */
static size_t decode(char *value, size_t n) {
  const char *p = value, *end = value + n;
  char *to = value;
  uint32_t code;
  while (p < end) {
    if (*p == '&') {
      p += reference(p, end, &code);
      to += xm_utf8_put(to, code);
    } else {
      if (*p == '\r' && p + 1 < end && p[1] == '\n') p++;
      *to++ = is(*p, SPACE) ? ' ' : *p;
      p++;
    }
  }
  return (size_t)(to - value);
}

/* Start tags. What has been read of one is kept as offsets, since the bytes may have moved when more has come. */

static inline uint32_t at(const char *from, const char *p) { return (uint32_t)(p - from); }

/* The read_ functions move *p behind what they have read and need not read again. */

static int read_name(xm_scan *s, const char *from, const char **p, const char *end) {
  const char *name = *p + 1, *q = skip(name, end, NAME);
  if (!is(*name, START) || q - name >= LONGEST) return XM_SCAN_LEFT;
  if (q == end) return XM_SCAN_MORE;
  s->name = (xm_scan_span){at(from, name), at(name, q)};
  s->n = s->ns = 0;
  s->quote = '\0';
  *p = q;
  return GO_ON;
}

/* The end of the name that begins at `p`. The only prefix accepted is that of xml:lang; a name with any other ends at
 * its colon, which no ordinary tag has there. */
static inline const char *end_of_name(const char *p, const char *end) {
  static const char lang[] = "xml:lang";
  const char *q = skip(p, end, NAME), *after;
  if (q == end || *q != ':' || q - p != 3) return q;
  after = skip(q + 1, end, NAME);
  if (after < end && after - p != sizeof lang - 1) return q;
  return after - p < (ptrdiff_t)sizeof lang && memcmp(p, lang, (size_t)(after - p)) == 0 ? after : q;
}

/* Reads what follows a name or a value: the end of the tag, or an attribute up to the quote that opens its value. */
static inline int read_attribute(xm_scan *s, const char *from, const char **p, const char *end) {
  const char *name = skip(*p, end, SPACE), *after_name, *q;
  struct xm_scan_attribute *a = &s->attrs[s->n];
  if (name == end) return end - *p < LONGEST ? XM_SCAN_MORE : XM_SCAN_LEFT;
  s->is_empty = *name == '/';
  if (s->is_empty && name + 1 == end) return XM_SCAN_MORE;
  q = name + s->is_empty;
  if (*q == '>') {
    *p = q + 1;
    return XM_SCAN_STANZA;
  }
  if (name == *p || !is(*name, START) || s->n == XM_SCAN_ATTRIBUTES) return XM_SCAN_LEFT;
  after_name = end_of_name(name, end);
  q = skip(after_name, end, SPACE);
  if (q < end && *q == '=') q = skip(q + 1, end, SPACE);
  else if (q < end) return XM_SCAN_LEFT;
  if (q - *p >= LONGEST) return XM_SCAN_LEFT;
  if (q == end) return XM_SCAN_MORE;
  if (*q != '\'' && *q != '"') return XM_SCAN_LEFT;
  a->name = (xm_scan_span){at(from, name), at(name, after_name)};
  a->value.at = at(from, q + 1);
  a->is_coded = false;
  if (a->name.n == 5 && memcmp(name, "xmlns", 5) == 0) s->ns = s->n + 1;
  s->quote = *q;
  *p = q + 1;
  return GO_ON;
}

static inline int read_value(xm_scan *s, const char *from, const char **p, const char *end) {
  struct xm_scan_attribute *a = &s->attrs[s->n];
  uint32_t code;
  int len = 0;
  for (;;) {
    *p += xm_span(*p, (size_t)(end - *p), s->quote, '<', '&', '&');
    if (*p == end) return XM_SCAN_MORE;
    if (**p == s->quote) break;
    if (**p == '&') len = reference(*p, end, &code);
    else if ((unsigned char)**p >= 0x80) len = multi(*p, end);
    else len = is(**p, SPACE) ? 1 : -1;
    if (len <= 0) return len == 0 ? XM_SCAN_MORE : XM_SCAN_LEFT;
    a->is_coded = a->is_coded || (unsigned char)**p < 0x80;
    *p += len;
  }
  a->value.n = at(from, *p) - a->value.at;
  s->n++;
  s->quote = '\0';
  ++*p;
  return GO_ON;
}

/* XM_SCAN_STANZA: the tag is complete. */
static int read_start_tag(xm_scan *s, const char *from, const char *end) {
  bool goes_on = s->seen > s->at;
  const char *p = from + (goes_on ? s->seen : s->at);
  int rc = goes_on ? GO_ON : read_name(s, from, &p, end);
  while (rc == GO_ON) {
    if (!s->quote) rc = read_attribute(s, from, &p, end);
    if (rc == GO_ON) rc = read_value(s, from, &p, end);
  }
  s->seen = at(from, p);
  return rc;
}

static bool is_same(const char *from, xm_scan_span a, xm_scan_span b) {
  return a.n == b.n && memcmp(from + a.at, from + b.at, a.n) == 0;
}

static bool is_twice(const xm_scan *s, const char *from) {
  unsigned i, k;
  for (i = 1; i < s->n; i++)
    for (k = 0; k < i; k++)
      if (is_same(from, s->attrs[i].name, s->attrs[k].name)) return true;
  return false;
}

static bool is_word(const char *from, xm_scan_span span, const char *word) {
  return span.n == strlen(word) && memcmp(from + span.at, word, span.n) == 0;
}

/* Namespaces in XML 1.0 3: two namespaces that may not be declared as the default. RFC 6120 4.8: a stanza isn't in the
 * namespace of streams. */
static bool is_plain_ns(const xm_scan *s, const char *from, const struct xm_scan_attribute *ns, const xm_bounds *b) {
  if (ns->is_coded || ns->value.n > b->ns) return false;
  if (is_word(from, ns->value, XM_NS_XML) || is_word(from, ns->value, XM_NS_XMLNS)) return false;
  return s->at > 0 || !is_word(from, ns->value, XM_NS_STREAM);
}

/* Is it within all bounds? */
static bool is_within(xm_scan *s, unsigned depth, unsigned attributes, const xm_bounds *b) {
  if (depth > 1) s->attributes += attributes;
  return s->seen - s->at <= b->start_tag && depth <= b->depth && s->nodes++ < b->nodes && attributes <= b->attributes &&
         s->attributes <= b->nodes;
}

static int put_attribute(xm_tape *t, const char *from, const struct xm_scan_attribute *a) {
  int rc = xm_tape_attr(t, "", 0, from + a->name.at, a->name.n, from + a->value.at, a->value.n);
  if (rc == XM_OK && a->is_coded) xm_tape_shorten(t, decode(xm_tape_last_value(t), a->value.n));
  return rc;
}

static int put_start(xm_scan *s, xm_tape *t, const char *from, const struct xm_scan_attribute *ns) {
  int rc = xm_tape_open(t, ns ? from + ns->value.at : NULL, ns ? ns->value.n : 0, from + s->name.at, s->name.n);
  unsigned i;
  for (i = 0; rc == XM_OK && i < s->n; i++)
    if (&s->attrs[i] != ns) rc = put_attribute(t, from, &s->attrs[i]);
  return rc == XM_OK && s->is_empty ? xm_tape_close(t) : rc;
}

/* Maps the result of an append to the tape: what doesn't fit is left to expat. */
static int took(int rc) {
  if (rc == XM_OK) return GO_ON;
  return rc == XM_ENOMEM ? rc : XM_SCAN_LEFT;
}

/* Notes that the bytes up to `p` are on the tape. */
static int go_on(xm_scan *s, const xm_tape *t, const char *from, const char *p) {
  s->at = (uint32_t)(p - from);
  s->seen = 0;
  return t->depth ? GO_ON : XM_SCAN_STANZA;
}

static int start(xm_scan *s, xm_tape *t, const xm_bounds *b, const char *around, const char *from, const char *end) {
  int rc = read_start_tag(s, from, end);
  const struct xm_scan_attribute *ns;
  if (rc != XM_SCAN_STANZA) return rc;
  if (s->at == 0) {
    s->nodes = s->attributes = 0;
    rc = took(xm_tape_reset(t, around));
    if (rc != GO_ON) return rc;
  }
  ns = s->ns ? &s->attrs[s->ns - 1] : NULL;
  if (!is_within(s, t->depth + 1, s->n - (ns != NULL), b) || is_twice(s, from)) return XM_SCAN_LEFT;
  if (ns && !is_plain_ns(s, from, ns, b)) return XM_SCAN_LEFT;
  rc = took(put_start(s, t, from, ns));
  return rc == GO_ON ? go_on(s, t, from, from + s->seen) : rc;
}

static int finish(xm_scan *s, xm_tape *t, const xm_bounds *b, const char *from, const char *end) {
  const char *p = from + s->at + 2, *name = xm_tape_name(t, t->open), *q;
  size_t n = t->recs[t->open].name_len, there = (size_t)(end - p);
  int rc;
  if (memcmp(p, name, n < there ? n : there) != 0) return XM_SCAN_LEFT;
  if (n >= there) return XM_SCAN_MORE;
  q = skip(p + n, end, SPACE);
  if (q - p > 2 * LONGEST || (size_t)(q - p) + 3 > b->start_tag) return XM_SCAN_LEFT;
  if (q == end) return XM_SCAN_MORE;
  if (*q != '>') return XM_SCAN_LEFT;
  rc = took(xm_tape_close(t));
  return rc == GO_ON ? go_on(s, t, from, q + 1) : rc;
}

/* Text. */

static int put_text(xm_scan *s, xm_tape *t, const xm_bounds *b, const char *text, size_t n) {
  uint32_t before = t->n;
  int rc = n ? took(xm_tape_text(t, text, n)) : GO_ON;
  return rc == GO_ON && t->n != before && s->nodes++ >= b->nodes ? XM_SCAN_LEFT : rc;
}

/* The length in bytes of the character at `p`, which isn't plain text; *code is what it stands for, or 0 if it stands
 * for itself. 0: it has not come completely. -1: it is not allowed. */
static int read_special(const char *p, const char *end, uint32_t *code) {
  *code = 0;
  switch (*p) {
    case '&': return reference(p, end, code);
    case '\r': *code = '\n'; return p + 1 == end ? 0 : p[1] == '\n' ? 2 : 1;
    case '\t': case '\n': return 1;
    case ']': /* the sequence that ends a CDATA section may not occur in text (XML 1.0 2.4) */
      if (p + 1 < end && p[1] != ']') return 1;
      if (p + 2 >= end) return 0;
      return p[2] == '>' ? -1 : 1;
    default: return (unsigned char)*p >= 0x80 ? multi(p, end) : -1;
  }
}

/* Reads text up to what doesn't stand for itself: a tag, a reference, a line end, or the end of the input. */
static int read_run(xm_scan *s, xm_tape *t, const xm_bounds *b, const char *from, const char *text, const char *end) {
  const char *p = text;
  char character[4];
  uint32_t code = 0;
  int len = 1, rc;
  while (len > 0 && !code) {
    p += xm_span(p, (size_t)(end - p), '<', '&', ']', ']');
    if (p == end || *p == '<') break;
    len = read_special(p, end, &code);
    if (len > 0 && !code) p += len;
  }
  if (len < 0) return XM_SCAN_LEFT;
  rc = put_text(s, t, b, text, (size_t)(p - text));
  if (rc == GO_ON && len > 0 && code) {
    rc = put_text(s, t, b, character, xm_utf8_put(character, code));
    p += len;
  }
  s->at = (uint32_t)(p - from);
  return rc == GO_ON && len == 0 ? XM_SCAN_MORE : rc;
}

static int step(xm_scan *s, xm_tape *t, const xm_bounds *b, const char *around, const char *from, const char *end) {
  const char *p = from + s->at;
  if (p == end) return XM_SCAN_MORE;
  if (*p != '<') return s->at ? read_run(s, t, b, from, p, end) : XM_SCAN_LEFT;
  if (p + 1 == end) return XM_SCAN_MORE;
  if (p[1] != '/') return start(s, t, b, around, from, end);
  return s->at ? finish(s, t, b, from, end) : XM_SCAN_LEFT;
}

/* Is an incomplete stanza already over a bound? */
static bool is_too_long(const xm_scan *s, const xm_bounds *b, const char *from, size_t n) {
  return n > b->stanza || (n - s->at > b->start_tag && from[s->at] == '<');
}

int xm_scan_stanza(xm_scan *s, xm_tape *t, const xm_bounds *bounds, const char *ns, const char *from, size_t n) {
  int rc = n < INT32_MAX ? GO_ON : XM_SCAN_LEFT;
  while (rc == GO_ON) rc = step(s, t, bounds, ns, from, from + n);
  if (rc == XM_SCAN_MORE && is_too_long(s, bounds, from, n)) return XM_SCAN_LEFT;
  return rc == XM_SCAN_STANZA && s->at > bounds->stanza ? XM_SCAN_LEFT : rc;
}
