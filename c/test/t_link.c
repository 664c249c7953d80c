/* link: every public function in each state, once, twice, and after every other one; how a link ends in each state, and
 * what the peer receives then; no memory for a deadline's timer. On loopback, with the server in the same process. */
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
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"

/* The nth timer that is started gets no memory; 0: all timers do. */
static int poor_start;

static int poor_timer_start(xm_loop *l, xm_timer *t, uint64_t ms, void (*fn)(void *), void *arg) {
  return poor_start && --poor_start == 0 ? XM_ENOMEM : xm_timer_start(l, t, ms, fn, arg);
}

#define xm_timer_start poor_timer_start
#include "../core/link.c"
#include "../core/link_setup.c"
#undef xm_timer_start

#define STREAM_HEAD "<stream:stream xmlns='jabber:component:accept' xmlns:stream='" XM_NS_STREAM "' id='1'>"

typedef struct scene {
  xm_loop *loop;
  xm_jid jid;
  xm_conn_options o;
  xm_wirelog log;
  xm_link *k;
  int listener, peer, silent, fill[4]; /* each is -1 if there is none */
  int port;
  char nameserver[32], url[32];
} scene;

static int news;

static void on_news(void *arg) {
  (void)arg;
  news++;
}

static int bound_socket(int type, int *port) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof in;
  int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
  *port = ntohs(in.sin_port);
  return fd;
}

static void open_scene(scene *s) {
  static xm_tls_ctx *tls; /* shared by all tests, since to make one takes long */
  const xm_tls_options insecure = {.insecure = true};
  const char *reason;
  xm_err e = {0};
  int port;
  if (!tls) tls = xm_tls_ctx_new(&insecure, &e);
  *s = (scene){.loop = xm_loop_new(&e), .peer = -1, .fill = {-1, -1, -1, -1}};
  s->listener = bound_socket(SOCK_STREAM, &s->port);
  s->silent = bound_socket(SOCK_DGRAM, &port);
  snprintf(s->nameserver, sizeof s->nameserver, "127.0.0.1:%d", port);
  assert_int_equal(xm_jid_parse(&s->jid, "echo.example", 12, &reason), XM_OK);
  s->o = (xm_conn_options){.component = true,
                           .jid = &s->jid,
                           .password = "test",
                           .password_len = 4,
                           .host = "127.0.0.1",
                           .port = s->port,
                           .tls = XM_TLS_NONE,
                           .tls_ctx = tls,
                           .timeout = 30000,
                           .bounds = XM_BOUNDS_DEFAULT,
                           .wake = on_news};
}

static void begin_link(scene *s) {
  xm_link_start start = {.password = "test", .password_len = 4};
  xm_err e = {0};
  s->k = xm_link_new(s->loop, &s->o, &start, &s->log, &e);
  if (!s->k) fail_msg("%s", e.text);
}

static void close_scene(scene *s) {
  int i;
  xm_link_free(s->k);
  close(s->listener);
  close(s->silent);
  if (s->peer >= 0) close(s->peer);
  for (i = 0; i < 4; i++)
    if (s->fill[i] >= 0) close(s->fill[i]);
  xm_loop_turn(s->loop, 0);
  assert_int_equal(xm_loop_timeout(s->loop), -1);
  xm_loop_release(s->loop);
}

static xm_link_event turn(scene *s) {
  xm_link_event ev = xm_link_next(s->k);
  xm_loop_turn(s->loop, 1);
  xm_loop_fire(s->loop);
  return ev;
}

/* Fills the listener's queue, so that it accepts no further connection. */
static void fill_queue(scene *s) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int i;
  in.sin_port = htons((uint16_t)s->port);
  assert_int_equal(listen(s->listener, 0), 0);
  for (i = 0; i < 4; i++) {
    s->fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(s->fill[i], (struct sockaddr *)&in, sizeof in);
  }
}

static void accept_peer(scene *s) {
  while (s->peer < 0) {
    turn(s);
    s->peer = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK);
  }
}

static void hear(scene *s, const char *end) {
  char all[4096];
  size_t used = 0;
  do {
    ssize_t n = recv(s->peer, all + used, sizeof all - 1 - used, 0);
    if (n > 0) used += (size_t)n;
    all[used] = '\0';
    if (!strstr(all, end)) turn(s);
  } while (!strstr(all, end));
}

static void say(scene *s, const char *text) {
  assert_int_equal(send(s->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void behind_a_proxy(scene *s) {
  s->o.proxy = (xm_proxy){.name = "socks5://127.0.0.1", .host = "127.0.0.1", .port = s->port};
  s->o.host = "xmpp.example";
  s->o.port = 5269;
}

/* Makes a new link, and brings it to this state. */
static void bring(scene *s, xm_link_state to) {
  open_scene(s);
  if (to == XM_LINK_RESOLVING) s->o.host = "silent.example", s->o.nameservers = s->nameserver;
  if (to == XM_LINK_DIALLING) fill_queue(s);
  else listen(s->listener, 4);
  if (to == XM_LINK_SECURING) s->o.component = false, s->o.tls = XM_TLS_DIRECT;
  if (to == XM_LINK_TUNNELLING) behind_a_proxy(s);
  snprintf(s->url, sizeof s->url, "ws://127.0.0.1:%d/", s->port);
  if (to == XM_LINK_UPGRADING) s->o.component = false, s->o.url = s->url;
  begin_link(s);
  if (to == XM_LINK_CLOSED) xm_link_end(s->k, XM_LINK_CUT, NULL);
  if (to >= XM_LINK_TUNNELLING && to < XM_LINK_CLOSED) accept_peer(s);
  if (to == XM_LINK_OPEN) {
    hear(s, "to='echo.example'>");
    say(s, STREAM_HEAD);
    hear(s, "</handshake>");
    say(s, "<handshake/>");
  }
  while (xm_link_state_of(s->k) != to) turn(s);
  assert_string_equal(xm_link_why(s->k)->condition, to == XM_LINK_CLOSED ? "ENOMEM" : "");
  if (to == XM_LINK_NEGOTIATING) hear(s, "to='echo.example'>");
  if (to == XM_LINK_UPGRADING) hear(s, "\r\n\r\n");
  if (to == XM_LINK_SECURING || to == XM_LINK_TUNNELLING) turn(s);
}

/* The functions that are called. */

static void next(scene *s) { xm_link_next(s->k); }
static void pause_it(scene *s) { xm_link_pause(s->k, true); }
static void go_on(scene *s) { xm_link_pause(s->k, false); }
static void rest(scene *s) { xm_link_rest(s->k); }
static void flush(scene *s) { xm_link_flush(s->k); }
static void write_on(scene *s) {
  xm_buf_puts(xm_link_wire(s->k), " ");
  xm_link_flush(s->k);
}
static void feed(scene *s) { xm_link_feed(s->k, "<x/>", 4); }
static void take(scene *s) {
  xm_buf taken = {0};
  xm_buf_puts(xm_link_wire(s->k), " ");
  assert_int_equal(xm_link_take(s->k, &taken), XM_OK);
  xm_buf_free(&taken);
}
static void cut(scene *s) { xm_link_end(s->k, XM_LINK_CUT, NULL); }
static void part(scene *s) { xm_link_end(s->k, XM_LINK_PART, NULL); }
static void bye(scene *s) { xm_link_end(s->k, XM_LINK_BYE, NULL); }
static void refuse(scene *s) {
  xm_err_set(xm_link_why(s->k), XM_LAYER_STREAM, "bad-format", false, "a test");
  xm_link_end(s->k, XM_LINK_REFUSE, "<x xmlns='urn:x'/>");
}
static void turn_once(scene *s) { turn(s); }

static void ask_all(scene *s) {
  xm_link_peer peer;
  uint32_t h;
  size_t most;
  assert_non_null(xm_link_phase(s->k));
  assert_non_null(xm_link_tape(s->k));
  assert_non_null(xm_link_wire(s->k));
  assert_non_null(xm_link_jid(s->k));
  xm_link_outcome(s->k, &h);
  xm_link_spare(s->k), xm_link_has_sm(s->k), xm_link_tls_version(s->k), xm_link_tls_is_resumed(s->k);
  xm_link_mechanism(s->k), xm_link_binding(s->k), xm_link_is_direct(s->k), xm_link_was_answered(s->k);
  xm_link_went_ahead(s->k), xm_link_objected(s->k), xm_link_heard_at(s->k);
  xm_link_backlog(s->k), xm_link_is_half(s->k);
  xm_link_crossed(s->k, &most), xm_link_is_proven(s->k);
  assert_false(xm_link_was_refused(s->k));
  assert_false(xm_link_has_targets(s->k));
  xm_targets_free(xm_link_take_targets(s->k));
  assert_string_equal(xm_link_other_host(s->k), "");
  if (xm_link_peer_of(s->k, &peer)) assert_int_equal(peer.address.ss_family, AF_INET);
}

static const struct call {
  const char *name;
  void (*f)(scene *s);
  bool ends;
} calls[] = {
    {"next", next, false},   {"pause", pause_it, false}, {"go on", go_on, false}, {"rest", rest, false},
    {"flush", flush, false}, {"write", write_on, false}, {"feed", feed, false},   {"take", take, false},
    {"ask", ask_all, false}, {"turn", turn_once, false}, {"cut", cut, true},      {"part", part, true},
    {"bye", bye, true},      {"refuse", refuse, true},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* The state doesn't change until a call ends the link; then it is CLOSED for good, with a single reason. */
static void check(scene *s, xm_link_state was, const struct call *a, const struct call *b) {
  bool ended = a->ends || b->ends || was == XM_LINK_CLOSED;
  const struct call *by = a->ends ? a : b;
  const char *condition = was == XM_LINK_CLOSED || (ended && by->f == cut) ? "ENOMEM"
                          : ended && by->f == refuse                       ? "bad-format"
                                                                           : xm_link_why(s->k)->condition;
  if (xm_link_state_of(s->k) != (ended ? XM_LINK_CLOSED : was))
    fail_msg("%s, %s in state %d: state %d", a->name, b->name, was, xm_link_state_of(s->k));
  assert_string_equal(xm_link_why(s->k)->condition, condition);
  assert_int_equal(xm_link_next(s->k), ended ? XM_LINK_ENDED : XM_LINK_NOTHING);
  ask_all(s);
}

static void every_function_in_every_state(void **state) {
  int was, i, j;
  (void)state;
  for (was = XM_LINK_RESOLVING; was <= XM_LINK_CLOSED; was++) {
    for (i = 0; i < CALLS; i++) {
      for (j = 0; j < CALLS; j++) {
        scene s;
        if (was == XM_LINK_CLOSED && calls[i].f == refuse) continue; /* it would fill in the reason */
        bring(&s, (xm_link_state)was);
        calls[i].f(&s);
        calls[j].f(&s);
        check(&s, (xm_link_state)was, &calls[i], &calls[j]);
        close_scene(&s);
      }
    }
  }
}

/* What the peer receives when a link ends and bytes from the peer haven't been read: then a close without a goodbye is
 * a reset, and our last bytes may be lost. */
#define ERROR \
  "<stream:error><bad-format xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><x xmlns='urn:x'/></stream:error></stream:stream>"

static const struct end_row {
  xm_link_state state;
  void (*how)(scene *s);
  const char *said;
  int last; /* 0: FIN; else an errno */
} end_rows[] = {
    {XM_LINK_TUNNELLING, cut, "\x05\x01", ECONNRESET},
    {XM_LINK_TUNNELLING, part, "\x05\x01", 0},
    {XM_LINK_TUNNELLING, bye, "\x05\x01", 0},
    {XM_LINK_TUNNELLING, refuse, "\x05\x01", 0},
    {XM_LINK_SECURING, cut, "", ECONNRESET},
    {XM_LINK_SECURING, part, "", 0},
    {XM_LINK_SECURING, bye, "", 0},
    {XM_LINK_SECURING, refuse, "", 0},
    {XM_LINK_UPGRADING, cut, "", ECONNRESET},
    {XM_LINK_UPGRADING, part, "", 0},
    {XM_LINK_UPGRADING, bye, "", 0},
    {XM_LINK_UPGRADING, refuse, "", 0},
    {XM_LINK_NEGOTIATING, cut, "", ECONNRESET},
    {XM_LINK_NEGOTIATING, part, "", 0},
    {XM_LINK_NEGOTIATING, bye, "</stream:stream>", 0},
    {XM_LINK_NEGOTIATING, refuse, ERROR, 0},
    {XM_LINK_OPEN, cut, "", ECONNRESET},
    {XM_LINK_OPEN, part, "", 0},
    {XM_LINK_OPEN, bye, "</stream:stream>", 0},
    {XM_LINK_OPEN, refuse, ERROR, 0},
};

/* Receives everything until the end; `last` is how it ends: 0 or an errno. */
static void drain(int fd, char *to, size_t room, int *last) {
  size_t used = 0;
  ssize_t n;
  fcntl(fd, F_SETFL, 0);
  while ((n = recv(fd, to + used, room - 1 - used, 0)) > 0) used += (size_t)n;
  *last = n < 0 ? errno : 0;
  to[used] = '\0';
}

static void an_end_is_told_as_far_as_it_can_be(void **state) {
  size_t i;
  (void)state;
  for (i = 0; i < sizeof end_rows / sizeof *end_rows; i++) {
    const struct end_row *row = &end_rows[i];
    char said[4096];
    int last;
    scene s;
    bring(&s, row->state);
    if (row->state == XM_LINK_SECURING) recv(s.peer, said, sizeof said, 0); /* the ClientHello */
    say(&s, "<unread/>");
    row->how(&s);
    drain(s.peer, said, sizeof said, &last);
    if (strcmp(said, row->said) != 0 || last != row->last)
      fail_msg("row %zu: \"%s\", then %s; wanted \"%s\"", i, said, strerror(last), row->said);
    close_scene(&s);
  }
}

/* Bytes that the kernel takes while the link ends count as taken, since sm relies on the count. */
static void what_leaves_at_the_end_is_counted(void **state) {
  static const struct {
    xm_link_how how;
    size_t more;
  } rows[] = {{XM_LINK_CUT, 0}, {XM_LINK_PART, 0}, {XM_LINK_BYE, 3 + 16}, {XM_LINK_REFUSE, 3 + sizeof ERROR - 1}};
  size_t i;
  (void)state;
  for (i = 0; i < 4; i++) {
    uint64_t before;
    scene s;
    bring(&s, XM_LINK_OPEN);
    xm_err_set(xm_link_why(s.k), XM_LAYER_STREAM, "bad-format", false, "a test");
    xm_buf_puts(xm_link_wire(s.k), "abc");
    before = xm_link_taken(s.k);
    xm_link_end(s.k, rows[i].how, "<x xmlns='urn:x'/>");
    assert_int_equal(xm_link_taken(s.k) - before, rows[i].more);
    xm_link_end(s.k, rows[i].how, "<x xmlns='urn:x'/>");
    assert_int_equal(xm_link_taken(s.k) - before, rows[i].more);
    close_scene(&s);
  }
}

/* Links that end by themselves, and every call after that. */

static void by_nobody_there(scene *s) {
  open_scene(s);
  begin_link(s); /* nobody listens there */
}

static void by_no_proxy(scene *s) {
  open_scene(s);
  behind_a_proxy(s);
  begin_link(s);
}

static void by_no_socks(scene *s) {
  bring(s, XM_LINK_TUNNELLING);
  say(s, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

static void by_a_silent_proxy(scene *s) {
  bring(s, XM_LINK_TUNNELLING);
  s->k->late = true;
}

static void by_a_proxy_that_goes(scene *s) {
  bring(s, XM_LINK_TUNNELLING);
  recv(s->peer, (char[8]){0}, 8, 0);
  close(s->peer);
  s->peer = -1;
}

static void by_a_proxy_that_resets(scene *s) {
  bring(s, XM_LINK_TUNNELLING);
  close(s->peer); /* before it has read the greeting */
  s->peer = -1;
}

static void by_a_host_that_none_can_be_asked_for(scene *s) {
  open_scene(s);
  behind_a_proxy(s);
  listen(s->listener, 4);
  s->o.host = "fe80::1%lo";
  begin_link(s);
}

static void by_no_tls(scene *s) {
  bring(s, XM_LINK_SECURING);
  say(s, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

static void by_a_reset(scene *s) {
  const struct linger at_once = {1, 0};
  bring(s, XM_LINK_NEGOTIATING);
  setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(s->peer);
  s->peer = -1;
}

static void by_http(scene *s) {
  bring(s, XM_LINK_NEGOTIATING);
  say(s, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

static void by_a_web_page(scene *s) {
  bring(s, XM_LINK_UPGRADING);
  say(s, "HTTP/1.1 404 Not Found\r\n\r\n");
}

static void by_no_answer(scene *s) {
  bring(s, XM_LINK_UPGRADING);
  close(s->peer);
  s->peer = -1;
}

static void by_lateness(scene *s) {
  bring(s, XM_LINK_DIALLING);
  s->k->late = true;
}

static void by_a_cut(scene *s) {
  bring(s, XM_LINK_OPEN);
  close(s->peer);
  s->peer = -1;
}

static void behind_a_failure_everything_is_harmless(void **state) {
  static const struct {
    void (*happens)(scene *s);
    xm_layer layer;
    const char *condition;
  } rows[] = {{by_no_proxy, XM_LAYER_TCP, "ECONNREFUSED"},
              {by_no_socks, XM_LAYER_PROXY, "invalid-response"},
              {by_a_silent_proxy, XM_LAYER_TIMEOUT, "timeout"},
              {by_a_proxy_that_goes, XM_LAYER_PROXY, "EOF"},
              {by_a_proxy_that_resets, XM_LAYER_TCP, "ECONNRESET"},
              {by_a_host_that_none_can_be_asked_for, XM_LAYER_PROXY, "bad-host"},
              {by_nobody_there, XM_LAYER_TCP, "ECONNREFUSED"}, {by_no_tls, XM_LAYER_TLS, NULL},
              {by_a_reset, XM_LAYER_TCP, "ECONNRESET"},        {by_http, XM_LAYER_STREAM, NULL},
              {by_a_web_page, XM_LAYER_WEBSOCKET, "http-404"}, {by_no_answer, XM_LAYER_TCP, "EOF"},
              {by_lateness, XM_LAYER_TIMEOUT, "timeout"},      {by_a_cut, XM_LAYER_TCP, "EOF"}};
  size_t i;
  int j;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    scene s;
    xm_err why;
    rows[i].happens(&s);
    while (turn(&s) != XM_LINK_ENDED) {}
    why = *xm_link_why(s.k);
    assert_int_equal(why.layer, rows[i].layer);
    if (rows[i].condition) assert_string_equal(why.condition, rows[i].condition);
    for (j = 0; j < 2 * CALLS; j++) {
      calls[j % CALLS].f(&s);
      assert_int_equal(xm_link_next(s.k), XM_LINK_ENDED);
    }
    assert_memory_equal(xm_link_why(s.k), &why, sizeof why);
    close_scene(&s);
  }
}

/* Each state before OPEN has a deadline; if its timer can't be started, the link ends at once. */
static void without_memory_for_a_deadline_it_ends(void **state) {
  static const struct {
    int timer; /* which timer can't be started */
    xm_link_state until;
  } rows[] = {{2, XM_LINK_DIALLING},
              {2, XM_LINK_SECURING},
              {3, XM_LINK_SECURING},
              {3, XM_LINK_UPGRADING},
              {3, XM_LINK_NEGOTIATING},
              {3, XM_LINK_TUNNELLING}};
  xm_link_start start = {.password = "test", .password_len = 4};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    scene s;
    open_scene(&s);
    listen(s.listener, 4);
    if (rows[i].until == XM_LINK_SECURING) s.o.component = false, s.o.tls = XM_TLS_DIRECT;
    if (rows[i].until == XM_LINK_TUNNELLING) behind_a_proxy(&s);
    snprintf(s.url, sizeof s.url, "ws://127.0.0.1:%d/", s.port);
    if (rows[i].until == XM_LINK_UPGRADING) s.o.component = false, s.o.url = s.url;
    poor_start = rows[i].timer;
    begin_link(&s);
    while (turn(&s) != XM_LINK_ENDED) {}
    assert_string_equal(xm_link_why(s.k)->condition, "ENOMEM");
    assert_int_equal(xm_link_why(s.k)->layer, XM_LAYER_LIMIT);
    close_scene(&s);
  }
  for (i = 0; i < 1; i++) { /* without the first timer it can't even begin */
    xm_err e = {0};
    scene s;
    open_scene(&s);
    poor_start = 1;
    s.k = xm_link_new(s.loop, &s.o, &start, &s.log, &e);
    assert_null(s.k);
    assert_string_equal(e.condition, "ENOMEM");
    close_scene(&s);
  }
}

/* Without a TLS context no connection uses TLS, by whichever option it was asked for. */
static void no_context_no_tls(void **state) {
  xm_link_peer there = {.port = 0};
  struct sockaddr_in *in = (struct sockaddr_in *)(void *)&there.address;
  xm_link_start start = {.password = "test", .password_len = 4, .avoid = &there, .again = true, .direct = true};
  xm_err e = {0};
  scene s;
  (void)state;
  open_scene(&s);
  listen(s.listener, 4);
  in->sin_family = AF_INET;
  in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  in->sin_port = htons((uint16_t)s.port);
  s.o.tls_ctx = NULL;
  s.k = xm_link_new(s.loop, &s.o, &start, &s.log, &e);
  assert_non_null(s.k);
  while (turn(&s) != XM_LINK_ENDED) {}
  assert_string_equal(xm_link_why(s.k)->condition, "tls-required");
  assert_false(xm_link_why(s.k)->retry);
  close_scene(&s);
}

/* The proxy's greeting, the request, and the server's first bytes in one piece with the reply. */
static void what_is_behind_the_reply_is_the_servers(void **state) {
  static const char request[] = "\x05\x01\x00\x03\x0cxmpp.example\x14\x95";
  static const char reply[] = "\x05\x00\x00\x01\x7f\x00\x00\x02\x00\x00";
  char got[64], all[256];
  xm_link_peer peer;
  scene s;
  ssize_t n;
  size_t cut;
  (void)state;
  for (cut = 0; cut < sizeof reply; cut++) {
    bring(&s, XM_LINK_TUNNELLING);
    assert_int_equal(recv(s.peer, got, sizeof got, 0), 3);
    assert_int_equal(send(s.peer, "\x05\x00", 2, 0), 2);
    while ((n = recv(s.peer, got, sizeof got, 0)) < 0) turn(&s);
    assert_int_equal(n, sizeof request - 1);
    assert_memory_equal(got, request, sizeof request - 1);
    assert_int_equal(send(s.peer, reply, cut, 0), cut);
    for (n = 0; n < 3; n++) turn(&s);
    n = (ssize_t)(sizeof reply - 1 - cut);
    memcpy(all, reply + cut, (size_t)n);
    strcpy(all + n, STREAM_HEAD);
    assert_int_equal(send(s.peer, all, (size_t)n + strlen(STREAM_HEAD), 0), n + (ssize_t)strlen(STREAM_HEAD));
    hear(&s, "</handshake>");
    say(&s, "<handshake/>");
    while (xm_link_state_of(s.k) != XM_LINK_OPEN) turn(&s);
    assert_true(xm_link_peer_of(s.k, &peer));
    assert_string_equal(peer.host, "xmpp.example");
    assert_int_equal(peer.port, 5269);
    close_scene(&s);
  }
}

/* A proxy that sends both replies at once still gets both messages. */
static void a_proxy_that_answers_too_early_is_asked(void **state) {
  static const char both[] = "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x02\x00\x00";
  static const char ours[] = "\x05\x01\x00\x05\x01\x00\x03\x0cxmpp.example\x14\x95<";
  char got[64];
  size_t n = 0;
  scene s;
  (void)state;
  bring(&s, XM_LINK_TUNNELLING);
  assert_int_equal(send(s.peer, both, sizeof both - 1, 0), sizeof both - 1);
  while (n < sizeof ours - 1) {
    ssize_t more = recv(s.peer, got + n, sizeof ours - 1 - n, 0);
    n += more > 0 ? (size_t)more : 0;
    turn(&s);
  }
  assert_memory_equal(got, ours, n);
  close_scene(&s);
}

/* A client needs TLS even if the proxy is on this machine, since the server needn't be. */
static void no_client_goes_in_clear_behind_a_proxy(void **state) {
  xm_link_start start = {.password = "test", .password_len = 4};
  xm_err e = {0};
  scene s;
  (void)state;
  open_scene(&s);
  behind_a_proxy(&s);
  s.o.host = "127.0.0.1";
  s.o.component = false;
  assert_null(xm_link_new(s.loop, &s.o, &start, &s.log, &e));
  assert_string_equal(e.condition, "tls-required");
  assert_false(e.retry);
  close_scene(&s);
}

/* A link that is paused before it is open still negotiates, and is paused from then on. Its end is noticed, and what
 * was received before that is given out first. */
static void a_pause_holds_what_is_open_only(void **state) {
  xm_link_state from;
  (void)state;
  for (from = XM_LINK_RESOLVING; from < XM_LINK_OPEN; from++) {
    xm_link_event ev;
    scene s;
    int i;
    open_scene(&s);
    listen(s.listener, 4);
    begin_link(&s);
    while (xm_link_state_of(s.k) < from && from != XM_LINK_SECURING && from != XM_LINK_UPGRADING) turn(&s);
    xm_link_pause(s.k, true);
    accept_peer(&s);
    hear(&s, "to='echo.example'>");
    say(&s, STREAM_HEAD);
    hear(&s, "</handshake>");
    say(&s, "<handshake/>");
    while ((ev = turn(&s)) != XM_LINK_OPENED) assert_int_not_equal(ev, XM_LINK_ENDED);
    say(&s, "<message id='1'/>");
    for (i = 0; i < 20; i++) assert_int_equal(turn(&s), XM_LINK_NOTHING);
    close(s.peer);
    s.peer = -1;
    for (i = 0; (ev = turn(&s)) == XM_LINK_NOTHING && i < 1000;) i++;
    assert_int_equal(ev, XM_LINK_ELEMENT);
    while ((ev = turn(&s)) == XM_LINK_AGAIN) {}
    assert_int_equal(ev, XM_LINK_ENDED);
    assert_string_equal(xm_link_why(s.k)->condition, "EOF");
    close_scene(&s);
  }
}

/* A paused link uses no CPU time, even if its connection has ended meanwhile. */
static void a_pause_does_not_spin(void **state) {
  scene s;
  int i;
  (void)state;
  bring(&s, XM_LINK_OPEN);
  xm_link_pause(s.k, true);
  say(&s, "<message id='1'/>");
  shutdown(s.peer, SHUT_WR);
  for (i = 0; i < 1000 && !xm_sock_is_over(s.k->sock); i++) xm_loop_turn(s.loop, 1);
  assert_true(xm_sock_is_over(s.k->sock));
  news = 0;
  for (i = 0; i < 100; i++) xm_loop_turn(s.loop, 1);
  assert_int_equal(news, 0);
  for (i = 0; i < 100; i++) {
    xm_link_pause(s.k, false); /* this wakes the owner */
    xm_link_pause(s.k, true);
    xm_loop_turn(s.loop, 1);
  }
  assert_int_equal(news, 100);
  assert_int_equal(xm_link_next(s.k), XM_LINK_ELEMENT);
  close_scene(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_function_in_every_state),
      cmocka_unit_test(an_end_is_told_as_far_as_it_can_be),
      cmocka_unit_test(what_leaves_at_the_end_is_counted),
      cmocka_unit_test(behind_a_failure_everything_is_harmless),
      cmocka_unit_test(without_memory_for_a_deadline_it_ends),
      cmocka_unit_test(no_context_no_tls),
      cmocka_unit_test(what_is_behind_the_reply_is_the_servers),
      cmocka_unit_test(a_proxy_that_answers_too_early_is_asked),
      cmocka_unit_test(no_client_goes_in_clear_behind_a_proxy),
      cmocka_unit_test(a_pause_holds_what_is_open_only),
      cmocka_unit_test(a_pause_does_not_spin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
