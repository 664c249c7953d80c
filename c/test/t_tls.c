/* tls: handshakes with an OpenSSL server in the same process, over bytes in memory: which certificates are trusted, how
 * a connection ends, and that it makes no difference how the bytes are cut or what else comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include "b64.h"
#include "tls.h"

#include "certs.h"

#define NAME "xmpp.example"

/* What all tests share: a CA in a file, another CA, a key. */
static struct world {
  EVP_PKEY *key, *ca_key;
  X509 *ca, *other_ca;
  char file[64], key_file[64], own_file[64]; /* the CA; the key; a certificate with its key */
} world;

static void write_pem(char path[64], X509 *cert, EVP_PKEY *key) {
  FILE *f;
  strcpy(path, "/tmp/t_tls.XXXXXX");
  f = fdopen(mkstemp(path), "w");
  assert_non_null(f);
  if (key) assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
  if (cert) assert_int_equal(PEM_write_X509(f, cert), 1);
  fclose(f);
}

static X509 *new_ca(const char *cn) {
  X509 *ca = new_cert(cn, NULL, 0, 0, 3600);
  add_extension(ca, NID_basic_constraints, "critical,CA:TRUE");
  sign_cert(ca, world.ca_key, NULL, NULL);
  return ca;
}

static int make_world(void **state) {
  X509 *own;
  (void)state;
  world.key = new_key();
  world.ca_key = new_key();
  world.ca = new_ca("the CA");
  world.other_ca = new_ca("another CA");
  write_pem(world.file, world.ca, NULL);
  write_pem(world.key_file, NULL, world.key);
  own = new_cert("us", NULL, 0, 0, 3600);
  sign_cert(own, world.key, NULL, NULL);
  write_pem(world.own_file, own, world.key);
  X509_free(own);
  return 0;
}

static int free_world(void **state) {
  (void)state;
  unlink(world.file);
  unlink(world.key_file);
  unlink(world.own_file);
  X509_free(world.ca);
  X509_free(world.other_ca);
  EVP_PKEY_free(world.key);
  EVP_PKEY_free(world.ca_key);
  return 0;
}

/* The server, and the wire to it. */

typedef struct server {
  SSL_CTX *ctx;
  SSL *ssl;
  BIO *in, *out;      /* what it has to read; what it has written */
  size_t most;        /* how many bytes pass at once; 0: all */
  size_t taken;       /* bytes that the client has taken since this was set to 0 */
  int broken;         /* errno that the wire fails with */
  bool closed, stuck; /* the wire: closed by the server; accepts nothing */
  const char *alpn;   /* the server's choice: length and name; "": it has no ALPN */
} server;

static int choose(SSL *ssl, const unsigned char **to, unsigned char *n, const unsigned char *in, unsigned len,
                  void *arg) {
  const char *alpn = ((server *)arg)->alpn;
  (void)ssl, (void)in, (void)len;
  if (!alpn) return SSL_TLSEXT_ERR_NOACK;
  if (!*alpn) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *to = (const unsigned char *)alpn + 1;
  *n = (unsigned char)alpn[0];
  return SSL_TLSEXT_ERR_OK;
}

static void start_server(server *s, X509 *cert, int version) {
  *s = (server){.ctx = SSL_CTX_new(TLS_server_method()), .in = BIO_new(BIO_s_mem()), .out = BIO_new(BIO_s_mem())};
  SSL_CTX_set_security_level(s->ctx, version < TLS1_2_VERSION ? 0 : 2);
  SSL_CTX_set_min_proto_version(s->ctx, version);
  SSL_CTX_set_max_proto_version(s->ctx, version);
  SSL_CTX_set_alpn_select_cb(s->ctx, choose, s);
  assert_int_equal(SSL_CTX_use_certificate(s->ctx, cert), 1);
  assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, world.key), 1);
  s->ssl = SSL_new(s->ctx);
  BIO_set_mem_eof_return(s->in, -1);
  SSL_set_bio(s->ssl, s->in, s->out);
  SSL_set_accept_state(s->ssl);
}

static void stop_server(server *s) {
  SSL_free(s->ssl);
  SSL_CTX_free(s->ctx);
}

static ssize_t wire_recv(void *arg, void *to, size_t n) {
  server *s = arg;
  int got;
  if (s->broken) return -s->broken;
  if (s->most && n > s->most) n = s->most;
  got = BIO_read(s->out, to, (int)n);
  s->taken += got > 0 ? (size_t)got : 0;
  if (got > 0) return got;
  return s->closed ? 0 : -EAGAIN;
}

static ssize_t wire_send(void *arg, const void *from, size_t n) {
  server *s = arg;
  if (s->broken) return -s->broken;
  if (s->stuck) return -EAGAIN;
  if (s->most && n > s->most) n = s->most;
  return BIO_write(s->in, from, (int)n);
}

static xm_tls_ctx *new_ctx(const xm_tls_options *o) {
  xm_err e = {0};
  xm_tls_ctx *ctx = xm_tls_ctx_new(o, &e);
  if (!ctx) fail_msg("%s: %s", e.condition, e.text);
  return ctx;
}

static xm_tls *new_client(server *s, const xm_tls_options *o, const xm_tls_peer *peer) {
  const xm_tls_options standard = {.ca_file = world.file};
  const xm_tls_peer usual = {.name = NAME};
  xm_tls_io io = {s, wire_recv, wire_send};
  xm_err e = {0};
  xm_tls_ctx *ctx = new_ctx(o ? o : &standard);
  xm_tls *t = xm_tls_new(ctx, peer ? peer : &usual, &io, &e);
  assert_non_null(t);
  xm_tls_ctx_release(ctx); /* the client holds a reference */
  return t;
}

/* Runs both sides in turn until the client's handshake has succeeded or failed. */
static int handshake(xm_tls *t, server *s, xm_err *e) {
  int rc = 0, turns;
  for (turns = 0; turns < 20000 && rc == 0; turns++) {
    SSL_do_handshake(s->ssl);
    rc = xm_tls_handshake(t, e);
  }
  SSL_do_handshake(s->ssl);
  return rc;
}

static X509 *good_cert(void) {
  const san dns = {SAN_DNS, NAME, 0};
  X509 *cert = new_cert("x", &dns, 1, 0, 3600);
  sign_cert(cert, world.key, world.ca, world.ca_key);
  return cert;
}

/* A client and a server that have completed the handshake. */
static xm_tls *connect_to(server *s, int version) {
  X509 *cert = good_cert();
  xm_err e = {0};
  xm_tls *t;
  start_server(s, cert, version);
  X509_free(cert);
  t = new_client(s, NULL, NULL);
  if (handshake(t, s, &e) != 1) fail_msg("%s: %s", e.condition, e.text);
  return t;
}

static void disconnect(xm_tls *t, server *s) {
  xm_tls_free(t);
  stop_server(s);
}

/* Which certificates are trusted. */

enum signer { BY_CA, BY_ITSELF, BY_OTHER };

static void check_verdict(const xm_tls_options *o, const xm_tls_peer *peer, X509 *cert, const char *condition,
                          int version) {
  server s;
  xm_err e = {0};
  xm_tls *t;
  int rc;
  start_server(&s, cert, version);
  t = new_client(&s, o, peer);
  rc = handshake(t, &s, &e);
  if (strcmp(e.condition, condition) != 0 || rc != (*condition ? XM_EFAIL : 1))
    fail_msg("%d %s: %s", rc, e.condition, e.text);
  if (*condition) assert_int_equal(e.layer, XM_LAYER_TLS);
  if (*condition) assert_false(e.retry);
  assert_int_equal(xm_tls_is_verified(t), !*condition && !(o && o->insecure && !(peer && peer->pin)));
  disconnect(t, &s);
}

static void certificates_have_their_verdicts(void **state) {
  static const struct {
    san name;
    long from, until;
    enum signer signer;
    const char *usage, *condition;
  } rows[] = {{{SAN_DNS, NAME, 0}, -60, 3600, BY_CA, "serverAuth", ""},
              {{SAN_XMPP, NAME, 0}, -60, 3600, BY_CA, NULL, ""},
              {{SAN_SRV, "_xmpp-client." NAME, 0}, -60, 3600, BY_CA, NULL, ""},
              {{SAN_DNS, "*.example", 0}, -60, 3600, BY_CA, NULL, "certificate-name-mismatch"},
              {{SAN_DNS, "other.example", 0}, -60, 3600, BY_CA, NULL, "certificate-name-mismatch"},
              {{SAN_DNS, NAME, 0}, -3600, -60, BY_CA, NULL, "certificate-expired"},
              {{SAN_DNS, NAME, 0}, 3600, 7200, BY_CA, NULL, "certificate-not-yet-valid"},
              {{SAN_DNS, NAME, 0}, -60, 3600, BY_ITSELF, NULL, "certificate-self-signed"},
              {{SAN_DNS, NAME, 0}, -60, 3600, BY_OTHER, NULL, "certificate-unknown-issuer"},
              {{SAN_DNS, NAME, 0}, -60, 3600, BY_CA, "clientAuth", "certificate-wrong-purpose"}};
  const xm_tls_options insecure = {.insecure = true};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    X509 *cert = new_cert(NAME, &rows[i].name, 1, rows[i].from, rows[i].until);
    X509 *issuer = rows[i].signer == BY_CA ? world.ca : rows[i].signer == BY_OTHER ? world.other_ca : NULL;
    if (rows[i].usage) add_extension(cert, NID_ext_key_usage, rows[i].usage);
    sign_cert(cert, world.key, issuer, issuer ? world.ca_key : NULL);
    check_verdict(NULL, NULL, cert, rows[i].condition, TLS1_3_VERSION);
    check_verdict(NULL, NULL, cert, rows[i].condition, TLS1_2_VERSION);
    check_verdict(&insecure, NULL, cert, "", TLS1_3_VERSION);
    X509_free(cert);
  }
}

/* A server that isn't trusted doesn't learn who we are: the handshake ends with an alert, before our certificate is
 * sent. */
static void who_is_not_trusted_gets_an_alert_only(void **state) {
  static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
  const xm_tls_options o = {.ca_file = world.file, .cert = world.own_file};
  const san dns = {SAN_DNS, NAME, 0};
  X509 *cert = new_cert("x", &dns, 1, 0, 3600);
  int i;
  (void)state;
  sign_cert(cert, world.key, world.other_ca, world.key);
  for (i = 0; i < 2; i++) {
    server s;
    xm_err e = {0};
    xm_tls *t;
    start_server(&s, cert, versions[i]);
    SSL_set_verify(s.ssl, SSL_VERIFY_PEER, NULL);
    t = new_client(&s, &o, NULL);
    assert_int_equal(handshake(t, &s, &e), XM_EFAIL);
    assert_string_equal(e.condition, "certificate-unknown-issuer");
    assert_false(SSL_is_init_finished(s.ssl));
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_UNKNOWN_CA);
    assert_null(SSL_get0_peer_certificate(s.ssl));
    disconnect(t, &s);
  }
  X509_free(cert);
}

static void a_common_name_is_no_name(void **state) {
  X509 *cert = new_cert(NAME, NULL, 0, 0, 3600);
  (void)state;
  sign_cert(cert, world.key, world.ca, world.ca_key);
  check_verdict(NULL, NULL, cert, "certificate-name-mismatch", TLS1_3_VERSION);
  X509_free(cert);
}

/* An xmppAddr has U-labels, and a dNSName A-labels (RFC 6120 13.7.1.4). Neither may contain an IP address. For a URL's
 * host that is an address, the name of the JID's domain still counts. */
static void an_xmpp_address_is_spelled_as_the_jid(void **state) {
  const san idn = {SAN_XMPP, "m\xC3\xBCller.example", 0}, ip = {SAN_XMPP, "127.0.0.1", 0};
  const xm_tls_peer peers[] = {{.name = "xn--mller-kva.example", .jid = "m\xC3\xBCller.example", .jid_len = 15},
                               {.name = "xn--mller-kva.example", .jid = "m\xC3\xBCller.example", .jid_len = 14},
                               {.name = "xn--mller-kva.example"},
                               {.name = "127.0.0.1", .jid = "127.0.0.1", .jid_len = 9},
                               {.name = "127.0.0.1", .also = "xn--mller-kva.example", .jid = "m\xC3\xBCller.example", .jid_len = 15}};
  int i;
  (void)state;
  for (i = 0; i < 5; i++) {
    X509 *cert = new_cert("x", i != 3 ? &idn : &ip, 1, 0, 3600);
    sign_cert(cert, world.key, world.ca, world.ca_key);
    check_verdict(NULL, &peers[i], cert, i % 4 == 0 ? "" : "certificate-name-mismatch", TLS1_3_VERSION);
    X509_free(cert);
  }
}

/* It may be valid for a URL's host or for the JID's domain (XEP-0156), and for nobody else. An xmppAddr is for the
 * domain. */
static void a_certificate_may_be_for_either_of_two_names(void **state) {
  static const struct {
    san name;
    const char *condition;
  } rows[] = {{{SAN_DNS, "web.example", 0}, ""},
              {{SAN_DNS, NAME, 0}, ""},
              {{SAN_XMPP, NAME, 0}, ""},
              {{SAN_SRV, "_xmpp-client." NAME, 0}, ""},
              {{SAN_DNS, "other.example", 0}, "certificate-name-mismatch"},
              {{SAN_XMPP, "third.example", 0}, "certificate-name-mismatch"},
              {{SAN_DNS, "b.example", 0}, "certificate-name-mismatch"}};
  const xm_tls_peer peer = {.name = "web.example", .also = NAME, .jid = NAME, .jid_len = strlen(NAME), .use = XM_TLS_WEB};
  const xm_tls_peer address = {.name = "127.0.0.1", .also = NAME, .jid = NAME, .jid_len = strlen(NAME), .use = XM_TLS_WEB};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    X509 *cert = new_cert("x", &rows[i].name, 1, -60, 3600);
    sign_cert(cert, world.key, world.ca, world.ca_key);
    check_verdict(NULL, &peer, cert, rows[i].condition, TLS1_3_VERSION);
    check_verdict(NULL, &address, cert, i == 0 ? "certificate-name-mismatch" : rows[i].condition, TLS1_3_VERSION);
    X509_free(cert);
  }
}

/* A pin must match in addition, and even with verify=false. */
static void a_pin_must_fit(void **state) {
  const xm_tls_options insecure = {.insecure = true};
  unsigned char *der = NULL, digest[32];
  xm_tls_peer peer = {.name = NAME};
  xm_buf pin = XM_BUF_INIT;
  X509 *cert = good_cert();
  int n = i2d_PUBKEY(world.key, &der);
  (void)state;
  assert_int_equal(EVP_Digest(der, (size_t)n, digest, NULL, EVP_sha256(), NULL), 1);
  assert_int_equal(xm_b64_encode(&pin, (char *)digest, sizeof digest) | xm_buf_putc(&pin, '\0'), XM_OK);
  peer.pin = xm_buf_at(&pin);
  check_verdict(NULL, &peer, cert, "", TLS1_3_VERSION);
  check_verdict(&insecure, &peer, cert, "", TLS1_3_VERSION);
  xm_buf_at(&pin)[3] ^= 1;
  check_verdict(NULL, &peer, cert, "certificate-pin-mismatch", TLS1_3_VERSION);
  check_verdict(&insecure, &peer, cert, "certificate-pin-mismatch", TLS1_2_VERSION);
  peer.pin = "no base64!";
  check_verdict(NULL, &peer, cert, "certificate-pin-mismatch", TLS1_3_VERSION);
  peer.pin = "";
  check_verdict(NULL, &peer, cert, "certificate-pin-mismatch", TLS1_3_VERSION);
  peer.pin = xm_buf_at(&pin);
  xm_buf_at(&pin)[3] ^= 1;
  peer.name = "other.example";
  check_verdict(NULL, &peer, cert, "certificate-name-mismatch", TLS1_3_VERSION);
  OPENSSL_free(der);
  xm_buf_free(&pin);
  X509_free(cert);
}

static void the_name_is_told_but_no_address(void **state) {
  const san names[] = {{SAN_DNS, NAME, 0}, {SAN_IP, "\x7F\0\0\1", 4}};
  const xm_tls_peer peers[] = {{.name = NAME}, {.name = "127.0.0.1"}, {.name = NAME, .also = "other.example"},
                               {.name = "127.0.0.1", .also = NAME}};
  X509 *cert = new_cert("x", names, 2, 0, 3600);
  int i;
  (void)state;
  sign_cert(cert, world.key, world.ca, world.ca_key);
  for (i = 0; i < 4; i++) {
    server s;
    xm_err e = {0};
    xm_tls *t;
    const char *told;
    start_server(&s, cert, TLS1_3_VERSION);
    t = new_client(&s, NULL, &peers[i]);
    assert_int_equal(handshake(t, &s, &e), 1);
    told = SSL_get_servername(s.ssl, TLSEXT_NAMETYPE_host_name);
    if (i % 2 == 0) assert_string_equal(told, NAME);
    if (i % 2 == 1) assert_null(told);
    disconnect(t, &s);
  }
  X509_free(cert);
}

static int with_alpn(bool offer, const char *answer, xm_err *e) {
  const xm_tls_peer peer = {.name = NAME, .use = offer ? XM_TLS_XMPP : XM_TLS_INSIDE};
  X509 *cert = good_cert();
  server s;
  xm_tls *t;
  int rc;
  start_server(&s, cert, TLS1_3_VERSION);
  s.alpn = answer;
  t = new_client(&s, NULL, &peer);
  rc = handshake(t, &s, e);
  disconnect(t, &s);
  X509_free(cert);
  return rc;
}

static void another_protocol_is_refused(void **state) {
  xm_err e = {0};
  (void)state;
  assert_int_equal(with_alpn(true, "\x0Bxmpp-client", &e), 1);
  assert_int_equal(with_alpn(true, NULL, &e), 1);
  assert_int_equal(with_alpn(false, "\x02h2", &e), 1); /* not asked for, so not answered */
  assert_int_equal(with_alpn(true, "\x02h2", &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_TLS);
  xm_err_clear(&e);
  assert_int_equal(with_alpn(true, "\x0Bxmpp-server", &e), XM_EFAIL);
  xm_err_clear(&e);
  assert_int_equal(with_alpn(true, "\x0Cxmpp-client2", &e), XM_EFAIL);
  xm_err_clear(&e);
  assert_int_equal(with_alpn(true, "", &e), XM_EFAIL);
  assert_string_equal(e.condition, "no-application-protocol");
}

static void old_versions_are_refused(void **state) {
  X509 *cert = good_cert();
  xm_err e = {0};
  server s;
  xm_tls *t;
  (void)state;
  start_server(&s, cert, TLS1_1_VERSION);
  t = new_client(&s, NULL, NULL);
  assert_int_equal(handshake(t, &s, &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_TLS);
  disconnect(t, &s);
  X509_free(cert);
}

/* Reading and writing. */

static void bytes_go_both_ways_in_any_pieces(void **state) {
  static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
  static const size_t pieces[] = {0, 1, 7, 1000};
  static char sent[50000], got[sizeof sent];
  size_t i, k;
  (void)state;
  for (i = 0; i < sizeof sent; i++) sent[i] = (char)(i * 7 + i / 256);
  for (i = 0; i < 2; i++) {
    for (k = 0; k < 4; k++) {
      server s;
      xm_err e = {0};
      size_t out = 0, in = 0, n = 0;
      xm_tls *t = connect_to(&s, versions[i]);
      assert_string_equal(xm_tls_version(t), i ? "TLSv1.3" : "TLSv1.2");
      s.most = pieces[k];
      while (out < sizeof sent) {
        ssize_t took = xm_tls_write(t, sent + out, sizeof sent - out, &e);
        int read = SSL_read(s.ssl, got + in, (int)(sizeof got - in));
        assert_true(took >= 0);
        out += (size_t)took;
        if (read > 0) in += (size_t)read;
      }
      while (in < sizeof got && (n = (size_t)SSL_read(s.ssl, got + in, (int)(sizeof got - in))) <= sizeof got) in += n;
      assert_memory_equal(sent, got, sizeof sent);
      memset(got, 0, sizeof got);
      assert_int_equal(SSL_write(s.ssl, sent, sizeof sent), sizeof sent);
      for (in = 0; in < sizeof got;) {
        ssize_t read = xm_tls_read(t, got + in, sizeof got - in, &e);
        assert_true(read >= 0);
        in += (size_t)read;
      }
      assert_memory_equal(sent, got, sizeof sent);
      assert_int_equal(xm_tls_read(t, got, sizeof got, &e), 0);
      assert_false(xm_err_is_set(&e));
      disconnect(t, &s);
    }
  }
}

static void what_is_decrypted_and_not_read_is_counted(void **state) {
  server s;
  xm_err e = {0};
  xm_tls *t = connect_to(&s, TLS1_3_VERSION);
  char got[4];
  (void)state;
  assert_int_equal(xm_tls_pending(t), 0);
  assert_int_equal(SSL_write(s.ssl, "seven\n\n", 7), 7);
  assert_int_equal(xm_tls_pending(t), 0); /* nothing has been decrypted yet */
  assert_int_equal(xm_tls_read(t, got, sizeof got, &e), 4);
  assert_int_equal(xm_tls_pending(t), 3);
  assert_int_equal(xm_tls_read(t, got, sizeof got, &e), 3);
  assert_int_equal(xm_tls_pending(t), 0);
  disconnect(t, &s);
}

static void a_stuck_wire_takes_nothing(void **state) {
  static char large[100000];
  server s;
  xm_err e = {0};
  xm_tls *t = connect_to(&s, TLS1_3_VERSION);
  char *moved = malloc(sizeof large);
  (void)state;
  s.stuck = true;
  assert_int_equal(xm_tls_write(t, large, sizeof large, &e), 0);
  assert_int_equal(xm_tls_write(t, large, sizeof large, &e), 0);
  s.stuck = false;
  memcpy(moved, large, sizeof large);
  assert_true(xm_tls_write(t, moved, sizeof large, &e) > 0); /* the same bytes at another address */
  assert_false(xm_err_is_set(&e));
  free(moved);
  disconnect(t, &s);
}

/* How a connection ends. */

static void an_end_without_close_notify_is_an_error(void **state) {
  static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
  char byte;
  int i;
  (void)state;
  for (i = 0; i < 2; i++) {
    server s;
    xm_err e = {0};
    xm_tls *t = connect_to(&s, versions[i]);
    SSL_shutdown(s.ssl);
    assert_int_equal(xm_tls_read(t, &byte, 1, &e), XM_TLS_END);
    assert_false(xm_err_is_set(&e));
    disconnect(t, &s);
    t = connect_to(&s, versions[i]);
    s.closed = true;
    assert_int_equal(xm_tls_read(t, &byte, 1, &e), XM_EFAIL);
    assert_int_equal(e.layer, XM_LAYER_TCP);
    assert_string_equal(e.condition, "EOF");
    assert_true(e.retry);
    disconnect(t, &s);
  }
}

static void finish_sends_close_notify(void **state) {
  server s;
  xm_tls *t = connect_to(&s, TLS1_3_VERSION);
  char byte;
  (void)state;
  xm_tls_finish(t);
  assert_int_equal(SSL_read(s.ssl, &byte, 1), 0);
  assert_int_equal(SSL_get_error(s.ssl, 0), SSL_ERROR_ZERO_RETURN);
  disconnect(t, &s);
}

/* Before there are keys, anybody can send close_notify. */
static void an_end_in_the_handshake_is_a_failure(void **state) {
  static const char close_notify[] = "\x15\x03\x03\x00\x02\x01\x00";
  server s;
  xm_err e = {0};
  X509 *cert = good_cert();
  xm_tls *t;
  (void)state;
  start_server(&s, cert, TLS1_2_VERSION);
  t = new_client(&s, NULL, NULL);
  assert_int_equal(xm_tls_handshake(t, &e), 0);
  BIO_write(s.out, close_notify, sizeof close_notify - 1);
  assert_int_equal(xm_tls_handshake(t, &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_TLS);
  assert_string_equal(e.text, "the peer ended TLS in the handshake");
  assert_true(e.retry);
  X509_free(cert);
  disconnect(t, &s);
}

/* After `cut` bytes of the server's answer the wire ends, or breaks, or carries something else and ends. false: the
 * answer was shorter. */
static bool cut_handshake(X509 *cert, size_t cut, const char *garbage, int broken) {
  server s;
  xm_err e = {0};
  xm_tls *t;
  char flight[4096];
  int n, rc = 0, turns;
  start_server(&s, cert, TLS1_3_VERSION);
  t = new_client(&s, NULL, NULL);
  assert_int_equal(xm_tls_handshake(t, &e), 0);
  SSL_do_handshake(s.ssl);
  n = BIO_read(s.out, flight, sizeof flight);
  if ((size_t)n > cut) {
    BIO_write(s.out, flight, (int)cut);
    if (garbage) BIO_write(s.out, garbage, (int)strlen(garbage));
    if (broken) assert_int_equal(xm_tls_handshake(t, &e), 0);
    s.closed = true;
    s.broken = broken;
    for (turns = 0; turns < 3 && rc == 0; turns++) rc = xm_tls_handshake(t, &e);
    assert_int_equal(rc, XM_EFAIL);
    assert_false(xm_tls_is_verified(t));
    if (broken) assert_int_equal(e.layer, XM_LAYER_NONE);
    if (!garbage && !broken) assert_string_equal(e.condition, "EOF");
    if (garbage && cut == 0 && strlen(garbage) > 5) assert_int_equal(e.layer, XM_LAYER_TLS);
  }
  disconnect(t, &s);
  return (size_t)n > cut;
}

static void a_handshake_may_end_anywhere(void **state) {
  static const char *const garbage[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "<stream:error/>", "\x16\x03\x03\xFF\xFF",
                                        "\xFF"};
  X509 *cert = good_cert();
  bool is_cut = true;
  size_t cut, k;
  (void)state;
  for (cut = 0; is_cut; cut += 13) { /* signatures vary in length: the first cut behind the end stops it */
    is_cut = cut_handshake(cert, cut, NULL, 0) && cut_handshake(cert, cut, NULL, ECONNRESET);
    for (k = 0; is_cut && k < 4; k++) is_cut = cut_handshake(cert, cut, garbage[k], 0);
  }
  assert_true(cut > 500);
  X509_free(cert);
}

static void an_error_of_the_wire_is_left_to_the_caller(void **state) {
  server s;
  xm_err e = {0};
  xm_tls *t = connect_to(&s, TLS1_3_VERSION);
  char byte = 0;
  (void)state;
  s.broken = ECONNRESET;
  assert_int_equal(xm_tls_read(t, &byte, 1, &e), XM_EFAIL);
  assert_int_equal(xm_tls_write(t, &byte, 1, &e), XM_EFAIL);
  assert_false(xm_err_is_set(&e)); /* conn sets it in its recv */
  xm_tls_finish(t);
  disconnect(t, &s);
}

static void garbage_in_the_middle_is_fatal(void **state) {
  server s;
  xm_err e = {0};
  xm_tls *t = connect_to(&s, TLS1_3_VERSION);
  char byte;
  (void)state;
  BIO_write(s.out, "<message/> in the clear", 23);
  assert_int_equal(xm_tls_read(t, &byte, 1, &e), XM_EFAIL);
  assert_int_equal(e.layer, XM_LAYER_TLS);
  assert_int_equal(xm_tls_read(t, &byte, 1, &e), XM_EFAIL);
  disconnect(t, &s);
}

/* A file that can't be used is named in the error, before anything is dialled. */
static void bad_files_are_named(void **state) {
  const struct {
    xm_tls_options o;
    const char *condition;
  } rows[] = {{{.ca_file = "/nonexistent/ca"}, "ca-file"},
              {{.ca_file = world.key_file}, "ca-file"},
              {{.ca_dir = "/nonexistent"}, "ca-dir"},
              {{.cert = "/nonexistent/cert"}, "certificate-file"},
              {{.cert = world.key_file}, "certificate-file"},
              {{.cert = world.file}, "private-key-file"},
              {{.cert = world.file, .key = "/nonexistent/key"}, "private-key-file"},
              {{.cert = world.file, .key = world.key_file}, "private-key-file"}}; /* another certificate's key */
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    xm_err e = {0};
    assert_null(xm_tls_ctx_new(&rows[i].o, &e));
    assert_string_equal(e.condition, rows[i].condition);
    assert_int_equal(e.layer, XM_LAYER_TLS);
  }
}

/* The server asks for a renegotiation (TLS 1.2): the client refuses, and the connection goes on. */
static void nothing_is_renegotiated(void **state) {
  server s;
  xm_err e = {0};
  xm_tls *t = connect_to(&s, TLS1_2_VERSION);
  char bytes[8];
  (void)state;
  BIO_reset(s.in);
  SSL_renegotiate(s.ssl);
  SSL_do_handshake(s.ssl);
  assert_int_equal(xm_tls_read(t, bytes, sizeof bytes, &e), 0);
  assert_false(xm_err_is_set(&e));
  assert_int_equal(BIO_read(s.in, bytes, 1), 1);
  assert_int_equal(bytes[0], 0x15); /* an alert instead of a handshake */
  disconnect(t, &s);
}

/* A flood of records that only concern TLS: a call takes no more of it than a large record has, and returns that there
 * is more, until the data after it comes. */

enum { FLOOD = 10000, AT_ONCE = 17 * 1024 };

/* The server sends FLOOD records without data. */
static void flood(server *s, int version, int update) {
  int i;
  for (i = 0; i < FLOOD; i++) {
    if (version == TLS1_3_VERSION) assert_int_equal(SSL_key_update(s->ssl, update), 1);
    if (version == TLS1_2_VERSION) assert_int_equal(SSL_renegotiate(s->ssl), 1); /* HelloRequest: an alert refuses it */
    assert_int_equal(SSL_do_handshake(s->ssl), 1);
    if (version == TLS1_2_VERSION) BIO_reset(s->in);
  }
}

static void a_flood_of_records_without_data_is_taken_in_pieces(void **state) {
  static const struct {
    int version, update;
  } rows[] = {{TLS1_3_VERSION, SSL_KEY_UPDATE_REQUESTED},
              {TLS1_3_VERSION, SSL_KEY_UPDATE_NOT_REQUESTED},
              {TLS1_2_VERSION, 0}};
  size_t i, bytes;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    server s;
    xm_err e = {0};
    xm_tls *t = connect_to(&s, rows[i].version);
    char got[8];
    ssize_t n = XM_TLS_MORE;
    size_t calls = 0;
    assert_int_equal(xm_tls_read(t, got, sizeof got, &e), 0);
    flood(&s, rows[i].version, rows[i].update);
    assert_int_equal(SSL_write(s.ssl, "behind", 6), 6);
    bytes = BIO_ctrl_pending(s.out);
    assert_true(bytes > 10 * AT_ONCE);
    while (n == XM_TLS_MORE) {
      s.taken = 0;
      n = xm_tls_read(t, got, sizeof got, &e);
      assert_true(s.taken <= AT_ONCE);
      calls++;
    }
    assert_int_equal(n, 6);
    assert_memory_equal(got, "behind", 6);
    assert_int_equal(calls, (bytes + AT_ONCE - 1) / AT_ONCE);
    assert_int_equal(xm_tls_read(t, got, sizeof got, &e), 0);
    assert_int_equal(xm_tls_write(t, "still there", 11, &e), 11);
    assert_false(xm_err_is_set(&e));
    disconnect(t, &s);
  }
}

/* The same before the server's first message of the handshake (RFC 5246 7.4.1.1: it is ignored there). */
static void a_flood_within_the_handshake_is_taken_in_pieces(void **state) {
  static const char request[] = "\x16\x03\x03\x00\x04\x00\x00\x00";
  server s;
  xm_err e = {0};
  X509 *cert = good_cert();
  xm_tls *t;
  int i, rc = XM_TLS_MORE, calls = 0;
  (void)state;
  start_server(&s, cert, TLS1_2_VERSION);
  t = new_client(&s, NULL, NULL);
  assert_int_equal(xm_tls_handshake(t, &e), 0);
  for (i = 0; i < FLOOD; i++) BIO_write(s.out, request, sizeof request);
  while (rc == XM_TLS_MORE) {
    s.taken = 0;
    rc = xm_tls_handshake(t, &e);
    assert_true(s.taken <= AT_ONCE);
    calls++;
  }
  assert_int_equal(rc, 0);
  assert_int_equal(calls, FLOOD * sizeof request / AT_ONCE + 1);
  if (handshake(t, &s, &e) != 1) fail_msg("%s: %s", e.condition, e.text);
  X509_free(cert);
  disconnect(t, &s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(certificates_have_their_verdicts),
      cmocka_unit_test(who_is_not_trusted_gets_an_alert_only),
      cmocka_unit_test(a_common_name_is_no_name),
      cmocka_unit_test(an_xmpp_address_is_spelled_as_the_jid),
      cmocka_unit_test(a_certificate_may_be_for_either_of_two_names),
      cmocka_unit_test(a_pin_must_fit),
      cmocka_unit_test(the_name_is_told_but_no_address),
      cmocka_unit_test(another_protocol_is_refused),
      cmocka_unit_test(old_versions_are_refused),
      cmocka_unit_test(bytes_go_both_ways_in_any_pieces),
      cmocka_unit_test(what_is_decrypted_and_not_read_is_counted),
      cmocka_unit_test(a_stuck_wire_takes_nothing),
      cmocka_unit_test(an_end_without_close_notify_is_an_error),
      cmocka_unit_test(finish_sends_close_notify),
      cmocka_unit_test(an_end_in_the_handshake_is_a_failure),
      cmocka_unit_test(a_handshake_may_end_anywhere),
      cmocka_unit_test(an_error_of_the_wire_is_left_to_the_caller),
      cmocka_unit_test(garbage_in_the_middle_is_fatal),
      cmocka_unit_test(bad_files_are_named),
      cmocka_unit_test(nothing_is_renegotiated),
      cmocka_unit_test(a_flood_of_records_without_data_is_taken_in_pieces),
      cmocka_unit_test(a_flood_within_the_handshake_is_taken_in_pieces),
  };
  return cmocka_run_group_tests(tests, make_world, free_world);
}
