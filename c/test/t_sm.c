/* sm: what is given, moved, acknowledged and lost, and the receipts for it, call by call. t_sm_model tests many calls
 * in any order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#ifndef XM_DEBUG
#define XM_DEBUG /* each function checks the invariants */
#endif
#include "failing.h"

#include "../core/buf.c"
#include "../core/sm.c"

#include "failing_off.h"

#define ALL SIZE_MAX
#define FOREVER INT64_MAX

/* A log, and the wire that it is moved to. */
typedef struct line {
  xm_sm *s;
  xm_buf wire;
  uint64_t taken; /* bytes of the wire that the kernel has taken */
  char text[16384]; /* the result of the last briefly, told, returned or logged */
} line;

static line new_line(void) {
  line l = {.s = xm_sm_new()};
  assert_non_null(l.s);
  return l;
}

static void free_line(line *l) {
  xm_sm_free(l->s);
  xm_buf_free(&l->wire);
}

static int commit(xm_sm *s, const char *xml, int64_t at, unsigned flags) {
  size_t mark = xm_buf_mark(xm_sm_out(s));
  return xm_buf_puts(xm_sm_out(s), xml) == XM_OK ? xm_sm_commit(s, mark, at, flags, NULL) : XM_ENOMEM;
}

static void give(line *l, const char *xml, unsigned flags) {
  assert_int_equal(commit(l->s, xml, 0, flags), XM_OK);
}

/* `n` messages; each has its number as its id. */
static void give_messages(line *l, int n) {
  char xml[64];
  while (n-- > 0) {
    snprintf(xml, sizeof xml, "<message id='%u'/>", (unsigned)xm_sm_next_seq(l->s));
    give(l, xml, XM_SM_WATCHED);
  }
}

/* The server sends <name/> with these attributes ("h=5 id=x"; no value contains a space). */
static int read_attributes(xm_sm *s, const char *name, const char *attributes, xm_err *e) {
  xm_tape t = XM_TAPE_INIT;
  char copy[4500], *rest = copy, *one;
  bool armed = heap.armed;
  int rc;
  heap.armed = false; /* the tape is the test's */
  snprintf(copy, sizeof copy, "%s", attributes);
  assert_int_equal(xm_tape_reset(&t, ""), XM_OK);
  assert_int_equal(xm_tape_open(&t, XM_SM_NS, strlen(XM_SM_NS), name, strlen(name)), XM_OK);
  while ((one = strsep(&rest, " ")) && *one) {
    char *value = strchr(one, '=');
    assert_int_equal(xm_tape_attr(&t, "", 0, one, (size_t)(value - one), value + 1, strlen(value + 1)), XM_OK);
  }
  assert_int_equal(xm_tape_close(&t), XM_OK);
  heap.armed = armed;
  rc = xm_sm_read(s, &t, e);
  xm_tape_free(&t);
  return rc;
}

static void says(line *l, const char *name, const char *attributes) {
  xm_err e = {0};
  if (read_attributes(l->s, name, attributes, &e) < 0) fail_msg("<%s %s/>: %s", name, attributes, e.text);
}

static void acks(line *l, uint32_t h) {
  char text[32];
  snprintf(text, sizeof text, "h=%u", (unsigned)h);
  says(l, "a", text);
}

/* The kernel takes this many bytes of the wire. */
static void take(line *l, size_t n) {
  if (n > xm_buf_len(&l->wire)) n = xm_buf_len(&l->wire);
  xm_buf_consume(&l->wire, n);
  xm_sm_taken(l->s, l->taken += n);
}

/* Enables without holding back what is given until <enabled/>: see stanzas_are_held_until_enabled. */
static void enable_at_once(line *l, bool resumable) {
  xm_sm_enable(l->s, resumable);
  xm_sm_release(l->s);
}

/* Enables, after what was given before has been moved. */
static void enable(line *l) {
  enable_at_once(l, true);
  assert_int_equal(xm_sm_pump(l->s, &l->wire, ALL), XM_OK);
  take(l, ALL);
  says(l, "enabled", "id=i resume=true");
}

/* Resumes, and answers the request that comes before the stanzas that are sent again. */
static void resume(line *l, uint32_t h) {
  xm_buf first = XM_BUF_INIT;
  assert_int_equal(xm_sm_resumed(l->s, h, NULL), XM_OK);
  if (!xm_sm_is_held(l->s)) return;
  assert_int_equal(xm_sm_pump(l->s, &first, ALL), XM_OK);
  assert_int_equal(xm_buf_len(&first), strlen("<r xmlns='urn:xmpp:sm:3'/>"));
  xm_sm_taken(l->s, l->taken += xm_buf_len(&first));
  xm_buf_free(&first);
  acks(l, h);
}

static void cut(line *l) {
  xm_sm_cut(l->s, l->taken);
  l->taken = 0;
}

static void cut_and_resume(line *l, uint32_t h) {
  cut(l);
  resume(l, h);
}

static line enabled_line(void) {
  line l = new_line();
  enable(&l);
  return l;
}

static void pump(line *l, size_t most) {
  assert_int_equal(xm_sm_pump(l->s, &l->wire, most), XM_OK);
}

/* What is on the wire, a word for each element: a stanza's id, E for <enable/>, R for <r/>, A5 for an <a/> with
 * h='5'. */
static const char *briefly(line *l) {
  char *to = l->text, *at = xm_buf_at(&l->wire), *end = at + xm_buf_len(&l->wire);
  *to = '\0';
  for (; at && at < end; at = memchr(at, '>', (size_t)(end - at)) + 1) {
    if (at[1] == '/' || at[1] == 'd') continue;
    char *value = memmem(at, (size_t)(end - at), at[1] == 'a' ? " h='" : " id='", at[1] == 'a' ? 4 : 5);
    const char *letter = at[1] == 'e' ? "E" : at[1] == 'r' ? "R" : at[1] == 'a' ? "A" : "";
    int n = *letter && *letter != 'A' ? 0 : (int)strcspn(strchr(value, '\'') + 1, "'");
    to += sprintf(to, "%s%s%.*s", to == l->text ? "" : " ", letter, n, n ? strchr(value, '\'') + 1 : "");
  }
  return l->text;
}

/* Moves all that may be moved, which must be this; the kernel takes it. */
static void expect_moved(line *l, const char *brief) {
  pump(l, ALL);
  assert_string_equal(briefly(l), brief);
  take(l, ALL);
}

/* The same, after `n` more messages. */
static void expect_given(line *l, int n, const char *brief) {
  give_messages(l, n);
  expect_moved(l, brief);
}

/* The receipts since the last call, such as "1w 1a 2l": the number, and written, acked, or left. */
static const char *told(line *l) {
  xm_sm_receipt r;
  char *to = l->text;
  *to = '\0';
  while (xm_sm_receipt_next(l->s, &r))
    to += sprintf(to, "%s%u%c", to == l->text ? "" : " ", (unsigned)r.seq, "wal"[r.fate]);
  return l->text;
}

/* The stanzas that came back, such as "3 <iq/> unknown, 4 ...". */
static const char *returned(line *l) {
  static const char *const reasons[] = {"ended", "unknown", "old", "blamed", "over"};
  xm_sm_stanza st;
  char *to = l->text;
  *to = '\0';
  while (xm_sm_returned_next(l->s, &st))
    to += sprintf(to, "%s%u %.*s %s", to == l->text ? "" : ", ", (unsigned)st.seq, (int)st.len, st.xml,
                  reasons[st.reason]);
  return l->text;
}

/* The log, as the numbers in it. */
static const char *logged(line *l) {
  xm_sm_stanza st;
  char *to = l->text;
  size_t i, bytes = 0;
  *to = '\0';
  for (i = 0; xm_sm_each(l->s, i, &st); i++) {
    to += sprintf(to, "%s%u", i ? " " : "", (unsigned)st.seq);
    bytes += st.len;
    assert_true(xm_sm_has(l->s, st.seq));
  }
  assert_int_equal(xm_sm_stanzas(l->s), i);
  assert_int_equal(xm_sm_bytes(l->s), bytes);
  return l->text;
}

/* Giving stanzas, and moving them to the wire. */

static void without_stream_management_a_stanza_is_done_when_the_kernel_has_it(void **state) {
  line l = new_line();
  size_t i, len = strlen("<message id='1'/>");
  (void)state;
  assert_int_equal(xm_sm_next_seq(l.s), 1);
  assert_true(xm_sm_is_done(l.s));
  give_messages(&l, 3);
  assert_int_equal(xm_sm_next_seq(l.s), 4);
  assert_string_equal(logged(&l), "1 2 3");
  assert_false(xm_sm_is_done(l.s));
  pump(&l, ALL);
  assert_true(xm_sm_is_done(l.s));
  assert_string_equal(briefly(&l), "1 2 3");
  for (i = 1; i <= 3 * len; i++) {
    char wanted[16] = "";
    take(&l, 1);
    if (i % len == 0) sprintf(wanted, "%zuw %zul", i / len, i / len);
    assert_string_equal(told(&l), wanted);
    assert_int_equal(xm_sm_stanzas(l.s), 3 - i / len);
  }
  assert_false(xm_sm_has(l.s, 3));
  assert_false(xm_sm_has(l.s, 4));
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_OFF);
  free_line(&l);
}

/* Bytes that others have put on the wire are counted like sm's. */
static void other_bytes_on_the_wire_are_counted(void **state) {
  line l = new_line();
  (void)state;
  xm_buf_puts(&l.wire, "<iq id='p'/>");
  give_messages(&l, 1);
  pump(&l, ALL);
  xm_buf_puts(&l.wire, " ");
  give_messages(&l, 1);
  pump(&l, ALL);
  take(&l, 12 + 16);
  assert_string_equal(told(&l), "");
  take(&l, 1);
  assert_string_equal(told(&l), "1w 1l");
  take(&l, 17);
  assert_string_equal(told(&l), "");
  take(&l, 1);
  assert_string_equal(told(&l), "2w 2l");
  free_line(&l);
}

static void enable_is_first_and_counting_begins_with_it(void **state) {
  line l = new_line();
  (void)state;
  give_messages(&l, 2);
  enable_at_once(&l, true);
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ENABLING);
  pump(&l, ALL);
  assert_string_equal(briefly(&l), "E 1 2");
  xm_buf_rollback(&l.wire, xm_buf_len(&l.wire) - 2 * 17);
  assert_int_equal(xm_buf_len(&l.wire), strlen("<enable xmlns='urn:xmpp:sm:3' resume='true'/>"));
  assert_memory_equal(xm_buf_at(&l.wire), "<enable xmlns='urn:xmpp:sm:3' resume='true'/>", xm_buf_len(&l.wire));
  xm_buf_clear(&l.wire);
  xm_sm_taken(l.s, l.taken += strlen("<enable xmlns='urn:xmpp:sm:3' resume='true'/>") + 2 * 17);
  xm_sm_handled(l.s); /* before <enabled/>, so it doesn't count */
  assert_string_equal(told(&l), "1w 2w"); /* not left: <enabled/> may still come */
  assert_int_equal(xm_sm_stanzas(l.s), 2);
  says(&l, "enabled", "");
  assert_int_equal(xm_sm_in(l.s), 0);
  assert_int_equal(xm_sm_acked(l.s), 0);
  assert_null(xm_sm_id(l.s));
  acks(&l, 1);
  assert_string_equal(told(&l), "1a");
  acks(&l, 2);
  assert_string_equal(told(&l), "2a");
  assert_true(xm_sm_is_done(l.s));
  free_line(&l);
  l = new_line();
  enable_at_once(&l, false);
  pump(&l, ALL);
  assert_memory_equal(xm_buf_at(&l.wire), "<enable xmlns='urn:xmpp:sm:3'/>", xm_buf_len(&l.wire));
  free_line(&l);
}

/* <r/> comes in the same pump as the batch that it is for: after ten stanzas, and at the end after five to nine; never
 * after each. */
static void a_request_follows_its_batch(void **state) {
  int n;
  (void)state;
  for (n = 0; n <= 60; n++) {
    char wanted[512] = "", *to = wanted;
    int i, since = 0;
    line l = enabled_line();
    give_messages(&l, n);
    for (i = 1; i <= n; i++) {
      bool ask = ++since == 10 || (i == n && since >= 5);
      to += sprintf(to, "%s%d%s", i == 1 ? "" : " ", i, ask ? " R" : "");
      if (ask) since = 0;
    }
    expect_moved(&l, wanted);
    assert_int_equal(xm_sm_unasked(l.s), since);
    expect_moved(&l, "");
    free_line(&l);
  }
}

static void single_stanzas_are_asked_for_five_at_a_time(void **state) {
  line l = enabled_line();
  int i;
  (void)state;
  for (i = 1; i <= 30; i++) {
    char wanted[16];
    sprintf(wanted, i % 5 ? "%d" : "%d R", i);
    expect_given(&l, 1, wanted);
    assert_int_equal(xm_sm_unasked(l.s), i % 5);
    assert_int_equal(xm_sm_awaited(l.s), i / 5);
  }
  acks(&l, 30);
  assert_int_equal(xm_sm_awaited(l.s), 5);
  free_line(&l);
}

/* If the wire is full after a batch, <r/> comes with the next pump, before anything else. */
static void a_full_wire_delays_the_request(void **state) {
  line l = enabled_line();
  (void)state;
  give_messages(&l, 12);
  pump(&l, 10 * 17); /* up to the tenth, which is a byte longer */
  assert_string_equal(briefly(&l), "1 2 3 4 5 6 7 8 9 10");
  pump(&l, 10 * 17);
  assert_string_equal(briefly(&l), "1 2 3 4 5 6 7 8 9 10");
  take(&l, ALL);
  expect_moved(&l, "R 11 12");
  free_line(&l);
}

static void at_most_150_are_in_flight(void **state) {
  line l = enabled_line();
  (void)state;
  give_messages(&l, 400);
  pump(&l, ALL);
  assert_int_equal(l.s->pumped, 150);
  assert_string_equal(briefly(&l) + strlen(l.text) - 9, "149 150 R");
  take(&l, ALL);
  expect_moved(&l, "");
  acks(&l, 1);
  expect_moved(&l, "151 R"); /* the limit is reached, so that <r/> can't wait for more */
  acks(&l, 4);
  expect_moved(&l, "152 153 154 R");
  acks(&l, 154);
  pump(&l, ALL);
  assert_int_equal(l.s->pumped, 150);
  take(&l, ALL);
  acks(&l, 304);
  pump(&l, ALL);
  assert_int_equal(l.s->pumped, 96);
  take(&l, ALL);
  acks(&l, 400);
  assert_true(xm_sm_is_done(l.s));
  free_line(&l);
}

/* <a/> is also sent without being asked for, in case the server sends too fast to ask. */
static void acks_are_also_sent_without_a_request(void **state) {
  line l = new_line();
  int i;
  (void)state;
  for (i = 0; i < 200; i++) xm_sm_handled(l.s); /* stream management isn't enabled */
  expect_moved(&l, "");
  enable(&l);
  for (i = 1; i < XM_SM_TELL_EVERY; i++) xm_sm_handled(l.s);
  says(&l, "r", "");
  expect_moved(&l, "A99");
  for (i = 1; i < XM_SM_TELL_EVERY; i++) xm_sm_handled(l.s);
  expect_moved(&l, "");
  xm_sm_handled(l.s);
  expect_moved(&l, "A199");
  free_line(&l);
}

/* Stanzas wait for <enabled/>, or until release() ends that; after a resumption, for the answer to a request. */
static void stanzas_are_held_until_enabled(void **state) {
  line l = new_line();
  (void)state;
  xm_sm_enable(l.s, true);
  expect_given(&l, 2, "E");
  assert_true(xm_sm_is_held(l.s) && !xm_sm_is_done(l.s));
  xm_sm_release(l.s);
  expect_moved(&l, "1 2");
  says(&l, "enabled", "id=i resume=true");
  assert_false(xm_sm_is_held(l.s));
  cut(&l);
  assert_int_equal(xm_sm_resumed(l.s, 1, NULL), XM_OK);
  expect_moved(&l, "R");
  xm_sm_release(l.s); /* has no effect after a resumption */
  expect_moved(&l, "");
  says(&l, "r", "");
  expect_moved(&l, "A0");
  acks(&l, 1);
  expect_moved(&l, "2 R"); /* it was not known to have arrived */
  cut(&l);
  assert_int_equal(xm_sm_resumed(l.s, 2, NULL), XM_OK); /* nothing to send again, so nothing waits */
  assert_false(xm_sm_is_held(l.s));
  expect_moved(&l, "");
  free_line(&l);
}

/* The limit holds before <enabled/>, too, since <failed/> may come late. */
static void at_most_150_wait_for_enabled(void **state) {
  line l = new_line();
  (void)state;
  enable_at_once(&l, true);
  give_messages(&l, 200);
  pump(&l, ALL);
  take(&l, ALL);
  assert_int_equal(xm_sm_written(l.s), 150);
  says(&l, "enabled", "id=i");
  expect_moved(&l, "R");
  acks(&l, 150);
  pump(&l, ALL);
  assert_int_equal(l.s->pumped, 50);
  free_line(&l);
}

static void a_request_is_made_when_asked_for(void **state) {
  line l = new_line();
  (void)state;
  xm_sm_request(l.s);
  expect_moved(&l, "");
  enable_at_once(&l, true);
  xm_sm_request(l.s);
  expect_moved(&l, "E");
  expect_given(&l, 1, "1");
  says(&l, "enabled", "");
  assert_int_equal(xm_sm_unasked(l.s), 0); /* the request follows in a moment */
  expect_moved(&l, "R");
  expect_moved(&l, "");
  assert_int_equal(xm_sm_awaited(l.s), 1);
  xm_sm_request(l.s);
  expect_given(&l, 1, "2 R");
  assert_int_equal(xm_sm_awaited(l.s), 2);
  acks(&l, 1);
  acks(&l, 2);
  acks(&l, 2); /* without a request */
  assert_int_equal(xm_sm_awaited(l.s), 0);
  free_line(&l);
}

static void the_server_hears_what_was_handled(void **state) {
  line l = new_line();
  (void)state;
  says(&l, "r", "");
  xm_sm_acknowledge(l.s);
  expect_moved(&l, ""); /* stream management isn't enabled */
  enable_at_once(&l, true);
  says(&l, "r", "");
  xm_sm_acknowledge(l.s);
  expect_moved(&l, "E");
  says(&l, "enabled", "");
  expect_moved(&l, "");
  says(&l, "r", "");
  expect_given(&l, 1, "A0 1");
  xm_sm_handled(l.s);
  xm_sm_handled(l.s);
  assert_int_equal(xm_sm_in(l.s), 2);
  expect_moved(&l, "");
  says(&l, "r", "");
  says(&l, "r", "");
  xm_sm_handled(l.s);
  expect_moved(&l, "A3"); /* only one, which counts all that is handled by then */
  xm_sm_acknowledge(l.s);
  expect_moved(&l, "A3");
  free_line(&l);
}

/* A request comes after all that was given, so the answer counts all of it, whichever of them was called first. */
static void a_request_follows_all_that_was_given(void **state) {
  line l = enabled_line();
  (void)state;
  assert_false(xm_sm_is_asked(l.s));
  xm_sm_request(l.s);
  expect_given(&l, 2, "1 2 R");
  assert_true(xm_sm_is_asked(l.s));
  give_messages(&l, 1); /* which that answer won't count */
  assert_false(xm_sm_is_asked(l.s));
  expect_moved(&l, "3");
  assert_false(xm_sm_is_asked(l.s));
  xm_sm_request(l.s);
  expect_moved(&l, "R");
  assert_true(xm_sm_is_asked(l.s));
  acks(&l, 2);
  assert_true(xm_sm_is_asked(l.s));
  acks(&l, 3);
  assert_false(xm_sm_is_asked(l.s));
  xm_sm_request(l.s); /* nothing is unacknowledged: it asks for a sign of life */
  expect_moved(&l, "R");
  expect_moved(&l, "");
  free_line(&l);
}

/* A request isn't forgotten because of the regular ones, nor when the limit in flight is reached. */
static void a_request_is_made_besides_the_regular_ones(void **state) {
  line l = enabled_line();
  (void)state;
  xm_sm_request(l.s);
  expect_given(&l, 12, "1 2 3 4 5 6 7 8 9 10 R 11 12 R");
  acks(&l, 12);
  acks(&l, 12);
  give_messages(&l, XM_SM_IN_FLIGHT + 2);
  xm_sm_request(l.s);
  pump(&l, ALL);
  take(&l, ALL);
  xm_buf_clear(&l.wire);
  assert_int_equal(xm_sm_awaited(l.s), XM_SM_IN_FLIGHT / XM_SM_ASK_EVERY);
  assert_false(xm_sm_is_asked(l.s));
  expect_moved(&l, "");
  acks(&l, 12 + XM_SM_IN_FLIGHT);
  expect_moved(&l, "163 164 R");
  assert_true(xm_sm_is_asked(l.s));
  free_line(&l);
}

/* If the answers acknowledge nothing and the limit is reached, one more <r/> is sent, and not one with every pump. */
static void at_the_limit_one_more_request_is_made(void **state) {
  line l = enabled_line();
  int i;
  (void)state;
  give_messages(&l, XM_SM_IN_FLIGHT + 1);
  pump(&l, ALL);
  take(&l, ALL);
  xm_buf_clear(&l.wire);
  xm_sm_request(l.s);
  expect_moved(&l, "");
  for (i = 0; i < XM_SM_IN_FLIGHT / XM_SM_ASK_EVERY; i++) acks(&l, 0);
  expect_moved(&l, "R");
  acks(&l, 0);
  expect_moved(&l, "");
  assert_int_equal(xm_sm_unasked(l.s), XM_SM_IN_FLIGHT);
  free_line(&l);
}

/* After a resumption, <r/> is sent before and after what is sent again; a request meanwhile adds none. */
static void what_is_sent_again_is_asked_about_twice(void **state) {
  line l = enabled_line();
  (void)state;
  expect_given(&l, 2, "1 2");
  cut(&l);
  assert_int_equal(xm_sm_resumed(l.s, 0, NULL), XM_OK);
  expect_moved(&l, "R");
  assert_false(xm_sm_is_asked(l.s));
  xm_sm_request(l.s);
  expect_moved(&l, "");
  acks(&l, 0);
  expect_given(&l, 1, "1 2 3 R");
  expect_moved(&l, "");
  free_line(&l);
}

static void a_big_stanza_moves_in_pieces_with_nothing_between(void **state) {
  enum { BIG = 4800, PIECE = 300 };
  line l = new_line();
  char *xml = malloc(BIG + 1);
  xm_buf got = XM_BUF_INIT;
  (void)state;
  memset(xml, 'x', BIG);
  xml[BIG] = '\0';
  memcpy(xml, "<message id='", 13);
  memcpy(xml + BIG - 3, "'/>", 3);
  enable(&l);
  give(&l, xml, 0);
  give_messages(&l, 1);
  assert_true(xm_sm_is_between(l.s));
  do {
    pump(&l, PIECE);
    assert_true(xm_buf_len(&l.wire) >= 1 && xm_buf_len(&l.wire) <= PIECE);
    xm_buf_put(&got, xm_buf_at(&l.wire), xm_buf_len(&l.wire));
    take(&l, PIECE);
    xm_sm_request(l.s);
    says(&l, "r", "");
    assert_int_equal(xm_sm_is_between(l.s), xm_buf_len(&got) >= BIG);
  } while (xm_buf_len(&got) < BIG);
  assert_int_equal(xm_buf_len(&got), BIG);
  assert_memory_equal(xm_buf_at(&got), xml, BIG);
  expect_moved(&l, "A0 2 R");
  xm_buf_free(&got);
  free(xml);
  free_line(&l);
}

/* <enabled/>. */

static void enabled_says_what_can_be_resumed(void **state) {
  static const struct {
    const char *attributes, *id, *location;
    unsigned max;
  } rows[] = {{"", NULL, NULL, 0},
              {"id=x", NULL, NULL, 0},
              {"id=x resume=false", NULL, NULL, 0},
              {"id=x resume=0", NULL, NULL, 0},
              {"id=x resume=yes", NULL, NULL, 0},
              {"id=x resume=TRUE", NULL, NULL, 0},
              {"resume=true", NULL, NULL, 0},
              {"resume=true id=", NULL, NULL, 0},
              {"id=x resume=true", "x", NULL, 0},
              {"id=x resume=1", "x", NULL, 0},
              {"id=a+b/c== resume=true", "a+b/c==", NULL, 0},
              {"id=/+/+==== resume=1", "/+/+====", NULL, 0},
              {"id=<'&> resume=1", "<'&>", NULL, 0},
              {"id=x resume=true location=[2001:41D0:1:A49b::1]:9222 max=600", "x", "[2001:41D0:1:A49b::1]:9222", 600},
              {"location=h max=4294967295", NULL, "h", UINT32_MAX},
              {"location= max=", NULL, NULL, 0},
              {"max=-1", NULL, NULL, 0},
              {"max=600s", NULL, NULL, 0},
              {"max=4294967296", NULL, NULL, 0}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    line l = new_line();
    enable_at_once(&l, true);
    expect_moved(&l, "E");
    says(&l, "enabled", rows[i].attributes);
    assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
    assert_int_equal(xm_sm_id(l.s) != NULL, rows[i].id != NULL);
    if (rows[i].id) assert_string_equal(xm_sm_id(l.s), rows[i].id);
    assert_int_equal(xm_sm_location(l.s) != NULL, rows[i].location != NULL);
    if (rows[i].location) assert_string_equal(xm_sm_location(l.s), rows[i].location);
    assert_int_equal(xm_sm_max(l.s), rows[i].max);
    free_line(&l);
  }
}

static void an_id_may_be_long(void **state) {
  char attributes[4100] = "resume=true id=";
  line l = new_line();
  (void)state;
  memset(attributes + strlen(attributes), 'i', 4000);
  enable_at_once(&l, true);
  expect_moved(&l, "E");
  says(&l, "enabled", attributes);
  assert_string_equal(xm_sm_id(l.s), attributes + strlen("resume=true id="));
  free_line(&l);
}

static void enabled_means_nothing_before_enable_or_twice(void **state) {
  line l = new_line();
  (void)state;
  says(&l, "enabled", "id=x resume=true");
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_OFF);
  enable_at_once(&l, true);
  says(&l, "enabled", "id=x resume=true"); /* <enable/> hasn't been sent yet */
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ENABLING);
  expect_moved(&l, "E");
  says(&l, "enabled", "id=x resume=true");
  xm_sm_handled(l.s);
  expect_given(&l, 2, "1 2");
  acks(&l, 1);
  says(&l, "enabled", "id=y resume=true max=5");
  assert_string_equal(xm_sm_id(l.s), "x");
  assert_int_equal(xm_sm_max(l.s), 0);
  assert_int_equal(xm_sm_in(l.s), 1);
  assert_int_equal(xm_sm_acked(l.s), 1);
  free_line(&l);
}

/* Some servers take long to answer <enable/>, and some never do (a component's). */
static void without_enabled_it_goes_on_without(void **state) {
  line l = new_line();
  (void)state;
  xm_sm_give_up(l.s);
  enable_at_once(&l, true);
  give_messages(&l, 3);
  pump(&l, ALL);
  take(&l, strlen("<enable xmlns='urn:xmpp:sm:3' resume='true'/>") + 17);
  xm_sm_give_up(l.s);
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_OFF);
  assert_string_equal(told(&l), "1w 1l");
  assert_string_equal(logged(&l), "2 3");
  take(&l, ALL);
  assert_string_equal(told(&l), "2w 3w 2l 3l");
  expect_given(&l, 9, "4 5 6 7 8 9 10 11 12");
  assert_int_equal(xm_sm_unasked(l.s), 0);
  assert_int_equal(xm_sm_written(l.s), 0);
  free_line(&l);
}

static void enabled_may_come_late(void **state) {
  line l = new_line();
  (void)state;
  enable_at_once(&l, true);
  expect_given(&l, 2, "E 1 2");
  xm_sm_give_up(l.s);
  expect_given(&l, 2, "3 4");
  assert_string_equal(told(&l), "1w 2w 1l 2l 3w 4w 3l 4l");
  give_messages(&l, 2);
  pump(&l, ALL);
  take(&l, 17);
  says(&l, "enabled", "id=x resume=true");
  assert_string_equal(xm_sm_id(l.s), "x");
  assert_int_equal(xm_sm_acked(l.s), 5); /* those that have been written */
  take(&l, ALL);
  assert_string_equal(told(&l), "5w 5l 6w");
  expect_moved(&l, "R");
  acks(&l, 6);
  assert_string_equal(told(&l), "6a");
  xm_sm_give_up(l.s);
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
  free_line(&l);
}

/* What was written before <enabled/> counts as acknowledged, but may be on its way: a smaller h is no error then. */
static void what_has_left_may_not_have_arrived(void **state) {
  int turn;
  (void)state;
  for (turn = 0; turn < 4; turn++) {
    line l = new_line();
    enable_at_once(&l, true);
    expect_given(&l, 4, "E 1 2 3 4");
    xm_sm_give_up(l.s);
    says(&l, "enabled", "id=i resume=true");
    expect_given(&l, 1, "5 R");
    acks(&l, 1);
    acks(&l, 3);
    told(&l);
    assert_int_equal(read_attributes(l.s, "a", "h=2", NULL), XM_EFAIL);
    assert_int_equal(read_attributes(l.s, "a", "h=6", NULL), XM_EFAIL);
    assert_int_equal(xm_sm_acked(l.s), 4);
    if (turn == 0) acks(&l, 5);
    if (turn == 0) assert_int_equal(read_attributes(l.s, "a", "h=4", NULL), XM_EFAIL);
    if (turn == 1) assert_int_equal(xm_sm_lost(l.s, &(uint32_t){3}, 0, 0, FOREVER), XM_OK);
    if (turn > 1) cut(&l);
    if (turn > 1) resume(&l, turn == 2 ? 3 : 5);
    assert_string_equal(told(&l), turn == 0 || turn == 3 ? "5a" : "");
    if (turn == 2) expect_moved(&l, "5 R");
    if (turn == 2) assert_int_equal(read_attributes(l.s, "a", "h=2", NULL), XM_EFAIL);
    if (turn == 2) acks(&l, 4); /* h=4 though 4 isn't sent again */
    assert_int_equal(xm_sm_stanzas(l.s), turn == 1);
    free_line(&l);
  }
}

/* More than 150 stanzas are on the wire without stream management, and half of another, when it is enabled late: the
 * half is completed, or no request could ever be sent. */
static void enabled_may_come_between_two_pieces(void **state) {
  char big[9000];
  line l = new_line();
  (void)state;
  snprintf(big, sizeof big, "<message id='%08900d'/>", 0);
  enable_at_once(&l, true);
  expect_moved(&l, "E");
  xm_sm_give_up(l.s);
  give_messages(&l, 160);
  pump(&l, ALL);
  give(&l, big, 0);
  pump(&l, xm_buf_len(&l.wire) + 1);
  assert_false(xm_sm_is_between(l.s));
  says(&l, "enabled", "");
  give_messages(&l, 1);
  pump(&l, ALL);
  assert_true(xm_sm_is_between(l.s));
  assert_string_equal(briefly(&l) + strlen(l.text) - 2, " R");
  take(&l, ALL);
  acks(&l, 161);
  expect_moved(&l, "162");
  free_line(&l);
}

static void failed_turns_stream_management_off(void **state) {
  line l = new_line();
  (void)state;
  says(&l, "failed", "");
  enable_at_once(&l, true);
  expect_given(&l, 1, "E 1");
  says(&l, "failed", "");
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_OFF);
  assert_string_equal(told(&l), "1w 1l");
  cut(&l);
  assert_int_equal(xm_sm_lost(l.s, NULL, 0, 0, FOREVER), XM_OK);
  enable(&l);
  says(&l, "failed", ""); /* without <enable/> */
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
  free_line(&l);
}

/* Acknowledgements. */

static void h_is_a_number(void **state) {
  static const char *const bad[] = {"", "h=", "h=-1", "h=+1", "h=1.0", "h=0x1", "h=1e0", "h=a", "h=1a", "h=4294967296",
                                    "h=99999999999", "h=00000000001", "h=18446744073709551617", "H=1", "h=\xD9\xA1",
                                    "h=\t1", "h=1\t"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof bad / sizeof *bad; i++) {
    line l = new_line();
    xm_err e = {0};
    enable(&l);
    expect_given(&l, 2, "1 2");
    if (read_attributes(l.s, "a", bad[i], &e) != XM_EFAIL) fail_msg("<a %s/>", bad[i]);
    assert_int_equal(e.layer, XM_LAYER_STREAM);
    assert_string_equal(e.condition, "undefined-condition");
    assert_true(e.retry);
    assert_non_null(strstr(e.text, "2 more were sent"));
    assert_string_equal(logged(&l), "1 2");
    says(&l, "a", "h=0000000002");
    assert_true(xm_sm_is_done(l.s));
    free_line(&l);
  }
}

static void h_is_ignored_before_enabled(void **state) {
  line l = new_line();
  (void)state;
  says(&l, "a", "h=77");
  enable_at_once(&l, true);
  expect_given(&l, 1, "E 1");
  says(&l, "a", "h=77");
  assert_string_equal(logged(&l), "1");
  says(&l, "unheard-of", "h=77");
  free_line(&l);
}

/* Only what was written can be acknowledged. */
static void h_stays_within_what_was_written(void **state) {
  static const uint32_t starts[] = {0, 1, 1000, UINT32_MAX - 6, UINT32_MAX - 2, UINT32_MAX};
  size_t k;
  int d;
  (void)state;
  for (k = 0; k < sizeof starts / sizeof *starts; k++) {
    for (d = -12; d <= 12; d++) {
      const xm_sm_session session = {.id = "i", .acked = starts[k], .in = starts[k]};
      uint32_t h = starts[k] + (uint32_t)d;
      char text[32];
      xm_err e = {0};
      line l = new_line();
      assert_int_equal(xm_sm_restore(l.s, &session), XM_OK);
      resume(&l, starts[k]);
      give_messages(&l, 6);
      pump(&l, ALL);
      take(&l, 4 * 17 + 5); /* half of the fifth is written, the sixth is on the wire */
      sprintf(text, "h=%u", (unsigned)h);
      assert_int_equal(read_attributes(l.s, "a", text, &e), d >= 0 && d <= 4 ? XM_OK : XM_EFAIL);
      assert_int_equal(xm_sm_acked(l.s), d >= 0 && d <= 4 ? h : starts[k]);
      assert_int_equal(xm_sm_stanzas(l.s), d >= 0 && d <= 4 ? 6 - d : 6);
      free_line(&l);
    }
  }
}

static void h_cannot_go_back(void **state) {
  line l = enabled_line();
  xm_err e = {0};
  (void)state;
  expect_given(&l, 5, "1 2 3 4 5 R");
  acks(&l, 3);
  assert_int_equal(read_attributes(l.s, "a", "h=2", &e), XM_EFAIL);
  assert_non_null(strstr(e.text, "3 were acknowledged before and 2 more were sent"));
  assert_int_equal(read_attributes(l.s, "a", "h=6", NULL), XM_EFAIL);
  assert_string_equal(logged(&l), "4 5");
  acks(&l, 5);
  free_line(&l);
}

static void counters_wrap(void **state) {
  const xm_sm_session session = {.id = "i", .in = UINT32_MAX - 2, .acked = UINT32_MAX - 2};
  line l = new_line();
  int i;
  (void)state;
  assert_int_equal(xm_sm_restore(l.s, &session), XM_OK);
  resume(&l, UINT32_MAX - 2);
  expect_given(&l, 6, "1 2 3 4 5 6 R");
  acks(&l, UINT32_MAX);
  assert_string_equal(told(&l), "1w 2w 3w 4w 5w 6w 1a 2a");
  acks(&l, 1);
  assert_string_equal(told(&l), "3a 4a");
  for (i = 0; i < 5; i++) xm_sm_handled(l.s);
  assert_int_equal(xm_sm_in(l.s), 2);
  says(&l, "r", "");
  expect_moved(&l, "A2");
  cut_and_resume(&l, 2);
  assert_string_equal(told(&l), "5a");
  expect_moved(&l, "6 R");
  free_line(&l);
}

/* A link that breaks. */

static void what_was_half_written_is_moved_whole(void **state) {
  size_t n;
  (void)state;
  for (n = 0; n <= 34; n++) {
    line l = enabled_line();
    give_messages(&l, 2);
    pump(&l, 30); /* the second only in part */
    take(&l, n);
    xm_buf_clear(&l.wire);
    cut(&l);
    assert_true(xm_sm_is_between(l.s));
    assert_string_equal(xm_sm_id(l.s), "i");
    assert_int_equal(xm_sm_written(l.s), n >= 34 ? 2 : n >= 17);
    resume(&l, 0);
    expect_moved(&l, "1 2 R");
    assert_string_equal(told(&l), "1w 2w");
    free_line(&l);
  }
}

/* What was due on the old link isn't sent on the new one. */
static void a_cut_drops_due_requests_and_acks(void **state) {
  line l = enabled_line();
  (void)state;
  expect_given(&l, 3, "1 2 3");
  xm_sm_request(l.s);
  says(&l, "r", "");
  cut(&l);
  assert_int_equal(xm_sm_awaited(l.s), 0);
  assert_int_equal(xm_sm_unasked(l.s), 0);
  resume(&l, 3);
  expect_moved(&l, "");
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
  free_line(&l);
}

/* Up to 12 stanzas are written, and some of them acknowledged: every h that the server may send at the resumption. */
static void a_session_goes_on_from_any_h(void **state) {
  uint32_t acked, written;
  int h;
  (void)state;
  for (acked = 0; acked <= 4; acked++) {
    for (written = acked; written <= 12; written++) {
      for (h = -3; h <= 15; h++) {
        bool fine = h >= (int)acked && h <= (int)written;
        xm_err e = {0};
        xm_sm_stanza st;
        line l = enabled_line();
        give_messages(&l, (int)written);
        pump(&l, ALL);
        take(&l, ALL);
        if (acked) acks(&l, acked);
        give_messages(&l, 20 - (int)written);
        cut(&l);
        told(&l);
        assert_int_equal(xm_sm_resumed(l.s, (uint32_t)h, &e), fine ? XM_OK : XM_EFAIL);
        assert_int_equal(xm_err_is_set(&e), !fine);
        assert_int_equal(xm_sm_acked(l.s), fine ? (uint32_t)h : acked);
        assert_int_equal(xm_sm_stanzas(l.s), 20 - (fine ? (uint32_t)h : acked));
        assert_int_equal(xm_sm_written(l.s), fine ? 0 : written - acked);
        assert_true(xm_sm_each(l.s, 0, &st));
        assert_int_equal(st.seq, (fine ? (uint32_t)h : acked) + 1);
        free_line(&l);
      }
    }
  }
}

static void links_may_be_cut_again_and_again(void **state) {
  line l = enabled_line();
  (void)state;
  expect_given(&l, 3, "1 2 3");
  cut_and_resume(&l, 1);
  pump(&l, ALL);
  assert_string_equal(briefly(&l), "2 3 R");
  take(&l, 17);
  xm_buf_clear(&l.wire);
  cut(&l);
  cut(&l); /* this link didn't get as far as that */
  assert_int_equal(xm_sm_written(l.s), 1);
  assert_int_equal(xm_sm_resumed(l.s, 3, NULL), XM_EFAIL); /* 3 isn't known to have been written again */
  resume(&l, 2);
  expect_moved(&l, "3 R");
  acks(&l, 3);
  assert_string_equal(told(&l), "1w 2w 3w 1a 2a 3a");
  free_line(&l);
}

/* A session that is lost. */

#define STAMP "<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25.007Z'/>"
#define AT 1031699305007

static void lose(line *l, const uint32_t *h) {
  cut(l);
  assert_int_equal(xm_sm_lost(l->s, h, AT, AT, FOREVER), XM_OK);
  assert_int_equal(xm_sm_state_of(l->s), XM_SM_OFF);
  assert_null(xm_sm_id(l->s));
  assert_int_equal(xm_sm_written(l->s), 0);
}

/* Stanzas that are held back in a new session. */

/* 1 and 2 are held back in a new session, which has stream management enabled. */
static line holding_line(void) {
  line l = enabled_line();
  give_messages(&l, 2);
  lose(&l, NULL);
  xm_sm_hold_back(l.s);
  assert_true(xm_sm_holds_back(l.s));
  enable(&l);
  return l;
}

static void what_is_given_meanwhile_goes_first(void **state) {
  line l = holding_line();
  (void)state;
  expect_moved(&l, "");
  expect_given(&l, 2, "3 4");
  expect_given(&l, 1, "5");
  assert_string_equal(logged(&l), "3 4 5 1 2");
  assert_int_equal(xm_sm_stanzas(l.s), 5);
  assert_int_equal(xm_sm_first(l.s), 1);
  assert_false(xm_sm_is_done(l.s));
  acks(&l, 2);
  assert_string_equal(told(&l), "3w 4w 5w 3a 4a");
  assert_int_equal(xm_sm_first(l.s), 1);
  xm_sm_let_go(l.s);
  assert_false(xm_sm_holds_back(l.s));
  expect_given(&l, 1, "1 2 6 R");
  assert_string_equal(logged(&l), "5 1 2 6");
  acks(&l, 3);
  assert_int_equal(xm_sm_first(l.s), 1);
  acks(&l, 5);
  assert_int_equal(xm_sm_first(l.s), 6);
  acks(&l, 6);
  assert_string_equal(told(&l), "1w 2w 6w 5a 1a 2a 6a");
  assert_true(xm_sm_is_done(l.s));
  free_line(&l);
}

/* The last stanza that may be sent is followed by <r/>, as the last of all would be. */
static void what_goes_first_is_followed_by_a_request(void **state) {
  line l = holding_line();
  (void)state;
  expect_given(&l, 5, "3 4 5 6 7 R");
  assert_int_equal(xm_sm_unasked(l.s), 0);
  free_line(&l);
}

static void without_stream_management_it_is_the_same(void **state) {
  line l = new_line();
  (void)state;
  give_messages(&l, 2);
  lose(&l, NULL);
  xm_sm_hold_back(l.s);
  expect_given(&l, 1, "3");
  assert_string_equal(told(&l), "3w 3l");
  assert_false(xm_sm_is_done(l.s));
  assert_int_equal(xm_sm_first(l.s), 1);
  xm_sm_let_go(l.s);
  expect_moved(&l, "1 2");
  assert_true(xm_sm_is_done(l.s));
  free_line(&l);
}

static void without_stanzas_nothing_is_held_back(void **state) {
  line l = enabled_line();
  (void)state;
  lose(&l, NULL);
  xm_sm_hold_back(l.s);
  assert_false(xm_sm_holds_back(l.s));
  expect_given(&l, 2, "1 2");
  free_line(&l);
}

/* If the link breaks and the session is resumed, they are still held back. */
static void stanzas_stay_held_back_on_the_next_link(void **state) {
  line l = holding_line();
  (void)state;
  expect_given(&l, 2, "3 4");
  cut_and_resume(&l, 1);
  assert_true(xm_sm_holds_back(l.s));
  expect_given(&l, 1, "4 5 R");
  assert_string_equal(logged(&l), "4 5 1 2");
  xm_sm_let_go(l.s);
  expect_moved(&l, "1 2");
  cut_and_resume(&l, 4);
  expect_moved(&l, "2 R");
  free_line(&l);
}

/* With a stanza that was sent before them, and now waits like the others. */
static void stanzas_of_a_lost_session_are_held_back_in_order(void **state) {
  line l = holding_line();
  (void)state;
  expect_given(&l, 2, "3 4");
  acks(&l, 1);
  lose(&l, NULL);
  assert_false(xm_sm_holds_back(l.s));
  assert_string_equal(logged(&l), "1 2 4");
  xm_sm_hold_back(l.s);
  enable(&l);
  expect_given(&l, 1, "5");
  xm_sm_let_go(l.s);
  expect_moved(&l, "1 2 4");
  lose(&l, NULL);
  assert_string_equal(logged(&l), "1 2 4 5");
  free_line(&l);
}

/* A long one is sent in pieces while others are given. */
static void what_goes_first_may_be_given_between_the_pieces(void **state) {
  line l = holding_line();
  char long_one[3000];
  (void)state;
  snprintf(long_one, sizeof long_one, "<message id='3' x='%02900d'/>", 0);
  give(&l, long_one, XM_SM_WATCHED);
  pump(&l, 1000);
  assert_false(xm_sm_is_between(l.s));
  give_messages(&l, 1);
  xm_sm_let_go(l.s);
  pump(&l, ALL);
  assert_string_equal(briefly(&l), "3 4 1 2");
  free_line(&l);
}

static void what_is_held_back_comes_back_at_the_end(void **state) {
  line l = holding_line();
  (void)state;
  give_messages(&l, 1);
  xm_sm_end(l.s);
  assert_false(xm_sm_holds_back(l.s));
  assert_string_equal(returned(&l), "3 <message id='3'/> ended, 1 <message id='1'><delay xmlns='urn:xmpp:delay' "
                                    "stamp='1970-01-01T00:00:00.000Z'/></message> ended, 2 <message id='2'><delay "
                                    "xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:00.000Z'/></message> ended");
  free_line(&l);
}

/* The server ends the stream because of one that was sent early: the others keep their order. */
static void a_stanza_that_went_first_may_be_blamed(void **state) {
  line l = holding_line();
  (void)state;
  give(&l, "<message id='3'/>", XM_SM_NO_TO);
  give_messages(&l, 1);
  expect_moved(&l, "3 4");
  assert_true(xm_sm_blame(l.s, "improper-addressing"));
  assert_string_equal(logged(&l), "4 1 2");
  give_messages(&l, 1);
  assert_string_equal(logged(&l), "4 5 1 2");
  free_line(&l);
}

/* A stanza that is begun and not committed. */

static void what_was_not_committed_never_leaves(void **state) {
  line l = enabled_line();
  (void)state;
  give(&l, "<message id='1'/>", 0);
  xm_buf_puts(xm_sm_out(l.s), "<iq type='get' id='SECRET"); /* begun, and never rolled back */
  assert_int_equal(xm_sm_bytes(l.s), 17);
  expect_moved(&l, "1");
  give(&l, "<message id='2'/>", 0);
  expect_moved(&l, "2");
  xm_buf_puts(xm_sm_out(l.s), "<iq");
  cut_and_resume(&l, 1);
  expect_moved(&l, "2 R");
  xm_buf_puts(xm_sm_out(l.s), "<iq");
  lose(&l, NULL);
  assert_string_equal(logged(&l), "2");
  xm_buf_puts(xm_sm_out(l.s), "<iq");
  xm_sm_end(l.s);
  assert_string_equal(returned(&l), "2 <message id='2'><delay xmlns='urn:xmpp:delay' "
                                    "stamp='1970-01-01T00:00:00.000Z'/></message> ended");
  free_line(&l);
}

/* While this stanza was being written, another was begun and committed. */
static void an_uncommitted_stanza_is_dropped_by_the_next(void **state) {
  line l = enabled_line();
  xm_buf *out = xm_sm_out(l.s);
  size_t mark;
  (void)state;
  give(&l, "<message id='1'/>", 0);
  mark = xm_buf_mark(xm_sm_out(l.s));
  xm_buf_puts(out, "<message id='half");
  give(&l, "<message id='2'/>", XM_SM_WATCHED);
  xm_buf_puts(out, "way'/>");
  assert_int_equal(xm_sm_commit(l.s, mark, 0, XM_SM_WATCHED, NULL), XM_ENOMEM);
  assert_int_equal(xm_sm_bytes(l.s), 2 * 17);
  assert_int_equal(xm_sm_next_seq(l.s), 3);
  give(&l, "<message id='3'/>", 0);
  expect_moved(&l, "1 2 3");
  free_line(&l);
}

/* The library's own stanzas, such as pings. */

static void a_stanza_of_ours_counts_for_h_only(void **state) {
  line l = new_line();
  (void)state;
  enable_at_once(&l, true);
  give(&l, "<iq id='1'/>", XM_SM_OURS);
  assert_int_equal(xm_sm_stanzas(l.s), 0);
  assert_int_equal(xm_sm_bytes(l.s), 0);
  assert_int_equal(xm_sm_first(l.s), 2);
  give(&l, "<message id='2'/>", XM_SM_WATCHED);
  expect_moved(&l, "E 1 2");
  assert_int_equal(xm_sm_stanzas(l.s), 1);
  assert_int_equal(xm_sm_bytes(l.s), 17);
  assert_int_equal(xm_sm_first(l.s), 2);
  says(&l, "enabled", "id=i resume=true");
  acks(&l, 1); /* of the ping */
  assert_string_equal(told(&l), "2w");
  assert_int_equal(xm_sm_stanzas(l.s), 1);
  assert_false(xm_sm_is_done(l.s));
  acks(&l, 2);
  assert_string_equal(told(&l), "2a");
  assert_int_equal(xm_sm_first(l.s), 3);
  assert_int_equal(read_attributes(l.s, "a", "h=3", NULL), XM_EFAIL);
  give(&l, "<iq id='3'/>", XM_SM_OURS);
  expect_moved(&l, "3");
  assert_true(xm_sm_is_done(l.s)); /* closing doesn't wait for it */
  cut_and_resume(&l, 2);
  expect_moved(&l, "3 R");
  acks(&l, 3);
  assert_int_equal(read_attributes(l.s, "a", "h=4", NULL), XM_EFAIL);
  free_line(&l);
}

static void a_stanza_of_ours_has_no_receipt(void **state) {
  line l = enabled_line();
  int ended;
  (void)state;
  for (ended = 0; ended < 2; ended++) {
    uint64_t first = xm_sm_next_seq(l.s);
    char wanted[128];
    give(&l, "<iq id='1'/>", XM_SM_OURS);
    give(&l, "<iq id='2'/>", 0);
    give(&l, "<iq id='3'/>", XM_SM_OURS);
    pump(&l, ALL);
    take(&l, ALL);
    if (ended) xm_sm_end(l.s);
    else lose(&l, NULL);
    snprintf(wanted, sizeof wanted, "%u <iq id='2'/> %s", (unsigned)first + 1, ended ? "ended" : "unknown");
    assert_string_equal(returned(&l), wanted);
    assert_string_equal(logged(&l), "");
    if (!ended) enable(&l);
  }
  free_line(&l);
}

/* It may have arrived, and then the server's h counts it. */
static void a_stanza_of_ours_is_saved_with_the_session(void **state) {
  const xm_sm_session session = {.id = "i", .acked = 7, .written = 2};
  line l = new_line();
  xm_sm_stanza st;
  (void)state;
  give(&l, "<iq id='1'/>", XM_SM_OURS);
  give(&l, "<message id='2'/>", 0);
  assert_true(xm_sm_each(l.s, 0, &st) && (st.flags & XM_SM_OURS));
  assert_true(xm_sm_each(l.s, 1, &st) && !(st.flags & XM_SM_OURS));
  assert_int_equal(xm_sm_restore(l.s, &session), XM_OK);
  resume(&l, 9);
  assert_true(xm_sm_is_done(l.s));
  free_line(&l);
}

/* Bytes that the kernel has taken without xm_sm_taken having been called are reported with the cut. */
static void what_is_counted_late_is_counted(void **state) {
  line l = enabled_line();
  (void)state;
  give(&l, "<iq id='1'/>", XM_SM_WATCHED);
  pump(&l, ALL);
  xm_sm_cut(l.s, l.taken + xm_buf_len(&l.wire));
  assert_int_equal(xm_sm_lost(l.s, NULL, 0, 0, FOREVER), XM_OK);
  assert_string_equal(told(&l), "1w");
  assert_string_equal(returned(&l), "1 <iq id='1'/> unknown");
  free_line(&l);
}

/* Five stanzas; four of them and the most of the fifth are written. */
static line half_written(void) {
  line l = enabled_line();
  give(&l, "<iq id='1'/>", XM_SM_WATCHED);
  give(&l, "<message id='2'/>", XM_SM_WATCHED);
  give(&l, "<iq id='3'/>", XM_SM_WATCHED);
  give(&l, "<presence id='4'/>", XM_SM_WATCHED);
  give(&l, "<iq id='5'/>", XM_SM_WATCHED | XM_SM_REQUEST);
  pump(&l, ALL);
  take(&l, 12 + 17 + 12 + 18 + 11);
  xm_buf_clear(&l.wire);
  return l;
}

static void an_iq_is_not_done_twice(void **state) {
  line l = half_written();
  (void)state;
  lose(&l, NULL);
  assert_string_equal(returned(&l), "1 <iq id='1'/> unknown, 3 <iq id='3'/> unknown");
  assert_string_equal(told(&l), "1w 2w 3w 4w");
  assert_string_equal(logged(&l), "2 4 5");
  enable(&l);
  assert_string_equal(told(&l), "5w");
  expect_moved(&l, "");
  free_line(&l);
}

/* As in an_iq_is_not_done_twice, but h tells which have arrived, so that no iq is in doubt. */
static void with_h_no_iq_is_in_doubt(void **state) {
  static const char *const rest[] = {"1 2 3 4 5", "2 3 4 5", "3 4 5", "4 5", "5"};
  static const char *const receipts[] = {"", " 1a", " 1a 2a", " 1a 2a 3a", " 1a 2a 3a 4a"};
  uint32_t h;
  (void)state;
  for (h = 0; h <= 4; h++) {
    char wanted[64] = "1w 2w 3w 4w";
    line l = half_written();
    lose(&l, &h);
    assert_string_equal(returned(&l), "");
    assert_string_equal(told(&l), strcat(wanted, receipts[h]));
    assert_string_equal(logged(&l), rest[h]);
    free_line(&l);
  }
  for (h = 5; h < 8; h++) {
    const uint32_t wrong = h < 7 ? h : UINT32_MAX; /* more than were written: ignored */
    line l = half_written();
    lose(&l, &wrong);
    assert_string_equal(returned(&l), "1 <iq id='1'/> unknown, 3 <iq id='3'/> unknown");
    free_line(&l);
  }
}

/* Without <enabled/> the server hasn't counted, so its h means nothing. */
static void h_of_a_session_without_enabled_is_ignored(void **state) {
  const uint32_t h = 1;
  line l = new_line();
  (void)state;
  enable_at_once(&l, true);
  give(&l, "<iq id='1'/>", XM_SM_WATCHED);
  expect_moved(&l, "E 1");
  cut(&l);
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_OFF);
  lose(&l, &h);
  assert_string_equal(returned(&l), "1 <iq id='1'/> unknown");
  says(&l, "enabled", "id=x resume=true"); /* without <enable/> on this stream */
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_OFF);
  assert_string_equal(told(&l), "1w");
  free_line(&l);
}

/* XEP-0203, with a time by XEP-0082: a stanza that is sent late says when it was given. */
static void what_comes_late_is_stamped_once(void **state) {
  static const struct {
    const char *given, *moved;
  } rows[] = {
      {"<message/>", "<message>" STAMP "</message>"},
      {"<message id='1'/>", "<message id='1'>" STAMP "</message>"},
      {"<message><body>a&lt;/message></body></message>", "<message><body>a&lt;/message></body>" STAMP "</message>"},
      {"<message><x><message/></x></message>", "<message><x><message/></x>" STAMP "</message>"},
      {"<message></message>", "<message>" STAMP "</message>"},
      {"<presence/>", "<presence>" STAMP "</presence>"},
      {"<presence to='a@b/c'/>", "<presence to='a@b/c'>" STAMP "</presence>"},
      {"<presence><show>away</show></presence>", "<presence><show>away</show>" STAMP "</presence>"},
      {"<iq id='1' type='get'><x/></iq>", "<iq id='1' type='get'><x/></iq>"},
      {"<iq/>", "<iq/>"},
      {"<iqs/>", "<iqs>" STAMP "</iqs>"},
      {"<message><body>'urn:xmpp:delay'</body></message>", "<message><body>'urn:xmpp:delay'</body>" STAMP "</message>"},
      /* the stamp of a forwarded message (XEP-0297) */
      {"<message><forwarded>" STAMP "<message/></forwarded></message>",
       "<message><forwarded>" STAMP "<message/></forwarded>" STAMP "</message>"},
      {"<message><forwarded>" STAMP "</forwarded></message>",
       "<message><forwarded>" STAMP "</forwarded>" STAMP "</message>"},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    int times;
    line l = new_line();
    assert_int_equal(commit(l.s, rows[i].given, AT, 0), XM_OK);
    for (times = 0; times < 3; times++) {
      xm_sm_stanza st;
      lose(&l, NULL);
      assert_true(xm_sm_each(l.s, 0, &st));
      assert_int_equal(st.len, strlen(rows[i].moved));
      assert_memory_equal(st.xml, rows[i].moved, st.len);
      assert_int_equal(st.given, AT);
      assert_int_equal(st.flags, is_iq(rows[i].given, strlen(rows[i].given)) ? 0 : XM_SM_STAMPED);
    }
    free_line(&l);
  }
}

static void a_stamp_is_utc(void **state) {
  static const struct {
    int64_t at;
    const char *stamp;
  } rows[] = {{0, "1970-01-01T00:00:00.000Z"},
              {999, "1970-01-01T00:00:00.999Z"},
              {-1, "1969-12-31T23:59:59.999Z"},
              {-62135596800000, "0001-01-01T00:00:00.000Z"},
              {951782400001, "2000-02-29T00:00:00.001Z"},
              {951868799999, "2000-02-29T23:59:59.999Z"},
              {951868800000, "2000-03-01T00:00:00.000Z"},
              {INT64_C(2147483647999), "2038-01-19T03:14:07.999Z"},
              {INT64_C(2147483648000), "2038-01-19T03:14:08.000Z"}, /* beyond a time_t of 32 bits */
              {INT64_C(4294967296000), "2106-02-07T06:28:16.000Z"},
              {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
              {4107542399999, "2100-02-28T23:59:59.999Z"},
              {4107542400000, "2100-03-01T00:00:00.000Z"}};
  size_t i;
  (void)state;
  setenv("TZ", "Asia/Kathmandu", 1);
  tzset();
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    line l = new_line();
    xm_sm_stanza st = {0};
    assert_int_equal(commit(l.s, "<message/>", rows[i].at, 0), XM_OK);
    lose(&l, NULL);
    assert_true(xm_sm_each(l.s, 0, &st));
    assert_memory_equal(strstr(st.xml, "stamp='") + 7, rows[i].stamp, 24);
    free_line(&l);
  }
  unsetenv("TZ");
  tzset();
}

/* The calendar, compared with the C library's for every day of eight hundred years, as far as its time_t goes. */
static void every_day_has_its_date(void **state) {
  int64_t day, year;
  int month, of_month;
  (void)state;
  for (day = -146097; day < 146097; day++) {
    const time_t seconds = (time_t)(day * 86400);
    struct tm tm;
    if (seconds != day * 86400) continue; /* time_t has 32 bits */
    gmtime_r(&seconds, &tm);
    read_day(day, &year, &month, &of_month);
    if (year != tm.tm_year + 1900 || month != tm.tm_mon + 1 || of_month != tm.tm_mday)
      fail_msg("day %lld: %lld-%d-%d", (long long)day, (long long)year, month, of_month);
  }
}

/* Ages are measured by the steady clock; the stamp is computed from the system's clock as it is set now. */
static void setting_the_clock_does_not_age_stanzas(void **state) {
  line l = enabled_line();
  xm_sm_stanza st = {0};
  (void)state;
  assert_int_equal(commit(l.s, "<message id='1'/>", 5000, 0), XM_OK); /* a clock that isn't set yet, in 1970 */
  cut(&l);
  assert_int_equal(xm_sm_lost(l.s, NULL, 6000, AT + 1000, 1000), XM_OK);
  assert_string_equal(returned(&l), "");
  assert_true(xm_sm_each(l.s, 0, &st));
  assert_memory_equal(strstr(st.xml, "<delay"), STAMP, strlen(STAMP));
  assert_int_equal(xm_sm_lost(l.s, NULL, 6001, 0, 1000), XM_OK);
  assert_string_equal(returned(&l), "1 <message id='1'>" STAMP "</message> old");
  free_line(&l);
}

/* What is sent again after a resumption gets no stamp: its bytes don't change. */
static void what_is_resumed_gets_no_stamp(void **state) {
  line l = enabled_line();
  (void)state;
  expect_given(&l, 1, "1");
  cut_and_resume(&l, 0);
  pump(&l, ALL);
  assert_int_equal(xm_buf_len(&l.wire), strlen("<message id='1'/><r xmlns='urn:xmpp:sm:3'/>"));
  free_line(&l);
}

static void what_is_too_old_comes_back(void **state) {
  line l = enabled_line();
  (void)state;
  assert_int_equal(commit(l.s, "<message id='1'/>", 1000, XM_SM_WATCHED), XM_OK);
  assert_int_equal(commit(l.s, "<iq id='2'/>", 1001, XM_SM_WATCHED), XM_OK);
  expect_moved(&l, "1 2");
  assert_int_equal(commit(l.s, "<message id='3'/>", 1001, XM_SM_WATCHED), XM_OK);
  assert_int_equal(commit(l.s, "<iq id='4'/>", 1000, XM_SM_WATCHED), XM_OK);
  assert_int_equal(commit(l.s, "<iq id='5'/>", 1001, 0), XM_OK);
  cut(&l);
  assert_int_equal(xm_sm_lost(l.s, NULL, 2001, 2001, 1000), XM_OK);
  assert_string_equal(logged(&l), "3 5");
  assert_string_equal(returned(&l), "1 <message id='1'/> old, 2 <iq id='2'/> unknown, 4 <iq id='4'/> old");
  assert_int_equal(xm_sm_lost(l.s, NULL, 2002, 2002, 1000), XM_OK);
  assert_string_equal(logged(&l), "");
  assert_string_equal(returned(&l), "3 <message id='3'><delay xmlns='urn:xmpp:delay' "
                                    "stamp='1970-01-01T00:00:01.001Z'/></message> old, 5 <iq id='5'/> old");
  free_line(&l);
}

/* Whether or not it has arrived, and however old it is; only what is watched comes back. */
static void what_belongs_to_a_session_ends_with_it(void **state) {
  line l = enabled_line();
  (void)state;
  assert_int_equal(commit(l.s, "<presence id='1'/>", 1000, XM_SM_SESSION), XM_OK);
  assert_int_equal(commit(l.s, "<presence id='2'/>", 1000, XM_SM_SESSION | XM_SM_WATCHED), XM_OK);
  expect_moved(&l, "1 2");
  assert_int_equal(commit(l.s, "<presence id='3'/>", 1000, XM_SM_SESSION), XM_OK);
  assert_int_equal(commit(l.s, "<message id='4'/>", 1000, 0), XM_OK);
  assert_int_equal(commit(l.s, "<iq id='5'/>", 9000, XM_SM_SESSION | XM_SM_WATCHED), XM_OK);
  assert_int_equal(xm_sm_stanzas(l.s), 5);
  cut(&l);
  assert_int_equal(xm_sm_lost(l.s, NULL, 9000, 9000, 8000), XM_OK);
  assert_string_equal(logged(&l), "4");
  assert_string_equal(told(&l), "2w");
  assert_string_equal(returned(&l), "2 <presence id='2'/> over, 5 <iq id='5'/> over");
  free_line(&l);
}

/* A session that is resumed isn't lost; and what the server's last h counts had arrived. */
static void what_belongs_to_a_session_goes_on_with_it(void **state) {
  line l = enabled_line();
  (void)state;
  give(&l, "<presence id='1'/>", XM_SM_SESSION | XM_SM_WATCHED);
  give(&l, "<presence id='2'/>", XM_SM_SESSION);
  expect_moved(&l, "1 2");
  give(&l, "<presence id='3'/>", XM_SM_SESSION | XM_SM_WATCHED);
  cut_and_resume(&l, 0);
  expect_moved(&l, "1 2 3 R");
  assert_string_equal(logged(&l), "1 2 3");
  lose(&l, &(uint32_t){2});
  assert_string_equal(logged(&l), "");
  assert_string_equal(told(&l), "1w 3w 1a");
  assert_string_equal(returned(&l), "3 <presence id='3'/> over");
  free_line(&l);
}

/* At the connection's end it comes back as all that is left does, watched or not. */
static void what_belongs_to_a_session_comes_back_at_the_end(void **state) {
  line l = enabled_line();
  xm_sm_stanza st;
  (void)state;
  give(&l, "<presence id='1'/>", XM_SM_SESSION);
  cut(&l);
  xm_sm_end(l.s);
  assert_true(xm_sm_returned_next(l.s, &st));
  assert_int_equal(st.flags, XM_SM_SESSION);
  assert_int_equal(st.reason, XM_SM_ENDED);
  assert_false(xm_sm_returned_next(l.s, &st));
  free_line(&l);
}

/* With its flags, time and number; those of an earlier loss first, even if one of them is just being examined. */
static void what_comes_back_waits_to_be_fetched(void **state) {
  line l = half_written();
  xm_sm_stanza st;
  (void)state;
  lose(&l, NULL);
  assert_true(xm_sm_returned_next(l.s, &st));
  assert_int_equal(st.seq, 1);
  enable_at_once(&l, true);
  pump(&l, ALL);
  take(&l, ALL);
  lose(&l, NULL);
  assert_true(xm_sm_returned_next(l.s, &st));
  assert_int_equal(st.seq, 3);
  assert_memory_equal(st.xml, "<iq id='3'/>", 12);
  xm_sm_end(l.s);
  assert_true(xm_sm_returned_next(l.s, &st));
  assert_int_equal(st.seq, 5);
  assert_int_equal(st.flags, XM_SM_WATCHED | XM_SM_REQUEST);
  assert_int_equal(st.reason, XM_SM_UNKNOWN);
  assert_true(xm_sm_returned_next(l.s, &st));
  assert_int_equal(st.seq, 2);
  assert_int_equal(st.reason, XM_SM_ENDED);
  assert_true(xm_sm_returned_next(l.s, &st));
  assert_int_equal(st.seq, 4);
  assert_memory_equal(st.xml, "<presence id='4'><delay", 23);
  assert_false(xm_sm_returned_next(l.s, &st));
  assert_false(xm_sm_returned_next(l.s, &st));
  free_line(&l);
}

static void only_watched_stanzas_have_receipts(void **state) {
  line l = enabled_line();
  (void)state;
  give(&l, "<message id='1'/>", 0);
  give(&l, "<message id='2'/>", XM_SM_WATCHED);
  give(&l, "<iq id='3'/>", XM_SM_REQUEST);
  give(&l, "<iq id='4'/>", XM_SM_REQUEST | XM_SM_WATCHED);
  expect_moved(&l, "1 2 3 4");
  acks(&l, 4);
  assert_string_equal(told(&l), "2w 4w 2a 4a");
  free_line(&l);
}

/* Each is reported as written once; then as acknowledged or left, or it comes back, and that is the end. */
static void a_receipt_is_told_once(void **state) {
  line l = enabled_line();
  (void)state;
  expect_given(&l, 3, "1 2 3");
  cut_and_resume(&l, 1);
  expect_moved(&l, "2 3 R");
  assert_string_equal(told(&l), "1w 2w 3w 1a");
  cut(&l);
  lose(&l, &(uint32_t){2});
  assert_string_equal(told(&l), "2a");
  expect_given(&l, 2, "3 4 5");
  assert_string_equal(told(&l), "4w 5w 3l 4l 5l");
  give_messages(&l, 1);
  xm_sm_end(l.s);
  assert_string_equal(returned(&l), "6 <message id='6'/> ended");
  assert_string_equal(told(&l), "");
  free_line(&l);
}

/* Receipts take space for the stanzas in the log, not for all that there ever were. */
static void memory_for_receipts_is_bounded(void **state) {
  line l = enabled_line();
  int i;
  (void)state;
  for (i = 1; i <= 10000; i++) {
    give_messages(&l, 1);
    pump(&l, ALL);
    take(&l, ALL);
    acks(&l, (uint32_t)i);
    told(&l);
  }
  assert_true(l.s->receipts.cap >= 1 && l.s->receipts.cap <= 1024);
  free_line(&l);
}

static void the_end_clears_everything(void **state) {
  line l = half_written();
  (void)state;
  acks(&l, 1);
  xm_sm_end(l.s);
  assert_string_equal(logged(&l), "");
  assert_int_equal(xm_sm_written(l.s), 0);
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_OFF);
  assert_null(xm_sm_id(l.s));
  assert_true(xm_sm_is_done(l.s));
  assert_string_equal(told(&l), "1w 2w 3w 4w 1a");
  assert_string_equal(returned(&l), "2 <message id='2'/> ended, 3 <iq id='3'/> ended, 4 <presence id='4'/> ended, "
                                    "5 <iq id='5'/> ended");
  xm_sm_end(l.s);
  assert_string_equal(returned(&l), "");
  free_line(&l);
}

/* A session that another process has saved. */
static void a_session_is_restored(void **state) {
  const xm_sm_session session = {.id = "a+b==", .location = "h:5", .max = 60, .in = 7, .acked = 10, .written = 2};
  xm_sm_session too_much = {.id = "i", .written = 9};
  line l = new_line();
  (void)state;
  give_messages(&l, 3);
  assert_int_equal(xm_sm_restore(l.s, &session), XM_OK);
  assert_string_equal(xm_sm_id(l.s), "a+b==");
  assert_string_equal(xm_sm_location(l.s), "h:5");
  assert_int_equal(xm_sm_max(l.s), 60);
  assert_int_equal(xm_sm_in(l.s), 7);
  assert_int_equal(xm_sm_acked(l.s), 10);
  assert_int_equal(xm_sm_written(l.s), 2);
  assert_int_equal(xm_sm_resumed(l.s, 13, NULL), XM_EFAIL);
  assert_int_equal(xm_sm_resumed(l.s, 9, NULL), XM_EFAIL);
  assert_int_equal(xm_sm_written(l.s), 2);
  resume(&l, 11);
  assert_string_equal(told(&l), "1a");
  expect_moved(&l, "2 3 R");
  assert_string_equal(told(&l), "3w"); /* the other process has had the second's receipt */
  free_line(&l);
  l = new_line();
  give_messages(&l, 3);
  assert_int_equal(xm_sm_restore(l.s, &too_much), XM_OK);
  assert_int_equal(xm_sm_written(l.s), 3);
  assert_null(xm_sm_location(l.s));
  lose(&l, NULL);
  assert_string_equal(logged(&l), "1 2 3");
  free_line(&l);
}

/* Memory that runs out. */

static bool insists; /* a call that has failed must succeed the second time */

#define SURELY(call) (((call) < 0 && insists) ? assert_int_equal((call), XM_OK) : (void)0)

/* Writes all receipts, returned stanzas and the log to `to`; returns how many stanzas have come to their end by
 * that. */
static int tell_all(xm_sm *s, xm_buf *to) {
  xm_sm_receipt r;
  xm_sm_stanza st;
  bool armed = heap.armed;
  char text[64];
  size_t i;
  int ends = 0;
  heap.armed = false;
  while (xm_sm_receipt_next(s, &r)) {
    ends += r.fate != XM_SM_WRITTEN;
    snprintf(text, sizeof text, "%u%c ", (unsigned)r.seq, "wal"[r.fate]);
    xm_buf_puts(to, text);
  }
  for (; xm_sm_returned_next(s, &st); ends++) {
    snprintf(text, sizeof text, "\n%u %d ", (unsigned)st.seq, (int)st.reason);
    xm_buf_puts(to, text);
    xm_buf_put(to, st.xml, st.len);
  }
  for (i = 0; xm_sm_each(s, i, &st); i++) xm_buf_put(to, st.xml, st.len);
  xm_buf_puts(to, "\n");
  heap.armed = armed;
  return ends;
}

static uint64_t on_wire; /* bytes of this link that were taken */

static void break_wire(xm_sm *s) {
  xm_sm_cut(s, on_wire);
  on_wire = 0;
}

static void move(xm_sm *s, xm_buf *to) {
  xm_buf wire = XM_BUF_INIT;
  SURELY(xm_sm_pump(s, &wire, ALL));
  bool armed = heap.armed;
  heap.armed = false;
  xm_buf_put(to, xm_buf_at(&wire), xm_buf_len(&wire));
  heap.armed = armed;
  on_wire += xm_buf_len(&wire);
  xm_sm_taken(s, on_wire);
  xm_buf_free(&wire);
}

static void commit_four(xm_sm *s) {
  char big[600];
  snprintf(big, sizeof big, "<message id='%0500d'/>", 2);
  SURELY(commit(s, "<iq id='1'/>", 0, XM_SM_WATCHED));
  SURELY(commit(s, big, 1, XM_SM_WATCHED));
  SURELY(commit(s, "<presence/>", 2, XM_SM_WATCHED | XM_SM_REQUEST));
  SURELY(commit(s, "<iq id='3'/>", 0, XM_SM_WATCHED));
}

/* A session that is cut, resumed and lost, a second one that is lost with h known, and the end. */
static int live(xm_sm *s, xm_buf *to) {
  const uint32_t h = 1;
  int ends = 0;
  commit_four(s);
  xm_sm_enable(s, true);
  xm_sm_release(s);
  move(s, to);
  read_attributes(s, "enabled", "id=i resume=true location=h:5", NULL);
  commit_four(s);
  move(s, to);
  read_attributes(s, "a", "h=2", NULL);
  ends += tell_all(s, to);
  break_wire(s);
  xm_sm_resumed(s, 3, NULL);
  commit_four(s);
  move(s, to);
  read_attributes(s, "a", "h=3", NULL);
  move(s, to);
  break_wire(s);
  SURELY(xm_sm_lost(s, NULL, 10, 10, 9));
  if (xm_sm_state_of(s) == XM_SM_OFF && xm_sm_written(s) == 0) xm_sm_hold_back(s);
  commit_four(s);
  xm_sm_enable(s, true);
  read_attributes(s, "r", "", NULL);
  xm_sm_release(s);
  move(s, to);
  read_attributes(s, "enabled", "", NULL);
  xm_sm_let_go(s);
  move(s, to);
  break_wire(s);
  SURELY(xm_sm_lost(s, &h, 10, 10, FOREVER));
  commit_four(s);
  xm_sm_end(s);
  return ends + tell_all(s, to);
}

/* One allocation fails, the call is repeated, and the result is as if nothing had failed. */
static void one_failed_allocation_changes_nothing(void **state) {
  xm_buf all = XM_BUF_INIT;
  long n = -1, before = heap.live;
  bool failed = true;
  (void)state;
  insists = true;
  for (; failed; n++) {
    xm_buf got = XM_BUF_INIT;
    xm_sm *s = xm_sm_new();
    if (n >= 0) heap_fails(n, false);
    assert_int_equal(live(s, n < 0 ? &all : &got), 20);
    failed = heap_is_well() || n < 0;
    assert_int_equal(xm_sm_next_seq(s), 21);
    if (n >= 0) {
      assert_int_equal(xm_buf_len(&got), xm_buf_len(&all));
      assert_memory_equal(xm_buf_at(&got), xm_buf_at(&all), xm_buf_len(&all));
    }
    xm_sm_free(s);
    xm_buf_free(&got);
  }
  xm_buf_free(&all);
  assert_int_equal(heap.live, before);
  assert_true(n >= 20 && n <= 1000);
}

/* All allocations fail from one on: each stanza that could be given still ends exactly once, and nothing leaks. */
static void without_memory_each_stanza_ends_once(void **state) {
  long n = 0, before = heap.live;
  bool failed;
  (void)state;
  insists = false;
  do {
    xm_buf told = XM_BUF_INIT;
    xm_sm *s;
    heap_fails(n++, true);
    s = xm_sm_new();
    if (s) {
      int ends = live(s, &told);
      assert_int_equal(ends, xm_sm_next_seq(s) - 1);
      assert_int_equal(xm_sm_stanzas(s), 0);
    }
    failed = heap_is_well();
    assert_int_equal(s == NULL, n == 1);
    xm_sm_free(s);
    xm_buf_free(&told);
    assert_int_equal(heap.live, before);
  } while (failed);
  xm_sm_free(NULL);
}

static void a_session_without_memory_is_not_restored(void **state) {
  char location[300];
  const xm_sm_session session = {.id = "i", .location = location, .in = 1, .acked = 1};
  long n = 0;
  int rc;
  (void)state;
  memset(location, 'l', sizeof location - 1);
  location[sizeof location - 1] = '\0';
  do {
    line l = new_line();
    heap_fails(n++, true);
    rc = xm_sm_restore(l.s, &session);
    assert_int_equal(rc, heap_is_well() ? XM_ENOMEM : XM_OK);
    assert_int_equal(xm_sm_id(l.s) != NULL, rc == XM_OK);
    if (rc < 0) assert_int_equal(xm_sm_restore(l.s, &session), XM_OK);
    assert_string_equal(xm_sm_id(l.s), "i");
    assert_string_equal(xm_sm_location(l.s), location);
    free_line(&l);
  } while (rc < 0);
  assert_int_equal(n, 3);
}

/* Five stanzas, of which the condition is about the one at `place`; `moved` bytes are on the wire, of which the kernel
 * takes `taken`. */
static void blame_one(int place, const char *condition, unsigned flags, bool managed, size_t moved, size_t taken) {
  char body[XM_SM_LONG + 64], id[2] = "";
  line l = new_line();
  xm_sm_stanza st;
  size_t on_wire, left, i;
  const char *at;
  bool found;
  if (managed) enable(&l);
  xm_buf_clear(&l.wire);
  for (i = 0; i < 5; i++) {
    bool it = (int)i == place;
    int fill = it && !flags ? XM_SM_LONG : 1;
    snprintf(body, sizeof body, "<message id='%d'>%0*d</message>", (int)i, fill, 7);
    give(&l, body, XM_SM_WATCHED | (it ? flags : 0));
  }
  assert_int_equal(xm_sm_pump(l.s, &l.wire, moved), XM_OK);
  snprintf(id, sizeof id, "%d", place);
  xm_buf_putc(&l.wire, '\0');
  snprintf(body, sizeof body, "<message id='%d'>", place);
  on_wire = strstr(xm_buf_at(&l.wire) ? xm_buf_at(&l.wire) : "", body) != NULL;
  xm_buf_rollback(&l.wire, xm_buf_mark(&l.wire) - 1);
  take(&l, taken);
  left = xm_sm_stanzas(l.s);
  found = xm_sm_blame(l.s, condition);
  if (on_wire || moved > 32 * 5) assert_int_equal(found, on_wire);
  assert_false(xm_sm_blame(l.s, condition));
  assert_false(xm_sm_blame(l.s, "not-authorized"));
  if (found) {
    assert_true(xm_sm_returned_next(l.s, &st));
    assert_int_equal(st.reason, XM_SM_BLAMED);
    assert_non_null(memmem(st.xml, st.len, body, strlen(body)));
    assert_true(xm_sm_stanzas(l.s) == left - 1 || (!managed && xm_sm_stanzas(l.s) == left)); /* or it had left */
  }
  assert_false(xm_sm_returned_next(l.s, &st));
  cut(&l);
  xm_buf_clear(&l.wire);
  assert_int_equal(xm_sm_lost(l.s, NULL, 0, 0, FOREVER), XM_OK);
  assert_int_equal(xm_sm_pump(l.s, &l.wire, ALL), XM_OK);
  xm_buf_putc(&l.wire, '\0');
  at = xm_buf_at(&l.wire);
  for (i = 0; i < 5 && managed; i++) { /* the others, in their order */
    snprintf(body, sizeof body, "<message id='%d'>", (int)i);
    if ((int)i == place && found) {
      assert_null(strstr(at, body));
    } else {
      at = strstr(at, body);
      assert_non_null(at);
    }
  }
  if (found) {
    snprintf(body, sizeof body, "<message id='%d'>", place);
    assert_null(strstr(xm_buf_at(&l.wire), body));
  }
  free_line(&l);
}

static void what_is_blamed_comes_back_alone(void **state) {
  static const size_t sizes[] = {0, 1, 20, 60, 150, 5000, ALL};
  int place;
  size_t moved, taken, n = sizeof sizes / sizeof *sizes;
  (void)state;
  for (place = 0; place < 5; place++) {
    for (moved = 0; moved < n; moved++) {
      for (taken = 0; taken < n; taken++) {
        for (int managed = 0; managed < 2; managed++) {
          blame_one(place, "policy-violation", 0, managed, sizes[moved], sizes[taken]);
          blame_one(place, "invalid-from", XM_SM_FROM, managed, sizes[moved], sizes[taken]);
          blame_one(place, "improper-addressing", XM_SM_NO_TO, managed, sizes[moved], sizes[taken]);
        }
      }
    }
  }
}

/* A stanza that has left and may be blamed is kept for a while; if it isn't blamed, it counts as left, like the
 * others. */
static void a_stanza_that_is_not_blamed_counts_as_left(void **state) {
  line l = new_line();
  xm_sm_receipt r;
  int i, left = 0;
  (void)state;
  for (i = 0; i < XM_SM_ASIDE + 3; i++) give(&l, "<message/>", XM_SM_WATCHED | XM_SM_NO_TO);
  assert_int_equal(xm_sm_pump(l.s, &l.wire, ALL), XM_OK);
  take(&l, ALL);
  assert_int_equal(xm_sm_stanzas(l.s), 0);
  while (xm_sm_receipt_next(l.s, &r)) left += r.fate == XM_SM_LEFT;
  assert_int_equal(left, 3);
  xm_sm_acquit(l.s);
  while (xm_sm_receipt_next(l.s, &r)) left += r.fate == XM_SM_LEFT;
  assert_int_equal(left, XM_SM_ASIDE + 3);
  assert_false(xm_sm_blame(l.s, "improper-addressing"));
  free_line(&l);
}

/* An id for which there is no memory isn't kept, so no resumption is asked for. */
static void an_id_without_memory_is_not_kept(void **state) {
  line l = new_line();
  (void)state;
  enable_at_once(&l, true);
  expect_moved(&l, "E");
  heap_fails(0, true);
  read_attributes(l.s, "enabled", "id=i resume=true location=h", NULL);
  assert_true(heap_is_well());
  assert_null(xm_sm_id(l.s));
  assert_null(xm_sm_location(l.s));
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
  free_line(&l);
}

/* Stream management that was enabled with the session (XEP-0386): nothing is asked for or waits, both counters begin at
 * 0. */
static void stream_management_may_come_with_the_session(void **state) {
  line l = new_line();
  (void)state;
  give_messages(&l, 2);
  xm_sm_enabled(l.s, &(xm_sm_terms){"s1", "h:1", 60});
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
  assert_false(xm_sm_is_held(l.s));
  assert_string_equal(xm_sm_id(l.s), "s1");
  assert_string_equal(xm_sm_location(l.s), "h:1");
  assert_int_equal(xm_sm_max(l.s), 60);
  assert_int_equal(xm_sm_in(l.s) + xm_sm_acked(l.s), 0);
  expect_given(&l, 1, "1 2 3");
  acks(&l, 3);
  assert_string_equal(told(&l), "1w 2w 3w 1a 2a 3a");
  says(&l, "enabled", "id=other resume=true max=5"); /* without <enable/> */
  assert_string_equal(xm_sm_id(l.s), "s1");
  assert_int_equal(xm_sm_max(l.s), 60);
  free_line(&l);
  l = new_line();
  xm_sm_enabled(l.s, &(xm_sm_terms){NULL, NULL, 0});
  assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
  assert_null(xm_sm_id(l.s));
  assert_null(xm_sm_location(l.s));
  assert_int_equal(xm_sm_max(l.s), 0);
  free_line(&l);
}

/* After another session, with the stanzas that it has left; and it is resumed as any session. */
static void counters_begin_at_zero_after_another_session(void **state) {
  line l = enabled_line();
  (void)state;
  expect_given(&l, 3, "1 2 3");
  acks(&l, 1);
  xm_sm_handled(l.s);
  cut(&l);
  assert_int_equal(xm_sm_lost(l.s, NULL, 0, 0, FOREVER), XM_OK);
  xm_sm_enabled(l.s, &(xm_sm_terms){"s2", NULL, 0});
  assert_int_equal(xm_sm_in(l.s) + xm_sm_acked(l.s), 0);
  assert_string_equal(xm_sm_id(l.s), "s2");
  xm_sm_handled(l.s);
  assert_int_equal(xm_sm_in(l.s), 1);
  expect_moved(&l, "2 3");
  acks(&l, 2);
  assert_int_equal(xm_sm_stanzas(l.s), 0);
  expect_given(&l, 1, "4");
  cut_and_resume(&l, 2);
  expect_moved(&l, "4 R");
  acks(&l, 3);
  free_line(&l);
}

static void an_id_that_comes_with_the_session_needs_memory(void **state) {
  int i;
  (void)state;
  for (i = 0; i < 3; i++) {
    line l = new_line();
    heap_fails(i, false);
    xm_sm_enabled(l.s, &(xm_sm_terms){"s1", "h:1", 60});
    heap_is_well();
    assert_int_equal(xm_sm_state_of(l.s), XM_SM_ON);
    assert_int_equal(xm_sm_id(l.s) == NULL, i == 0);
    assert_int_equal(xm_sm_location(l.s) == NULL, i == 1);
    assert_int_equal(xm_sm_max(l.s), 60);
    free_line(&l);
  }
}

/* How many stanzas of a lost session a server may claim: between those acknowledged and those written. */
static void what_may_have_been_handled(void **state) {
  line l = enabled_line();
  (void)state;
  expect_given(&l, 4, "1 2 3 4");
  acks(&l, 1);
  give_messages(&l, 2); /* these two aren't on the wire */
  cut(&l);
  assert_int_equal(xm_sm_check_handled(l.s, 0, NULL), XM_EFAIL);
  assert_int_equal(xm_sm_check_handled(l.s, 1, NULL), XM_OK);
  assert_int_equal(xm_sm_check_handled(l.s, 2, NULL), XM_OK);
  assert_int_equal(xm_sm_check_handled(l.s, 4, NULL), XM_OK);
  assert_int_equal(xm_sm_check_handled(l.s, 5, NULL), XM_EFAIL);
  assert_int_equal(xm_sm_check_handled(l.s, 7, NULL), XM_EFAIL);
  assert_int_equal(xm_sm_check_handled(l.s, UINT32_MAX, NULL), XM_EFAIL);
  free_line(&l);
  l = new_line();
  give_messages(&l, 1);
  assert_int_equal(xm_sm_check_handled(l.s, 77, NULL), XM_OK); /* there was no stream management */
  free_line(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_stream_management_a_stanza_is_done_when_the_kernel_has_it),
      cmocka_unit_test(other_bytes_on_the_wire_are_counted),
      cmocka_unit_test(enable_is_first_and_counting_begins_with_it),
      cmocka_unit_test(a_request_follows_its_batch),
      cmocka_unit_test(single_stanzas_are_asked_for_five_at_a_time),
      cmocka_unit_test(a_full_wire_delays_the_request),
      cmocka_unit_test(at_most_150_are_in_flight),
      cmocka_unit_test(acks_are_also_sent_without_a_request),
      cmocka_unit_test(stanzas_are_held_until_enabled),
      cmocka_unit_test(at_most_150_wait_for_enabled),
      cmocka_unit_test(a_request_is_made_when_asked_for),
      cmocka_unit_test(a_request_follows_all_that_was_given),
      cmocka_unit_test(a_request_is_made_besides_the_regular_ones),
      cmocka_unit_test(at_the_limit_one_more_request_is_made),
      cmocka_unit_test(what_is_sent_again_is_asked_about_twice),
      cmocka_unit_test(the_server_hears_what_was_handled),
      cmocka_unit_test(a_big_stanza_moves_in_pieces_with_nothing_between),
      cmocka_unit_test(enabled_says_what_can_be_resumed),
      cmocka_unit_test(an_id_may_be_long),
      cmocka_unit_test(enabled_means_nothing_before_enable_or_twice),
      cmocka_unit_test(without_enabled_it_goes_on_without),
      cmocka_unit_test(enabled_may_come_late),
      cmocka_unit_test(what_has_left_may_not_have_arrived),
      cmocka_unit_test(enabled_may_come_between_two_pieces),
      cmocka_unit_test(failed_turns_stream_management_off),
      cmocka_unit_test(stream_management_may_come_with_the_session),
      cmocka_unit_test(counters_begin_at_zero_after_another_session),
      cmocka_unit_test(an_id_that_comes_with_the_session_needs_memory),
      cmocka_unit_test(what_may_have_been_handled),
      cmocka_unit_test(h_is_a_number),
      cmocka_unit_test(h_is_ignored_before_enabled),
      cmocka_unit_test(h_stays_within_what_was_written),
      cmocka_unit_test(h_cannot_go_back),
      cmocka_unit_test(counters_wrap),
      cmocka_unit_test(what_was_half_written_is_moved_whole),
      cmocka_unit_test(a_cut_drops_due_requests_and_acks),
      cmocka_unit_test(a_session_goes_on_from_any_h),
      cmocka_unit_test(links_may_be_cut_again_and_again),
      cmocka_unit_test(an_iq_is_not_done_twice),
      cmocka_unit_test(with_h_no_iq_is_in_doubt),
      cmocka_unit_test(h_of_a_session_without_enabled_is_ignored),
      cmocka_unit_test(what_comes_late_is_stamped_once),
      cmocka_unit_test(a_stamp_is_utc),
      cmocka_unit_test(every_day_has_its_date),
      cmocka_unit_test(setting_the_clock_does_not_age_stanzas),
      cmocka_unit_test(what_is_given_meanwhile_goes_first),
      cmocka_unit_test(what_goes_first_is_followed_by_a_request),
      cmocka_unit_test(without_stream_management_it_is_the_same),
      cmocka_unit_test(without_stanzas_nothing_is_held_back),
      cmocka_unit_test(stanzas_stay_held_back_on_the_next_link),
      cmocka_unit_test(stanzas_of_a_lost_session_are_held_back_in_order),
      cmocka_unit_test(what_goes_first_may_be_given_between_the_pieces),
      cmocka_unit_test(what_is_held_back_comes_back_at_the_end),
      cmocka_unit_test(a_stanza_that_went_first_may_be_blamed),
      cmocka_unit_test(what_was_not_committed_never_leaves),
      cmocka_unit_test(an_uncommitted_stanza_is_dropped_by_the_next),
      cmocka_unit_test(a_stanza_of_ours_counts_for_h_only),
      cmocka_unit_test(a_stanza_of_ours_has_no_receipt),
      cmocka_unit_test(a_stanza_of_ours_is_saved_with_the_session),
      cmocka_unit_test(what_is_counted_late_is_counted),
      cmocka_unit_test(what_is_resumed_gets_no_stamp),
      cmocka_unit_test(what_is_too_old_comes_back),
      cmocka_unit_test(what_belongs_to_a_session_ends_with_it),
      cmocka_unit_test(what_belongs_to_a_session_goes_on_with_it),
      cmocka_unit_test(what_belongs_to_a_session_comes_back_at_the_end),
      cmocka_unit_test(what_comes_back_waits_to_be_fetched),
      cmocka_unit_test(only_watched_stanzas_have_receipts),
      cmocka_unit_test(a_receipt_is_told_once),
      cmocka_unit_test(memory_for_receipts_is_bounded),
      cmocka_unit_test(the_end_clears_everything),
      cmocka_unit_test(a_session_is_restored),
      cmocka_unit_test(one_failed_allocation_changes_nothing),
      cmocka_unit_test(without_memory_each_stanza_ends_once),
      cmocka_unit_test(a_session_without_memory_is_not_restored),
      cmocka_unit_test(an_id_without_memory_is_not_kept),
      cmocka_unit_test(what_is_blamed_comes_back_alone),
      cmocka_unit_test(a_stanza_that_is_not_blamed_counts_as_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
