/* buf: the arithmetic of the window, compared with a plain array; secrets are wiped from every block that is freed.
 *
 * The module is compiled into this file, so that its malloc can be made to fail and its freed blocks can be examined,
 * under sanitizers too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

static bool heap_is_empty;    /* malloc fails */
static unsigned unwiped_free; /* blocks that were freed with something in them */

typedef union block {
  size_t n;
  max_align_t align;
} block;

static void *spy_malloc(size_t n) {
  block *b = heap_is_empty ? NULL : malloc(sizeof *b + n);
  if (!b) return NULL;
  b->n = n;
  memset(b + 1, 0, n);
  return b + 1;
}

static void spy_free(void *p) {
  block *b = p;
  size_t i;
  if (!p) return;
  for (i = 0; i < b[-1].n && ((char *)p)[i] == 0;) i++;
  unwiped_free += i < b[-1].n;
  free(b - 1);
}

static void *spy_realloc(void *p, size_t n) {
  block *old = p;
  void *to = spy_malloc(n);
  if (!to || !p) return to;
  memcpy(to, p, old[-1].n < n ? old[-1].n : n);
  spy_free(p);
  return to;
}

#define malloc spy_malloc
#define realloc spy_realloc
#define free spy_free
#include "../core/buf.c"
#undef malloc
#undef realloc
#undef free

static void check_holds(const xm_buf *b, const char *bytes) {
  assert_int_equal(xm_buf_len(b), strlen(bytes));
  if (bytes[0]) assert_memory_equal(xm_buf_at(b), bytes, strlen(bytes));
}

static void check_zero(const char *p, size_t n) {
  while (n--) assert_int_equal(p[n], 0);
}

static void test_empty(void **unused) {
  xm_buf kinds[] = {XM_BUF_INIT, XM_BUF_SECRET};
  size_t i;
  (void)unused;
  for (i = 0; i < 2; i++) {
    xm_buf *b = &kinds[i];
    assert_null(xm_buf_at(b));
    assert_int_equal(xm_buf_mark(b), 0);
    assert_int_equal(xm_buf_put(b, NULL, 0), XM_OK);
    xm_buf_consume(b, 0);
    xm_buf_rollback(b, 0);
    xm_buf_clear(b);
    xm_buf_free(b);
    xm_buf_free(b);
    assert_int_equal(xm_buf_len(b), 0);
    assert_int_equal(b->secret, i == 1);
  }
  xm_wipe(NULL, 0);
}

static void test_put_and_consume(void **unused) {
  xm_buf b = XM_BUF_INIT;
  (void)unused;
  assert_int_equal(xm_buf_puts(&b, "one "), XM_OK);
  assert_int_equal(xm_buf_put(&b, "two", 3), XM_OK);
  assert_int_equal(xm_buf_putc(&b, '!'), XM_OK);
  check_holds(&b, "one two!");
  xm_buf_consume(&b, 4);
  check_holds(&b, "two!");
  xm_buf_consume(&b, 4);
  check_holds(&b, "");
  assert_int_equal(b.last, 0); /* all of the space is free again */
  xm_buf_free(&b);
  assert_null(b.data);
}

static void test_mark_and_rollback(void **unused) {
  xm_buf b = XM_BUF_INIT;
  size_t mark;
  (void)unused;
  xm_buf_puts(&b, "gone kept ");
  xm_buf_consume(&b, 5);
  mark = xm_buf_mark(&b);
  xm_buf_puts(&b, "abandoned");
  xm_buf_rollback(&b, mark);
  check_holds(&b, "kept ");
  xm_buf_puts(&b, "too");
  check_holds(&b, "kept too");
  while (b.cap < 5000) assert_int_equal(xm_buf_puts(&b, "a mark outlives growing and sliding"), XM_OK);
  xm_buf_rollback(&b, mark);
  check_holds(&b, "kept ");
  xm_buf_rollback(&b, 0);
  check_holds(&b, "");
  xm_buf_free(&b);
}

static void test_reserve_slides_when_little_is_unread(void **unused) {
  xm_buf b = XM_BUF_INIT;
  char *data;
  size_t cap;
  (void)unused;
  assert_non_null(xm_buf_reserve(&b, 256));
  data = b.data;
  cap = b.cap;
  memset(data, 'x', cap);
  xm_buf_commit(&b, cap);
  memcpy(data + cap - 4, "tail", 4);
  xm_buf_consume(&b, cap - 4);
  assert_ptr_equal(xm_buf_reserve(&b, cap - 4), data + 4);
  assert_ptr_equal(b.data, data);
  assert_int_equal(b.pos, 0);
  check_holds(&b, "tail");
  xm_buf_free(&b);
}

static void test_reserve_grows_when_much_is_unread(void **unused) {
  xm_buf b = XM_BUF_INIT;
  size_t cap, i;
  (void)unused;
  assert_non_null(xm_buf_reserve(&b, 256));
  cap = b.cap;
  for (i = 0; i < cap; i++) xm_buf_putc(&b, (char)i);
  xm_buf_consume(&b, 10);
  assert_non_null(xm_buf_reserve(&b, cap));
  assert_true(b.cap - b.last >= cap);
  assert_int_equal(b.pos, 10); /* copied once, not twice */
  assert_int_equal(xm_buf_len(&b), cap - 10);
  for (i = 10; i < cap; i++) assert_int_equal(xm_buf_at(&b)[i - 10], (char)i);
  xm_buf_free(&b);
}

static void test_no_memory_changes_nothing(void **unused) {
  xm_buf kinds[] = {XM_BUF_INIT, XM_BUF_SECRET};
  char big[1000] = "";
  size_t i;
  (void)unused;
  for (i = 0; i < 2; i++) {
    xm_buf *b = &kinds[i], before;
    heap_is_empty = true;
    assert_null(xm_buf_reserve(b, 0));
    assert_int_equal(xm_buf_putc(b, 'x'), XM_ENOMEM);
    heap_is_empty = false;
    xm_buf_puts(b, "gone kept");
    xm_buf_consume(b, 5);
    before = *b;
    heap_is_empty = true;
    assert_int_equal(xm_buf_put(b, big, sizeof big), XM_ENOMEM);
    assert_null(xm_buf_reserve(b, SIZE_MAX / 4 - 4));
    heap_is_empty = false;
    assert_null(xm_buf_reserve(b, SIZE_MAX)); /* sums that would overflow are refused before malloc is called */
    assert_null(xm_buf_reserve(b, SIZE_MAX - 4));
    assert_null(xm_buf_reserve(b, SIZE_MAX / 4));
    assert_ptr_equal(b->data, before.data);
    assert_int_equal(b->cap, before.cap);
    check_holds(b, "kept");
    xm_buf_free(b);
  }
}

static void test_secret_leaves_nothing_behind(void **unused) {
  xm_buf b = XM_BUF_SECRET;
  size_t i, mark;
  (void)unused;
  xm_buf_puts(&b, "password and key");
  xm_buf_consume(&b, 8);
  check_zero(b.data, 8);
  mark = xm_buf_mark(&b);
  xm_buf_puts(&b, "more");
  xm_buf_rollback(&b, mark);
  check_zero(b.data + b.last, b.cap - b.last);
  assert_non_null(xm_buf_reserve(&b, b.cap - 8)); /* moves the content to the front */
  assert_int_equal(b.pos, 0);
  check_holds(&b, " and key");
  check_zero(b.data + b.last, b.cap - b.last);
  xm_buf_clear(&b);
  check_zero(b.data, b.cap);
  unwiped_free = 0;
  for (i = 0; i < 3000; i++) assert_int_equal(xm_buf_putc(&b, 's'), XM_OK); /* grows many times */
  xm_buf_free(&b);
  assert_int_equal(unwiped_free, 0);
}

/* Proves that the last test can fail: a window that isn't secret does leave its bytes behind. */
static void test_unwiped_memory_is_noticed(void **unused) {
  xm_buf b = XM_BUF_INIT;
  (void)unused;
  unwiped_free = 0;
  xm_buf_puts(&b, "no secret");
  xm_buf_free(&b);
  assert_int_equal(unwiped_free, 1);
}

static void test_wipe(void **unused) {
  char bytes[] = "0123456789";
  (void)unused;
  xm_wipe(bytes + 2, 3);
  assert_memory_equal(bytes,
                      "01\0\0\0"
                      "56789",
                      11);
}

/* A window in its simplest form: the unread bytes are always at the front. */
typedef struct model {
  char bytes[8192];
  size_t n;
} model;

static void step_both(xm_buf *b, model *m, unsigned dice, size_t amount) {
  size_t i, mark = m->n;
  switch (dice) {
    case 0:
    case 1: /* put; from 100 bytes on it is rolled back */
      for (i = 0; i < amount && m->n < sizeof m->bytes; i++) m->bytes[m->n++] = (char)(amount + i);
      assert_int_equal(xm_buf_put(b, m->bytes + mark, m->n - mark), XM_OK);
      if (amount < 100) break;
      m->n = mark;
      xm_buf_rollback(b, mark);
      break;
    case 2:
      if (amount > m->n) amount = m->n;
      memmove(m->bytes, m->bytes + amount, m->n - amount);
      m->n -= amount;
      xm_buf_consume(b, amount);
      break;
    default: assert_non_null(xm_buf_reserve(b, amount)); assert_true(b->cap - b->last >= amount);
  }
}

static void test_like_a_plain_array(void **unused) {
  static model m;
  uint32_t random = 1;
  int secret, i;
  (void)unused;
  for (secret = 0; secret < 2; secret++) {
    xm_buf b = secret ? XM_BUF_SECRET : XM_BUF_INIT;
    m.n = 0;
    for (i = 0; i < 20000; i++) {
      random = random * 1664525 + 1013904223;
      step_both(&b, &m, random >> 30, random >> 16 & 255);
      assert_true(b.pos <= b.last && b.last <= b.cap);
      assert_int_equal(xm_buf_len(&b), m.n);
      if (m.n) assert_memory_equal(xm_buf_at(&b), m.bytes, m.n);
    }
    xm_buf_free(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_empty),
      cmocka_unit_test(test_put_and_consume),
      cmocka_unit_test(test_mark_and_rollback),
      cmocka_unit_test(test_reserve_slides_when_little_is_unread),
      cmocka_unit_test(test_reserve_grows_when_much_is_unread),
      cmocka_unit_test(test_no_memory_changes_nothing),
      cmocka_unit_test(test_secret_leaves_nothing_behind),
      cmocka_unit_test(test_unwiped_memory_is_noticed),
      cmocka_unit_test(test_wipe),
      cmocka_unit_test(test_like_a_plain_array),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
