/* err: the first error is kept; a text that is too long is cut between two characters; every layer has a name. */
#include "err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

/* Fills `to` with `before` letters and then `character`, as often as it fits in `cap`. */
static void fill_with(char *to, size_t cap, size_t before, const char *character) {
  size_t n = strlen(character), at = before;
  memset(to, 'a', before);
  for (; at + n < cap; at += n) memcpy(to + at, character, n);
  to[at] = '\0';
}

/* `got` is `all`, or the longest prefix of it that consists of whole characters and fits in `cap` with its NUL. */
static void check_cut(const char *got, const char *all, size_t cap) {
  size_t n = strlen(all);
  if (n >= cap) {
    n = cap - 1;
    while (((unsigned char)all[n] & 0xC0) == 0x80) n--;
  }
  assert_int_equal(strlen(got), n);
  assert_memory_equal(got, all, n);
}

static void test_set_fills_every_field(void **unused) {
  xm_err e = {0};
  (void)unused;
  assert_false(xm_err_is_set(&e));
  assert_int_equal(xm_err_set(&e, XM_LAYER_SASL, "not-authorized", true, "%s said %d", "peer", 7), XM_EFAIL);
  assert_true(xm_err_is_set(&e));
  assert_int_equal(e.layer, XM_LAYER_SASL);
  assert_true(e.retry);
  assert_int_equal(e.native, 0);
  assert_string_equal(e.condition, "not-authorized");
  assert_string_equal(e.text, "peer said 7");
}

static void test_first_error_is_kept(void **unused) {
  xm_err e = {0}, first;
  (void)unused;
  xm_err_set(&e, XM_LAYER_TLS, "certificate-expired", false, "first");
  first = e;
  assert_int_equal(xm_err_set(&e, XM_LAYER_TCP, "other", true, "second"), XM_EFAIL);
  assert_int_equal(xm_err_errno(&e, XM_LAYER_TCP, ECONNRESET, "ECONNRESET", true, "third"), XM_EFAIL);
  assert_int_equal(xm_err_nomem(&e), XM_EFAIL);
  assert_memory_equal(&e, &first, sizeof e);
  xm_err_clear(&e);
  assert_false(xm_err_is_set(&e));
  xm_err_set(&e, XM_LAYER_TCP, "other", true, "second");
  assert_string_equal(e.text, "second");
}

static void test_nobody_asks(void **unused) {
  (void)unused;
  assert_int_equal(xm_err_set(NULL, XM_LAYER_TCP, "c", true, "text"), XM_EFAIL);
  assert_int_equal(xm_err_errno(NULL, XM_LAYER_TCP, EPIPE, "EPIPE", true, "text"), XM_EFAIL);
  assert_int_equal(xm_err_nomem(NULL), XM_EFAIL);
}

static void test_errno_and_nomem(void **unused) {
  xm_err e = {0};
  (void)unused;
  xm_err_errno(&e, XM_LAYER_TCP, ECONNREFUSED, "ECONNREFUSED", true, "connect to example.net");
  assert_int_equal(e.layer, XM_LAYER_TCP);
  assert_int_equal(e.native, ECONNREFUSED);
  assert_true(e.retry);
  assert_string_equal(e.condition, "ECONNREFUSED");
  assert_memory_equal(e.text, "connect to example.net: ", 24);
  assert_true(strlen(e.text) > 24);
  xm_err_clear(&e);
  xm_err_nomem(&e);
  assert_int_equal(e.layer, XM_LAYER_LIMIT);
  assert_string_equal(e.condition, "ENOMEM");
}

/* Whatever the character at the limit, and wherever in it the limit falls. */
static void test_text_is_cut_at_a_character(void **unused) {
  char all[700];
  size_t c, before;
  (void)unused;
  for (c = 0; c < 4; c++)
    for (before = 0; before < 8; before++) {
      xm_err e = {0};
      fill_with(all, sizeof all, before, characters[c]);
      xm_err_set(&e, XM_LAYER_STREAM, all, false, "%s", all);
      check_cut(e.text, all, sizeof e.text);
      check_cut(e.condition, all, sizeof e.condition);
      xm_err_clear(&e);
      xm_err_errno(&e, XM_LAYER_TCP, EPIPE, "EPIPE", true, all);
      check_cut(e.text, all, sizeof e.text);
    }
}

static void test_what_just_fits_is_whole(void **unused) {
  char all[512];
  size_t c, n;
  (void)unused;
  for (c = 0; c < 4; c++)
    for (n = 500; n < sizeof all; n++) {
      xm_err e = {0};
      size_t one = strlen(characters[c]);
      memset(all, 'a', n);
      memcpy(all + n - one, characters[c], one);
      all[n] = '\0';
      xm_err_set(&e, XM_LAYER_STREAM, "c", false, "%s", all);
      assert_string_equal(e.text, all);
    }
}

static void check_shown(const char *said, const char *shown) {
  xm_err e = {0};
  xm_err_set(&e, XM_LAYER_STREAM, said, false, "<%s>", said);
  assert_int_equal(strlen(e.text), strlen(shown) + 2);
  assert_memory_equal(e.text + 1, shown, strlen(shown));
  assert_string_equal(e.condition, shown);
  xm_err_clear(&e);
  xm_err_errno(&e, XM_LAYER_TCP, EPIPE, "EPIPE", true, said);
  assert_memory_equal(e.text, shown, strlen(shown));
}

static void test_nothing_unseen_is_shown(void **unused) {
  (void)unused;
  check_shown("a\033[2Jb", "a?[2Jb");
  check_shown("a\r\nb\tc\x7f", "a??b?c?");
  check_shown(
      "\xC2\x9B"
      "31m",
      "??31m"); /* a C1 control */
  check_shown("\xC2\x85", "??");
  check_shown("a\u202Eb\u202C", "a???b???");
  check_shown("\u202A\u202B\u202D\u2066\u2067\u2068\u2069", "?????????????????????");
  check_shown("\u200E\u200F\u061C", "????????");
  check_shown("\u2028\u2029\uFEFF", "?????????");
  check_shown("\U000E0041", "????");
  check_shown("é € \U0001F600 \u05D0 \u00A0", "é € \U0001F600 \u05D0 \u00A0");
  check_shown("\xA3\x80nix", "??nix"); /* a byte that can't begin a character */
  check_shown("\xC1\x81 \xE0\x80\x80 \xED\xA0\x80 \xF4\x90\x80\x80 \xFF", "?? ??? ??? ???? ?");
  check_shown("x\xE2\x82", "x??");
}

static bool is_valid(const unsigned char *s) {
  while (*s) {
    if (*s < 0x80) {
      s++;
      continue;
    }
    if (*s >= 0xC2 && *s <= 0xDF && (s[1] & 0xC0) == 0x80) {
      s += 2;
      continue;
    }
    if ((*s & 0xF0) == 0xE0 && (s[1] & 0xC0) == 0x80 && (s[2] & 0xC0) == 0x80 && !(*s == 0xE0 && s[1] < 0xA0) &&
        !(*s == 0xED && s[1] > 0x9F)) {
      s += 3;
      continue;
    }
    return false;
  }
  return true;
}

/* Every sequence of three bytes. */
static void test_text_is_valid_utf8(void **unused) {
  unsigned i;
  (void)unused;
  for (i = 0; i < 0x1000000; i++) {
    unsigned char s[4] = {(unsigned char)(i >> 16), (unsigned char)(i >> 8), (unsigned char)i, 0};
    if (!s[0] || !s[1] || !s[2]) continue;
    xm_err_mend((char *)s);
    if (!is_valid(s)) fail_msg("%06x: %02x %02x %02x", i, s[0], s[1], s[2]);
  }
}

static void test_layer_names(void **unused) {
  static const char *const names[] = {"",       "dns",     "tcp",    "tls",   "stream", "sasl",     "bind",
                                      "stanza", "timeout", "closed", "limit", "proxy",  "websocket"};
  int i;
  (void)unused;
  for (i = XM_LAYER_NONE; i <= XM_LAYER_WEBSOCKET; i++) assert_string_equal(xm_layer_name((xm_layer)i), names[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_set_fills_every_field),
      cmocka_unit_test(test_first_error_is_kept),
      cmocka_unit_test(test_nobody_asks),
      cmocka_unit_test(test_errno_and_nomem),
      cmocka_unit_test(test_text_is_cut_at_a_character),
      cmocka_unit_test(test_what_just_fits_is_whole),
      cmocka_unit_test(test_nothing_unseen_is_shown),
      cmocka_unit_test(test_text_is_valid_utf8),
      cmocka_unit_test(test_layer_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
