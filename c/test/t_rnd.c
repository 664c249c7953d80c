/* rnd: ids are of their alphabet and of no pattern, and without randomness there are none. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <openssl/rand.h>

#include "err.h"
#include "rnd.h"

static int by_text(const void *a, const void *b) {
  return strcmp(a, b);
}

/* 144 bits: even one that comes twice would be the end of the world. */
static void ids_differ_and_may_stand_anywhere(void **state) {
  enum { MANY = 10000 };
  char(*ids)[XM_RND_ID + 1] = malloc(sizeof(char[MANY][XM_RND_ID + 1]));
  int i;
  (void)state;
  for (i = 0; i < MANY; i++) {
    assert_int_equal(xm_rnd_id(ids[i]), XM_OK);
    assert_int_equal(strspn(ids[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), XM_RND_ID);
    assert_int_equal(strlen(ids[i]), XM_RND_ID);
  }
  qsort(ids, MANY, sizeof *ids, by_text);
  for (i = 1; i < MANY; i++) assert_string_not_equal(ids[i - 1], ids[i]);
  free(ids);
}

/* At each place, each character: in 10,000 ids one is missing from 1536 combinations once in 10^65 runs. */
static void every_character_comes_at_every_place(void **state) {
  static bool seen[XM_RND_ID][128];
  int i, at, c, combinations = 0;
  char id[XM_RND_ID + 1];
  (void)state;
  for (i = 0; i < 10000; i++) {
    xm_rnd_id(id);
    for (at = 0; at < XM_RND_ID; at++) seen[at][(unsigned char)id[at] & 127] = true;
  }
  for (at = 0; at < XM_RND_ID; at++)
    for (c = 0; c < 128; c++) combinations += seen[at][c];
  assert_int_equal(combinations, XM_RND_ID * 64);
}

static int give_none(unsigned char *to, int n) {
  (void)to, (void)n;
  return 0;
}

static void without_randomness_there_is_no_id(void **state) {
  static const RAND_METHOD none = {.bytes = give_none};
  const RAND_METHOD *usual = RAND_get_rand_method();
  xm_rnd_supply supply = {.left = 0};
  char id[XM_RND_ID + 1];
  (void)state;
  assert_int_equal(RAND_set_rand_method(&none), 1);
  assert_int_equal(xm_rnd_bytes(id, sizeof id), XM_EFAIL);
  assert_int_equal(xm_rnd_id(id), XM_EFAIL);
  assert_int_equal(xm_rnd_supplied_id(&supply, id), XM_EFAIL);
  assert_int_equal(xm_rnd_supplied_id(&supply, id), XM_EFAIL);
  assert_int_equal(RAND_set_rand_method(usual), 1);
  assert_int_equal(xm_rnd_supplied_id(&supply, id), XM_OK);
  assert_int_equal(xm_rnd_id(id), XM_OK);
}

static void a_supply_gives_what_nobody_has_had(void **state) {
  enum { MANY = 200 };
  static char ids[2][MANY][XM_RND_ID + 1]; /* ours, and a forked process's */
  char(*all)[XM_RND_ID + 1] = ids[0];
  xm_rnd_supply s = {.left = 0};
  int ends[2], i, status;
  pid_t child;
  (void)state;
  for (i = 0; i < MANY - 10; i++) assert_int_equal(xm_rnd_supplied_id(&s, ids[0][i]), XM_OK);
  assert_int_equal(pipe(ends), 0);
  child = fork();
  assert_true(child >= 0);
  if (child == 0) { /* it has what its parent has, and must not give it */
    for (i = 0; i < MANY; i++) xm_rnd_supplied_id(&s, ids[1][i]);
    _exit(write(ends[1], ids[1], sizeof ids[1]) == sizeof ids[1] ? 0 : 1);
  }
  for (i = MANY - 10; i < MANY; i++) assert_int_equal(xm_rnd_supplied_id(&s, ids[0][i]), XM_OK);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(read(ends[0], ids[1], sizeof ids[1]), sizeof ids[1]);
  close(ends[0]);
  close(ends[1]);
  for (i = 0; i < 2 * MANY; i++) assert_int_equal(strlen(all[i]), XM_RND_ID);
  qsort(all, 2 * MANY, sizeof *all, by_text);
  for (i = 1; i < 2 * MANY; i++) assert_string_not_equal(all[i - 1], all[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ids_differ_and_may_stand_anywhere),
      cmocka_unit_test(every_character_comes_at_every_place),
      cmocka_unit_test(a_supply_gives_what_nobody_has_had),
      cmocka_unit_test(without_randomness_there_is_no_id),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
