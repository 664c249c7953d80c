/* framing: which messages each piece of a stream becomes, however it grows; each byte is examined once; bytes that are
 * no stream of ours do no harm. */
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

#include "framing.h"
#include "ns.h"

#define HEADER                                                                                                                  \
  "<?xml version='1.0'?><stream:stream xmlns:stream='" XM_NS_STREAM "' xmlns='jabber:client' to='xmpp.test' from='alice@xmpp.test' " \
  "version='1.0' xml:lang='en'>"
#define OPEN "<open xmlns='" XM_NS_FRAMING "' to='xmpp.test' from='alice@xmpp.test' version='1.0' xml:lang='en'/>"
#define CLOSE "<close xmlns='" XM_NS_FRAMING "'/>"

static char letter(xm_piece_kind kind) {
  return "?oexs"[kind];
}

/* Appends a piece as text, such as "o<open.../>|e<message>...|": a letter for its kind, and the message. White space
 * has only the letter. */
static void tell(char *to, xm_piece_kind kind, const xm_piece *p) {
  int i;
  to += strlen(to);
  *to++ = letter(kind);
  for (i = 0; i < p->count; i++) {
    memcpy(to, p->parts[i].s, p->parts[i].n);
    to += p->parts[i].n;
  }
  strcpy(to, "|");
}

/* Frames the stream as it grows by `step` bytes at a time, each time in a new block, and writes its pieces to
 * `story`. */
static void frame(const char *stream, size_t step, char *story) {
  xm_framing f = {.seen = 0};
  size_t all = strlen(stream), begin = 0, end = 0;
  *story = '\0';
  while (end < all) {
    char *block;
    size_t at;
    end = end + step < all ? end + step : all;
    block = malloc(end - begin);
    memcpy(block, stream + begin, end - begin);
    for (at = 0;;) {
      xm_piece p;
      xm_piece_kind kind = xm_framing_next(&f, block + at, end - begin - at, &p);
      if (kind == XM_PIECE_HALF) break;
      tell(story, kind, &p);
      at += p.n;
    }
    begin += at;
    free(block);
  }
  if (begin < all) strcat(story, "?");
}

static void check(const char *stream, const char *want) {
  char story[8192];
  size_t step;
  for (step = 1; step <= strlen(stream); step++) {
    frame(stream, step, story);
    if (strcmp(story, want) != 0) fail_msg("in steps of %zu:\n%s\n%s", step, story, want);
  }
}

static void the_ends_of_a_stream(void **unused) {
  (void)unused;
  check(HEADER, "o" OPEN "|");
  check("<stream:stream xmlns='jabber:client' xmlns:stream='x' to='a'>", "o<open xmlns='" XM_NS_FRAMING "' to='a'/>|");
  check("<stream:stream to='a' xmlns='jabber:client' version='1.0' xmlns:stream='x'>",
        "o<open xmlns='" XM_NS_FRAMING "' to='a' version='1.0'/>|");
  check("<stream:stream>", "o<open xmlns='" XM_NS_FRAMING "'/>|");
  check("</stream:stream>", "x" CLOSE "|");
  check(HEADER "<a xmlns='b'/></stream:stream>", "o" OPEN "|e<a xmlns='b'/>|x" CLOSE "|");
  check(HEADER HEADER, "o" OPEN "|o" OPEN "|");
}

static void elements_get_their_namespace(void **unused) {
  (void)unused;
  check("<presence/>", "e<presence xmlns='jabber:client'/>|");
  check("<message><body>hi</body></message>", "e<message xmlns='jabber:client'><body>hi</body></message>|");
  check("<iq type='get' id=\"a'b\"><q xmlns='x'/></iq>", "e<iq xmlns='jabber:client' type='get' id=\"a'b\"><q xmlns='x'/></iq>|");
  check("<message xmlns='jabber:client' to='a'/>", "e<message xmlns='jabber:client' to='a'/>|");
  check("<r xmlns='urn:xmpp:sm:3'/>", "e<r xmlns='urn:xmpp:sm:3'/>|");
  check("<message id=' xmlns=' to='a'/>", "e<message xmlns='jabber:client' id=' xmlns=' to='a'/>|");
  check("<message xmlns:a='b'/>", "e<message xmlns='jabber:client' xmlns:a='b'/>|");
  check("<message\nto = 'a'/>", "e<message xmlns='jabber:client'\nto = 'a'/>|");
  check("<stream:error><a xmlns='b'/></stream:error></stream:stream>",
        "e<stream:error xmlns:stream='" XM_NS_STREAM "'><a xmlns='b'/></stream:error>|x" CLOSE "|");
  check("<stream:error xmlns:stream='c'/>", "e<stream:error xmlns:stream='c'/>|");
}

static void the_end_of_an_element_is_found(void **unused) {
  (void)unused;
  check("<a><a><a/></a><b c='/>' d=\"</a>\"/>></a><x/>", "e<a xmlns='jabber:client'><a><a/></a><b c='/>' d=\"</a>\"/>></a>|e<x xmlns='jabber:client'/>|");
  check("<a>it's \"quoted\" &lt;</a >", "e<a xmlns='jabber:client'>it's \"quoted\" &lt;</a >|");
  check("<a b='it''s' ></a>", "e<a xmlns='jabber:client' b='it''s' ></a>|");
  check("<a><b>", "?");
  check("<a", "?");
  check("<a b='>", "?");
}

static void white_space_is_no_message(void **unused) {
  (void)unused;
  check(" ", "s|");
  check("<a/> <b/>", "e<a xmlns='jabber:client'/>|s|e<b xmlns='jabber:client'/>|");
}

/* A large stanza that is written in small parts: to examine it anew each time would take quadratic time. */
static void bytes_are_examined_once(void **unused) {
  enum { ALL = 8 << 20, STEP = 64 };
  char *s = malloc(ALL);
  xm_framing f = {.seen = 0};
  xm_piece p = {.n = 0};
  size_t n;
  clock_t begun = clock();
  (void)unused;
  memset(s, 'x', ALL);
  memcpy(s, "<a b='", 6);
  for (n = ALL / 2; n < ALL; n += 8) memcpy(s + n, "'><c d='", 8);
  for (n = STEP; n <= ALL; n += STEP) assert_int_equal(xm_framing_next(&f, s, n, &p), XM_PIECE_HALF);
  assert_true(f.seen <= ALL);
  if ((clock() - begun) / CLOCKS_PER_SEC > 20) fail_msg("it took %ld s", (long)((clock() - begun) / CLOCKS_PER_SEC));
  free(s);
}

/* For any input, the parts lie within it or are few, and there is always progress. */
static void any_bytes(void **unused) {
  static const char letters[] = "<>/='\" ?a:xmlnstre";
  uint32_t seed = 7;
  int round, i;
  (void)unused;
  for (round = 0; round < 50000; round++) {
    size_t n = 1 + round % 60, at = 0, k;
    char *s = malloc(n);
    xm_framing f = {.seen = 0};
    xm_piece p;
    for (k = 0; k < n; k++) {
      seed = seed * 1664525u + 1013904223u;
      s[k] = letters[(seed >> 16) % (sizeof letters - 1)];
    }
    while (at < n && xm_framing_next(&f, s + at, n - at, &p) != XM_PIECE_HALF) {
      size_t all = 0;
      assert_true(p.n > 0 && p.n <= n - at);
      for (i = 0; i < p.count; i++) all += p.parts[i].n;
      assert_true(all <= p.n + 120);
      at += p.n;
    }
    free(s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_ends_of_a_stream),
      cmocka_unit_test(elements_get_their_namespace),
      cmocka_unit_test(the_end_of_an_element_is_found),
      cmocka_unit_test(white_space_is_no_message),
      cmocka_unit_test(bytes_are_examined_once),
      cmocka_unit_test(any_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
