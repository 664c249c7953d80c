/* precis: the tables of RFC 8265, and each of its rules. precis_dump.c shows every code point on its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "precis.h"

/* `expected` NULL: it is refused with `fault`. */
static void check(bool username, const char *s, const char *expected, xm_precis_fault fault) {
  char out[256];
  size_t n = 0;
  xm_precis_fault got = XM_PRECIS_FAULTS;
  int rc = (username ? xm_precis_username : xm_precis_opaque)(s, strlen(s), out, sizeof out, &n, &got);
  if (rc != (expected ? XM_OK : XM_EINVAL)) fail_msg("%s gives %d, fault %d", s, rc, (int)got);
  if (!expected) {
    if (got != fault) fail_msg("%s: fault %d, not %d", s, (int)got, (int)fault);
  } else if (n != strlen(expected) || memcmp(out, expected, n) != 0) {
    fail_msg("%s gives %.*s, not %s", s, (int)n, out, expected);
  }
}

static void takes(bool username, const char *s, const char *expected) {
  check(username, s, expected, XM_PRECIS_FAULTS);
}

static void refuses(bool username, const char *s, xm_precis_fault fault) {
  check(username, s, NULL, fault);
}

/* `list` is strings with single spaces between them; `fault` XM_PRECIS_FAULTS: they don't change; else why they are
 * refused. */
static void check_each(bool username, const char *list, xm_precis_fault fault) {
  char copy[512], *rest = copy, *s;
  assert_true(strlen(list) < sizeof copy);
  strcpy(copy, list);
  while ((s = strsep(&rest, " "))) check(username, s, fault == XM_PRECIS_FAULTS ? s : NULL, fault);
}

static void keeps_each(bool username, const char *list) {
  check_each(username, list, XM_PRECIS_FAULTS);
}

static void usernames(void **state) {
  (void)state;
  keeps_each(true, "juliet@example.com fussball fußball π σ ς \u03B0 \u1E61"); /* tables 1 and 2, and more */
  takes(true, "Σ", "σ");
  takes(true, "ΟΔΥΣΣΕΥΣ", "οδυσσευσ"); /* no final sigma is introduced */
  takes(true, "JULIET", "juliet");
  takes(true, "ÉÀ\u0410", "éà\u0430");
  takes(true, "\u0130", "i\u0307");
  takes(true, "A\u030A", "å");
  takes(true, "\u212B\u212A\u2126", "åkω"); /* angstrom, kelvin, ohm */
  takes(true, "\u1112\u1161\u11AB", "한");
  takes(true, "ＡＢ\uFF76\uFF9E", "ab\u30AC"); /* fullwidth; a halfwidth kana and its voiced sound mark */
  refuses(true, "", XM_PRECIS_EMPTY);
  refuses(true, "foo bar", XM_PRECIS_CHARACTER);
  refuses(true, "\xFF", XM_PRECIS_UTF8);
  check_each(true, "henry\u2163 ♚ \u3000 a\x7F ² \u0488 \u01C5 \u16EE \uFB00 \u03D2 \uFFA1", XM_PRECIS_CHARACTER);
}

static void passwords(void **state) {
  (void)state;
  takes(false, "correct horse battery staple", "correct horse battery staple"); /* table 3 */
  takes(false, "Correct Horse Battery Staple", "Correct Horse Battery Staple");
  takes(false, "Jack of ♦s", "Jack of ♦s");
  takes(false, "foo\u1680bar", "foo bar");
  takes(false, "  \u00A0\u2003\u3000x ", "     x ");
  keeps_each(false, "πßå \u05E9a Richard\u2163 ＡＢ \uFB00 Σ \u0488 \u01C5 \u1F88 \u16EE ²");
  takes(false, "e\u0301\u031F", "é\u031F");
  takes(false, "\uFB2C", "\u05E9\u05BC\u05C1"); /* NFC makes no code point longer */
  refuses(false, "", XM_PRECIS_EMPTY);
  refuses(false, "\xFF", XM_PRECIS_UTF8);
  refuses(false, "my cat is a \tby", XM_PRECIS_CHARACTER);
  refuses(false, "a\x7F", XM_PRECIS_CHARACTER);
}

static void allowed_nowhere(void **state) {
  static const char *const lists[] = {
      "\u0378 \U000E0080",                               /* unassigned */
      "\xC2\x85 \x07",                                   /* controls */
      "\uFDD0 \uFFFF \U0010FFFF",                        /* noncharacters */
      "\u00AD \u200B \uFE0F \U000E0001",                 /* default ignorable */
      "\u1100 \u1161 \u11A8 \uA960 \uD7FB",              /* jamo that don't compose */
      "\uE000 \U000F0000",                               /* private use */
      "\u2028 \u2029 \u0600",                            /* separators of lines and paragraphs, a format character */
      "\u0640 \u07FA \u302E \u302F \u3031 \u3035 \u303B" /* exceptions */
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof lists / sizeof *lists; i++) {
    check_each(false, lists[i], XM_PRECIS_CHARACTER);
    check_each(true, lists[i], XM_PRECIS_CHARACTER);
  }
  keeps_each(true, "\u06FD\u06FE \u0F0B \u3007"); /* exceptions that are allowed */
}

/* RFC 5892 appendix A. */
static void context(void **state) {
  (void)state;
  keeps_each(false,
             "\u094D\u200C \u0628\u200C\u0627 \u0628\u0610\u0610\u200C\u0610\u0627 \uA872\u200C\u062C "
             "\u0628\u200C\u0628\u200C\u0628 \u0915\u094D\u200D\u0937");
  check_each(false,
             "\u200C a\u200C \u200Ca \u200C\u0627 \u0628\u200C \u0627\u200C\u0627 \u0628\u200Ca \u094D\u0610\u200C "
             "\u0610\u200C\u0627 \u0628\u200C\u0610 \u200D a\u200D \u200D\u094D \u094Da\u200D \u0628\u200D\u0627",
             XM_PRECIS_CONTEXT);
  keeps_each(false, "l\u00B7l al\u00B7la \u0375\u03B1 \u0375\u0375\u03B1 \u05E9\u05F3 \u05E9\u05F4\u05F4");
  check_each(false,
             "\u00B7 l\u00B7 \u00B7l l\u00B7a a\u00B7l L\u00B7L \u0375 \u0375a \u03B1\u0375 "
             "\u05F3 \u05F3\u05E9 a\u05F3 \u05F4 \u05F4\u05E9 a\u05F4",
             XM_PRECIS_CONTEXT);
  keeps_each(false, "\u30FB\u3042 \u30AB\u30FB a\u30FB\u4E00 \u0660\u0669 \u06F0\u06F9 \u06611 1\u06F1");
  check_each(false, "\u30FB a\u30FBb \u30FC\u0661\u06F1 \u06F9a\u0660", XM_PRECIS_CONTEXT);
  takes(true, "L\u00B7L", "l\u00B7l");
  refuses(true, "l\u00B7i", XM_PRECIS_CONTEXT);
}

/* RFC 5893 2. \u05D0 is R, \u0628 AL, \u0661 AN, 1 EN, - and + ES, ! ON, \u05B0 NSM. */
static void bidi(void **state) {
  (void)state;
  keeps_each(true,
             "\u05D0 \u05D0\u05B0 \u05D01 \u0628\u0661 \u05D0-\u05D1 \u05D01\u05B0 \u05D0\u0628 \u05D0+1 \u05D0!\u05D0 "
             "a a\u05B0 1 - a-");
  check_each(true, "\u05D0a a\u05D0 1\u05D0 \u05B0\u05D0 \u05D0- \u05D0-\u05B0 \u05D0!", XM_PRECIS_BIDI);
  check_each(true, "\u06281\u0661 \u0661 a\u0661 -\u0628 \u05D0a\u05D0", XM_PRECIS_BIDI);
  keeps_each(false, "\u05D0a a\u05D0 \u05D0-"); /* OpaqueString has no bidi rule */
}

static void limits(void **state) {
  char out[8];
  size_t n = 0;
  xm_precis_fault fault;
  (void)state;
  assert_int_equal(xm_precis_username("abcdefgh", 8, out, sizeof out, &n, &fault), XM_OK);
  assert_int_equal(n, 8);
  assert_int_equal(xm_precis_username("abcdefghi", 9, out, sizeof out, &n, &fault), XM_ELIMIT);
  assert_int_equal(xm_precis_username("éééé", 8, out, sizeof out, &n, &fault), XM_OK);
  assert_int_equal(xm_precis_username("ééééé", 10, out, sizeof out, &n, &fault), XM_ELIMIT);
  assert_int_equal(xm_precis_username("é", 2, out, 0, &n, &fault), XM_ELIMIT);
  /* The most that a string can shrink: from seven bytes to two. */
  assert_int_equal(xm_precis_username("\uFF21\u030A\u0301\uFF21\u030A\u0301\uFF21\u030A\u0301", 21, out, 6, &n, &fault),
                   XM_OK);
  assert_int_equal(n, 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(usernames), cmocka_unit_test(passwords), cmocka_unit_test(allowed_nowhere),
      cmocka_unit_test(context),   cmocka_unit_test(bidi),      cmocka_unit_test(limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
