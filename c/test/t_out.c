/* out: what is written reads back unchanged, or is refused: every byte in every place, every code point, every sequence
 * that looks like UTF-8; Clark names; what is abandoned leaves no trace; a tape that is written and read is the
 * same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <unistr.h>

#include "err.h"
#include "xml.h"

#include "failing.h"

#include "../core/buf.c"
#include "../core/out.c"

#include "failing_off.h"

#include "corpus.h"
#include "events.h"

#define H "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

static const xm_bounds generous = {8 << 20, 64 * 1024, 200, 256, 50000, 1024};

/* A parser with the one element in `b` on its tape; NULL: it isn't read as one element. */
static xm_xml *parse(const xm_buf *b) {
  struct log got = {.after = &generous};
  xm_xml *x = xm_xml_new("jabber:client", &generous);
  bool fine = feed(x, &got, H, sizeof H - 1, true) && feed(x, &got, xm_buf_at(b), xm_buf_len(b), true) && got.n == 2;
  log_free(&got);
  if (fine) return x;
  xm_xml_free(x);
  return NULL;
}

/* <e to='before' NAME='value'>text</e> and the like, with `n` bytes of `s` in one of its places. */
enum place { ELEMENT, ATTRIBUTE, LOCAL, URI, VALUE, TEXT, PLACES };

static int put_attribute(xm_out *o, enum place place, const char *s, size_t n) {
  char name[64] = "{urn:x}";
  size_t len = 7;
  if (place == URI) len = 1;
  memcpy(name + len, s, n);
  len += n;
  if (place == URI) len += (size_t)sprintf(name + len, "}a");
  return xm_out_attr(o, name, len, "v", 1);
}

static int write_in_place(xm_out *o, enum place place, const char *s, size_t n) {
  int rc = place == ELEMENT ? xm_out_open(o, s, n) : xm_out_open(o, "e", 1);
  if (rc == XM_OK) rc = xm_out_attr(o, "to", 2, "before", 6);
  if (rc == XM_OK && place == ATTRIBUTE) rc = xm_out_attr(o, s, n, "v", 1);
  if (rc == XM_OK && (place == LOCAL || place == URI)) rc = put_attribute(o, place, s, n);
  if (rc == XM_OK && place == VALUE) rc = xm_out_attr(o, "a", 1, s, n);
  if (rc == XM_OK && place == TEXT) rc = xm_out_text(o, s, n);
  if (rc != XM_OK) return rc;
  return place == ELEMENT ? xm_out_close(o, s, n) : xm_out_close(o, "e", 1);
}

/* What the parser found in that place. */
static const char *found(const xm_tape *t, enum place place, size_t *n) {
  const xm_tape_rec *last = &t->recs[t->recs[0].attrs];
  const char *name = xm_tape_str(t, last->name);
  switch (place) {
    case ELEMENT: *n = t->recs[0].name_len; return xm_tape_name(t, 0);
    case ATTRIBUTE: *n = last->name_len; return name;
    case LOCAL: *n = last->name_len - 7; return name + 7;
    case URI: *n = last->name_len - 3; return name + 1;
    case VALUE: return xm_tape_get(t, 0, "a", n);
    default: return xm_tape_content(t, 0, n);
  }
}

/* Writes `s` there. If it is accepted, reads it back and compares; if not, checks that the buffer is unchanged. */
static bool goes_through(enum place place, const char *s, size_t n) {
  xm_buf b = XM_BUF_INIT;
  xm_out o;
  int rc;
  assert_int_equal(xm_buf_puts(&b, "<before/>"), XM_OK);
  o = xm_out_begin(&b);
  rc = write_in_place(&o, place, s, n);
  if (rc == XM_OK) {
    xm_xml *x;
    const char *back;
    size_t len = 0;
    xm_buf_consume(&b, 9);
    x = parse(&b);
    if (!x) fail_msg("not read back: %.*s", (int)xm_buf_len(&b), xm_buf_at(&b));
    back = found(xm_xml_tape(x), place, &len);
    if (len != n || memcmp(back, s, n) != 0) fail_msg("'%.*s' is read back as '%s'", (int)n, s, back);
    xm_xml_free(x);
  } else {
    assert_int_equal(rc, XM_EINVAL);
    assert_non_null(o.fault);
    xm_out_abandon(&o);
    assert_int_equal(xm_buf_len(&b), 9);
    assert_memory_equal(xm_buf_at(&b), "<before/>", 9);
  }
  xm_buf_free(&b);
  return rc == XM_OK;
}

/* The rules, written anew from XML 1.0 2.2 and Namespaces in XML 3. */

static bool is_char(unsigned long c) {
  return c == 9 || c == 10 || c == 13 || (c >= 0x20 && c <= 0xD7FF) || (c >= 0xE000 && c <= 0xFFFD) ||
         (c >= 0x10000 && c <= 0x10FFFF);
}

static bool is_letter(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_name_byte(int c) {
  return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

static void every_byte_in_every_place(void **state) {
  int c, where, place;
  (void)state;
  for (c = 0; c < 256; c++) {
    for (where = 0; where < 3; where++) {
      char s[] = "bcd";
      s[where] = (char)c;
      for (place = 0; place < PLACES; place++) {
        bool name = is_name_byte(c) && (where > 0 || is_letter(c)), text = c < 128 && is_char((unsigned)c);
        bool want = place <= LOCAL ? name : text;
        if (place == LOCAL && c == '}' && where < 2) want = true; /* so it ends the namespace */
        if (goes_through((enum place)place, s, 3) != want) fail_msg("byte %d at %d in place %d", c, where, place);
      }
    }
  }
  for (place = 0; place < PLACES; place++) assert_int_equal(goes_through((enum place)place, "", 0), place >= VALUE);
}

/* Encodes as UTF-8, surrogates too. */
static size_t encode(unsigned long c, char *to) {
  if (c < 0x80) return to[0] = (char)c, 1;
  if (c < 0x800) return to[0] = (char)(0xC0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
  if (c < 0x10000)
    return to[0] = (char)(0xE0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 63)), to[2] = (char)(0x80 | (c & 63)), 3;
  to[0] = (char)(0xF0 | c >> 18);
  to[1] = (char)(0x80 | (c >> 12 & 63));
  to[2] = (char)(0x80 | (c >> 6 & 63));
  to[3] = (char)(0x80 | (c & 63));
  return 4;
}

/* Code points that XML allows, 4,096 at a time; the others, and those near characters that are escaped, one by one. */
static void every_code_point_in(enum place place) {
  static char all[4 * 4096 + 4];
  size_t used = 0;
  unsigned long c;
  for (c = 0; c <= 0x10FFFF; c++) {
    char one[4];
    size_t n = encode(c, one);
    if (!is_char(c) || c < 0x100) assert_int_equal(goes_through(place, one, n), is_char(c));
    if (!is_char(c)) continue;
    memcpy(all + used, one, n);
    used += n;
    if (used < sizeof all - 4 && c < 0x10FFFF) continue;
    assert_true(goes_through(place, all, used));
    used = 0;
  }
  assert_int_equal(used, 0);
  assert_false(goes_through(place, "\xF4\x90\x80\x80", 4));
}

static void every_code_point_in_text(void **state) {
  (void)state;
  every_code_point_in(TEXT);
}

static void every_code_point_in_values(void **state) {
  (void)state;
  every_code_point_in(VALUE);
}

static bool is_utf8(const char *s, size_t n) {
  ucs4_t c = 0;
  if (u8_check((const uint8_t *)s, n)) return false;
  for (; n > 0; n -= (size_t)u8_strmblen((const uint8_t *)s), s += u8_strmblen((const uint8_t *)s)) {
    u8_strmbtouc(&c, (const uint8_t *)s);
    if (!is_char(c)) return false;
  }
  return true;
}

/* Only writes: what is accepted has been read back above. */
static bool is_taken(const char *s, size_t n) {
  static xm_buf b;
  xm_out o;
  bool taken;
  xm_buf_clear(&b);
  o = xm_out_begin(&b);
  assert_int_equal(xm_out_open(&o, "e", 1), XM_OK);
  taken = xm_out_text(&o, s, n) == XM_OK;
  xm_buf_free(&b);
  return taken;
}

/* All sequences of two and three bytes that begin beyond ASCII, and many of four; libunistring says which are UTF-8. */
static void sequences_are_utf8_or_refused(void **state) {
  static const char *const ends[] = {"\xC1\xBF",         "\xC2\x80",         "\xDF\xBF",         "\xE0\x9F\xBF",
                                     "\xE0\xA0\x80",     "\xED\x9F\xBF",     "\xED\xA0\x80",     "\xED\xBF\xBF",
                                     "\xEE\x80\x80",     "\xEF\xBF\xBD",     "\xEF\xBF\xBE",     "\xF0\x8F\xBF\xBF",
                                     "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80"};
  uint32_t i, seed = 20261122;
  char s[5] = {0};
  (void)state;
  for (i = 0; i < sizeof ends / sizeof *ends; i++)
    assert_int_equal(is_taken(ends[i], strlen(ends[i])), is_utf8(ends[i], strlen(ends[i])));
  for (i = 0x8000; i < 0x10000; i++) {
    s[0] = (char)(i >> 8);
    s[1] = (char)(i & 255);
    assert_int_equal(is_taken(s, 2), s[1] != 0 && is_utf8(s, 2));
  }
  for (i = 0; i < 600000; i++) {
    seed = seed * 1664525 + 1013904223;
    s[0] = (char)(0xE0 | (seed >> 28));
    s[1] = (char)(0x80 | (seed >> 8 & 0x7F));
    s[2] = (char)(0x80 | (seed >> 15 & 0x4F));
    s[3] = (char)(0x80 | (seed >> 20 & 0x3F));
    assert_int_equal(is_taken(s, 4), is_utf8(s, 4));
    s[3] = '\0';
    assert_int_equal(is_taken(s, 3), is_utf8(s, 3));
  }
}

static void check_written(const xm_buf *b, const char *wanted) {
  if (xm_buf_len(b) != strlen(wanted) || memcmp(xm_buf_at(b), wanted, strlen(wanted)) != 0)
    fail_msg("%.*s\ninstead of\n%s", (int)xm_buf_len(b), xm_buf_at(b), wanted);
}

static void elements_are_written_as_expected(void **state) {
  xm_buf b = XM_BUF_INIT;
  xm_out o = xm_out_begin(&b);
  (void)state;
  assert_int_equal(xm_out_start(&o, "iq", "type", "get", "to", NULL, "id", "a\t\n\r'\"<&>", NULL), XM_OK);
  assert_int_equal(xm_out_start(&o, "a", "xmlns", "urn:a", NULL), XM_OK);
  assert_int_equal(xm_out_attr(&o, "xml:lang", 8, "en", 2), XM_OK);
  assert_int_equal(xm_out_attr(&o, "{urn:b}c", 8, "1", 1), XM_OK);
  assert_int_equal(xm_out_attr(&o, "{urn:d'}e", 9, "2", 1), XM_OK);
  assert_int_equal(xm_out_attr(&o, "{" XM_NS_XML "}space", strlen(XM_NS_XML) + 7, "3", 1), XM_OK);
  assert_int_equal(xm_out_text(&o, "", 0), XM_OK);
  assert_int_equal(xm_out_end(&o, "a"), XM_OK);
  assert_int_equal(xm_out_text(&o, "\t\n\r'\"<&>]]>", 11), XM_OK);
  assert_int_equal(xm_out_start(&o, "b", NULL), XM_OK);
  assert_int_equal(xm_out_attr(&o, "{urn:b}c", 8, "", 0), XM_OK);
  assert_int_equal(xm_out_end(&o, "b"), XM_OK);
  assert_int_equal(xm_out_end(&o, "iq"), XM_OK);
  check_written(
      &b,
      "<iq type='get' id='a&#9;&#10;&#13;&apos;\"&lt;&amp;&gt;'><a xmlns='urn:a' xml:lang='en' xmlns:ns1='urn:b' "
      "ns1:c='1' xmlns:ns2='urn:d&apos;' ns2:e='2' xml:space='3'/>\t\n&#13;'\"&lt;&amp;&gt;]]&gt;<b "
      "xmlns:ns1='urn:b' ns1:c=''/></iq>");
  xm_buf_free(&b);
}

/* Where sixteen, eight or four bytes are examined at once, the same rules hold for each byte at each place. */

enum { LONGEST = 40 }; /* the longest text before it */

static void append(char *to, const char *what) {
  memcpy(to + strlen(to), what, strlen(what) + 1);
}

/* Appends an ASCII character to the string `to`, escaped as that place needs; false: it isn't allowed. */
static bool escape_anew(char *to, enum place place, int c) {
  const char one[] = {(char)c, '\0'};
  bool value = place == VALUE;
  if (!is_char((unsigned)c)) return false;
  if (c == '\r' || (value && (c == '\t' || c == '\n'))) return sprintf(to + strlen(to), "&#%d;", c) > 0;
  append(to, c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '\'' && value ? "&apos;" : one);
  return true;
}

/* Checks that `s` is written as `wanted`, or refused if that is NULL. A copy of exactly `n` bytes is used, so that a
 * sanitizer notices reads beyond it. */
static void check_as(enum place place, const char *s, size_t n, const char *wanted) {
  xm_buf b = XM_BUF_INIT;
  xm_out o = xm_out_begin(&b);
  char *exactly = malloc(n ? n : 1);
  memcpy(exactly, s, n);
  assert_int_equal(write_in_place(&o, place, exactly, n), wanted ? XM_OK : XM_EINVAL);
  if (wanted) check_written(&b, wanted);
  free(exactly);
  xm_buf_free(&b);
}

/* `special`, of `n` bytes, between `before` and `behind` plain ones is written as `as`; NULL: refused. */
static void check_amid(enum place place, size_t before, const char *special, size_t n, const char *as, size_t behind) {
  static const char plain[] = "plain, as most of what is written; and that is as long as forty bytes and more";
  char s[LONGEST + 40], wanted[LONGEST + 140];
  memcpy(s, plain, before);
  memcpy(s + before, special, n);
  memcpy(s + before + n, plain, behind);
  sprintf(wanted, "%s%.*s%s%.*s%s", place == TEXT ? "<e to='before'>" : "<e to='before' a='", (int)before, plain, as ? as : "",
          (int)behind, plain, place == TEXT ? "</e>" : "'/>");
  check_as(place, s, before + n + behind, as ? wanted : NULL);
}

static void each_byte_at_each_place(void **state) {
  static const size_t behind[] = {0, 1, 3, 7, 15, 20};
  size_t before, i;
  int c, place;
  (void)state;
  for (place = VALUE; place <= TEXT; place++)
    for (before = 0; before <= LONGEST; before++)
      for (c = 0; c < 256; c++)
        for (i = 0; i < sizeof behind / sizeof *behind; i++) {
          const char one = (char)c;
          char as[16] = "";
          bool fine = c < 0x80 && escape_anew(as, (enum place)place, c);
          check_amid((enum place)place, before, &one, 1, fine ? as : NULL, behind[i]);
        }
}

static void characters_at_each_place(void **state) {
  static const char *const fine[] = {"\xC2\x80",         "\xC3\xA9",         "\xE0\xA0\x80",     "\xE6\x97\xA5",
                                     "\xEF\xBF\xBD",     "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF",
                                     "\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80"};
  static const char *const bad[] = {"\xC1\xBF",         "\xED\xA0\x80", "\xEF\xBF\xBE",         "\xEF\xBF\xBF",
                                    "\xF4\x90\x80\x80", "\xC3\xA9\x80", "\xC3\xA9\xEF\xBF\xBF"};
  size_t before, i, n;
  int place;
  (void)state;
  for (place = VALUE; place <= TEXT; place++)
    for (before = 0; before <= LONGEST; before++) {
      for (i = 0; i < sizeof fine / sizeof *fine; i++) {
        check_amid((enum place)place, before, fine[i], strlen(fine[i]), fine[i], 0);
        check_amid((enum place)place, before, fine[i], strlen(fine[i]), fine[i], 3);
        for (n = strlen(fine[i]) - 1; n > 0 && (fine[i][n] & 0xC0) == 0x80; n--) { /* its last bytes are missing */
          check_amid((enum place)place, before, fine[i], n, NULL, 0);
          check_amid((enum place)place, before, fine[i], n, NULL, 3);
        }
      }
      for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_amid((enum place)place, before, bad[i], strlen(bad[i]), NULL, 0);
        check_amid((enum place)place, before, bad[i], strlen(bad[i]), NULL, 3);
      }
    }
}

/* The missing bytes follow in memory, but beyond the length that was given. */
static void bytes_beyond_the_length_do_not_count(void **state) {
  static const char s[] = "0123456789abcdef\xC3\xA9\xF0\x9F\x98\x80";
  static const size_t broken[] = {17, 19, 20, 21}, whole[] = {16, 18, 22};
  size_t i;
  (void)state;
  for (i = 0; i < 4; i++) assert_false(is_taken(s, broken[i]));
  for (i = 0; i < 3; i++) assert_true(is_taken(s, whole[i]));
}

/* In names of each length, so that the byte comes before and after those that are examined at once. */
static void each_byte_in_each_name(void **state) {
  char s[21], wanted[100];
  size_t n, at;
  int c, place;
  (void)state;
  for (place = ELEMENT; place <= ATTRIBUTE; place++)
    for (n = 1; n < sizeof s; n++)
      for (at = 0; at < n; at++)
        for (c = 0; c < 256; c++) {
          bool fine = is_name_byte(c) && (at > 0 || is_letter(c));
          if (c == '{' && at == 0) continue; /* it begins a namespace: see attribute_names_are_refused */
          memset(s, 'n', sizeof s);
          s[at] = (char)c;
          if (place == ELEMENT) sprintf(wanted, "<%.*s to='before'/>", (int)n, s);
          else sprintf(wanted, "<e to='before' %.*s='v'/>", (int)n, s);
          check_as((enum place)place, s, n, fine ? wanted : NULL);
        }
}

/* Beyond ASCII, a name's UTF-8 is checked, and the writer reports that it can't tell whether it is a valid name. */
static void wide_names_are_told_of(void **state) {
  char s[24];
  size_t n, at;
  (void)state;
  for (n = 2; n < 20; n++)
    for (at = 0; at + 1 < n; at++) {
      xm_buf b = XM_BUF_INIT;
      xm_out o = xm_out_begin(&b);
      memset(s, 'n', sizeof s);
      assert_int_equal(xm_out_open(&o, s, n), XM_OK);
      assert_false(o.wide);
      memcpy(s + at, "\xC3\xA9", 2);
      assert_int_equal(xm_out_open(&o, s, n), XM_OK);
      assert_true(o.wide);
      o.wide = false;
      assert_int_equal(xm_out_attr(&o, s, n, "", 0), XM_OK);
      assert_true(o.wide);
      s[at + 1] = 'n';
      assert_int_equal(xm_out_open(&o, s, n), XM_EINVAL);
      assert_int_equal(xm_out_attr(&o, s, n, "", 0), XM_EINVAL);
      xm_buf_free(&b);
    }
}

static void attribute_names_are_refused(void **state) {
  static const char *const names[] = {"a:b",
                                      "xmlns:a",
                                      "xml:space",
                                      "xml:",
                                      ":",
                                      "{",
                                      "{}",
                                      "{}a",
                                      "{urn:a",
                                      "{urn:a}",
                                      "{urn:a}b:c",
                                      "{urn:a}1",
                                      "{urn:a} b",
                                      "{http://www.w3.org/2000/xmlns/}a",
                                      "{http://www.w3.org/XML/1998/namespace}lang",
                                      "urn:a}b",
                                      "a{b}",
                                      "a='1' b",
                                      "a>"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof names / sizeof *names; i++)
    if (goes_through(ATTRIBUTE, names[i], strlen(names[i]))) fail_msg("%s", names[i]);
  assert_false(goes_through(ATTRIBUTE, "a\0b", 3));
  assert_true(goes_through(ATTRIBUTE, "{urn:a}b", 8));
  assert_true(goes_through(ATTRIBUTE, "{a}b}c", 6)); /* a namespace that contains a brace */
  assert_true(goes_through(ATTRIBUTE, "{{}}b", 5));
  assert_true(goes_through(ATTRIBUTE, "{ <&'>}b", 8));
  assert_true(goes_through(ATTRIBUTE, "{urn:a}xmlns", 12));
}

static void reserved_namespaces_are_refused_for_elements(void **state) {
  xm_buf b = XM_BUF_INIT;
  xm_out o = xm_out_begin(&b);
  (void)state;
  assert_int_equal(xm_out_open(&o, "a", 1), XM_OK);
  assert_int_equal(xm_out_attr(&o, "xmlns", 5, XM_NS_XML, strlen(XM_NS_XML)), XM_EINVAL);
  assert_int_equal(xm_out_attr(&o, "xmlns", 5, XM_NS_XMLNS, strlen(XM_NS_XMLNS)), XM_EINVAL);
  assert_int_equal(xm_out_attr(&o, "xmlns", 5, "", 0), XM_OK);
  xm_buf_free(&b);
}

/* All stanzas of the corpus: what is read and written again means the same. */
static void a_tape_is_written_as_it_was_read(void **state) {
  int i, written = 0;
  (void)state;
  for (i = 0; i < streams; i++) {
    xm_xml *x = xm_xml_new("jabber:client", &generous), *back;
    const char *s = xm_buf_at(&corpus[i].xml);
    size_t n = xm_buf_len(&corpus[i].xml), room;
    int ev = XM_XML_MORE;
    char *to = xm_xml_space(x, &room);
    assert_true(n <= room);
    memcpy(to, s, n);
    xm_xml_fill(x, n);
    while ((ev = xm_xml_next(x, NULL)) > XM_XML_MORE) {
      xm_buf b = XM_BUF_INIT, was = XM_BUF_INIT, is = XM_BUF_INIT;
      xm_out o = xm_out_begin(&b);
      if (ev == XM_XML_OPEN) xm_xml_set_bounds(x, &generous, XM_XML_SKIP);
      if (ev != XM_XML_STANZA || strncmp(xm_tape_ns(xm_xml_tape(x), 0), "http://etherx", 13) == 0) continue;
      assert_int_equal(xm_out_tape(&o, xm_xml_tape(x), 0), XM_OK);
      back = parse(&b);
      if (!back) fail_msg("%s: %.*s", corpus[i].name, (int)xm_buf_len(&b), xm_buf_at(&b));
      show_tape(&was, xm_xml_tape(x));
      show_tape(&is, xm_xml_tape(back));
      assert_int_equal(xm_buf_len(&was), xm_buf_len(&is));
      assert_memory_equal(xm_buf_at(&was), xm_buf_at(&is), xm_buf_len(&was));
      xm_xml_free(back);
      xm_buf_free(&b);
      xm_buf_free(&was);
      xm_buf_free(&is);
      written++;
    }
    xm_xml_free(x);
  }
  assert_true(written > 100);
}

/* A part of a tape, whose namespace is declared anew where that is needed. */
static void a_child_is_written_alone(void **state) {
  xm_buf in = XM_BUF_INIT, b = XM_BUF_INIT;
  xm_out o = xm_out_begin(&b);
  xm_xml *x;
  uint32_t child;
  (void)state;
  xm_buf_puts(&in, "<iq><q:query xmlns:q='urn:q' q:a='1'>t<q:x/></q:query><z/></iq>");
  x = parse(&in);
  assert_non_null(x);
  child = xm_tape_child(xm_xml_tape(x), 0, "urn:q", NULL);
  assert_int_equal(xm_out_tape(&o, xm_xml_tape(x), child), XM_OK);
  check_written(&b, "<query xmlns='urn:q' xmlns:ns1='urn:q' ns1:a='1'>t<x/></query>");
  xm_xml_free(x);
  xm_buf_free(&in);
  xm_buf_free(&b);
}

/* The namespace of "xml:" can't be declared; elements in it came with that prefix, and are written with it. */
static void the_prefix_xml_is_written_as_it_came(void **state) {
  static const char text[] = "<message><xml:a n='1'><b/><c xmlns='urn:c'><xml:d xml:e='2'>t</xml:d></c><xml:f/></xml:a>";
  xm_buf in = XM_BUF_INIT, b = XM_BUF_INIT;
  xm_out o = xm_out_begin(&b);
  xm_xml *x, *back;
  xm_buf was = XM_BUF_INIT, is = XM_BUF_INIT;
  (void)state;
  xm_buf_puts(&in, text);
  xm_buf_puts(&in, "</message>");
  x = parse(&in);
  assert_non_null(x);
  assert_int_equal(xm_out_tape(&o, xm_xml_tape(x), 0), XM_OK);
  back = parse(&b);
  assert_non_null(back);
  show_tape(&was, xm_xml_tape(x));
  show_tape(&is, xm_xml_tape(back));
  assert_int_equal(xm_buf_len(&was), xm_buf_len(&is));
  assert_memory_equal(xm_buf_at(&was), xm_buf_at(&is), xm_buf_len(&was));
  check_written(&b, "<message><xml:a n='1'><b xmlns='jabber:client'/><c xmlns='urn:c'><xml:d xml:e='2'>t</xml:d></c>"
                    "<xml:f/></xml:a></message>");
  xm_xml_free(x);
  xm_xml_free(back);
  xm_buf_free(&in);
  xm_buf_free(&b);
  xm_buf_free(&was);
  xm_buf_free(&is);
}

/* What is within the bounds, xml would accept, and is written; one more of anything is refused by both. */
static int write_bounded(xm_buf *b, const xm_bounds *bounds, unsigned depth, unsigned attributes, unsigned texts) {
  xm_out o = xm_out_begin_within(b, bounds);
  unsigned i;
  int rc = XM_OK;
  for (i = 0; i < depth && rc == XM_OK; i++) rc = xm_out_open(&o, "a", 1);
  for (i = 0; i < attributes && rc == XM_OK; i++) rc = xm_out_attr(&o, (char[]){'a', (char)('a' + i), 0}, 2, "x", 1);
  for (i = 0; i < texts && rc == XM_OK; i++) {
    rc = xm_out_text(&o, "t", 1);
    if (rc == XM_OK) rc = xm_out_text(&o, "t", 1); /* adjacent texts count as one */
    if (rc == XM_OK) rc = xm_out_open(&o, "b", 1);
    if (rc == XM_OK) rc = xm_out_close(&o, "b", 1);
  }
  for (i = 0; i < depth && rc == XM_OK; i++) rc = xm_out_close(&o, "a", 1);
  if (rc == XM_EINVAL) assert_non_null(strstr(o.fault, "the option max_"));
  if (rc < 0) xm_out_abandon(&o);
  return rc;
}

static void bounds_are_those_of_what_comes_in(void **state) {
  unsigned depth, attributes, texts;
  int written = 0, refused = 0;
  (void)state;
  for (depth = 1; depth < 7; depth++) {
    for (attributes = 0; attributes < 7; attributes++) {
      for (texts = 0; texts < 7; texts++) {
        static const xm_bounds bounds = {60, 22, 5, 4, 11, 10}, none = {1000, 1000, 100, 100, 100, 100};
        xm_buf b = XM_BUF_INIT;
        struct log got = {0};
        xm_xml *x = xm_xml_new("jabber:client", &generous);
        int rc = write_bounded(&b, &bounds, depth, attributes, texts);
        if (rc < 0) assert_int_equal(write_bounded(&b, &none, depth, attributes, texts), XM_OK);
        assert_true(feed(x, &got, H, sizeof H - 1, true));
        xm_xml_set_bounds(x, &bounds, XM_XML_SKIP);
        assert_true(feed(x, &got, xm_buf_at(&b), xm_buf_len(&b), true));
        assert_non_null(memmem(xm_buf_at(&got.text), xm_buf_len(&got.text), rc < 0 ? "\nK max_" : "\nS <", 4));
        written += rc == XM_OK;
        refused += rc == XM_EINVAL;
        log_free(&got);
        xm_xml_free(x);
        xm_buf_free(&b);
      }
    }
  }
  assert_true(written > 30 && refused > 30);
}

static void memory_that_runs_out_is_told(void **state) {
  static char large[3001];
  long n = 0;
  bool failed;
  (void)state;
  memset(large, '<', sizeof large - 1);
  do {
    xm_buf b = XM_BUF_INIT;
    xm_out o;
    int rc;
    assert_int_equal(xm_buf_puts(&b, "before"), XM_OK);
    heap_fails(n++, true);
    o = xm_out_begin(&b);
    rc = xm_out_start(&o, "a", "{urn:b}c", large, NULL);
    if (rc == XM_OK) rc = xm_out_text(&o, large, sizeof large - 1);
    if (rc == XM_OK) rc = xm_out_end(&o, "a");
    failed = heap_is_well();
    assert_int_equal(rc, failed ? XM_ENOMEM : XM_OK);
    xm_out_abandon(&o);
    check_written(&b, "before");
    xm_buf_free(&b);
  } while (failed);
  assert_true(n > 4);
}

/* Memory runs out at any place in a tag or a text: `x` is written after `bytes` bytes, and the buffer can't grow. */
static int write_behind(size_t bytes, const xm_tape *x) {
  xm_buf b = XM_BUF_INIT;
  xm_out o;
  int rc;
  while (bytes-- > 0) assert_int_equal(xm_buf_putc(&b, ' '), XM_OK);
  o = xm_out_begin(&b);
  heap_fails(0, true);
  rc = xm_out_tape(&o, x, 0);
  assert_int_equal(rc, heap_is_well() ? XM_ENOMEM : XM_OK);
  xm_buf_free(&b);
  return rc;
}

static void nothing_is_written_without_memory(void **state) {
  xm_buf in = XM_BUF_INIT;
  size_t bytes;
  int noes = 0;
  xm_xml *x;
  (void)state;
  xm_buf_puts(&in, "<iq xml:lang='en' id='1'><x xmlns='urn:x' a:b='c' xmlns:a='urn:a'>t&lt;<y/></x><xml:z>u</xml:z></iq>");
  x = parse(&in);
  assert_non_null(x);
  for (bytes = 0; bytes < 5000; bytes++) noes += write_behind(bytes, xm_xml_tape(x)) < 0;
  assert_true(noes > 100 && noes < 4900);
  xm_xml_free(x);
  xm_buf_free(&in);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_byte_in_every_place),
      cmocka_unit_test(every_code_point_in_text),
      cmocka_unit_test(every_code_point_in_values),
      cmocka_unit_test(sequences_are_utf8_or_refused),
      cmocka_unit_test(elements_are_written_as_expected),
      cmocka_unit_test(each_byte_at_each_place),
      cmocka_unit_test(characters_at_each_place),
      cmocka_unit_test(bytes_beyond_the_length_do_not_count),
      cmocka_unit_test(each_byte_in_each_name),
      cmocka_unit_test(wide_names_are_told_of),
      cmocka_unit_test(attribute_names_are_refused),
      cmocka_unit_test(reserved_namespaces_are_refused_for_elements),
      cmocka_unit_test(a_tape_is_written_as_it_was_read),
      cmocka_unit_test(a_child_is_written_alone),
      cmocka_unit_test(the_prefix_xml_is_written_as_it_came),
      cmocka_unit_test(bounds_are_those_of_what_comes_in),
      cmocka_unit_test(memory_that_runs_out_is_told),
      cmocka_unit_test(nothing_is_written_without_memory),
  };
  return cmocka_run_group_tests(tests, load_corpus, free_corpus);
}
