/* xml: after the login an element that crosses a bound is skipped, however the input is cut: its start tag is reported
 * with its last byte, and what follows it is not affected. And expat's memory is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#include "parser.h"
#include "xml.h"

#include "events.h"

#define STREAMS "http://etherx.jabber.org/streams"
#define H "<stream:stream xmlns='jabber:client' xmlns:stream='" STREAMS "' xmlns:h='urn:h'>"
#define OPENED "O <{" STREAMS "}stream></>\n"
#define M "<message from='b@x/y' id='1' type='chat' a='2' to='a@x'>"
#define SKIPPED(option) \
  OPENED "S <{jabber:client}a></>\nK " option \
         " <{jabber:client}message from='b@x/y' id='1' type='chat' a='2' to='a@x'></>\nS <{urn:h}b></>\n"

#define DIGITS "012345678901234567890123456789012345678901234567890123456789"
#define SPACES "                                                            "

/* stanza, start_tag, depth, attributes, nodes, ns */
static const xm_bounds small = {400, 160, 3, 6, 12, 20};

static xm_xml *opened(const xm_bounds *bounds, struct log *l) {
  const xm_bounds real = XM_BOUNDS_DEFAULT;
  xm_xml *x = xm_xml_new("jabber:client", &real);
  assert_true(feed(x, l, H, sizeof H - 1, true));
  xm_xml_set_bounds(x, bounds, XM_XML_SKIP);
  return x;
}

static void check_text(const char *s, const struct log *l, const char *wanted, size_t cut) {
  if (xm_buf_len(&l->text) == strlen(wanted) && memcmp(xm_buf_at(&l->text), wanted, strlen(wanted)) == 0) return;
  fail_msg("%s\ncut at %zu gives\n%.*s\ninstead of\n%s", s, cut, (int)xm_buf_len(&l->text), xm_buf_at(&l->text), wanted);
}

/* In pieces of `size`; the socket is drained after each except for every third. */
static void check_pieces(const xm_bounds *bounds, const char *s, const char *wanted, size_t size) {
  struct log l = {0};
  xm_xml *x = opened(bounds, &l);
  size_t at, n = strlen(s), k = 0;
  for (at = 0; at < n; at += size)
    if (!feed(x, &l, s + at, size < n - at ? size : n - at, k++ % 3 || at + size >= n)) break;
  check_text(s, &l, wanted, size);
  log_free(&l);
  xm_xml_free(x);
}

static void check(const xm_bounds *bounds, const char *s, const char *wanted) {
  size_t cut, n = strlen(s), size;
  for (size = 1; size < 40; size++) check_pieces(bounds, s, wanted, size);
  for (cut = 0; cut < n; cut++) {
    struct log l = {0};
    xm_xml *x = opened(bounds, &l);
    if (cut == 0 || feed(x, &l, s, cut, cut % 2)) feed(x, &l, s + cut, n - cut, true);
    check_text(s, &l, wanted, cut);
    log_free(&l);
    xm_xml_free(x);
  }
}

static void what_crosses_a_bound_is_skipped(void **state) {
  static const char *const rows[][2] = {
      {"<c><d><e/></d></c>", SKIPPED("max_depth")},
      {"<c><d><e><f><g/></f><i/></e></d>text</c>t", SKIPPED("max_depth")},
      {"<c><d><e><f xmlns='123456789012345678901'/></e></d></c>", SKIPPED("max_depth")}, /* <h:b/> isn't affected */
      {"<c><d><e><f xmlns:a='a' xmlns:b='b' xmlns:c='c'/><f xmlns:a='a' xmlns:b='b' xmlns:c='c'/><f xmlns:a='a'/></e></d></c>",
       SKIPPED("max_depth")},
      {"<c a='1' b='2' c='3' d='4' e='5' f='6' g='7'/>", SKIPPED("max_attributes")},
      {"<c a='1' b='2' c='3' d='4' e='5' f='6' from='7'/>", SKIPPED("max_attributes")},
      {"<c xmlns:a='a' xmlns:b='b' xmlns:c='c' xmlns:d='d' xmlns:e='e' xmlns:f='f' xmlns:g='g'/>", SKIPPED("max_attributes")},
      {"<c/><c/>t<c/>t<c/>t<c/>t<c/>t<c/>t", SKIPPED("max_nodes")},
      {"<c xmlns='123456789012345678901'/>", SKIPPED("max_namespace")},
      {"<c xmlns:p='123456789012345678901'/>", SKIPPED("max_namespace")},
      {"<c a='" DIGITS DIGITS DIGITS "'>x</c>",
       SKIPPED("max_start_tag")},
      {"<c>x</c" SPACES SPACES SPACES ">",
       SKIPPED("max_start_tag")},
      {DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS,
       SKIPPED("max_stanza")},
      {DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS "<c><d><e></e></d></c>", SKIPPED("max_stanza")},
      {"<c><d><e></e></d></c>" DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS, SKIPPED("max_stanza")},
  };
  char s[2000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    snprintf(s, sizeof s, "<a/>" M "%s</message> <h:b/>", rows[i][0]);
    check(&small, s, rows[i][1]);
  }
}

/* Of the start tag of the level-1 element itself, the part is kept that is needed for an answer. */
static void a_stanzas_own_start_tag_may_cross_the_bound(void **state) {
#define OWN(option, name) \
  OPENED "K " option " <{jabber:client}" name " id='7' from='b@x' to='a@x' type='get'></>\nS <{urn:h}b></>\n"
  static const char *const rows[][2] = {
      {"<iq a='1' b='2' id='7' c='3' from='b@x' d='4' e='5' f='6' to='a@x' type='get' xml:lang='x'><x><y/></x></iq><h:b/>",
       OWN("max_attributes", "iq")},
      {"<iq id='7' from='b@x' to='a@x' a='" DIGITS DIGITS "' type='get'/><h:b/>",
       OWN("max_start_tag", "iq")},
      {"<iq id='7' xmlns:p='123456789012345678901' from='b@x' to='a@x' type='get'>x</iq><h:b/>", OWN("max_namespace", "iq")},
      {"<p:iq xmlns:p='jabber:client' xmlns:c='c' xmlns:d='d' xmlns:e='e' xmlns:f='f' xmlns:g='g' xmlns:i='i' id='7' "
       "from='b@x' to='a@x' type='get'/><h:b/>",
       OWN("max_attributes", "iq")}};
  static const char most[] = "<iq a='1' b='2' id='7' from='b@x' c='3' d='4' to='a@x' type='get' xml:lang='x'/><h:b/>";
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) check(&small, rows[i][0], rows[i][1]);
  check(&small, most,
        OPENED "S <{jabber:client}iq a='1' b='2' id='7' from='b@x' c='3' d='4' to='a@x' type='get' xml:lang='x'></>\n"
               "S <{urn:h}b></>\n");
}

/* The names of attributes are stored with their namespaces, which have a bound of their own, for the whole stanza. */
static void namespaces_of_attributes_add_up(void **state) {
  xm_bounds b = {1 << 20, 1 << 20, 128, 256, 50000, 20};
  struct log l = {0};
  xm_xml *x = opened(&b, &l);
  int i, k;
  (void)state;
  for (k = 0; k < 3; k++) { /* the second crosses the bound, the third is counted anew */
    assert_true(feed(x, &l, "<a xmlns:p='0123456789'>", 24, true));
    for (i = 0; i < 2048 + k % 2; i++) assert_true(feed(x, &l, "<b p:c=''/>", 11, false));
    assert_true(feed(x, &l, "</a>", 4, true));
    assert_int_equal(xm_xml_crossed(x, &(size_t){0}), k == 1 ? XM_BOUND_CLARK : XM_BOUND_NONE);
  }
  log_free(&l);
  xm_xml_free(x);
}

/* Any number of stanzas: elements, texts and attributes are counted anew in each, and namespaces in each tag. */
static void a_stanza_counts_for_itself(void **state) {
  static const char s[] = "<a><c xmlns:p='urn:p' a='1' b='2' c='3' d='4'/>t</a>";
  struct log l = {0};
  xm_xml *x = opened(&small, &l);
  int i;
  (void)state;
  for (i = 0; i < 100; i++) {
    assert_true(feed(x, &l, s, sizeof s - 1, true));
    assert_int_equal(xm_xml_crossed(x, &(size_t){0}), XM_BOUND_NONE);
  }
  assert_int_equal(l.n, 101);
  log_free(&l);
  xm_xml_free(x);
}

/* The program may choose any limit for a start tag: the limit of expat's memory, which is computed from it, doesn't
 * overflow. */
static void no_bound_is_too_large(void **state) {
  static const size_t tags[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 8 + 1, SIZE_MAX / 8 + 1 - (4 << 20)};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof tags / sizeof *tags; i++) {
    const xm_bounds b = {400, tags[i], 3, 6, 12, 20};
    check_pieces(&b, "<a b='c'/>", OPENED "S <{jabber:client}a b='c'></>\n", 3);
  }
}

static void what_is_no_xml_still_ends_it(void **state) {
  static const char *const rows[] = {"<message><c><d><e></d></e></c></message>", "<message><c><d><e>&#x1A;</e></d></c></message>",
                                     "<message><c><d><e>\xED\xA0\xBD</e></d></c></message>",
                                     "<message><c><d><e><!-- --></e></d></c></message>", "\x01", "<message>&foo;</message>"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct log l = {0};
    xm_err e = {0};
    xm_xml *x = opened(&small, &l);
    assert_false(feed(x, &l, rows[i], strlen(rows[i]), true));
    assert_int_equal(xm_xml_next(x, &e), XM_EFAIL);
    assert_true(e.retry);
    log_free(&l);
    xm_xml_free(x);
  }
}

static bool feed_many(xm_xml *x, struct log *l, const char *s, size_t times) {
  size_t n = strlen(s), each = 1 + 8000 / n, i;
  char *piece = malloc(each * n);
  bool more = true;
  for (i = 0; i < each; i++) memcpy(piece + i * n, s, n);
  for (; times > 0 && more; times -= each < times ? each : times) more = feed(x, l, piece, n * (each < times ? each : times), false);
  free(piece);
  return more;
}

/* With the real bounds: without end, or deeper than any honest server allows. The tape's memory has been given back. */
static void what_is_skipped_takes_no_memory(void **state) {
  static const char *const rows[][3] = {
      {"", "<a/>", ""}, {"", "x&amp;", ""}, {"", "<a xmlns='urn:x'/>", ""}, {"", "<a b='1' c='2'>x</a>", ""},
      {"<a>", "<![CDATA[xxxxxxxxxxxxxxxx]]>", "</a>"}};
  const xm_bounds real = XM_BOUNDS_DEFAULT;
  struct log l = {0};
  xm_xml *x = opened(&real, &l);
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_true(feed(x, &l, "<message>", 9, true) && feed(x, &l, rows[i][0], strlen(rows[i][0]), true));
    assert_true(feed_many(x, &l, rows[i][1], (12u << 20) / strlen(rows[i][1])));
    assert_true(xm_tape_size(xm_xml_tape(x)) < 1000 * 1000);
    assert_true(feed(x, &l, rows[i][2], strlen(rows[i][2]), true) && feed(x, &l, "</message>", 10, true));
  }
  assert_int_equal(l.n, 1 + sizeof rows / sizeof *rows);
  assert_true(feed_many(x, &l, "<a>", 200000) && feed_many(x, &l, "</a>", 200000));
  assert_int_equal(l.n, 2 + sizeof rows / sizeof *rows);
  assert_true(xm_xml_spare(x) < 200000); /* all of it was given back before more was read */
  assert_true(feed(x, &l, "<message/>", 10, true));
  log_free(&l);
  xm_xml_free(x);
}

static void an_endless_depth_is_refused(void **state) {
  const xm_bounds real = XM_BOUNDS_DEFAULT;
  struct log l = {0};
  xm_err e = {0};
  xm_xml *x = opened(&real, &l);
  (void)state;
  assert_false(feed_many(x, &l, "<a>", 10000000));
  assert_int_equal(xm_xml_next(x, &e), XM_EFAIL);
  assert_string_equal(e.condition, "policy-violation");
  assert_non_null(strstr(e.text, "bytes of memory"));
  assert_true(e.retry);
  log_free(&l);
  xm_xml_free(x);
}

/* expat keeps each name, prefix and namespace that it has ever seen. */
static void names_are_forgotten(void **state) {
  static const char *const forms[] = {"<n%d/>", "<message><n%d a%d='1'/></message>", "<a xmlns:p%d='urn:%d'/>",
                                      "<message><p:x xmlns:p='urn:%d'/></message>"};
  const xm_bounds real = XM_BOUNDS_DEFAULT;
  size_t i;
  int k;
  (void)state;
  for (i = 0; i < sizeof forms / sizeof *forms; i++) {
    struct log l = {0};
    xm_xml *x = opened(&real, &l);
    size_t most = 0;
    for (k = 0; k < 60000; k++) {
      char s[100];
      int n = snprintf(s, sizeof s, forms[i], k, k);
      l.n = 0;
      xm_buf_clear(&l.text);
      assert_true(feed(x, &l, s, (size_t)n, true));
      assert_int_equal(l.n, 1);
      if (xm_xml_spare(x) > most) most = xm_xml_spare(x);
    }
    assert_true(most < 3 << 20);
    xm_xml_rest(x);
    assert_int_equal(xm_xml_spare(x), 0);
    l.n = 0;
    xm_buf_clear(&l.text);
    assert_true(feed(x, &l, "<h:b/><message/>", 16, true)); /* the header's prefixes are still known */
    check_text("", &l, "S <{urn:h}b></>\nS <{jabber:client}message></>\n", 0);
    assert_false(feed(x, &l, "</stream:stream>", 16, true));
    log_free(&l);
    xm_xml_free(x);
  }
}

static double cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* One byte a read, also with '>' in quotes, which isn't the end. Twice the length costs twice the time, not four
 * times. */
static void a_dripped_tag_costs_what_it_has(void **state) {
  static const char *const rows[][3] = {{"<message a='", "x", "'/>"}, {"<message a=\"", ">", "\"/>"}, {"<message a='", "\">", "'/>"},
                                        {"<message ", " ", "/>"}, {"<message>t</message", " ", ">"}};
  xm_bounds wide = XM_BOUNDS_DEFAULT;
  size_t i, k, n;
  (void)state;
  wide.start_tag = 4 << 20;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    double cost[2];
    for (k = 0; k < 2; k++) {
      struct log l = {0};
      xm_xml *x = opened(&wide, &l);
      double began = cpu();
      assert_true(feed(x, &l, rows[i][0], strlen(rows[i][0]), true));
      for (n = 0; n < (size_t)(256 << 10) << k; n++) assert_true(feed(x, &l, rows[i][1] + n % strlen(rows[i][1]), 1, true));
      assert_int_equal(l.n, 1);
      assert_true(feed(x, &l, rows[i][2], strlen(rows[i][2]), true));
      assert_int_equal(l.n, 2);
      cost[k] = cpu() - began;
      log_free(&l);
      xm_xml_free(x);
    }
    if (cost[1] > 4) fail_msg("%s: %.2f s, then %.2f s", rows[i][0], cost[0], cost[1]);
  }
}

/* expat's memory is only given back between two stanzas: bytes of the next one that it has read would be lost. */
static void a_rest_in_the_middle_loses_nothing(void **state) {
  const xm_bounds real = XM_BOUNDS_DEFAULT;
  struct log l = {0};
  xm_xml *x = opened(&real, &l);
  int i;
  (void)state;
  assert_true(feed(x, &l, "<message>", 9, true));
  for (i = 0; i < 5000; i++) {
    char s[40];
    assert_true(feed(x, &l, s, (size_t)snprintf(s, sizeof s, "<n%d/>", i), false));
  }
  assert_true(feed(x, &l, "</message>", 10, true));
  assert_true(xm_xml_spare(x) > 0);
  l.n = 0;
  xm_buf_clear(&l.text);
  assert_true(feed(x, &l, "<a/><mess", 9, true));
  xm_xml_rest(x);
  assert_true(feed(x, &l, "age/>", 5, true));
  check_text("", &l, "S <{jabber:client}a></>\nS <{jabber:client}message></>\n", 0);
  log_free(&l);
  xm_xml_free(x);
}

/* Nor within a CDATA section, which between two stanzas may only contain white space. */
static void a_rest_in_a_cdata_section_does_not_end_it(void **state) {
  static const char *const rows[][2] = {{" ]]><b/>", "S <{jabber:client}b></>\n"}, {"<b/>]]>", "E bad-format\n"}};
  const xm_bounds real = XM_BOUNDS_DEFAULT;
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct log l = {0};
    xm_xml *x = opened(&real, &l);
    int k;
    for (k = 0; k < 3000; k++) { /* enough that memory would be given back */
      char s[40];
      l.n = 0;
      assert_true(feed(x, &l, s, (size_t)snprintf(s, sizeof s, "<n%d/>", k), false));
    }
    xm_buf_clear(&l.text);
    assert_true(feed(x, &l, "<![CDATA[ ", 10, true));
    xm_xml_rest(x);
    assert_int_equal(feed(x, &l, rows[i][0], strlen(rows[i][0]), true), i == 0);
    check_text(rows[i][0], &l, rows[i][1], 0);
    log_free(&l);
    xm_xml_free(x);
  }
}

/* A comment is refused without waiting for its end, since its '>' can't be told from others. */
static void a_dripped_comment_ends(void **state) {
  const xm_bounds real = XM_BOUNDS_DEFAULT;
  struct log l = {0};
  xm_err e = {0};
  xm_xml *x = opened(&real, &l);
  int i;
  (void)state;
  assert_true(feed(x, &l, "<message><!-- ", 14, true));
  for (i = 0; i < 1 << 20 && feed(x, &l, ">", 1, true); i++) continue;
  assert_true(i <= 40000);
  assert_int_equal(xm_xml_next(x, &e), XM_EFAIL);
  assert_string_equal(e.condition, "restricted-xml");
  log_free(&l);
  xm_xml_free(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_crosses_a_bound_is_skipped),
      cmocka_unit_test(a_stanzas_own_start_tag_may_cross_the_bound),
      cmocka_unit_test(namespaces_of_attributes_add_up),
      cmocka_unit_test(a_stanza_counts_for_itself),
      cmocka_unit_test(no_bound_is_too_large),
      cmocka_unit_test(what_is_no_xml_still_ends_it),
      cmocka_unit_test(what_is_skipped_takes_no_memory),
      cmocka_unit_test(an_endless_depth_is_refused),
      cmocka_unit_test(names_are_forgotten),
      cmocka_unit_test(a_rest_in_the_middle_loses_nothing),
      cmocka_unit_test(a_rest_in_a_cdata_section_does_not_end_it),
      cmocka_unit_test(a_dripped_tag_costs_what_it_has),
      cmocka_unit_test(a_dripped_comment_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
