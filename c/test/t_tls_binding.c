/* tls: channel bindings, against an OpenSSL server in memory: both sides must have the same, and what isn't safe must
 * not be available. The module is compiled into this file, so that a session can be resumed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs some of these headers first */
#include <cmocka.h>

#include "../core/tls.c"

/* A server, and what is on the wire. */
typedef struct server {
  SSL_CTX *ctx;
  SSL *ssl;
  BIO *in, *out;
  X509 *cert;
} server;

typedef struct kind {
  const char *key;           /* "RSA", "RSA-PSS", "EC", "ED25519" */
  const EVP_MD *(*md)(void); /* of the certificate's signature; NULL: the key's own */
  bool pss;                  /* an RSA key that signs with PSS */
  int version;
  bool no_ems;
} kind;

static EVP_PKEY *new_key(const char *type) {
  EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
  EVP_PKEY *key = NULL;
  assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
  if (strcmp(type, "EC") == 0) assert_int_equal(EVP_PKEY_CTX_set_group_name(ctx, "P-256"), 1);
  assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
  EVP_PKEY_CTX_free(ctx);
  return key;
}

static void sign(X509 *cert, EVP_PKEY *key, const kind *k) {
  EVP_MD_CTX *md = EVP_MD_CTX_new();
  EVP_PKEY_CTX *params;
  assert_int_equal(EVP_DigestSignInit(md, &params, k->md ? k->md() : NULL, NULL, key), 1);
  if (k->pss) assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING), 1);
  assert_true(X509_sign_ctx(cert, md) > 0);
  EVP_MD_CTX_free(md);
}

static X509 *new_cert(EVP_PKEY *key, const kind *k) {
  X509 *cert = X509_new();
  X509_set_version(cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), 0);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1, 0);
  X509_set_issuer_name(cert, X509_get_subject_name(cert));
  X509_set_pubkey(cert, key);
  sign(cert, key, k);
  return cert;
}

static void start_server(server *s, const kind *k) {
  EVP_PKEY *key = new_key(k->key);
  assert_non_null(key);
  s->cert = new_cert(key, k);
  s->ctx = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_security_level(s->ctx, 0);
  assert_int_equal(SSL_CTX_use_certificate(s->ctx, s->cert), 1);
  assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, key), 1);
  SSL_CTX_set_min_proto_version(s->ctx, k->version);
  SSL_CTX_set_max_proto_version(s->ctx, k->version);
  SSL_CTX_set_session_id_context(s->ctx, (const unsigned char *)"t", 1);
  if (k->no_ems) SSL_CTX_set_options(s->ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
  EVP_PKEY_free(key);
}

static void accept_one(server *s) {
  s->ssl = SSL_new(s->ctx);
  s->in = BIO_new(BIO_s_mem());
  s->out = BIO_new(BIO_s_mem());
  SSL_set_bio(s->ssl, s->in, s->out);
  SSL_set_accept_state(s->ssl);
}

static void stop_server(server *s) {
  X509_free(s->cert);
  SSL_CTX_free(s->ctx);
}

static ssize_t from_server(void *arg, void *to, size_t n) {
  int got = BIO_read(((server *)arg)->out, to, (int)n);
  return got > 0 ? got : -EAGAIN;
}

static ssize_t to_server(void *arg, const void *from, size_t n) {
  return BIO_write(((server *)arg)->in, from, (int)n);
}

/* A client that has completed the handshake; it resumes `session`, if that isn't NULL. */
static xm_tls *connect_to(server *s, SSL_SESSION *session) {
  const xm_tls_options options = {.insecure = true};
  const xm_tls_peer peer = {.name = "x.example"};
  const xm_tls_io io = {s, from_server, to_server};
  xm_err e = {0};
  xm_tls_ctx *ctx = xm_tls_ctx_new(&options, &e);
  xm_tls *t = xm_tls_new(ctx, &peer, &io, &e);
  int done = 0, turns;
  char byte;
  xm_tls_ctx_release(ctx);
  accept_one(s);
  if (session) assert_int_equal(SSL_set_session(t->ssl, session), 1);
  for (turns = 0; !(done == 1 && SSL_is_init_finished(s->ssl)) && turns < 20; turns++) {
    if (done == 0) done = xm_tls_handshake(t, &e);
    if (done < 0) fail_msg("%s", e.text);
    SSL_do_handshake(s->ssl);
  }
  assert_true(done == 1 && SSL_is_init_finished(s->ssl));
  assert_int_equal(xm_tls_read(t, &byte, 1, &e), 0); /* reads the tickets that follow the handshake */
  return t;
}

static void check_binding(const xm_tls *t, const char *type, const void *expected, size_t n) {
  unsigned char got[XM_TLS_BINDING + 1] = {[XM_TLS_BINDING] = 42};
  assert_int_equal(xm_tls_binding(t, type, got), n);
  if (n) assert_memory_equal(got, expected, n);
  assert_int_equal(got[XM_TLS_BINDING], 42);
  assert_int_equal(ERR_peek_error(), 0);
}

/* tls-exporter must be what the server has, with the label of RFC 9266 section 2. */
static void check_exporter(const xm_tls *t, const server *s) {
  unsigned char theirs[32];
  assert_int_equal(
      SSL_export_keying_material(s->ssl, theirs, 32, "EXPORTER-Channel-Binding", 24, (const unsigned char *)"", 0, 1),
      1);
  check_binding(t, "tls-exporter", theirs, 32);
}

static void check_end_point(const xm_tls *t, const server *s, const EVP_MD *md) {
  unsigned char *der = NULL, hash[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  int len = i2d_X509(s->cert, &der);
  if (md) assert_int_equal(EVP_Digest(der, (size_t)len, hash, &n, md, NULL), 1);
  check_binding(t, "tls-server-end-point", hash, n);
  OPENSSL_free(der);
}

static void close_both(xm_tls *t, server *s) {
  xm_tls_finish(t); /* otherwise OpenSSL wouldn't resume the session */
  SSL_shutdown(s->ssl);
  xm_tls_free(t);
  SSL_free(s->ssl);
}

static void test_tls13(void **unused) {
  const kind k = {"EC", EVP_sha256, false, TLS1_3_VERSION, false};
  server s;
  xm_tls *t;
  (void)unused;
  start_server(&s, &k);
  t = connect_to(&s, NULL);
  assert_int_equal(xm_tls_version_number(t), 0x0304);
  check_exporter(t, &s);
  check_binding(t, "tls-unique", NULL, 0);
  check_end_point(t, &s, EVP_sha256());
  check_binding(t, "tls-unique-for-telnet", NULL, 0);
  check_binding(t, "", NULL, 0);
  check_binding(t, "TLS-EXPORTER", NULL, 0);
  close_both(t, &s);
  stop_server(&s);
}

/* In a full handshake the client's Finished comes first. */
static void test_tls12(void **unused) {
  const kind k = {"RSA", EVP_sha256, false, TLS1_2_VERSION, false};
  unsigned char finished[64];
  server s;
  xm_tls *t;
  (void)unused;
  start_server(&s, &k);
  t = connect_to(&s, NULL);
  assert_int_equal(xm_tls_version_number(t), 0x0303);
  assert_int_equal(SSL_get_peer_finished(s.ssl, finished, sizeof finished), 12);
  check_binding(t, "tls-unique", finished, 12);
  check_exporter(t, &s);
  check_end_point(t, &s, EVP_sha256());
  close_both(t, &s);
  stop_server(&s);
}

/* In a resumed session the server's does. */
static void test_tls12_resumed(void **unused) {
  const kind k = {"EC", EVP_sha256, false, TLS1_2_VERSION, false};
  unsigned char finished[64];
  SSL_SESSION *session;
  server s;
  xm_tls *t;
  (void)unused;
  start_server(&s, &k);
  t = connect_to(&s, NULL);
  session = SSL_get1_session(t->ssl);
  close_both(t, &s);
  t = connect_to(&s, session);
  assert_int_equal(SSL_session_reused(t->ssl), 1);
  assert_int_equal(SSL_get_finished(s.ssl, finished, sizeof finished), 12);
  check_binding(t, "tls-unique", finished, 12);
  check_exporter(t, &s);
  SSL_SESSION_free(session);
  close_both(t, &s);
  stop_server(&s);
}

/* Two connections may have the same exporter and Finished: only the certificate's binding is available. */
static void test_tls12_without_extended_master_secret(void **unused) {
  const kind k = {"EC", EVP_sha384, false, TLS1_2_VERSION, true};
  server s;
  xm_tls *t;
  (void)unused;
  start_server(&s, &k);
  t = connect_to(&s, NULL);
  check_binding(t, "tls-exporter", NULL, 0);
  check_binding(t, "tls-unique", NULL, 0);
  check_end_point(t, &s, EVP_sha384());
  close_both(t, &s);
  stop_server(&s);
}

/* The hash is that of the certificate's signature, unless that is broken (RFC 5929 section 4.1). */
static void test_certificates(void **unused) {
  static const struct {
    kind kind;
    const EVP_MD *(*expected)(void);
  } rows[] = {
      {{"RSA", EVP_sha1, false, TLS1_3_VERSION, false}, EVP_sha256},
      {{"RSA", EVP_md5, false, TLS1_3_VERSION, false}, EVP_sha256},
      {{"RSA", EVP_sha224, false, TLS1_3_VERSION, false}, EVP_sha224},
      {{"RSA", EVP_sha384, false, TLS1_3_VERSION, false}, EVP_sha384},
      {{"RSA", EVP_sha512, false, TLS1_2_VERSION, false}, EVP_sha512},
      {{"RSA", EVP_sha512, true, TLS1_3_VERSION, false}, EVP_sha512},
      {{"RSA-PSS", EVP_sha384, true, TLS1_3_VERSION, false}, EVP_sha384},
      {{"EC", EVP_sha512, false, TLS1_3_VERSION, false}, EVP_sha512},
      {{"EC", EVP_sha1, false, TLS1_2_VERSION, false}, EVP_sha256},
      {{"ED25519", NULL, false, TLS1_3_VERSION, false}, NULL},
      {{"ED25519", NULL, false, TLS1_2_VERSION, true}, NULL},
  };
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    server s;
    xm_tls *t;
    start_server(&s, &rows[i].kind);
    t = connect_to(&s, NULL);
    check_end_point(t, &s, rows[i].expected ? rows[i].expected() : NULL);
    close_both(t, &s);
    stop_server(&s);
  }
}

static void test_nothing_before_the_handshake(void **unused) {
  const xm_tls_options options = {.insecure = true};
  const xm_tls_peer peer = {.name = "x.example"};
  server s = {0};
  const xm_tls_io io = {&s, from_server, to_server};
  xm_err e = {0};
  xm_tls_ctx *ctx = xm_tls_ctx_new(&options, &e);
  xm_tls *t = xm_tls_new(ctx, &peer, &io, &e);
  (void)unused;
  check_binding(t, "tls-exporter", NULL, 0);
  check_binding(t, "tls-unique", NULL, 0);
  check_binding(t, "tls-server-end-point", NULL, 0);
  assert_false(xm_tls_ctx_has_certificate(ctx));
  assert_false(xm_tls_ctx_needs_authzid(ctx, "a@b", 3));
  xm_tls_free(t);
  xm_tls_ctx_release(ctx);
}

/* Does a client's certificate name somebody other than the user who logs in? (XEP-0178) */
static void test_names_of_a_client(void **unused) {
  static const struct {
    const char *names;
    bool others;
  } rows[] = {
      {NULL, false},
      {"DNS:example.org,email:eve@example.org", false},
      {"otherName:1.3.6.1.5.5.7.8.5;UTF8:ann@example.org", false},
      {"otherName:1.3.6.1.5.5.7.8.5;UTF8:bob@example.org", true},
      {"otherName:1.3.6.1.5.5.7.8.5;UTF8:ann@example.orgy", true},
      {"otherName:1.3.6.1.5.5.7.8.5;UTF8:ann@example.org,otherName:1.3.6.1.5.5.7.8.5;UTF8:bob@example.org", true},
      {"DNS:x,otherName:1.3.6.1.5.5.7.8.5;UTF8:ann@example.org", false},
      {"otherName:1.3.6.1.5.5.7.8.7;IA5:bob@example.org", false},
  };
  const kind k = {"EC", EVP_sha256, false, TLS1_3_VERSION, false};
  EVP_PKEY *key = new_key("EC");
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    X509 *cert = new_cert(key, &k);
    if (rows[i].names) {
      X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, rows[i].names);
      assert_non_null(ext);
      X509_add_ext(cert, ext, -1);
      X509_EXTENSION_free(ext);
    }
    assert_int_equal(xm_cert_names_others(cert, "ann@example.org", 15), rows[i].others);
    X509_free(cert);
  }
  EVP_PKEY_free(key);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_tls13),
      cmocka_unit_test(test_tls12),
      cmocka_unit_test(test_tls12_resumed),
      cmocka_unit_test(test_tls12_without_extended_master_secret),
      cmocka_unit_test(test_certificates),
      cmocka_unit_test(test_nothing_before_the_handshake),
      cmocka_unit_test(test_names_of_a_client),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
