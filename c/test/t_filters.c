/* filters: which filters match a stanza, by a rule for each property and compared with a naive implementation; filters
 * that are added and removed; what matching costs, counted in comparisons instead of time; a heap that fails at every
 * place. */
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

/* Counts comparisons: one for each word that is found by its hash, and one for the name of each filter that is
 * examined. */
static unsigned long steps;
static int count_memcmp(const void *a, const void *b, size_t n) {
  steps++;
  return memcmp(a, b, n);
}
static int count_strcmp(const char *a, const char *b) {
  steps++;
  return strcmp(a, b);
}
#define memcmp count_memcmp
#undef strcmp
#define strcmp count_strcmp

#include "../core/table.c"
#include "../core/spelled.c"
#include "../core/filters.c"

#undef memcmp
#undef strcmp

#include "failing_off.h"

enum { MOST = 128, CHILDREN = 4 };

/* A stanza for a test; NULL: it hasn't that. The list of its children's namespaces ends at the first NULL. */
typedef struct said {
  const char *name, *type, *id, *from, *children[CHILDREN];
} said;

static xm_tape tape;

static xm_tape *tape_of(const said *s) {
  const char *const keys[] = {"type", "id", "from", "to"}, *const values[] = {s->type, s->id, s->from, "me@xmpp.example"};
  int i, rc = xm_tape_reset(&tape, XM_NS_CLIENT);
  rc |= xm_tape_open(&tape, XM_NS_CLIENT, strlen(XM_NS_CLIENT), s->name, strlen(s->name));
  for (i = 0; i < 4; i++)
    if (values[i]) rc |= xm_tape_attr(&tape, "", 0, keys[i], strlen(keys[i]), values[i], strlen(values[i]));
  rc |= xm_tape_text(&tape, "text", 4);
  for (i = 0; i < CHILDREN && s->children[i]; i++) {
    rc |= xm_tape_open(&tape, s->children[i], strlen(s->children[i]), "x", 1);
    rc |= xm_tape_open(&tape, "urn:deeper", 10, "y", 1) | xm_tape_close(&tape); /* only a grandchild of the stanza */
    rc |= xm_tape_close(&tape) | xm_tape_text(&tape, " ", 1);
  }
  rc |= xm_tape_close(&tape);
  assert_int_equal(rc, XM_OK);
  return &tape;
}

static int drop_tape(void **state) {
  (void)state;
  xm_tape_free(&tape);
  return 0;
}

static xm_filters *new_filters(void) {
  xm_filters *f = xm_filters_new();
  assert_non_null(f);
  return f;
}

/* Matches the stanza as a tape; matching it as separate strings must give the same slots. */
static size_t match_all(xm_filters *f, const said *s, uint64_t *slots, size_t most) {
  uint64_t like[MOST];
  xm_filter_stanza is = {s->name, s->type, s->from, s->id, s->children, 0};
  size_t n = xm_filters_match(f, tape_of(s), slots, most);
  while (is.n < CHILDREN && s->children[is.n]) is.n++;
  assert_true(most <= MOST);
  assert_int_equal(xm_filters_match_like(f, &is, like, most), n);
  if (n <= most) assert_memory_equal(like, slots, n * sizeof *slots);
  return n;
}

static void slots_come_in_order_of_installation(void **state) {
  xm_filters *f = new_filters();
  const said s = {.name = "message"};
  uint64_t slots[MOST], i;
  (void)state;
  assert_int_equal(xm_filters_last(f), 0);
  assert_int_equal(match_all(f, &s, slots, MOST), 0);
  assert_int_equal(xm_filters_after(f, 0), 0);
  for (i = 1; i <= 100; i++) assert_int_equal(xm_filters_add(f, NULL), i);
  for (i = 1; i <= 100; i++)
    if (i % 3) assert_true(xm_filters_remove(f, i));
  assert_int_equal(match_all(f, &s, slots, MOST), 33);
  for (i = 0; i < 33; i++) {
    assert_int_equal(slots[i], 3 * (i + 1));
    assert_int_equal(xm_filters_after(f, slots[i] - 1), slots[i]);
  }
  assert_false(xm_filters_remove(f, 1));
  assert_false(xm_filters_holds(f, 1));
  assert_true(xm_filters_holds(f, 3));
  assert_int_equal(xm_filters_add(f, NULL), 101); /* a number isn't used again */
  assert_int_equal(xm_filters_last(f), 101);
  for (i = 1; i <= 101; i++) xm_filters_remove(f, i);
  assert_int_equal(match_all(f, &s, slots, MOST), 0);
  assert_null(f->all.places);
  assert_null(f->general.places);
  assert_int_equal(xm_filters_add(f, NULL), 102);
  xm_filters_free(f);
}

/* A list has space for at most four times its entries, or a few; if there is no memory for a smaller block, it keeps
 * its own. */
static void lists_shrink(void **state) {
  enum { MANY = 10000, FEW = 5 };
  xm_filters *f = new_filters();
  size_t cap;
  int i;
  (void)state;
  for (i = 1; i <= MANY; i++) assert_int_equal(xm_filters_add(f, NULL), i);
  cap = f->all.cap;
  heap_fails(0, true);
  for (i = MANY; i > MANY / 10; i--) assert_true(xm_filters_remove(f, (uint64_t)i));
  assert_true(heap_is_well());
  assert_int_equal(f->all.cap, cap);
  for (; i > FEW; i--) assert_true(xm_filters_remove(f, (uint64_t)i));
  assert_true(f->all.cap <= cap / 16 && f->general.cap <= cap / 16);
  for (i = 1; i <= FEW; i++) assert_true(xm_filters_holds(f, (uint64_t)i));
  for (i = 1; i <= MANY; i++) assert_true(xm_filters_add(f, NULL) > 0);
  xm_filters_free(f);
}

/* Filters that are found by four different properties, or by none, still come in the order of installation. */
static void the_order_does_not_depend_on_the_property(void **state) {
  static const xm_filter asked[] = {{.has = "urn:b"}, {.id = "1"},           {.name = "iq"}, {.from = "a@d/r"},
                                    {.has = "urn:a"}, {.xmlns = "urn:a"},    {0},            {.from = "a@d"},
                                    {.type = "get"},  {.id = "1", .has = "urn:b"}};
  const said s = {.name = "iq", .type = "get", .id = "1", .from = "a@d/r", .children = {"urn:a", "urn:b"}};
  enum { N = sizeof asked / sizeof *asked };
  xm_filters *f = new_filters();
  uint64_t slots[MOST], i, first;
  (void)state;
  for (first = 0; first < N; first++) { /* with each of them first */
    for (i = 0; i < N; i++) xm_filters_add(f, &asked[(first + i) % N]);
    assert_int_equal(match_all(f, &s, slots, MOST), N);
    for (i = 0; i < N; i++) assert_int_equal(slots[i], first * N + i + 1);
    for (i = 0; i < N; i++) assert_true(xm_filters_remove(f, slots[i]));
  }
  assert_int_equal(f->words.n, 0);
  xm_filters_free(f);
}

/* If there are more matches than space for them, the caller learns how many there are. */
static void more_than_fit_are_counted(void **state) {
  xm_filters *f = new_filters();
  const said s = {.name = "iq", .id = "1"};
  uint64_t slots[MOST];
  int i;
  (void)state;
  for (i = 0; i < 100; i++) xm_filters_add(f, &(xm_filter){.id = i % 2 ? "1" : NULL});
  slots[10] = 4711;
  assert_int_equal(xm_filters_match(f, tape_of(&s), slots, 10), 100);
  assert_int_equal(slots[10], 4711);
  assert_int_equal(xm_filters_match(f, tape_of(&s), NULL, 0), 100);
  assert_int_equal(match_all(f, &s, slots, 100), 100);
  for (i = 0; i < 100; i++) assert_int_equal(slots[i], i + 1);
  xm_filters_free(f);
}

static void slots_do_not_wrap_at_32_bits(void **state) {
  xm_filters *f = new_filters();
  const said s = {.name = "message"};
  const uint64_t big = (uint64_t)UINT32_MAX + 1;
  uint64_t slots[MOST];
  (void)state;
  assert_int_equal(xm_filters_add(f, NULL), 1);
  f->last = UINT32_MAX;
  assert_true(xm_filters_add(f, NULL) == (int64_t)big);
  assert_true(xm_filters_add(f, NULL) == (int64_t)big + 1);
  assert_true(xm_filters_last(f) == big + 1);
  assert_int_equal(match_all(f, &s, slots, MOST), 3);
  assert_true(slots[0] == 1 && slots[1] == big && slots[2] == big + 1);
  assert_true(xm_filters_after(f, big) == big + 1);
  assert_true(xm_filters_remove(f, big));
  assert_false(xm_filters_holds(f, big));
  assert_true(xm_filters_holds(f, big + 1));
  assert_int_equal(match_all(f, &s, slots, MOST), 2);
  xm_filters_free(f);
}

static bool wanted(const xm_filter *asked, const said *s) {
  xm_filters *f = new_filters();
  uint64_t slots[1];
  size_t n;
  assert_int_equal(xm_filters_add(f, asked), 1);
  n = match_all(f, s, slots, 1);
  assert_true(n <= 1);
  assert_true(xm_filters_remove(f, 1));
  assert_int_equal(match_all(f, s, slots, 1), 0);
  assert_int_equal(f->words.n, 0);
  xm_filters_free(f);
  return n == 1;
}

static void a_filter_asks_for_all_it_names(void **state) {
  const said s = {"iq", "set", "1", "bob@other.example/r", {"urn:x", "urn:h", "urn:x"}}, bare = {.name = "iq"};
  const xm_filter all = {"iq", "set", "urn:x", "urn:h", "bob@other.example/r", "1"}, none = {0};
  const char *const wrong[] = {"message", "get", "urn:h", "urn:deeper", "bob@other.example/R", "2"};
  int i;
  (void)state;
  assert_true(wanted(&all, &s));
  assert_true(wanted(&none, &s));
  assert_true(wanted(&none, &bare));
  assert_true(wanted(NULL, &bare));
  for (i = 0; i < 6; i++) {
    xm_filter one = {0}, off = all;
    const char **const in_one[] = {&one.name, &one.type, &one.xmlns, &one.has, &one.from, &one.id};
    const char **const in_off[] = {&off.name, &off.type, &off.xmlns, &off.has, &off.from, &off.id};
    *in_one[i] = *in_off[i];
    assert_true(wanted(&one, &s));
    if (i > 0) assert_false(wanted(&one, &bare));
    *in_off[i] = *in_one[i] = wrong[i];
    assert_false(wanted(&one, &s));
    assert_false(wanted(&off, &s));
    *in_off[i] = *in_one[i] = ""; /* "" only matches an empty value */
    assert_false(wanted(&one, &s));
  }
  assert_true(wanted(&(xm_filter){.id = "", .type = ""}, &(said){.name = "iq", .id = "", .type = ""}));
  assert_false(wanted(&(xm_filter){.id = ""}, &bare));
}

/* `has` matches the first child, the last or one in between; `xmlns` only the first. An id isn't a sender, and so
 * on. */
static void has_looks_at_every_child(void **state) {
  const said s = {.name = "message", .children = {XM_NS_CLIENT, "urn:a", XM_NS_CLIENT, "urn:b"}};
  const said none = {.name = "message"}, ids = {"message", "urn:a", "urn:a", "urn:a", {"urn:z"}};
  (void)state;
  assert_true(wanted(&(xm_filter){.has = "urn:a"}, &s));
  assert_true(wanted(&(xm_filter){.has = "urn:b"}, &s));
  assert_true(wanted(&(xm_filter){.has = XM_NS_CLIENT}, &s));
  assert_true(wanted(&(xm_filter){.has = "urn:b", .xmlns = XM_NS_CLIENT}, &s));
  assert_false(wanted(&(xm_filter){.has = "urn:b", .xmlns = "urn:a"}, &s));
  assert_false(wanted(&(xm_filter){.xmlns = "urn:a"}, &s));
  assert_false(wanted(&(xm_filter){.has = "urn:c"}, &s));
  assert_false(wanted(&(xm_filter){.has = "urn"}, &s));
  assert_false(wanted(&(xm_filter){.has = "urn:deeper"}, &s));
  assert_false(wanted(&(xm_filter){.has = "urn:a"}, &none));
  assert_false(wanted(&(xm_filter){.has = "urn:a"}, &ids));
  assert_false(wanted(&(xm_filter){.id = "urn:z"}, &ids));
}

static void a_filters_sender_may_be_bare(void **state) {
  static const struct {
    const char *want, *from;
    bool fits;
  } rows[] = {{"bob@other.example", "bob@other.example", true},
              {"bob@other.example", "bob@other.example/r", true},
              {"Bob@Other.Example", "bob@other.example/r", true},
              {"bob@other.example", "BOB@other.example/R", true},
              {"bob@other.example", "bob@other.example2/r", false},
              {"bob@other.example", "abob@other.example/r", false},
              {"bob@other.example", "other.example", false},
              {"bob@other.example/r", "bob@other.example", false},
              {"bob@other.example/r", "bob@other.example/r/", false},
              {"other.example", "other.example/x", true},
              {"other.example", "bob@other.example", false},
              {"bob@other.example", NULL, false},
              {"b@m\xC3\xBCller.example", "b@xn--mller-kva.example/x", true},
              {"straße@d.example", "strasse@d.example/x", true},
              {"straße@d.example", "straße@d.example/x", true},
              {"strasse@d.example", "straße@d.example/x", false},
              {"room@d.example/\u2764\uFE0F", "room@d.example/\u2764", true},
              {"room@d.example/\u2764", "room@d.example/\u2764\uFE0F", false}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    const xm_filter f = {.from = rows[i].want};
    if (wanted(&f, &(said){.name = "iq", .from = rows[i].from}) != rows[i].fits)
      fail_msg("%s: %s", rows[i].want, rows[i].from);
  }
}

/* Every combination of a few words as filters, many of them installed at once and some of them removed, against every
 * stanza; compared with a naive implementation. */

static const char *const names[] = {"message", "iq", "presence"}, *const types[] = {NULL, "get", "chat", "a"},
                  *const ids[] = {NULL, "1", "a"},
                  *const senders[] = {NULL,     "a",         "A",         "a/1",        "bob@d",      "Bob@d/r", "bob@d/r",
                                      "bob@d/", "a@b@c/r",   "a@b@c",     "straße@d/r", "strasse@d/r", "straße@d"},
                  *const spaces[] = {"a", "urn:a", "urn:b", XM_NS_CLIENT, ""};

static unsigned seed = 4711;
static unsigned any(unsigned n) {
  seed = seed * 1103515245u + 12345u;
  return seed / 65536u % n;
}

#define ANY(list) (list[any(sizeof list / sizeof *list)])

static said any_stanza(void) {
  said s = {ANY(names), ANY(types), ANY(ids), ANY(senders), {NULL}};
  unsigned i, n = any(CHILDREN + 1);
  for (i = 0; i < n; i++) s.children[i] = ANY(spaces);
  return s;
}

static xm_filter any_filter(void) {
  xm_filter f = {0};
  if (any(3) == 0) f.name = ANY(names);
  if (any(4) == 0) f.type = ANY(types);
  if (any(4) == 0) f.xmlns = ANY(spaces);
  if (any(3) == 0) f.has = ANY(spaces);
  if (any(3) == 0) f.from = ANY(senders);
  if (any(3) == 0) f.id = ANY(ids);
  return f;
}

static bool is_same(const char *want, const char *is) {
  return !want || (is && strcmp(want, is) == 0);
}

/* Compares two addresses, however each is spelled, with the functions that do so for one address at a time. */
static bool is_sender(const char *want, const char *from) {
  xm_jid room[2];
  xm_spelled named = xm_spelled_of(want, want ? strlen(want) : 0, room);
  char bare[64];
  if (!want) return true;
  if (!from) return false;
  strcpy(bare, from);
  bare[strcspn(bare, "/")] = '\0';
  return xm_spelled_is(&named, from) || (strchr(from, '/') && xm_spelled_is(&named, bare));
}

static bool has_child(const char *want, const said *s) {
  int i;
  for (i = 0; i < CHILDREN && s->children[i]; i++)
    if (want && strcmp(want, s->children[i]) == 0) return true;
  return !want;
}

static bool is_wanted(const xm_filter *f, const said *s) {
  return is_same(f->name, s->name) && is_same(f->type, s->type) && is_same(f->id, s->id) &&
         is_same(f->xmlns, s->children[0]) && has_child(f->has, s) && is_sender(f->from, s->from);
}

static void matches_are_those_of_a_plain_comparison(void **state) {
  xm_filters *f = new_filters();
  static xm_filter asked[MOST + 1];
  static uint64_t number[MOST];
  unsigned round, i, n = 0, found = 0, met = 0;
  (void)state;
  for (round = 0; round < 20000; round++) {
    uint64_t slots[MOST];
    said s = any_stanza();
    size_t k, took;
    if (n == MOST || (n && any(2))) {
      unsigned gone = any(n);
      assert_true(xm_filters_remove(f, number[gone]));
      memmove(&number[gone], &number[gone + 1], (n - gone - 1) * sizeof *number);
      memmove(&asked[gone], &asked[gone + 1], (n - gone - 1) * sizeof *asked);
      n--;
    } else {
      unsigned more = 1 + any(3);
      for (; more && n < MOST; more--, n++) asked[n] = any_filter(), number[n] = (uint64_t)xm_filters_add(f, &asked[n]);
    }
    took = match_all(f, &s, slots, MOST);
    for (i = 0, k = 0; i < n; i++) {
      bool is_met = k < took && slots[k] == number[i];
      if (is_met != is_wanted(&asked[i], &s))
        fail_msg("round %u: {name=%s type=%s xmlns=%s has=%s from=%s id=%s} and <%s type=%s id=%s from=%s>", round,
                 asked[i].name, asked[i].type, asked[i].xmlns, asked[i].has, asked[i].from, asked[i].id, s.name, s.type,
                 s.id, s.from);
      k += is_met;
      met += is_met;
    }
    assert_int_equal(k, took);
    found += took > 1;
  }
  assert_true(found > 10000 && met > 50000);
  while (n) xm_filters_remove(f, number[--n]);
  assert_int_equal(f->words.n + f->of_kind[ID] + f->of_kind[FROM] + f->of_kind[NAMESPACE] + f->of_kind[TYPE], 0);
  xm_filters_free(f);
}

/* What matching a stanza costs. */

/* Ten thousand filters for words that a stanza doesn't contain cost it nothing. */
static void filters_for_other_words_cost_nothing(void **state) {
  enum { MANY = 10000 };
  const said s = {"message", "chat", "m", "bob@other.example/Zürich", {XM_NS_CLIENT, "urn:receipts"}};
  static char text[MANY][40];
  unsigned long before;
  xm_filters *f = new_filters();
  uint64_t slots[MOST];
  int i, kind;
  (void)state;
  xm_filters_add(f, &(xm_filter){.has = "urn:receipts"});
  tape_of(&s);
  for (kind = 0; kind < 5; kind++) {
    steps = 0;
    assert_int_equal(xm_filters_match(f, &tape, slots, MOST), 1);
    before = steps;
    for (i = 0; i < MANY; i++) {
      xm_filter of = {.name = "message"};
      const char **const key[] = {&of.id, &of.from, &of.has, &of.xmlns, &of.type};
      sprintf(text[i], kind == 1 ? "user%d@other.example" : "urn:%d", i);
      *key[kind] = text[i];
      assert_true(xm_filters_add(f, &of) > 0);
    }
    steps = 0;
    assert_int_equal(xm_filters_match(f, &tape, slots, MOST), 1);
    assert_true(steps <= before + 8); /* a look-up for this kind of word, and for its spelling */
    while (xm_filters_last(f) > 1 && xm_filters_after(f, 1)) xm_filters_remove(f, xm_filters_after(f, 1));
  }
  xm_filters_free(f);
}

/* A stranger's stanza has thousands of children, all different, of two namespaces, or of one: each filter is examined
 * once. */
static void many_children_ask_a_filter_once(void **state) {
  enum { MANY = 20000, FILTERS = 100 };
  xm_filters *f = new_filters();
  uint64_t slots[FILTERS];
  char ns[32];
  int i, kind;
  (void)state;
  for (i = 0; i < FILTERS; i++) {
    sprintf(ns, "urn:%d", i % 4);
    xm_filters_add(f, &(xm_filter){.name = "message", .has = ns});
  }
  for (kind = 0; kind < 3; kind++) {
    int rc = xm_tape_reset(&tape, XM_NS_CLIENT) | xm_tape_open(&tape, XM_NS_CLIENT, strlen(XM_NS_CLIENT), "message", 7);
    for (i = 0; i < MANY; i++) {
      size_t n = (size_t)sprintf(ns, "urn:%d", kind == 0 ? i : kind == 1 ? i % 2 : 0);
      rc |= xm_tape_open(&tape, ns, n, "x", 1) | xm_tape_close(&tape);
    }
    assert_int_equal(rc | xm_tape_close(&tape), XM_OK);
    steps = 0;
    assert_int_equal(xm_filters_match(f, &tape, slots, FILTERS), kind == 0 ? 100 : kind == 1 ? 50 : 25);
    for (i = 1; i < (kind == 0 ? 100 : kind == 1 ? 50 : 25); i++) assert_true(slots[i - 1] < slots[i]);
    if (steps > MANY + 2 * FILTERS) fail_msg("kind %d: %lu steps", kind, steps);
  }
  xm_filters_free(f);
}

/* Memory that runs out. */

static bool all_of_it(xm_filters *f) {
  static const xm_filter some[] = {{"iq", "set", "urn:x", "urn:h", "Straße@x", "1"}, {.has = "urn:x"}, {.has = "urn:x"}, {0}};
  const said s = {"iq", "set", "1", "strasse@x/r", {"urn:x", "urn:h"}};
  uint64_t slots[MOST];
  size_t i;
  for (i = 0; i < 4; i++) {
    bool added = xm_filters_add(f, &some[i]) > 0;
    assert_int_equal(xm_filters_last(f), i + added);
    assert_int_equal(match_all(f, &s, slots, MOST), i + added); /* a filter that couldn't be added matches nothing */
    if (!added) return false;
  }
  return xm_filters_remove(f, 2) && match_all(f, &s, slots, MOST) == 3;
}

static void memory_that_runs_out_is_told(void **state) {
  long n = 0, before;
  bool failed;
  (void)state;
  tape_of(&(said){"iq", "set", "1", "strasse@x/r", {"urn:x", "urn:h"}});
  before = heap.live;
  do {
    xm_filters *f;
    bool done;
    heap_fails(n++, false);
    f = xm_filters_new();
    done = f && all_of_it(f);
    failed = heap_is_well();
    assert_true(done || failed);
    xm_filters_free(f);
    assert_int_equal(heap.live, before);
  } while (failed);
  assert_true(n > 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(slots_come_in_order_of_installation),
      cmocka_unit_test(lists_shrink),
      cmocka_unit_test(the_order_does_not_depend_on_the_property),
      cmocka_unit_test(more_than_fit_are_counted),
      cmocka_unit_test(slots_do_not_wrap_at_32_bits),
      cmocka_unit_test(a_filter_asks_for_all_it_names),
      cmocka_unit_test(a_filters_sender_may_be_bare),
      cmocka_unit_test(has_looks_at_every_child),
      cmocka_unit_test(matches_are_those_of_a_plain_comparison),
      cmocka_unit_test(filters_for_other_words_cost_nothing),
      cmocka_unit_test(many_children_ask_a_filter_once),
      cmocka_unit_test(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, drop_tape);
}
