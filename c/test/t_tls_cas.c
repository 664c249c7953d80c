/* tls: the system's CAs. OpenSSL with its default paths is asked which certificates are valid, and the answer must be
 * the same here, wherever the CAs are stored and whatever their file looks like. */
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
#include <sys/stat.h>
#include <unistd.h>

#include "../core/tls.c"

#include "certs.h"

enum { WHATEVER = 2, CAS = 6, DAY = 24 * 3600 };

/* CAs, each with a certificate that it has issued. 'g' and 'e' are the same CA with the same key, 'o' only has its
 * name. */
static struct ca {
  char letter;
  const char *name;
  long from, until;
  int key;
  X509 *cert, *leaf;
} cas[CAS] = {
    {'a', "A root", -DAY, DAY, 0, NULL, NULL},        {'b', "B root", -DAY, DAY, 1, NULL, NULL},
    {'g', "The same", -DAY, DAY, 2, NULL, NULL},      {'e', "The same", -2 * DAY, -DAY, 2, NULL, NULL},
    {'o', "The same", -DAY, DAY, 3, NULL, NULL},      {'w', "W\xC3\xBCrzel  ROOT", -DAY, DAY, 4, NULL, NULL},
};
static EVP_PKEY *keys[CAS];
static char folder[] = "/tmp/t_tls_cas.XXXXXX", file[64], certs[64];

static struct ca *ca_of(char letter) {
  int i;
  for (i = 0; i < CAS; i++)
    if (cas[i].letter == letter) return &cas[i];
  fail_msg("there is no CA %c", letter);
  return NULL;
}

static X509 *new_leaf(const struct ca *ca) {
  X509 *leaf = new_cert("xmpp.example", NULL, 0, -DAY, DAY), *issuer = new_cert(ca->name, NULL, 0, 0, 1);
  sign_cert(leaf, keys[0], issuer, keys[ca->key]);
  X509_free(issuer);
  return leaf;
}

static int make_cas(void **state) {
  int i;
  (void)state;
  for (i = 0; i < CAS; i++) keys[i] = new_key();
  for (i = 0; i < CAS; i++) {
    struct ca *ca = &cas[i];
    ca->cert = new_cert(ca->name, NULL, 0, ca->from, ca->until);
    ASN1_INTEGER_set(X509_get_serialNumber(ca->cert), i + 10);
    add_extension(ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    sign_cert(ca->cert, keys[ca->key], NULL, NULL);
    ca->leaf = new_leaf(ca);
  }
  assert_non_null(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/bundle.pem", folder);
  snprintf(certs, sizeof certs, "%s/certs", folder);
  return 0;
}

static void clean(void) {
  char command[160];
  snprintf(command, sizeof command, "rm -rf %s %s", file, certs);
  assert_int_equal(system(command), 0);
}

static int free_cas(void **state) {
  int i;
  (void)state;
  clean();
  for (i = 0; i < CAS; i++) {
    X509_free(cas[i].cert);
    X509_free(cas[i].leaf);
    EVP_PKEY_free(keys[i]);
  }
  return rmdir(folder);
}

/* How a file is written. */

typedef struct text {
  char bytes[1 << 16];
  size_t n;
} text;

static void add(text *t, const char *s) {
  size_t n = strlen(s);
  assert_true(t->n + n < sizeof t->bytes);
  memcpy(t->bytes + t->n, s, n + 1);
  t->n += n;
}

static void add_bio(text *t, BIO *b) {
  char *data;
  long n = BIO_get_mem_data(b, &data);
  assert_true(t->n + (size_t)n < sizeof t->bytes);
  memcpy(t->bytes + t->n, data, (size_t)n);
  t->bytes[t->n += (size_t)n] = '\0';
  BIO_free(b);
}

static void add_pem(text *t, X509 *cert) {
  BIO *b = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(b, cert);
  add_bio(t, b);
}

/* With all of its base64 in one line. */
static void add_in_one_line(text *t, X509 *cert) {
  static text pem;
  char *s;
  pem.n = 0;
  add_pem(&pem, cert);
  add(t, "-----BEGIN CERTIFICATE-----\n");
  s = strchr(pem.bytes, '\n') + 1;
  for (; *s != '-'; s++)
    if (*s != '\n') t->bytes[t->n++] = *s;
  add(t, "\n-----END CERTIFICATE-----\n");
}

static void add_trusted(text *t, X509 *cert, bool for_servers) {
  X509 *copy = X509_dup(cert);
  BIO *b = BIO_new(BIO_s_mem());
  ASN1_OBJECT *use = OBJ_nid2obj(for_servers ? NID_server_auth : NID_email_protect);
  X509_add1_trust_object(copy, use);
  PEM_write_bio_X509_AUX(b, copy);
  add_bio(t, b);
  X509_free(copy);
}

static void add_key(text *t) {
  BIO *b = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(b, keys[0], NULL, NULL, 0, NULL, NULL);
  add_bio(t, b);
}

static void add_crl(text *t) {
  X509_CRL *crl = X509_CRL_new();
  ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
  BIO *b = BIO_new(BIO_s_mem());
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca_of('a')->cert));
  X509_CRL_set1_lastUpdate(crl, now);
  X509_CRL_sign(crl, keys[0], EVP_sha256());
  PEM_write_bio_X509_CRL(b, crl);
  add_bio(t, b);
  X509_CRL_free(crl);
  ASN1_TIME_free(now);
}

/* Valid PEM but no certificate: broken in the end of a name's OID, the version's tag, or the last byte. */
static void add_broken(text *t, int how) {
  unsigned char *der = NULL;
  int n = i2d_X509(ca_of('b')->cert, &der);
  BIO *b = BIO_new(BIO_s_mem());
  if (how == 0) ((unsigned char *)memmem(der, (size_t)n, "\x06\x03\x55\x04\x03", 5))[4] = 0x83;
  if (how == 1) der[4 + 4] = 0x04;
  PEM_write_bio(b, "CERTIFICATE", "", der, how == 2 ? n - 1 : n);
  add_bio(t, b);
  OPENSSL_free(der);
}

static void with_crlf(text *t) {
  static text was;
  size_t i;
  was = *t;
  t->n = 0;
  for (i = 0; i < was.n; i++) {
    if (was.bytes[i] == '\n') t->bytes[t->n++] = '\r';
    t->bytes[t->n++] = was.bytes[i];
  }
  t->bytes[t->n] = '\0';
}

/* Each letter of a CA writes its certificate; the others write what a file may also contain. */
static void write_file(const char *what) {
  static text t;
  FILE *f = fopen(file, "w");
  bool crlf = false, cut = false;
  int i;
  t.n = 0;
  for (; *what; what++) {
    switch (*what) {
      case '#': add(&t, "# a comment: of two words\n\n-- not a line of PEM\n"); break;
      case 'L': for (i = 0; i < 300; i++) add(&t, "x");
                add(&t, "\n"); break;
      case 'P': for (i = 0; i < 254; i++) add(&t, " "); break; /* as long as a line in OpenSSL's buffer */
      case '1': add_in_one_line(&t, ca_of(*++what)->cert); break;
      case 'T': add_trusted(&t, ca_of(*++what)->cert, true); break;
      case 'M': add_trusted(&t, ca_of(*++what)->cert, false); break;
      case 'K': add_key(&t); break;
      case 'C': add_crl(&t); break;
      case 'X': add_broken(&t, *++what - '0'); break;
      case 'E': add(&t, "-----BEGIN CERTIFICATE-----\nMIIB\n"); break;
      case 'H': add(&t, "-----BEGIN CERTIFICATE-----\nProc-Type: 4,CLEAR\n\nMIIB\n-----END CERTIFICATE-----\n"); break;
      case 'Y': add(&t, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"); break;
      case 'U': add(&t, "-----BEGIN SOMETHING-----\nMIIB\n-----END SOMETHING-----\n"); break;
      case '0': t.bytes[t.n++] = '\0'; break;
      case '\\': crlf = true; break;
      case '/': cut = true; break;
      case 'S': t.n--; add(&t, "  \n"); break; /* spaces at the end of the last line */
      default: add_pem(&t, ca_of(*what)->cert);
    }
  }
  if (crlf) with_crlf(&t);
  if (cut) t.n -= 30;
  assert_int_equal(fwrite(t.bytes, 1, t.n, f), t.n);
  fclose(f);
}

/* Writes a directory as c_rehash does; '-': without links; 'D': the next one as DER. */
static void write_folder(const char *what) {
  bool links = true, is_der = false;
  assert_int_equal(mkdir(certs, 0700), 0);
  for (; *what; what++) {
    struct ca *ca;
    char path[128];
    int n = 0;
    FILE *f;
    if (*what == '-') links = false;
    if (*what == 'D') is_der = true;
    if (*what == '-' || *what == 'D') continue;
    ca = ca_of(*what);
    snprintf(path, sizeof path, "%s/%c.pem", certs, ca->letter);
    do /* the same names have the same hash, so .0, .1, ... */
      if (links) snprintf(path, sizeof path, "%s/%08lx.%d", certs, X509_subject_name_hash(ca->cert), n++);
    while (links && access(path, F_OK) == 0);
    f = fopen(path, "w");
    assert_int_equal(is_der ? i2d_X509_fp(f, ca->cert) : PEM_write_X509(f, ca->cert), 1);
    fclose(f);
    is_der = false;
  }
}

/* Verification results. */

static int verdict(SSL_CTX *ssl, X509 *leaf) {
  X509_STORE_CTX *store = X509_STORE_CTX_new();
  int error;
  assert_int_equal(X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(ssl), leaf, NULL), 1);
  X509_STORE_CTX_set_default(store, "ssl_server");
  error = X509_verify_cert(store) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(store);
  X509_STORE_CTX_free(store);
  ERR_clear_error();
  return error;
}

static xm_tls_ctx *new_ctx(void) {
  const xm_tls_options none = {0};
  xm_err e = {0};
  xm_tls_ctx *ctx = xm_tls_ctx_new(&none, &e);
  assert_non_null(ctx);
  return ctx;
}

/* Verifies each in a context of its own, and in one that has verified the others before, forwards and backwards. */
static void check_row(const char *in_file, const char *in_folder, const char *good, int is_ours) {
  SSL_CTX *theirs = SSL_CTX_new(TLS_client_method());
  xm_tls_ctx *ours = new_ctx(), *backwards = new_ctx();
  int i;
  SSL_CTX_set_default_verify_paths(theirs);
  if (is_ours != WHATEVER && (ours->bundle != NULL) != is_ours)
    fail_msg("file '%s' is%s read by us", in_file ? in_file : "none", is_ours ? "n't" : "");
  for (i = 0; i < CAS; i++) {
    xm_tls_ctx *alone = new_ctx();
    struct ca *last = &cas[CAS - 1 - i];
    int expected = verdict(theirs, cas[i].leaf), got = verdict(ours->ssl, cas[i].leaf);
    if (got != expected || verdict(alone->ssl, cas[i].leaf) != expected)
      fail_msg("%c, file '%s', folder '%s': %s, not %s", cas[i].letter, in_file ? in_file : "none",
               in_folder ? in_folder : "none", X509_verify_cert_error_string(got),
               X509_verify_cert_error_string(expected));
    assert_int_equal(verdict(backwards->ssl, last->leaf), verdict(theirs, last->leaf));
    if (good && (expected == X509_V_OK) != (strchr(good, cas[i].letter) != NULL))
      fail_msg("%c, file '%s', folder '%s': OpenSSL says %s", cas[i].letter, in_file ? in_file : "none",
               in_folder ? in_folder : "none", X509_verify_cert_error_string(expected));
    xm_tls_ctx_release(alone);
  }
  xm_tls_ctx_release(ours);
  xm_tls_ctx_release(backwards);
  SSL_CTX_free(theirs);
}

static void try_row(const char *in_file, const char *in_folder, const char *good, bool is_ours) {
  clean();
  if (in_file) write_file(in_file);
  if (in_folder) write_folder(in_folder);
  setenv("SSL_CERT_FILE", file, 1);
  setenv("SSL_CERT_DIR", certs, 1);
  check_row(in_file, in_folder, good, is_ours);
}

/* 'g' and 'e' validate the same certificates. Of two with the same name, OpenSSL takes the first that is valid. OpenSSL
 * 3.0 reads DER in a directory, and 3.5 doesn't: there the result is only compared. */
static void trust_does_not_depend_on_file_or_directory(void **state) {
  static const struct {
    const char *in_file, *in_folder, *good;
  } rows[] = {
      {NULL, NULL, ""},       {"a", NULL, "a"},       {NULL, "a", "a"},      {"a", "a", "a"},        {"a", "b", "ab"},
      {"b", "a", "ab"},       {"a", "", "a"},         {"a", "-b", "a"},      {NULL, "-a", ""},       {"abgow", NULL, "abgew"},
      {NULL, "abgw", "abgew"}, {"w", "a", "aw"},      {"a", "w", "aw"},      {"b", "Da", NULL},      {"ab", "Dw", NULL},
      /* the same name, of which one or the other is good: if the file has it, the directory isn't searched */
      {"g", "e", "ge"},       {"e", "g", ""},         {"ge", NULL, "ge"},    {"eg", NULL, "ge"},     {NULL, "ge", "ge"},
      {NULL, "eg", "ge"},     {"o", "g", "o"},        {"g", "o", "ge"},      {"go", NULL, "ge"},     {"og", NULL, "o"},
      {"e", "o", ""},         {"o", "e", "o"},        {"eo", "g", "o"},      {NULL, "e", ""},        {"e", NULL, ""},
      {"ae", "bg", "ab"},     {"aa", "a", "a"},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++)
    try_row(rows[i].in_file, rows[i].in_folder, rows[i].good, rows[i].in_file != NULL);
}

static void a_file_is_taken_as_openssl_takes_it(void **state) {
  static const struct {
    const char *in_file, *good;
    bool is_ours; /* or is it left to OpenSSL? */
  } rows[] = {
      {"#a#b#", "ab", true},  {"\\a#b", "ab", true}, {"", "", false},       {"#", "", false},       {"1a", "a", false},
      {"a1b", "ab", false},   {"aTb", "ab", false},  {"aMb", "a", false},   {"aK", "a", false},     {"aC", "a", false},
      {"aU", "a", false},     {"aL", "a", false},    {"PaPb", "ab", false}, {"aX0", "", false},     {"aX1", "", false},
      {"aX2", "", false},     {"X1a", "", false},    {"aE", "", false},     {"Ea", "", false},      {"a0", "a", false},
      {"0a", "", false},     {"aH", "", false},     {"aSb", "ab", false},  {"a/", "", false},      {"aY", "", false},
      {"ab/", "", false},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) try_row(rows[i].in_file, NULL, rows[i].good, rows[i].is_ours);
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    char good[8];
    snprintf(good, sizeof good, "w%s", rows[i].good);
    try_row(rows[i].in_file, "w", good, rows[i].is_ours);
  }
}

/* Each of the two variables counts on its own; if one isn't set, the system's path is used. */
static void each_variable_counts_by_itself(void **state) {
  char two[128];
  (void)state;
  clean();
  write_file("a");
  write_folder("b");
  setenv("SSL_CERT_FILE", file, 1);
  unsetenv("SSL_CERT_DIR");
  check_row("a", NULL, "a", true);
  setenv("SSL_CERT_DIR", certs, 1);
  unsetenv("SSL_CERT_FILE");
  check_row(NULL, "b", "b", WHATEVER);
  snprintf(two, sizeof two, "/tmp/there-is-no-such-folder:%s", certs); /* a list, which OSSL_STORE can't read */
  setenv("SSL_CERT_DIR", two, 1);
  check_row(NULL, "b", "b", WHATEVER);
  unsetenv("SSL_CERT_DIR");
  check_row(NULL, NULL, "", WHATEVER);
  setenv("SSL_CERT_FILE", "", 1);
  setenv("SSL_CERT_DIR", "", 1);
  check_row(NULL, NULL, "", false);
  setenv("SSL_CERT_FILE", folder, 1);
  check_row(NULL, NULL, "", false);
  setenv("SSL_CERT_FILE", "/dev/null", 1);
  check_row(NULL, NULL, "", false);
}

/* The file is read when the context is made; later changes have no effect. */
static void a_file_that_changes_later_changes_nothing(void **state) {
  xm_tls_ctx *ctx;
  (void)state;
  clean();
  write_file("a");
  setenv("SSL_CERT_FILE", file, 1);
  setenv("SSL_CERT_DIR", certs, 1);
  ctx = new_ctx();
  write_file("b");
  assert_int_equal(verdict(ctx->ssl, ca_of('a')->leaf), X509_V_OK);
  assert_int_not_equal(verdict(ctx->ssl, ca_of('b')->leaf), X509_V_OK);
  xm_tls_ctx_release(ctx);
}

static void cas_that_the_user_names_replace_the_systems(void **state) {
  const xm_tls_options by_file = {.ca_file = file}, by_dir = {.ca_dir = certs};
  char path[64];
  xm_tls_ctx *ctx;
  (void)state;
  clean();
  write_file("a");
  write_folder("b");
  snprintf(path, sizeof path, "%s", file);
  setenv("SSL_CERT_FILE", path, 1);
  setenv("SSL_CERT_DIR", certs, 1);
  ctx = xm_tls_ctx_new(&by_file, NULL);
  assert_int_equal(verdict(ctx->ssl, ca_of('a')->leaf), X509_V_OK);
  assert_int_not_equal(verdict(ctx->ssl, ca_of('b')->leaf), X509_V_OK);
  xm_tls_ctx_release(ctx);
  ctx = xm_tls_ctx_new(&by_dir, NULL);
  assert_int_not_equal(verdict(ctx->ssl, ca_of('a')->leaf), X509_V_OK);
  assert_int_equal(verdict(ctx->ssl, ca_of('b')->leaf), X509_V_OK);
  xm_tls_ctx_release(ctx);
}

/* Two verifications need the same CA: the second finds it in the store. */
static void it_is_read_once(void **state) {
  xm_tls_ctx *ctx;
  X509_STORE *store;
  int i;
  (void)state;
  clean();
  write_file("abgeow");
  setenv("SSL_CERT_FILE", file, 1);
  setenv("SSL_CERT_DIR", certs, 1);
  ctx = new_ctx();
  store = SSL_CTX_get_cert_store(ctx->ssl);
  assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(store)), 0);
  for (i = 0; i < 3; i++) {
    assert_int_equal(verdict(ctx->ssl, ca_of('a')->leaf), X509_V_OK);
    assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(store)), 1);
  }
  assert_int_equal(verdict(ctx->ssl, ca_of('g')->leaf), X509_V_OK);
  assert_int_equal(sk_X509_OBJECT_num(X509_STORE_get0_objects(store)), 4);
  xm_tls_ctx_release(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(trust_does_not_depend_on_file_or_directory),
      cmocka_unit_test(a_file_is_taken_as_openssl_takes_it),
      cmocka_unit_test(each_variable_counts_by_itself),
      cmocka_unit_test(a_file_that_changes_later_changes_nothing),
      cmocka_unit_test(cas_that_the_user_names_replace_the_systems),
      cmocka_unit_test(it_is_read_once),
  };
  return cmocka_run_group_tests(tests, make_cas, free_cas);
}
