/* mech: which mechanism and which channel binding is chosen, for every combination of offer, allow-list, channel and
 * what the client has; what a server has to prove; and how names that a server makes up are shown. */
#include "mech.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#include "refusal.h"

static const char *const names[] = {"EXTERNAL",      "SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
                                    "SCRAM-SHA-512", "SCRAM-SHA-256",      "SCRAM-SHA-1",        "PLAIN",
                                    "ANONYMOUS"};
enum { ALL = 511, PLUS = 7 << 1, BARE = 7 << 4, PLAIN = 1 << 7, ANONYMOUS = 1 << 8 };

static const xm_mech_channel bare_channel = {.version = 0x0303};

static xm_mech_policy policy_of(unsigned allowed, const xm_mech_channel *channel) {
  return (xm_mech_policy){.allowed = allowed,
                          .username = true,
                          .password = true,
                          .tls = true,
                          .verified = true,
                          .plain = true,
                          .channel = channel};
}

static void offer_bits(xm_mech_offer *offer, unsigned bits, bool backwards) {
  int i;
  for (i = 0; i < 9; i++) {
    int k = backwards ? 8 - i : i;
    if (bits >> k & 1) xm_mech_offer_add(offer, names[k], strlen(names[k]));
  }
}

/* The chosen name's index; -1: none should be chosen. */
static int expected_choice(unsigned both, bool alone, bool plain) {
  int i;
  if (alone) return both ? 8 : -1;
  for (i = 0; i < 7; i++)
    if (both >> i & 1) return i;
  return plain && both & PLAIN ? 7 : -1;
}

/* Every offer with every allow-list, in two orders, PLAIN allowed or not; TLS 1.2 with tls-unique, and a
 * certificate. */
static void test_every_choice(void **unused) {
  const xm_mech_channel channel = {.version = 0x0303, .bindings = {[XM_MECH_UNIQUE] = {12, "finished it."}}};
  unsigned offered, allowed;
  (void)unused;
  for (offered = 0; offered <= ALL; offered++)
    for (allowed = 0; allowed <= ALL; allowed++) {
      bool plain = (offered ^ allowed) & 1;
      xm_mech_policy policy = policy_of(allowed, &channel);
      int expected = expected_choice(offered & allowed, allowed == ANONYMOUS, plain);
      xm_mech_offer offer = {0};
      xm_mech_choice choice;
      xm_err e = {0};
      policy.plain = plain;
      policy.certificate = true;
      offer_bits(&offer, offered, (offered ^ allowed) & 2);
      assert_int_equal(xm_mech_choose(&offer, &policy, &choice, &e), expected < 0 ? XM_EFAIL : XM_OK);
      if (expected < 0) {
        check_form(&e, "invalid-mechanism");
        assert_non_null(strstr(e.text, offered ? offer.names : "(none)"));
      } else {
        assert_string_equal(choice.mech->name, names[expected]);
        assert_int_equal(choice.flag == 'p', expected >= 1 && expected <= 3);
        assert_false(choice.need_hash);
      }
    }
}

/* Where TLS may end in front of the server, 'y' is only sent to a server that has shown that it knows channel
 * bindings. */
static void test_flag_behind_a_tls_front(void **unused) {
  static const struct {
    const char *plus, *binding;
    char flag;
  } rows[] = {{NULL, NULL, 'n'}, {NULL, "tls-server-end-point", 'y'}, {"SCRAM-SHA-256-PLUS", "tls-server-end-point", 'y'}, {"SCRAM-SHA-256-PLUS", "tls-exporter", 'p'}};
  const xm_mech_channel channel = {.version = 0x0304, .bindings = {[XM_MECH_EXPORTER] = {4, "abcd"}}};
  size_t i;
  int fronted;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof *rows; i++)
    for (fronted = 0; fronted < 2; fronted++) {
      xm_mech_policy policy = policy_of(ALL, &channel);
      xm_mech_offer offer = {0};
      xm_mech_choice choice;
      xm_err e = {0};
      policy.fronted = fronted;
      xm_mech_offer_add(&offer, "SCRAM-SHA-256", 13);
      if (rows[i].plus) xm_mech_offer_add(&offer, rows[i].plus, strlen(rows[i].plus));
      if (rows[i].binding) xm_mech_offer_add_binding(&offer, rows[i].binding, strlen(rows[i].binding));
      assert_int_equal(xm_mech_choose(&offer, &policy, &choice, &e), XM_OK);
      assert_int_equal(choice.flag, !fronted && rows[i].flag == 'n' ? 'y' : rows[i].flag);
      policy.bound = true;
      if (rows[i].flag != 'p') assert_int_equal(xm_mech_choose(&offer, &policy, &choice, &e), XM_EFAIL);
    }
}

/* What the client has: without it, the mechanisms that need it aren't chosen. */
static void test_what_the_client_has(void **unused) {
  static const struct {
    bool username, password, certificate, tls, verified, plain, pinned;
    unsigned offered;
    const char *expected; /* NULL: nothing */
  } rows[] = {
      {1, 1, 1, 1, 1, 1, 0, ALL, "EXTERNAL"},      {1, 0, 1, 1, 1, 1, 0, ALL, "EXTERNAL"},
      {1, 0, 1, 1, 0, 1, 0, ALL, "EXTERNAL"},      {1, 1, 0, 1, 1, 1, 0, ALL, "SCRAM-SHA-512"},
      {1, 1, 1, 0, 0, 1, 0, ALL, "SCRAM-SHA-512"}, /* without TLS the server hasn't seen the certificate */
      {1, 1, 1, 0, 0, 1, 0, 1 | PLUS, NULL},       {1, 0, 0, 1, 1, 1, 0, ALL, NULL},
      {1, 1, 0, 1, 1, 1, 0, PLAIN, "PLAIN"},       {1, 1, 0, 1, 1, 1, 0, PLAIN | ANONYMOUS, "PLAIN"},
      {1, 1, 0, 1, 1, 1, 1, PLAIN, NULL},          {1, 1, 0, 1, 1, 0, 0, PLAIN, NULL},
      {1, 1, 0, 1, 0, 1, 0, PLAIN, NULL},          {1, 1, 0, 0, 0, 1, 0, PLAIN, NULL},
      {1, 0, 0, 1, 1, 1, 0, PLAIN, NULL},          {1, 1, 0, 1, 1, 1, 1, PLAIN | BARE, "SCRAM-SHA-512"},
      {0, 0, 0, 1, 1, 1, 0, ALL, "ANONYMOUS"},     {0, 1, 1, 1, 1, 1, 0, ALL, "ANONYMOUS"},
      {0, 0, 0, 0, 0, 1, 0, ALL, "ANONYMOUS"},     {0, 1, 1, 1, 1, 1, 0, ALL & ~ANONYMOUS, NULL},
      {1, 1, 0, 1, 1, 1, 0, ANONYMOUS, NULL},      {1, 0, 0, 1, 1, 1, 0, ANONYMOUS, NULL},
  };
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    xm_mech_policy policy = {ALL,          rows[i].username, rows[i].password, rows[i].certificate,
                             rows[i].tls,  rows[i].verified, rows[i].plain,    rows[i].pinned,
                             &bare_channel, false,            false,            false,
                             false};
    xm_mech_offer offer = {0};
    xm_mech_choice choice;
    xm_err e = {0};
    int rc;
    offer_bits(&offer, rows[i].offered, false);
    rc = xm_mech_choose(&offer, &policy, &choice, &e);
    if (rows[i].expected) {
      if (rc < 0) fail_msg("row %zu: %s", i, e.text);
      assert_string_equal(choice.mech->name, rows[i].expected);
    } else {
      if (rc == 0) fail_msg("row %zu: %s", i, choice.mech->name);
      check_form(&e, "invalid-mechanism");
    }
  }
}

static void test_refusals_say_why(void **unused) {
  static const struct {
    unsigned offered, allowed;
    bool password, pinned, plain;
    const char *why;
  } rows[] = {
      {0, ALL, true, false, true, "(none); this library has none of these"},
      {PLAIN, BARE, true, false, true, "PLAIN; the option mechanisms allows none"},
      {PLAIN, ALL, true, false, false, "the option plain not false"},
      {PLAIN, ALL, true, true, true, "something better before"},
      {PLAIN | BARE, ALL, false, true, true, "need something that is missing: a username and a password"},
      {ANONYMOUS, ALL, true, false, true, "a JID without localpart (ANONYMOUS)"},
      {1, ALL, true, false, true, "a client certificate (EXTERNAL)"},
  };
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    xm_mech_policy policy = policy_of(rows[i].allowed, &bare_channel);
    xm_mech_offer offer = {0};
    xm_mech_choice choice;
    xm_err e = {0};
    policy.password = rows[i].password;
    policy.pinned = rows[i].pinned;
    policy.plain = rows[i].plain;
    offer_bits(&offer, rows[i].offered, false);
    assert_int_equal(xm_mech_choose(&offer, &policy, &choice, &e), XM_EFAIL);
    check_form(&e, "invalid-mechanism");
    if (!strstr(e.text, rows[i].why)) fail_msg("row %zu: %s", i, e.text);
  }
}

/* The truth table of channel bindings. */

typedef struct situation {
  bool tls, bound, refused, strict;
  int allows;       /* see `allowed` */
  unsigned usable;  /* the types that we have, as bits */
  int plus;         /* the -PLUS mechanism: none, one that isn't ours, or one of ours */
  int list;         /* see `lists` */
  bool bare, plain; /* these are offered, too */
} situation;

/* All mechanisms; none with channel binding; one family, to which the offered -PLUS doesn't belong. */
enum { ALLOWS_ALL, ALLOWS_NO_PLUS, ALLOWS_OTHER, ALLOWANCES };
static const unsigned allowed[ALLOWANCES] = {ALL, ALL & ~PLUS, 1 << 2 | 1 << 5 | PLAIN};

enum { NO_PLUS, FOREIGN_PLUS, OUR_PLUS, PLUSES };
static const struct {
  bool there;
  const char *types[4];
} lists[] = {{false, {0}},
             {true, {0}}, /* an empty one */
             {true, {"tls-exporter", "tls-server-end-point"}},
             {true, {"tls-server-end-point", "tls-exporter", "tls-unique"}},
             {true, {"tls-exporter"}},
             {true, {"tls-unique"}},
             {true, {"tls-server-end-point"}},
             {true, {"x-foreign"}},
             {true, {"x-foreign", "tls-server-end-point"}},
             {true, {"x-foreign", "tls-unique", "TLS-EXPORTER"}}};
enum { LISTS = sizeof lists / sizeof lists[0] };

static bool lists_type(const situation *s, const char *type) {
  int i;
  for (i = 0; lists[s->list].types[i]; i++)
    if (strcmp(lists[s->list].types[i], type) == 0) return true;
  return false;
}

/* The type that both sides have; -1: none. If the server lists no types, tls-unique if we have it (RFC 5929 3; Prosody
 * 0.12, ejabberd 23.01), else what we have: with TLS 1.3 tls-exporter (RFC 9266 2), without the extended master secret
 * the certificate's. */
static int common_type(const situation *s) {
  static const char *const types[] = {"tls-exporter", "tls-unique", "tls-server-end-point"};
  int i;
  if (!lists[s->list].there && s->usable & 2) return 1;
  for (i = 0; i < 3; i++)
    if (s->usable >> i & 1 && (!lists[s->list].there || lists_type(s, types[i]))) return i;
  return -1;
}

/* Written from RFC 5802 section 6, XEP-0440 section 3 (1.0.0) and XEP-0474 section 6 (0.5.0). The expected result:
 * "p:TYPE", "y" or "n", each with "!" if the server has to prove its offer, "PLAIN", or a refusal's condition. */
static const char *rule(const situation *s) {
  static const char *const bound[] = {"p:tls-exporter", "p:tls-unique", "p:tls-server-end-point"};
  bool announced = lists[s->list].there, ours = s->plus == OUR_PLUS && s->tls && s->allows == ALLOWS_ALL;
  bool guess = !announced && s->bare && !s->bound;
  int type = common_type(s);
  if (!s->bare && !ours) return s->plain && s->tls ? "PLAIN" : "invalid-mechanism";
  /* XEP-0440 rule 3, a MUST in SASL2: a -PLUS is offered, and no list to choose its type from. */
  if (s->strict && ours && !announced) return "no-channel-binding";
  /* We have no channel binding, since there is no TLS, or the program wants none. Only then is "n" true. */
  if (!s->tls || s->allows == ALLOWS_NO_PLUS) return "n";
  /* RFC 5802: a client that can, and gets an offer, MUST bind. A type that wasn't listed may be refused once, if it
   * also works without. */
  if (ours && type >= 0 && !(guess && s->refused)) return bound[type];
  /* The server could bind before: either this is no longer its own offer, or it has changed, which the program must
   * decide. */
  if (s->bound) return "no-channel-binding";
  if (!s->bare) return "no-channel-binding";
  /* XEP-0440 rule 5: a list, but no mechanism of ours to use it with, as none is offered, only a made-up "X-PLUS", or
   * one that isn't allowed; rule 6: a list with no type of ours, not even the mandatory one. Honest servers send
   * neither. */
  if (announced && !(ours && lists_type(s, "tls-server-end-point"))) return "y!";
  /* In all other cases, an attacker in between may be the reason why nothing is bound: by removing -PLUS, or adding one
   * that isn't ours or isn't allowed (which proves nothing); by removing the list, so that a guess was refused; by
   * choosing TLS without the extended master secret, or a certificate without a hash of its own (Ed25519), so that no
   * listed type is possible. "y" tells the server; to one that really can't bind, it means nothing. */
  return "y";
}

static void offer_situation(xm_mech_offer *offer, const situation *s) {
  int i;
  if (s->plain) xm_mech_offer_add(offer, "PLAIN", 5);
  if (s->bare) xm_mech_offer_add(offer, "SCRAM-SHA-256", 13);
  if (s->plus == FOREIGN_PLUS) xm_mech_offer_add(offer, "SCRAM-SHA3-512-PLUS", 19);
  if (s->plus == OUR_PLUS) xm_mech_offer_add(offer, "SCRAM-SHA-1-PLUS", 16);
  offer->lists = lists[s->list].there;
  for (i = 0; lists[s->list].types[i]; i++)
    xm_mech_offer_add_binding(offer, lists[s->list].types[i], strlen(lists[s->list].types[i]));
}

static void check_text(xm_mech_offer *offer, const char *text, size_t n) {
  xm_buf out = XM_BUF_INIT;
  assert_int_equal(xm_mech_offer_text(offer, &out), XM_OK);
  assert_int_equal(xm_buf_len(&out), n);
  assert_memory_equal(xm_buf_at(&out), text, n);
  xm_buf_free(&out);
}

/* An offer that is read back from its text leads to the same choice. */
static void check_read_back(const xm_mech_offer *offer, const xm_mech_policy *policy, const xm_mech_choice *choice,
                            bool refused) {
  xm_mech_offer sorted = *offer, again;
  xm_mech_choice same;
  xm_buf text = XM_BUF_INIT;
  assert_int_equal(xm_mech_offer_text(&sorted, &text), XM_OK);
  if (xm_buf_len(&text)) {
    memset(&again, 0xAA, sizeof again);
    xm_mech_offer_read(&again, xm_buf_at(&text), xm_buf_len(&text));
    assert_int_equal(xm_mech_choose(&again, policy, &same, NULL) < 0, refused);
    assert_true(refused || (same.mech == choice->mech && same.flag == choice->flag && same.binding == choice->binding &&
                            same.guessed == choice->guessed && same.need_hash == choice->need_hash));
    check_text(&again, xm_buf_at(&text), xm_buf_len(&text));
  }
  xm_buf_free(&text);
}

static void outcome(const situation *s, char to[64]) {
  xm_mech_channel channel = {.version = 0x0303};
  xm_mech_policy policy = policy_of(allowed[s->allows], &channel);
  xm_mech_offer offer = {0};
  xm_mech_choice choice;
  xm_err e = {0};
  int i;
  for (i = 0; i < XM_MECH_BINDINGS; i++) channel.bindings[i].n = s->usable >> i & 1 ? 32 : 0;
  policy.tls = policy.verified = s->tls;
  policy.bound = s->bound;
  policy.refused = s->refused;
  policy.strict = s->strict;
  if (!s->tls) policy.channel = NULL;
  offer_situation(&offer, s);
  if (xm_mech_choose(&offer, &policy, &choice, &e) < 0) {
    check_form(&e, e.condition);
    check_read_back(&offer, &policy, &choice, true);
    strcpy(to, e.condition);
    return;
  }
  check_read_back(&offer, &policy, &choice, false);
  if (choice.mech->kind == XM_MECH_PLAIN)
    strcpy(to, "PLAIN");
  else if (choice.flag == 'p')
    sprintf(to, "p:%s%s", xm_mech_binding_name(choice.binding), choice.need_hash ? "!" : "");
  else
    sprintf(to, "%c%s", choice.flag, choice.need_hash ? "!" : "");
  assert_int_equal(choice.flag == 'p', strstr(choice.mech->name, "-PLUS") != NULL);
  assert_int_equal(choice.guessed, choice.flag == 'p' && !lists[s->list].there && s->bare && !s->bound);
}

static void test_truth_table(void **unused) {
  const int rows = 2 * 2 * 2 * 2 * 2 * 2 * 8 * ALLOWANCES * PLUSES * LISTS;
  int row;
  (void)unused;
  assert_int_equal(rows, 46080);
  for (row = 0; row < rows; row++) {
    situation s = {.tls = row & 1,
                   .bare = row >> 1 & 1,
                   .plain = row >> 2 & 1,
                   .bound = row >> 3 & 1,
                   .refused = row >> 4 & 1,
                   .usable = row >> 5 & 7,
                   .strict = row >> 8 & 1,
                   .allows = (row >> 9) % ALLOWANCES,
                   .plus = (row >> 9) / ALLOWANCES % PLUSES,
                   .list = (row >> 9) / ALLOWANCES / PLUSES};
    char got[64];
    outcome(&s, got);
    if (strcmp(got, rule(&s)) != 0)
      fail_msg("tls %d, bound %d, refused %d, strict %d, allows %d, bare %d, plain %d, usable %u, plus %d, list %d: %s, not %s",
               s.tls, s.bound, s.refused, s.strict, s.allows, s.bare, s.plain, s.usable, s.plus, s.list, got, rule(&s));
  }
}

/* What an attacker in between can do to an offer so that nothing is bound, one by one: the server gets "y" (and detects
 * the attack if it has -PLUS), or has to prove its offer. */
static void test_what_becomes_of_a_changed_offer(void **unused) {
  enum { EXPORTER = 1, UNIQUE = 2, END_POINT = 4 };
  static const struct {
    const char *what;
    situation s;
    const char *expected;
  } rows[] = {
      {"-PLUS taken out", {.tls = true, .bare = true, .usable = UNIQUE | END_POINT}, "y"},
      {"X-PLUS put in for it", {.tls = true, .bare = true, .usable = UNIQUE | END_POINT, .plus = FOREIGN_PLUS}, "y"},
      {"the same, and the list left", {.tls = true, .bare = true, .usable = 5, .plus = FOREIGN_PLUS, .list = 2}, "y!"},
      {"-PLUS taken out, and the list left", {.tls = true, .bare = true, .usable = EXPORTER | END_POINT, .list = 2}, "y!"},
      {"the list taken out, TLS 1.3", {.tls = true, .bare = true, .usable = 5, .plus = OUR_PLUS}, "p:tls-exporter"},
      {"and the guess refused", {.tls = true, .bare = true, .usable = 5, .plus = OUR_PLUS, .refused = true}, "y"},
      {"no extended master secret, no list", {.tls = true, .bare = true, .usable = 4, .plus = OUR_PLUS}, "p:tls-server-end-point"},
      {"the same, and Ed25519", {.tls = true, .bare = true, .usable = 0, .plus = OUR_PLUS}, "y"},
      {"the same, and no -PLUS", {.tls = true, .bare = true, .usable = 0}, "y"},
      {"tls-server-end-point alone, and Ed25519", {.tls = true, .bare = true, .usable = 1, .plus = OUR_PLUS, .list = 6}, "y"},
      {"made-up types alone", {.tls = true, .bare = true, .usable = 5, .plus = OUR_PLUS, .list = 7}, "y!"},
      {"SCRAM-SHA-1-PLUS put in, which isn't allowed",
       {.tls = true, .allows = ALLOWS_OTHER, .bare = true, .usable = 3, .plus = OUR_PLUS},
       "y"},
      {"any of these, to who was bound before", {.tls = true, .bound = true, .bare = true, .usable = 3}, "no-channel-binding"},
      {"a refusal, to who was bound before",
       {.tls = true, .bound = true, .bare = true, .usable = 5, .plus = OUR_PLUS, .refused = true},
       "p:tls-exporter"},
  };
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char got[64];
    outcome(&rows[i].s, got);
    if (strcmp(got, rows[i].expected) != 0) fail_msg("%s: %s, not %s", rows[i].what, got, rows[i].expected);
    assert_string_equal(rule(&rows[i].s), rows[i].expected);
  }
}

/* What a server proves of its offer (XEP-0474). */

#define CHECK_TEXT(offer, text) check_text(offer, text, sizeof text - 1)

static void add_all(xm_mech_offer *offer, const char *list) {
  while (*list) {
    size_t n = strcspn(list, " ");
    xm_mech_offer_add(offer, list, n);
    list += n + (list[n] == ' ');
  }
}

static void test_text_of_an_offer(void **unused) {
  xm_mech_offer xep = {0}, none = {0}, unlisted = {0}, empty = {0}, odd = {0};
  (void)unused;
  add_all(&xep, "SCRAM-SHA-1-PLUS SCRAM-SHA-1"); /* the XEP's example, in another order */
  xm_mech_offer_add_binding(&xep, "tls-server-end-point", 20);
  xm_mech_offer_add_binding(&xep, "tls-exporter", 12);
  CHECK_TEXT(&xep,
             "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1f"
             "tls-exporter\x1etls-server-end-point");
  CHECK_TEXT(&xep,
             "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1f"
             "tls-exporter\x1etls-server-end-point");
  assert_int_equal(xm_mech_offer_text(&none, &(xm_buf){0}), XM_OK);
  add_all(&unlisted,
          "X-B PLAIN x-a PLAIN \xff"
          "Z SCRAM-SHA-1 X \xc3\xa9"); /* kept as they came, with duplicates */
  CHECK_TEXT(&unlisted, "PLAIN\x1ePLAIN\x1eSCRAM-SHA-1\x1eX\x1eX-B\x1ex-a\x1e\xc3\xa9\x1e\xffZ");
  add_all(&empty, "PLAIN");
  empty.lists = true;
  CHECK_TEXT(&empty, "PLAIN\x1f");
  xm_mech_offer_add(&odd, "", 0);
  xm_mech_offer_add(&odd, " PLAIN", 6);
  xm_mech_offer_add_binding(&odd, "", 0);
  CHECK_TEXT(&odd, "\x1e PLAIN\x1f");
}

static void test_texts_read_back(void **unused) {
  static const char *const texts[] = {"PLAIN",
                                      "A\x1e"
                                      "B",
                                      "\x1e",
                                      "\x1ePLAIN",
                                      "\x1f",
                                      "PLAIN\x1f",
                                      "\x1f"
                                      "tls-unique",
                                      "\x1f\x1e",
                                      "\x1e\x1f\x1e"
                                      "tls-exporter",
                                      "A\x1f"
                                      "a\x1e"
                                      "b"};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof texts / sizeof *texts; i++) {
    xm_mech_offer offer;
    xm_buf text = XM_BUF_INIT;
    xm_mech_offer_read(&offer, texts[i], strlen(texts[i]));
    assert_int_equal(offer.lists, strchr(texts[i], '\x1f') != NULL);
    xm_buf_put(&text, texts[i], strlen(texts[i]));
    check_text(&offer, xm_buf_at(&text), xm_buf_len(&text));
    xm_buf_free(&text);
  }
}

/* 64 names can be proved, 65 can't; either way the choice is the same. */
static void test_long_offers(void **unused) {
  xm_mech_policy policy = policy_of(ALL, &bare_channel);
  xm_mech_offer offer = {0}, types = {0};
  xm_mech_choice choice;
  xm_buf out = XM_BUF_INIT;
  int i;
  (void)unused;
  xm_buf_puts(&out, "kept");
  for (i = 0; i < 63; i++) xm_mech_offer_add(&offer, "X-FOO", 5);
  xm_mech_offer_add(&offer, "PLAIN", 5);
  assert_int_equal(xm_mech_offer_text(&offer, &out), XM_OK);
  assert_int_equal(xm_buf_len(&out), 4 + 64 * 5 + 63);
  for (i = 0; i < 100000; i++) xm_mech_offer_add(&offer, "X-BAR", 5);
  xm_mech_offer_add(&offer, "SCRAM-SHA-1", 11);
  assert_int_equal(xm_mech_offer_text(&offer, &out), XM_ELIMIT);
  assert_int_equal(xm_mech_choose(&offer, &policy, &choice, NULL), XM_OK);
  assert_string_equal(choice.mech->name, "SCRAM-SHA-1");
  add_all(&types, "PLAIN");
  for (i = 0; i < 65; i++) xm_mech_offer_add_binding(&types, "x", 1);
  assert_int_equal(xm_mech_offer_text(&types, &out), XM_ELIMIT);
  assert_int_equal(xm_buf_len(&out), 4 + 64 * 5 + 63);
  xm_buf_free(&out);
}

static void test_allow_lists(void **unused) {
  static const struct {
    const char *list, *unknown;
  } rows[] = {
      {"SCRAM-SHA-256", NULL},
      {"  SCRAM-SHA-256,\tPLAIN ,, SCRAM-SHA-256\n", NULL},
      {"", NULL},
      {" , ", NULL},
      {"scram-sha-256", "scram-sha-256"},
      {"PLAIN CRAM-MD5 X", "CRAM-MD5"},
      {"SCRAM-SHA-2", "SCRAM-SHA-2"},
      {"SCRAM-SHA-256-PLU", "SCRAM-SHA-256-PLU"},
      {"SCRAM-SHA-256-PLUS-PLUS", "SCRAM-SHA-256-PLUS-PLUS"},
      {"PLAIN;PLAIN", "PLAIN;PLAIN"},
  };
  const char *unknown;
  size_t i, n;
  unsigned sum = 0;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    xm_mech_allowed(rows[i].list, &unknown, &n);
    if (!rows[i].unknown) assert_null(unknown);
    if (!rows[i].unknown) continue;
    assert_int_equal(n, strlen(rows[i].unknown));
    assert_memory_equal(unknown, rows[i].unknown, n);
  }
  for (i = 0; i < 9; i++) {
    assert_int_equal(xm_mech_allowed(names[i], &unknown, &n), 1u << i);
    assert_null(unknown);
    sum |= 1u << i;
  }
  /* Of the mechanisms for tokens, only those whose proof can't be used on another channel. */
  sum |= xm_mech_token_bit("HT-SHA-256-EXPR", 15) | xm_mech_token_bit("HT-SHA-256-UNIQ", 15);
  assert_int_equal(xm_mech_allowed(NULL, &unknown, &n), sum);
  assert_int_equal(xm_mech_allowed("PLAIN,EXTERNAL", &unknown, &n), PLAIN | 1);
  assert_int_equal(xm_mech_allowed("", &unknown, &n), 0);
  for (i = 0; i < 9; i++) assert_int_equal(xm_mech_is_anonymous(names[i]), 1u << i == ANONYMOUS);
  assert_false(xm_mech_is_anonymous("ANONYMOUS HT-SHA-256-EXPR"));
  assert_false(xm_mech_is_anonymous(NULL));
}

/* Names that a server makes up are never chosen, and shown as printable ASCII, cut to fit. */
static void test_strange_offers(void **unused) {
  static char megabyte[1 << 20];
  static const struct {
    const char *name;
    size_t n;
  } rows[] = {{"X-FOO", 5},          {"", 0},           {"SCRAM-SHA-1\0", 12}, {"SCRAM-SHA-1 ", 12}, {"plain", 5},
              {"\xc3\xa9\x01%s", 5}, {"SCRAM-SHA-", 10}};
  xm_mech_policy policy = policy_of(ALL, &bare_channel);
  xm_mech_offer offer = {0};
  xm_mech_choice choice;
  xm_err e = {0};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) xm_mech_offer_add(&offer, rows[i].name, rows[i].n);
  assert_int_equal(offer.known, 0);
  assert_string_equal(offer.names, "X-FOO, SCRAM-SHA-1?, SCRAM-SHA-1?, plain, ???%s, SCRAM-SHA-");
  for (i = 0; i < 10000; i++) xm_mech_offer_add(&offer, "X-\xff-MECHANISM", 14);
  xm_mech_offer_add(&offer, megabyte, sizeof megabyte);
  assert_true(strlen(offer.names) > 230 && strlen(offer.names) < sizeof offer.names);
  assert_string_equal(offer.names + strlen(offer.names) - 5, ", ...");
  assert_int_equal(xm_mech_choose(&offer, &policy, &choice, &e), XM_EFAIL);
  check_form(&e, "invalid-mechanism");
  xm_mech_offer_add(&offer, "PLAIN", 5); /* it is known though it isn't shown */
  assert_int_equal(xm_mech_choose(&offer, &policy, &choice, NULL), XM_OK);
  assert_string_equal(choice.mech->name, "PLAIN");
  offer = (xm_mech_offer){0};
  for (i = 0; i < 9; i++) xm_mech_offer_add(&offer, "PLAIN", 5);
  assert_string_equal(offer.names, "PLAIN");
  offer = (xm_mech_offer){0};
  xm_mech_offer_add(&offer, megabyte, sizeof megabyte);
  assert_string_equal(offer.names, "...");
}

/* Lists of every length up to the limit and beyond it. */
static void test_offers_that_just_fit(void **unused) {
  char name[300];
  size_t n;
  (void)unused;
  memset(name, 'X', sizeof name);
  for (n = 1; n < sizeof name; n++) {
    struct {
      xm_mech_offer offer;
      char behind[8];
    } room = {.behind = "behind"};
    xm_mech_offer_add(&room.offer, name, n);
    xm_mech_offer_add(&room.offer, "Y", 1);
    xm_mech_offer_add(&room.offer, name, 300 - n);
    assert_true(memchr(room.offer.names, '\0', sizeof room.offer.names) != NULL);
    assert_string_equal(room.behind, "behind");
    if (n < 240) assert_memory_equal(room.offer.names + n, ", Y", 3);
  }
}

/* Mechanisms for tokens (XEP-0484). */

static const char *const token_names[] = {"HT-SHA-256-EXPR", "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP", "HT-SHA-256-NONE"};

static unsigned token_bit(int i) {
  return xm_mech_token_bit(token_names[i], strlen(token_names[i]));
}

static void test_names_of_mechanisms_for_tokens(void **unused) {
  static const char *const others[] = {"", "HT-SHA-256", "HT-SHA-256-EXP", "HT-SHA-256-EXPR ", "HT-SHA-256-EXPR2",
                                       "ht-sha-256-expr", "HT-SHA-512-EXPR", "HT2-SHA-256-EXPR", "SCRAM-SHA-1",
                                       "SCRAM-SHA-1-PLUS", "PLAIN", "EXTERNAL", "ANONYMOUS"};
  unsigned sum = 0;
  size_t i;
  (void)unused;
  for (i = 0; i < 4; i++) {
    assert_true(token_bit((int)i) && !(token_bit((int)i) & (sum | ALL)));
    assert_int_equal(token_bit((int)i) & 0xff00 & ~0x1ffu, token_bit((int)i)); /* `inside` doesn't change these bits */
    sum |= token_bit((int)i);
  }
  for (i = 0; i < sizeof others / sizeof *others; i++)
    if (xm_mech_token_bit(others[i], strlen(others[i]))) fail_msg("%s", others[i]);
}

/* The first of EXPR, UNIQ, ENDP, NONE that is listed, allowed and can be bound, over verified TLS, for a user with a
 * name. Every combination. */
static void test_every_token(void **unused) {
  const xm_mech_offer no_offer = {0};
  unsigned listed, allows, usable, means;
  (void)unused;
  for (listed = 0; listed < 16; listed++)
    for (allows = 0; allows < 16; allows++)
      for (usable = 0; usable < 8; usable++)
        for (means = 0; means < 8; means++) {
          xm_mech_channel channel = {.version = 0x0303};
          xm_mech_policy policy = policy_of(ALL, &channel);
          unsigned bits = 0, fine = means == 7 ? listed & allows & (usable | 8) : 0;
          int i, first = 0;
          const xm_mech *got;
          policy.tls = means & 1;
          policy.verified = means & 2;
          policy.username = means & 4;
          policy.password = false; /* a token needs none */
          if (!policy.tls) policy.channel = NULL;
          for (i = 0; i < 4; i++) {
            if (i < 3) channel.bindings[i].n = usable >> i & 1 ? 32 : 0;
            if (listed >> i & 1) bits |= token_bit(i);
            if (allows >> i & 1) policy.allowed |= token_bit(i);
          }
          got = xm_mech_for_token(bits, &policy, &no_offer);
          while (first < 4 && !(fine >> first & 1)) first++;
          if (first == 4) assert_null(got);
          else assert_string_equal(got ? got->name : "none", token_names[first]);
          for (i = 0; i < 4; i++) {
            xm_mech_choice choice = {.guessed = true, .need_hash = true};
            assert_int_equal(xm_mech_choose_token(token_names[i], bits, &policy, &choice), fine >> i & 1);
            if (!(fine >> i & 1)) continue;
            assert_string_equal(choice.mech->name, token_names[i]);
            assert_int_equal(choice.mech->kind, XM_MECH_TOKEN);
            assert_int_equal(choice.flag, i < 3 ? 'p' : 'n');
            if (i < 3) assert_int_equal(choice.binding, i);
            assert_false(choice.guessed || choice.need_hash);
          }
        }
}

/* Where TLS may end in front of the server, a bound token is only asked for if the server has channel bindings. */
static void test_token_behind_a_tls_front(void **unused) {
  const xm_mech_channel channel = {.version = 0x0304, .bindings = {{32, ""}, {32, ""}, {32, ""}}};
  static const struct {
    const char *offer, *bound, *unbound; /* what is asked for, if EXPR is listed, and if EXPR and NONE are */
  } rows[] = {
      {"SCRAM-SHA-256", NULL, "HT-SHA-256-NONE"},
      {"PLAIN\x1ESCRAM-SHA-1", NULL, "HT-SHA-256-NONE"},
      {"SCRAM-SHA-256\x1ESCRAM-SHA-256-PLUS", "HT-SHA-256-EXPR", "HT-SHA-256-EXPR"},
      {"SCRAM-SHA-256\x1F" "tls-exporter", "HT-SHA-256-EXPR", "HT-SHA-256-EXPR"},
  };
  xm_mech_policy policy = policy_of(ALL, &channel);
  size_t i;
  int fronted;
  (void)unused;
  policy.allowed |= token_bit(0) | token_bit(3);
  for (i = 0; i < sizeof rows / sizeof *rows; i++)
    for (fronted = 0; fronted < 2; fronted++) {
      const char *bound = fronted ? rows[i].bound : token_names[0], *unbound = fronted ? rows[i].unbound : token_names[0];
      const xm_mech *got;
      xm_mech_offer offer;
      policy.fronted = fronted;
      xm_mech_offer_read(&offer, rows[i].offer, strlen(rows[i].offer));
      got = xm_mech_for_token(token_bit(0), &policy, &offer);
      if (bound) assert_string_equal(got ? got->name : "none", bound);
      else assert_null(got);
      got = xm_mech_for_token(token_bit(0) | token_bit(3), &policy, &offer);
      assert_string_equal(got ? got->name : "none", unbound);
    }
}

/* A token's mechanism isn't chosen for a password, and is only allowed if no mechanisms are named, or if it is
 * named. */
static void test_tokens_are_no_passwords(void **unused) {
  const xm_mech_channel channel = {.version = 0x0304, .bindings = {{32, ""}, {32, ""}, {32, ""}}};
  const char *unknown;
  size_t n, i;
  (void)unused;
  for (i = 0; i < 4; i++) {
    xm_mech_policy policy = policy_of(~0u, &channel);
    xm_mech_offer offer = {0};
    xm_mech_choice choice;
    xm_mech_offer_add(&offer, token_names[i], strlen(token_names[i]));
    assert_int_equal(xm_mech_choose(&offer, &policy, &choice, NULL), XM_EFAIL);
    assert_false(xm_mech_choose_token("SCRAM-SHA-1", ~0u, &policy, &choice));
    assert_false(xm_mech_choose_token("", ~0u, &policy, &choice));
    assert_int_equal(xm_mech_allowed(token_names[i], &unknown, &n), token_bit((int)i));
    assert_null(unknown);
    assert_int_equal(!!(xm_mech_allowed(NULL, &unknown, &n) & token_bit((int)i)), i < 2); /* EXPR, UNIQ */
    assert_false(xm_mech_allowed("PLAIN", &unknown, &n) & token_bit((int)i));
  }
  {
    xm_mech_policy policy = policy_of(ANONYMOUS | token_bit(0), &channel); /* ANONYMOUS, and a token's */
    xm_mech_offer offer = {0};
    xm_mech_choice choice;
    offer_bits(&offer, ALL, false);
    assert_int_equal(xm_mech_choose(&offer, &policy, &choice, NULL), XM_OK);
    assert_string_equal(choice.mech->name, "ANONYMOUS");
  }
}

static void test_what_is_stronger(void **unused) {
  static const struct {
    const char *a;
    char flag;
    const char *b;
    char other;
    bool stronger;
  } rows[] = {
      {"SCRAM-SHA-1", 'y', "PLAIN", 'n', true},
      {"PLAIN", 'n', "SCRAM-SHA-1", 'y', false},
      {"PLAIN", 'n', "PLAIN", 'n', false},
      {"SCRAM-SHA-512", 'y', "SCRAM-SHA-1", 'y', false}, /* only the hash is another */
      {"SCRAM-SHA-1", 'y', "SCRAM-SHA-512", 'y', false},
      {"SCRAM-SHA-1-PLUS", 'p', "SCRAM-SHA-512", 'y', true},
      {"SCRAM-SHA-512", 'y', "SCRAM-SHA-1-PLUS", 'p', false},
      {"SCRAM-SHA-512-PLUS", 'p', "SCRAM-SHA-1-PLUS", 'p', false},
      {"SCRAM-SHA-1-PLUS", 'p', "PLAIN", 'n', true},
      {"EXTERNAL", 'n', "SCRAM-SHA-1-PLUS", 'p', true},
      {"SCRAM-SHA-1-PLUS", 'p', "EXTERNAL", 'n', false},
      {"EXTERNAL", 'n', "EXTERNAL", 'n', false},
      {"PLAIN", 'n', "ANONYMOUS", 'n', true},
  };
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    const xm_mech_channel channel = {.version = 0x0304, .bindings = {{32, ""}}};
    const char *const both[] = {rows[i].a, rows[i].b};
    const char flags[] = {rows[i].flag, rows[i].other};
    xm_mech_choice choices[2];
    int k;
    for (k = 0; k < 2; k++) {
      xm_mech_policy policy = policy_of(ALL, &channel);
      xm_mech_offer offer = {0};
      policy.certificate = true;
      policy.username = strcmp(both[k], "ANONYMOUS") != 0;
      xm_mech_offer_add(&offer, both[k], strlen(both[k]));
      assert_int_equal(xm_mech_choose(&offer, &policy, &choices[k], NULL), XM_OK);
      assert_int_equal(choices[k].flag, flags[k]);
    }
    if (xm_mech_is_stronger(&choices[0], &choices[1]) != rows[i].stronger) fail_msg("%s, %s", rows[i].a, rows[i].b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_choice),     cmocka_unit_test(test_what_the_client_has),
      cmocka_unit_test(test_flag_behind_a_tls_front),
      cmocka_unit_test(test_token_behind_a_tls_front),
      cmocka_unit_test(test_refusals_say_why), cmocka_unit_test(test_truth_table),
      cmocka_unit_test(test_what_becomes_of_a_changed_offer),
      cmocka_unit_test(test_text_of_an_offer), cmocka_unit_test(test_texts_read_back),
      cmocka_unit_test(test_long_offers),      cmocka_unit_test(test_allow_lists),
      cmocka_unit_test(test_strange_offers),   cmocka_unit_test(test_offers_that_just_fit),
      cmocka_unit_test(test_names_of_mechanisms_for_tokens),
      cmocka_unit_test(test_every_token),      cmocka_unit_test(test_tokens_are_no_passwords),
      cmocka_unit_test(test_what_is_stronger),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
