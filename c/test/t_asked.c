#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asked.h"

/* id 0x1234, recursion desired, one question: _xmpp-client._tcp.x IN SRV */
#define HEAD "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define REPLY "\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00"
#define NAME "\x0c_xmpp-client\x04_tcp\x01x\x00"
#define KIND "\x00\x21\x00\x01"
#define BYTES(text) text, sizeof(text) - 1

/* Checks a copy that is exactly `n` bytes long, so that a sanitizer notices reads beyond it. */
static bool is_answer(const xm_asked *a, const char *bytes, size_t n) {
  char *copy = malloc(n ? n : 1);
  bool is;
  memcpy(copy, bytes, n);
  is = xm_asked_is_answer(a, copy, n);
  free(copy);
  return is;
}

static void an_answer_matches_by_id_and_question(void **state) {
  xm_asked a = {0};
  (void)state;
  assert_false(is_answer(&a, BYTES(REPLY NAME KIND)));
  xm_asked_note(&a, BYTES(HEAD NAME KIND));
  assert_true(is_answer(&a, BYTES(REPLY NAME KIND)));
  assert_true(is_answer(&a, BYTES(REPLY NAME KIND "what comes behind it")));
  assert_true(is_answer(&a, BYTES(REPLY "\x0c_XMPP-Client\x04_TCP\x01X\x00" KIND)));
  assert_false(is_answer(&a, BYTES(HEAD NAME KIND))); /* a query, not a response */
  assert_false(is_answer(&a, BYTES("\x12\x35" "\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00" NAME KIND)));
  assert_false(is_answer(&a, BYTES("\x13\x34" "\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00" NAME KIND)));
  assert_false(is_answer(&a, BYTES(REPLY "\x0c_xmpp-client\x04_tcp\x01y\x00" KIND)));
  assert_false(is_answer(&a, BYTES(REPLY NAME "\x00\x01\x00\x01")));
  assert_false(is_answer(&a, BYTES("\x12\x34\x81\x80\x00\x00\x00\x00\x00\x00\x00\x00" NAME KIND)));
  assert_false(is_answer(&a, BYTES("\x12\x34\x81\x80\x01\x01\x00\x00\x00\x00\x00\x00" NAME KIND)));
}

/* Every proper prefix of an answer is refused, and so are names with compression pointers and names without an end. */
static void a_truncated_answer_is_refused(void **state) {
  static const char whole[] = REPLY NAME KIND;
  char pointer[256] = {0};
  xm_asked a = {0};
  size_t n;
  (void)state;
  xm_asked_note(&a, BYTES(HEAD NAME KIND));
  for (n = 0; n < sizeof whole - 1; n++) assert_false(is_answer(&a, whole, n));
  assert_false(is_answer(&a, BYTES(REPLY "\xc0\x0c" KIND)));
  assert_false(is_answer(&a, BYTES(REPLY "\x3f" "ends nowhere")));
  memcpy(pointer, HEAD "\xc0", 13); /* a compression pointer, followed by what would be a name */
  xm_asked_note(&a, pointer, sizeof pointer);
  xm_asked_note(&a, "", 0);
  assert_int_equal(a.n, 1);
}

static void the_oldest_question_is_forgotten(void **state) {
  char question[] = HEAD NAME KIND, answer[] = REPLY NAME KIND;
  xm_asked a = {0};
  int i;
  (void)state;
  for (i = 0; i <= XM_ASKED; i++) {
    question[0] = (char)i;
    xm_asked_note(&a, question, sizeof question - 1);
  }
  for (i = 0; i <= XM_ASKED; i++) {
    answer[0] = (char)i;
    assert_int_equal(is_answer(&a, answer, sizeof answer - 1), i > 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_answer_matches_by_id_and_question),
      cmocka_unit_test(a_truncated_answer_is_refused),
      cmocka_unit_test(the_oldest_question_is_forgotten),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
