/* tape: the cursor finds what was appended, in the document's order; namespaces, joined text, slots; and a heap that
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
#include "../core/tape.c"

#include "failing_off.h"

#define NS "jabber:client"

static int open_element(xm_tape *t, const char *ns, const char *name) {
  return xm_tape_open(t, ns, strlen(ns), name, strlen(name));
}

static int attribute(xm_tape *t, const char *ns, const char *name, const char *value) {
  return xm_tape_attr(t, ns, strlen(ns), name, strlen(name), value, strlen(value));
}

static int text(xm_tape *t, const char *s) {
  return xm_tape_text(t, s, strlen(s));
}

/* <message to='a' x:id='1' id='2'>one<body>Hi</body>two<x xmlns='urn:x'><y/></x></message>; returns the first error. */
static int fill(xm_tape *t) {
  int rc = xm_tape_reset(t, NS);
  if (rc == XM_OK) rc = open_element(t, NS, "message");
  if (rc == XM_OK) rc = attribute(t, "", "to", "a");
  if (rc == XM_OK) rc = attribute(t, "urn:x", "id", "1");
  if (rc == XM_OK) rc = attribute(t, "", "id", "2");
  if (rc == XM_OK) rc = text(t, "o");
  if (rc == XM_OK) rc = text(t, "ne");
  if (rc == XM_OK) rc = open_element(t, NS, "body");
  if (rc == XM_OK) rc = text(t, "Hi");
  if (rc == XM_OK) rc = xm_tape_close(t);
  if (rc == XM_OK) rc = text(t, "two");
  if (rc == XM_OK) rc = open_element(t, "urn:x", "x");
  if (rc == XM_OK) rc = open_element(t, "urn:x", "y");
  if (rc == XM_OK) rc = xm_tape_close(t);
  if (rc == XM_OK) rc = xm_tape_close(t);
  return rc == XM_OK ? xm_tape_close(t) : rc;
}

/* Writes every record as text: its kind, its strings, and the numbers of other records. */
static void print(const xm_tape *t, char *to, size_t cap) {
  size_t used = 0;
  uint32_t i;
  for (i = 0; i < t->n; i++) {
    const xm_tape_rec *r = &t->recs[i];
    const char *name = r->kind == XM_TAPE_OPEN || r->kind == XM_TAPE_ATTR ? xm_tape_str(t, r->name) : "", *more = xm_tape_str(t, r->text);
    int n = 0;
    switch ((xm_tape_kind)r->kind) {
      case XM_TAPE_OPEN:
        n = snprintf(to + used, cap - used, "<%s %s%s a%u c%u s%u n%u|", name, r->new_ns ? "!" : "", more, r->attrs,
                     xm_tape_children(t, i), xm_tape_slot(t, i), r->next);
        break;
      case XM_TAPE_ATTR: n = snprintf(to + used, cap - used, "@%s=%s|", name, more); break;
      case XM_TAPE_TEXT: n = snprintf(to + used, cap - used, "'%s s%u|", more, r->slot); break;
      case XM_TAPE_CLOSE: n = snprintf(to + used, cap - used, ">%u|", r->next); break;
    }
    used += (size_t)n;
    assert_true(used < cap);
    if (r->kind != XM_TAPE_CLOSE) assert_int_equal(strlen(more), r->text_len);
    if (r->kind < XM_TAPE_TEXT) assert_int_equal(strlen(name), r->name_len);
  }
}

static const char expected[] =
    "<message jabber:client a3 c4 s1 n14|@to=a|@{urn:x}id=1|@id=2|'one s1|<body jabber:client a0 c1 s2 n8|'Hi s1|>5|"
    "'two s3|<x !urn:x a0 c1 s4 n13|<y urn:x a0 c0 s1 n12|>10|>9|>0|";

static void records_are_in_the_documents_order(void **state) {
  xm_tape t = XM_TAPE_INIT;
  char got[512];
  (void)state;
  assert_int_equal(fill(&t), XM_OK);
  print(&t, got, sizeof got);
  assert_string_equal(got, expected);
  assert_int_equal(t.depth, 0);
  xm_tape_free(&t);
}

static void a_tape_is_used_again(void **state) {
  xm_tape t = XM_TAPE_INIT;
  char got[512];
  int i;
  (void)state;
  for (i = 0; i < 3; i++) {
    assert_int_equal(fill(&t), XM_OK);
    print(&t, got, sizeof got);
    assert_string_equal(got, expected);
  }
  assert_int_equal(xm_tape_reset(&t, "urn:other"), XM_OK);
  assert_int_equal(open_element(&t, NS, "message"), XM_OK);
  assert_int_equal(xm_tape_close(&t), XM_OK);
  print(&t, got, sizeof got);
  assert_string_equal(got, "<message !jabber:client a0 c0 s1 n2|>0|");
  xm_tape_free(&t);
  xm_tape_free(&t);
}

/* A reset also forgets an element that isn't complete. */
static void an_unfinished_element_is_forgotten(void **state) {
  xm_tape t = XM_TAPE_INIT;
  char got[512];
  (void)state;
  assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
  assert_int_equal(open_element(&t, NS, "iq"), XM_OK);
  assert_int_equal(open_element(&t, "urn:x", "q"), XM_OK);
  assert_int_equal(t.depth, 2);
  assert_int_equal(fill(&t), XM_OK);
  print(&t, got, sizeof got);
  assert_string_equal(got, expected);
  xm_tape_free(&t);
}

static void memory_of_a_giant_is_given_back(void **state) {
  xm_tape t = XM_TAPE_INIT;
  char *giant = calloc(1, 2 * USUAL_BYTES);
  int i;
  (void)state;
  memset(giant, 'x', 2 * USUAL_BYTES - 1);
  assert_int_equal(fill(&t), XM_OK);
  assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
  assert_true(t.cap > 0);
  assert_int_equal(open_element(&t, NS, "a"), XM_OK);
  assert_int_equal(text(&t, giant), XM_OK);
  assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
  assert_true(t.bytes.cap < USUAL_BYTES);
  for (i = 0; i < 2 * USUAL_RECS; i++) assert_int_equal(open_element(&t, NS, "a"), XM_OK);
  assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
  assert_true(t.cap <= USUAL_RECS);
  free(giant);
  xm_tape_free(&t);
}

/* A long namespace is stored once, however often it is used, and however many there are. */
static void a_long_namespace_lies_there_once(void **state) {
  enum { SPACES = 100, ROUNDS = 50, LENGTH = 1000 };
  xm_tape t = XM_TAPE_INIT;
  char ns[LENGTH];
  uint32_t first[SPACES];
  int i, k;
  (void)state;
  memset(ns, 'x', sizeof ns);
  assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
  assert_int_equal(open_element(&t, NS, "message"), XM_OK);
  for (k = 0; k < ROUNDS; k++) {
    for (i = 0; i < SPACES; i++) {
      ns[LENGTH / 2] = (char)i;
      assert_int_equal(xm_tape_open(&t, ns, sizeof ns, "a", 1), XM_OK);
      if (k == 0) first[i] = t.recs[t.n - 1].text;
      assert_int_equal(t.recs[t.n - 1].text, first[i]);
      assert_memory_equal(xm_tape_str(&t, first[i]), ns, sizeof ns);
      assert_int_equal(xm_tape_str(&t, first[i])[LENGTH], '\0');
      assert_true(t.recs[t.n - 1].new_ns);
      assert_int_equal(xm_tape_close(&t), XM_OK);
    }
  }
  assert_true(t.bytes.last < SPACES * (LENGTH + 1) + SPACES * ROUNDS * 2 + 100);
  assert_int_equal(xm_tape_reset(&t, NS), XM_OK); /* a reset forgets the namespaces */
  assert_int_equal(xm_tape_open(&t, ns, sizeof ns, "a", 1), XM_OK);
  assert_memory_equal(xm_tape_ns(&t, 0), ns, sizeof ns);
  xm_tape_free(&t);
}

/* Wherever a tape is cut, the first element's start tag is left, and the memory of the rest is freed. */
static void a_cut_tape_keeps_its_start_tag(void **state) {
  static const char start[] = "<message jabber:client a2 c0 s1 n4|@to=a|@{urn:x}id=1|>0|";
  char got[512];
  int many;
  (void)state;
  for (many = 0; many < 10001; many += many ? 10000 : 1) {
    xm_tape t = XM_TAPE_INIT;
    int i;
    assert_int_equal(xm_tape_cut(&t), XM_OK); /* an empty tape */
    assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
    assert_int_equal(open_element(&t, NS, "message"), XM_OK);
    assert_int_equal(xm_tape_attr(&t, "", 0, "to", 2, "a", 1), XM_OK);
    assert_int_equal(xm_tape_attr(&t, "urn:x", 5, "id", 2, "1", 1), XM_OK);
    for (i = 0; i < many; i++) {
      assert_int_equal(open_element(&t, NS, "a"), XM_OK);
      assert_int_equal(xm_tape_text(&t, "a text of some length, of which there are many", 46), XM_OK);
      if (i % 2) assert_int_equal(xm_tape_close(&t), XM_OK);
    }
    assert_int_equal(xm_tape_cut(&t), XM_OK);
    print(&t, got, sizeof got);
    assert_string_equal(got, start);
    assert_int_equal(t.depth, 0);
    assert_true(xm_tape_size(&t) < 100 * 1000);
    assert_true(t.bytes.last < 60);
    xm_tape_free(&t);
  }
}

static void attributes_are_found_by_their_whole_name(void **state) {
  xm_tape t = XM_TAPE_INIT;
  size_t len = 99;
  (void)state;
  assert_int_equal(fill(&t), XM_OK);
  assert_string_equal(xm_tape_get(&t, 0, "id", &len), "2");
  assert_int_equal(len, 1);
  assert_string_equal(xm_tape_get(&t, 0, "{urn:x}id", NULL), "1");
  assert_null(xm_tape_get(&t, 0, "i", NULL));
  assert_null(xm_tape_get(&t, 0, "xmlns", NULL));
  assert_null(xm_tape_get(&t, 5, "id", NULL));
  xm_tape_free(&t);
}

static void children_are_found_by_namespace_and_name(void **state) {
  xm_tape t = XM_TAPE_INIT;
  uint32_t body, x;
  (void)state;
  assert_int_equal(fill(&t), XM_OK);
  body = xm_tape_child(&t, 0, NS, "body");
  x = xm_tape_child(&t, 0, "urn:x", NULL);
  assert_int_equal(body, 5);
  assert_int_equal(x, 9);
  assert_int_equal(xm_tape_child(&t, 0, NULL, NULL), 5);
  assert_int_equal(xm_tape_child(&t, 0, NULL, "y"), 0); /* a grandchild isn't a child */
  assert_int_equal(xm_tape_child(&t, 0, "urn:x", "body"), 0);
  assert_int_equal(xm_tape_sibling(&t, body, NULL, NULL), 9);
  assert_int_equal(xm_tape_sibling(&t, body, NULL, "body"), 0);
  assert_int_equal(xm_tape_sibling(&t, x, NULL, NULL), 0);
  assert_int_equal(xm_tape_child(&t, body, NULL, NULL), 0);
  assert_true(xm_tape_is(&t, x, "urn:x", "x"));
  assert_true(xm_tape_is(&t, x, NULL, NULL));
  assert_false(xm_tape_is(&t, x, NS, "x"));
  assert_false(xm_tape_is(&t, x, "urn:x", "X"));
  xm_tape_free(&t);
}

static void content_is_the_first_text(void **state) {
  xm_tape t = XM_TAPE_INIT;
  size_t len = 99;
  (void)state;
  assert_int_equal(fill(&t), XM_OK);
  assert_string_equal(xm_tape_content(&t, 0, &len), "one");
  assert_int_equal(len, 3);
  assert_string_equal(xm_tape_content(&t, 5, NULL), "Hi");
  assert_string_equal(xm_tape_content(&t, 9, &len), "");
  assert_int_equal(len, 0);
  assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
  assert_int_equal(open_element(&t, NS, "a") | open_element(&t, NS, "b") | xm_tape_close(&t) | text(&t, "late"), 0);
  assert_int_equal(xm_tape_close(&t), XM_OK);
  assert_string_equal(xm_tape_content(&t, 0, NULL), "late");
  xm_tape_free(&t);
}

/* A random tree is written as text while it is appended, and again from its records. */

static uint32_t seed = 20261122;

static uint32_t chance(uint32_t n) {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % n;
}

static const char *const spaces[] = {NS, "urn:a", "urn:b", ""};

static void append_by_chance(xm_tape *t, xm_buf *said, const char *ns, int depth) {
  uint32_t children = chance(depth > 12 ? 1 : 5), slot = 0, i;
  bool after_text = false;
  const char *own = spaces[chance(4)];
  char line[64];
  snprintf(line, sizeof line, "<%s%s", strcmp(own, ns) ? "!" : "", own);
  assert_int_equal(xm_buf_puts(said, line) | open_element(t, own, "e"), 0);
  for (i = 0; i < children; i++) {
    bool is_text = chance(2);
    if (!is_text || !after_text) slot++;
    if (is_text) {
      if (!after_text) xm_buf_puts(said, "'");
      assert_int_equal(xm_buf_puts(said, "t") | text(t, "t"), 0);
    } else {
      append_by_chance(t, said, own, depth + 1);
    }
    after_text = is_text;
  }
  snprintf(line, sizeof line, ">%u", slot);
  assert_int_equal(xm_buf_puts(said, line) | xm_tape_close(t), 0);
}

static void read_back(const xm_tape *t, xm_buf *found) {
  char line[64];
  uint32_t i;
  for (i = 0; i < t->n; i++) {
    const xm_tape_rec *r = &t->recs[i];
    if (r->kind == XM_TAPE_OPEN) {
      snprintf(line, sizeof line, "<%s%s", r->new_ns ? "!" : "", xm_tape_ns(t, i));
      assert_int_equal(t->recs[r->next - 1].kind, XM_TAPE_CLOSE);
      assert_int_equal(t->recs[r->next - 1].next, i);
    } else if (r->kind == XM_TAPE_TEXT) {
      snprintf(line, sizeof line, "'%s", xm_tape_str(t, r->text));
    } else {
      snprintf(line, sizeof line, ">%u", r->children);
    }
    xm_buf_puts(found, line);
  }
}

static void whatever_is_appended_is_found(void **state) {
  xm_tape t = XM_TAPE_INIT;
  int i;
  (void)state;
  for (i = 0; i < 500; i++) {
    xm_buf said = XM_BUF_INIT, found = XM_BUF_INIT;
    assert_int_equal(xm_tape_reset(&t, NS), XM_OK);
    append_by_chance(&t, &said, NS, 0);
    read_back(&t, &found);
    assert_int_equal(xm_buf_len(&said), xm_buf_len(&found));
    assert_memory_equal(xm_buf_at(&said), xm_buf_at(&found), xm_buf_len(&said));
    xm_buf_free(&said);
    xm_buf_free(&found);
  }
  xm_tape_free(&t);
}

static void memory_that_runs_out_is_told(void **state) {
  long n = 0, noes = 0;
  bool failed;
  (void)state;
  do {
    xm_tape t = XM_TAPE_INIT;
    int rc, k;
    char got[512];
    heap_fails(n++, false);
    rc = fill(&t);
    for (k = 0; k < 40 && rc == XM_OK; k++) rc = open_element(&t, "urn:more", "and-more"); /* both arrays grow */
    failed = heap_is_well();
    assert_int_equal(rc, failed ? XM_ENOMEM : XM_OK);
    noes += failed;
    assert_int_equal(fill(&t), XM_OK); /* it can still be reset */
    print(&t, got, sizeof got);
    assert_string_equal(got, expected);
    xm_tape_free(&t);
  } while (failed);
  assert_true(noes >= 4);
  assert_int_equal(heap.live, 0);
}

/* A tape with `recs` more records and `bytes` more bytes, in an element that is still open and ends with a text. */
static void pad(xm_tape *t, int recs, size_t bytes) {
  static const char many[] = "................................................................................................"
                             "................................................................................................";
  assert_int_equal(xm_tape_reset(t, "jabber:client"), XM_OK);
  assert_int_equal(open_element(t, "jabber:client", "message"), XM_OK);
  while (recs-- > 0) assert_int_equal(xm_tape_attr(t, "", 0, "a", 1, "", 0), XM_OK);
  assert_int_equal(xm_tape_text(t, many, bytes), XM_OK);
}

/* One kind of append; each needs memory several times. */
static int append(xm_tape *t, int which) {
  switch (which) {
    case 0: return open_element(t, "urn:x", "x");
    case 1: return xm_tape_attr(t, "urn:x", 5, "local", 5, "value", 5);
    case 2: return xm_tape_text(t, "neighbour", 9);
    case 3: return xm_tape_close(t);
    default: return xm_tape_text(t, "text", 4);
  }
}

/* Memory runs out at any point of an append. */
static void every_append_fails_without_memory(void **state) {
  int recs, which, noes = 0;
  size_t bytes;
  (void)state;
  for (which = 0; which < 5; which++) {
    for (recs = 0; recs < 33; recs++) {
      for (bytes = 0; bytes < 180; bytes++) {
        xm_tape t = XM_TAPE_INIT;
        int rc;
        pad(&t, recs, bytes);
        if (which == 4) assert_int_equal(open_element(&t, "jabber:client", "body"), XM_OK);
        heap_fails(0, true);
        rc = append(&t, which);
        assert_int_equal(rc, heap_is_well() ? XM_ENOMEM : XM_OK);
        noes += rc < 0;
        xm_tape_free(&t);
      }
    }
  }
  assert_true(noes > 100);
  assert_int_equal(heap.live, 0);
}

/* Offsets have 32 bits: what would be beyond that is refused before memory is allocated. */
static void offsets_beyond_32_bits_are_refused(void **state) {
  xm_tape t = XM_TAPE_INIT;
  size_t last;
  (void)state;
  assert_int_equal(xm_tape_reset(&t, NS) | open_element(&t, NS, "a"), XM_OK);
  last = t.bytes.last;
  t.bytes.last = UINT32_MAX - 10;
  assert_int_equal(text(&t, "0123456789"), XM_ELIMIT);
  assert_int_equal(attribute(&t, "", "0123456789", ""), XM_ELIMIT);
  assert_int_equal(attribute(&t, "urn:x", "abc", ""), XM_ELIMIT);
  assert_int_equal(attribute(&t, "urn:abcdefghijklmnop", "a", ""), XM_ELIMIT);
  assert_int_equal(open_element(&t, "urn:abcdefghijklmnop", "a"), XM_ELIMIT);
  t.bytes.last = last;
  xm_tape_free(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(records_are_in_the_documents_order),
      cmocka_unit_test(a_tape_is_used_again),
      cmocka_unit_test(an_unfinished_element_is_forgotten),
      cmocka_unit_test(memory_of_a_giant_is_given_back),
      cmocka_unit_test(a_long_namespace_lies_there_once),
      cmocka_unit_test(a_cut_tape_keeps_its_start_tag),
      cmocka_unit_test(attributes_are_found_by_their_whole_name),
      cmocka_unit_test(children_are_found_by_namespace_and_name),
      cmocka_unit_test(content_is_the_first_text),
      cmocka_unit_test(whatever_is_appended_is_found),
      cmocka_unit_test(memory_that_runs_out_is_told),
      cmocka_unit_test(every_append_fails_without_memory),
      cmocka_unit_test(offsets_beyond_32_bits_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
