/* rnd: ids consist of their alphabet and have no pattern; without randomness there are none. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <openssl/rand.h>

/* A kernel that may have no randomness. */
static struct kernel {
  int calls;
  int good; /* calls that succeed; the others don't */
} kernel = {.good = 1 << 30};

static int spy_getentropy(void *to, size_t n) {
  assert_true(n <= 256);
  if (kernel.calls++ < kernel.good) return getentropy(to, n);
  errno = ENOSYS;
  return -1;
}

static void kernel_is_good_for(int calls) {
  kernel = (struct kernel){.good = calls};
}

#define getentropy spy_getentropy
#include "../core/rnd.c"
#undef getentropy

static int by_text(const void *a, const void *b) {
  return strcmp(a, b);
}

/* With 144 bits, two ids are never the same. */
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

/* Each character at each place: that in 10,000 ids one of the 1536 combinations is missing happens once in 10^65
 * runs. */
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

/* OpenSSL's generator, when it is used. */

static int give_none(unsigned char *to, int n) {
  (void)to, (void)n;
  return 0;
}

static int give_sevens(unsigned char *to, int n) {
  memset(to, 7, (size_t)n);
  return 1;
}

static const RAND_METHOD none = {.bytes = give_none}, sevens = {.bytes = give_sevens};

static void without_randomness_there_is_no_id(void **state) {
  const RAND_METHOD *usual = RAND_get_rand_method();
  xm_rnd_supply supply = {.left = 0};
  char id[XM_RND_ID + 1];
  (void)state;
  kernel_is_good_for(0);
  assert_int_equal(RAND_set_rand_method(&none), 1);
  assert_int_equal(xm_rnd_bytes(id, sizeof id), XM_EFAIL);
  assert_int_equal(xm_rnd_id(id), XM_EFAIL);
  assert_int_equal(xm_rnd_supplied_id(&supply, id), XM_EFAIL);
  assert_int_equal(xm_rnd_supplied_id(&supply, id), XM_EFAIL);
  assert_int_equal(RAND_set_rand_method(usual), 1);
  assert_int_equal(xm_rnd_supplied_id(&supply, id), XM_OK);
  assert_int_equal(xm_rnd_id(id), XM_OK);
  kernel_is_good_for(1 << 30);
}

static void openssl_is_not_asked_where_the_kernel_gives(void **state) {
  const RAND_METHOD *usual = RAND_get_rand_method();
  xm_rnd_supply supply = {.left = 0};
  char id[XM_RND_ID + 1];
  (void)state;
  kernel_is_good_for(1 << 30);
  assert_int_equal(RAND_set_rand_method(&none), 1);
  assert_int_equal(xm_rnd_id(id), XM_OK);
  assert_int_equal(xm_rnd_supplied_id(&supply, id), XM_OK);
  assert_int_equal(RAND_set_rand_method(usual), 1);
}

/* All bytes are taken from it, since those that the kernel gave before it failed need not be random. */
static void openssl_gives_what_the_kernel_does_not(void **state) {
  const RAND_METHOD *usual = RAND_get_rand_method();
  unsigned char bytes[600], all[sizeof bytes];
  int good;
  (void)state;
  memset(all, 7, sizeof all);
  assert_int_equal(RAND_set_rand_method(&sevens), 1);
  for (good = 0; good < 3; good++) {
    memset(bytes, 0, sizeof bytes);
    kernel_is_good_for(good);
    assert_int_equal(xm_rnd_bytes(bytes, sizeof bytes), XM_OK);
    assert_int_equal(kernel.calls, good + 1);
    assert_memory_equal(bytes, all, sizeof bytes);
  }
  kernel_is_good_for(1 << 30);
  assert_int_equal(RAND_set_rand_method(usual), 1);
}

/* A byte that is zero 20 times in a row hasn't been filled. */
static void as_many_bytes_are_filled_as_are_asked_for(void **state) {
  static const size_t sizes[] = {0, 1, 8, 24, 255, 256, 257, 511, 512, 513, 768, 1000};
  unsigned char bytes[1001], any[1001];
  size_t i, at;
  int times;
  (void)state;
  for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    memset(any, 0, sizeof any);
    for (times = 0; times < 20; times++) {
      memset(bytes, 0, sizeof bytes);
      assert_int_equal(xm_rnd_bytes(bytes, sizes[i]), XM_OK);
      for (at = 0; at < sizeof bytes; at++) any[at] |= bytes[at];
    }
    for (at = 0; at < sizeof any; at++) assert_int_equal(any[at] != 0, at < sizes[i]);
  }
}

static void a_supply_gives_unique_ids_even_after_a_fork(void **state) {
  enum { MANY = 200 };
  static char ids[2][MANY][XM_RND_ID + 1]; /* ours, and a child process's */
  char(*all)[XM_RND_ID + 1] = ids[0];
  xm_rnd_supply s = {.left = 0};
  int ends[2], i, status;
  pid_t child;
  (void)state;
  for (i = 0; i < MANY - 10; i++) assert_int_equal(xm_rnd_supplied_id(&s, ids[0][i]), XM_OK);
  assert_int_equal(pipe(ends), 0);
  child = fork();
  assert_true(child >= 0);
  if (child == 0) { /* the child has the parent's buffer, and must not use it */
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
      cmocka_unit_test(a_supply_gives_unique_ids_even_after_a_fork),
      cmocka_unit_test(without_randomness_there_is_no_id),
      cmocka_unit_test(openssl_is_not_asked_where_the_kernel_gives),
      cmocka_unit_test(openssl_gives_what_the_kernel_does_not),
      cmocka_unit_test(as_many_bytes_are_filled_as_are_asked_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
