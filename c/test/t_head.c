/* head: what is read from an HTTP response, however it is cut; what isn't accepted; every limit, on both sides of it;
 * and memory that runs out. */
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
#include "../core/head.c"

#include "failing_off.h"

static xm_err err;

static xm_head *new_head(void) {
  xm_head *h = xm_head_new(XM_LAYER_PROXY, "the proxy");
  assert_non_null(h);
  xm_err_clear(&err);
  return h;
}

/* Gives `s` in pieces of `piece` bytes, each in a block of its own, so that a sanitizer notices reads beyond it.
 * *taken: how many bytes belonged to the head. */
static int take(xm_head *h, const char *s, size_t n, size_t piece, size_t *taken) {
  int rc = 0;
  *taken = 0;
  while (*taken < n && rc == 0) {
    size_t used, left = n - *taken, len = left < piece ? left : piece;
    char *copy = malloc(len);
    memcpy(copy, s + *taken, len);
    rc = xm_head_take(h, copy, len, &used, &err);
    free(copy);
    if (rc == 0) assert_int_equal(used, len);
    *taken += used;
  }
  return rc;
}

static xm_head *read_head(const char *s) {
  xm_head *h = new_head();
  size_t taken;
  if (take(h, s, strlen(s), SIZE_MAX, &taken) != 1) fail_msg("refused: %s: %s", s, err.text);
  assert_int_equal(taken, strlen(s));
  return h;
}

static void a_head_is_read(void **unused) {
  xm_head *h = read_head("HTTP/1.1 101 Switching  Protocols \r\nUpgrade: WebSocket\r\nConnection:keep-alive , \tUPGRADE\t\r\n"
                         "empty:\r\nblank: \t \r\nconnection: one\r\nX-Odd!#$%&'*+-.^_`|~9: a\tb: \xff\r\n\r\n");
  (void)unused;
  assert_int_equal(xm_head_status(h), 101);
  assert_string_equal(xm_head_reason(h), "Switching  Protocols ");
  assert_string_equal(xm_head_field(h, "upgrade"), "WebSocket");
  assert_string_equal(xm_head_field(h, "CONNECTION"), "keep-alive , \tUPGRADE");
  assert_string_equal(xm_head_field(h, "empty"), "");
  assert_string_equal(xm_head_field(h, "blank"), "");
  assert_string_equal(xm_head_field(h, "x-odd!#$%&'*+-.^_`|~9"), "a\tb: \xff");
  assert_null(xm_head_field(h, "upgrad"));
  assert_null(xm_head_field(h, "upgrades"));
  assert_null(xm_head_field(h, ""));
  assert_int_equal(xm_head_fields(h, "Connection"), 2);
  assert_int_equal(xm_head_fields(h, "upgrade"), 1);
  assert_int_equal(xm_head_fields(h, "HTTP/1.1 101"), 0);
  xm_head_free(h);
}

static void tokens_are_found_in_lists(void **unused) {
  static const char *const in[] = {"a", "B", "cc", "d", "e"}, *const out[] = {"", "c", "ccc", "a,", "a, b", "f", " a", "x"};
  xm_head *h = read_head("HTTP/1.1 200 OK\r\nL: a, b ,cc\t,,\r\nM: x\r\nl:,d,\r\nL: e\r\n\r\n");
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof in / sizeof *in; i++) assert_true(xm_head_has_token(h, "l", in[i]));
  for (i = 0; i < sizeof out / sizeof *out; i++) assert_false(xm_head_has_token(h, "l", out[i]));
  assert_false(xm_head_has_token(h, "n", "a"));
  xm_head_free(h);
}

static void short_heads_are_read(void **unused) {
  static const char *const rows[] = {"HTTP/1.0 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n", "HTTP/1.9 200\r\na:\r\n\r\n"};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    xm_head *h = read_head(rows[i]);
    assert_int_equal(xm_head_status(h), 200);
    assert_string_equal(xm_head_reason(h), "");
    xm_head_free(h);
  }
}

/* Cut once at every place, and into pieces of every size; what follows the empty line isn't taken. */
static void whatever_the_cutting_the_same_is_read(void **unused) {
  static const char s[] = "HTTP/1.1 407 Proxy Authentication Required\r\nA: b\r\nProxy-Authenticate: Basic, x\r\n\r\n",
                    more[] = "<behind";
  size_t cut, taken, n = sizeof s - 1;
  (void)unused;
  for (cut = 1; cut <= n + sizeof more; cut++) {
    xm_head *h = new_head();
    char whole[sizeof s + sizeof more];
    memcpy(whole, s, n);
    memcpy(whole + n, more, sizeof more);
    assert_int_equal(take(h, whole, n + sizeof more, cut, &taken), 1);
    assert_int_equal(taken, n);
    assert_int_equal(xm_head_status(h), 407);
    assert_string_equal(xm_head_reason(h), "Proxy Authentication Required");
    assert_true(xm_head_has_token(h, "proxy-authenticate", "basic"));
    assert_int_equal(xm_head_take(h, more, sizeof more, &taken, &err), 1);
    assert_int_equal(taken, 0);
    xm_head_free(h);

    h = new_head();
    if (cut < n) {
      assert_int_equal(take(h, s, cut, SIZE_MAX, &taken), 0);
      assert_int_equal(take(h, s + cut, n - cut, SIZE_MAX, &taken), 1);
      assert_string_equal(xm_head_field(h, "a"), "b");
    }
    xm_head_free(h);
  }
}

static void an_interim_response_has_another_behind_it(void **unused) {
  xm_head *h = read_head("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
  size_t taken;
  (void)unused;
  assert_int_equal(xm_head_status(h), 103);
  xm_head_again(h);
  assert_int_equal(take(h, "HTTP/1.1 204\r\nA: b\r\n\r\n", 22, 1, &taken), 1);
  assert_int_equal(xm_head_status(h), 204);
  assert_null(xm_head_field(h, "link"));
  assert_string_equal(xm_head_field(h, "a"), "b");
  xm_head_free(h);
}

/* It is refused at the same byte, with the same text, however it is cut; and nothing is taken from then on. */
static void check_refused(const char *s, size_t n, size_t at, const char *why) {
  size_t cut, taken;
  char text[sizeof err.text];
  snprintf(text, sizeof text, "the proxy did not answer in HTTP/1.1: %s", why);
  for (cut = 1; cut <= n; cut = n > 1000 && cut < n ? (cut * 3 < n ? cut * 3 : n) : cut + 1) {
    xm_head *h = new_head();
    if (take(h, s, n, cut, &taken) != XM_EFAIL) fail_msg("taken: %s", s);
    if (taken != at) fail_msg("refused at %zu, not %zu: %s", taken, at, s);
    assert_string_equal(err.text, text);
    assert_string_equal(err.condition, "invalid-response");
    assert_int_equal(err.layer, XM_LAYER_PROXY);
    assert_false(err.retry);
    assert_int_equal(xm_head_take(h, "\r\n\r\n", 4, &taken, &err), XM_EFAIL);
    assert_int_equal(taken, 0);
    xm_head_free(h);
  }
}

static void what_is_no_head_is_refused(void **unused) {
  static const char STATUS[] = "its status line is malformed", CONTROL[] = "a control character is in its head",
                    NAME[] = "a field has no proper name", LINE[] = "a CR has no LF behind it";
  const struct {
    const char *s;
    size_t at;
    const char *why;
  } rows[] = {
      {"\r\n", 0, STATUS},
      {"\n", 0, STATUS},
      {" HTTP/1.1 200 OK\r\n\r\n", 0, STATUS},
      {"http/1.1 200 OK\r\n\r\n", 0, STATUS},
      {"SSH-2.0-OpenSSH\r\n", 0, STATUS},
      {"<stream:stream>", 0, STATUS},
      {"\x05\xff", 0, STATUS},
      {"HTTP/2 200 OK\r\n\r\n", 5, STATUS},
      {"HTTP/2.0 200 OK\r\n\r\n", 5, STATUS},
      {"HTTP/11 200 OK\r\n\r\n", 6, STATUS},
      {"HTTP/1.x 200 OK\r\n\r\n", 7, STATUS},
      {"HTTP/1.10 200 OK\r\n\r\n", 8, STATUS},
      {"HTTP/1.1\t200 OK\r\n\r\n", 8, STATUS},
      {"HTTP/1.1  200 OK\r\n\r\n", 9, STATUS},
      {"HTTP/1.1 099 OK\r\n\r\n", 9, STATUS},
      {"HTTP/1.1 600 OK\r\n\r\n", 9, STATUS},
      {"HTTP/1.1 2x0 OK\r\n\r\n", 10, STATUS},
      {"HTTP/1.1 20\r\n\r\n", 11, STATUS},
      {"HTTP/1.1 2000 OK\r\n\r\n", 12, STATUS},
      {"HTTP/1.1 200OK\r\n\r\n", 12, STATUS},
      {"HTTP/1.1 200\n\n", 12, STATUS},
      {"HTTP/1.1 200 OK\n\n", 15, CONTROL},
      {"HTTP/1.1 200 O\x1b[1mK\r\n\r\n", 14, CONTROL},
      {"HTTP/1.1 200 OK\rX", 16, LINE},
      {"HTTP/1.1 200 OK\r\r\n", 16, LINE},
      {"HTTP/1.1 200 OK\r\n\n", 17, CONTROL},
      {"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n", 17, "a line is folded"},
      {"HTTP/1.1 200 OK\r\na: 1\r\n\tb\r\n\r\n", 23, "a line is folded"},
      {"HTTP/1.1 200 OK\r\n: 1\r\n\r\n", 17, NAME},
      {"HTTP/1.1 200 OK\r\na : 1\r\n\r\n", 18, NAME},
      {"HTTP/1.1 200 OK\r\na\tb: 1\r\n\r\n", 18, NAME},
      {"HTTP/1.1 200 OK\r\na(b): 1\r\n\r\n", 18, NAME},
      {"HTTP/1.1 200 OK\r\n\xc3\xa4: 1\r\n\r\n", 17, NAME},
      {"HTTP/1.1 200 OK\r\na\r\n\r\n", 18, "a field has no value"},
      {"HTTP/1.1 200 OK\r\na: 1\nb: 2\r\n\r\n", 21, CONTROL},
      {"HTTP/1.1 200 OK\r\na: 1\rb: 2\r\n\r\n", 22, LINE},
      {"HTTP/1.1 200 OK\r\na: \x7f\r\n\r\n", 20, CONTROL},
      {"HTTP/1.1 200 OK\r\na: \x1b\r\n\r\n", 20, CONTROL},
      {"HTTP/1.1 200 OK\r\na: 1\r\n\rx", 24, LINE},
  };
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) check_refused(rows[i].s, strlen(rows[i].s), rows[i].at, rows[i].why);
  check_refused("HTTP/1.1 2\0000 OK\r\n\r\n", 19, 10, STATUS);
  check_refused("HTTP/1.1 200 \0\r\n\r\n", 18, 13, CONTROL);
  check_refused("HTTP/1.1 200 OK\r\n\0: 1\r\n\r\n", 25, 17, CONTROL);
  check_refused("HTTP/1.1 200 OK\r\na\0: 1\r\n\r\n", 26, 18, CONTROL);
  check_refused("HTTP/1.1 200 OK\r\na: \0\r\n\r\n", 25, 20, CONTROL);
}

/* Replaces every byte of a small head by every other: the head is refused, or is the same except for that byte. */
static void any_byte_may_be_wrong(void **unused) {
  static const char s[] = "HTTP/1.1 200 OK\r\nab: cd\r\n\r\n";
  size_t at, taken, n = sizeof s - 1;
  int c, well = 0;
  (void)unused;
  for (at = 0; at < n; at++)
    for (c = 0; c < 256; c++) {
      xm_head *h = new_head();
      char copy[sizeof s];
      memcpy(copy, s, sizeof s);
      copy[at] = (char)c;
      if (take(h, copy, n, SIZE_MAX, &taken) == 1) {
        well++;
        assert_true(xm_head_status(h) >= 100 && xm_head_status(h) <= 599);
        assert_int_equal(xm_head_fields(h, "ab") + xm_head_fields(h, "nobody"), xm_head_field(h, "ab") ? 1 : 0);
      }
      xm_head_free(h);
    }
  /* the version's last digit, two spaces, the status, two letters, line ends, a name (its second byte may be the
   * colon), a colon, and a value */
  assert_int_equal(well, 7 + 10 + 2 + 5 + 10 + 10 + 224 * 2 + 6 + 77 + 78 + 1 + 224 * 3);
}

static void a_head_has_so_many_bytes(void **unused) {
  enum { MOST = XM_HEAD_BYTES };
  static char s[MOST + 2] = "HTTP/1.1 200 ";
  xm_head *h = new_head();
  size_t taken;
  (void)unused;
  memset(s + 13, 'x', MOST - 13);
  memcpy(s + MOST - 4, "\r\n\r\n", 4);
  assert_int_equal(take(h, s, MOST, 7, &taken), 1);
  assert_int_equal(taken, MOST);
  xm_head_free(h);
  memset(s + 13, 'x', MOST - 13);
  memcpy(s + MOST - 3, "\r\n\r\n", 4);
  check_refused(s, MOST + 1, MOST, "its head is too long");
  memset(s + 13, 'x', sizeof s - 13);
  check_refused(s, MOST + 2, MOST, "its head is too long");
}

static size_t write_lines(char *s, int fields) {
  size_t n = (size_t)sprintf(s, "HTTP/1.1 200\r\n");
  int i;
  for (i = 0; i < fields; i++) n += (size_t)sprintf(s + n, "n%d: %d\r\n", i, i);
  return n + (size_t)sprintf(s + n, "\r\n");
}

static void a_head_has_so_many_lines(void **unused) {
  static char s[4096];
  xm_head *h = new_head();
  size_t taken, n = write_lines(s, XM_HEAD_LINES - 1);
  (void)unused;
  assert_int_equal(take(h, s, n, SIZE_MAX, &taken), 1);
  assert_string_equal(xm_head_field(h, "N98"), "98");
  assert_string_equal(xm_head_field(h, "n0"), "0");
  xm_head_free(h);
  n = write_lines(s, XM_HEAD_LINES);
  check_refused(s, n, (size_t)(strstr(s, "n99") - s), "its head has too many lines");
}

static void memory_that_runs_out_is_said(void **unused) {
  static const char s[] =
      "HTTP/1.1 200 OK\r\nA: a value that is somewhat longer than the others, so that the window must grow, which takes memory\r\n"
      "B: another one, for the same reason, as long as the one above, or nearly as long as that, anyway\r\n"
      "C: and yet another, since the window's size doubles each time\r\n\r\n";
  long n = 0, live = heap.live;
  size_t taken;
  (void)unused;
  do {
    xm_head *h;
    int rc = XM_EFAIL;
    xm_err_clear(&err);
    heap_fails(n++, false);
    h = xm_head_new(XM_LAYER_PROXY, "the proxy");
    if (h) rc = take(h, s, sizeof s - 1, 10, &taken);
    if (h && rc < 0) assert_string_equal(err.condition, "ENOMEM");
    if (rc < 0) assert_true(heap.noes > 0);
    if (rc == 1) assert_non_null(xm_head_field(h, "C"));
    xm_head_free(h);
    assert_int_equal(heap.live, live);
  } while (heap_is_well());
  assert_true(n > 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_head_is_read),
      cmocka_unit_test(tokens_are_found_in_lists),
      cmocka_unit_test(short_heads_are_read),
      cmocka_unit_test(whatever_the_cutting_the_same_is_read),
      cmocka_unit_test(an_interim_response_has_another_behind_it),
      cmocka_unit_test(what_is_no_head_is_refused),
      cmocka_unit_test(any_byte_may_be_wrong),
      cmocka_unit_test(a_head_has_so_many_bytes),
      cmocka_unit_test(a_head_has_so_many_lines),
      cmocka_unit_test(memory_that_runs_out_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
