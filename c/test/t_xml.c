/* xml: however the input is cut, the same events come, each with its last byte. The streams in corpus/ are fed whole,
 * byte by byte, cut once at every place, and in random pieces, as during a login and as after it; the expected events
 * are in the .events files, written with another parser's binding. t_xml_refusals tests what is refused. */
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
#include <expat.h>

#include "err.h"
#include "failing.h"
#include "sample.h"

#pragma push_macro("fail") /* xml has a function of that name */
#undef fail
#include "../core/buf.c"
#include "../core/tape.c"

/* The position that expat returns where a long has 32 bits, this far into its stream. */
static int64_t far_away;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* this replaces its newer variant, too */
static int64_t index_of_32_bits(XML_Parser p) {
  int64_t at = XML_GetCurrentByteIndex(p);
  return at < 0 || !far_away ? at : (int32_t)(at + far_away);
}
#pragma GCC diagnostic pop
#define XML_GetCurrentByteIndex index_of_32_bits
#define XML_GetCurrentByteIndex64 index_of_32_bits
#include "../core/parser.c"
#undef XML_GetCurrentByteIndex
#undef XML_GetCurrentByteIndex64
#undef stop /* cmocka 2 has a macro of this name */
#include "../core/xml.c"
#pragma pop_macro("fail")
#include "corpus.h"
#include "events.h"

#include "failing_off.h"

#define HEADER "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

static const xm_bounds generous = {1 << 20, 64 * 1024, 128, 256, 50000, 1024};

/* A test's state: the bounds after the header, as after a login, where what crosses one is skipped; or NULL. */
static xm_xml *new_xml(void **state) {
  xm_xml *x = xm_xml_new("jabber:client", &generous);
  if (x && *state) xm_xml_set_bounds(x, *state, XM_XML_SKIP);
  return x;
}

static void check_log(const struct stream *s, const struct log *got) {
  if (xm_buf_len(&got->text) == xm_buf_len(&s->events) &&
      memcmp(xm_buf_at(&got->text), xm_buf_at(&s->events), xm_buf_len(&s->events)) == 0)
    return;
  fail_msg("%s:\n%.*s\ninstead of\n%.*s", s->name, (int)xm_buf_len(&got->text), xm_buf_at(&got->text),
           (int)xm_buf_len(&s->events), xm_buf_at(&s->events));
}

static void whole_streams_give_what_another_parser_gives(void **state) {
  int i;
  for (i = 0; i < streams; i++) {
    struct stream *s = &corpus[i];
    struct log got = {.after = *state};
    size_t k;
    feed_in_pieces(&got, &generous, xm_buf_at(&s->xml), xm_buf_len(&s->xml), xm_buf_len(&s->xml));
    check_log(s, &got);
    if (*state) assert_memory_equal(s->ends, got.ends, sizeof s->ends);
    memcpy(s->ends, got.ends, sizeof s->ends);
    s->n = got.n;
    for (k = 0; k < s->n; k++) assert_int_equal(xm_buf_at(&s->xml)[s->ends[k] - 1], '>'); /* xm_xml_unread is exact */
    log_free(&got);
  }
}

static void pieces_of_any_size_give_the_same(void **state) {
  static const size_t sizes[] = {1, 2, 3, 5, 7, 16, 40, 100, 1000};
  size_t k;
  int i;
  for (i = 0; i < streams; i++) {
    for (k = 0; k < sizeof sizes / sizeof *sizes; k++) {
      struct log got = {.after = *state};
      feed_in_pieces(&got, &generous, xm_buf_at(&corpus[i].xml), xm_buf_len(&corpus[i].xml), sizes[k]);
      check_log(&corpus[i], &got);
      log_free(&got);
    }
  }
}

/* After the first piece exactly the events have come that end in it: none is late, wherever the reads part. */
static void every_two_pieces_give_the_same_and_nothing_is_late(void **state) {
  int i;
  for (i = 0; i < streams; i++) {
    const struct stream *s = &corpus[i];
    size_t cut, due = 0, n = xm_buf_len(&s->xml);
    assert_true(s->n > 0);
    for (cut = 1; cut < n; cut += sample()) {
      struct log got = {.after = *state};
      xm_xml *x = xm_xml_new(content_ns(xm_buf_at(&s->xml), n), &generous);
      while (due < s->n && s->ends[due] <= cut) due++;
      if (feed(x, &got, xm_buf_at(&s->xml), cut, true)) {
        if (got.n != due) fail_msg("%s: %zu events of %zu after byte %zu", s->name, got.n, due, cut);
        feed(x, &got, xm_buf_at(&s->xml) + cut, n - cut, true);
      }
      check_log(s, &got);
      log_free(&got);
      xm_xml_free(x);
    }
  }
}

static uint32_t seed = 20261122;

static uint32_t chance(uint32_t n) {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % n;
}

/* Sometimes the socket isn't drained between two pieces. */
static void pieces_by_chance_give_the_same(void **state) {
  int i, round;
  for (i = 0; i < streams; i++) {
    for (round = 0; round < 60; round++) {
      const struct stream *s = &corpus[i];
      struct log got = {.after = *state};
      size_t at = 0, n = xm_buf_len(&s->xml);
      uint32_t most = 2 + chance(200);
      bool more = true;
      xm_xml *x = xm_xml_new(content_ns(xm_buf_at(&s->xml), n), &generous);
      while (more && at < n) {
        size_t piece = 1 + chance(most);
        if (piece > n - at) piece = n - at;
        more = feed(x, &got, xm_buf_at(&s->xml) + at, piece, at + piece == n || chance(2));
        at += piece;
      }
      check_log(s, &got);
      log_free(&got);
      xm_xml_free(x);
    }
  }
}

/* expat with reparse deferral doesn't parse an incomplete token again at once: without xm_xml_drained this stanza would
 * wait for the next. */
static void a_long_start_tag_in_two_reads_is_not_late(void **state) {
  char stanza[3200];
  size_t cut, n;
  int late = 0;
  n = (size_t)snprintf(stanza, sizeof stanza, "<iq id='%03000d'/>", 7);
  for (cut = 1; cut < n; cut += 7) {
    struct log got = {0};
    xm_xml *x = new_xml(state);
    assert_true(feed(x, &got, HEADER, sizeof HEADER - 1, true));
    assert_true(feed(x, &got, stanza, cut, true));
    assert_true(feed(x, &got, stanza + cut, n - cut, false));
    late += got.n == 1;
    assert_true(feed(x, &got, "", 0, true));
    assert_int_equal(got.n, 2);
    log_free(&got);
    xm_xml_free(x);
  }
  print_message("this expat %s\n", late ? "puts off a look at what isn't complete" : "looks at once");
}

/* One byte a read, up to the longest start tag: the events come, and expat's memory grows no faster than the tag. */
static void a_start_tag_that_drips_takes_bounded_memory(void **state) {
  enum { ATTRIBUTE = 16 * 1024 };
  struct log got = {0};
  xm_xml *x = new_xml(state);
  int i;
  assert_true(feed(x, &got, HEADER "<iq id='", sizeof HEADER + 7, true));
  for (i = 0; i < ATTRIBUTE; i++) assert_true(feed(x, &got, "x", 1, true));
  assert_int_equal(got.n, 1);
  assert_true(feed(x, &got, "'/>", 3, true));
  assert_int_equal(got.n, 2);
  assert_int_equal(xm_tape_get(xm_xml_tape(x), 0, "id", NULL) != NULL, true);
  assert_true(x->tape.bytes.cap < 4 * ATTRIBUTE);
  log_free(&got);
  xm_xml_free(x);
}

static void an_empty_root_is_the_end(void **state) {
  static const char all[] = "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>";
  struct log got = {0};
  (void)state;
  feed_in_pieces(&got, &generous, all, sizeof all - 1, 3);
  assert_int_equal(xm_buf_len(&got.text), 2);
  assert_memory_equal(xm_buf_at(&got.text), "C\n", 2);
  log_free(&got);
}

/* RFC 6120 4.3.3: what came before, even half a stanza, doesn't affect the new stream. */
static void a_restart_forgets_everything(void **state) {
  static const char old[] = HEADER "<success xmlns='urn:x' xmlns:p='urn:p'/><p:half a='";
  static const char fresh[] = "<?xml version='1.0'?>" HEADER "<message/>";
  struct log got = {0};
  xm_xml *x = new_xml(state);
  int i;
  for (i = 0; i < 3; i++) {
    feed(x, &got, old, sizeof old - 1, true);
    assert_int_equal(xm_xml_restart(x), XM_OK);
    assert_int_equal(xm_xml_unread(x), 0);
  }
  log_free(&got);
  assert_true(feed(x, &got, fresh, sizeof fresh - 1, true));
  assert_int_equal(got.n, 2);
  log_free(&got);
  assert_false(feed(x, &got, "<p:a/>", 6, true)); /* the old prefixes are gone */
  assert_non_null(memmem(xm_buf_at(&got.text), xm_buf_len(&got.text), "E bad-namespace-prefix", 22));
  assert_int_equal(xm_xml_restart(x), XM_OK); /* and so is the failure */
  assert_true(feed(x, &got, fresh, sizeof fresh - 1, true));
  log_free(&got);
  xm_xml_free(x);
}

/* A header that comes in the same read as the end of the old stream belongs to the new one, however it is cut. */
static void what_is_unread_belongs_to_the_new_stream(void **state) {
  static const char all[] = HEADER "<success xmlns='urn:x'/><?xml version='1.0'?>" HEADER "<message/>";
  xm_err e = {0};
  size_t room;
  xm_xml *x = new_xml(state);
  memcpy(xm_xml_space(x, &room), all, sizeof all - 1);
  xm_xml_fill(x, sizeof all - 1);
  assert_int_equal(xm_xml_next(x, &e), XM_XML_OPEN);
  assert_int_equal(xm_xml_next(x, &e), XM_XML_STANZA);
  assert_int_equal(xm_xml_restart(x), XM_OK);
  assert_int_equal(xm_xml_next(x, &e), XM_XML_OPEN);
  assert_int_equal(xm_xml_next(x, &e), XM_XML_STANZA);
  assert_string_equal(xm_tape_name(xm_xml_tape(x), 0), "message");
  assert_int_equal(xm_xml_next(x, &e), XM_XML_MORE);
  xm_xml_free(x);
}

#define FIRST HEADER "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
#define PROOF "0123456789012345678901234567890123456789012345678901234567890123456789</success>"
#define SECOND "<?xml version='1.0'?>" HEADER "<stream:features/><message a='>' b=\"'\"><body>Hi</body></message> "

/* As in a negotiation, the third event of the first stream restarts the parser. */
static void read_two_streams(xm_xml *x, struct log *l, int *event) {
  xm_err e = {0};
  while (*event > XM_XML_MORE) {
    log_event(l, x, *event, &e);
    if (l->n == 2) assert_int_equal(xm_xml_restart(x), XM_OK);
    *event = xm_xml_next(x, &e);
  }
  assert_int_equal(*event, XM_XML_MORE);
}

/* The events and where each ends, for `all` cut at `cuts` (ended by 0); `drained`: a bit for each piece, drained after
 * it. */
static void feed_cut(void **state, struct log *l, const char *all, size_t n, const size_t *cuts, unsigned drained) {
  xm_xml *x = new_xml(state);
  size_t at = 0, end, room;
  xm_err e = {0};
  int event;
  for (; at < n; at = end, drained >>= 1) {
    end = *cuts && *cuts < n ? *cuts++ : n;
    memcpy(xm_xml_space(x, &room), all + at, end - at);
    assert_true(room >= end - at);
    xm_xml_fill(x, end - at);
    l->fed += end - at;
    event = xm_xml_next(x, &e);
    read_two_streams(x, l, &event);
    if (drained & 1 || end == n) event = xm_xml_drained(x, &e);
    read_two_streams(x, l, &event);
  }
  xm_xml_free(x);
}

/* With the socket drained or not, and with unread bytes at the restart or not: the same events at the same bytes,
 * however it is cut. The long stanzas are those that expat with reparse deferral delays. */
static void check_two_streams(void **state, const char *all, size_t events) {
  struct log whole = {0};
  size_t n = strlen(all), cuts[4];
  feed_cut(state, &whole, all, n, (size_t[]){0}, 0);
  assert_int_equal(whole.n, events);
  for (cuts[0] = 1; cuts[0] < n; cuts[0] += 1 + cuts[0] / 40) {
    for (cuts[1] = cuts[0] + 1; cuts[1] < n; cuts[1] += 3 * sample()) {
      unsigned drained;
      for (drained = 0; drained < 8; drained++) {
        struct log got = {0};
        cuts[2] = cuts[1] + 1 + chance((uint32_t)(n - cuts[1]));
        cuts[3] = 0;
        feed_cut(state, &got, all, n, cuts, drained);
        assert_int_equal(xm_buf_len(&got.text), xm_buf_len(&whole.text));
        assert_memory_equal(xm_buf_at(&got.text), xm_buf_at(&whole.text), xm_buf_len(&got.text));
        assert_memory_equal(got.ends, whole.ends, events * sizeof *got.ends);
        log_free(&got);
      }
    }
  }
  log_free(&whole);
}

static void two_streams_in_any_cutting_are_the_same(void **state) {
  check_two_streams(state, FIRST PROOF SECOND, 5);
  check_two_streams(state, HEADER "<a/> \r\n\t\n<?xml version='1.0'?>" HEADER, 3);
}

/* Where a long has 32 bits, expat's positions wrap around. The parser's own don't. */
static void positions_do_not_wrap(void **state) {
  static const char all[] = HEADER "<a/><message>text<b c='1'/></message> ";
  static const int64_t far[] = {0, INT32_MAX - 100, INT32_MAX - 88, INT32_MAX, UINT32_MAX - 100, UINT32_MAX - 88, 1ll << 40};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof far / sizeof *far; i++) {
    struct log got = {0};
    xm_xml *x = xm_xml_new("jabber:client", &generous);
    far_away = far[i];
    x->parser.index = (uint32_t)far_away;
    x->parser.fed = x->parser.used = (uint64_t)far[i];
    assert_true(feed(x, &got, all, sizeof all - 1, true));
    assert_int_equal(got.n, 3);
    assert_int_equal(got.ends[0], sizeof HEADER - 1);
    assert_int_equal(got.ends[1], sizeof HEADER + 3);
    assert_int_equal(got.ends[2], sizeof all - 2);
    assert_int_equal(x->begin, (uint64_t)far[i] + sizeof HEADER + 3);
    assert_int_equal(x->parser.used, (uint64_t)far[i] + sizeof all - 1);
    far_away = 0;
    log_free(&got);
    xm_xml_free(x);
  }
}

/* nego asks this before TLS: does anything follow <proceed/>? */
static void unread_bytes_are_counted(void **state) {
  static const char all[] = HEADER "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/> <me";
  xm_err e = {0};
  size_t room;
  xm_xml *x = new_xml(state);
  memcpy(xm_xml_space(x, &room), all, sizeof all - 1);
  xm_xml_fill(x, sizeof all - 1);
  assert_int_equal(xm_xml_next(x, &e), XM_XML_OPEN);
  assert_int_equal(xm_xml_unread(x), sizeof all - sizeof HEADER);
  assert_int_equal(xm_xml_next(x, &e), XM_XML_STANZA);
  assert_int_equal(xm_xml_unread(x), 4);
  assert_int_equal(xm_xml_next(x, &e), XM_XML_MORE);
  assert_int_equal(xm_xml_unread(x), 0);
  xm_xml_free(x);
}

/* Feeds pieces of `size` bytes, rests after each event, and writes the elements' names. */
static void read_resting(xm_xml *x, const char *all, size_t size, xm_buf *names) {
  xm_err e = {0};
  size_t at, n = strlen(all), room;
  int event;
  for (at = 0; at < n; at += size) {
    size_t got = n - at < size ? n - at : size;
    memcpy(xm_xml_space(x, &room), all + at, got);
    assert_true(room >= size);
    xm_xml_fill(x, got);
    while ((event = xm_xml_next(x, &e)) > XM_XML_MORE || (event = xm_xml_drained(x, &e)) > XM_XML_MORE) {
      assert_true(xm_xml_spare(x) > 0);
      xm_buf_puts(names, xm_tape_name(xm_xml_tape(x), 0));
      xm_buf_puts(names, xm_tape_content(xm_xml_tape(x), 0, NULL));
    }
    assert_int_equal(event, XM_XML_MORE);
    xm_xml_rest(x);
    assert_int_equal(xm_xml_spare(x), 0);
  }
}

static void a_rest_frees_nothing_that_is_needed(void **state) {
  static const char all[] = HEADER "<message>one</message> <presence xmlns:p='urn:p'>two</presence><iq>three<p/></iq>";
  size_t size;
  for (size = 1; size < sizeof all; size++) {
    xm_xml *x = new_xml(state);
    xm_buf names = XM_BUF_INIT;
    xm_xml_set_piece(x, size);
    read_resting(x, all, size, &names);
    xm_buf_putc(&names, '\0');
    assert_string_equal(xm_buf_at(&names), "streammessageonepresencetwoiqthree");
    xm_buf_free(&names);
    xm_xml_free(x);
  }
}

static void names_are_what_expat_takes(void **state) {
  static const struct {
    const char *name;
    bool good;
  } rows[] = {{"a", true},
              {"_", true},
              {"a-b.c9", true},
              {"\xC3\xA9t\xC3\xA9", true},
              {"\xE6\x97\xA5", true},
              {"xmlns", true},
              {"a\xC2\xB7", true},
              {"", false},
              {"a:b", false},
              {":a", false},
              {"a b", false},
              {"a>", false},
              {"a/", false},
              {"1a", false},
              {"-a", false},
              {".a", false},
              {"a='b'", false},
              {"a\t", false},
              {"a\xC3", false},
              {"\xF0\x9F\x98\x80", false},
              {"\xC2\xB7", false},
              {"a\xE2\x80\x94", false},
              {"!--a--", false},
              {"?a?", false},
              {"a\xFF", false},
              {"\xED\xA0\x80", false}};
  char longest[20000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++)
    if (xm_xml_check_name(rows[i].name, strlen(rows[i].name)) != (rows[i].good ? XM_OK : XM_EINVAL))
      fail_msg("'%s'", rows[i].name);
  assert_int_equal(xm_xml_check_name("a\0b", 3), XM_EINVAL);
  memset(longest, 'a', sizeof longest);
  assert_int_equal(xm_xml_check_name(longest, sizeof longest), XM_OK); /* only the tag's bound limits it */
}

/* The stanza's event; 0: it failed; -1: there was no memory even for the bytes. */
static int read_one(xm_xml *x, xm_err *e) {
  static const char all[] = HEADER "<message a:b='1' xmlns:a='urn:a'><body>Hi</body><x xmlns='urn:x'/></message>";
  size_t room;
  int event;
  char *to = xm_xml_space(x, &room);
  if (!to) return -1;
  memcpy(to, all, sizeof all - 1);
  xm_xml_fill(x, sizeof all - 1);
  event = xm_xml_next(x, e);
  if (event == XM_XML_OPEN) event = xm_xml_next(x, e);
  return event == XM_XML_STANZA ? event : 0;
}

/* An allocation fails once, or all from one on: the parser refuses cleanly and for good, and can be freed or
 * restarted. */
static void memory_that_runs_out_is_told(void **state) {
  long before = heap.live;
  int round;
  for (round = 0; round < 2; round++) {
    long n = 0;
    bool failed;
    do {
      xm_err e = {0}, again = {0};
      xm_xml *x;
      int event = -1;
      heap_fails(n++, round);
      x = new_xml(state);
      if (x) event = read_one(x, &e);
      if (event > 0 && xm_xml_restart(x) == XM_OK) event = read_one(x, &e);
      failed = heap_is_well();
      if (event == 0) assert_string_equal(e.condition, "ENOMEM");
      if (event == 0) assert_int_equal(xm_xml_next(x, &again), XM_EFAIL);
      if (!failed) assert_int_equal(event, XM_XML_STANZA);
      if (x && xm_xml_restart(x) == XM_OK) assert_int_equal(read_one(x, NULL), XM_XML_STANZA);
      xm_xml_free(x);
    } while (failed);
    assert_true(n > 20);
    assert_int_equal(heap.live, before);
  }
}

#define BEFORE_AND_AFTER(test) cmocka_unit_test(test), {#test "_after_a_login", test, NULL, NULL, (void *)&generous}

int main(void) {
  const struct CMUnitTest tests[] = {
      BEFORE_AND_AFTER(whole_streams_give_what_another_parser_gives),
      BEFORE_AND_AFTER(pieces_of_any_size_give_the_same),
      BEFORE_AND_AFTER(every_two_pieces_give_the_same_and_nothing_is_late),
      BEFORE_AND_AFTER(pieces_by_chance_give_the_same),
      BEFORE_AND_AFTER(a_long_start_tag_in_two_reads_is_not_late),
      BEFORE_AND_AFTER(a_start_tag_that_drips_takes_bounded_memory),
      cmocka_unit_test(an_empty_root_is_the_end),
      BEFORE_AND_AFTER(a_restart_forgets_everything),
      BEFORE_AND_AFTER(what_is_unread_belongs_to_the_new_stream),
      BEFORE_AND_AFTER(two_streams_in_any_cutting_are_the_same),
      cmocka_unit_test(positions_do_not_wrap),
      BEFORE_AND_AFTER(unread_bytes_are_counted),
      BEFORE_AND_AFTER(a_rest_frees_nothing_that_is_needed),
      cmocka_unit_test(names_are_what_expat_takes),
      BEFORE_AND_AFTER(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, load_corpus, free_corpus);
}
