/* stringprep: rows for each step of RFC 3454 and each profile; too little space, no memory. stringprep_dump.c shows
 * every code point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#include "failing.h"

#include "../core/stringprep.c"

#include "failing_off.h"

/* The result of each profile; NULL: it is refused. */
static void check(const char *s, const char *node, const char *resource, const char *sasl) {
  const char *const expected[] = {node, resource, sasl};
  int p;
  for (p = XM_STRINGPREP_NODE; p <= XM_STRINGPREP_SASL; p++) {
    char out[256];
    size_t n = 0;
    int rc = xm_stringprep((xm_stringprep_profile)p, s, strlen(s), out, sizeof out, &n);
    if (rc != (expected[p] ? XM_OK : XM_EINVAL)) fail_msg("%s by profile %d: %d", s, p, rc);
    if (expected[p] && (n != strlen(expected[p]) || memcmp(out, expected[p], n) != 0))
      fail_msg("%s by profile %d: %.*s, not %s", s, p, (int)n, out, expected[p]);
  }
}

static void each_step(void **state) {
  (void)state;
  check("Juliet", "juliet", "Juliet", "Juliet");
  check("I\u00ADX\u2060\uFE0F", "ix", "IX", "IX");               /* B.1 */
  check("Stra\u00DFe", "strasse", "Stra\u00DFe", "Stra\u00DFe"); /* B.2 */
  check("\u03A3\u03C2", "\u03C3\u03C3", "\u03A3\u03C2", "\u03A3\u03C2");
  check("\u2168\uFB01", "ixfi", "IXfi", "IXfi"); /* NFKC */
  check("\u2120", "sm", "SM", "SM");             /* folded again by B.2 */
  check("e\u0301\uFF21", "\u00E9a", "\u00E9A", "\u00E9A");
  check("a b", NULL, "a b", "a b");
  check("a\u00A0b\u1680c", NULL, NULL, "a b c"); /* C.1.2 */
  check("\u200B", NULL, NULL, " ");              /* in both C.1.2 and B.1 */
  check("a\tb", NULL, NULL, NULL);
  check("a@b", NULL, "a@b", "a@b");
  check("\u2100", NULL, "a/c", "a/c");
  check("a\u202E", NULL, NULL, NULL);
  check("\uE000", NULL, NULL, NULL);
  check("\U0010FFFF", NULL, NULL, NULL);
  check(
      "\u0627"
      "1",
      NULL, NULL, NULL); /* both examples are in RFC 4013 3 */
  check("\u06271\u0628", "\u06271\u0628", "\u06271\u0628", "\u06271\u0628");
  check("a\u05D0", NULL, NULL, NULL);
  check("", NULL, NULL, NULL);
  check("\u00AD", NULL, NULL, NULL);
  check("\xC0\x80", NULL, NULL, NULL);
  check("a\xED\xA0\x80", NULL, NULL, NULL);
}

/* Code points that are newer than Unicode 3.2 don't change, whatever they are today, and nothing combines with them. */
static void what_came_later_stays(void **state) {
  (void)state;
  check("\U0001F600", "\U0001F600", "\U0001F600", "\U0001F600");
  check("\u1E9E", "\u1E9E", "\u1E9E", "\u1E9E"); /* a capital sharp s */
  check("\u10A0", "\u10A0", "\u10A0", "\u10A0"); /* its lower case is newer */
  check("a\u0358\u0301", "a\u0358\u0301", "a\u0358\u0301", "a\u0358\u0301");
  check("\U0002F868", "\U0002136A", "\U0002136A", "\U0002136A"); /* corrigendum 4 */
}

static void there_must_be_room(void **state) {
  static const char ligature[] = "\uFDFA"; /* 18 characters */
  char many[200], out[64];
  size_t n;
  (void)state;
  assert_int_equal(xm_stringprep(XM_STRINGPREP_RESOURCE, ligature, 3, out, 32, &n), XM_ELIMIT);
  assert_int_equal(xm_stringprep(XM_STRINGPREP_RESOURCE, ligature, 3, out, 33, &n), XM_OK);
  assert_int_equal(n, 33);
  memset(many, 'a', sizeof many);
  assert_int_equal(xm_stringprep(XM_STRINGPREP_NODE, many, sizeof many, out, 11, &n), XM_ELIMIT);
  assert_int_equal(xm_stringprep(XM_STRINGPREP_NODE, many, sizeof many, out, 64, &n), XM_ELIMIT);
}

static void memory_that_runs_out_is_told(void **state) {
  static const char s[] = "\u00DF\u03A3\uFB01\u0358\u0301";
  long i = 0, before = heap.live;
  char out[64];
  size_t n;
  int rc;
  (void)state;
  do {
    heap_fails(i++, false);
    rc = xm_stringprep(XM_STRINGPREP_NODE, s, sizeof s - 1, out, sizeof out, &n);
    heap_is_well();
    assert_true(rc == XM_OK || rc == XM_ENOMEM);
    assert_int_equal(heap.live, before);
  } while (rc == XM_ENOMEM);
  assert_true(i > 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_step),
      cmocka_unit_test(what_came_later_stays),
      cmocka_unit_test(there_must_be_room),
      cmocka_unit_test(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
