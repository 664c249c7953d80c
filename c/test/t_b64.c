/* b64: RFC 4648's own test vectors, a round trip of every length, and everything that is almost base64 is refused. */
#include "b64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

static void check_pair(const char *bytes, size_t n, const char *text) {
  xm_buf b = XM_BUF_INIT;
  assert_int_equal(xm_b64_encode(&b, bytes, n), XM_OK);
  assert_int_equal(xm_buf_len(&b), strlen(text));
  if (n) assert_memory_equal(xm_buf_at(&b), text, strlen(text));
  xm_buf_clear(&b);
  assert_int_equal(xm_b64_decode(&b, text, strlen(text)), XM_OK);
  assert_int_equal(xm_buf_len(&b), n);
  if (n) assert_memory_equal(xm_buf_at(&b), bytes, n);
  xm_buf_free(&b);
}

/* The text is refused, and the window's earlier content is unchanged. */
static void check_refused(const char *text, size_t n) {
  xm_buf b = XM_BUF_SECRET;
  assert_int_equal(xm_buf_puts(&b, "kept"), XM_OK);
  if (xm_b64_decode(&b, text, n) != XM_EINVAL) fail_msg("taken: \"%.*s\"", (int)n, text);
  assert_int_equal(xm_buf_len(&b), 4);
  assert_memory_equal(xm_buf_at(&b), "kept", 4);
  xm_buf_free(&b);
}

static void test_vectors(void **unused) {
  (void)unused;
  check_pair("", 0, "");
  check_pair("f", 1, "Zg==");
  check_pair("fo", 2, "Zm8=");
  check_pair("foo", 3, "Zm9v");
  check_pair("foob", 4, "Zm9vYg==");
  check_pair("fooba", 5, "Zm9vYmE=");
  check_pair("foobar", 6, "Zm9vYmFy");
  check_pair("n,,", 3, "biws");
  check_pair("\0\0\0", 3, "AAAA");
  check_pair("\xff\xff\xff", 3, "////");
  check_pair("\xfb\xef\xbe", 3, "++++");
  check_pair("\xfb", 1, "+w==");
}

static void test_malformed(void **unused) {
  static const char *const rows[] = {
      "Z",        "Zg",    "Zg=",    "Zm8",          "Zm9vY",    "Zm9vYg",       "Zm9vYg=",  /* length, padding */
      "=",        "==",    "===",    "====",         "Z===",     "Zg===",        "Zg====",   /* padding alone */
      "Zm9v====", "Zm9v=", "Zm9v==", "Zg==Zg==",     "Zm8=Zm8=", "Zg==Zm9v",     "=Zg=",     /* padding inside */
      "Z=g=",     "Zg=g",  "=m9v",   "Z=9v",         "Zm=v",     "Zm9vZg=v",     "Zm9v=mFy", /* the same */
      "Zh==",     "Zv==",  "Z/==",   "Zm9=",         "Zm+=",     "Zm//Zm9vZm9=",             /* trailing bits */
      " Zm9v",    "Zm9v ", "Zm 9v",  "Zm9v\n",       "Zm9v\r\n", "Zm9v\n   ",    "\tm9v",    /* white space */
      "Zm9 ",     "Z g=",  "Zg= ",   "Zm9v\r\n\r\n", "    ",                                 /* the same */
      "Zm-v",     "Zm_v",  "Zm.v",   "Zm,v",         "Zm\x7fv",  "Zm\xc3\xa9",   "\xff\xff\xff\xff",
  };
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) check_refused(rows[i], strlen(rows[i]));
  check_refused("Zm\0v", 4);
  check_refused("\0\0\0\0", 4);
  check_refused("Zg=\0", 4);
}

/* Every byte in every place of a group of four: only the 64 of the alphabet are accepted. */
static void test_every_byte_in_every_place(void **unused) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  int c, place;
  (void)unused;
  for (c = 0; c < 256; c++)
    for (place = 0; place < 8; place++) {
      char text[] = "AAAAAAAA";
      bool is_letter = memchr(letters, c, 64) != NULL, is_padding = c == '=' && place == 7;
      xm_buf b = XM_BUF_INIT;
      text[place] = (char)c;
      assert_int_equal(xm_b64_decode(&b, text, 8), is_letter || is_padding ? XM_OK : XM_EINVAL);
      assert_int_equal(xm_buf_len(&b), is_letter ? 6 : is_padding ? 5 : 0);
      xm_buf_free(&b);
    }
}

/* Of all texts of the form of one byte or two, exactly 256 and 65536 are accepted: those whose trailing bits are
 * zero. */
static void test_one_text_for_each_value(void **unused) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  int i, one = 0, two = 0;
  xm_buf b = XM_BUF_INIT;
  (void)unused;
  for (i = 0; i < 64 * 64 * 64; i++) {
    char text[] = {letters[i >> 12], letters[i >> 6 & 63], letters[i & 63], '='};
    two += xm_b64_decode(&b, text, 4) == XM_OK;
    text[2] = '=';
    if (i % 64 == 0) one += xm_b64_decode(&b, text, 4) == XM_OK;
    xm_buf_clear(&b);
  }
  assert_int_equal(one, 256);
  assert_int_equal(two, 65536);
  xm_buf_free(&b);
}

static void test_round_trip_of_every_length(void **unused) {
  unsigned char bytes[300];
  size_t n, i;
  (void)unused;
  for (i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 151 + 7);
  for (n = 0; n <= sizeof bytes; n++) {
    xm_buf text = XM_BUF_INIT, back = XM_BUF_INIT;
    assert_int_equal(xm_buf_puts(&back, "before"), XM_OK);
    assert_int_equal(xm_b64_encode(&text, bytes, n), XM_OK);
    assert_int_equal(xm_buf_len(&text), (n + 2) / 3 * 4);
    assert_int_equal(xm_b64_decode(&back, xm_buf_at(&text), xm_buf_len(&text)), XM_OK);
    assert_int_equal(xm_buf_len(&back), 6 + n);
    assert_memory_equal(xm_buf_at(&back), "before", 6);
    if (n) assert_memory_equal(xm_buf_at(&back) + 6, bytes, n);
    xm_buf_free(&text);
    xm_buf_free(&back);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_vectors),
      cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_every_byte_in_every_place),
      cmocka_unit_test(test_one_text_for_each_value),
      cmocka_unit_test(test_round_trip_of_every_length),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
