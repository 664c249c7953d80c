/* ws: frames that are received, however they are cut: payload, ends, control frames in between, and violations of the
 * protocol; frames that are sent, read by the test's own reader; secrets that are wiped; memory and randomness that run
 * out. */
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

#include "err.h"
#include "rnd.h"

static bool no_randomness;
static unsigned char mask_given;

static int test_rnd_bytes(void *p, size_t n) {
  if (no_randomness) return XM_EFAIL;
  memset(p, ++mask_given, n);
  return XM_OK;
}

#define xm_rnd_bytes test_rnd_bytes
#include "failing.h"
#ifndef XM_WITHOUT_WSLAY
#include <wslay/wslay.h>

/* Memory that is examined when it is freed. */
static const unsigned char *looked_at;
static size_t looked_n, unwiped;

static void spy_context_free(wslay_frame_context_ptr context) {
  size_t i;
  for (i = 0; i < looked_n; i++) unwiped += looked_at[i] != 0;
  wslay_frame_context_free(context);
}

#define wslay_frame_context_free spy_context_free
#endif

#include "../core/buf.c"
#include "../core/ws.c"

#include "failing_off.h"
#undef xm_rnd_bytes

#ifndef XM_WITHOUT_WSLAY

static xm_err err;

/* Frames as a server sends them, in a buf of the test's. */

enum { FIN = 0x80, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static void frame(xm_buf *b, int head, const void *payload, size_t n) {
  unsigned char h[10] = {(unsigned char)head};
  size_t len = 2, i;
  h[1] = (unsigned char)(n < 126 ? n : n < 65536 ? 126 : 127);
  if (h[1] == 126) len = 4;
  if (h[1] == 127) len = 10;
  for (i = len; i > 2 && len > 2; i--) h[i - 1] = (unsigned char)((uint64_t)n >> 8 * (len - i));
  assert_int_equal(xm_buf_put(b, h, len), XM_OK);
  if (n) assert_int_equal(xm_buf_put(b, payload, n), XM_OK);
}

static void text(xm_buf *b, int head, const char *s) {
  frame(b, head, s, strlen(s));
}

/* The events as text: <payload>, "." for a message's end, "p" for what needs no answer, "c1000:reason" for a close,
 * "!1002" for a violation. A fragment's DATA may come in pieces, so nothing is written between them. */
typedef struct story {
  xm_buf log;
  bool over;
} story;

static void tell(story *s, int ev, const xm_ws *w, const char *data, size_t n) {
  char line[200] = "";
  if (ev == XM_WS_DATA) {
    assert_true(n > 0);
    xm_buf_put(&s->log, data, n);
  }
  if (ev == XM_WS_END) strcpy(line, ".");
  if (ev == XM_WS_PASSED) strcpy(line, "p");
  if (ev == XM_WS_CLOSED) snprintf(line, sizeof line, "c%u:%s", xm_ws_code(w), xm_ws_reason(w));
  if (ev < 0) snprintf(line, sizeof line, "!%u", xm_ws_code(w));
  xm_buf_puts(&s->log, line);
  if (ev != XM_WS_DATA) assert_int_equal(n, 0);
  s->over = ev < 0 || ev == XM_WS_CLOSED;
}

/* Feeds it in pieces of `piece` bytes, and takes at most `room` bytes at a time. */
static void hear(xm_ws *w, const xm_buf *from, size_t piece, size_t room, story *s) {
  xm_buf in = XM_BUF_INIT;
  char *to = malloc(room);
  size_t at, n;
  for (at = 0; at < xm_buf_len(from) && !s->over; at += piece) {
    size_t left = xm_buf_len(from) - at;
    int ev;
    assert_int_equal(xm_buf_put(&in, xm_buf_at(from) + at, left < piece ? left : piece), XM_OK);
    while (!s->over && (ev = xm_ws_next(w, &in, to, room, &n, &err)) != XM_WS_MORE) tell(s, ev, w, to, n);
    if (!s->over) assert_int_equal(xm_buf_len(&in), 0);
  }
  free(to);
  xm_buf_free(&in);
}

/* The same events for every size of piece and of room. */
static void check_story(const xm_buf *from, const char *want) {
  const size_t rooms[] = {1, 2, 7, 100, 70000};
  size_t piece, i;
  for (piece = 1; piece <= xm_buf_len(from); piece = piece < 40 ? piece + 1 : piece * 2)
    for (i = 0; i < 5; i++) {
      xm_ws *w = xm_ws_new();
      story s = {.over = false};
      assert_non_null(w);
      xm_err_clear(&err);
      hear(w, from, piece, rooms[i], &s);
      assert_int_equal(xm_buf_putc(&s.log, '\0'), XM_OK);
      assert_string_equal(xm_buf_at(&s.log), want);
      assert_int_equal(xm_err_is_set(&err), strchr(want, '!') != NULL);
      if (xm_err_is_set(&err)) assert_int_equal(err.layer, XM_LAYER_WEBSOCKET);
      xm_buf_free(&s.log);
      xm_ws_free(w);
    }
}

#define STORY(want, ...)                \
  do {                                  \
    xm_buf b = XM_BUF_INIT;             \
    __VA_ARGS__;                        \
    check_story(&b, want);              \
    xm_buf_free(&b);                    \
  } while (0)

static void messages_are_put_together(void **unused) {
  (void)unused;
  STORY("<a/>.", text(&b, FIN | TEXT, "<a/>"));
  STORY("<a/>.<b/>.", text(&b, FIN | TEXT, "<a/>"), text(&b, FIN | TEXT, "<b/>"));
  STORY("<ap/p>.<b/>.", text(&b, TEXT, "<a"), text(&b, 0, "/"), text(&b, FIN, ">"), text(&b, FIN | TEXT, "<b/>"));
  STORY("p<app/>p.", text(&b, TEXT, ""), text(&b, 0, "<a"), text(&b, 0, ""), text(&b, 0, "/>"), text(&b, FIN, ""));
  STORY(".", text(&b, FIN | TEXT, ""));
  STORY("p.", text(&b, TEXT, ""), text(&b, FIN, ""));
}

static void control_frames_come_in_between(void **unused) {
  char longest[126];
  (void)unused;
  memset(longest, 'x', 125);
  longest[125] = '\0';
  STORY("<app/>.", text(&b, TEXT, "<a"), text(&b, FIN | PING, "hello"), text(&b, FIN, "/>"));
  STORY("pp", text(&b, FIN | PONG, ""), text(&b, FIN | PONG, longest));
  STORY("pp<a/>.", text(&b, FIN | PING, longest), text(&b, FIN | PING, ""), text(&b, FIN | TEXT, "<a/>"));
  STORY("<apc1001:bye", text(&b, TEXT, "<a"), text(&b, FIN | CLOSE, "\x03\xE9" "bye"), text(&b, FIN, "/>"));
}

static void lengths_have_three_forms(void **unused) {
  static char long_text[70001];
  const size_t lengths[] = {125, 126, 127, 4095, 4096, 4097, 65535, 65536, 70000};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    char *want = malloc(lengths[i] + 2);
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[lengths[i]] = '\0';
    sprintf(want, "%s.", long_text);
    STORY(want, text(&b, FIN | TEXT, long_text));
    free(want);
  }
}

/* A length that isn't in its shortest form, or has its highest bit set; nothing is allocated for a length that is
 * announced. */
static void invalid_lengths_are_refused(void **unused) {
  (void)unused;
  STORY("!1002", frame(&b, FIN | TEXT, NULL, 0), b.data[1] = 126, xm_buf_put(&b, "\0\x7D", 2), text(&b, FIN, "x"));
  STORY("!1002", xm_buf_put(&b, "\x81\x7F\0\0\0\0\0\0\xFF\xFF<", 11));
  STORY("!1002", xm_buf_put(&b, "\x81\x7F\x80\0\0\0\0\0\0\0<", 11));
  STORY("!1002", xm_buf_put(&b, "\x81\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF<", 11));
  STORY("<a/>", xm_buf_put(&b, "\x81\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF<a/>", 14));
  STORY("<a/>", xm_buf_put(&b, "\x01\x7F\0\0\0\x01\0\0\0\0<a/>", 14));
}

static void breaches_of_the_protocol_are_refused(void **unused) {
  int op;
  (void)unused;
  for (op = 3; op <= 7; op++) STORY("!1002", text(&b, FIN | op, "x"));
  for (op = 11; op <= 15; op++) STORY("!1002", text(&b, FIN | op, "x"));
  STORY("!1002", text(&b, FIN | TEXT | 0x40, "x"));
  STORY("!1002", text(&b, FIN | TEXT | 0x20, "x"));
  STORY("!1002", text(&b, FIN | TEXT | 0x10, "x"));
  STORY("!1002", text(&b, FIN | PING | 0x40, "x"));
  STORY("!1003", text(&b, FIN | BINARY, "x"));
  STORY("!1003", text(&b, BINARY, "x"));
  STORY("!1003", text(&b, FIN | BINARY, ""));
  STORY("!1002", text(&b, FIN, "x"));
  STORY("!1002", text(&b, 0, "x"));
  STORY("<a/>.!1002", text(&b, FIN | TEXT, "<a/>"), text(&b, FIN, "x"));
  STORY("<ap!1002", text(&b, TEXT, "<a"), text(&b, FIN | TEXT, "x"));
  STORY("<ap!1002", text(&b, TEXT, "<a"), text(&b, TEXT, "x"));
  STORY("<ap!1003", text(&b, TEXT, "<a"), text(&b, FIN | BINARY, "x"));
  STORY("!1002", text(&b, PING, "x"));
  STORY("!1002", text(&b, CLOSE, "x"));
  STORY("!1002", xm_buf_put(&b, "\x89\x7E\0\x7E", 4), frame(&b, 0, "x", 1));
  STORY("!1002", xm_buf_put(&b, "\x81\x84\1\2\3\4=c\\:", 10)); /* masked */
  STORY("!1002", xm_buf_put(&b, "\x89\x80\1\2\3\4", 6));
}

static void close_frames(void **unused) {
  static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
  static const unsigned bad[] = {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
  char want[32], payload[2];
  size_t i;
  (void)unused;
  STORY("c1005:", text(&b, FIN | CLOSE, ""), text(&b, FIN | TEXT, "<a/>"));
  STORY("c1000:so long", text(&b, FIN | CLOSE, "\x03\xE8so long"));
  STORY("!1002", text(&b, FIN | CLOSE, "\x03"));
  for (i = 0; i < sizeof good / sizeof *good; i++) {
    payload[0] = (char)(good[i] >> 8), payload[1] = (char)good[i];
    snprintf(want, sizeof want, "c%u:", good[i]);
    STORY(want, frame(&b, FIN | CLOSE, payload, 2));
  }
  for (i = 0; i < sizeof bad / sizeof *bad; i++) {
    payload[0] = (char)(bad[i] >> 8), payload[1] = (char)bad[i];
    STORY("!1002", frame(&b, FIN | CLOSE, payload, 2));
  }
}

/* What follows a close isn't read. */
static void nothing_comes_behind_a_close(void **unused) {
  xm_buf b = XM_BUF_INIT;
  xm_ws *w = xm_ws_new();
  char to[10];
  size_t n;
  (void)unused;
  text(&b, FIN | CLOSE, "");
  assert_int_equal(xm_ws_next(w, &b, to, sizeof to, &n, &err), XM_WS_CLOSED);
  text(&b, FIN | TEXT, "<a/>");
  assert_int_equal(xm_ws_next(w, &b, to, sizeof to, &n, &err), XM_WS_CLOSED);
  assert_int_equal(xm_buf_len(&b), 6);
  xm_buf_free(&b);
  xm_ws_free(w);
}

/* Frames that are sent, parsed by the test's own reader. Their masks come from test_rnd_bytes. */

static size_t check_frame(const char *s, size_t n, int opcode, const char *payload, size_t len) {
  const unsigned char *u = (const unsigned char *)s;
  size_t at = 2, got, i;
  assert_true(n >= 2);
  assert_int_equal(u[0], FIN | opcode);
  assert_true(u[1] & 0x80);
  got = u[1] & 0x7F;
  if (got == 126) got = (size_t)u[2] << 8 | u[3], at = 4, assert_true(got > 125);
  else if (got == 127) {
    for (got = 0, i = 2; i < 10; i++) got = got << 8 | u[i];
    at = 10;
    assert_true(got > 65535);
  }
  assert_int_equal(got, len);
  assert_true(n >= at + 4 + len);
  for (i = 0; i < len; i++) assert_int_equal((unsigned char)(u[at + 4 + i] ^ u[at + i % 4]), (unsigned char)payload[i]);
  return at + 4 + len;
}

static void frames_out(void **unused) {
  static char big[70000];
  const size_t lengths[] = {1, 125, 126, 65535, 65536, 70000};
  xm_ws *w = xm_ws_new();
  xm_buf out = XM_BUF_INIT;
  size_t i;
  (void)unused;
  memset(big, 'y', sizeof big);
  for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    xm_ws_part parts[] = {{"", 0}, {big, lengths[i] / 2}, {"", 0}, {big, lengths[i] - lengths[i] / 2}, {"", 0}};
    assert_int_equal(xm_ws_put_text(w, parts, 5, &out), XM_OK);
    assert_int_equal(check_frame(xm_buf_at(&out), xm_buf_len(&out), TEXT, big, lengths[i]), xm_buf_len(&out));
    xm_buf_clear(&out);
  }
  assert_int_equal(xm_ws_put_ping(w, &out), XM_OK);
  assert_int_equal(xm_ws_put_close(w, 1002, &out), XM_OK);
  assert_int_equal(xm_ws_put_close(w, XM_WS_NO_CODE, &out), XM_OK);
  i = check_frame(xm_buf_at(&out), xm_buf_len(&out), PING, "", 0);
  i += check_frame(xm_buf_at(&out) + i, xm_buf_len(&out) - i, CLOSE, "\x03\xEA", 2);
  i += check_frame(xm_buf_at(&out) + i, xm_buf_len(&out) - i, CLOSE, "", 0);
  assert_int_equal(i, xm_buf_len(&out));
  xm_buf_free(&out);
  xm_ws_free(w);
}

/* The same mask for two frames would reveal what they have in common. */
static void each_frame_has_a_mask_of_its_own(void **unused) {
  const xm_ws_part part = {"<a/>", 4};
  xm_ws *w = xm_ws_new();
  xm_buf out = XM_BUF_INIT;
  (void)unused;
  assert_int_equal(xm_ws_put_text(w, &part, 1, &out), XM_OK);
  assert_int_equal(xm_ws_put_text(w, &part, 1, &out), XM_OK);
  assert_int_equal(xm_buf_len(&out), 20);
  assert_memory_not_equal(xm_buf_at(&out) + 2, xm_buf_at(&out) + 12, 4);
  xm_buf_free(&out);
  xm_ws_free(w);
}

/* Of several pings only the last is answered, once. */
static void pings_are_answered(void **unused) {
  xm_ws *w = xm_ws_new();
  xm_buf in = XM_BUF_INIT, out = XM_BUF_INIT;
  char to[10];
  size_t n;
  (void)unused;
  assert_false(xm_ws_owes_pong(w));
  assert_int_equal(xm_ws_put_pong(w, &out), XM_OK);
  assert_int_equal(xm_buf_len(&out), 0);
  text(&in, FIN | PING, "one");
  text(&in, FIN | PING, "another");
  text(&in, FIN | PONG, "answers nothing");
  while (xm_ws_next(w, &in, to, sizeof to, &n, &err) == XM_WS_PASSED) {}
  assert_true(xm_ws_owes_pong(w));
  no_randomness = true;
  assert_int_equal(xm_ws_put_pong(w, &out), XM_EFAIL);
  assert_int_equal(xm_buf_len(&out), 0);
  no_randomness = false;
  assert_true(xm_ws_owes_pong(w));
  assert_int_equal(xm_ws_put_pong(w, &out), XM_OK);
  assert_int_equal(check_frame(xm_buf_at(&out), xm_buf_len(&out), PONG, "another", 7), xm_buf_len(&out));
  assert_false(xm_ws_owes_pong(w));
  xm_buf_free(&in);
  xm_buf_free(&out);
  xm_ws_free(w);
}

/* What can't be masked isn't written, and the frames after it are correct. */
static void without_memory_or_randomness(void **unused) {
  const xm_ws_part parts[] = {{"<a", 2}, {"/>", 2}};
  xm_buf out = XM_BUF_INIT;
  xm_ws *w;
  long n = 0;
  (void)unused;
  do {
    heap_fails(n++, false);
    w = xm_ws_new();
    if (w) {
      int rc = xm_ws_put_text(w, parts, 2, &out);
      if (rc < 0) assert_int_equal(xm_buf_len(&out), 0);
      no_randomness = true;
      if (rc == XM_OK) assert_int_equal(xm_ws_put_text(w, parts, 2, &out), XM_EFAIL);
      no_randomness = false;
      heap_is_well();
      if (rc < 0) assert_int_equal(xm_ws_put_text(w, parts, 2, &out), XM_OK);
      assert_int_equal(check_frame(xm_buf_at(&out), xm_buf_len(&out), TEXT, "<a/>", 4), xm_buf_len(&out));
      xm_ws_free(w);
    }
    xm_buf_free(&out);
    assert_int_equal(heap.live, 0);
  } while (n < 5);
  heap_is_well();
}

/* In wslay's memory nothing is left of the payload, whether it was taken or not. */
static void secrets_are_wiped(void **unused) {
  xm_ws *w = xm_ws_new();
  xm_buf in = XM_BUF_SECRET;
  char to[6];
  size_t n;
  const uint8_t *theirs;
  (void)unused;
  text(&in, FIN | TEXT, "secret");
  text(&in, FIN | TEXT, "secret");
  assert_int_equal(xm_ws_next(w, &in, to, 6, &n, &err), XM_WS_DATA);
  assert_int_equal(n, 6);
  theirs = w->last;
  assert_memory_equal(theirs + 2, "\0\0\0\0\0\0", 6);
  assert_memory_equal(theirs + 10, "secret", 6);
  xm_ws_set_secret(w, false);
  assert_int_equal(xm_ws_next(w, &in, to, 6, &n, &err), XM_WS_END);
  assert_int_equal(xm_ws_next(w, &in, to, 6, &n, &err), XM_WS_DATA);
  assert_memory_equal(theirs + 10, "secret", 6);
  xm_buf_free(&in);
  xm_ws_free(w);
}

static void what_was_not_handed_out_is_wiped(void **unused) {
  xm_ws *w = xm_ws_new();
  xm_buf in = XM_BUF_SECRET;
  char to[2];
  size_t n;
  (void)unused;
  text(&in, FIN | TEXT, "secret");
  assert_int_equal(xm_ws_next(w, &in, to, 2, &n, &err), XM_WS_DATA);
  looked_at = w->last;
  looked_n = 8;
  unwiped = 0;
  assert_memory_equal(looked_at + 4, "cret", 4);
  xm_ws_free(w);
  looked_n = 0;
  assert_int_equal(unwiped, 0);
  xm_buf_free(&in);
}

/* Random bytes: it comes to an end, and gives out no more than it was given. */
static void any_bytes(void **unused) {
  uint32_t seed = 1;
  int round;
  (void)unused;
  for (round = 0; round < 20000; round++) {
    xm_ws *w = xm_ws_new();
    xm_buf in = XM_BUF_INIT;
    char to[64];
    size_t n, all = 0, given;
    int ev, i;
    for (i = 0; i < 60; i++) {
      seed = seed * 1664525u + 1013904223u;
      xm_buf_putc(&in, (char)(seed >> 24 & (i % 7 < 2 ? 0x8F : 0xFF)));
    }
    given = xm_buf_len(&in);
    xm_err_clear(&err);
    while ((ev = xm_ws_next(w, &in, to, sizeof to, &n, &err)) > XM_WS_MORE && ev != XM_WS_CLOSED) all += n + 2 * (ev != XM_WS_DATA);
    assert_true(all <= given);
    xm_buf_free(&in);
    xm_ws_free(w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages_are_put_together),
      cmocka_unit_test(control_frames_come_in_between),
      cmocka_unit_test(lengths_have_three_forms),
      cmocka_unit_test(invalid_lengths_are_refused),
      cmocka_unit_test(breaches_of_the_protocol_are_refused),
      cmocka_unit_test(close_frames),
      cmocka_unit_test(nothing_comes_behind_a_close),
      cmocka_unit_test(frames_out),
      cmocka_unit_test(each_frame_has_a_mask_of_its_own),
      cmocka_unit_test(pings_are_answered),
      cmocka_unit_test(without_memory_or_randomness),
      cmocka_unit_test(secrets_are_wiped),
      cmocka_unit_test(what_was_not_handed_out_is_wiped),
      cmocka_unit_test(any_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void without_websocket_support_none_is_made(void **unused) {
  (void)unused;
  assert_false(xm_ws_is_there());
  assert_null(xm_ws_new());
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(without_websocket_support_none_is_made)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
