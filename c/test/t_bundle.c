/* bundle: memory that runs out, ours and OpenSSL's, at every place where a bundle is made or searched. (t_tls_cas tests
 * which certificates are trusted.) */
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
#include <unistd.h>

#include "failing.h"

#include "../core/b64.c"
#include "../core/buf.c"
#include "../core/bundle.c"

#include "failing_off.h"

/* OpenSSL's allocations fail, too, but its blocks aren't counted: it leaks some itself when memory runs out. */
static void *ssl_malloc(size_t n, const char *in, int at) {
  (void)in, (void)at;
  return heap_refuses() ? NULL : malloc(n ? n : 1);
}

static void *ssl_realloc(void *p, size_t n, const char *in, int at) {
  (void)in, (void)at;
  return heap_refuses() ? NULL : realloc(p, n);
}

static void ssl_free(void *p, const char *in, int at) {
  (void)in, (void)at;
  free(p);
}

#include "certs.h"

enum { CERTS = 70 }; /* more than a list has space for at first */

static char path[] = "/tmp/t_bundle.XXXXXX"; /* the last two certificates have the same name */
static X509_NAME *twice, *once, *never;

static X509_NAME *new_name(const char *cn) {
  X509_NAME *name = X509_NAME_new();
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
  return name;
}

static int make_file(void **state) {
  FILE *f = fdopen(mkstemp(path), "w");
  EVP_PKEY *key = new_key();
  int i;
  (void)state;
  for (i = 0; i < CERTS; i++) {
    char cn[16];
    X509 *cert;
    snprintf(cn, sizeof cn, "CA %d", i < CERTS - 1 ? i : i - 1);
    cert = new_cert(cn, NULL, 0, 0, 3600);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), i + 1);
    sign_cert(cert, key, NULL, NULL);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    X509_free(cert);
  }
  fclose(f);
  EVP_PKEY_free(key);
  twice = new_name("ca 68");
  once = new_name("CA 3");
  never = new_name("CA 70");
  return 0;
}

static int remove_file(void **state) {
  (void)state;
  X509_NAME_free(twice);
  X509_NAME_free(once);
  X509_NAME_free(never);
  return unlink(path);
}

static int in_store(X509_STORE *store) {
  return sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
}

/* Searches the store as a verification does. */
static bool asks(X509_STORE *store, const X509_NAME *name) {
  X509_STORE_CTX *ctx = X509_STORE_CTX_new();
  X509_OBJECT *found = X509_OBJECT_new();
  bool is_there = ctx && found && X509_STORE_CTX_init(ctx, store, NULL, NULL) == 1 &&
                  X509_STORE_CTX_get_by_subject(ctx, X509_LU_X509, name, found) == 1;
  if (is_there) {
    X509 *cert = X509_OBJECT_get0_X509(found);
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(cert), name), 0);
    assert_non_null(X509_get0_pubkey(cert)); /* the key that verifies other certificates */
  }
  X509_OBJECT_free(found);
  X509_STORE_CTX_free(ctx);
  return is_there;
}

static void certificates_are_loaded_on_demand(void **state) {
  X509_STORE *store = X509_STORE_new();
  xm_bundle *b;
  long live = heap.live;
  (void)state;
  assert_int_equal(xm_bundle_give(store, path, &b), XM_OK);
  assert_int_equal(in_store(store), 0);
  assert_true(asks(store, once));
  assert_int_equal(in_store(store), 1);
  assert_true(asks(store, twice));
  assert_int_equal(in_store(store), 3);
  assert_false(asks(store, never));
  assert_true(asks(store, once));
  assert_int_equal(in_store(store), 3);
  assert_false(xm_bundle_was_short(b));
  X509_STORE_free(store);
  assert_int_equal(heap.live, live);
}

/* A name that can't be hashed (BMPString) is compared with each certificate's. */
static void a_name_in_another_spelling_is_found(void **state) {
  static const unsigned char bmp[] = {0, 'c', 0, 'a', 0, ' ', 0, '6', 0, '8'};
  X509_STORE *store = X509_STORE_new();
  X509_NAME *name = X509_NAME_new();
  xm_bundle *b;
  (void)state;
  X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_BMPSTRING, bmp, sizeof bmp, -1, 0);
  assert_int_equal(xm_bundle_give(store, path, &b), XM_OK);
  assert_true(asks(store, name));
  assert_int_equal(in_store(store), 2);
  X509_NAME_free(name);
  X509_STORE_free(store);
}

static void a_failed_allocation_makes_no_half_bundle(void **state) {
  long n = 0, live, refused = 0;
  bool failed;
  (void)state;
  X509_STORE *first = X509_STORE_new(); /* makes what OpenSSL and the module allocate only once */
  xm_bundle *b;
  assert_int_equal(xm_bundle_give(first, path, &b), XM_OK);
  X509_STORE_free(first);
  live = heap.live;
  do {
    X509_STORE *store = X509_STORE_new();
    int rc;
    heap_fails(n++, false);
    rc = xm_bundle_give(store, path, &b);
    failed = heap_is_well();
    assert_int_equal(rc, failed ? XM_ENOMEM : XM_OK);
    refused += rc < 0;
    X509_STORE_free(store);
    assert_int_equal(heap.live, live);
  } while (failed);
  assert_true(refused > 4);
}

/* "Not found" is only returned without was_short if there was enough memory. And xm_bundle_mend loads what was missed:
 * all certificates with the name, not only one. */
static void it_says_when_it_does_not_know(const X509_NAME *name, int count) {
  long n = 0, shorts = 0;
  bool failed;
  do {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_OBJECT *found = X509_OBJECT_new();
    xm_bundle *b;
    bool is_there;
    assert_int_equal(xm_bundle_give(store, path, &b), XM_OK);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, NULL, NULL), 1);
    heap_fails(n++, false);
    is_there = X509_STORE_CTX_get_by_subject(ctx, X509_LU_X509, name, found) == 1;
    failed = heap_is_well();
    if (!is_there) assert_true(xm_bundle_was_short(b));
    shorts += xm_bundle_was_short(b);
    if (xm_bundle_was_short(b)) {
      heap_fails(0, true);
      if (in_store(store) < count) assert_false(xm_bundle_mend(b));
      heap_is_well();
    }
    assert_true(xm_bundle_mend(b));
    assert_false(xm_bundle_was_short(b));
    assert_true(asks(store, name));
    assert_int_equal(in_store(store), count);
    ERR_clear_error();
    X509_OBJECT_free(found);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
  } while (failed);
  assert_true(shorts > 20);
}

static void it_says_when_memory_has_run_out(void **state) {
  (void)state;
  it_says_when_it_does_not_know(once, 1);
  it_says_when_it_does_not_know(twice, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(certificates_are_loaded_on_demand),
      cmocka_unit_test(a_name_in_another_spelling_is_found),
      cmocka_unit_test(a_failed_allocation_makes_no_half_bundle),
      cmocka_unit_test(it_says_when_memory_has_run_out),
  };
  if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1) return 1;
  return cmocka_run_group_tests(tests, make_file, remove_file);
}
