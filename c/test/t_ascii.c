/* ascii: letters and digits are the same under every locale. */
#include <ctype.h>
#include <string.h>

#include "foreign.h"

#include "ascii.h"

static void check_all_bytes(void) {
  int a, b;
  for (a = 0; a < 256; a++) {
    bool upper = a >= 'A' && a <= 'Z', lower = a >= 'a' && a <= 'z';
    assert_int_equal(xm_ascii_lower((char)a), (char)(upper ? a + 32 : a));
    assert_int_equal(xm_ascii_is_letter((char)a), upper || lower);
    assert_int_equal(xm_ascii_is_digit((char)a), a >= '0' && a <= '9');
    for (b = 0; b < 256; b++) {
      const char x = (char)a, y = (char)b, xs[] = {x, 0}, ys[] = {y, 0};
      bool same = (upper ? a + 32 : a) == (b >= 'A' && b <= 'Z' ? b + 32 : b);
      assert_int_equal(xm_ascii_same(&x, &y, 1), same);
      assert_int_equal(xm_ascii_equal(xs, ys), same);
    }
  }
}

static void knows_no_locale(void **state) {
  (void)state;
  check_all_bytes();
  go_abroad("tr_TR");
  assert_int_not_equal(tolower('I'), 'i'); /* (a sanitizer's strcasecmp ignores the locale) */
  check_all_bytes();
  come_home();
}

static void compares_whole_strings(void **state) {
  (void)state;
  assert_true(xm_ascii_equal("", ""));
  assert_true(xm_ascii_equal("XMPP.Istanbul", "xmpp.iSTANBUL"));
  assert_false(xm_ascii_equal("xmpp", "xmpp."));
  assert_false(xm_ascii_equal("xmpp.", "xmpp"));
  assert_true(xm_ascii_same("abc", "ABd", 2));
  assert_false(xm_ascii_same("abc", "ABd", 3));
  assert_true(xm_ascii_same("a", "b", 0));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(knows_no_locale), cmocka_unit_test(compares_whole_strings)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
