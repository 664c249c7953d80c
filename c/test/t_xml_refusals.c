/* xml: what RFC 6120 11.1 and the limits refuse, with which condition, and what they must accept; each in one piece,
 * byte by byte, and cut once at every place. */
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

#include "xml.h"

#include "events.h"

#define STREAMS "http://etherx.jabber.org/streams"
#define H "<stream:stream xmlns='jabber:client' xmlns:stream='" STREAMS "'>"
#define NWF "not-well-formed"
#define RESTRICTED "restricted-xml"

static const xm_bounds generous = {1 << 20, 64 * 1024, 128, 256, 50000, 1024};

/* The condition that it ends with ("": none); neither that nor the events before may depend on how the input is cut.
 * `after`: see events.h. */
static void check_after(const xm_bounds *limits, const xm_bounds *after, const char *s, size_t n, const char *condition) {
  struct log whole = {.after = after}, got = {.after = after};
  char wanted[80] = "";
  size_t cut, tail;
  if (*condition) snprintf(wanted, sizeof wanted, "E %s\n", condition);
  tail = strlen(wanted);
  feed_in_pieces(&whole, limits, s, n, n);
  if (xm_buf_len(&whole.text) < tail ||
      memcmp(xm_buf_at(&whole.text) + xm_buf_len(&whole.text) - tail, wanted, tail) != 0)
    fail_msg("%.*s\ngives\n%.*s\nnot %s", (int)n, s, (int)xm_buf_len(&whole.text), xm_buf_at(&whole.text), condition);
  if (!*condition) assert_null(memmem(xm_buf_at(&whole.text), xm_buf_len(&whole.text), "E ", 2));
  for (cut = 1; cut < n && cut < 2000; cut++) { /* 1: byte by byte */
    struct log two = {.after = after};
    xm_xml *x = xm_xml_new("jabber:client", limits);
    if (cut == 1) feed_in_pieces(&got, limits, s, n, 1);
    if (feed(x, &two, s, cut, true)) feed(x, &two, s + cut, n - cut, true);
    if (xm_buf_len(&two.text) != xm_buf_len(&whole.text) ||
        memcmp(xm_buf_at(&two.text), xm_buf_at(&whole.text), xm_buf_len(&two.text)) != 0)
      fail_msg("%.*s\ncut at %zu gives\n%.*s", (int)n, s, cut, (int)xm_buf_len(&two.text), xm_buf_at(&two.text));
    log_free(&two);
    xm_xml_free(x);
  }
  assert_int_equal(xm_buf_len(&got.text), xm_buf_len(&whole.text));
  assert_memory_equal(xm_buf_at(&got.text), xm_buf_at(&whole.text), xm_buf_len(&got.text));
  log_free(&got);
  log_free(&whole);
}

static void check(const xm_bounds *limits, const char *s, size_t n, const char *condition) {
  check_after(limits, NULL, s, n, condition);
}

/* As during a login and as after it. */
static void check_both(const char *s, size_t n, const char *condition) {
  check_after(&generous, NULL, s, n, condition);
  check_after(&generous, &generous, s, n, condition);
}

static const struct row {
  const char *bytes, *condition;
} rows[] = {
    /* RFC 6120 11.1: comments, processing instructions, DTDs, entities */
    {"<!DOCTYPE stream:stream>" H, RESTRICTED},
    {"<?xml version='1.0'?><!DOCTYPE a SYSTEM 'http://x.example/a.dtd'>" H, RESTRICTED},
    {"<!DOCTYPE a [<!ENTITY b 'boo'>]>" H "<message>&b;</message>", RESTRICTED},
    {"<!DOCTYPE a [<!ENTITY % p SYSTEM 'file:///etc/passwd'> %p;]>" H, RESTRICTED},
    {"<!DOCTYPE a [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]>" H "<a>&c;</a>",
     RESTRICTED},
    {H "<!DOCTYPE a>", NWF},
    {H "<message><!DOCTYPE a></message>", NWF},
    {"<!-- c -->" H, RESTRICTED},
    {H "<!-- c -->", RESTRICTED},
    {H "<message><!-- c --></message>", RESTRICTED},
    {H "<message/><!---->", RESTRICTED},
    {"<?pi x?>" H, RESTRICTED},
    {"<?xml-stylesheet href='x'?>" H, RESTRICTED},
    {H "<?pi?>", RESTRICTED},
    {H "<message><body><?php echo ?></body></message>", RESTRICTED},
    {H "<message>&nbsp;</message>", RESTRICTED},
    {H "<message a='&foo;'/>", RESTRICTED},
    /* the declaration */
    {"<?xml version='1.1'?>" H, NWF},
    {"<?xml version='2.0'?>" H, NWF},
    {"<?xml version='1.0' encoding='ISO-8859-1'?>" H, "unsupported-encoding"},
    {"<?xml version='1.0' encoding='UTF-16'?>" H, "unsupported-encoding"},
    {"<?xml version='1.0' encoding='US-ASCII'?>" H, "unsupported-encoding"},
    {"<?xml version='1.0' encoding='x-none'?>" H, "unsupported-encoding"},
    {"<?xml version='1.0' standalone='no'?>" H, RESTRICTED},
    {"<?xml encoding='UTF-8'?>" H, NWF},
    {" <?xml version='1.0'?>" H, NWF},
    {H "<?xml version='1.0'?>", NWF},
    /* streams in streams, and other roots */
    {H "<stream:stream>", "bad-format"},
    {H "<stream:message/>", "bad-format"},
    {"<stream xmlns='jabber:client'>", "invalid-namespace"},
    {"<html>", "invalid-namespace"},
    {"<stream:stream xmlns:stream='http://etherx.jabber.org/streamsX'>", "invalid-namespace"},
    {"<stream:stream xmlns:stream='http://etherx.jabber.org/stream'>", "invalid-namespace"},
    {"<stream:stream xmlns='jabber:server' xmlns:stream='" STREAMS "'>", "invalid-namespace"},
    {"<stream:features xmlns:stream='" STREAMS "'/>", "bad-format"},
    /* namespaces */
    {H "<a:b/>", "bad-namespace-prefix"},
    {H "<message a:b='c'/>", "bad-namespace-prefix"},
    {H "<message xmlns:a='urn:a'/><a:b/>", "bad-namespace-prefix"},
    {"<stream:stream>", "bad-namespace-prefix"},
    {H "<message xmlns:a=''/>", NWF},
    {H "<message xmlns:xml='urn:x'/>", NWF},
    {H "<message xmlns:xmlns='urn:x'/>", NWF},
    {H "<message xmlns:x='http://www.w3.org/2000/xmlns/'/>", NWF},
    {H "<message xmlns='http://www.w3.org/XML/1998/namespace'/>", NWF},
    {H "<a:b:c xmlns:a='urn:a'/>", NWF},
    {H "<message a='1' a='2'/>", NWF},
    {H "<message xmlns:a='urn:1' xmlns:b='urn:1' a:c='1' b:c='2'/>", NWF},
    {H "<message xmlns='urn:1' xmlns='urn:2'/>", NWF},
    /* between stanzas */
    {H "x", "bad-format"},
    {H "<message/>, <message/>", "bad-format"},
    {H "&#65;", "bad-format"},
    {H "<![CDATA[x]]>", "bad-format"},
    {H "\xC2\xA0<message/>", "bad-format"},
    {"x" H, NWF},
    {"&#32;" H, NWF},
    /* form */
    {H "<a></b>", NWF},
    {H "</message>", NWF},
    {H "<a><b></a></b>", NWF},
    {H "<a b='1'c='2'/>", NWF},
    {H "<a b/>", NWF},
    {H "<a b=c/>", NWF},
    {H "<a b='<'/>", NWF},
    {H "<a>]]></a>", NWF},
    {H "<a>&</a>", NWF},
    {H "< a/>", NWF},
    {H "<1/>", NWF},
    {H "<a/ >", NWF},
    {"GET / HTTP/1.1\r\n\r\n", NWF},
    {"\xEF\xBF\xBD" H, NWF},
    {"\xEF\xBB\xBF" H, NWF},
    {"\xEF\xBB\xBF<?xml version='1.0'?>" H, NWF},
    {"<?xml version='1.0'?>\xEF\xBB\xBF" H, NWF},
    {H "\xEF\xBB\xBF<message/>", "bad-format"},
    {"\xFE\xFF", "unsupported-encoding"},
    {"\xFF\xFE<", "unsupported-encoding"},
    /* characters */
    {H "<a>\x01</a>", NWF},
    {H "<a>\x0B</a>", NWF},
    {H "<a b='\x1F'/>", NWF},
    {H "<a>&#0;</a>", NWF},
    {H "<a>&#1;</a>", NWF},
    {H "<a>&#xFFFE;</a>", NWF},
    {H "<a>&#xD800;</a>", NWF},
    {H "<a>&#x110000;</a>", NWF},
    {H "<a b='&#0;'/>", NWF},
    {H "<a>\x80</a>", NWF},
    {H "<a>\xC0\x80</a>", NWF},
    {H "<a>\xC1\xBF</a>", NWF},
    {H "<a>\xE0\x80\xAF</a>", NWF},
    {H "<a>\xF0\x80\x80\x80</a>", NWF},
    {H "<a>\xED\xA0\x80</a>", NWF},
    {H "<a>\xED\xBF\xBF</a>", NWF},
    {H "<a>\xEF\xBF\xBE</a>", NWF},
    {H "<a>\xEF\xBF\xBF</a>", NWF},
    {H "<a>\xF4\x90\x80\x80</a>", NWF},
    {H "<a>\xF5\x80\x80\x80</a>", NWF},
    {H "<a>\xFF</a>", NWF},
    {H "<a>\xC3<b/></a>", NWF},
    {H "<a b='\xE2\x82'/>", NWF},
    {H "<a\xC3/>", NWF},
    {H "<a xmlns='urn:\xFF"
       "b'/>",
     NWF},
    /* what must pass */
    {"<?xml version='1.0' encoding='utf-8' standalone='yes'?>" H, ""},
    {"\n\n" H "<message/>", ""},
    {H " \t\r\n<message/>&#32;<![CDATA[ \n]]><message/>", ""},
    {H "<stream:features/><stream:error/>", ""},
    {H "<message xml:lang='x'><a xmlns:xml='http://www.w3.org/XML/1998/namespace'/></message>", ""},
    {H "<message>]] ></message>", ""},
    {H "<message a='\xEF\xBB\xBF'>\xEF\xBB\xBF</message>", ""},
    {H "<messages/><x xmlns='urn:x'/>", ""},
    /* inside of a stanza, the streams namespace is like any other */
    {H "<message><stream:stream/></message>", ""},
    {H "<message><stream:error/></message>", ""},
    {H "<message><x xmlns='" STREAMS "'/></message>", ""},
    {H "<message xmlns:s='" STREAMS "'><body><s:features/></body></message>", ""},
    {H "<stream:features><stream:x/></stream:features>", ""},
};

static void refusals_have_their_names(void **state) {
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++)
    check_both(rows[i].bytes, strlen(rows[i].bytes), rows[i].condition);
  check_both(H "<a>\0</a>", sizeof H + 7, NWF);
}

/* Other encodings, which expat recognises by their first bytes (RFC 6120 11.6). */
static void utf16_is_no_utf8(void **state) {
  static const char all[] = H "<message/>";
  char wide[2 * sizeof all + 2] = "\xFF\xFE";
  size_t i;
  (void)state;
  for (i = 0; i < sizeof all - 1; i++) wide[2 + 2 * i] = all[i];
  check_both(wide, 2 * sizeof all, "unsupported-encoding");
  check_both(wide + 2, 2 * sizeof all - 2, "unsupported-encoding");
  check_both(wide + 3, 2 * sizeof all - 3, "unsupported-encoding");
}

/* In a stream after a restart, a byte order mark counts as text. */
static void a_restarted_stream_has_no_byte_order_mark_either(void **state) {
  static const char all[] = H, marked[] = "\xEF\xBB\xBF" H;
  struct log got = {0};
  xm_err e = {0};
  xm_xml *x = xm_xml_new("jabber:client", &generous);
  (void)state;
  assert_true(feed(x, &got, all, sizeof all - 1, true));
  assert_int_equal(xm_xml_restart(x), XM_OK);
  assert_false(feed(x, &got, marked, sizeof marked - 1, true));
  assert_int_equal(xm_xml_next(x, &e), XM_EFAIL);
  assert_string_equal(e.condition, NWF);
  log_free(&got);
  xm_xml_free(x);
}

/* Some servers send a line end after <success/>. Nothing but white space is passed over. */
static void white_space_between_two_streams_is_passed_over(void **state) {
  static const struct {
    const char *between;
    int events; /* after it */
  } rows[] = {{"", 2}, {"\n", 2}, {" \t\r\n", 2}, {"\f", 0}, {"\v", 0}, {"\xC2\xA0", 0}, {"\n.", 0}, {"&#10;", 0}, {"\n<!-- -->", 0},
              {"<?xml version='1.0'?>", 0}, {"\n\xEF\xBB\xBF", 0}};
  static const char second[] = "<?xml version='1.0'?>" H "<message/>";
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    int round;
    xm_xml *x = xm_xml_new("jabber:client", &generous);
    for (round = 0; round < 3; round++) {
      const char *between = round ? rows[i].between : "";
      struct log got = {0};
      bool fine = feed(x, &got, between, strlen(between), true) && feed(x, &got, second, sizeof second - 1, true);
      assert_int_equal(fine, round == 0 || rows[i].events > 0);
      assert_int_equal(got.n, fine ? 2 : 0);
      log_free(&got);
      if (fine) feed(x, &got, "<success xmlns='urn:x'/>", 24, true);
      log_free(&got);
      assert_int_equal(xm_xml_restart(x), XM_OK);
    }
    xm_xml_free(x);
  }
}

/* Inside of the new stream, white space is text, wherever a read begins. */
static void white_space_in_a_stream_that_follows_is_text(void **state) {
  static const char *const reads[] = {"<message><body>", " \n", "Hi", "\t", "</body>", " </message>"};
  struct log got = {0};
  xm_xml *x = xm_xml_new("jabber:client", &generous);
  size_t i;
  (void)state;
  assert_true(feed(x, &got, H "<success xmlns='urn:x'/>", sizeof H "<success xmlns='urn:x'/>" - 1, true));
  assert_int_equal(xm_xml_restart(x), XM_OK);
  assert_true(feed(x, &got, H, sizeof H - 1, true));
  for (i = 0; i < sizeof reads / sizeof *reads; i++) assert_true(feed(x, &got, reads[i], strlen(reads[i]), true));
  assert_int_equal(got.n, 4);
  assert_string_equal(xm_tape_content(xm_xml_tape(x), xm_tape_child(xm_xml_tape(x), 0, NULL, "body"), NULL), " \nHi\t");
  log_free(&got);
  xm_xml_free(x);
}

/* A refusal is final, and its error is the stream's. */
static void nothing_comes_after_a_refusal(void **state) {
  static const char all[] = H "<message/><!-- --><message/>";
  struct log got = {0};
  xm_err e = {0}, again = {0};
  xm_xml *x = xm_xml_new("jabber:client", &generous);
  (void)state;
  assert_false(feed(x, &got, all, sizeof all - 1, true));
  assert_int_equal(got.n, 2);
  assert_int_equal(xm_xml_next(x, &e), XM_EFAIL);
  assert_int_equal(xm_xml_drained(x, &again), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_STREAM);
  assert_false(e.retry);
  assert_string_equal(e.condition, again.condition);
  assert_true(strlen(e.text) > 20);
  log_free(&got);
  xm_xml_free(x);
}

/* Limits: what just fits is accepted, one more isn't. */

static void check_limit(const char *s, size_t n, size_t *size, unsigned *number, size_t exact, xm_bounds *limits) {
  const char *verdicts[] = {"policy-violation", "", ""};
  size_t k;
  for (k = 0; k < 3; k++) {
    if (size) *size = exact + k - 1;
    if (number) *number = (unsigned)(exact + k - 1);
    check(limits, s, n, verdicts[k]);
  }
  *limits = generous;
}

static void stanzas_have_so_many_bytes(void **state) {
  static const char *const stanzas[] = {"<message><body>Hello</body></message>", "<message id='0123456789'/>",
                                        "<message>\n<a><b>&amp;&#65;</b><c/></a>   </message>",
                                        "<m\xC3\xA9><![CDATA[0123456789 0123456789]]></m\xC3\xA9>"};
  xm_bounds limits = generous;
  char all[400];
  size_t i, n;
  (void)state;
  for (i = 0; i < sizeof stanzas / sizeof *stanzas; i++) {
    n = (size_t)snprintf(all, sizeof all, H "<a/>  \n%s%s   ", stanzas[i], stanzas[i]);
    check_limit(all, n, &limits.stanza, NULL, strlen(stanzas[i]), &limits);
  }
}

/* A start tag of 28 KB in three reads: at the second read expat delays parsing, so at the third the stanza's end is
 * there, followed by more bytes than a stanza may have. They don't all belong to the stanza. */
static void bytes_of_the_next_stanza_do_not_count(void **state) {
  enum { TEXT = 30 * 1024, VALUE = 28 * 1024 };
  char *all = malloc(200 * 1024), *at = all;
  xm_bounds limits = generous;
  size_t begin, size, first;
  (void)state;
  at += sprintf(at, H);
  begin = (size_t)(at - all);
  at += sprintf(at, "<message><body>%0*d</body><x a='%0*d'/></message>", TEXT, 1, VALUE, 2);
  limits.stanza = (size_t)(at - all) - begin;
  at += sprintf(at, "<message id='%0*d'/>", 50 * 1024, 3);
  for (first = 1; first < 16 * 1024; first += 411) {
    for (size = limits.stanza - 1; size <= limits.stanza; size++) {
      const xm_bounds exact = {size, 64 * 1024, 128, 256, 50000, 1024};
      struct log got = {0};
      xm_xml *x = xm_xml_new("jabber:client", &exact);
      bool fine = feed(x, &got, all, first, false) && feed(x, &got, all + first, (size_t)(at - all) - first, true);
      assert_int_equal(fine, size == limits.stanza);
      if (fine) assert_int_equal(got.n, 3);
      log_free(&got);
      xm_xml_free(x);
    }
  }
  free(all);
}

static void tags_have_so_many_bytes(void **state) {
  xm_bounds limits = generous;
  char all[1000], tag[300];
  size_t n;
  (void)state;
  snprintf(tag, sizeof tag, "<a b='%0150d'>", 1);
  n = (size_t)snprintf(all, sizeof all, H "%st</a><a/>", tag);
  check_limit(all, n, &limits.start_tag, NULL, strlen(tag), &limits);
  snprintf(tag, sizeof tag, "<a b='%0150d'/>", 1);
  n = (size_t)snprintf(all, sizeof all, H "<c>%s</c>", tag);
  check_limit(all, n, &limits.start_tag, NULL, strlen(tag), &limits);
  snprintf(tag, sizeof tag, "</c%150s>", "");
  n = (size_t)snprintf(all, sizeof all, H "<c>x%s<d/>", tag);
  check_limit(all, n, &limits.start_tag, NULL, strlen(tag), &limits);
  check_limit(H "<a>t</a>", sizeof H + 7, &limits.start_tag, NULL, sizeof H - 1, &limits);
}

static void counts_have_their_limits(void **state) {
  static const char deep[] = H "<a/><a><b><c>x</c></b><b/></a>",
                    wide[] = H "<a/><m a='1' b='2' xmlns:p='urn:p' p:a='3'/>",
                    many[] = H "<a/><m>t<b/><c>u</c>v</m><a/>",
                    marked[] = H "<a/><m a='1' b='2'>t<b a='1' b='2'/><b a='1' b='2'/><b a='1' b='2'/></m><a/>";
  xm_bounds limits = generous;
  (void)state;
  check_limit(deep, sizeof deep - 1, NULL, &limits.depth, 3, &limits);
  check_limit(wide, sizeof wide - 1, NULL, &limits.attributes, 3, &limits);
  check_limit(many, sizeof many - 1, NULL, &limits.nodes, 6, &limits);
  check_limit(marked, sizeof marked - 1, NULL, &limits.nodes, 6, &limits);
}

/* The attacks of the list, with the limits that are in use before a session is bound. */

static void check_bomb(const char *first, const char *again, size_t times, size_t most) {
  const xm_bounds real = {64 * 1024, 64 * 1024, 128, 256, 50000, 1024};
  struct log got = {0};
  xm_err e = {0};
  bool more = true;
  size_t i;
  xm_xml *x = xm_xml_new("jabber:client", &real);
  more = feed(x, &got, H, sizeof H - 1, true) && feed(x, &got, first, strlen(first), true);
  for (i = 0; i < times && more; i++) more = feed(x, &got, again, strlen(again), false);
  assert_false(more);
  assert_int_equal(got.n, 1);
  assert_int_equal(xm_xml_next(x, &e), XM_EFAIL);
  assert_string_equal(e.condition, "policy-violation");
  assert_true(i * strlen(again) <= most);
  assert_true(xm_xml_tape(x)->bytes.cap <= 1024 * 1024);
  log_free(&got);
  xm_xml_free(x);
}

static void bombs_are_refused_in_time(void **state) {
  char long_name[31 * 1024];
  (void)state;
  check_bomb("", "<a>", 200000, 3 * 129);
  check_bomb("<message>", "<a/>", 10000000, 66 * 1024);
  check_bomb("<message>", "x&amp;", 1400000, 66 * 1024);
  check_bomb("<message a='", "x", 10000000, 66 * 1024);
  check_bomb("<message", " xmlns:a='urn:x'", 100000, 66 * 1024);
  check_bomb("<message>", " ", 10000000, 66 * 1024);
  check_bomb("<message><![CDATA[", "<a>", 10000000, 66 * 1024);
  check_bomb("<message></message", " ", 10000000, 66 * 1024);
  snprintf(long_name, sizeof long_name, "<message xmlns:a='%030000d'>", 1);
  check_bomb(long_name, "<a:b/>", 10000, 1000);
  check_bomb(long_name, "<b a:c='' a:d='' a:e=''/>", 10000, 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refusals_have_their_names),
      cmocka_unit_test(utf16_is_no_utf8),
      cmocka_unit_test(a_restarted_stream_has_no_byte_order_mark_either),
      cmocka_unit_test(white_space_between_two_streams_is_passed_over),
      cmocka_unit_test(white_space_in_a_stream_that_follows_is_text),
      cmocka_unit_test(nothing_comes_after_a_refusal),
      cmocka_unit_test(stanzas_have_so_many_bytes),
      cmocka_unit_test(bytes_of_the_next_stanza_do_not_count),
      cmocka_unit_test(tags_have_so_many_bytes),
      cmocka_unit_test(counts_have_their_limits),
      cmocka_unit_test(bombs_are_refused_in_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
