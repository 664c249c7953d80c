/* link, over WebSocket: a login to a server in the same process, on loopback without TLS; its bytes cut into pieces of
 * every size; violations of the protocol, and what the peer receives then; how much the kernel has taken, frame by
 * frame; every allocation fails once. */
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

#include "b64.h"
#include "framing.h"
#include "loop.h"
#include "ns.h"
#include "sha1.h"

#include "failing.h"

#include "../core/buf.c"
#include "../core/head.c"
#include "../core/link_web.c"
#include "../core/upgrade.c"

#include "failing_off.h"

#ifndef XM_WITHOUT_WSLAY

#define ROOT "xmlns:stream='" XM_NS_STREAM "'"
#define OPEN "<open xmlns='" XM_NS_FRAMING "' from='xmpp.test' id='1' version='1.0' xml:lang='en'/>"
#define CLOSE "<close xmlns='" XM_NS_FRAMING "'/>"
#define OFFER                                                                                                              \
  "<stream:features " ROOT "><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" \
  "<mechanism>ANONYMOUS</mechanism></mechanisms></stream:features>"
#define SUCCESS "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
#define BIND "<stream:features " ROOT "><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
#define BOUND "<iq type='result' id='%s'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a@xmpp.test/b</jid></bind></iq>"

enum { FIN = 0x80, TEXT = 1, BINARY = 2, SHUT = 8, PING = 9, PONG = 10 };

/* Appends to one of the test's own buffers, whose memory never runs out. */
static void keep(xm_buf *b, const void *bytes, size_t n) {
  bool armed = heap.armed;
  heap.armed = false;
  assert_int_equal(xm_buf_put(b, bytes, n), XM_OK);
  heap.armed = armed;
}

typedef struct scene {
  xm_loop *loop;
  xm_jid jid;
  xm_conn_options o;
  xm_wirelog log;
  xm_link *k;
  int listener, peer, port; /* each is -1 if there is none */
  char url[64];
  bool told;      /* the end of the stream; after it no event is asked for */
  bool glued;     /* the first messages come in one piece with the 101 */
  size_t piece;   /* how many bytes the server sends at a time; 0: all at once */
  xm_buf heard;   /* received from the client, and not read yet */
  char message[100000];
  int opcode;     /* of the frame that was read last */
  xm_buf events;  /* the link's events, as letters and names */
} scene;

static void on_news(void *arg) {
  (void)arg;
}

static void open_scene(scene *s) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof in;
  const char *reason;
  xm_err e = {0};
  *s = (scene){.loop = xm_loop_new(&e), .peer = -1, .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
  assert_int_equal(bind(s->listener, (struct sockaddr *)&in, sizeof in) | listen(s->listener, 4), 0);
  assert_int_equal(getsockname(s->listener, (struct sockaddr *)&in, &n), 0);
  s->port = ntohs(in.sin_port);
  snprintf(s->url, sizeof s->url, "ws://127.0.0.1:%d/ws?a", s->port);
  assert_int_equal(xm_jid_parse(&s->jid, "xmpp.test", 9, &reason), XM_OK);
  s->o = (xm_conn_options){.jid = &s->jid,
                           .url = s->url,
                           .mechanisms = "ANONYMOUS",
                           .tls = XM_TLS_NONE,
                           .timeout = 30000,
                           .bounds = XM_BOUNDS_DEFAULT,
                           .wake = on_news};
}

static void close_scene(scene *s) {
  xm_link_free(s->k);
  close(s->listener);
  if (s->peer >= 0) close(s->peer);
  xm_buf_free(&s->heard);
  xm_buf_free(&s->events);
  xm_buf_free(&s->log.records);
  xm_loop_turn(s->loop, 0);
  assert_int_equal(xm_loop_timeout(s->loop), -1);
  xm_loop_release(s->loop);
}

/* One call of the link; its event is recorded: "O" opened, an element's name, "s" skipped, "c" close, "b" broken, "e"
 * ended. */
static xm_link_event turn(scene *s) {
  xm_link_event ev = s->told ? XM_LINK_NOTHING : xm_link_next(s->k);
  static const char letters[] = "..O<scbe";
  const char *name = ev == XM_LINK_ELEMENT ? xm_tape_name(xm_link_tape(s->k), 0) : "";
  keep(&s->events, name, strlen(name));
  if (ev > XM_LINK_AGAIN && ev != XM_LINK_ELEMENT) keep(&s->events, &letters[ev], 1);
  if (ev > XM_LINK_AGAIN) keep(&s->events, " ", 1);
  s->told = s->told || ev >= XM_LINK_CLOSE;
  xm_loop_turn(s->loop, ev == XM_LINK_NOTHING);
  xm_loop_fire(s->loop);
  return ev;
}

static void begin_link(scene *s) {
  xm_link_start start = {.password = NULL};
  xm_err e = {0};
  s->k = xm_link_new(s->loop, &s->o, &start, &s->log, &e);
}

static bool is_over(const scene *s) {
  return xm_link_state_of(s->k) == XM_LINK_CLOSED;
}

static void accept_peer(scene *s) {
  while (s->peer < 0 && !is_over(s)) {
    turn(s);
    s->peer = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK);
  }
}

/* The server: what it sends. */

static void say_bytes(scene *s, const char *bytes, size_t n) {
  size_t piece = s->piece ? s->piece : n, at;
  for (at = 0; at < n; at += piece) {
    size_t some = n - at < piece ? n - at : piece;
    if (send(s->peer, bytes + at, some, MSG_NOSIGNAL) < 0) return;
    if (s->piece) turn(s), turn(s);
  }
}

static void put_frame(xm_buf *b, int head, const char *payload, size_t n) {
  unsigned char h[4] = {(unsigned char)head, (unsigned char)(n < 126 ? n : 126), (unsigned char)(n >> 8), (unsigned char)n};
  assert_true(n < 65536);
  keep(b, h, n < 126 ? 2 : 4);
  keep(b, payload, n);
}

static void say_frame(scene *s, int head, const char *payload, size_t n) {
  xm_buf b = XM_BUF_INIT;
  put_frame(&b, head, payload, n);
  say_bytes(s, xm_buf_at(&b), xm_buf_len(&b));
  xm_buf_free(&b);
}

static void say(scene *s, const char *text) {
  say_frame(s, FIN | TEXT, text, strlen(text));
}

/* The server: what it receives. */

static void listen_on(scene *s) {
  char bytes[4096];
  ssize_t n = s->peer >= 0 ? recv(s->peer, bytes, sizeof bytes, 0) : 0;
  if (n > 0) keep(&s->heard, bytes, (size_t)n);
}

/* Reads the next frame into `message`, unmasked; false: there is none. */
static bool take_frame(scene *s) {
  const unsigned char *u = (const unsigned char *)xm_buf_at(&s->heard);
  size_t have = xm_buf_len(&s->heard), at = 2, n, i;
  if (have < 2) return false;
  assert_int_equal(u[0] & 0xF0, FIN);
  assert_true(u[1] & 0x80);
  n = u[1] & 0x7F;
  if (n == 126) {
    if (have < 4) return false;
    n = (size_t)u[2] << 8 | u[3];
    at = 4;
  } else if (n == 127) {
    if (have < 10) return false;
    n = (size_t)u[6] << 24 | (size_t)u[7] << 16 | (size_t)u[8] << 8 | u[9];
    at = 10;
  }
  if (have < at + 4 + n) return false;
  assert_true(n < sizeof s->message);
  for (i = 0; i < n; i++) s->message[i] = (char)(u[at + 4 + i] ^ u[at + i % 4]);
  s->message[n] = '\0';
  s->opcode = u[0] & 0xF;
  xm_buf_consume(&s->heard, at + 4 + n);
  return true;
}

static bool hear_frame(scene *s) {
  long left = 60000; /* turns of the loop, most of them of 1 ms */
  while (!take_frame(s)) {
    if (--left == 0) fail_msg("nothing is heard");
    if (is_over(s)) {
      listen_on(s);
      return take_frame(s);
    }
    turn(s);
    listen_on(s);
  }
  return true;
}

static void hear(scene *s, const char *part) {
  if (!hear_frame(s) || (heap.armed && is_over(s))) return;
  if (s->opcode != TEXT || !strstr(s->message, part)) fail_msg("heard %d %s, not %s", s->opcode, s->message, part);
}

/* The upgrade from HTTP. false: the link has ended meanwhile. */
static bool upgrade(scene *s) {
  unsigned char hash[XM_SHA1];
  char text[512], *key, *end;
  xm_buf accept = XM_BUF_INIT;
  bool armed = heap.armed;
  do {
    turn(s);
    listen_on(s);
    if (is_over(s)) return false;
    keep(&s->heard, "", 1);
    end = strstr(xm_buf_at(&s->heard), "\r\n\r\n");
    xm_buf_rollback(&s->heard, xm_buf_len(&s->heard) - 1);
  } while (!end);
  if (strncmp(xm_buf_at(&s->heard), "GET /ws?a HTTP/1.1\r\n", 20) != 0) fail_msg("%s", xm_buf_at(&s->heard));
  key = strstr(xm_buf_at(&s->heard), "Sec-WebSocket-Key: ") + 19;
  snprintf(text, sizeof text, "%.24s" GUID, key);
  heap.armed = false;
  assert_int_equal(xm_sha1(hash, text, strlen(text)), XM_OK);
  assert_int_equal(xm_b64_encode(&accept, hash, sizeof hash), XM_OK);
  heap.armed = armed;
  snprintf(text, sizeof text,
           "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
           (int)xm_buf_len(&accept), xm_buf_at(&accept));
  xm_buf_clear(&accept);
  xm_buf_clear(&s->heard);
  keep(&accept, text, strlen(text));
  if (s->glued) put_frame(&accept, FIN | TEXT, OPEN, sizeof OPEN - 1), put_frame(&accept, FIN | TEXT, OFFER, sizeof OFFER - 1);
  say_bytes(s, xm_buf_at(&accept), xm_buf_len(&accept));
  xm_buf_free(&accept);
  return true;
}

/* The whole login, from the URL to OPENED. */
static void log_in(scene *s) {
  char text[300], id[64] = "";
  if (!s->k) begin_link(s);
  if (!s->k) return;
  accept_peer(s);
  if (is_over(s) || !upgrade(s)) return;
  hear(s, "<open xmlns='" XM_NS_FRAMING "' to='xmpp.test' version='1.0' xml:lang='en'/>");
  if (!s->glued) say(s, OPEN), say(s, OFFER);
  hear(s, "<auth xmlns=");
  say(s, SUCCESS);
  hear(s, "<open ");
  say(s, OPEN);
  say(s, BIND);
  hear(s, "<iq xmlns='jabber:client' ");
  sscanf(strstr(s->message, " id='") ? strstr(s->message, " id='") : "", " id='%63[^']", id);
  snprintf(text, sizeof text, BOUND, id);
  say(s, text);
  while (xm_link_state_of(s->k) != XM_LINK_OPEN && !is_over(s)) turn(s);
}

static void open_and_log_in(scene *s) {
  open_scene(s);
  log_in(s);
  if (!s->k || xm_link_state_of(s->k) != XM_LINK_OPEN) fail_msg("%s", s->k ? xm_link_why(s->k)->text : "no link");
}

static const char *events(scene *s) {
  keep(&s->events, "", 1);
  xm_buf_rollback(&s->events, xm_buf_len(&s->events) - 1);
  return xm_buf_at(&s->events);
}

/* Lets the link run until it has nothing more to do. */
static void settle(scene *s) {
  int i;
  for (i = 0; i < 30 && !is_over(s); i++) turn(s), listen_on(s);
}

static void a_login_in_every_cutting(void **state) {
  size_t piece;
  (void)state;
  for (piece = 1; piece < 400; piece += piece < 20 ? 1 : 37) {
    scene s;
    open_scene(&s);
    s.piece = piece;
    log_in(&s);
    if (xm_link_state_of(s.k) != XM_LINK_OPEN) fail_msg("in pieces of %zu: %s", piece, xm_link_why(s.k)->text);
    assert_string_equal(xm_link_jid(s.k)->str, "a@xmpp.test/b");
    say(&s, "<message id='1'/>");
    say(&s, "<presence xmlns='jabber:client'><a/></presence>");
    settle(&s);
    assert_string_equal(events(&s), "O message presence ");
    close_scene(&s);
  }
}

/* What comes in one piece with the 101 belongs to the stream. */
static void elements_may_come_in_one_piece_with_the_upgrade(void **state) {
  scene s;
  (void)state;
  open_scene(&s);
  s.glued = true;
  log_in(&s);
  assert_int_equal(xm_link_state_of(s.k), XM_LINK_OPEN);
  close_scene(&s);
}

/* What is sent: each element becomes a message, with its namespace; white space becomes a ping. */
static void each_element_is_a_message(void **state) {
  scene s;
  uint64_t before;
  (void)state;
  open_and_log_in(&s);
  before = xm_link_taken(s.k);
  xm_buf_puts(xm_link_wire(s.k), "<message><body>a</body></message><r xmlns='urn:xmpp:sm:3'/> <pre");
  xm_link_flush(s.k);
  assert_true(xm_link_is_half(s.k));
  assert_int_equal(xm_link_backlog(s.k), 4);
  assert_int_equal(xm_link_taken(s.k) - before, 33 + 26 + 1);
  xm_buf_puts(xm_link_wire(s.k), "sence/>");
  xm_link_flush(s.k);
  assert_false(xm_link_is_half(s.k));
  assert_int_equal(xm_link_taken(s.k) - before, 33 + 26 + 1 + 11);
  hear(&s, "<message xmlns='jabber:client'><body>a</body></message>");
  hear(&s, "<r xmlns='urn:xmpp:sm:3'/>");
  assert_true(hear_frame(&s));
  assert_int_equal(s.opcode, PING);
  hear(&s, "<presence xmlns='jabber:client'/>");
  close_scene(&s);
}

/* A frame counts as taken when the kernel has all of it. */
static void a_frame_counts_when_the_kernel_has_all_of_it(void **state) {
  static char body[3000];
  uint64_t before, taken;
  size_t stanza, frame, put = 0, got = 0;
  uint64_t gone;
  char text[3100];
  scene s;
  int small = 4096;
  (void)state;
  open_scene(&s);
  setsockopt(s.listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  log_in(&s);
  memset(body, 'x', sizeof body - 1);
  stanza = (size_t)snprintf(text, sizeof text, "<message><body>%s</body></message>", body);
  frame = stanza + strlen(" xmlns='jabber:client'") + 8;
  before = xm_link_taken(s.k);
  gone = s.k->web->gone;
  assert_int_equal(gone, s.k->web->made); /* the request for the upgrade is counted on both sides */
  do { /* until the kernel takes no more */
    xm_buf_puts(xm_link_wire(s.k), text);
    put += stanza;
    xm_link_flush(s.k);
    taken = xm_link_taken(s.k) - before;
    assert_int_equal(taken, (s.k->web->gone - gone) / frame * stanza);
  } while (xm_link_backlog(s.k) == 0 || put - taken < 3 * stanza);
  assert_true(xm_link_backlog(s.k) > 0);
  while (got < put / stanza) {
    listen_on(&s);
    while (take_frame(&s)) got++;
    turn(&s);
    xm_link_flush(s.k);
  }
  assert_int_equal(xm_link_taken(s.k) - before, put);
  assert_int_equal(xm_link_backlog(s.k), 0);
  close_scene(&s);
}

/* The last of several pings is answered by a pong; while the kernel takes nothing, none is. */
static void pings_are_answered(void **state) {
  scene s;
  int i;
  (void)state;
  open_and_log_in(&s);
  for (i = 0; i < 3; i++) say_frame(&s, FIN | PING, "abc" + i, 1);
  say(&s, "<message/>");
  do {
    assert_true(hear_frame(&s));
    assert_int_equal(s.opcode, PONG);
  } while (strcmp(s.message, "c") != 0);
  settle(&s);
  assert_string_equal(events(&s), "O message ");
  close_scene(&s);
}

/* How a stream may end, and what the peer receives then: the end of the stream, and then of the WebSocket. */

static void check_close(scene *s, unsigned code) {
  assert_true(hear_frame(s));
  assert_int_equal(s->opcode, SHUT);
  if (((unsigned)(unsigned char)s->message[0] << 8 | (unsigned char)s->message[1]) != code)
    fail_msg("closed with %u, not %u", (unsigned)(unsigned char)s->message[0] << 8 | (unsigned char)s->message[1], code);
  assert_false(hear_frame(s));
}

static void both_sides_may_close(void **state) {
  scene s;
  (void)state;
  open_and_log_in(&s);
  say(&s, CLOSE);
  settle(&s);
  assert_string_equal(events(&s), "O c ");
  xm_link_end(s.k, XM_LINK_BYE, NULL);
  hear(&s, CLOSE);
  check_close(&s, 1000);
  close_scene(&s);
}

/* After our <close/>, a close frame counts as the server's <close/>. */
static void a_close_frame_may_answer_our_close(void **state) {
  scene s;
  (void)state;
  open_and_log_in(&s);
  xm_buf_puts(xm_link_wire(s.k), "</stream:stream>");
  xm_link_flush(s.k);
  hear(&s, CLOSE);
  say_frame(&s, FIN | SHUT, "\x03\xE8", 2);
  settle(&s);
  assert_string_equal(events(&s), "O c ");
  xm_link_end(s.k, XM_LINK_PART, NULL);
  check_close(&s, 1000);
  close_scene(&s);
}

static void see_other_uri_ends_it(void **state) {
  scene s;
  (void)state;
  open_and_log_in(&s);
  say(&s, "<close xmlns='" XM_NS_FRAMING "' see-other-uri='wss://other.example/ws'/>");
  settle(&s);
  assert_string_equal(events(&s), "O c ");
  assert_string_equal(xm_link_other_host(s.k), "wss://other.example/ws");
  assert_string_equal(xm_link_why(s.k)->condition, "see-other-host");
  assert_true(xm_link_was_refused(s.k));
  close_scene(&s);
}

/* What a server may not send on an open stream, as raw bytes; the link's events and error; and the code of our close
 * frame. */
typedef struct breach {
  const char *bytes;
  size_t n;
  const char *events, *condition;
  unsigned code;
} breach;
#define B(bytes) bytes, sizeof bytes - 1

static const breach breaches[] = {
    /* frames */
    {B("\x81\x84\1\2\3\4aaaa"), "b ", "protocol-error", 1002},
    {B("\xC1\x04<a/>"), "b ", "protocol-error", 1002},
    {B("\x82\x04<a/>"), "b ", "unsupported-data", 1003},
    {B("\x80\x04<a/>"), "b ", "protocol-error", 1002},
    {B("\x83\x04<a/>"), "b ", "protocol-error", 1002},
    {B("\x8B\x00"), "b ", "protocol-error", 1002},
    {B("\x09\x01x"), "b ", "protocol-error", 1002},
    {B("\x81\x7E\x00\x04<a/>"), "b ", "protocol-error", 1002},
    {B("\x81\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF<a/>"), "b ", "protocol-error", 1002},
    {B("\x01\x02<a\x81\x02/>"), "b ", "protocol-error", 1002},
    {B("\x88\x01x"), "b ", "protocol-error", 1002},
    {B("\x88\x02\x03\xED"), "b ", "protocol-error", 1002},
    /* closes */
    {B("\x88\x00"), "e ", "close-1005", 0},
    {B("\x88\x02\x03\xE8"), "e ", "close-1000", 1000},
    {B("\x88\x05\x03\xE9""bye"), "e ", "close-1001", 1001},
    {B("\x88\x02\x03\xF1"), "e ", "close-1009", 1009},
    {B("\x81\x0A<message/>\x88\x02\x03\xE8"), "message e ", "close-1000", 1000},
    /* messages */
    {B("\x81\x00"), "b ", "bad-format", 1000},
    {B("\x01\x00\x80\x00"), "b ", "bad-format", 1000},
    {B("\x81\x01 "), "b ", "bad-format", 1000},
    {B("\x81\x0B <message/>"), "b ", "bad-format", 1000},
    {B("\x81\x0B<message/> "), "b ", "bad-format", 1000},
    {B("\x81\x0E<message/><a/>"), "b ", "bad-format", 1000},
    {B("\x01\x0A<message/>\x80\x04<a/>"), "b ", "bad-format", 1000},
    {B("\x01\x0A<message/>\x80\x01 "), "b ", "bad-format", 1000},
    {B("\x81\x09<message>"), "b ", "bad-format", 1000},
    {B("\x81\x03<me"), "b ", "bad-format", 1000},
    {B("\x81\x10</stream:stream>"), "b ", "bad-format", 1000},
    {B("\x81\x1A<message/></stream:stream>"), "b ", "bad-format", 1000},
    {B("\x81\x04text"), "b ", "bad-format", 1000},
    {B("\x81\x0C<message/>]]"), "b ", "bad-format", 1000},
    {B("\x81\x03</>"), "b ", "not-well-formed", 1000},
    {B("\x81\x0C<message>\xFF</"), "b ", "not-well-formed", 1000},
    {B("\x81\x13<?xml version='1.0'"), "b ", "bad-format", 1000},
    {B("\x81\x15<?xml version='1.0'?>"), "b ", "not-well-formed", 1000},
    {B("\x81\x08<!-- -->"), "b ", "restricted-xml", 1000},
    {B("\x81\x0F<stream:stream>"), "b ", "bad-format", 1000},
    {B("\x81\x33<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"), "b ", "bad-format", 1000},
};

static void check_breach(const breach *b, size_t piece) {
  scene s;
  char text[200];
  open_and_log_in(&s);
  xm_buf_clear(&s.events);
  s.piece = piece;
  say_bytes(&s, b->bytes, b->n);
  settle(&s);
  if (strcmp(events(&s), b->events) != 0)
    fail_msg("row %d in pieces of %zu: \"%s\", not \"%s\" (%s)", (int)(b - breaches), piece, events(&s), b->events, xm_link_why(s.k)->text);
  if (strcmp(xm_link_why(s.k)->condition, b->condition) != 0)
    fail_msg("row %d: %s, not %s", (int)(b - breaches), xm_link_why(s.k)->condition, b->condition);
  if (!is_over(&s)) xm_link_end(s.k, XM_LINK_REFUSE, NULL);
  if (xm_link_why(s.k)->layer == XM_LAYER_STREAM) {
    snprintf(text, sizeof text, "<stream:error " ROOT "><%s ", b->condition);
    hear(&s, text);
    hear(&s, CLOSE);
  }
  if (b->code) check_close(&s, b->code);
  close_scene(&s);
}

static void what_a_server_may_not_do(void **state) {
  size_t i;
  (void)state;
  for (i = 0; i < sizeof breaches / sizeof *breaches; i++) {
    check_breach(&breaches[i], 0);
    check_breach(&breaches[i], 1);
    check_breach(&breaches[i], 3);
  }
}

/* Instead of <open/> there can only be a reason why it doesn't come. */
static void only_open_or_a_reason_may_come_first(void **state) {
  static const struct {
    const char *first, *condition;
  } rows[] = {{OFFER, "bad-format"},
              {"<message/>", "bad-format"},
              {"<open xmlns='jabber:client'/>", "bad-format"},
              {CLOSE, "closed-by-server"},
              {"<open xmlns='" XM_NS_FRAMING "'/>", "unsupported-version"},
              {"<open xmlns='" XM_NS_FRAMING "' version='0.9'/>", "unsupported-version"},
              {"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "host-unknown"},
              {"<close xmlns='" XM_NS_FRAMING "' see-other-uri='wss://a/'/>", "see-other-host"}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    scene s;
    open_scene(&s);
    begin_link(&s);
    accept_peer(&s);
    assert_true(upgrade(&s));
    hear(&s, "<open ");
    say(&s, rows[i].first);
    settle(&s);
    assert_true(is_over(&s));
    if (strcmp(xm_link_why(s.k)->condition, rows[i].condition) != 0)
      fail_msg("%s: %s", rows[i].first, xm_link_why(s.k)->condition);
    close_scene(&s);
  }
}

/* What is known of a server over TCP doesn't apply to a WebSocket at the same address. */

static void hear_raw(scene *s, const char *part) {
  bool there = false;
  while (!there) {
    turn(s);
    listen_on(s);
    keep(&s->heard, "", 1);
    there = strstr(xm_buf_at(&s->heard), part) != NULL;
    xm_buf_rollback(&s->heard, xm_buf_len(&s->heard) - 1);
    if (is_over(s)) fail_msg("waiting for %s: %s", part, xm_link_why(s->k)->text);
  }
}

static void say_raw(scene *s, const char *text) {
  xm_buf_clear(&s->heard);
  say_bytes(s, text, strlen(text));
}

#define HEAD "<stream:stream xmlns='jabber:client' " ROOT " id='1' version='1.0'>"

static void log_in_by_tcp(scene *s) {
  char text[300], id[64] = "";
  s->o.url = NULL;
  s->o.host = "127.0.0.1";
  s->o.port = s->port;
  begin_link(s);
  accept_peer(s);
  hear_raw(s, "<stream:stream ");
  say_raw(s, HEAD OFFER);
  hear_raw(s, "<auth ");
  say_raw(s, SUCCESS);
  hear_raw(s, "<stream:stream ");
  say_raw(s, HEAD BIND);
  hear_raw(s, "</iq>");
  keep(&s->heard, "", 1);
  sscanf(strstr(xm_buf_at(&s->heard), " id='"), " id='%63[^']", id);
  snprintf(text, sizeof text, BOUND, id);
  say_raw(s, text);
  while (xm_link_state_of(s->k) != XM_LINK_OPEN) turn(s);
}

/* Prepares for another link to the same server. */
static void start_over(scene *s) {
  xm_link_free(s->k);
  close(s->peer);
  s->k = NULL;
  s->peer = -1;
  xm_buf_clear(&s->heard);
  s->o.url = s->url;
  s->o.host = NULL;
}

static void what_is_known_of_tcp_is_not_used(void **state) {
  scene s;
  (void)state;
  open_scene(&s);
  s.o.remember = true;
  s.o.pipelining = XM_PIPELINING_KNOWN;
  log_in_by_tcp(&s);
  assert_int_equal(xm_link_went_ahead(s.k), 0);
  start_over(&s);
  log_in(&s);
  assert_int_equal(xm_link_went_ahead(s.k), 0);
  start_over(&s);
  log_in(&s);
  assert_int_equal(xm_link_went_ahead(s.k), XM_NEGO_AHEAD_SESSION);
  close_scene(&s);
}

/* A peer that sends frames without content doesn't take other connections' turns. */
static void empty_frames_are_bounded(void **state) {
  static const char *const what[] = {"\x89\x00", "\x8A\x00"};
  scene s;
  xm_buf b = XM_BUF_INIT;
  int i, k, agains = 0;
  (void)state;
  open_and_log_in(&s);
  for (k = 0; k < 2; k++) {
    xm_buf_clear(&b);
    for (i = 0; i < 4000; i++) keep(&b, what[k], 2);
    say_bytes(&s, xm_buf_at(&b), xm_buf_len(&b));
    usleep(1000);
    for (i = 0; i < 400; i++) {
      xm_link_event ev = xm_link_next(s.k);
      agains += ev == XM_LINK_AGAIN;
      assert_true(ev == XM_LINK_AGAIN || ev == XM_LINK_NOTHING);
      if (ev == XM_LINK_NOTHING) xm_loop_turn(s.loop, 0);
    }
    listen_on(&s);
  }
  assert_true(agains > 50);
  xm_buf_free(&b);
  close_scene(&s);
}

/* ws:// is only for this machine; elsewhere there must be TLS. */
static void no_context_no_tls(void **state) {
  scene s;
  (void)state;
  open_scene(&s);
  snprintf(s.url, sizeof s.url, "wss://127.0.0.1:%d/", s.port);
  begin_link(&s);
  accept_peer(&s);
  settle(&s);
  assert_string_equal(xm_link_why(s.k)->condition, "tls-required");
  close_scene(&s);
}

/* Whichever allocation fails, the error says so, and nothing leaks. */
static void without_memory(void **state) {
  long n = 0;
  bool failed;
  (void)state;
  do {
    scene s;
    open_scene(&s);
    heap_fails(n++, false);
    log_in(&s);
    if (s.k && !is_over(&s)) {
      say(&s, "<message/>");
      xm_buf_puts(xm_link_wire(s.k), "<message/> <a xmlns='b'/>");
      say_frame(&s, FIN | PING, "", 0);
      xm_link_flush(s.k);
      settle(&s);
    }
    failed = heap_is_well();
    if (s.k && is_over(&s)) assert_string_equal(xm_link_why(s.k)->condition, "ENOMEM");
    if (!s.k || is_over(&s)) assert_true(failed);
    close_scene(&s);
    assert_int_equal(heap.live, 0);
  } while (failed);
  assert_true(n > 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_login_in_every_cutting),
      cmocka_unit_test(elements_may_come_in_one_piece_with_the_upgrade),
      cmocka_unit_test(each_element_is_a_message),
      cmocka_unit_test(a_frame_counts_when_the_kernel_has_all_of_it),
      cmocka_unit_test(pings_are_answered),
      cmocka_unit_test(both_sides_may_close),
      cmocka_unit_test(a_close_frame_may_answer_our_close),
      cmocka_unit_test(see_other_uri_ends_it),
      cmocka_unit_test(what_a_server_may_not_do),
      cmocka_unit_test(only_open_or_a_reason_may_come_first),
      cmocka_unit_test(what_is_known_of_tcp_is_not_used),
      cmocka_unit_test(empty_frames_are_bounded),
      cmocka_unit_test(no_context_no_tls),
      cmocka_unit_test(without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void) {
  return puts("1..0 # skipped: built without wslay") < 0;
}

#endif
