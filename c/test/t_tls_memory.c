/* tls: memory runs out, ours and OpenSSL's, at every place where a context or a connection is made. */
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
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include "bundle.h"
#include "failing.h"
#include "sample.h"

/* In this function OpenSSL 3.0 frees a loader twice when memory runs out, so here nothing fails. */
static int set_store(SSL_CTX *ssl) {
  bool armed = heap.armed;
  int rc;
  heap.armed = false;
  rc = SSL_CTX_set_default_verify_store(ssl);
  heap.armed = armed;
  return rc;
}

/* What the bundle returns, replaced by the test. */
static bool bundle_is_short, bundle_stays_short;
#define xm_bundle_was_short(b) (bundle_is_short || xm_bundle_was_short(b))
#define xm_bundle_mend(b) (!bundle_stays_short && xm_bundle_mend(b))

#define SSL_CTX_set_default_verify_store set_store
#include "../core/tls.c"

#include "failing_off.h"

/* OpenSSL's allocations fail, too, but its blocks aren't counted: it leaks some itself when memory runs out. */
static void *ssl_malloc(size_t n, const char *file, int line) {
  (void)file, (void)line;
  return heap_refuses() ? NULL : malloc(n ? n : 1);
}

static void *ssl_realloc(void *p, size_t n, const char *file, int line) {
  (void)file, (void)line;
  return heap_refuses() ? NULL : realloc(p, n);
}

static void ssl_free(void *p, const char *file, int line) {
  (void)file, (void)line;
  free(p);
}

#include "certs.h"

static char path[] = "/tmp/t_tls_memory.XXXXXX"; /* a self-signed certificate, and its key */
static char bundle[] = "/tmp/t_tls_memory.XXXXXX"; /* the certificate alone, as the system's CAs */

static int make_file(void **state) {
  FILE *f = fdopen(mkstemp(path), "w");
  EVP_PKEY *key = new_key();
  X509 *cert = new_cert("x", NULL, 0, 0, 3600);
  (void)state;
  assert_non_null(f);
  sign_cert(cert, key, NULL, NULL);
  assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
  assert_int_equal(PEM_write_X509(f, cert), 1);
  fclose(f);
  f = fdopen(mkstemp(bundle), "w");
  assert_int_equal(PEM_write_X509(f, cert), 1);
  fclose(f);
  setenv("SSL_CERT_FILE", bundle, 1);
  setenv("SSL_CERT_DIR", "/tmp", 1);
  X509_free(cert);
  EVP_PKEY_free(key);
  return 0;
}

static int remove_file(void **state) {
  (void)state;
  return unlink(path) | unlink(bundle);
}

static xm_tls_ctx *new_ctx(xm_err *e) {
  const xm_tls_options o = {.ca_file = path, .cert = path};
  return xm_tls_ctx_new(&o, e);
}

static xm_tls_ctx *new_system_ctx(xm_err *e) {
  const xm_tls_options none = {0};
  return xm_tls_ctx_new(&none, e);
}

static ssize_t nothing_comes(void *arg, void *to, size_t n) {
  (void)arg, (void)to, (void)n;
  return -EAGAIN;
}

static ssize_t all_goes(void *arg, const void *from, size_t n) {
  (void)arg, (void)from;
  return (ssize_t)n;
}

static xm_tls *new_tls(xm_tls_ctx *ctx, xm_err *e) {
  const xm_tls_peer peer = {.name = "xmpp.example", .use = XM_TLS_XMPP, .resume = true};
  const xm_tls_io io = {NULL, nothing_comes, all_goes};
  return xm_tls_new(ctx, &peer, &io, e);
}

/* OpenSSL makes some things once, and if that failed, they would be missing for good: so they are made before. */
static void make_all_once(void) {
  xm_tls_ctx *ctx = new_ctx(NULL);
  xm_tls *t = new_tls(ctx, NULL);
  assert_non_null(t);
  assert_int_equal(xm_tls_handshake(t, NULL), 0);
  xm_tls_free(t);
  xm_tls_ctx_release(ctx);
}

/* OpenSSL can do without some allocations. Others cause an error: ENOMEM, or that of the file concerned. */
static void a_context_is_made_or_not(void **state) {
  long n = 0, live, refused = 0;
  bool failed;
  (void)state;
  make_all_once();
  live = heap.live;
  do {
    xm_err e = {0};
    xm_tls_ctx *ctx;
    heap_fails(n, false);
    n += sample();
    ctx = new_ctx(&e);
    failed = heap_is_well();
    assert_int_equal(xm_err_is_set(&e), !ctx);
    assert_true(ctx || strcmp(e.condition, "ENOMEM") == 0 || strstr(e.condition, "-file"));
    refused += !ctx;
    xm_tls_ctx_release(ctx);
    ERR_clear_error();
    assert_int_equal(heap.live, live);
  } while (failed);
  assert_true(refused > 20);
}

/* A context with the system's CAs has them all, or there is none. */
static void a_context_with_the_systems_cas_is_made_or_not(void **state) {
  long n = 0, live, refused = 0;
  bool failed;
  (void)state;
  make_all_once();
  xm_tls_ctx_release(new_system_ctx(NULL));
  live = heap.live;
  do {
    xm_err e = {0};
    xm_tls_ctx *ctx;
    heap_fails(n++, false);
    ctx = new_system_ctx(&e);
    failed = heap_is_well();
    assert_int_equal(xm_err_is_set(&e), !ctx);
    if (!ctx) assert_string_equal(e.condition, "ENOMEM");
    if (ctx) assert_non_null(ctx->bundle);
    refused += !ctx;
    xm_tls_ctx_release(ctx);
    ERR_clear_error();
    assert_int_equal(heap.live, live);
  } while (failed);
  assert_true(refused > 20);
}

static void a_connection_is_made_or_not(void **state) {
  long n = 0, live, refused = 0;
  xm_tls_ctx *ctx = new_ctx(NULL);
  bool failed;
  (void)state;
  make_all_once();
  live = heap.live;
  do {
    xm_err e = {0};
    xm_tls *t;
    heap_fails(n++, false);
    t = new_tls(ctx, &e);
    failed = heap_is_well();
    assert_int_equal(xm_err_is_set(&e), !t);
    if (!t) assert_string_equal(e.condition, "ENOMEM");
    if (t) assert_ptr_equal(SSL_get_app_data(t->ssl), t); /* OpenSSL's callbacks need it */
    refused += !t;
    xm_tls_free(t);
    assert_int_equal(heap.live, live);
  } while (failed);
  assert_true(refused > 5);
  xm_tls_ctx_release(ctx);
}

/* Up to the first bytes that are sent. */
static void a_handshake_is_begun_or_not(void **state) {
  long n = 0, refused = 0;
  xm_tls_ctx *ctx = new_ctx(NULL);
  bool failed;
  (void)state;
  make_all_once();
  do {
    xm_err e = {0};
    xm_tls *t = new_tls(ctx, &e);
    int rc;
    heap_fails(n++, false);
    rc = xm_tls_handshake(t, &e);
    failed = heap_is_well();
    assert_int_equal(rc, xm_err_is_set(&e) ? XM_EFAIL : 0);
    refused += rc < 0;
    xm_tls_free(t);
  } while (failed);
  assert_true(refused > 5);
  xm_tls_ctx_release(ctx);
}

/* A CA that isn't found because memory has run out isn't unknown; and a peer that would go on without it isn't
 * trusted. */
static void want_is_no_reason_to_refuse_a_certificate(void **state) {
  xm_tls_ctx *ctx = new_system_ctx(NULL);
  xm_tls *t = new_tls(ctx, NULL);
  xm_err e = {0}, unknown = {0}, stays = {0};
  (void)state;
  bundle_is_short = true;
  assert_int_equal(refuse_chain(t, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, &e), XM_EFAIL);
  assert_string_equal(e.condition, "ENOMEM");
  assert_true(e.retry);
  bundle_is_short = false;
  assert_int_equal(refuse_chain(t, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, &unknown), XM_EFAIL);
  assert_string_equal(unknown.condition, "certificate-unknown-issuer");
  bundle_stays_short = true;
  assert_int_equal(xm_tls_handshake(t, &stays), XM_EFAIL);
  assert_string_equal(stays.condition, "ENOMEM");
  bundle_stays_short = false;
  assert_int_equal(xm_tls_handshake(t, NULL), 0);
  xm_tls_free(t);
  xm_tls_ctx_release(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_context_is_made_or_not),
      cmocka_unit_test(a_context_with_the_systems_cas_is_made_or_not),
      cmocka_unit_test(a_connection_is_made_or_not),
      cmocka_unit_test(a_handshake_is_begun_or_not),
      cmocka_unit_test(want_is_no_reason_to_refuse_a_certificate),
  };
  if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1) return 1;
  return cmocka_run_group_tests(tests, make_file, remove_file);
}
