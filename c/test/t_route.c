/* route: a table of 2,100 rows of which response answers which request, compared with the rule as a table of its own;
 * pending requests, open questions; a heap that fails at every place. */
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

#include "ns.h"

#include "failing.h"

/* How many steps were taken along chains: each entry there is compared by memcmp. */
static unsigned long steps;
static int count_memcmp(const void *a, const void *b, size_t n) {
  steps++;
  return memcmp(a, b, n);
}
#define memcmp count_memcmp

#include "../core/table.c"
#include "../core/spelled.c"
#include "../core/route.c"

#undef memcmp

#include "failing_off.h"

#define SELF "alice@xmpp.example/here"

static xm_jid jid_of(const char *s) {
  const char *reason;
  xm_jid j;
  assert_int_equal(xm_jid_parse(&j, s, strlen(s), &reason), XM_OK);
  return j;
}

static xm_route *new_route(const char *self) {
  xm_route *r = xm_route_new(XM_NS_CLIENT);
  xm_jid j = jid_of(self);
  assert_non_null(r);
  assert_int_equal(xm_route_set_self(r, &j), XM_OK);
  return r;
}

/* A stanza for a test; NULL: it hasn't that. */
typedef struct said {
  const char *ns, *name, *type, *id, *from, *to, *child_ns;
} said;

static xm_tape *tape_of(const said *s) {
  static xm_tape t;
  const char *const keys[] = {"type", "id", "from", "to"}, *const values[] = {s->type, s->id, s->from, s->to};
  const char *ns = s->ns ? s->ns : XM_NS_CLIENT;
  int i, rc = xm_tape_reset(&t, XM_NS_CLIENT);
  rc |= xm_tape_open(&t, ns, strlen(ns), s->name, strlen(s->name));
  for (i = 0; i < 4; i++)
    if (values[i]) rc |= xm_tape_attr(&t, "", 0, keys[i], strlen(keys[i]), values[i], strlen(values[i]));
  rc |= xm_tape_text(&t, "text", 4);
  if (s->child_ns) rc |= xm_tape_open(&t, s->child_ns, strlen(s->child_ns), "x", 1) | xm_tape_close(&t);
  rc |= xm_tape_close(&t);
  assert_int_equal(rc, XM_OK);
  return &t;
}

static int drop_tape(void **state) {
  const said nothing = {.name = "iq"};
  (void)state;
  xm_tape_free(tape_of(&nothing));
  return 0;
}

static int owner;

static xm_pending *await(xm_route *r, const char *name, const char *id, const char *to, const char *sent_from) {
  xm_route_request q = {.name = name, .id = id, .id_len = strlen(id), .to = to, .sent_from = sent_from};
  xm_pending *p = NULL;
  if (to) q.to_len = strlen(to);
  if (sent_from) q.sent_from_len = strlen(sent_from);
  assert_int_equal(xm_route_await(r, &q, &owner, &p), XM_OK);
  assert_non_null(p);
  return p;
}

/* Does it answer the pending iq? If so, none is pending any more; else it still is. */
static bool answers_to(xm_route *r, const said *s) {
  const xm_tape *t = tape_of(s);
  bool claimed = xm_route_claim(r, t) == &owner;
  assert_int_equal(xm_route_waiting(r), !claimed);
  assert_null(xm_route_claim(r, tape_of(&(said){.name = "iq", .type = "result"})));
  return claimed;
}

/* Addresses, by a letter: B, F, D our own bare JID, full JID and domain; f our other resource; others, and
 * look-alikes. */
static const struct address {
  char letter;
  const char *spelled;
} addresses[] = {{'-', NULL},
                 {'B', "alice@xmpp.example"},
                 {'F', SELF},
                 {'D', "xmpp.example"},
                 {'f', "alice@xmpp.example/there"},
                 {'b', "bob@other.example"},
                 {'e', "eve@evil.example/x"},
                 {'r', "bob@other.example/r"},
                 {'F', "Alice@XMPP.Example./here"},
                 {'d', "xmpp.example/x"}};

/* The rule: for each address that was asked (the first seven), from which the answer may come. */
static const char *const may_come_from[] = {"-BFD", "-BF", "-F", "-D", "f", "b", "e"};

static void who_was_asked_answers(void **state) {
  static const char *const names[] = {"iq", "message", "presence"},
                           *const types[] = {"result", "error", "get", "set", NULL}, *const ids[] = {"id-1", "id-2"};
  xm_route *r = new_route(SELF);
  unsigned to, from, name, type, id, rows = 0, right = 0;
  (void)state;
  for (to = 0; to < 7; to++)
    for (from = 0; from < 10; from++)
      for (name = 0; name < 3; name++)
        for (type = 0; type < 5; type++)
          for (id = 0; id < 2; id++) {
            const said s = {.name = names[name], .type = types[type], .id = ids[id], .from = addresses[from].spelled};
            bool want = id == 0 && name == 0 && type < 2 && strchr(may_come_from[to], addresses[from].letter);
            xm_pending *p = await(r, "iq", "id-1", addresses[to].spelled, NULL);
            bool claimed = answers_to(r, &s);
            if (claimed != want)
              fail_msg("asked %s, from %s: <%s type='%s' id='%s'>", addresses[to].spelled, s.from, s.name, s.type,
                       s.id);
            if (!claimed) xm_route_forget(r, p);
            rows++;
            right += want;
          }
  assert_int_equal(rows, 2100);
  assert_int_equal(right, 2 * (5 + 4 + 3 + 2 + 1 + 1 + 1)); /* F is there in two spellings */
  xm_route_free(r);
}

/* Other requests are answered by a stanza of the same name, and of any type. */
static void messages_and_presences_are_answered_by_their_like(void **state) {
  static const char *const names[] = {"message", "presence"}, *const types[] = {"error", "chat", "result", NULL};
  xm_route *r = new_route(SELF);
  unsigned i, k;
  (void)state;
  for (i = 0; i < 2; i++) {
    for (k = 0; k < 4; k++) {
      xm_pending *p = await(r, names[i], "1", "bob@other.example", NULL);
      assert_false(answers_to(r, &(said){.name = names[!i], .type = types[k], .id = "1", .from = "bob@other.example"}));
      assert_false(answers_to(r, &(said){.name = "iq", .type = "result", .id = "1", .from = "bob@other.example"}));
      assert_false(answers_to(r, &(said){.name = names[i], .type = types[k], .id = "1"}));
      assert_true(answers_to(r, &(said){.name = names[i], .type = types[k], .id = "1", .from = "bob@other.example"}));
      (void)p;
    }
  }
  xm_route_free(r);
}

static void other_namespaces_and_ids_answer_nothing(void **state) {
  xm_route *r = new_route(SELF);
  (void)state;
  await(r, "iq", "Id", NULL, NULL);
  assert_false(answers_to(r, &(said){.ns = "urn:x", .name = "iq", .type = "result", .id = "Id"}));
  assert_false(answers_to(r, &(said){.ns = "", .name = "iq", .type = "result", .id = "Id"}));
  assert_false(answers_to(r, &(said){.ns = "jabber:server", .name = "iq", .type = "result", .id = "Id"}));
  assert_false(answers_to(r, &(said){.name = "iq", .type = "result", .id = "id"}));
  assert_false(answers_to(r, &(said){.name = "iq", .type = "result", .id = "I"}));
  assert_false(answers_to(r, &(said){.name = "iq", .type = "result", .id = "Id "}));
  assert_false(answers_to(r, &(said){.name = "iq", .type = "result", .id = ""}));
  assert_false(answers_to(r, &(said){.name = "iq", .type = "result"}));
  assert_false(answers_to(r, &(said){.name = "iq", .type = "results", .id = "Id"}));
  assert_true(answers_to(r, &(said){.name = "iq", .type = "result", .id = "Id"}));
  xm_route_free(r);
}

static bool fits_one(const char *self, const char *to, const char *from) {
  xm_route *r = new_route(self);
  bool answered;
  await(r, "iq", "1", to, NULL);
  answered = answers_to(r, &(said){.name = "iq", .type = "result", .id = "1", .from = from});
  xm_route_free(r);
  return answered;
}

/* Any spelling of an address matches that is the same after preparation; a resourcepart has only one spelling. */
static void addresses_are_compared_as_prepared(void **state) {
  (void)state;
  assert_true(fits_one(SELF, "Bob@OTHER.example/R", "bob@other.example/R"));
  assert_true(fits_one(SELF, "bob@other.example/R", "BOB@other.example/R"));
  assert_false(fits_one(SELF, "bob@other.example/R", "bob@other.example/r"));
  assert_true(fits_one(SELF, "m\xC3\xBCller.example", "xn--mller-kva.example"));
  assert_true(fits_one(SELF, "xn--mller-kva.example", "M\xC3\x9CLLER.example"));
  assert_true(fits_one(SELF, "a@b.example/\xC3\xA9", "a@b.example/e\xCC\x81")); /* NFC */
  assert_true(fits_one(SELF, "ALICE@xmpp.example", NULL));
  assert_true(fits_one(SELF, "ALICE@xmpp.example/here", NULL));
  assert_false(fits_one(SELF, "alice@xmpp.example/HERE", NULL));
  assert_false(fits_one(SELF, "bob@other.example", "bob@other.example\xC2\xAD/x"));
  assert_true(fits_one(SELF, "not@a@jid@", "not@a@jid@")); /* an invalid address is compared byte for byte */
  assert_false(fits_one(SELF, "not@a@jid@", "Not@a@jid@"));
}

/* A server that prepares by other rules may have bound another spelling. */
static void our_own_address_may_have_another_spelling(void **state) {
  xm_route *r = xm_route_new(XM_NS_CLIENT);
  xm_jid bound = {.local_len = 5, .domain_len = 12, .resource_len = 4, .str = "Alice@XMPP.example/here"};
  const char *const own[] = {"alice@xmpp.example", "Alice@XMPP.example", SELF, "Alice@XMPP.example/here",
                             "xmpp.example"};
  size_t i;
  (void)state;
  assert_int_equal(xm_route_set_self(r, &bound), XM_OK);
  for (i = 0; i < 5; i++) {
    await(r, "iq", "1", NULL, NULL);
    assert_true(answers_to(r, &(said){.name = "iq", .type = "error", .id = "1", .from = own[i]}));
    await(r, "iq", "1", own[i], NULL);
    assert_true(answers_to(r, &(said){.name = "iq", .type = "error", .id = "1"}));
  }
  xm_route_free(r);
}

/* Before our address is known, only an answer without `from` is from our account. */
static void before_binding_only_an_answer_without_from_is_ours(void **state) {
  xm_route *r = xm_route_new(XM_NS_CLIENT);
  (void)state;
  await(r, "iq", "1", NULL, NULL);
  assert_false(answers_to(r, &(said){.name = "iq", .type = "result", .id = "1", .from = "xmpp.example"}));
  assert_true(answers_to(r, &(said){.name = "iq", .type = "result", .id = "1"}));
  xm_route_free(r);
}

static void a_component_is_answered_where_it_asked_from(void **state) {
  xm_route *r = new_route("echo.example");
  const said good = {.name = "iq", .type = "result", .id = "1", .from = "bob@other.example", .to = "a@echo.example"};
  said bad = good;
  (void)state;
  await(r, "iq", "1", "bob@other.example", "A@echo.example");
  bad.to = "b@echo.example";
  assert_false(answers_to(r, &bad));
  bad.to = "echo.example";
  assert_false(answers_to(r, &bad));
  bad.to = NULL;
  assert_false(answers_to(r, &bad));
  bad = good;
  bad.from = NULL;
  assert_false(answers_to(r, &bad));
  assert_true(answers_to(r, &good));
  await(r, "iq", "1", "echo.example", "echo.example");
  assert_true(answers_to(r, &(said){.name = "iq", .type = "result", .id = "1", .to = "echo.example"}));
  xm_route_free(r);
}

static void an_id_can_be_awaited_once(void **state) {
  xm_route *r = new_route(SELF);
  xm_route_request q = {.name = "message", .id = "1", .id_len = 1};
  xm_pending *p = await(r, "iq", "1", NULL, NULL), *other = NULL;
  (void)state;
  assert_int_equal(xm_route_await(r, &q, &owner, &other), XM_EINVAL);
  assert_null(other);
  assert_int_equal(xm_route_waiting(r), 1);
  xm_route_forget(r, p);
  xm_route_forget(r, NULL);
  assert_int_equal(xm_route_waiting(r), 0);
  assert_int_equal(xm_route_await(r, &q, &owner, &other), XM_OK);
  xm_route_free(r);
}

/* A server that prepares by RFC 6122 answers with its own spelling of the address; one that only looks alike doesn't
 * count. */
static void an_answer_may_have_the_servers_spelling(void **state) {
  static const struct {
    const char *asked, *arrived;
    bool fits;
  } rows[] = {{"straße@d.example", "strasse@d.example", true},
              {"STRAßE@d.example/x", "strasse@d.example/x", true},
              {"σίσυφος@d.example", "σίσυφοσ@d.example", true},
              {"\uFB01sh@d.example", "fish@d.example", true},
              {"room@d.example/\u2764\uFE0F", "room@d.example/\u2764", true},
              {"room@d.example/\uFB01", "room@d.example/fi", true},
              {"room@d.example/so\u00ADft", "room@d.example/soft", true},
              {"straße@d.example", "straße@d.example", true},
              {"strasse@d.example", "straße@d.example", false}, /* a server that means the first never writes this */
              {"fish@d.example", "\uFB01sh@d.example", false},
              {"room@d.example/\u2764", "room@d.example/\u2764\uFE0F", false},
              {"straße@d.example", "strase@d.example", false},
              {"straße@d.example", "strasse@e.example", false},
              {"straße@d.example/r", "strasse@d.example", false},
              {"straße@d.example", "strasse@d.example/r", false},
              {"x@straße.example", "x@strasse.example", false}, /* another domain (IDNA2008) */
              {"room@d.example/ß", "room@d.example/ss", false}, /* Resourceprep doesn't fold case */
              {"paypal@d.example", "p\u0430ypal@d.example", false},
              {"p\u0430ypal@d.example", "paypal@d.example", false},
              {"a@d.example/\u202Er", "a@d.example/r", false},
              {"a\u00A0b@d.example", "a b@d.example", false}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++)
    if (fits_one(SELF, rows[i].asked, rows[i].arrived) != rows[i].fits)
      fail_msg("%s answered by %s", rows[i].asked, rows[i].arrived);
  assert_true(fits_one("strasse@d.example/x", "straße@d.example", NULL)); /* our own, as our server spells it */
  assert_false(fits_one("straße@d.example/x", "strasse@d.example", NULL));
}

/* A gateway's users choose their ids, and two may choose the same. */
static void an_id_can_be_awaited_once_for_each_address(void **state) {
  xm_route *r = new_route("echo.example");
  static int owners[3];
  xm_route_request q = {.name = "iq", .id = "1", .id_len = 1, .to = "bob@d", .to_len = 5};
  said s = {.name = "iq", .type = "result", .id = "1", .from = "bob@d"};
  static const char *const own[] = {"a@echo.example", "straße@echo.example", "echo.example"},
                           *const arrived[] = {"A@echo.example", "strasse@echo.example", "echo.example"};
  xm_pending *p;
  int i;
  (void)state;
  for (i = 0; i < 3; i++) {
    q.sent_from = own[i];
    q.sent_from_len = strlen(own[i]);
    assert_int_equal(xm_route_await(r, &q, &owners[i], &p), XM_OK);
    assert_int_equal(xm_route_await(r, &q, &owners[i], &p), XM_EINVAL);
  }
  s.from = "eve@d";
  s.to = own[0];
  assert_null(xm_route_claim(r, tape_of(&s))); /* who may answer hasn't changed */
  s.from = "bob@d";
  s.to = "b@echo.example";
  assert_null(xm_route_claim(r, tape_of(&s)));
  for (i = 2; i >= 0; i--) {
    s.to = arrived[i];
    assert_ptr_equal(xm_route_claim(r, tape_of(&s)), &owners[i]);
    assert_null(xm_route_claim(r, tape_of(&s)));
  }
  assert_int_equal(xm_route_waiting(r), 0);
  xm_route_free(r);
}

/* Each of many is found, in any order, and with its own owner. */
static void many_wait(void **state) {
  enum { MANY = 5000 };
  static int owners[MANY];
  static xm_pending *waiting[MANY];
  xm_route *r = new_route(SELF);
  char id[16];
  int i, k;
  (void)state;
  for (i = 0; i < MANY; i++) {
    xm_route_request q = {.name = "iq", .id = id, .id_len = (size_t)sprintf(id, "%d", i)};
    assert_int_equal(xm_route_await(r, &q, &owners[i], &waiting[i]), XM_OK);
  }
  for (i = 0; i < MANY; i++) {
    k = (int)((unsigned)i * 2654435761u % MANY); /* a pseudo-random order, with some twice */
    sprintf(id, "%d", k);
    if (!waiting[k]) continue;
    if (i % 3 == 0) {
      xm_route_forget(r, waiting[k]);
    } else {
      assert_ptr_equal(xm_route_claim(r, tape_of(&(said){.name = "iq", .type = "result", .id = id})), &owners[k]);
    }
    waiting[k] = NULL;
    assert_null(xm_route_claim(r, tape_of(&(said){.name = "iq", .type = "result", .id = id})));
  }
  for (i = 0, k = 0; i < MANY; i++) k += waiting[i] != NULL;
  assert_int_equal(xm_route_waiting(r), k);
  xm_route_free(r); /* together with those that are still pending */
}

/* A burst of requests. */
enum { WAVE = 100000, FEW = 5 };
static xm_pending *wave[WAVE];

static void await_one(xm_route *r, int i) {
  char id[16];
  xm_route_request q = {.name = "iq", .id = id, .id_len = (size_t)sprintf(id, "%d", i)};
  assert_int_equal(xm_route_await(r, &q, &wave[i], &wave[i]), XM_OK);
}

static void await_all(xm_route *r, int from) {
  for (; from < WAVE; from++) await_one(r, from);
}

/* Each of the few that are left is found. */
static void check_few(xm_route *r) {
  char id[16];
  int i;
  for (i = 0; i < FEW; i++) {
    sprintf(id, "%d", i);
    assert_ptr_equal(xm_route_claim(r, tape_of(&(said){.name = "iq", .type = "result", .id = id})), &wave[i]);
    await_one(r, i);
  }
}

static void waiting_requests_are_freed_with_the_table(void **state) {
  long before = heap.live;
  xm_route *r = new_route(SELF);
  (void)state;
  await_all(r, 0);
  xm_route_free(r);
  assert_int_equal(heap.live, before);
}

static void the_table_shrinks(void **state) {
  xm_route *r = new_route(SELF);
  int i;
  (void)state;
  await_all(r, 0);
  for (i = WAVE - 1; i >= FEW; i--) {
    xm_route_forget(r, wave[i]);
    assert_true(r->pending.cap <= USUAL_BUCKETS || r->pending.cap <= 8 * r->pending.n);
  }
  assert_int_equal(r->pending.cap, USUAL_BUCKETS / 2);
  check_few(r);
  xm_route_free(r);
}

/* A few requests more or less at the size where the table shrinks don't make it shrink and grow all the time. */
static void the_table_does_not_shrink_and_grow_all_the_time(void **state) {
  xm_route *r = new_route(SELF);
  size_t cap;
  int i, n, turns = 0;
  (void)state;
  await_all(r, 0);
  for (n = WAVE - 1; n >= FEW; n--) {
    cap = r->pending.cap;
    xm_route_forget(r, wave[n]);
    if (r->pending.cap == cap) continue;
    cap = r->pending.cap;
    for (i = 0; i < 3; i++) await_one(r, n + i);
    assert_int_equal(r->pending.cap, cap);
    for (i = 0; i < 3; i++) xm_route_forget(r, wave[n + i]);
    assert_int_equal(r->pending.cap, cap);
    turns++;
  }
  assert_int_equal(turns, 4);
  xm_route_free(r);
}

static void without_memory_a_table_stays_as_it_is(void **state) {
  xm_route *r = new_route(SELF);
  size_t cap;
  int i;
  (void)state;
  await_all(r, 0);
  cap = r->pending.cap;
  heap_fails(0, true);
  for (i = WAVE - 1; i > FEW; i--) xm_route_forget(r, wave[i]);
  assert_true(heap_is_well());
  assert_int_equal(r->pending.cap, cap);
  xm_route_forget(r, wave[FEW]);
  assert_int_equal(r->pending.cap, cap / 4);
  check_few(r);
  xm_route_free(r);
}

/* Open questions: received iqs that must be answered. */

/* The program has answered `to`, from `own` (NULL: it didn't say). */
static void answered(xm_route *r, xm_question *likely, const char *to, const char *own, const char *id) {
  xm_route_request a = {.id = id, .id_len = strlen(id), .to = to, .sent_from = own};
  if (to) a.to_len = strlen(to);
  if (own) a.sent_from_len = strlen(own);
  xm_route_answered(r, likely, &a);
}

/* The same asker and id, to two of our addresses: the answer's `from` says which question was answered. */
static void a_question_belongs_to_one_of_our_addresses(void **state) {
  static const char asker[] = "bob@other.example/r";
  xm_route *r = new_route("echo.example");
  xm_question *a = xm_route_ask(r, asker, "a@echo.example", "1"), *b = xm_route_ask(r, asker, "b@echo.example", "1");
  (void)state;
  assert_ptr_equal(xm_route_question(r, NULL, asker, "a@echo.example", "1"), a);
  assert_ptr_equal(xm_route_question(r, NULL, asker, "b@echo.example", "1"), b);
  assert_null(xm_route_question(r, NULL, asker, "c@echo.example", "1"));
  answered(r, NULL, asker, "c@echo.example", "1");
  answered(r, NULL, asker, NULL, "1");
  answered(r, a, asker, "B@echo.example", "1"); /* the likely question isn't meant if another address is named */
  assert_ptr_equal(xm_route_question(r, NULL, asker, "a@echo.example", "1"), a);
  assert_null(xm_route_question(r, NULL, asker, "b@echo.example", "1"));
  assert_false(xm_question_release(r, b));
  assert_true(xm_question_release(r, a));
  xm_question_free(a);
  xm_route_free(r);
}

/* The same question several times: an answer is to the one whose call is running, else to the oldest, until all are
 * answered. */
static void of_equal_questions_the_running_or_oldest_is_answered(void **state) {
  static const char asker[] = "bob@other.example/r";
  enum { MANY = 5 };
  xm_question *q[MANY];
  xm_route *r = new_route(SELF);
  int i;
  (void)state;
  for (i = 0; i < MANY; i++) q[i] = xm_route_ask(r, asker, NULL, "1");
  assert_ptr_equal(xm_route_question(r, NULL, asker, NULL, "1"), q[0]);
  assert_ptr_equal(xm_route_question(r, q[3], asker, NULL, "1"), q[3]);
  assert_null(xm_route_question(r, q[3], asker, NULL, "2"));
  answered(r, q[3], asker, NULL, "1");
  assert_ptr_equal(xm_route_question(r, q[3], asker, NULL, "1"), q[0]); /* that one has been answered */
  answered(r, q[3], asker, NULL, "1");                                  /* so this is the oldest */
  assert_ptr_equal(xm_route_question(r, NULL, asker, NULL, "1"), q[1]);
  assert_false(xm_question_release(r, q[0]));
  assert_false(xm_question_release(r, q[3]));
  assert_true(xm_question_release(r, q[2]));
  assert_true(xm_question_release(r, q[4]));
  assert_ptr_equal(xm_route_question(r, NULL, asker, NULL, "1"), q[1]);
  answered(r, NULL, asker, NULL, "1");
  assert_null(xm_route_question(r, NULL, asker, NULL, "1"));
  assert_false(xm_question_release(r, q[1]));
  xm_question_free(q[2]);
  xm_question_free(q[4]);
  xm_route_free(r);
}

/* A stranger asks the same again and again, or with one id from many addresses, or with many ids: each question is
 * found, answered and released in a number of steps that doesn't grow, in any order. Steps are counted, since time
 * depends on what else runs. */
static void many_questions_cost_no_more_each(void **state) {
  enum { MANY = 20000 };
  static xm_question *q[MANY];
  static char from[MANY][32], id[MANY][16];
  int kind, order, i;
  (void)state;
  for (kind = 0; kind < 4; kind++)
    for (order = 0; order < 3; order++) {
      xm_route *r = new_route("echo.example");
      steps = 0;
      for (i = 0; i < MANY; i++) {
        sprintf(from[i], "bob@other.example/%d", kind == 1 ? i : 0);
        sprintf(id[i], "%d", kind == 2 ? i : 0);
        q[i] = xm_route_ask(r, from[i], kind == 3 && i % 2 ? "a@echo.example" : "echo.example", id[i]);
        assert_non_null(q[i]);
      }
      for (i = 0; i < MANY; i++) {
        int k = order == 0 ? i : order == 1 ? MANY - 1 - i : (int)((unsigned)i * 7919u % MANY);
        const char *own = xm_question_to(q[k]);
        assert_ptr_equal(xm_route_question(r, q[k], from[k], own, id[k]), q[k]);
        if (i % 2) answered(r, q[k], from[k], own, id[k]);
        assert_int_equal(xm_question_release(r, q[k]), i % 2 == 0);
        if (i % 2 == 0) xm_question_free(q[k]);
      }
      assert_int_equal(r->questions.n, 0);
      if (steps > 12 * MANY) fail_msg("kind %d, order %d: %lu steps for %d", kind, order, steps, MANY);
      xm_route_free(r);
    }
}

/* Any questions, the same and different ones, answered and released in any order, compared with a plain list. */
static void questions_behave_like_a_plain_list(void **state) {
  static const char *const askers[] = {"a@x/r", "b@x/r", NULL},
                           *const owns[] = {"echo.example", "u@echo.example", NULL}, *const ids[] = {"1", "2"};
  enum { MOST = 64 };
  struct {
    xm_question *q;
    const char *from, *to, *id;
    bool answered;
  } list[MOST];
  unsigned n = 0, i, k, round, seed = 1;
  xm_route *r = new_route("echo.example");
  (void)state;
  for (round = 0; round < 100000; round++) {
    seed = seed * 1103515245u + 12345u;
    k = seed >> 16;
    if (n < MOST && k % 3 == 0) {
      list[n].from = askers[k / 3 % 3], list[n].to = owns[k / 9 % 3], list[n].id = ids[k / 27 % 2];
      list[n].answered = false;
      list[n].q = xm_route_ask(r, list[n].from, list[n].to, list[n].id);
      n++;
    } else if (n && k % 3 == 1) {
      unsigned w = k / 3 % n;
      for (i = 0; i < n; i++) /* the oldest that matches */
        if (!list[i].answered && list[i].from == list[w].from && list[i].to == list[w].to && list[i].id == list[w].id)
          break;
      assert_ptr_equal(xm_route_question(r, NULL, list[w].from, list[w].to, list[w].id), i < n ? list[i].q : NULL);
      answered(r, NULL, list[w].from, list[w].to, list[w].id);
      if (i < n) list[i].answered = true;
    } else if (n) {
      unsigned w = k / 3 % n;
      assert_int_equal(xm_question_release(r, list[w].q), !list[w].answered);
      if (!list[w].answered) xm_question_free(list[w].q);
      memmove(&list[w], &list[w + 1], (--n - w) * sizeof *list);
    }
  }
  while (n--)
    if (xm_question_release(r, list[n].q)) xm_question_free(list[n].q);
  assert_int_equal(r->questions.n, 0);
  xm_route_free(r);
}

static void a_question_nobody_answers_comes_back(void **state) {
  xm_route *r = new_route(SELF);
  xm_question *q = xm_route_ask(r, "bob@other.example/r", "me@x", "1");
  (void)state;
  assert_ptr_equal(xm_route_question(r, NULL, "bob@other.example/r", "me@x", "1"), q);
  assert_null(xm_route_question(r, NULL, "bob@other.example", "me@x", "1"));
  assert_null(xm_route_question(r, NULL, NULL, "me@x", "1"));
  assert_null(xm_route_question(r, NULL, "bob@other.example/r", NULL, "1"));
  xm_question_hold(q);
  xm_question_hold(q);
  assert_false(xm_question_release(r, q));
  assert_false(xm_question_release(r, q));
  assert_true(xm_question_release(r, q));
  assert_string_equal(xm_question_from(q), "bob@other.example/r");
  assert_string_equal(xm_question_to(q), "me@x");
  assert_string_equal(xm_question_id(q), "1");
  assert_null(xm_route_question(r, NULL, "bob@other.example/r", "me@x", "1"));
  xm_question_free(q);
  xm_route_free(r);
}

static void an_answered_question_is_over(void **state) {
  xm_route *r = new_route(SELF);
  xm_question *a = xm_route_ask(r, "bob@other.example/r", NULL, "1"), *b = xm_route_ask(r, NULL, NULL, "1");
  xm_question *c = xm_route_ask(r, "eve@evil.example/x", NULL, "1"), *d = xm_route_ask(r, NULL, NULL, NULL);
  (void)state;
  answered(r, NULL, "bob@other.example/r", NULL, "2");
  answered(r, NULL, "bob@other.example", NULL, "1");
  assert_ptr_equal(xm_route_question(r, NULL, "bob@other.example/r", NULL, "1"), a);
  answered(r, NULL, "BOB@other.example/r", NULL, "1");
  answered(r, NULL, NULL, NULL, "1");
  assert_null(xm_route_question(r, NULL, "bob@other.example/r", NULL, "1"));
  assert_null(xm_route_question(r, NULL, NULL, NULL, "1"));
  assert_ptr_equal(xm_route_question(r, NULL, "eve@evil.example/x", NULL, "1"), c);
  assert_ptr_equal(xm_route_question(r, NULL, NULL, NULL, NULL), d);
  assert_false(xm_question_release(r, a));
  assert_false(xm_question_release(r, b));
  assert_true(xm_question_release(r, c));
  xm_question_free(c);
  xm_route_free(r);
  assert_false(xm_question_release(NULL, d)); /* the route is gone, so the question is freed, and nothing is answered */
}

/* Memory that runs out. */

static bool all_of_it(xm_route *r) {
  xm_route_request q = {
      .name = "iq", .id = "1", .id_len = 1, .to = "Bob@x", .to_len = 5, .sent_from = "me", .sent_from_len = 2};
  xm_pending *p;
  xm_question *question;
  int rc = xm_route_await(r, &q, &owner, &p);
  assert_int_equal(xm_route_waiting(r), rc == XM_OK);
  if (rc < 0) return assert_int_equal(rc, XM_ENOMEM), false;
  question = xm_route_ask(r, "bob@x", "me", "1");
  if (!question) return false;
  answered(r, NULL, "Bob@x", NULL, "1");
  if (xm_question_release(r, question)) xm_question_free(question);
  return true;
}

static void memory_that_runs_out_is_told(void **state) {
  const xm_jid self = jid_of(SELF);
  long n = 0, before = heap.live;
  bool failed;
  (void)state;
  do {
    xm_route *r;
    heap_fails(n++, false);
    r = xm_route_new(XM_NS_CLIENT);
    if (r && xm_route_set_self(r, &self) == XM_OK) all_of_it(r);
    failed = heap_is_well();
    xm_route_free(r);
    assert_int_equal(heap.live, before);
  } while (failed);
  assert_true(n > 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_was_asked_answers),
      cmocka_unit_test(messages_and_presences_are_answered_by_their_like),
      cmocka_unit_test(other_namespaces_and_ids_answer_nothing),
      cmocka_unit_test(addresses_are_compared_as_prepared),
      cmocka_unit_test(our_own_address_may_have_another_spelling),
      cmocka_unit_test(before_binding_only_an_answer_without_from_is_ours),
      cmocka_unit_test(a_component_is_answered_where_it_asked_from),
      cmocka_unit_test(an_id_can_be_awaited_once),
      cmocka_unit_test(many_wait),
      cmocka_unit_test(waiting_requests_are_freed_with_the_table),
      cmocka_unit_test(the_table_shrinks),
      cmocka_unit_test(the_table_does_not_shrink_and_grow_all_the_time),
      cmocka_unit_test(without_memory_a_table_stays_as_it_is),
      cmocka_unit_test(a_question_nobody_answers_comes_back),
      cmocka_unit_test(an_answered_question_is_over),
      cmocka_unit_test(a_question_belongs_to_one_of_our_addresses),
      cmocka_unit_test(of_equal_questions_the_running_or_oldest_is_answered),
      cmocka_unit_test(many_questions_cost_no_more_each),
      cmocka_unit_test(questions_behave_like_a_plain_list),
      cmocka_unit_test(an_answer_may_have_the_servers_spelling),
      cmocka_unit_test(an_id_can_be_awaited_once_for_each_address),
      cmocka_unit_test(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, drop_tape);
}
