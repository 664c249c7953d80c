/* sasl: which mechanism is chosen, in every combination of offer, allow-list and permission, and what is shown of the
 * names that a server makes up. */
#include "sasl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* A refusal as every refusal must be: of this layer, for good, in printable ASCII. */
static void check_refusal(const xm_err *e, const char *condition) {
  const char *p;
  assert_string_equal(e->condition, condition);
  assert_int_equal(e->layer, XM_LAYER_SASL);
  assert_false(e->retry);
  assert_true(strlen(e->text) > 20 && strlen(e->text) < sizeof e->text - 1);
  for (p = e->text; *p; p++) assert_true(*p >= ' ' && *p <= '~');
}

/* Bit i stands for names[i]; what should be chosen, NULL for nothing. */
static const char *expected_choice(const char *const *names, unsigned offered, unsigned allowed, bool plain) {
  int i;
  for (i = 0; i < 3; i++)
    if (offered >> i & allowed >> i & 1) return names[i];
  return plain && offered & allowed & 8 ? names[3] : NULL;
}

/* Every offer (in two orders), every allow-list, PLAIN permitted or not: 1024 choices. */
static void test_every_choice(void **unused) {
  static const char *const names[] = {"SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"};
  unsigned row, i;
  (void)unused;
  for (row = 0; row < 1024; row++) {
    unsigned offered = row & 15, allowed = row >> 4 & 15;
    bool plain = row >> 8 & 1, backwards = row >> 9 & 1;
    char list[100] = " ";
    const char *unknown, *expected = expected_choice(names, offered, allowed, plain);
    size_t len;
    xm_sasl_offer offer = {0};
    xm_err e = {0};
    const xm_sasl_mech *got;
    for (i = 0; i < 4; i++) {
      unsigned k = backwards ? 3 - i : i;
      if (offered >> k & 1) xm_sasl_offer_add(&offer, names[k], strlen(names[k]));
      if (allowed >> k & 1) strcat(strcat(list, names[k]), i % 2 ? "," : " ");
    }
    got = xm_sasl_choose(&offer, xm_sasl_allowed(list, &unknown, &len), plain, &e);
    assert_null(unknown);
    if (expected) {
      assert_non_null(got);
      assert_string_equal(xm_sasl_mech_name(got), expected);
      assert_false(xm_err_is_set(&e));
    } else {
      assert_null(got);
      check_refusal(&e, "invalid-mechanism");
      assert_non_null(strstr(e.text, offered ? offer.names : "(none)"));
    }
  }
}

static void test_allow_lists(void **unused) {
  static const struct {
    const char *list, *unknown;
  } lists[] = {
      {"SCRAM-SHA-256", NULL},
      {"  SCRAM-SHA-256,\tPLAIN ,, SCRAM-SHA-256\n", NULL},
      {"", NULL},
      {" , ", NULL},
      {"scram-sha-256", "scram-sha-256"},
      {"PLAIN CRAM-MD5 X", "CRAM-MD5"},
      {"SCRAM-SHA-2", "SCRAM-SHA-2"},
      {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS"},
      {"PLAIN;PLAIN", "PLAIN;PLAIN"},
  };
  const char *unknown;
  size_t i, n;
  unsigned all = xm_sasl_allowed(NULL, &unknown, &n), both, one, other;
  (void)unused;
  assert_null(unknown);
  for (i = 0; i < sizeof lists / sizeof lists[0]; i++) {
    xm_sasl_allowed(lists[i].list, &unknown, &n);
    if (!lists[i].unknown) assert_null(unknown);
    if (!lists[i].unknown) continue;
    assert_int_equal(n, strlen(lists[i].unknown));
    assert_memory_equal(unknown, lists[i].unknown, n);
  }
  one = xm_sasl_allowed("SCRAM-SHA-256", &unknown, &n);
  other = xm_sasl_allowed("PLAIN", &unknown, &n);
  both = xm_sasl_allowed("PLAIN,SCRAM-SHA-256", &unknown, &n);
  assert_true(one && other && one != other);
  assert_int_equal(one | other, both);
  assert_int_equal(all, xm_sasl_allowed("SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-512 PLAIN", &unknown, &n));
  assert_int_equal(0, xm_sasl_allowed("", &unknown, &n));
}

/* Names that a server makes up: counted for nothing, shown in printable ASCII, cut to fit. */
static void test_strange_offers(void **unused) {
  static char megabyte[1 << 20];
  static const struct {
    const char *name;
    size_t n;
  } names[] = {{"X-FOO", 5},          {"", 0},           {"SCRAM-SHA-1\0", 12}, {"SCRAM-SHA-1 ", 12}, {"plain", 5},
               {"\xc3\xa9\x01%s", 5}, {"SCRAM-SHA-", 10}};
  xm_sasl_offer offer = {0};
  xm_err e = {0};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof names / sizeof names[0]; i++) xm_sasl_offer_add(&offer, names[i].name, names[i].n);
  assert_int_equal(offer.known, 0);
  assert_string_equal(offer.names, "X-FOO, SCRAM-SHA-1?, SCRAM-SHA-1?, plain, ???%s, SCRAM-SHA-");
  for (i = 0; i < 10000; i++) xm_sasl_offer_add(&offer, "X-\xff-MECHANISM", 14);
  xm_sasl_offer_add(&offer, megabyte, sizeof megabyte);
  assert_true(strlen(offer.names) > 230 && strlen(offer.names) < sizeof offer.names);
  assert_string_equal(offer.names + strlen(offer.names) - 5, ", ...");
  assert_null(xm_sasl_choose(&offer, ~0u, true, &e));
  check_refusal(&e, "invalid-mechanism");
  xm_sasl_offer_add(&offer, "PLAIN", 5); /* what isn't shown is known all the same */
  assert_string_equal(xm_sasl_mech_name(xm_sasl_choose(&offer, ~0u, true, NULL)), "PLAIN");
  offer = (xm_sasl_offer){0};
  for (i = 0; i < 9; i++) xm_sasl_offer_add(&offer, "PLAIN", 5);
  assert_string_equal(offer.names, "PLAIN");
  offer = (xm_sasl_offer){0};
  xm_sasl_offer_add(&offer, megabyte, sizeof megabyte);
  assert_string_equal(offer.names, "...");
}

/* Lists of every length up to the brim and over it. */
static void test_offers_that_just_fit(void **unused) {
  char name[300];
  size_t n;
  (void)unused;
  memset(name, 'X', sizeof name);
  for (n = 1; n < sizeof name; n++) {
    struct {
      xm_sasl_offer offer;
      char behind[8];
    } room = {.behind = "behind"};
    xm_sasl_offer_add(&room.offer, name, n);
    xm_sasl_offer_add(&room.offer, "Y", 1);
    xm_sasl_offer_add(&room.offer, name, 300 - n);
    assert_true(memchr(room.offer.names, '\0', sizeof room.offer.names) != NULL);
    assert_string_equal(room.behind, "behind");
    if (n < 240) assert_memory_equal(room.offer.names + n, ", Y", 3);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_choice),
      cmocka_unit_test(test_allow_lists),
      cmocka_unit_test(test_strange_offers),
      cmocka_unit_test(test_offers_that_just_fit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
