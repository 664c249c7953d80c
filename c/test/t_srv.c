#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "srv.h"

/* Random numbers that are prescribed, that fail, and fair ones. */

static uint64_t pips;

static int loaded_dice(void *bytes, size_t n) {
  assert_int_equal(n, sizeof pips);
  memcpy(bytes, &pips, n);
  return 0;
}

static int lost_dice(void *bytes, size_t n) {
  memset(bytes, 255, n);
  return -1;
}

static int fair_dice(void *bytes, size_t n) {
  unsigned char *to = bytes;
  while (n--) *to++ = (unsigned char)(rand() >> 8);
  return 0;
}

static const char *first_of(const xm_srv *list, int n, int (*dice)(void *, size_t)) {
  static xm_srv copy[8];
  memcpy(copy, list, (size_t)n * sizeof *list);
  assert_int_equal(xm_srv_order(copy, n, n, dice), n);
  return copy[0].host;
}

static void weights_are_shares_of_chance(void **state) {
  static const xm_srv list[] = {
      {"a", 0, 10, 1, false}, {"b", 0, 0, 1, false}, {"c", 0, 30, 1, false}, {"d", 1, 99, 1, false}};
  int won_c = 0;
  (void)state;
  pips = 0;
  assert_string_equal(first_of(list, 4, loaded_dice), "b");
  for (pips = 1; pips <= 10; pips++) assert_string_equal(first_of(list, 4, loaded_dice), "a");
  for (pips = 11; pips <= 40; pips++) assert_string_equal(first_of(list, 4, loaded_dice), "c");
  pips = 41;
  assert_string_equal(first_of(list, 4, loaded_dice), "b");
  assert_string_equal(first_of(list, 4, lost_dice), "b");
  for (pips = 0; pips < 8000; pips++) won_c += first_of(list, 4, fair_dice)[0] == 'c';
  assert_true(won_c >= 8000 * 65 / 100 && won_c <= 8000 * 80 / 100);
}

static void the_order_is_one_of_the_legal_ones(void **state) {
  enum { N = 300 };
  static const char *const hosts[] = {"a", "b", "", "c d", "e.f"};
  xm_srv list[N], copy[N];
  int round, i, n, legal, want;
  (void)state;
  for (round = 0; round < 300; round++) {
    n = rand() % N;
    want = rand() % 20;
    for (i = legal = 0; i < n; i++) {
      list[i] = (xm_srv){hosts[rand() % 5], (uint16_t)(rand() % 9), (uint16_t)(rand() % 3 * 32767),
                         (uint16_t)(rand() % 7), false};
      legal += list[i].port > 0 && xm_srv_is_host(list[i].host);
    }
    memcpy(copy, list, sizeof copy);
    n = xm_srv_order(copy, n, want, fair_dice);
    assert_int_equal(n, want < legal ? want : legal);
    for (i = 0; i < n; i++) assert_true(copy[i].port > 0 && xm_srv_is_host(copy[i].host));
    for (i = 1; i < n; i++) assert_true(copy[i - 1].priority <= copy[i].priority);
  }
  assert_int_equal(xm_srv_order(NULL, 0, 16, fair_dice), 0);
}

static void what_is_a_host(void **state) {
  static const char *const good[] = {"a", "xmpp.example.com", "A-1.b_c", "_x", "xmpp_prosody_1", "r3---sn-x", "-a-.b--", "192.0.2.1", "a."};
  static const char *const bad[] = {"", "a b", "a/b", "a\\b", "a\001", "\303\244", "a:1", "[::1]", "a%b", "a\n"};
  char longest[XM_SRV_NAME + 2];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof good / sizeof *good; i++) assert_true(xm_srv_is_host(good[i]));
  for (i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(xm_srv_is_host(bad[i]));
  memset(longest, 'a', sizeof longest);
  longest[XM_SRV_NAME + 1] = '\0';
  assert_false(xm_srv_is_host(longest));
  longest[XM_SRV_NAME] = '\0';
  assert_true(xm_srv_is_host(longest));
}

static void what_is_an_ipv6_address(void **state) {
  static const char *const good[] = {"::", "::1", "fe80::1%lo", "FE80::1%1", "::1%eth0", "2001:db8:1:2:3:4:5:6", "::ffff:192.0.2.1%lo",
                                     "1111:2222:3333:4444:5555:6666:255.255.255.255", "fe80::1%fifteen-letters"};
  static const char *const bad[] = {"", "%lo", "1", "192.0.2.1", "192.0.2.1%lo", "fe80::1%", "fe80::1::2%lo", "[::1]", "::1 ", " ::1",
                                    "fe80::1%a b", "fe80::1%a/b", "fe80::1%a%b", "fe80::1%\n", "fe80::1%\303\244", "fe80::1%\x7f",
                                    "fe80::1%sixteen-letters!", "fe80:1", "x::1", "1111:2222:3333:4444:5555:6666:255.255.255.2555",
                                    "a.b%lo"};
  char longest[2000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof good / sizeof *good; i++) assert_true(xm_srv_is_ipv6(good[i]));
  for (i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(xm_srv_is_ipv6(bad[i]));
  memset(longest, '0', sizeof longest);
  longest[sizeof longest - 1] = '\0';
  assert_false(xm_srv_is_ipv6(longest));
  memcpy(longest, "::1%", 4);
  assert_false(xm_srv_is_ipv6(longest));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_are_shares_of_chance),
      cmocka_unit_test(the_order_is_one_of_the_legal_ones),
      cmocka_unit_test(what_is_a_host),
      cmocka_unit_test(what_is_an_ipv6_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
