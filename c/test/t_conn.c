/* conn: fed connections, which have no transport: stanzas, how it ends, limits, the queue, the log, and a heap whose
 * requests fail. t_conn_wire tests what the network can do to a connection. */
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
#include <sys/socket.h>

#include "failing.h"

#include "loop.h"

/* The nth timer that is started gets no memory; 0: all timers do. */
static int poor_start;

static int poor_timer_start(xm_loop *l, xm_timer *t, uint64_t ms, void (*fn)(void *), void *arg) {
  return poor_start && --poor_start == 0 ? XM_ENOMEM : xm_timer_start(l, t, ms, fn, arg);
}

#define xm_timer_start poor_timer_start
#include "../core/buf.c"
#pragma push_macro("fail") /* conn has a function of that name */
#undef fail
#include "../core/conn.c"
#include "../core/conn_link.c"
#include "../core/conn_probe.c"
#include "../core/conn_send.c"
#include "../core/conn_turn.c"
#pragma pop_macro("fail")
#undef xm_timer_start
#include "failing_off.h"

#include "fed_conn.h"

#define SYSTEM_SHUTDOWN "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"

static void stanzas_come_whatever_the_pieces(void **state) {
  static const char all[] =
      "<message id='1'><body>Hi</body></message> <presence id='2'/><r xmlns='urn:x' id='no'/>\n"
      "<iq id='3' type='get'><p:ping xmlns:p='urn:xmpp:ping'/></iq>";
  size_t size, at;
  (void)state;
  for (size = 1; size <= sizeof all; size++) {
    fed f;
    int stanzas = 0;
    prepare(&f);
    open_fed(&f);
    for (at = 0; at < sizeof all - 1; at += size) {
      size_t n = sizeof all - 1 - at < size ? sizeof all - 1 - at : size;
      assert_int_equal(xm_conn_feed(f.c, all + at, n), XM_OK);
      while (next(f.c) == XM_CONN_STANZA) {
        const char number[] = {(char)('1' + stanzas++), '\0'};
        assert_string_equal(xm_tape_get(xm_conn_stanza(f.c), 0, "id", NULL), number);
      }
    }
    assert_int_equal(stanzas, 3);
    expect_sent(&f, "");
    close_fed(&f);
  }
}

static void it_is_ready_as_itself(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  wakes = 0;
  open_fed(&f);
  assert_int_equal(xm_conn_state_of(f.c), XM_CONN_READY);
  assert_string_equal(xm_conn_state_name(f.c), "ready");
  assert_string_equal(xm_conn_jid(f.c)->str, "alice@xmpp.example/lua");
  assert_string_equal(xm_conn_ns(f.c), "jabber:client");
  assert_int_equal(xm_conn_why(f.c)->layer, XM_LAYER_NONE);
  feed(&f, "<message id='1'/>");
  assert_true(wakes > 0);
  close_fed(&f);
}

/* How a connection ends. */

static void the_peers_end_is_answered(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  feed(&f, "<message id='1'/></stream:stream><message id='2'/>");
  expect_stanza(&f, "1");
  expect_end(f.c, XM_LAYER_CLOSED, "closed-by-server");
  expect_sent(&f, "</stream:stream>");
  close_fed(&f);
}

static void our_end_waits_for_theirs(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  xm_conn_close(f.c, 1000);
  xm_conn_close(f.c, 1000);
  assert_int_equal(xm_conn_state_of(f.c), XM_CONN_CLOSING);
  expect_sent(&f, "</stream:stream>");
  feed(&f, "<message id='1'/>"); /* the server had sent it before it received our end */
  expect_stanza(&f, "1");
  feed(&f, "</stream:stream>");
  expect_end(f.c, XM_LAYER_NONE, "");
  expect_sent(&f, "");
  close_fed(&f);
}

static void our_end_waits_only_so_long(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  xm_conn_close(f.c, 0);
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  xm_loop_fire(f.loop);
  expect_end(f.c, XM_LAYER_TIMEOUT, "timeout");
  close_fed(&f);
}

static void a_stream_error_is_the_end(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  feed(&f, "<message id='1'/>" SYSTEM_SHUTDOWN "<message id='2'/></stream:stream>");
  expect_stanza(&f, "1");
  expect_end(f.c, XM_LAYER_STREAM, "system-shutdown");
  assert_true(xm_conn_why(f.c)->retry);
  expect_sent(&f, "</stream:stream>");
  close_fed(&f);
}

/* A stream that is refused gets a stream error, unless we have already ended ours. */
static void a_bad_stream_is_told_so(void **state) {
  static const char *const rows[][2] = {{"<message>", "</oops>"},
                                        {"<message><!-- ", " --></message>"},
                                        {"<message>&foo;", ""},
                                        {"<a:b/>", ""},
                                        {"text", ""},
                                        {"<query/>", ""},
                                        {"<stream:message/>", ""}};
  static const char *const conditions[] = {
      "not-well-formed", "restricted-xml",          "restricted-xml", "bad-namespace-prefix",
      "bad-format",      "unsupported-stanza-type", "bad-format"};
  char said[256];
  size_t i, closing;
  (void)state;
  for (i = 0; i < sizeof conditions / sizeof *conditions; i++) {
    for (closing = 0; closing < 2; closing++) {
      fed f;
      prepare(&f);
      open_fed(&f);
      if (closing) xm_conn_close(f.c, 1000);
      feed(&f, "<message id='1'/>");
      feed(&f, rows[i][0]);
      feed(&f, rows[i][1]);
      expect_stanza(&f, "1");
      expect_end(f.c, XM_LAYER_STREAM, conditions[i]);
      snprintf(said, sizeof said,
               "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
               conditions[i]);
      expect_sent(&f, closing ? "</stream:stream>" : said);
      close_fed(&f);
    }
  }
}

static void elements_of_other_namespaces_are_passed_over(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  feed(&f, "<message xmlns='urn:x' id='1'/><a xmlns=''/><stream:features/><message id='2'/>");
  expect_stanza(&f, "2");
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  close_fed(&f);
}

static void limits_hold(void **state) {
  static const struct {
    size_t stanza;
    unsigned depth, attributes, nodes;
  } rows[] = {{60, 128, 256, 1000}, {9999, 3, 256, 1000}, {9999, 128, 2, 1000}, {9999, 128, 256, 5}};
  static const xm_bound bounds[] = {XM_BOUND_STANZA, XM_BOUND_DEPTH, XM_BOUND_ATTRIBUTES, XM_BOUND_NODES};
  size_t i, most;
  (void)state;
  for (i = 0; i < 4; i++) {
    fed f;
    prepare(&f);
    f.o.bounds.stanza = rows[i].stanza;
    f.o.bounds.depth = rows[i].depth;
    f.o.bounds.attributes = rows[i].attributes;
    f.o.bounds.nodes = rows[i].nodes;
    open_fed(&f);
    feed(&f, "<message id='1' a='2'><b><c>t</c></b><d/></message>");
    expect_stanza(&f, "1");
    feed(&f, "<message id='2' a='2' b='3'><b><c><d>t</d></c></b><e/><f>0123456789</f></message><message id='3'/>");
    assert_int_equal(next(f.c), XM_CONN_SKIPPED);
    assert_int_equal(xm_conn_crossed(f.c, &most), bounds[i]);
    assert_int_equal(most, xm_bounds_most(&f.o.bounds, bounds[i]));
    assert_string_equal(xm_tape_get(xm_conn_stanza(f.c), 0, "id", NULL), "2");
    expect_stanza(&f, "3");
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    close_fed(&f);
  }
}

/* XEP-0198: a stanza that is skipped counts as handled, or the server would send it again at the next login. */
static void what_is_skipped_is_counted(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  f.o.bounds.depth = 2;
  f.o.sm = f.o.resumable = true;
  open_fed(&f);
  expect_sent(&f, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
  feed(&f, "<enabled xmlns='urn:xmpp:sm:3' id='x'/>");
  feed(&f, "<message id='1'/><message id='2'><a><b/></a></message><presence id='3'><a><b/></a></presence>");
  expect_stanza(&f, "1");
  assert_int_equal(next(f.c), XM_CONN_SKIPPED);
  assert_int_equal(next(f.c), XM_CONN_SKIPPED);
  feed(&f, "<r xmlns='urn:xmpp:sm:3'/>");
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  expect_sent(&f, "<a xmlns='urn:xmpp:sm:3' h='3'/>");
  /* nonzas don't count */
  feed(&f, "<x xmlns='urn:x'><a><b/></a></x><a xmlns='urn:xmpp:sm:3' h='77'><a><b/></a></a><r xmlns='urn:xmpp:sm:3'/>");
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  expect_sent(&f, "<a xmlns='urn:xmpp:sm:3' h='3'/>");
  /* and an element that is no stanza ends the stream as usual */
  feed(&f, "<query><a><b/></a></query>");
  expect_end(f.c, XM_LAYER_STREAM, "unsupported-stanza-type");
  close_fed(&f);
}

static void a_stream_error_beyond_a_bound_still_counts(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  f.o.bounds.depth = 2;
  open_fed(&f);
  feed(&f, "<stream:error><x xmlns='urn:x'><y/></x></stream:error></stream:stream>");
  expect_end(f.c, XM_LAYER_STREAM, "undefined-condition");
  close_fed(&f);
}

/* Sending. */

static int send_text(fed *f, const char *s, xm_err *e) {
  xm_buf *out = xm_conn_out(f->c);
  size_t mark = xm_buf_mark(out);
  assert_int_equal(xm_buf_puts(out, s), XM_OK);
  return xm_conn_commit(f->c, mark, 0, NULL, e);
}

static void the_queue_has_its_limit(void **state) {
  fed f;
  xm_err e = {0};
  (void)state;
  prepare(&f);
  f.o.max_queue = 20;
  open_fed(&f);
  assert_int_equal(send_text(&f, "0123456789", &e), XM_OK);
  assert_int_equal(send_text(&f, "0123456789", &e), XM_OK);
  assert_int_equal(xm_conn_pending(f.c, NULL), 20);
  assert_int_equal(send_text(&f, "x", &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_LIMIT);
  assert_string_equal(e.condition, "max-queue");
  assert_true(e.retry);
  expect_sent(&f, "01234567890123456789");
  assert_int_equal(send_text(&f, "x", &e), XM_OK);
  close_fed(&f);
}

/* Waiting doesn't make it fit, so the error doesn't advise to wait. */
static void a_stanza_beyond_the_queue_is_told_so(void **state) {
  fed f;
  xm_err e = {0};
  (void)state;
  prepare(&f);
  f.o.max_queue = 20;
  open_fed(&f);
  assert_int_equal(send_text(&f, "012345678901234567890", &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_LIMIT);
  assert_string_equal(e.condition, "max-queue");
  assert_false(e.retry);
  assert_string_equal(e.text, "the stanza has 21 bytes, over max_queue (20), so it can't be sent however long it waits: send "
                              "it in parts, or give the connection a larger max_queue");
  assert_int_equal(send_text(&f, "01234567890123456789", &e), XM_OK);
  expect_sent(&f, "01234567890123456789");
  close_fed(&f);
}

static void nothing_is_sent_when_it_is_over(void **state) {
  fed f;
  xm_err e = {0}, again = {0};
  (void)state;
  prepare(&f);
  open_fed(&f);
  xm_conn_close(f.c, 1000);
  expect_sent(&f, "</stream:stream>");
  assert_int_equal(send_text(&f, "<message/>", &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_CLOSED);
  expect_sent(&f, "");
  feed(&f, SYSTEM_SHUTDOWN);
  expect_end(f.c, XM_LAYER_STREAM, "system-shutdown");
  assert_int_equal(send_text(&f, "<message/>", &again), XM_EFAIL);
  assert_string_equal(again.condition, "system-shutdown"); /* the error says why */
  assert_int_equal(again.layer, XM_LAYER_CLOSED);
  close_fed(&f);
}

static void a_space_keeps_it_alive(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  f.o.keepalive = 1;
  open_fed(&f);
  while (xm_loop_timeout(f.loop) > 0) xm_loop_turn(f.loop, -1);
  wakes = 0;
  assert_int_equal(xm_loop_fire(f.loop), 1);
  assert_int_equal(wakes, 1);
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  expect_sent(&f, " ");
  close_fed(&f);
}

/* Takes the ping that was sent (XEP-0199): its id, or "" when none was sent. */
static void take_ping(fed *f, char id[64]) {
  xm_buf sent = XM_BUF_INIT;
  char *at;
  assert_int_equal(xm_conn_sent(f->c, &sent), XM_OK);
  xm_buf_putc(&sent, '\0');
  *id = '\0';
  at = strstr(xm_buf_at(&sent), "<iq type='get' id='");
  if (at) {
    sscanf(at, "<iq type='get' id='%63[^']'", id);
    assert_non_null(strstr(at, "' to='xmpp.example'><ping xmlns='urn:xmpp:ping'/></iq>"));
  }
  xm_buf_free(&sent);
}

/* The server is pinged at once after the machine has slept, or when nothing has been received for long; the response is
 * handled by the library itself. */
static void a_ping_asks_for_a_sign_of_life(void **state) {
  char id[64], again[64], answer[200];
  int rounds = 0;
  fed f;
  (void)state;
  prepare(&f);
  f.o.keepalive = 1;
  f.o.patience = 1;
  open_fed(&f);
  do { /* patience may have started later than keepalive, and then a space is sent first */
    while (xm_loop_timeout(f.loop) > 0) xm_loop_turn(f.loop, -1);
    xm_loop_fire(f.loop);
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    take_ping(&f, id);
  } while (!*id && ++rounds < 3);
  assert_true(*id);
  snprintf(answer, sizeof answer, "<iq type='error' id='%s'><error/></iq><iq type='result' id='%s'/>", id, id);
  feed(&f, answer);
  expect_stanza(&f, id); /* the second response is the ping's, and isn't given out */
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  wakes = 0;
  xm_conn_check(f.c);
  assert_true(wakes > 0);
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  take_ping(&f, again);
  assert_true(*again && strcmp(id, again) != 0);
  xm_conn_check(f.c); /* one ping at a time is enough */
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  take_ping(&f, id);
  assert_string_equal(id, "");
  while (xm_conn_state_of(f.c) != XM_CONN_CLOSED) {
    xm_loop_turn(f.loop, 1);
    xm_loop_fire(f.loop);
    if (next(f.c) == XM_CONN_ENDED) break;
  }
  assert_string_equal(xm_conn_why(f.c)->condition, "timeout");
  assert_int_equal(xm_conn_why(f.c)->layer, XM_LAYER_TIMEOUT);
  close_fed(&f);
}

#define SM(element) "<" element " xmlns='urn:xmpp:sm:3'"

static void give_watched(fed *f) {
  xm_buf *out = xm_conn_out(f->c);
  size_t mark = xm_buf_mark(out);
  assert_int_equal(xm_buf_puts(out, "<message/>"), XM_OK);
  assert_int_equal(xm_conn_commit(f->c, mark, XM_SM_WATCHED, NULL, NULL), XM_OK);
}

static void expect_fates(fed *f, const char *fates) {
  char told[8] = "", *to = told;
  xm_sm_receipt r;
  while (xm_sm_receipt_next(xm_conn_sm(f->c), &r)) *to++ = "wal"[r.fate];
  assert_string_equal(told, fates);
}

/* XEP-0198 counts every stanza after <enable/>, so the server's h includes the library's ping, whenever it was sent:
 * while <enable/> was unanswered, when the stanzas that were held back had been released, or when stream management had
 * been given up and <enabled/> came late. */
static void our_ping_is_counted(void **state) {
  enum { HELD, RELEASED, GIVEN_UP, WAYS };
  int way;
  (void)state;
  for (way = 0; way < WAYS; way++) {
    char id[64], answer[200];
    size_t stanzas;
    fed f;
    prepare(&f);
    f.o.sm = true;
    f.o.keepalive = 0;
    f.o.patience = 1;
    open_fed(&f);
    expect_sent(&f, SM("enable") "/>");
    if (way == RELEASED) on_hold(f.c);
    if (way == GIVEN_UP) on_impatient(f.c);
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    xm_conn_check(f.c);
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    assert_int_equal(xm_conn_pending(f.c, &stanzas), 0);
    assert_int_equal(stanzas, 0);
    if (way == HELD) expect_sent(&f, "");
    if (way == HELD) feed(&f, SM("enabled") "/>");
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    take_ping(&f, id);
    assert_true(*id);
    if (way != HELD) feed(&f, SM("enabled") "/>");
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    give_watched(&f);
    expect_sent(&f, "<message/>");
    feed(&f, SM("a") " h='1'/>");
    snprintf(answer, sizeof answer, "<iq type='result' id='%s'/>", id);
    feed(&f, answer);
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    expect_fates(&f, "w");
    assert_int_equal(xm_conn_pending(f.c, &stanzas), 10);
    assert_int_equal(stanzas, 1);
    feed(&f, SM("a") " h='2'/>");
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    expect_fates(&f, "a");
    feed(&f, SM("a") " h='3'/>");
    expect_end(f.c, XM_LAYER_STREAM, "undefined-condition");
    close_fed(&f);
  }
}

/* With stream management <r/> asks for a sign of life, also after a jump of the clock. */
static void with_stream_management_r_asks_for_a_sign_of_life(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  f.o.sm = true;
  f.o.keepalive = 0;
  open_fed(&f);
  expect_sent(&f, "<enable xmlns='urn:xmpp:sm:3'/>");
  feed(&f, "<enabled xmlns='urn:xmpp:sm:3'/>");
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  on_jump(f.c);
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  expect_sent(&f, "<r xmlns='urn:xmpp:sm:3'/>");
  on_jump(f.c);
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  expect_sent(&f, ""); /* one <r/> at a time is enough */
  feed(&f, "<a xmlns='urn:xmpp:sm:3' h='0'/>");
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  close_fed(&f);
}

/* A server that answers every <r/> may still never raise h: what was sent to it is then as lost as on a dead link.
 * `counts`: it does raise h, but never to the number of all stanzas. */
static void answer_for_a_while(fed *f, bool counts) {
  unsigned h = 0, asked = 0;
  uint64_t until = xm_loop_now(f->loop) + 2500;
  while (xm_conn_state_of(f->c) == XM_CONN_READY && xm_loop_now(f->loop) < until) {
    xm_buf sent = XM_BUF_INIT;
    char answer[80];
    bool is_asked;
    xm_loop_turn(f->loop, 10);
    xm_loop_fire(f->loop);
    if (next(f->c) == XM_CONN_ENDED) break;
    assert_int_equal(xm_conn_sent(f->c, &sent), XM_OK);
    xm_buf_putc(&sent, '\0');
    is_asked = strstr(xm_buf_at(&sent), "<r xmlns=") != NULL;
    xm_buf_free(&sent);
    if (!is_asked) continue;
    asked++;
    if (counts) give_watched(f);
    snprintf(answer, sizeof answer, SM("a") " h='%u'/>", counts ? ++h : 0);
    feed(f, answer);
  }
  assert_true(asked >= 2);
}

static void an_ack_without_progress_is_no_sign_of_life(void **state) {
  fed f;
  int counts;
  (void)state;
  for (counts = 0; counts < 2; counts++) {
    prepare(&f);
    f.o.sm = true;
    f.o.keepalive = 0;
    f.o.patience = 1500;
    open_fed(&f);
    expect_sent(&f, SM("enable") "/>");
    feed(&f, SM("enabled") "/>");
    assert_int_equal(next(f.c), XM_CONN_NOTHING);
    give_watched(&f);
    answer_for_a_while(&f, counts);
    assert_int_equal(xm_conn_state_of(f.c), counts ? XM_CONN_READY : XM_CONN_CLOSED);
    assert_string_equal(xm_conn_why(f.c)->condition, counts ? "" : "timeout");
    close_fed(&f);
  }
}

static void a_pause_holds_stanzas_back(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  feed(&f, "<message id='1'/><message id='2'/><message id='3'/>");
  expect_stanza(&f, "1");
  xm_conn_pause(f.c, true);
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  wakes = 0;
  xm_conn_pause(f.c, false);
  assert_int_equal(wakes, 1);
  expect_stanza(&f, "2");
  xm_conn_pause(f.c, true);
  xm_conn_close(f.c, 1000); /* closing has to read on */
  expect_stanza(&f, "3");
  close_fed(&f);
}

/* A connection with a lot of input yields, so that others get their turn. */
static void a_turn_yields_with_input_left(void **state) {
  static char space[3 << 20];
  fed f;
  int agains = 0;
  xm_conn_event ev;
  (void)state;
  memset(space, ' ', sizeof space - 1);
  prepare(&f);
  open_fed(&f);
  feed(&f, space);
  feed(&f, "<message id='1'/>");
  while ((ev = xm_conn_next(f.c)) == XM_CONN_AGAIN) agains++;
  assert_int_equal(ev, XM_CONN_STANZA);
  assert_true(agains >= 2);
  close_fed(&f);
}

/* The log's records as one text. */
static void take_log(xm_conn *c, char *to) {
  xm_buf *log = xm_conn_log(c);
  while (xm_buf_len(log)) {
    size_t n;
    memcpy(&n, xm_buf_at(log) + 1, sizeof n);
    to += sprintf(to, "%c %.*s\n", *xm_buf_at(log), (int)n, xm_buf_at(log) + 1 + sizeof n);
    xm_buf_consume(log, 1 + sizeof n + n);
  }
  *to = '\0';
}

static void the_log_has_all_that_is_said(void **state) {
  fed f;
  char all[1000];
  (void)state;
  prepare(&f);
  f.o.log = true;
  open_fed(&f);
  feed(&f, "<message  id=\"1\" xmlns:p='urn:p'><p:a><![CDATA[<]]></p:a></message>");
  expect_stanza(&f, "1");
  send_text(&f, "<presence/>", NULL);
  xm_conn_flush(f.c);
  feed(&f, "</stream:stream>");
  assert_int_equal(next(f.c), XM_CONN_ENDED);
  take_log(f.c, all);
  assert_string_equal(all,
                      "< <message id='1'><a xmlns='urn:p'>&lt;</a></message>\n> <presence/>\n< </stream:stream>\n> "
                      "</stream:stream>\n");
  close_fed(&f);
}

/* Feeds a message of about `n` bytes whose tape has many records, and then nothing more. */
static void feed_burst(fed *f, size_t n) {
  size_t i;
  feed(f, "<message id='burst'>");
  for (i = 0; i < n; i += 10) feed(f, "<a b='c'/>");
  feed(f, "</message>");
  expect_stanza(f, "burst");
  assert_true(xm_link_spare(f->c->link) > n);
  assert_int_equal(next(f->c), XM_CONN_NOTHING);
}

static void memory_of_a_burst_is_freed(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  feed(&f, "<message id='small'/>");
  expect_stanza(&f, "small");
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  assert_false(xm_timer_armed(&f.c->rest));
  feed_burst(&f, 800);
  assert_true(xm_timer_armed(&f.c->rest)); /* not freed yet, since more may come */
  assert_true(xm_link_spare(f.c->link) > 800);
  on_rest(f.c);
  assert_int_equal(next(f.c), XM_CONN_NOTHING);
  assert_int_equal(xm_link_spare(f.c->link), 0);
  feed_burst(&f, 100000);
  assert_int_equal(xm_link_spare(f.c->link), 0); /* so much memory is given back at once */
  feed(&f, "<message id='after'/>");
  expect_stanza(&f, "after");
  close_fed(&f);
}

static void memory_that_runs_out_is_told(void **state) {
  xm_loop *l = new_loop();
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  xm_conn_options o = xm_conn_defaults();
  long n = 0;
  bool failed;
  (void)state;
  o.jid = &jid;
  o.fed = o.logged_in = true;
  o.tls = XM_TLS_NONE;
  o.lang = o.mechanisms = o.pin = o.tls_name = "x";
  o.wake = on_news;
  do {
    xm_err e = {0};
    xm_conn *c;
    heap_fails(n++, true);
    c = xm_conn_new(l, &o, NULL, &e);
    if (c && xm_conn_feed(c, "<message/>", 10) == XM_OK) next(c);
    if (c) xm_conn_close(c, 0);
    failed = heap_is_well();
    if (!c) assert_string_equal(e.condition, "ENOMEM");
    xm_conn_free(c);
    assert_int_equal(heap.live, 0);
  } while (failed);
  assert_true(n > 6);
  xm_loop_release(l);
}

/* Without its timer, keepalive, asking, patience or closing would never time out. So the connection ends with that
 * error. */
static void without_memory_for_a_timer_it_ends(void **state) {
  int n = 0;
  bool failed;
  (void)state;
  do {
    fed f;
    size_t mark;
    prepare(&f);
    f.o.sm = true;
    f.o.keepalive = 1000;
    poor_start = ++n;
    f.c = xm_conn_new(f.loop, &f.o, NULL, &(xm_err){0});
    feed(&f, "<enabled xmlns='urn:xmpp:sm:3'/>");
    next(f.c);
    mark = xm_buf_mark(xm_conn_out(f.c));
    xm_buf_puts(xm_conn_out(f.c), "<presence/>");
    if (xm_conn_commit(f.c, mark, 0, NULL, NULL) == XM_OK) xm_conn_flush(f.c);
    xm_conn_hurry(f.c);
    if (xm_conn_state_of(f.c) != XM_CONN_CLOSED) next(f.c);
    xm_conn_close(f.c, 1000);
    failed = poor_start == 0;
    poor_start = 0;
    if (failed) {
      while (xm_conn_state_of(f.c) != XM_CONN_CLOSED) next(f.c);
      assert_string_equal(xm_conn_why(f.c)->condition, "ENOMEM");
      assert_int_equal(xm_conn_why(f.c)->layer, XM_LAYER_LIMIT);
    } else {
      assert_int_equal(xm_conn_state_of(f.c), XM_CONN_CLOSING);
    }
    close_fed(&f);
  } while (failed);
  assert_true(n >= 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stanzas_come_whatever_the_pieces),
      cmocka_unit_test(it_is_ready_as_itself),
      cmocka_unit_test(the_peers_end_is_answered),
      cmocka_unit_test(our_end_waits_for_theirs),
      cmocka_unit_test(our_end_waits_only_so_long),
      cmocka_unit_test(a_stream_error_is_the_end),
      cmocka_unit_test(a_bad_stream_is_told_so),
      cmocka_unit_test(elements_of_other_namespaces_are_passed_over),
      cmocka_unit_test(limits_hold),
      cmocka_unit_test(what_is_skipped_is_counted),
      cmocka_unit_test(a_stream_error_beyond_a_bound_still_counts),
      cmocka_unit_test(the_queue_has_its_limit),
      cmocka_unit_test(nothing_is_sent_when_it_is_over),
      cmocka_unit_test(a_space_keeps_it_alive),
      cmocka_unit_test(a_ping_asks_for_a_sign_of_life),
      cmocka_unit_test(our_ping_is_counted),
      cmocka_unit_test(a_stanza_beyond_the_queue_is_told_so),
      cmocka_unit_test(with_stream_management_r_asks_for_a_sign_of_life),
      cmocka_unit_test(an_ack_without_progress_is_no_sign_of_life),
      cmocka_unit_test(a_pause_holds_stanzas_back),
      cmocka_unit_test(a_turn_yields_with_input_left),
      cmocka_unit_test(the_log_has_all_that_is_said),
      cmocka_unit_test(memory_of_a_burst_is_freed),
      cmocka_unit_test(memory_that_runs_out_is_told),
      cmocka_unit_test(without_memory_for_a_timer_it_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
