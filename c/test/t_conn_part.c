/* conn: how a connection stops taking stanzas (run_dry, pass_over, and the count of what was left), and a component's
 * messages to itself. Fed connections, with a clock of their own, and a heap whose requests fail. */
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

#include "link_own.h"
#include "loop.h"

#include "../core/buf.c"
#pragma push_macro("fail") /* conn has a function of that name */
#undef fail
#include "../core/conn.c"
#include "../core/conn_link.c"
#include "../core/conn_probe.c"
#include "../core/conn_send.c"
#include "../core/conn_turn.c"
#pragma pop_macro("fail")
#include "failing_off.h"

#include "fed_conn.h"

#define SM(element) "<" element " xmlns='urn:xmpp:sm:3'"

static void expect_nothing(fed *f) {
  assert_int_equal(next(f->c), XM_CONN_NOTHING);
}

static void expect_left(const fed *f, size_t stanzas, uint64_t bytes, size_t unsent) {
  const xm_conn_left left = xm_conn_left_of(f->c);
  assert_int_equal(left.stanzas, stanzas);
  assert_int_equal(left.bytes, bytes);
  assert_int_equal(left.unsent, unsent);
}

static void give(fed *f, const char *text) {
  xm_buf *out = xm_conn_out(f->c);
  size_t mark = xm_buf_mark(out);
  assert_int_equal(xm_buf_puts(out, text), XM_OK);
  assert_int_equal(xm_conn_commit(f->c, mark, 0, NULL, NULL), XM_OK);
}

/* Lets time pass on the loop's own clock, and fires each timer in turn. */
static void pass(fed *f, unsigned ms) {
  while (ms > 0) {
    int due = xm_loop_timeout(f->loop);
    unsigned n = due < 0 || (unsigned)due > ms ? ms : (unsigned)due;
    xm_loop_pass(f->loop, n);
    ms -= n;
    xm_loop_fire(f->loop);
    if (xm_conn_state_of(f->c) == XM_CONN_CLOSED) return;
    while (xm_conn_next(f->c) == XM_CONN_AGAIN) {}
    if (n == 0 && xm_loop_timeout(f->loop) == 0) return; /* only the link's end has still to be reported */
  }
}

/* No further stanzas are taken. */

static void run_dry_gives_out_what_was_received(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  feed(&f, "<message id='1'/><message id='2'/><message id=");
  expect_stanza(&f, "1");
  assert_true(xm_conn_run_dry(f.c));
  feed(&f, "'3'/><message id='4'/>");
  expect_stanza(&f, "2");
  expect_nothing(&f);
  expect_nothing(&f);
  xm_conn_pause(f.c, true);
  expect_nothing(&f);
  xm_conn_pause(f.c, false);
  expect_stanza(&f, "3");
  xm_conn_pass_over(f.c);
  expect_left(&f, 1, 17, 0);
  xm_conn_pass_over(f.c); /* the second call has no effect */
  expect_stanza(&f, "4");
  xm_conn_pass_over(f.c);
  expect_left(&f, 2, 34, 0);
  feed(&f, "</stream:stream><what comes behind the end is nobody's/>");
  expect_end(f.c, XM_LAYER_CLOSED, "closed-by-server");
  expect_left(&f, 2, 34, 0);
  close_fed(&f);
}

/* Every byte of stanzas that are passed over or never read is counted, however the input is cut. */
static void every_byte_is_counted(void **state) {
  static const char all[] = "<message id='1'><body>Hi</body></message>\n <presence id='2'/><p:x xmlns:p='urn:x'/>"
                            "<iq id='3' type='get'><a:b xmlns:a='urn:y'><![CDATA[<]]></a:b></iq> <message id='4'><body>cut";
  size_t size, at;
  (void)state;
  for (size = 1; size <= sizeof all; size++) {
    fed f;
    prepare(&f);
    open_fed(&f);
    assert_true(xm_conn_run_dry(f.c));
    expect_nothing(&f);
    xm_conn_pause(f.c, false);
    for (at = 0; at < sizeof all - 1; at += size) {
      assert_int_equal(xm_conn_feed(f.c, all + at, sizeof all - 1 - at < size ? sizeof all - 1 - at : size), XM_OK);
      while (next(f.c) == XM_CONN_STANZA) xm_conn_pass_over(f.c);
    }
    xm_conn_pause(f.c, true);
    feed(&f, " and unread");
    xm_conn_close(f.c, 0);
    xm_conn_pause(f.c, true);
    xm_loop_fire(f.loop);
    expect_end(f.c, XM_LAYER_TIMEOUT, "timeout");
    expect_left(&f, 3, sizeof all - 1 - strlen("<p:x xmlns:p='urn:x'/>") + strlen(" and unread"), 0);
    assert_true(xm_conn_left_of(f.c).late);
    close_fed(&f);
  }
}

/* XEP-0198: from the first stanza that is passed over on, none is acknowledged, even if some of them are handled. */
static void what_is_passed_over_is_not_acknowledged(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  f.o.sm = true;
  open_fed(&f);
  expect_sent(&f, SM("enable") "/>");
  feed(&f, SM("enabled") "/><message id='1'/>");
  expect_stanza(&f, "1");
  assert_true(xm_conn_run_dry(f.c));
  expect_nothing(&f);
  xm_conn_pause(f.c, false);
  feed(&f, "<message id='2'/><message id='3'/><message id='4'/>" SM("r") "/>");
  expect_stanza(&f, "2");
  xm_conn_handled(f.c);
  expect_stanza(&f, "3");
  xm_conn_pass_over(f.c);
  expect_stanza(&f, "4");
  xm_conn_handled(f.c);
  expect_nothing(&f);
  expect_sent(&f, SM("a") " h='2'/>");
  xm_conn_close(f.c, 1000);
  expect_sent(&f, SM("a") " h='2'/></stream:stream>");
  feed(&f, "<message id='5'/></stream:stream>");
  expect_stanza(&f, "5");
  xm_conn_pass_over(f.c);
  expect_end(f.c, XM_LAYER_NONE, "");
  expect_left(&f, 2, 34, 0);
  close_fed(&f);
}

static void what_has_not_arrived_is_counted(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  f.o.sm = true;
  open_fed(&f);
  expect_sent(&f, SM("enable") "/>");
  feed(&f, SM("enabled") "/>");
  expect_nothing(&f);
  assert_true(xm_conn_run_dry(f.c));
  give(&f, "<message/>");
  give(&f, "<presence/>");
  xm_conn_close(f.c, 0);
  expect_sent(&f, "<message/><presence/>" SM("r") "/>");
  feed(&f, SM("a") " h='1'/>");
  expect_nothing(&f);
  xm_loop_fire(f.loop);
  expect_end(f.c, XM_LAYER_TIMEOUT, "timeout");
  expect_left(&f, 0, 0, 1);
  close_fed(&f);
}

/* Without a session there is nothing to be received; and a second close can only shorten the time. */
static void without_a_session_nothing_runs_dry(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  xm_loop_own_clock(f.loop, 0);
  open_fed(&f);
  xm_conn_close(f.c, 5000);
  assert_true(xm_conn_run_dry(f.c)); /* the server's last stanzas may still matter */
  xm_conn_pause(f.c, false);
  xm_conn_close(f.c, 9000);
  assert_int_equal(xm_loop_timeout(f.loop), 5000);
  xm_conn_close(f.c, 100);
  assert_int_equal(xm_loop_timeout(f.loop), 100);
  feed(&f, "</stream:stream>");
  expect_end(f.c, XM_LAYER_NONE, "");
  assert_false(xm_conn_run_dry(f.c));
  close_fed(&f);
}

/* A link that can no longer be written to still ends with the stream error that the server sent, though nothing is
 * read. */
static void a_final_stream_error_is_read(void **state) {
  fed f;
  (void)state;
  prepare(&f);
  open_fed(&f);
  assert_true(xm_conn_run_dry(f.c));
  xm_err_set(&f.c->link->unsaid, XM_LAYER_TCP, "EPIPE", true, "the connection broke");
  feed(&f, "<message id='1'/><stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
  expect_nothing(&f);
  xm_conn_pause(f.c, true);
  expect_stanza(&f, "1");
  xm_conn_pass_over(f.c);
  expect_end(f.c, XM_LAYER_STREAM, "system-shutdown");
  expect_left(&f, 1, 17, 0);
  close_fed(&f);
}

/* A component's messages to itself. */

#define DOMAIN "echo.xmpp.example"
#define NS "urn:x-lua-xmpp:probe"

static void prepare_component(fed *f) {
  prepare(f);
  f->jid = jid_of(DOMAIN);
  f->o.component = true;
}

typedef struct probe {
  char address[64], id[64];
  unsigned hops;
} probe;

/* What was sent is a single probe, with nothing but spaces before it. */
static probe take_probe(fed *f) {
  xm_buf sent = XM_BUF_INIT;
  probe p;
  char to[64];
  int n = 0;
  assert_int_equal(xm_conn_sent(f->c, &sent), XM_OK);
  xm_buf_putc(&sent, '\0');
  if (sscanf(xm_buf_at(&sent),
             " <message type='headline' from='%63[^']' to='%63[^']' id='%63[^']'><probe xmlns='" NS "' hops='%u'/></message>%n",
             p.address, to, p.id, &p.hops, &n) != 4 ||
      (size_t)n + 1 != xm_buf_len(&sent))
    fail_msg("this is no probe: %s", xm_buf_at(&sent));
  assert_string_equal(p.address, to);
  assert_string_equal(strchr(p.address, '@'), "@" DOMAIN);
  xm_buf_free(&sent);
  return p;
}

static void feed_message(fed *f, const char *type, const char *from, const char *to, const char *id, const char *inside) {
  char text[600];
  snprintf(text, sizeof text, "<message type='%s' from='%s' to='%s' id='%s'>%s</message>", type, from, to, id, inside);
  feed(f, text);
}

static void feed_probe(fed *f, const probe *p, const char *address) {
  char inside[80];
  snprintf(inside, sizeof inside, "<probe xmlns='" NS "' hops='%u'/>", p->hops);
  feed_message(f, "headline", address, address, p->id, inside);
}

static probe send_probe(fed *f, uint64_t want) {
  uint64_t number = 0;
  size_t stanzas;
  assert_int_equal(xm_conn_probe(f->c, &number, NULL), XM_OK);
  assert_int_equal(number, want);
  xm_conn_pending(f->c, &stanzas);
  assert_int_equal(stanzas, 0); /* it doesn't count as one of the program's stanzas */
  return take_probe(f);
}

static void a_probe_is_recognised_when_it_returns(void **state) {
  fed f;
  probe p, q;
  (void)state;
  prepare_component(&f);
  open_fed(&f);
  p = send_probe(&f, 1);
  q = send_probe(&f, 2);
  assert_string_equal(p.address, q.address);
  assert_string_not_equal(p.id, q.id);
  feed_probe(&f, &q, q.address);
  assert_int_equal(next(f.c), XM_CONN_PROBED);
  assert_int_equal(xm_conn_probed(f.c), 2);
  feed_probe(&f, &p, p.address); /* a late one is still recognised */
  assert_int_equal(next(f.c), XM_CONN_PROBED);
  assert_int_equal(xm_conn_probed(f.c), 1);
  expect_nothing(&f);
  expect_sent(&f, "");
  close_fed(&f);
}

/* A probe is recognised by id and address. Whatever else looks like one is a stanza. */
static void a_probe_needs_its_id_and_address(void **state) {
  static const char inside[] = "<probe xmlns='" NS "' hops='0'/>";
  char address[200], id[70];
  fed f;
  probe p;
  (void)state;
  prepare_component(&f);
  open_fed(&f);
  p = send_probe(&f, 1);
  feed_message(&f, "headline", "eve@xmpp.example/x", p.address, p.id, inside);
  expect_stanza(&f, p.id);
  feed_message(&f, "headline", p.address, DOMAIN, p.id, inside);
  expect_stanza(&f, p.id);
  feed_message(&f, "headline", "a@evil.example", "a@evil.example", p.id, inside);
  expect_stanza(&f, p.id);
  snprintf(address, sizeof address, "%s.evil.example", p.address);
  feed_message(&f, "headline", address, address, p.id, inside);
  expect_stanza(&f, p.id);
  snprintf(id, sizeof id, "%s9", p.id); /* no probe had that number */
  feed_message(&f, "headline", p.address, p.address, id, "<probe xmlns='urn:other' hops='0'/>");
  expect_stanza(&f, id);
  snprintf(id, sizeof id, "%s", p.id);
  id[3] = id[3] == 'x' ? 'y' : 'x'; /* a different key */
  feed_message(&f, "headline", p.address, p.address, id, "<body>hi</body>");
  expect_stanza(&f, id);
  feed_message(&f, "headline", p.address, p.address, "x", "<body>hi</body>");
  expect_stanza(&f, "x");
  feed(&f, "<iq type='get' from='" DOMAIN "' to='" DOMAIN "' id='y'><probe xmlns='" NS "' hops='0'/></iq>");
  expect_stanza(&f, "y");
  feed(&f, "<message id='z'><probe xmlns='" NS "' hops='0'/></message>");
  expect_stanza(&f, "z");
  expect_nothing(&f);
  expect_sent(&f, "");
  close_fed(&f);
}

/* An error doesn't prove that the route works, and isn't given to the program. */
static void an_error_does_not_prove_the_route(void **state) {
  fed f;
  probe p;
  (void)state;
  prepare_component(&f);
  open_fed(&f);
  p = send_probe(&f, 1);
  feed_message(&f, "error", p.address, p.address, p.id, "<error type='wait'/>");
  expect_nothing(&f);
  feed_probe(&f, &p, p.address);
  assert_int_equal(next(f.c), XM_CONN_PROBED);
  close_fed(&f);
}

/* A probe of another connection with the same domain is forwarded, each time to a new address, and only MOST_HOPS
 * times. */
static void another_connections_probe_is_forwarded(void **state) {
  fed a, b;
  probe p, q;
  unsigned hops;
  (void)state;
  prepare_component(&a);
  prepare_component(&b);
  open_fed(&a);
  open_fed(&b);
  p = send_probe(&a, 1);
  send_probe(&b, 1);
  feed_probe(&b, &p, p.address);
  expect_nothing(&b);
  q = take_probe(&b);
  assert_string_equal(q.id, p.id);
  assert_string_not_equal(q.address, p.address);
  assert_int_equal(q.hops, 1);
  feed_probe(&a, &q, q.address);
  assert_int_equal(next(a.c), XM_CONN_PROBED);
  assert_string_equal(send_probe(&a, 2).address, q.address); /* the address of the connection that sent it */
  for (hops = 1; hops < MOST_HOPS; hops++) {
    feed_probe(&b, &q, q.address);
    expect_nothing(&b);
    p = q;
    q = take_probe(&b);
    assert_string_not_equal(q.address, p.address);
  }
  assert_int_equal(q.hops, MOST_HOPS);
  feed_probe(&b, &q, q.address);
  expect_nothing(&b);
  expect_sent(&b, "");
  feed_message(&b, "headline", p.address, p.address, "one whose id is a very long one, longer than any of ours ever are, you see",
               "<probe xmlns='" NS "' hops='0'/>");
  feed_message(&b, "headline", p.address, p.address, "x", "<probe xmlns='" NS "' hops='-1'/>");
  feed_message(&b, "headline", p.address, p.address, "x", "<probe xmlns='" NS "'/>");
  expect_nothing(&b);
  expect_sent(&b, "");
  close_fed(&a);
  close_fed(&b);
}

/* A probe is sent only when there is a session, and space in the queue. */
static void a_probe_may_be_refused(void **state) {
  uint64_t number;
  xm_err e = {0};
  fed f;
  probe p = {.address = "probe-x@" DOMAIN, .id = "x"};
  (void)state;
  prepare_component(&f);
  f.o.max_queue = 20;
  open_fed(&f);
  give(&f, "<presence/>");
  assert_int_equal(xm_conn_probe(f.c, &number, &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_LIMIT);
  feed_probe(&f, &p, p.address);
  expect_nothing(&f);
  expect_sent(&f, "<presence/>");
  send_probe(&f, 1);
  xm_conn_close(f.c, 1000);
  e = (xm_err){0};
  assert_int_equal(xm_conn_probe(f.c, &number, &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_CLOSED);
  close_fed(&f);
}

/* Probes as a sign of life. */

static void prepare_watched(fed *f) {
  prepare_component(f);
  xm_loop_own_clock(f->loop, 0);
  f->o.keepalive_probe = true;
  f->o.keepalive = 60000;
  f->o.patience = 20000;
}

/* Nothing but spaces was sent. */
static void expect_spaces(fed *f) {
  xm_buf sent = XM_BUF_INIT;
  size_t i;
  assert_int_equal(xm_conn_sent(f->c, &sent), XM_OK);
  for (i = 0; i < xm_buf_len(&sent); i++) assert_int_equal(xm_buf_at(&sent)[i], ' ');
  xm_buf_free(&sent);
}

static void three_missing_probes_end_the_link(void **state) {
  fed f;
  probe p, q;
  (void)state;
  prepare_watched(&f);
  open_fed(&f);
  pass(&f, 59999);
  expect_spaces(&f);
  pass(&f, 1);
  p = take_probe(&f);
  pass(&f, 19999);
  expect_spaces(&f);
  pass(&f, 1);
  q = take_probe(&f);
  assert_string_not_equal(p.address, q.address);
  feed_probe(&f, &p, p.address); /* a late one counts as well */
  assert_int_equal(next(f.c), XM_CONN_PROBED);
  pass(&f, 60000);
  take_probe(&f);
  pass(&f, 20000);
  take_probe(&f);
  pass(&f, 20000);
  take_probe(&f);
  assert_int_equal(xm_conn_state_of(f.c), XM_CONN_READY);
  pass(&f, 20000);
  expect_end(f.c, XM_LAYER_TIMEOUT, "timeout");
  assert_true(xm_conn_why(f.c)->retry);
  close_fed(&f);
}

/* Any stanza proves that the route works, so no probe is sent then; nor while the program reads nothing. */
static void any_stanza_proves_the_route(void **state) {
  int i;
  fed f;
  (void)state;
  prepare_watched(&f);
  open_fed(&f);
  for (i = 0; i < 10; i++) {
    pass(&f, 50000);
    feed(&f, "<message id='x'/>");
    expect_stanza(&f, "x");
    expect_spaces(&f);
  }
  pass(&f, 60000);
  take_probe(&f);
  feed(&f, "<message id='y'/>");
  expect_stanza(&f, "y");
  pass(&f, 59999);
  expect_spaces(&f);
  pass(&f, 1);
  take_probe(&f);
  xm_conn_pause(f.c, true);
  pass(&f, 200000);
  expect_spaces(&f);
  assert_int_equal(xm_conn_state_of(f.c), XM_CONN_READY);
  xm_conn_pause(f.c, false);
  for (i = 0; i < 2; i++) pass(&f, 20000);
  assert_int_equal(xm_conn_state_of(f.c), XM_CONN_READY);
  close_fed(&f);
}

/* After the machine has slept, a probe is sent at once, and only one. */
static void a_jump_of_the_clock_sends_a_probe(void **state) {
  fed f;
  (void)state;
  prepare_watched(&f);
  f.o.keepalive = 3000000;
  open_fed(&f);
  on_jump(f.c);
  expect_nothing(&f);
  take_probe(&f);
  on_jump(f.c);
  expect_nothing(&f);
  expect_spaces(&f);
  close_fed(&f);
}

static void without_memory_no_probe(void **state) {
  long n = 0;
  bool failed;
  (void)state;
  do {
    fed f;
    probe p = {.address = "probe-x@" DOMAIN, .id = "x"};
    uint64_t number;
    int rc;
    prepare_component(&f);
    open_fed(&f);
    feed_probe(&f, &p, p.address);
    heap_fails(n++, false);
    rc = xm_conn_probe(f.c, &number, NULL);
    while (xm_conn_next(f.c) == XM_CONN_AGAIN) {}
    failed = heap_is_well();
    if (!failed) assert_int_equal(rc, XM_OK);
    close_fed(&f);
  } while (failed);
  assert_true(n > 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(run_dry_gives_out_what_was_received),
      cmocka_unit_test(every_byte_is_counted),
      cmocka_unit_test(what_is_passed_over_is_not_acknowledged),
      cmocka_unit_test(what_has_not_arrived_is_counted),
      cmocka_unit_test(without_a_session_nothing_runs_dry),
      cmocka_unit_test(a_final_stream_error_is_read),
      cmocka_unit_test(a_probe_is_recognised_when_it_returns),
      cmocka_unit_test(a_probe_needs_its_id_and_address),
      cmocka_unit_test(an_error_does_not_prove_the_route),
      cmocka_unit_test(another_connections_probe_is_forwarded),
      cmocka_unit_test(a_probe_may_be_refused),
      cmocka_unit_test(three_missing_probes_end_the_link),
      cmocka_unit_test(any_stanza_proves_the_route),
      cmocka_unit_test(a_jump_of_the_clock_sends_a_probe),
      cmocka_unit_test(without_memory_no_probe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
