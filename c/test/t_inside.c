/* inside: what a server offers to be put inside of SASL2's <authenticate/>, what is put there, and how the answer is
 * read: offers, requests, limits, answers, tokens and their expiry dates, each as a table; and memory that runs out.
 * t_nego2 tests whole logins. */
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

#include "failing.h"

#include "../core/buf.c"
#include "../core/inside.c"
#include "../core/out.c"

#include "failing_off.h"

#include "xml.h"

#define HT(kind) "<mechanism>HT-SHA-256-" kind "</mechanism>"
#define FAST(inside) "<fast xmlns='urn:xmpp:fast:0'>" inside "</fast>"
#define BIND(inside) "<bind xmlns='urn:xmpp:bind:0'>" inside "</bind>"
#define FEATURE(var) "<feature var='" var "'/>"
#define INLINE(inside) "<inline>" inside "</inline>"

/* A parser that has read the element, for its tape; the caller frees it. */
static xm_xml *read_element(const char *xml) {
  static const char header[] =
      "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
  const xm_bounds limits = {65536, 65536, 128, 256, 50000, 1024};
  xm_xml *x = xm_xml_new("jabber:client", &limits);
  const char *const texts[] = {header, xml};
  xm_err e = {0};
  int i, ev = XM_XML_MORE;
  assert_non_null(x);
  for (i = 0; i < 2; i++) {
    size_t n = strlen(texts[i]), room;
    ev = xm_xml_next(x, &e);
    assert_int_equal(ev, XM_XML_MORE);
    memcpy(xm_xml_space(x, &room), texts[i], n);
    assert_true(n <= room);
    xm_xml_fill(x, n);
    ev = xm_xml_next(x, &e);
    if (ev == XM_XML_MORE) ev = xm_xml_drained(x, &e);
  }
  if (ev != XM_XML_STANZA) fail_msg("%s: %s", xml, e.text);
  return x;
}

static unsigned token_bit(const char *name) {
  return xm_mech_token_bit(name, strlen(name));
}

static void offers(void **state) {
  const unsigned expr = token_bit("HT-SHA-256-EXPR"), uniq = token_bit("HT-SHA-256-UNIQ"), endp = token_bit("HT-SHA-256-ENDP"),
                 none = token_bit("HT-SHA-256-NONE");
  const struct {
    const char *inside;
    unsigned bits;
  } rows[] = {
      {"", 0},
      {INLINE(""), 0},
      {INLINE(BIND("")), XM_INSIDE_BIND},
      {INLINE(BIND(INLINE(""))), XM_INSIDE_BIND},
      {INLINE(BIND(INLINE(FEATURE("urn:xmpp:sm:3")))), XM_INSIDE_BIND | XM_INSIDE_ENABLE},
      {INLINE(BIND(INLINE(FEATURE("urn:xmpp:carbons:2")))), XM_INSIDE_BIND | XM_INSIDE_CARBONS},
      {INLINE(BIND(INLINE(FEATURE("urn:xmpp:csi:0")))), XM_INSIDE_BIND | XM_INSIDE_CSI},
      {INLINE(BIND(INLINE("<feature/>" FEATURE("x") FEATURE("urn:xmpp:csi:0") FEATURE("urn:xmpp:sm:3")
                          FEATURE("urn:xmpp:carbons:2")))),
       XM_INSIDE_BIND | XM_INSIDE_ENABLE | XM_INSIDE_CARBONS | XM_INSIDE_CSI},
      {INLINE(BIND(FEATURE("urn:xmpp:sm:3"))), XM_INSIDE_BIND}, /* not in the list that bind has */
      {INLINE(BIND(INLINE("<feature>urn:xmpp:sm:3</feature><feature xmlns='urn:x' var='urn:xmpp:sm:3'/>"))), XM_INSIDE_BIND},
      {INLINE(BIND("<inline xmlns='urn:xmpp:sasl:2'>" FEATURE("urn:xmpp:sm:3") "</inline>")), XM_INSIDE_BIND},
      {INLINE(BIND(INLINE(FEATURE("urn:xmpp:sm:2") FEATURE("urn:xmpp:sm:3 ") FEATURE("")))), XM_INSIDE_BIND},
      {INLINE("<bind/>" "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), 0},
      {BIND(INLINE(FEATURE("urn:xmpp:sm:3"))), 0}, /* not inside of <inline/> */
      {"<x xmlns='urn:x'>" INLINE(BIND("")) "</x>", 0},
      {"<inline xmlns='urn:x'>" BIND("") "</inline>", 0},
      {INLINE("<sm xmlns='urn:xmpp:sm:3'/>"), XM_INSIDE_RESUME},
      {INLINE("<sm xmlns='urn:xmpp:sm:2'/>"), 0},
      {INLINE(FEATURE("urn:xmpp:sm:3")), 0},
      {INLINE(FAST("")), 0},
      {INLINE(FAST(HT("EXPR"))), expr},
      {INLINE(FAST(HT("UNIQ") HT("ENDP"))), uniq | endp},
      {INLINE(FAST(HT("NONE") HT("EXPR") HT("NONE"))), none | expr},
      {INLINE(FAST("<mechanism>HT2-SHA-256-EXPR</mechanism><mechanism>HT-SHA-512-EXPR</mechanism>" HT("EXPR "))), 0},
      {INLINE(FAST("<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism><mechanism/>")), 0}, /* no HT-* */
      {INLINE("<fast xmlns='urn:x'>" HT("EXPR") "</fast>"), 0},
      {INLINE(FAST("<mechanism xmlns='urn:xmpp:sasl:2'>HT-SHA-256-EXPR</mechanism>")), 0},
      {FAST(HT("EXPR")), 0},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    char xml[2000];
    xm_xml *x;
    snprintf(xml, sizeof xml, "<stream:features><authentication xmlns='urn:xmpp:sasl:2'>%s</authentication></stream:features>",
             rows[i].inside);
    x = read_element(xml);
    if (xm_inside_offered(xm_xml_tape(x), xm_tape_child(xm_xml_tape(x), 0, NS_SASL2, "authentication")) != rows[i].bits)
      fail_msg("row %zu", i);
    xm_xml_free(x);
  }
}

static void limits(void **state) {
  static const struct {
    const char *limits;
    size_t most;
  } rows[] = {{"", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'/>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>", 10000},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><idle-seconds>9</idle-seconds><max-bytes>1</max-bytes></limits>", 1},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>0100</max-bytes></limits>", 100},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>999999999</max-bytes></limits>", 999999999},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>1000000000</max-bytes></limits>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>0</max-bytes></limits>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes/></limits>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>-1</max-bytes></limits>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>+1</max-bytes></limits>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes> 1</max-bytes></limits>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>1e3</max-bytes></limits>", 0},
              {"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes xmlns='urn:x'>1</max-bytes></limits>", 0},
              {"<limits xmlns='urn:x'><max-bytes>1</max-bytes></limits>", 0},
              {"<x xmlns='urn:x'><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>1</max-bytes></limits></x>", 0}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    char xml[2000];
    xm_xml *x;
    snprintf(xml, sizeof xml, "<stream:features>%s</stream:features>", rows[i].limits);
    x = read_element(xml);
    if (xm_inside_limit(xm_xml_tape(x)) != rows[i].most) fail_msg("row %zu", i);
    xm_xml_free(x);
  }
}

/* What is put inside. */

enum { ALL = XM_INSIDE_BIND | XM_INSIDE_ENABLE | XM_INSIDE_CARBONS | XM_INSIDE_CSI | XM_INSIDE_RESUME };
#define BOUND_WITH(inside) "<bind xmlns='urn:xmpp:bind:0'>" inside "</bind>"
#define ENABLE "<enable xmlns='urn:xmpp:sm:3'/>"
#define RESUMABLE "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
#define CARBONS "<enable xmlns='urn:xmpp:carbons:2'/>"
#define INACTIVE "<inactive xmlns='urn:xmpp:csi:0'/>"

static const xm_inside_wish whole = {.agent = "id", .software = "s", .device = "d", .bind = true, .tag = "t", .enable = true,
                                     .resumable = true, .carbons = true, .inactive = true, .previd = "p", .h = 1, .ask = "M"};
#define WHOLE "<user-agent id='id'><software>s</software><device>d</device></user-agent>" \
  "<resume xmlns='urn:xmpp:sm:3' h='1' previd='p'/>" BOUND_WITH("<tag>t</tag>" RESUMABLE CARBONS INACTIVE) \
  "<request-token xmlns='urn:xmpp:fast:0' mechanism='M'/>"

static void wishes(void **state) {
  static const struct {
    xm_inside_wish wish;
    unsigned offered;
    const char *put;
  } rows[] = {
      {{0}, ALL, ""},
      {{.agent = "id"}, 0, "<user-agent id='id'/>"},
      {{.software = "s"}, 0, "<user-agent><software>s</software></user-agent>"},
      {{.device = "d"}, 0, "<user-agent><device>d</device></user-agent>"},
      {{.agent = "'&<>", .software = "<&>", .device = "\xC3\xA9"}, 0,
       "<user-agent id='&apos;&amp;&lt;&gt;'><software>&lt;&amp;&gt;</software><device>\xC3\xA9</device></user-agent>"},
      {{.bind = true}, ALL, "<bind xmlns='urn:xmpp:bind:0'/>"},
      {{.bind = true}, ALL & ~XM_INSIDE_BIND, ""},
      {{.bind = true, .tag = "a&b"}, ALL, BOUND_WITH("<tag>a&amp;b</tag>")},
      {{.bind = true, .enable = true}, ALL, BOUND_WITH(ENABLE)},
      {{.bind = true, .enable = true, .resumable = true}, ALL, BOUND_WITH(RESUMABLE)},
      {{.bind = true, .resumable = true}, ALL, "<bind xmlns='urn:xmpp:bind:0'/>"},
      {{.bind = true, .enable = true}, ALL & ~XM_INSIDE_ENABLE, "<bind xmlns='urn:xmpp:bind:0'/>"},
      {{.bind = true, .carbons = true, .inactive = true}, ALL, BOUND_WITH(CARBONS INACTIVE)},
      {{.bind = true, .carbons = true, .inactive = true}, ALL & ~XM_INSIDE_CARBONS, BOUND_WITH(INACTIVE)},
      {{.bind = true, .carbons = true, .inactive = true}, ALL & ~XM_INSIDE_CSI, BOUND_WITH(CARBONS)},
      {{.enable = true, .carbons = true, .inactive = true, .tag = "t"}, ALL, ""}, /* of no wanted session */
      {{.previd = "p", .h = 4294967295u}, ALL, "<resume xmlns='urn:xmpp:sm:3' h='4294967295' previd='p'/>"},
      {{.previd = "<'&\">", .h = 0}, ALL, "<resume xmlns='urn:xmpp:sm:3' h='0' previd='&lt;&apos;&amp;\"&gt;'/>"},
      {{.previd = "p"}, ALL & ~XM_INSIDE_RESUME, ""},
      {{.ask = "HT-SHA-256-EXPR"}, 0, "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>"},
      {{.by_token = true}, 0, "<fast xmlns='urn:xmpp:fast:0'/>"},
      {{.by_token = true, .invalidate = true}, 0, "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>"},
      {{.invalidate = true}, 0, ""},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    xm_buf out = XM_BUF_INIT;
    assert_int_equal(xm_inside_put(&rows[i].wish, rows[i].offered, &out), XM_OK);
    assert_int_equal(xm_buf_putc(&out, '\0'), XM_OK);
    if (strcmp(xm_buf_at(&out), rows[i].put) != 0) fail_msg("row %zu: %s", i, xm_buf_at(&out));
    xm_buf_free(&out);
  }
}

static void memory_for_wishes(void **state) {
  long n = 0;
  bool failed;
  (void)state;
  do {
    xm_buf out = XM_BUF_INIT;
    int rc;
    heap_fails(n++, true);
    rc = xm_inside_put(&whole, ALL, &out);
    failed = heap_is_well();
    assert_int_equal(rc, failed ? XM_ENOMEM : XM_OK);
    if (!failed) assert_int_equal(xm_buf_len(&out), strlen(WHOLE));
    if (!failed) assert_memory_equal(xm_buf_at(&out), WHOLE, strlen(WHOLE));
    xm_buf_free(&out);
    assert_int_equal(heap.live, 0);
  } while (failed);
  assert_true(n > 1);
}

/* What the server answers. */

#define WHO "<authorization-identifier>a@b</authorization-identifier>"
#define BOUND(inside) "<bound xmlns='urn:xmpp:bind:0'>" inside "</bound>"
#define NOT_BOUND "<failed xmlns='urn:xmpp:bind:0'/>"
#define ENABLED "<enabled xmlns='urn:xmpp:sm:3'/>"
#define RESUMED "<resumed xmlns='urn:xmpp:sm:3'/>"
#define LOST "<failed xmlns='urn:xmpp:sm:3'/>"

/* What was found, a letter for each member, in the order of xm_inside_answer. */
static const char *found(const xm_inside_answer *a) {
  static char to[8];
  char *p = to;
  if (a->identifier) *p++ = 'i';
  if (a->bound) *p++ = 'b';
  if (a->refused) *p++ = 'f';
  if (a->enabled) *p++ = 'e';
  if (a->resumed) *p++ = 'r';
  if (a->lost) *p++ = 'l';
  *p = '\0';
  return to;
}

static void answers(void **state) {
  static const xm_inside_wish both = {.bind = true, .previd = "p"}, none = {0};
  static const struct {
    const char *inside;
    const xm_inside_wish *wish;
    unsigned offered;
    const char *found; /* or the error's condition */
  } rows[] = {
      {"", &both, ALL, ""},
      {WHO, &both, ALL, "i"},
      {WHO BOUND(""), &both, ALL, "ib"},
      {BOUND(ENABLED) WHO, &both, ALL, "ibe"},
      {RESUMED WHO, &both, ALL, "ir"},
      {LOST WHO BOUND(""), &both, ALL, "ibl"},
      {LOST WHO, &both, ALL, "il"},
      {LOST WHO, &none, ALL, "il"},
      {WHO NOT_BOUND, &both, ALL, "if"},
      {WHO NOT_BOUND LOST, &both, ALL, "ifl"},
      {WHO ENABLED, &both, ALL, "i"}, /* <enabled/> outside of <bound/> is ignored */
      {BOUND(WHO RESUMED LOST NOT_BOUND) WHO, &both, ALL, "ib"},
      {BOUND("<enabled xmlns='urn:xmpp:carbons:2'/><metadata xmlns='urn:xmpp:mam:2'/>") WHO, &both, ALL, "ib"},
      {"<bound/><resumed xmlns='urn:xmpp:sm:2'/><failed/><authorization-identifier xmlns='urn:x'/>", &both, ALL, ""},
      {WHO WHO, &both, ALL, "bad-format"},
      {BOUND("") BOUND(""), &both, ALL, "bad-format"},
      {NOT_BOUND NOT_BOUND, &both, ALL, "bad-format"},
      {RESUMED RESUMED, &both, ALL, "bad-format"},
      {LOST WHO LOST, &both, ALL, "bad-format"},
      {BOUND(ENABLED ENABLED), &both, ALL, "bad-format"},
      {BOUND("") RESUMED, &both, ALL, "undefined-condition"},
      {BOUND("") NOT_BOUND, &both, ALL, "undefined-condition"},
      {RESUMED LOST, &both, ALL, "undefined-condition"},
      {RESUMED, &none, ALL, "undefined-condition"},
      {RESUMED, &both, ALL & ~XM_INSIDE_RESUME, "undefined-condition"},
      {BOUND(""), &none, ALL, "undefined-condition"},
      {BOUND(""), &both, ALL & ~XM_INSIDE_BIND, "undefined-condition"},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    char xml[2000];
    xm_xml *x;
    xm_inside_answer a;
    xm_err e = {0};
    int rc;
    snprintf(xml, sizeof xml, "<success xmlns='urn:xmpp:sasl:2'>%s</success>", rows[i].inside);
    x = read_element(xml);
    memset(&a, 0xAA, sizeof a);
    rc = xm_inside_read(xm_xml_tape(x), rows[i].wish, rows[i].offered, &a, &e);
    if (strcmp(rc < 0 ? e.condition : found(&a), rows[i].found) != 0) fail_msg("row %zu: %s", i, rc < 0 ? e.text : found(&a));
    if (rc < 0) assert_int_equal(e.layer, XM_LAYER_STREAM);
    xm_xml_free(x);
  }
}

/* Tokens. */

static xm_token token_in(const char *inside) {
  char xml[4000];
  xm_xml *x;
  xm_token token;
  snprintf(xml, sizeof xml, "<success xmlns='urn:xmpp:sasl:2'>%s</success>", inside);
  x = read_element(xml);
  memset(&token, 0xAA, sizeof token);
  xm_inside_read_token(xm_xml_tape(x), &token);
  xm_xml_free(x);
  return token;
}

static void tokens(void **state) {
  static const char *const none[] = {
      "",
      "<token/>",
      "<token xmlns='urn:xmpp:fast:0'/>",
      "<token xmlns='urn:xmpp:fast:0' token='t'/>",
      "<token xmlns='urn:xmpp:fast:0' expiry='2099-01-01T00:00:00Z'/>",
      "<token xmlns='urn:xmpp:fast:0' token='' expiry='2099-01-01T00:00:00Z'/>",
      "<token xmlns='urn:xmpp:fast:1' token='t' expiry='2099-01-01T00:00:00Z'/>",
      "<x xmlns='urn:x'><token xmlns='urn:xmpp:fast:0' token='t' expiry='2099-01-01T00:00:00Z'/></x>",
      "<token xmlns='urn:xmpp:fast:0' token='t' expiry='2099-01-01T00:00:00Z'/>"
      "<token xmlns='urn:xmpp:fast:0' token='t' expiry='2099-01-01T00:00:00Z'/>",
      "<token xmlns='urn:xmpp:fast:0' token='t' expiry='2099-01-01T00:00:00Z'/><token xmlns='urn:xmpp:fast:0'/>"};
  char xml[2000], bytes[XM_TOKEN_MOST + 2];
  xm_token token;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof none / sizeof *none; i++)
    if (token_in(none[i]).n) fail_msg("row %zu", i);
  /* The token is taken literally, since it isn't base64. */
  token = token_in("<token xmlns='urn:xmpp:fast:0' token='secret-token:a&amp;\xC3\xA9=' expiry=''/>");
  assert_int_equal(token.n, strlen("secret-token:a&\xC3\xA9="));
  assert_memory_equal(token.bytes, "secret-token:a&\xC3\xA9=", token.n);
  assert_int_equal(token.expiry, 0);
  for (i = XM_TOKEN_MOST - 1; i <= XM_TOKEN_MOST + 1; i++) {
    memset(bytes, 'b', i);
    bytes[i] = '\0';
    snprintf(xml, sizeof xml, "<token xmlns='urn:xmpp:fast:0' token='%s' expiry='2099-01-01T00:00:00Z'/>", bytes);
    assert_int_equal(token_in(xml).n, i <= XM_TOKEN_MOST ? i : 0);
  }
}

/* XEP-0082; the seconds were computed by another implementation. A malformed date doesn't make a token invalid. */
static void dates(void **state) {
  static const struct {
    const char *text;
    int64_t seconds;
  } rows[] = {
      {"2099-01-01T00:00:00Z", 4070908800},
      {"2026-12-19T23:30:51.822227Z", 1797723051},
      {"2026-12-19T23:30:51.8Z", 1797723051},
      {"1970-01-01T00:00:01Z", 1},
      {"1969-12-31T23:59:59Z", -1},
      {"1900-03-01T00:00:00Z", -2203891200},
      {"9999-12-31T23:59:59Z", 253402300799},
      {"2024-02-29T12:00:00Z", 1709208000},
      {"2000-02-29T00:00:00Z", 951782400},
      {"2100-03-01T00:00:00Z", 4107542400},
      {"2016-12-31T23:59:60Z", 1483228800}, /* a leap second counts as the second after it */
      {"2099-01-01T02:00:00+02:00", 4070908800},
      {"2098-12-31T18:30:00-05:30", 4070908800},
      {"2099-01-01T14:00:00.5+14:00", 4070908800},
      {"2099-01-01T00:00:00+00:00", 4070908800},
      {"2099-01-01T00:00:00-00:00", 4070908800},
      {"2099-01-01T00:00:00", 0},
      {"2099-01-01T00:00:00z", 0},
      {"2099-01-01T00:00:00ZZ", 0},
      {"2099-01-01T00:00:00+0200", 0},
      {"2099-01-01T00:00:00+2:00", 0},
      {"2099-01-01T00:00:00+02", 0},
      {"2099-01-01T00:00:00+15:00", 0},
      {"2099-01-01T00:00:00+02:60", 0},
      {"2099-01-01T00:00:00 02:00", 0},
      {"2099-01-01T00:00:00.Z", 0},
      {"2099-01-01T00:00:00,5Z", 0},
      {"2099-01-01T00:00:00.5", 0},
      {"2099-01-01 00:00:00Z", 0},
      {"2099-1-1T00:00:00Z", 0},
      {"2099-00-01T00:00:00Z", 0},
      {"2099-13-01T00:00:00Z", 0},
      {"2099-01-00T00:00:00Z", 0},
      {"2099-01-32T00:00:00Z", 0},
      {"2099-04-31T00:00:00Z", 0},
      {"2099-02-29T00:00:00Z", 0},
      {"2100-02-29T00:00:00Z", 0},
      {"2024-02-30T00:00:00Z", 0},
      {"2099-01-01T24:00:00Z", 0},
      {"2099-01-01T00:60:00Z", 0},
      {"2099-01-01T00:00:61Z", 0},
      {"1899-12-31T00:00:00Z", 0},
      {"-099-01-01T00:00:00Z", 0},
      {"+2099-01-01T00:00:00Z", 0},
      {"20990101T000000Z", 0},
      {"20990101T00:00:00Z", 0},
      {"2099-01-01", 0},
      {"00:00:00Z", 0},
      {"tomorrow", 0},
      {"4070908800", 0},
      {"\xD9\xA2\xD9\xA0\xD9\xA9\xD9\xA9-01-01T00:00:00Z", 0},
      {"2099-01-01T00:00:00.000000000000000000000000000000000000000000000000000000000000Z", 0},
      {"                    ", 0},
      {"--------------------", 0},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    char xml[400];
    xm_token token;
    snprintf(xml, sizeof xml, "<token xmlns='urn:xmpp:fast:0' token='t' expiry='%s'/>", rows[i].text);
    token = token_in(xml);
    assert_int_equal(token.n, 1);
    if (token.expiry != rows[i].seconds) fail_msg("%s: %lld", rows[i].text, (long long)token.expiry);
  }
}

/* Every day from 1970 to 2400, compared with a count of days. */
static void days(void **state) {
  static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int year, month, day;
  int64_t n = 0;
  (void)state;
  for (year = 1970; year < 2400; year++)
    for (month = 1; month <= 12; month++) {
      bool leap = month == 2 && year % 4 == 0 && (year % 100 || year % 400 == 0);
      for (day = 1; day <= 31; day++) {
        char text[64];
        snprintf(text, sizeof text, "%04d-%02d-%02dT00:00:01Z", year, month, day);
        if (read_time(text) != (day <= lengths[month - 1] + leap ? n++ * 86400 + 1 : 0)) fail_msg("%s", text);
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(offers),  cmocka_unit_test(limits), cmocka_unit_test(wishes), cmocka_unit_test(memory_for_wishes),
      cmocka_unit_test(answers), cmocka_unit_test(tokens), cmocka_unit_test(dates),  cmocka_unit_test(days),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
