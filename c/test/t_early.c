/* early: stanzas that are kept come out unchanged, in their order, and once; limits in number and bytes; a heap that
 * fails at every place. */
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
#include "../core/early.c"
#include "../core/tape.c"

#include "failing_off.h"

#define NS "jabber:client"

/* Writes <message id='NUMBER' to='alice'><body>TEXT</body></message>, with `empties` empty elements after the body. */
static void write_stanza(xm_tape *t, int number, size_t n, unsigned empties) {
  char id[16], *text = malloc(n + 1);
  memset(text, 'x', n);
  sprintf(id, "%d", number);
  assert_int_equal(xm_tape_reset(t, NS), XM_OK);
  assert_int_equal(xm_tape_open(t, NS, strlen(NS), "message", 7), XM_OK);
  assert_int_equal(xm_tape_attr(t, "", 0, "id", 2, id, strlen(id)), XM_OK);
  assert_int_equal(xm_tape_attr(t, "", 0, "to", 2, "alice", 5), XM_OK);
  assert_int_equal(xm_tape_open(t, NULL, 0, "body", 4), XM_OK);
  assert_int_equal(xm_tape_text(t, text, n), XM_OK);
  assert_int_equal(xm_tape_close(t), XM_OK);
  for (; empties > 0; empties--) {
    assert_int_equal(xm_tape_open(t, "urn:x", 5, "x", 1), XM_OK);
    assert_int_equal(xm_tape_close(t), XM_OK);
  }
  assert_int_equal(xm_tape_close(t), XM_OK);
  free(text);
}

static void is_stanza(const xm_tape *t, int number, size_t n, unsigned empties) {
  char id[16];
  size_t len;
  uint32_t body;
  sprintf(id, "%d", number);
  assert_non_null(t);
  assert_true(xm_tape_is(t, 0, NS, "message"));
  assert_false(t->recs[0].new_ns);
  assert_string_equal(xm_tape_get(t, 0, "id", NULL), id);
  assert_string_equal(xm_tape_get(t, 0, "to", NULL), "alice");
  assert_int_equal(xm_tape_children(t, 0), 1 + empties);
  body = xm_tape_child(t, 0, NS, "body");
  assert_int_equal(strlen(xm_tape_content(t, body, &len)), n);
  assert_int_equal(len, n);
  assert_int_equal(xm_tape_child(t, 0, "urn:x", "x") != 0, empties > 0);
}

static void what_is_kept_comes_out_once_and_in_its_order(void **state) {
  long before = heap.live;
  xm_tape t = XM_TAPE_INIT;
  xm_early e = XM_EARLY_INIT;
  int i;
  (void)state;
  assert_null(xm_early_next(&e));
  for (i = 0; i < 10; i++) {
    write_stanza(&t, i, (size_t)i * 100, (unsigned)i % 3);
    assert_int_equal(xm_early_put(&e, &t), XM_OK);
  }
  xm_tape_free(&t); /* the copies don't depend on it */
  for (i = 0; i < 10; i++) {
    is_stanza(xm_early_peek(&e, 0), i, (size_t)i * 100, (unsigned)i % 3);
    is_stanza(xm_early_peek(&e, 9 - (unsigned)i), 9, 900, 0);
    assert_null(xm_early_peek(&e, 10 - (unsigned)i));
    is_stanza(xm_early_next(&e), i, (size_t)i * 100, (unsigned)i % 3);
    assert_null(xm_early_peek(&e, 9 - (unsigned)i));
  }
  for (i = 0; i < 3; i++) assert_null(xm_early_next(&e));
  assert_null(xm_early_peek(&e, 0));
  assert_int_equal(heap.live, before);
  xm_early_free(&e);
  write_stanza(&t, 1, 1, 0);
  assert_int_equal(xm_early_put(&e, &t), XM_OK);
  assert_int_equal(xm_early_put(&e, &t), XM_OK);
  is_stanza(xm_early_next(&e), 1, 1, 0);
  xm_early_free(&e); /* with stanzas left in it */
  xm_early_free(&e);
  xm_tape_free(&t);
  assert_int_equal(heap.live, before);
}

static void stanzas_are_limited_in_number(void **state) {
  xm_tape t = XM_TAPE_INIT;
  xm_early e = XM_EARLY_INIT;
  int i;
  (void)state;
  write_stanza(&t, 7, 1, 0);
  for (i = 0; i < XM_EARLY_STANZAS; i++) assert_int_equal(xm_early_put(&e, &t), XM_OK);
  assert_int_equal(xm_early_put(&e, &t), XM_ELIMIT);
  for (i = 0; i < XM_EARLY_STANZAS; i++) is_stanza(xm_early_next(&e), 7, 1, 0);
  assert_null(xm_early_next(&e));
  xm_tape_free(&t);
}

/* Text counts by its bytes, each element by a record's size: a small stanza may take a lot of memory. */
static void stanzas_are_limited_in_memory(void **state) {
  static const struct {
    size_t text;
    unsigned empties;
    int fit;
  } rows[] = {{XM_EARLY_BYTES / 2 - 1000, 0, 2}, {XM_EARLY_BYTES / 2, 0, 1}, {XM_EARLY_BYTES, 0, 0},
              {1, XM_EARLY_BYTES / 2 / sizeof(xm_tape_rec) / 3, 2}, {1, XM_EARLY_BYTES / sizeof(xm_tape_rec), 0}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    xm_tape t = XM_TAPE_INIT;
    xm_early e = XM_EARLY_INIT;
    int n = 0;
    write_stanza(&t, 0, rows[i].text, rows[i].empties);
    while (xm_early_put(&e, &t) == XM_OK) n++;
    assert_int_equal(n, rows[i].fit);
    assert_true(e.bytes <= XM_EARLY_BYTES);
    write_stanza(&t, 0, XM_EARLY_BYTES, 0); /* a stanza that is refused takes no space */
    assert_int_equal(xm_early_put(&e, &t), XM_ELIMIT);
    write_stanza(&t, 1, 1, 0);
    assert_int_equal(xm_early_put(&e, &t), XM_OK);
    for (; n > 0; n--) is_stanza(xm_early_next(&e), 0, rows[i].text, rows[i].empties);
    is_stanza(xm_early_next(&e), 1, 1, 0);
    xm_early_free(&e);
    xm_tape_free(&t);
  }
}

/* What had been kept before is still there, and unchanged. */
static void memory_that_runs_out_is_told(void **state) {
  long before = heap.live;
  xm_tape t = XM_TAPE_INIT;
  int at, failed = 1, round;
  (void)state;
  write_stanza(&t, 1, 10, 2);
  for (round = 0; round < 2; round++) {
    for (at = 0, failed = 1; failed; at++) {
      xm_early e = XM_EARLY_INIT;
      int i, kept = 0;
      heap_fails(at, round);
      for (i = 0; i < 4; i++) {
        int rc = xm_early_put(&e, &t);
        assert_true(rc == XM_OK || rc == XM_ENOMEM);
        kept += rc == XM_OK;
      }
      failed = heap_is_well();
      assert_int_equal(kept == 4, !failed);
      for (i = 0; i < kept; i++) is_stanza(xm_early_next(&e), 1, 10, 2);
      assert_null(xm_early_next(&e));
    }
    assert_true(at > 10);
  }
  xm_tape_free(&t);
  assert_int_equal(heap.live, before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_kept_comes_out_once_and_in_its_order),
      cmocka_unit_test(stanzas_are_limited_in_number),
      cmocka_unit_test(stanzas_are_limited_in_memory),
      cmocka_unit_test(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
