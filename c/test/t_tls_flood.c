/* conn with TLS: a server that sends without end what carries no data (KeyUpdate, HelloRequest) doesn't block others:
 * each turn takes a limited part of it, timers fire in between, deadlines hold, and the data after it is delivered.
 * Work is measured in bytes taken from the socket, not in seconds. */
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
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"
#include "conn.h"

#define STREAM \
  "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"
#define STANZA "<message from='a@xmpp.example' to='echo.example'/>"

enum { AT_ONCE = 17 * 1024, AT_THE_END = 64 * 1024, FLOOD = 20000, TICKETS = 1000 };

/* In milliseconds; long enough for several turns, even if a busy machine lets the process wait. */
enum { DEADLINE = 3000 };

/* Counts all bytes that this process reads with recv. */
static size_t taken;

ssize_t recv(int fd, void *to, size_t n, int flags) {
  ssize_t got = recvfrom(fd, to, n, flags, NULL, NULL);
  taken += got > 0 ? (size_t)got : 0;
  return got;
}

/* A connection, and its server in the same thread. */
typedef struct scene {
  xm_loop *loop;
  xm_conn *c;
  int listener, peer;
  SSL_CTX *ctx;
  SSL *ssl;
  BIO *in, *out;    /* what the server has to read; what it has to send */
  xm_timer timer;   /* fires in every turn of the loop */
  unsigned turns, fired, stanzas, ends;
  bool deaf;        /* the server throws away what it receives */
  bool closing;     /* at its end a socket is emptied, to close it without a reset */
} scene;

static void on_news(void *arg) {
  (void)arg;
}

static void on_timer(void *arg) {
  scene *s = arg;
  s->fired++;
  xm_timer_start(s->loop, &s->timer, 0, on_timer, s);
}

static void start_server(scene *s, int version) {
  EVP_PKEY *key = new_key();
  X509 *cert = new_cert("x", NULL, 0, 0, 3600);
  sign_cert(cert, key, NULL, NULL);
  s->ctx = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_max_proto_version(s->ctx, version);
  assert_int_equal(SSL_CTX_use_certificate(s->ctx, cert) & SSL_CTX_use_PrivateKey(s->ctx, key), 1);
  s->ssl = SSL_new(s->ctx);
  s->in = BIO_new(BIO_s_mem());
  s->out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(s->in, -1);
  SSL_set_bio(s->ssl, s->in, s->out);
  SSL_set_accept_state(s->ssl);
  X509_free(cert);
  EVP_PKEY_free(key);
}

static void start_client(scene *s, unsigned timeout) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const xm_tls_options tls = {.insecure = true};
  xm_conn_options o = xm_conn_defaults();
  socklen_t n = sizeof in;
  const char *reason;
  xm_err e = {0};
  xm_jid jid;
  assert_int_equal(bind(s->listener, (struct sockaddr *)&in, sizeof in) | listen(s->listener, 1), 0);
  assert_int_equal(getsockname(s->listener, (struct sockaddr *)&in, &n), 0);
  assert_int_equal(xm_jid_parse(&jid, "echo.example", 12, &reason), XM_OK);
  o.component = true;
  o.jid = &jid;
  o.password = "secret";
  o.password_len = 6;
  o.host = "127.0.0.1";
  o.port = ntohs(in.sin_port);
  o.tls = XM_TLS_DIRECT;
  o.tls_ctx = xm_tls_ctx_new(&tls, &e);
  o.timeout = timeout;
  o.wake = on_news;
  s->c = xm_conn_new(s->loop, &o, NULL, &e);
  if (!s->c) fail_msg("%s", e.text);
  xm_tls_ctx_release(o.tls_ctx);
}

static void open_scene(scene *s, int version, unsigned timeout) {
  xm_err e = {0};
  *s = (scene){.loop = xm_loop_new(&e), .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .peer = -1};
  start_server(s, version);
  start_client(s, timeout);
  on_timer(s);
}

static void close_scene(scene *s) {
  xm_timer_stop(s->loop, &s->timer);
  xm_conn_free(s->c);
  SSL_free(s->ssl);
  SSL_CTX_free(s->ctx);
  if (s->peer >= 0) close(s->peer);
  close(s->listener);
  xm_loop_turn(s->loop, 0);
  xm_loop_release(s->loop);
}

/* Moves as many bytes as the kernel takes and has. */
static void move_bytes(scene *s) {
  char bytes[4096];
  char *out;
  ssize_t n;
  long waiting = BIO_get_mem_data(s->out, &out);
  if (s->peer < 0) s->peer = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK);
  if (s->peer < 0) return;
  n = waiting > 0 ? send(s->peer, out, (size_t)waiting, MSG_NOSIGNAL) : 0;
  for (; n > 0; n -= (ssize_t)sizeof bytes) BIO_read(s->out, bytes, n < (ssize_t)sizeof bytes ? (int)n : (int)sizeof bytes);
  while ((n = read(s->peer, bytes, sizeof bytes)) > 0)
    if (!s->deaf) BIO_write(s->in, bytes, (int)n);
}

/* One turn: what the library does in one step(0). */
static void turn(scene *s) {
  unsigned fired = s->fired;
  xm_conn_event ev;
  move_bytes(s);
  taken = 0;
  ev = xm_conn_next(s->c);
  assert_true(taken <= (s->closing ? AT_THE_END : AT_ONCE));
  s->turns += taken > 0;
  s->stanzas += ev == XM_CONN_STANZA;
  s->ends += ev == XM_CONN_ENDED;
  xm_conn_flush(s->c);
  xm_loop_turn(s->loop, ev == XM_CONN_NOTHING ? 1 : 0);
  xm_loop_fire(s->loop);
  assert_true(s->fired > fired);
}

/* Turns until the server has decrypted something, which is in `text`. */
static void hear(scene *s, char *text, size_t cap) {
  int n;
  while ((n = SSL_read(s->ssl, text, (int)cap - 1)) <= 0) turn(s);
  text[n] = '\0';
}

static void flood(scene *s, int times) {
  for (; times > 0; times--) assert_int_equal(SSL_key_update(s->ssl, SSL_KEY_UPDATE_REQUESTED) & SSL_do_handshake(s->ssl), 1);
}

static void flood_tickets(scene *s, int times) {
  for (; times > 0; times--) assert_int_equal(SSL_new_session_ticket(s->ssl) & SSL_do_handshake(s->ssl), 1);
}

static void log_in(scene *s) {
  char text[1024];
  hear(s, text, sizeof text);
  SSL_write(s->ssl, STREAM, sizeof STREAM - 1);
  hear(s, text, sizeof text);
  assert_non_null(strstr(text, "<handshake>"));
  SSL_write(s->ssl, "<handshake/>", 12);
  while (xm_conn_state_of(s->c) != XM_CONN_READY) turn(s);
  s->deaf = true;
}

static void run_through(void (*pour)(scene *s, int times), int times) {
  scene s;
  size_t bytes;
  open_scene(&s, TLS1_3_VERSION, 30000);
  log_in(&s);
  pour(&s, times);
  SSL_write(s.ssl, STANZA, sizeof STANZA - 1);
  bytes = BIO_ctrl_pending(s.out);
  s.turns = 0;
  while (!s.stanzas && !s.ends) turn(&s);
  assert_int_equal(s.ends, 0);
  assert_true(s.turns >= bytes / AT_ONCE);
  close_scene(&s);
}

static void timers_run_through_a_flood(void **state) {
  (void)state;
  run_through(flood, FLOOD);
}

/* New tickets (RFC 8446 4.6.1): each makes the client store a session. */
static void timers_run_through_a_flood_of_tickets(void **state) {
  (void)state;
  run_through(flood_tickets, TICKETS);
}

/* The server goes on like that for ever, and never ends its side. */
static void a_stop_ends_in_a_flood(void **state) {
  void (*const floods[])(scene *s, int times) = {flood, flood_tickets};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof floods / sizeof floods[0]; i++) {
    scene s;
    open_scene(&s, TLS1_3_VERSION, 30000);
    log_in(&s);
    s.closing = true;
    xm_conn_close(s.c, 300);
    while (!s.ends) {
      if (BIO_ctrl_pending(s.out) < 4 * AT_ONCE) floods[i](&s, 200);
      turn(&s);
    }
    assert_int_equal(xm_conn_state_of(s.c), XM_CONN_CLOSED);
    close_scene(&s);
  }
}

/* During the negotiation, without end. */
static void a_deadline_holds_in_a_flood(void **state) {
  scene s;
  char text[1024];
  (void)state;
  open_scene(&s, TLS1_3_VERSION, DEADLINE);
  hear(&s, text, sizeof text);
  s.deaf = true;
  while (!s.ends) {
    if (BIO_ctrl_pending(s.out) < 4 * AT_ONCE) flood(&s, 1000);
    turn(&s);
  }
  assert_int_equal(xm_conn_why(s.c)->layer, XM_LAYER_TIMEOUT);
  assert_non_null(strstr(xm_conn_why(s.c)->text, "stream header"));
  assert_true(s.turns > 1);
  close_scene(&s);
}

/* Before the handshake has begun, the server asks for one again and again (RFC 5246 7.4.1.1). */
static void a_deadline_holds_in_a_flood_within_the_handshake(void **state) {
  static const char request[] = "\x16\x03\x03\x00\x04\x00\x00\x00";
  scene s;
  int i;
  (void)state;
  open_scene(&s, TLS1_2_VERSION, DEADLINE);
  while (BIO_ctrl_pending(s.in) == 0) turn(&s);
  while (!s.ends) {
    for (i = 0; i < 8000 && BIO_ctrl_pending(s.out) < 4 * AT_ONCE; i++) BIO_write(s.out, request, sizeof request);
    turn(&s);
  }
  assert_int_equal(xm_conn_why(s.c)->layer, XM_LAYER_TIMEOUT);
  assert_non_null(strstr(xm_conn_why(s.c)->text, "TLS handshake"));
  assert_true(s.turns > 1);
  close_scene(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(timers_run_through_a_flood),
      cmocka_unit_test(timers_run_through_a_flood_of_tickets),
      cmocka_unit_test(a_stop_ends_in_a_flood),
      cmocka_unit_test(a_deadline_holds_in_a_flood),
      cmocka_unit_test(a_deadline_holds_in_a_flood_within_the_handshake),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
