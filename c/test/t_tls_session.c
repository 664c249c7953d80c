/* tls: sessions that are resumed, or must not be, against an OpenSSL server in memory. The module is compiled into this
 * file, so that its clock can be set forward, and a session can be stored where it doesn't belong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <openssl/pem.h>
#include <time.h>

static time_t skew; /* seconds by which the module's clock is ahead of OpenSSL's */

static time_t set_clock(time_t *to) {
  (void)to;
  return time(NULL) + skew;
}

#define time set_clock
#include "../core/tls.c"
#undef time

#include "certs.h"

#define NAME "xmpp.example"

static struct world {
  EVP_PKEY *key, *ca_key;
  X509 *ca;
  char file[64], own_file[64]; /* the CA; a certificate with its key */
  char pin[64];
} world;

static void write_pem(char path[64], X509 *cert, EVP_PKEY *key) {
  FILE *f;
  strcpy(path, "/tmp/t_tls_session.XXXXXX");
  f = fdopen(mkstemp(path), "w");
  assert_non_null(f);
  if (key) assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
  assert_int_equal(PEM_write_X509(f, cert), 1);
  fclose(f);
}

static X509 *new_ca(long until) {
  X509 *ca = new_cert("the CA", NULL, 0, -60, until);
  add_extension(ca, NID_basic_constraints, "critical,CA:TRUE");
  sign_cert(ca, world.ca_key, NULL, NULL);
  return ca;
}

/* For NAME and another name, valid for `until` seconds. */
static X509 *good_cert(long until) {
  const san names[] = {{SAN_DNS, NAME, 0}, {SAN_DNS, "other.example", 0}};
  X509 *cert = new_cert("x", names, 2, -60, until);
  sign_cert(cert, world.key, world.ca, world.ca_key);
  return cert;
}

static void make_pin(void) {
  unsigned char *der = NULL, digest[32];
  xm_buf pin = XM_BUF_INIT;
  int n = i2d_PUBKEY(world.key, &der);
  assert_int_equal(EVP_Digest(der, (size_t)n, digest, NULL, EVP_sha256(), NULL), 1);
  assert_int_equal(xm_b64_encode(&pin, (char *)digest, sizeof digest) | xm_buf_putc(&pin, '\0'), XM_OK);
  strcpy(world.pin, xm_buf_at(&pin));
  xm_buf_free(&pin);
  OPENSSL_free(der);
}

static int make_world(void **state) {
  X509 *own;
  (void)state;
  world.key = new_key();
  world.ca_key = new_key();
  world.ca = new_ca(100 * 24 * 3600);
  write_pem(world.file, world.ca, NULL);
  own = good_cert(3600);
  write_pem(world.own_file, own, world.key);
  X509_free(own);
  make_pin();
  return 0;
}

static int free_world(void **state) {
  (void)state;
  unlink(world.file);
  unlink(world.own_file);
  X509_free(world.ca);
  EVP_PKEY_free(world.key);
  EVP_PKEY_free(world.ca_key);
  return 0;
}

/* A server: one context, which has the keys of its tickets, and the current connection. */
typedef struct server {
  SSL_CTX *ctx;
  SSL *ssl;
  BIO *in, *out;
  bool offered; /* did the client offer a session? */
  bool closed;  /* the wire was closed by the server */
} server;

static int note_hello(SSL *ssl, int *alert, void *arg) {
  const unsigned char *p;
  size_t n;
  (void)alert;
  ((server *)arg)->offered = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &n) == 1 ||
                             (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &p, &n) == 1 && n > 0);
  return SSL_CLIENT_HELLO_SUCCESS;
}

static void start_server_with(server *s, X509 *cert, int version) {
  *s = (server){.ctx = SSL_CTX_new(TLS_server_method())};
  SSL_CTX_set_min_proto_version(s->ctx, version);
  SSL_CTX_set_max_proto_version(s->ctx, version);
  SSL_CTX_set_session_id_context(s->ctx, (const unsigned char *)"t", 1);
  SSL_CTX_set_client_hello_cb(s->ctx, note_hello, s);
  assert_int_equal(SSL_CTX_use_certificate(s->ctx, cert), 1);
  assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, world.key), 1);
}

static void start_server(server *s, int version) {
  X509 *cert = good_cert(50 * 24 * 3600);
  start_server_with(s, cert, version);
  X509_free(cert);
}

static void stop_server(server *s) {
  SSL_CTX_free(s->ctx);
}

static ssize_t from_server(void *arg, void *to, size_t n) {
  const server *s = arg;
  int got = BIO_read(s->out, to, (int)n);
  if (got > 0) return got;
  return s->closed ? 0 : -EAGAIN;
}

static ssize_t to_server(void *arg, const void *from, size_t n) {
  return BIO_write(((server *)arg)->in, from, (int)n);
}

static xm_tls_ctx *new_ctx(void) {
  const xm_tls_options o = {.ca_file = world.file};
  xm_err e = {0};
  xm_tls_ctx *ctx = xm_tls_ctx_new(&o, &e);
  assert_non_null(ctx);
  return ctx;
}

static const xm_tls_peer usual = {.name = NAME, .resume = true};

/* Does the handshake, and reads what follows it. NULL: it failed, and `e` says why. */
static xm_tls *connect_or_not(server *s, xm_tls_ctx *ctx, const xm_tls_peer *peer, xm_err *e) {
  const xm_tls_io io = {s, from_server, to_server};
  xm_tls *t = xm_tls_new(ctx, peer, &io, e);
  int rc = 0, turns;
  char byte;
  s->ssl = SSL_new(s->ctx);
  s->in = BIO_new(BIO_s_mem());
  s->out = BIO_new(BIO_s_mem());
  SSL_set_bio(s->ssl, s->in, s->out);
  SSL_set_accept_state(s->ssl);
  for (turns = 0; rc >= 0 && !(rc == 1 && SSL_is_init_finished(s->ssl)) && turns < 20; turns++) {
    if (rc == 0) rc = xm_tls_handshake(t, e);
    SSL_do_handshake(s->ssl);
  }
  if (rc == 1 && xm_tls_read(t, &byte, 1, e) == 0) return t;
  xm_tls_free(t);
  return NULL;
}

static xm_tls *connect_to(server *s, xm_tls_ctx *ctx, const xm_tls_peer *peer) {
  xm_err e = {0};
  xm_tls *t = connect_or_not(s, ctx, peer, &e);
  if (!t) fail_msg("%s: %s", e.condition, e.text);
  assert_true(xm_tls_is_verified(t) || ctx->insecure);
  assert_int_equal(xm_tls_is_resumed(t), SSL_session_reused(s->ssl));
  return t;
}

static void disconnect(xm_tls *t, server *s) {
  xm_tls_free(t);
  SSL_free(s->ssl);
  ERR_clear_error();
}

static bool is_resumed(server *s, xm_tls_ctx *ctx, const xm_tls_peer *peer) {
  xm_tls *t = connect_to(s, ctx, peer);
  bool resumed = xm_tls_is_resumed(t);
  disconnect(t, s);
  return resumed;
}

/* A connection on which the login succeeds. */
static void leave_session(server *s, xm_tls_ctx *ctx, const xm_tls_peer *peer) {
  xm_tls *t = connect_to(s, ctx, peer);
  xm_tls_keep(t);
  disconnect(t, s);
}

static void check_binding(const xm_tls *t, const char *type, const void *expected, size_t n) {
  unsigned char got[XM_TLS_BINDING];
  assert_int_equal(xm_tls_binding(t, type, got), n);
  if (n) assert_memory_equal(got, expected, n);
}

/* What each test has: a client's context, and a server. */
static xm_tls_ctx *ctx;
static server s;

static int open_scene(void **state) {
  (void)state;
  ctx = new_ctx();
  start_server(&s, TLS1_3_VERSION);
  return 0;
}

static int close_scene(void **state) {
  (void)state;
  skew = 0;
  stop_server(&s);
  xm_tls_ctx_release(ctx);
  return 0;
}

/* Replaces the client's context. */
static void use_options(const xm_tls_options *o) {
  xm_err e = {0};
  xm_tls_ctx_release(ctx);
  ctx = xm_tls_ctx_new(o, &e);
  assert_non_null(ctx);
}

/* Four connections, each with the ticket of the one before, and each with a channel binding of its own. */
static void a_session_is_resumed_and_bound(void **state) {
  static const char label[] = "EXPORTER-Channel-Binding";
  unsigned char exported[4][32], hash[32];
  int i;
  (void)state;
  assert_int_equal(X509_digest(SSL_CTX_get0_certificate(s.ctx), EVP_sha256(), hash, NULL), 1);
  for (i = 0; i < 4; i++) {
    xm_tls *t = connect_to(&s, ctx, &usual);
    assert_int_equal(xm_tls_is_resumed(t), i > 0);
    assert_int_equal(
        SSL_export_keying_material(s.ssl, exported[i], 32, label, sizeof label - 1, (const unsigned char *)"", 0, 1), 1);
    check_binding(t, "tls-exporter", exported[i], 32);
    check_binding(t, "tls-unique", NULL, 0);
    check_binding(t, "tls-server-end-point", hash, 32);
    if (i > 0) assert_memory_not_equal(exported[i], exported[i - 1], 32);
    xm_tls_keep(t);
    disconnect(t, &s);
  }
  assert_int_equal(ctx->tickets.n, 1);
}

static void it_is_used_once(void **state) {
  (void)state;
  leave_session(&s, ctx, &usual);
  assert_true(is_resumed(&s, ctx, &usual));
  assert_false(is_resumed(&s, ctx, &usual));
  assert_false(s.offered);
}

/* A connection whose login fails leaves no session, nor the one that it has resumed. */
static void it_is_kept_after_a_login_only(void **state) {
  (void)state;
  assert_false(is_resumed(&s, ctx, &usual));
  assert_false(is_resumed(&s, ctx, &usual));
  assert_false(s.offered);
  assert_int_equal(ctx->tickets.n, 0);
}

/* Another name, another domain in the JID, another pin, another protocol, another context, or resume isn't set. */
static void it_is_for_the_same_peer_only(void **state) {
  const xm_tls_peer others[] = {{.name = "other.example", .resume = true},
                                {.name = NAME, .jid = NAME, .jid_len = 12, .resume = true},
                                {.name = NAME, .pin = world.pin, .resume = true},
                                {.name = NAME, .use = XM_TLS_XMPP, .resume = true},
                                {.name = NAME, .use = XM_TLS_WEB, .resume = true},
                                {.name = NAME, .also = "web.example", .resume = true},
                                {.name = NAME}};
  xm_tls_ctx *other_ctx = new_ctx();
  size_t i;
  (void)state;
  leave_session(&s, ctx, &usual);
  for (i = 0; i < sizeof others / sizeof *others; i++) {
    assert_false(is_resumed(&s, ctx, &others[i]));
    assert_false(s.offered);
    if (others[i].resume) leave_session(&s, ctx, &others[i]);
  }
  assert_false(is_resumed(&s, other_ctx, &usual));
  assert_false(s.offered);
  for (i = 0; i < 6; i++) assert_true(is_resumed(&s, ctx, &others[i]));
  assert_true(is_resumed(&s, ctx, &usual));
  leave_session(&s, ctx, &others[6]);
  assert_int_equal(ctx->tickets.n, 0);
  xm_tls_ctx_release(other_ctx);
}

/* Name and pin are checked again for a resumed session, whichever connection it is from. */
static void the_certificate_is_checked_again(void **state) {
  const xm_tls_peer wrong[] = {{.name = "third.example", .resume = true}, {.name = NAME, .pin = "AAAA", .resume = true}};
  static const char *const conditions[] = {"certificate-name-mismatch", "certificate-pin-mismatch"};
  int i;
  (void)state;
  for (i = 0; i < 2; i++) {
    xm_err e = {0};
    leave_session(&s, ctx, &usual);
    xm_buf_free(&ctx->tickets.list[0].key);
    assert_int_equal(put_key(&wrong[i], &ctx->tickets.list[0].key), XM_OK);
    assert_null(connect_or_not(&s, ctx, &wrong[i], &e));
    assert_true(SSL_session_reused(s.ssl));
    assert_string_equal(e.condition, conditions[i]);
    assert_int_equal(ctx->tickets.n, 0);
    SSL_free(s.ssl);
  }
}

static void what_the_server_refuses_is_a_handshake_in_full(void **state) {
  server anew;
  (void)state;
  start_server(&anew, TLS1_3_VERSION); /* with other keys for its tickets */
  leave_session(&s, ctx, &usual);
  assert_false(is_resumed(&anew, ctx, &usual));
  assert_true(anew.offered);
  leave_session(&anew, ctx, &usual);
  assert_true(is_resumed(&anew, ctx, &usual));
  stop_server(&anew);
}

/* An OpenSSL server that asks for a client certificate and has no session id context refuses a session with an alert.
 * Then it isn't offered one for a day; other peers are. */
static void a_server_that_answers_it_with_an_alert_is_offered_none(void **state) {
  const xm_tls_peer other = {.name = "other.example", .resume = true};
  server fine;
  xm_err e = {0};
  int i;
  (void)state;
  start_server(&fine, TLS1_3_VERSION);
  SSL_CTX_set_session_id_context(s.ctx, (const unsigned char *)"", 0);
  SSL_CTX_set_verify(s.ctx, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_timeout(s.ctx, 7 * 24 * 3600);
  leave_session(&fine, ctx, &other);
  leave_session(&s, ctx, &usual);
  assert_null(connect_or_not(&s, ctx, &usual, &e));
  assert_true(s.offered);
  assert_string_equal(e.condition, "tls-error");
  SSL_free(s.ssl);
  for (i = 0; i < 3; i++) {
    leave_session(&s, ctx, &usual);
    assert_false(s.offered);
  }
  assert_true(is_resumed(&fine, ctx, &other));
  skew = 24 * 3600;
  leave_session(&s, ctx, &usual);
  assert_false(s.offered);
  assert_null(connect_or_not(&s, ctx, &usual, &e));
  assert_true(s.offered);
  SSL_free(s.ssl);
  stop_server(&fine);
}

/* Is the session the reason? Not if the link breaks, if something else than TLS comes, or if no session was offered. */
static void only_an_alert_to_an_offer_blames_the_session(void **state) {
  static const char *const answers[] = {"", "<stream:features/>", "\x15\x03\x03\x00\x02\x02\x50"}; /* internal_error */
  int i;
  (void)state;
  for (i = 0; i < 6; i++) {
    bool offers = i % 2;
    const xm_tls_io io = {&s, from_server, to_server};
    xm_err e = {0};
    xm_tls *t;
    if (offers) leave_session(&s, ctx, &usual);
    t = xm_tls_new(ctx, &usual, &io, &e);
    s.in = BIO_new(BIO_s_mem());
    s.out = BIO_new(BIO_s_mem());
    assert_int_equal(xm_tls_handshake(t, &e), 0);
    assert_false(xm_tls_is_choked(t));
    s.closed = true;
    if (i > 1) BIO_write(s.out, answers[i / 2], i > 3 ? 7 : 18);
    assert_int_equal(xm_tls_handshake(t, &e), XM_EFAIL);
    assert_int_equal(xm_tls_is_choked(t), i == 5);
    s.closed = false;
    xm_tls_free(t);
    BIO_free(s.in);
    BIO_free(s.out);
  }
}

/* A full handshake is checked as always: here the certificate is for another name. */
static void a_handshake_in_full_is_judged_in_full(void **state) {
  const san dns = {SAN_DNS, "third.example", 0};
  X509 *cert = new_cert("x", &dns, 1, -60, 3600);
  server other;
  xm_err e = {0};
  (void)state;
  sign_cert(cert, world.key, world.ca, world.ca_key);
  start_server_with(&other, cert, TLS1_3_VERSION);
  leave_session(&s, ctx, &usual);
  assert_null(connect_or_not(&other, ctx, &usual, &e));
  assert_true(other.offered);
  assert_string_equal(e.condition, "certificate-name-mismatch");
  SSL_free(other.ssl);
  assert_false(is_resumed(&s, ctx, &usual)); /* the session is gone */
  assert_int_equal(ctx->tickets.n, 0);
  stop_server(&other);
  X509_free(cert);
}

/* Is a session offered that is `age` seconds old? `hint`: its lifetime, as the server says. */
static bool is_offered_after(X509 *cert, long hint, time_t age) {
  close_scene(NULL);
  ctx = new_ctx();
  start_server_with(&s, cert, TLS1_3_VERSION);
  SSL_CTX_set_timeout(s.ctx, hint);
  leave_session(&s, ctx, &usual);
  skew = age;
  disconnect(connect_to(&s, ctx, &usual), &s);
  skew = 0;
  return s.offered;
}

static void it_ends_with_the_certificate(void **state) {
  X509 *cert = good_cert(1000);
  (void)state;
  assert_true(is_offered_after(cert, 7200, 990));
  assert_false(is_offered_after(cert, 7200, 1000));
  assert_false(is_offered_after(cert, 7200, -2)); /* the clock was set back */
  X509_free(cert);
}

static void it_ends_with_any_certificate_of_the_chain(void **state) {
  X509 *cert, *kept = world.ca;
  char file[64];
  (void)state;
  memcpy(file, world.file, sizeof file);
  world.ca = new_ca(1000);
  write_pem(world.file, world.ca, NULL);
  cert = good_cert(5000);
  assert_true(is_offered_after(cert, 7200, 990));
  assert_false(is_offered_after(cert, 7200, 1000));
  unlink(world.file);
  memcpy(world.file, file, sizeof file);
  X509_free(world.ca);
  X509_free(cert);
  world.ca = kept;
}

static void it_ends_when_the_server_says_and_after_a_day(void **state) {
  X509 *cert = good_cert(50 * 24 * 3600);
  (void)state;
  assert_true(is_offered_after(cert, 300, 290));
  assert_false(is_offered_after(cert, 300, 300));
  assert_true(is_offered_after(cert, 7 * 24 * 3600, 24 * 3600 - 10));
  assert_false(is_offered_after(cert, 7 * 24 * 3600, 24 * 3600));
  X509_free(cert);
}

/* OpenSSL's clock may already be in the next second. */
static void a_session_may_come_from_the_next_second(void **state) {
  (void)state;
  skew = -1;
  leave_session(&s, ctx, &usual);
  assert_true(is_resumed(&s, ctx, &usual));
}

/* Until the clock has reached the session's time again, since its age isn't known. */
static void no_session_is_used_when_the_clock_was_set_back(void **state) {
  (void)state;
  leave_session(&s, ctx, &usual);
  ctx->tickets.list[0].lifetime = 0; /* the server hasn't given a lifetime */
  skew = -60;
  assert_false(is_resumed(&s, ctx, &usual));
  assert_false(s.offered);
}

/* Resuming a session doesn't make it younger. */
static void a_day_counts_from_the_certificate(void **state) {
  (void)state;
  SSL_CTX_set_timeout(s.ctx, 7 * 24 * 3600);
  leave_session(&s, ctx, &usual);
  skew = 20 * 3600;
  leave_session(&s, ctx, &usual);
  assert_true(SSL_SESSION_is_resumable(ctx->tickets.list[0].session));
  skew = 24 * 3600 - 10;
  assert_int_equal(ctx->tickets.n, 1);
  leave_session(&s, ctx, &usual);
  assert_true(s.offered);
  skew = 24 * 3600;
  assert_false(is_resumed(&s, ctx, &usual));
  assert_false(s.offered);
}

static void no_session_of_tls12_is_kept(void **state) {
  int ems;
  (void)state;
  for (ems = 0; ems < 2; ems++) {
    stop_server(&s);
    start_server(&s, TLS1_2_VERSION);
    if (!ems) SSL_CTX_set_options(s.ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    leave_session(&s, ctx, &usual);
    assert_int_equal(ctx->tickets.n, 0);
    assert_false(is_resumed(&s, ctx, &usual));
    assert_false(s.offered);
  }
}

static void no_session_is_kept_with_a_client_certificate(void **state) {
  const xm_tls_options o = {.ca_file = world.file, .cert = world.own_file};
  (void)state;
  use_options(&o);
  leave_session(&s, ctx, &usual);
  assert_int_equal(ctx->tickets.n, 0);
}

/* A peer that wasn't verified leaves no session; a pin verifies it. */
static void no_session_of_an_unverified_peer_is_kept(void **state) {
  const xm_tls_options o = {.insecure = true};
  const xm_tls_peer pinned = {.name = NAME, .pin = world.pin, .resume = true};
  (void)state;
  use_options(&o);
  leave_session(&s, ctx, &usual);
  assert_int_equal(ctx->tickets.n, 0);
  leave_session(&s, ctx, &pinned);
  assert_true(is_resumed(&s, ctx, &pinned));
}

/* A connection without a goodbye, cut by us or by the server, leaves its session valid. */
static void a_cut_does_not_invalidate_it(void **state) {
  xm_tls *t;
  xm_err e = {0};
  char byte;
  (void)state;
  leave_session(&s, ctx, &usual);
  t = connect_to(&s, ctx, &usual);
  assert_true(xm_tls_is_resumed(t));
  xm_tls_keep(t);
  s.closed = true;
  assert_int_equal(xm_tls_read(t, &byte, 1, &e), XM_EFAIL);
  assert_string_equal(e.condition, "EOF");
  disconnect(t, &s);
  s.closed = false;
  assert_true(is_resumed(&s, ctx, &usual));
}

/* Something that is no TLS record makes it invalid (RFC 8446 6.2). */
static void bytes_that_are_no_tls_invalidate_it(void **state) {
  xm_tls *t;
  xm_err e = {0};
  char byte;
  (void)state;
  t = connect_to(&s, ctx, &usual);
  xm_tls_keep(t);
  assert_int_equal(ctx->tickets.n, 1);
  BIO_write(s.out, "<message/> in the clear", 23);
  assert_int_equal(xm_tls_read(t, &byte, 1, &e), XM_EFAIL);
  disconnect(t, &s);
  assert_false(is_resumed(&s, ctx, &usual));
  assert_false(s.offered);
}

/* A ticket that comes after the login is kept at once. */
static void a_late_ticket_is_kept(void **state) {
  xm_tls *t;
  xm_err e = {0};
  char byte;
  (void)state;
  SSL_CTX_set_num_tickets(s.ctx, 0);
  t = connect_to(&s, ctx, &usual);
  xm_tls_keep(t);
  assert_int_equal(ctx->tickets.n, 0);
  assert_int_equal(SSL_new_session_ticket(s.ssl), 1);
  SSL_do_handshake(s.ssl);
  assert_int_equal(SSL_write(s.ssl, "x", 1), 1);
  assert_int_equal(xm_tls_read(t, &byte, 1, &e), 1);
  assert_int_equal(ctx->tickets.n, 1);
  disconnect(t, &s);
  assert_true(is_resumed(&s, ctx, &usual));
}

static const xm_tls_peer *numbered(int i) {
  static char jid[16];
  static xm_tls_peer peer;
  int n = snprintf(jid, sizeof jid, "%d.example", i);
  peer = (xm_tls_peer){.name = NAME, .jid = jid, .jid_len = (size_t)n, .resume = true};
  return &peer;
}

static void the_oldest_session_goes_and_all_can_be_forgotten(void **state) {
  int i;
  (void)state;
  for (i = 0; i < XM_TICKETS + 6; i++) leave_session(&s, ctx, numbered(i));
  assert_int_equal(ctx->tickets.n, XM_TICKETS);
  for (i = 0; i < XM_TICKETS + 6; i += 5) assert_int_equal(is_resumed(&s, ctx, numbered(i)), i >= 6);
  xm_tls_ctx_forget(ctx);
  assert_int_equal(ctx->tickets.n, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_scene, close_scene)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_session_is_resumed_and_bound),
      TEST(it_is_used_once),
      TEST(it_is_kept_after_a_login_only),
      TEST(it_is_for_the_same_peer_only),
      TEST(the_certificate_is_checked_again),
      TEST(what_the_server_refuses_is_a_handshake_in_full),
      TEST(a_server_that_answers_it_with_an_alert_is_offered_none),
      TEST(only_an_alert_to_an_offer_blames_the_session),
      TEST(a_handshake_in_full_is_judged_in_full),
      TEST(it_ends_with_the_certificate),
      TEST(it_ends_with_any_certificate_of_the_chain),
      TEST(it_ends_when_the_server_says_and_after_a_day),
      TEST(a_session_may_come_from_the_next_second),
      TEST(no_session_is_used_when_the_clock_was_set_back),
      TEST(a_day_counts_from_the_certificate),
      TEST(no_session_of_tls12_is_kept),
      TEST(no_session_is_kept_with_a_client_certificate),
      TEST(no_session_of_an_unverified_peer_is_kept),
      TEST(a_cut_does_not_invalidate_it),
      TEST(bytes_that_are_no_tls_invalidate_it),
      TEST(a_late_ticket_is_kept),
      TEST(the_oldest_session_goes_and_all_can_be_forgotten),
  };
  return cmocka_run_group_tests(tests, make_world, free_world);
}
