/* known: what was learnt of each server, how servers are forgotten, and threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <pthread.h>

#include "known.h"

static xm_known get(const char *key) {
  xm_known k;
  memset(&k, 0xAA, sizeof k);
  xm_known_get(key, strlen(key), &k);
  return k;
}

static void offer(const char *key, const char *text) {
  xm_known_offer(key, strlen(key), text, strlen(text), false, 0);
}

static void objects(const char *key, unsigned bits) {
  xm_known_objection(key, strlen(key), bits, true);
}

static void may_object(const char *key, unsigned bits) {
  xm_known_objection(key, strlen(key), bits, false);
}

static void accepts(const char *key, unsigned bits) {
  xm_known_success(key, strlen(key), bits, 0, false);
}

static bool offers(const char *key, const char *text) {
  xm_known k = get(key);
  return k.n == strlen(text) && memcmp(k.offer, text, k.n) == 0;
}

static int anew(void **state) {
  (void)state;
  xm_known_clear();
  return 0;
}

static void of_a_stranger_nothing_is_known(void **state) {
  xm_known k = get("one"), nothing = {0};
  (void)state;
  assert_memory_equal(&k, &nothing, sizeof k);
  offer("one", "PLAIN");
  k = get("");
  assert_memory_equal(&k, &nothing, sizeof k);
  assert_true(offers("on", "") && offers("onee", "") && offers("onf", ""));
}

static void each_server_has_its_own_entry(void **state) {
  (void)state;
  offer("one", "PLAIN\x1ESCRAM-SHA-1");
  offer("two", "EXTERNAL");
  objects("two", 1);
  objects("two", 4);
  assert_true(offers("one", "PLAIN\x1ESCRAM-SHA-1") && offers("two", "EXTERNAL"));
  assert_int_equal(get("one").objected, 0);
  assert_int_equal(get("two").objected, 5);
  offer("two", "X");
  assert_true(offers("two", "X"));
  assert_int_equal(get("two").objected, 5);
  objects("three", 2);
  assert_true(offers("three", ""));
  assert_int_equal(get("three").objected, 2);
}

static void an_ambiguous_objection_must_happen_twice(void **state) {
  (void)state;
  may_object("one", 1);
  assert_int_equal(get("one").objected, 0);
  may_object("one", 2);
  assert_int_equal(get("one").objected, 0);
  may_object("one", 1);
  assert_int_equal(get("one").objected, 1);
  accepts("one", 2);
  may_object("one", 2);
  assert_int_equal(get("one").objected, 1);
  accepts("one", 1 | 4);
  may_object("one", 2);
  assert_int_equal(get("one").objected, 3);
  accepts("two", 7);
  assert_int_equal(get("two").suspected, 0);
}

static void too_long_keys_and_offers_are_not_kept(void **state) {
  char text[XM_KNOWN_OFFER + 2], key[XM_KNOWN_KEY + 2];
  (void)state;
  memset(text, 'x', sizeof text);
  memset(key, 'k', sizeof key);
  text[XM_KNOWN_OFFER] = key[XM_KNOWN_KEY] = '\0';
  offer(key, text);
  assert_true(offers(key, text));
  text[XM_KNOWN_OFFER] = 'x';
  text[XM_KNOWN_OFFER + 1] = '\0';
  offer(key, text);
  assert_true(offers(key, ""));
  key[XM_KNOWN_KEY] = 'k';
  key[XM_KNOWN_KEY + 1] = '\0';
  offer(key, "PLAIN");
  objects(key, 7);
  assert_true(offers(key, ""));
  assert_int_equal(get(key).objected, 0);
}

static void a_server_is_met_by_a_login_only(void **state) {
  xm_known k;
  (void)state;
  xm_known_objection("a", 1, 1, true);
  xm_known_get("a", 1, &k);
  assert_false(k.met);
  xm_known_success("a", 1, 0, 0, false);
  xm_known_get("a", 1, &k);
  assert_true(k.met);
  assert_int_equal(k.objected, 1);
}

static void who_was_not_met_for_longest_is_forgotten(void **state) {
  char key[16];
  int i;
  (void)state;
  for (i = 0; i < XM_KNOWN_SERVERS; i++) {
    snprintf(key, sizeof key, "s%d", i);
    offer(key, key);
  }
  objects("s1", 1);
  assert_true(offers("s0", "s0"));
  offer("new", "new");
  offer("newer", "newer");
  for (i = 0; i < XM_KNOWN_SERVERS; i++) {
    snprintf(key, sizeof key, "s%d", i);
    assert_true(offers(key, i == 2 || i == 3 ? "" : key));
  }
  assert_int_equal(get("s1").objected, 1);
  assert_true(offers("new", "new") && offers("newer", "newer"));
  objects("s2", 2); /* it was forgotten, so it is a new server */
  assert_int_equal(get("s2").objected, 2);
}

/* An offer belongs to one SASL profile, and has what could go inside of its <authenticate/>; the last offer counts. */
static void an_offer_belongs_to_one_sasl_profile(void **state) {
  xm_known k;
  (void)state;
  xm_known_offer("one", 3, "PLAIN", 5, true, 0x1ff);
  k = get("one");
  assert_true(k.offer_is_sasl2 && k.inside == 0x1ff && offers("one", "PLAIN"));
  assert_false(k.sasl2); /* because there was no login */
  assert_false(get("two").offer_is_sasl2);
  xm_known_offer("one", 3, "X", 1, false, 0);
  k = get("one");
  assert_true(!k.offer_is_sasl2 && k.inside == 0 && offers("one", "X"));
}

/* One login by SASL2 is enough to set it: a later offer without SASL2 may have been tampered with. */
static void sasl2_is_remembered_for_good(void **state) {
  xm_known k;
  (void)state;
  xm_known_success("one", 3, 0, 0, false);
  assert_false(get("one").sasl2);
  xm_known_success("one", 3, 0, 5, true);
  k = get("one");
  assert_true(k.met && k.sasl2);
  assert_int_equal(k.detours, 5);
  xm_known_success("one", 3, 0, 0, false);
  xm_known_offer("one", 3, "PLAIN", 5, false, 0);
  k = get("one");
  assert_true(k.sasl2 && !k.offer_is_sasl2);
  assert_int_equal(k.detours, 0);
  assert_false(get("two").sasl2);
  xm_known_clear();
  assert_false(get("one").sasl2);
}

/* Each thread has its own server, which no other may change. */
static void *work(void *arg) {
  const char *key = arg;
  char text[XM_KNOWN_OFFER];
  long i, wrong = 0;
  for (i = 0; i < 20000; i++) {
    xm_known k;
    size_t n = 1 + (size_t)i % (sizeof text - 1), same;
    memset(text, key[0] + (char)(i % 8), n);
    xm_known_offer(key, strlen(key), text, n, false, 0);
    xm_known_get(key, strlen(key), &k);
    for (same = 0; same < k.n && k.offer[same] == text[0];) same++;
    wrong += k.n != n || same != n;
  }
  return (void *)wrong;
}

static void threads_do_not_see_half_of_anything(void **state) {
  static const char *const keys[] = {"A", "I", "Q", "Y"};
  pthread_t threads[4];
  void *wrong;
  int i;
  (void)state;
  for (i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)keys[i]), 0);
  for (i = 0; i < 4; i++) {
    assert_int_equal(pthread_join(threads[i], &wrong), 0);
    assert_null(wrong);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(of_a_stranger_nothing_is_known, anew),
      cmocka_unit_test_setup(each_server_has_its_own_entry, anew),
      cmocka_unit_test_setup(an_ambiguous_objection_must_happen_twice, anew),
      cmocka_unit_test_setup(too_long_keys_and_offers_are_not_kept, anew),
      cmocka_unit_test_setup(a_server_is_met_by_a_login_only, anew),
      cmocka_unit_test_setup(who_was_not_met_for_longest_is_forgotten, anew),
      cmocka_unit_test_setup(an_offer_belongs_to_one_sasl_profile, anew),
      cmocka_unit_test_setup(sasl2_is_remembered_for_good, anew),
      cmocka_unit_test_setup(threads_do_not_see_half_of_anything, anew),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
