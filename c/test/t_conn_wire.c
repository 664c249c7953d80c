/* conn: what the network can do to it: a component's connection, and a client's up to TLS, on loopback with the server
 * in the same process; cut at every byte, reset, silent, too slow, or with bytes between <proceed/> and TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"

#define PROOF "ee89026a6c5603c51b4504d218ac60f6874b7750" /* SHA-1 of "1test" (XEP-0114 3) */
#define STREAMS "http://etherx.jabber.org/streams"
#define COMPONENT "<stream:stream xmlns='jabber:component:accept' xmlns:stream='" STREAMS "' id='1'>"
#define CLIENT \
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" STREAMS "' id='1' version='1.0'>"
#define STARTTLS "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
#define PROCEED "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

static int stuffed; /* how many calls of send() fail with EAGAIN; negative: all */

/* Replaces the C library's, so that the kernel's buffer can seem full for a moment. */
ssize_t send(int fd, const void *from, size_t n, int flags) {
  if (stuffed && stuffed--) return errno = EAGAIN, -1;
  return sendto(fd, from, n, flags, NULL, 0);
}

static bool in_lockstep; /* nothing is sent ahead (no pipelining) */
static unsigned patience; /* in ms; keepalive is a tenth of it; 0: the defaults */

typedef struct wire {
  xm_loop *loop;
  xm_conn *c;
  int port, listener, peer; /* -1: none */
  xm_conn_event last;       /* the last one other than NOTHING, AGAIN and STATE */
  unsigned stanzas, ends, bounds;
} wire;

static void on_news(void *arg) {
  (void)arg;
}

static void open_wire(wire *w, bool component, unsigned timeout) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof in;
  xm_conn_options o = xm_conn_defaults();
  const char *reason, *address = component ? "echo.example" : "alice@xmpp.example/lua";
  const xm_tls_options tls = {.insecure = true};
  xm_err e = {0};
  xm_jid jid;
  *w = (wire){.loop = xm_loop_new(&e), .listener = socket(AF_INET, SOCK_STREAM, 0), .peer = -1};
  assert_int_equal(bind(w->listener, (struct sockaddr *)&in, sizeof in) | listen(w->listener, 4), 0);
  assert_int_equal(getsockname(w->listener, (struct sockaddr *)&in, &n), 0);
  w->port = ntohs(in.sin_port);
  assert_int_equal(xm_jid_parse(&jid, address, strlen(address), &reason), XM_OK);
  o.component = component;
  o.jid = &jid;
  o.password = "test";
  o.password_len = 4;
  o.host = "127.0.0.1";
  o.port = w->port;
  o.tls = component ? XM_TLS_NONE : XM_TLS_STARTTLS;
  o.tls_ctx = component ? NULL : xm_tls_ctx_new(&tls, &e);
  o.timeout = timeout;
  o.pipelining = in_lockstep ? XM_PIPELINING_NONE : XM_PIPELINING_EAGER;
  o.log = true;
  if (patience) o.keepalive = patience / 10, o.patience = patience;
  o.wake = on_news;
  w->c = xm_conn_new(w->loop, &o, NULL, &e);
  xm_tls_ctx_release(o.tls_ctx);
  if (!w->c) fail_msg("%s", e.text);
}

static void close_wire(wire *w) {
  if (w->peer >= 0) close(w->peer);
  if (w->listener >= 0) close(w->listener);
  xm_conn_free(w->c);
  xm_loop_turn(w->loop, 0);
  assert_int_equal(xm_loop_timeout(w->loop), -1);
  xm_loop_release(w->loop);
}

/* Does everything that can be done now, and then one turn of the loop. */
static void turn(wire *w) {
  xm_conn_event ev;
  while ((ev = xm_conn_next(w->c)) != XM_CONN_NOTHING) {
    if (ev == XM_CONN_AGAIN || ev == XM_CONN_STATE) continue;
    w->last = ev;
    w->stanzas += ev == XM_CONN_STANZA;
    w->bounds += ev == XM_CONN_BOUND;
    w->ends += ev == XM_CONN_ENDED;
    assert_true(w->ends <= 1);
  }
  xm_conn_flush(w->c);
  xm_loop_turn(w->loop, 1);
  xm_loop_fire(w->loop);
}

static void accept_peer(wire *w) {
  fcntl(w->listener, F_SETFL, O_NONBLOCK);
  while (w->peer < 0) {
    turn(w);
    w->peer = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK);
  }
}

/* What the server has received, as soon as it contains `end`. */
static const char *hear(wire *w, const char *end) {
  static char all[4096];
  size_t used = 0;
  do {
    ssize_t n;
    turn(w);
    n = recv(w->peer, all + used, sizeof all - 1 - used, 0);
    used += n > 0 ? (size_t)n : 0;
    all[used] = '\0';
  } while (!strstr(all, end));
  return all;
}

static void say(wire *w, const char *s, size_t n) {
  assert_int_equal(send(w->peer, s, n, MSG_NOSIGNAL), n);
}

static void until_end(wire *w) {
  while (w->last != XM_CONN_ENDED) turn(w);
  turn(w);
  assert_int_equal(w->ends, 1);
  assert_int_equal(xm_conn_state_of(w->c), XM_CONN_CLOSED);
}

static void expect_why(const wire *w, xm_layer layer, const char *condition) {
  const xm_err *why = xm_conn_why(w->c);
  if (why->layer != layer || strcmp(why->condition, condition) != 0)
    fail_msg("%s %s: %s", xm_layer_name(why->layer), why->condition, why->text);
}

static void open_component(wire *w) {
  open_wire(w, true, 30000);
  accept_peer(w);
  hear(w, "to='echo.example'>");
  say(w, COMPONENT, sizeof COMPONENT - 1);
  assert_non_null(strstr(hear(w, "</handshake>"), "<handshake>" PROOF "</handshake>"));
  say(w, "<handshake/>", 12);
  while (!w->bounds) turn(w);
  assert_string_equal(xm_conn_jid(w->c)->str, "echo.example");
}

static bool is_logged(const wire *w, const char *s) {
  const xm_buf *log = xm_conn_log(w->c);
  return memmem(xm_buf_at(log), xm_buf_len(log), s, strlen(s)) != NULL;
}

static void a_component_lives_and_dies(void **state) {
  wire w;
  size_t mark;
  (void)state;
  open_component(&w);
  assert_true(is_logged(&w, "<handshake>[masked]</handshake>"));
  assert_false(is_logged(&w, PROOF));
  say(&w, "<message/><iq/>", 15);
  while (w.stanzas < 2) turn(&w);
  mark = xm_buf_mark(xm_conn_out(w.c));
  xm_buf_puts(xm_conn_out(w.c), "<presence/>");
  assert_int_equal(xm_conn_commit(w.c, mark, 0, NULL, NULL), XM_OK);
  assert_string_equal(hear(&w, "<presence/>"), "<presence/>");
  xm_conn_close(w.c, 30000);
  assert_string_equal(hear(&w, "</stream:stream>"), "</stream:stream>");
  say(&w, "</stream:stream>", 16);
  until_end(&w);
  expect_why(&w, XM_LAYER_NONE, "");
  assert_int_equal(w.bounds, 1);
  close_wire(&w);
}

/* FIN or RST after `bytes` bytes from the server. There is exactly one end, and it says which of the two it was. */
static void cut_after(size_t bytes, bool reset) {
  static const char all[] = COMPONENT "<handshake/><message id='1'/><message id='2'><body>x</body></message>";
  static const size_t header = sizeof COMPONENT - 1, bound = sizeof COMPONENT + 11, one = sizeof COMPONENT + 28;
  const struct linger at_once = {1, 0};
  wire w;
  open_wire(&w, true, 30000);
  accept_peer(&w);
  hear(&w, "to='echo.example'>");
  say(&w, all, bytes < header ? bytes : header);
  if (bytes >= header) hear(&w, "</handshake>");
  if (bytes > header) say(&w, all + header, bytes - header);
  if (reset) setsockopt(w.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(w.peer);
  w.peer = -1;
  until_end(&w);
  if (reset) {
    assert_int_equal(xm_conn_why(w.c)->layer, XM_LAYER_TCP);
  } else {
    expect_why(&w, XM_LAYER_TCP, "EOF");
    assert_int_equal(w.bounds, bytes >= bound);
    assert_int_equal(w.stanzas, bytes < one ? 0 : bytes < sizeof all - 1 ? 1 : 2);
  }
  assert_true(xm_conn_why(w.c)->retry);
  close_wire(&w);
}

static void a_cut_at_any_byte_is_one_end(void **state) {
  size_t i, n = sizeof COMPONENT + 66;
  (void)state;
  for (i = 0; i <= n; i++) cut_after(i, false);
  for (i = 0; i <= n; i += 7) cut_after(i, true);
}

static void a_failed_write_is_the_end(void **state) {
  const struct linger at_once = {1, 0};
  wire w;
  size_t mark;
  int i;
  (void)state;
  open_component(&w);
  setsockopt(w.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(w.peer);
  w.peer = -1;
  mark = xm_buf_mark(xm_conn_out(w.c));
  for (i = 0; i < 10; i++) { /* conn reads nothing meanwhile */
    xm_buf_puts(xm_conn_out(w.c), "<presence/>");
    xm_conn_commit(w.c, mark, 0, NULL, NULL);
    xm_conn_flush(w.c);
    mark = xm_buf_mark(xm_conn_out(w.c));
  }
  until_end(&w);
  assert_int_equal(xm_conn_why(w.c)->layer, XM_LAYER_TCP);
  close_wire(&w);
}

static void a_refused_connection_is_an_error(void **state) {
  wire w;
  (void)state;
  open_wire(&w, true, 30000);
  close(w.listener);
  w.listener = -1;
  until_end(&w);
  expect_why(&w, XM_LAYER_TCP, "ECONNREFUSED");
  close_wire(&w);
}

static void a_silent_server_is_given_up(void **state) {
  static const char *const waits[] = {"stream header", "component's handshake"};
  wire w;
  int i;
  (void)state;
  for (i = 0; i < 2; i++) {
    open_wire(&w, true, 100);
    accept_peer(&w);
    if (i == 1) say(&w, COMPONENT, sizeof COMPONENT - 1);
    until_end(&w);
    expect_why(&w, XM_LAYER_TIMEOUT, "timeout");
    if (!strstr(xm_conn_why(w.c)->text, waits[i])) fail_msg("%s", xm_conn_why(w.c)->text);
    close_wire(&w);
  }
}

static void it_may_be_stopped_or_freed_in_any_state(void **state) {
  int state_of, how;
  (void)state;
  for (state_of = 0; state_of < 4; state_of++) {
    for (how = 0; how < 2; how++) {
      wire w;
      if (state_of == 3) {
        open_component(&w);
      } else {
        open_wire(&w, true, 30000);
        if (state_of > 0) accept_peer(&w);
        if (state_of > 1) hear(&w, "'echo.example'>");
      }
      if (how == 0 && state_of < 3) {
        xm_conn_close(w.c, 1000);
        until_end(&w);
        expect_why(&w, XM_LAYER_CLOSED, "stopped");
      }
      close_wire(&w);
    }
  }
}

/* The server reads nothing for a while; still everything arrives once and in order. */
static void a_full_kernel_loses_nothing(void **state) {
  enum { NUMBERS = 400000, SIZE = sizeof "<presence id='000000'/>" - 1 };
  static char got[16384];
  wire w;
  int i = 0, in = 0;
  (void)state;
  open_component(&w);
  for (i = 0; i < NUMBERS; i++) {
    char number[32];
    size_t mark = xm_buf_mark(xm_conn_out(w.c));
    sprintf(number, "<presence id='%06d'/>", i);
    xm_buf_puts(xm_conn_out(w.c), number);
    assert_int_equal(xm_conn_commit(w.c, mark, 0, NULL, NULL), XM_OK);
    if (i % 1000 == 0) xm_conn_flush(w.c);
  }
  assert_true(xm_conn_pending(w.c, NULL) > 0);
  for (i = 0; i < NUMBERS;) {
    ssize_t n = recv(w.peer, got + in, sizeof got - (size_t)in, 0);
    char *at = got;
    turn(&w);
    in += n > 0 ? (int)n : 0;
    for (; in >= SIZE; in -= SIZE, at += SIZE, i++) {
      char number[32];
      sprintf(number, "<presence id='%06d'/>", i);
      assert_memory_equal(at, number, SIZE);
    }
    memmove(got, at, (size_t)in);
  }
  assert_int_equal(xm_conn_pending(w.c, NULL), 0);
  close_wire(&w);
}

/* A server that has stopped reading can't be asked for a sign of life either, so the link ends. One that was only slow,
 * and reads on, keeps it. */
static void a_server_that_reads_nothing_is_given_up(void **state) {
  int reads;
  (void)state;
  patience = 1000;
  for (reads = 0; reads < 2; reads++) {
    wire w;
    size_t mark;
    uint64_t until;
    open_component(&w);
    stuffed = -1; /* for ever */
    mark = xm_buf_mark(xm_conn_out(w.c));
    xm_buf_puts(xm_conn_out(w.c), "<presence/>");
    assert_int_equal(xm_conn_commit(w.c, mark, 0, NULL, NULL), XM_OK);
    until = xm_loop_now(w.loop) + (reads ? 300 : 10000);
    while (w.last != XM_CONN_ENDED && xm_loop_now(w.loop) < until) turn(&w);
    stuffed = 0;
    until = xm_loop_now(w.loop) + (reads ? 1000 : 0);
    while (w.last != XM_CONN_ENDED && xm_loop_now(w.loop) < until) turn(&w);
    assert_int_equal(xm_conn_state_of(w.c), reads ? XM_CONN_READY : XM_CONN_CLOSED);
    if (!reads) expect_why(&w, XM_LAYER_TIMEOUT, "timeout");
    if (!reads) assert_non_null(strstr(xm_conn_why(w.c)->text, "has read nothing of what it is sent"));
    close_wire(&w);
  }
  patience = 0;
}

/* Whether the user is active (XEP-0352) is only sent between two stanzas, though the link's buffer ends within one; only
 * the latest state is sent. */
static void activity_is_sent_between_stanzas(void **state) {
  enum { LONG = 100000 };
  static char all[2 * LONG];
  static const char inactive[] = "<inactive xmlns='urn:xmpp:csi:0'/>";
  wire w;
  xm_buf *out;
  size_t used, mark;
  (void)state;
  open_component(&w);
  stuffed = -1;
  out = xm_conn_out(w.c);
  mark = xm_buf_mark(out);
  xm_buf_puts(out, "<message><body>");
  for (used = 0; used < LONG; used++) xm_buf_puts(out, "x");
  xm_buf_puts(out, "</body></message>");
  assert_int_equal(xm_conn_commit(w.c, mark, 0, NULL, NULL), XM_OK);
  turn(&w); /* the first part of it is in the link's buffer */
  xm_conn_say_active(w.c, true);
  xm_conn_say_active(w.c, false);
  turn(&w);
  stuffed = 0;
  for (used = 0; !memmem(all, used, "/>", 2);) {
    ssize_t n;
    turn(&w);
    n = recv(w.peer, all + used, sizeof all - used, 0);
    if (n > 0) used += (size_t)n;
    assert_true(used < sizeof all);
  }
  assert_int_equal(used, strlen("<message><body></body></message>") + LONG + strlen(inactive));
  assert_memory_equal(all + used - strlen(inactive), inactive, strlen(inactive));
  assert_int_equal(xm_conn_pending(w.c, NULL), 0);
  close_wire(&w);
}

/* What the kernel takes at the very end, together with our stream error, counts as written: it isn't returned as if it
 * had not been. */
static void the_last_flush_is_counted(void **state) {
  int full;
  (void)state;
  for (full = 0; full < 3; full++) {
    static const char *const fates[] = {"wl", "wl", "r"};
    char told[8] = "", *to = told;
    xm_sm_receipt r;
    xm_sm_stanza st;
    size_t mark;
    wire w;
    open_component(&w);
    mark = xm_buf_mark(xm_conn_out(w.c));
    xm_buf_puts(xm_conn_out(w.c), "<iq id='1'/>");
    say(&w, "</oops>", 7);
    stuffed = full; /* 1: for the flush before the refusal; 2: for that of the stream error, too */
    assert_int_equal(xm_conn_commit(w.c, mark, XM_SM_WATCHED, NULL, NULL), XM_OK);
    while (xm_conn_state_of(w.c) != XM_CONN_CLOSED) {
      xm_conn_event ev = xm_conn_next(w.c);
      if (ev == XM_CONN_ENDED) break;
      if (ev == XM_CONN_NOTHING) xm_loop_turn(w.loop, 1);
    }
    stuffed = 0;
    expect_why(&w, XM_LAYER_STREAM, "not-well-formed");
    while (xm_sm_receipt_next(xm_conn_sm(w.c), &r)) *to++ = "wal"[r.fate];
    while (xm_sm_returned_next(xm_conn_sm(w.c), &st)) *to++ = 'r';
    assert_string_equal(told, fates[full]);
    close_wire(&w);
  }
}

/* RFC 6120 5.4.3.3: with <proceed/> the unencrypted stream is over; whatever else came in it may be an attacker's. */

/* Up to the server's receiving <starttls/>, either right behind the header or after the server has offered it. The
 * server answers with `answer`. */
static void to_starttls(wire *w, const char *answer) {
  static const char offer[] = CLIENT STARTTLS;
  open_wire(w, false, 30000);
  accept_peer(w);
  hear(w, in_lockstep ? "xml:lang='en'>" : "xml:lang='en'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  say(w, offer, sizeof offer - 1);
  if (in_lockstep) hear(w, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  say(w, answer, strlen(answer));
}

static void nothing_may_come_between_proceed_and_tls(void **state) {
  static const char *const extra[] = {" ", "<stream:features/>", "<message/>", "\x16\x03\x03", "<half"};
  size_t i, n = sizeof extra / sizeof *extra;
  (void)state;
  for (i = 0; i < 2 * n; i++) {
    char both[200];
    wire w;
    in_lockstep = i >= n;
    snprintf(both, sizeof both, PROCEED "%s", extra[i % n]);
    to_starttls(&w, both);
    until_end(&w);
    expect_why(&w, XM_LAYER_TLS, "plaintext-injection");
    close_wire(&w);
  }
  in_lockstep = false;
}

static void clear_text_after_proceed_is_refused(void **state) {
  wire w;
  char record[8] = "";
  (void)state;
  to_starttls(&w, PROCEED);
  while (recv(w.peer, record, 1, 0) <= 0) turn(&w);
  assert_int_equal(record[0], 0x16); /* a handshake record: nothing more is sent unencrypted */
  say(&w, CLIENT "<stream:features/>", sizeof CLIENT "<stream:features/>" - 1);
  until_end(&w);
  assert_int_equal(xm_conn_why(w.c)->layer, XM_LAYER_TLS);
  close_wire(&w);
}

/* The server closes the connection because something was sent ahead: the password is asked for again. */
static void to_objection(wire *w) {
  open_wire(w, false, 30000);
  accept_peer(w);
  hear(w, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  say(w, CLIENT, sizeof CLIENT - 1);
  close(w->peer);
  w->peer = -1;
  while (xm_conn_state_of(w->c) == XM_CONN_CONNECTING && (w->last = xm_conn_next(w->c)) != XM_CONN_PASSWORD) {
    xm_loop_turn(w->loop, 1);
    xm_loop_fire(w->loop);
  }
  assert_int_equal(w->last, XM_CONN_PASSWORD);
  assert_string_equal(xm_conn_state_name(w->c), "connecting");
}

static void a_possible_objection_brings_a_second_attempt(void **state) {
  wire w;
  (void)state;
  to_objection(&w);
  xm_conn_log_in(w.c, "test", 4);
  accept_peer(&w);
  assert_null(strstr(hear(&w, "xml:lang='en'>"), "<starttls"));
  say(&w, CLIENT STARTTLS, sizeof CLIENT STARTTLS - 1);
  hear(&w, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
  close(w.peer); /* this time nothing was sent ahead: there is no third attempt */
  w.peer = -1;
  until_end(&w);
  assert_int_equal(xm_conn_why(w.c)->layer, XM_LAYER_TCP);
  xm_conn_log_in(w.c, "test", 4);
  assert_int_equal(xm_conn_next(w.c), XM_CONN_NOTHING);
  close_wire(&w);
}

/* The password isn't given, or the server is gone: the error is that of the first attempt. */
static void without_a_second_attempt_the_first_error_counts(void **state) {
  int how;
  (void)state;
  for (how = 0; how < 4; how++) {
    wire w;
    to_objection(&w);
    if (how == 1 || how == 2) xm_conn_log_in(w.c, "test", 4);
    if (how == 1) close(w.listener);
    if (how == 1) w.listener = -1;
    if (how == 2) {
      accept_peer(&w);
      close(w.peer);
      w.peer = -1;
    }
    if (how == 3) xm_conn_close(w.c, 1000);
    until_end(&w);
    if (how == 3) expect_why(&w, XM_LAYER_CLOSED, "stopped");
    if (how != 3) assert_int_equal(xm_conn_why(w.c)->layer, XM_LAYER_TCP);
    if (how != 3) assert_string_not_equal(xm_conn_why(w.c)->condition, "ECONNREFUSED");
    close_wire(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_component_lives_and_dies),
      cmocka_unit_test(a_cut_at_any_byte_is_one_end),
      cmocka_unit_test(a_failed_write_is_the_end),
      cmocka_unit_test(a_refused_connection_is_an_error),
      cmocka_unit_test(a_silent_server_is_given_up),
      cmocka_unit_test(it_may_be_stopped_or_freed_in_any_state),
      cmocka_unit_test(a_full_kernel_loses_nothing),
      cmocka_unit_test(a_server_that_reads_nothing_is_given_up),
      cmocka_unit_test(activity_is_sent_between_stanzas),
      cmocka_unit_test(the_last_flush_is_counted),
      cmocka_unit_test(nothing_may_come_between_proceed_and_tls),
      cmocka_unit_test(clear_text_after_proceed_is_refused),
      cmocka_unit_test(a_possible_objection_brings_a_second_attempt),
      cmocka_unit_test(without_a_second_attempt_the_first_error_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
