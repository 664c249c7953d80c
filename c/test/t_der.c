/* der: whatever is done to a certificate's bytes, what der accepts OpenSSL accepts, too; and two names that are equal
 * by OpenSSL's rules have the same hash. */
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

#include "certs.h"
#include "der.h"

enum { MOST = 4096, ROUNDS = 4000 };

typedef struct bytes {
  unsigned char at[MOST];
  size_t n;
} bytes;

/* Certificates of several kinds. */

static X509 *plain(void) {
  return new_cert("plain", NULL, 0, -3600, 3600);
}

static X509 *for_long(void) { /* GeneralizedTime, from 2050 on; a long of 32 bits has 68 years */
  return new_cert("G\xC3\xBCltig  bis 2085", NULL, 0, -3600, 60L * 365 * 24 * 3600);
}

static X509 *with_extensions(void) {
  const san names[] = {{SAN_DNS, "a.example", 0}, {SAN_XMPP, "b.example", 0}};
  X509 *cert = new_cert("extended", names, 2, -3600, 3600);
  add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
  return cert;
}

static X509 *with_a_long_name(void) {
  X509 *cert = new_cert("first", NULL, 0, -3600, 3600);
  X509_NAME *name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(name, "C", MBSTRING_ASC, (const unsigned char *)"AT", -1, -1, 0);
  X509_NAME_add_entry_by_txt(name, "OU", V_ASN1_T61STRING, (const unsigned char *)"\xFC", -1, -1, 0);
  X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC, (const unsigned char *)"in the same set", -1, -1, -1);
  X509_NAME_add_entry_by_txt(name, "emailAddress", V_ASN1_IA5STRING, (const unsigned char *)"a@b", -1, -1, 0);
  return cert;
}

static X509 *of_version_1(void) {
  X509 *cert = new_cert("old", NULL, 0, -3600, 3600);
  X509_set_version(cert, 0);
  return cert;
}

static X509 *(*const kinds[])(void) = {plain, for_long, with_extensions, with_a_long_name, of_version_1};
enum { KINDS = sizeof kinds / sizeof *kinds };

static bytes make(int kind, bool rsa) {
  X509 *cert = kinds[kind]();
  EVP_PKEY *key = rsa ? EVP_RSA_gen(1024) : new_key();
  unsigned char *der = NULL;
  bytes b;
  int n;
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 0x123);
  sign_cert(cert, key, NULL, NULL);
  n = i2d_X509(cert, &der);
  assert_true(n >= 100 && n <= MOST);
  b.n = (size_t)n;
  memcpy(b.at, der, b.n);
  OPENSSL_free(der);
  EVP_PKEY_free(key);
  X509_free(cert);
  return b;
}

static bool is_certificate(const bytes *b, xm_der *subject) {
  return xm_der_certificate((xm_der){b->at, b->n}, subject);
}

/* OpenSSL accepts it, with no bytes left over. `name` gets its subject. */
static bool is_openssls(const bytes *b, X509_NAME **name) {
  const unsigned char *p = b->at;
  X509 *cert = d2i_X509(NULL, &p, (long)b->n);
  bool is = cert && p == b->at + b->n;
  *name = is ? X509_NAME_dup(X509_get_subject_name(cert)) : NULL;
  X509_free(cert);
  return is;
}

static void check_subject(xm_der subject, const X509_NAME *expected) {
  const unsigned char *p = subject.at;
  X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)subject.n);
  assert_non_null(name);
  assert_ptr_equal(p, subject.at + subject.n);
  assert_int_equal(X509_NAME_cmp(name, expected), 0);
  X509_NAME_free(name);
}

static void every_kind_is_a_certificate(void **state) {
  int kind;
  (void)state;
  for (kind = 0; kind < 2 * KINDS; kind++) {
    bytes b = make(kind / 2, kind % 2);
    xm_der subject;
    X509_NAME *name;
    assert_true(is_certificate(&b, &subject));
    assert_true(is_openssls(&b, &name));
    check_subject(subject, name);
    X509_NAME_free(name);
  }
}

static void cut_or_longer_input_is_no_certificate(void **state) {
  bytes b = make(2, false);
  xm_der subject;
  size_t n = b.n;
  (void)state;
  for (b.n = 0; b.n < n; b.n++) assert_false(is_certificate(&b, &subject));
  b.n = n + 1;
  b.at[n] = 0;
  assert_false(is_certificate(&b, &subject));
}

/* Any byte, but those that have a meaning in DER more often. */
static unsigned char any_byte(void) {
  static const unsigned char some[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1E,
                                       0x24, 0x30, 0x31, 0x7F, 0x80, 0x81, 0x82, 0x83, 0xA0, 0xA1, 0xA3, 0xFF};
  return rand() % 2 ? some[rand() % (int)sizeof some] : (unsigned char)rand();
}

static void spoil(bytes *b) {
  size_t at = (size_t)rand() % b->n;
  switch (rand() % 6) {
    case 0: case 1: case 2: b->at[at] = any_byte(); break;
    case 3: b->at[at] += rand() % 2 ? 1 : 255; break;
    case 4: memmove(b->at + at, b->at + at + 1, b->n - at - 1); b->n--; break;
    default: if (b->n < MOST) memmove(b->at + at + 1, b->at + at, b->n - at), b->at[at] = any_byte(), b->n++;
  }
}

/* Of each kind, with random changes anywhere: what we accept OpenSSL accepts, too. (It accepts more.) */
static void openssl_accepts_what_we_accept(void **state) {
  long taken = 0, refused = 0;
  int kind, i, times;
  (void)state;
  srand(17);
  for (kind = 0; kind < 2 * KINDS; kind++) {
    const bytes whole = make(kind / 2, kind % 2);
    for (i = 0; i < ROUNDS; i++) {
      bytes b = whole;
      xm_der subject;
      X509_NAME *name;
      for (times = rand() % 2; times >= 0; times--) spoil(&b);
      if (!is_certificate(&b, &subject)) {
        refused++;
        continue;
      }
      taken++;
      assert_true(is_openssls(&b, &name));
      check_subject(subject, name);
      X509_NAME_free(name);
    }
  }
  assert_true(taken > KINDS * ROUNDS / 4 && refused > KINDS * ROUNDS / 4);
}

/* The same with each byte in turn, with each of its bits flipped, and all of them. */
static void openssl_accepts_it_with_any_byte_changed(void **state) {
  static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF};
  bytes b = make(3, true);
  size_t at, i;
  (void)state;
  for (at = 0; at < b.n; at++) {
    for (i = 0; i < sizeof masks; i++) {
      xm_der subject;
      X509_NAME *name = NULL;
      b.at[at] ^= masks[i];
      if (is_certificate(&b, &subject)) assert_true(is_openssls(&b, &name));
      X509_NAME_free(name);
      b.at[at] ^= masks[i];
    }
  }
}

/* OpenSSL refuses a BOOLEAN without a byte, so der must, too. */
static void a_boolean_has_one_byte(void **state) {
  static const char was[] = "\x01\x01\xFF\x04\x05\x30\x03\x01\x01\xFF", is[] = "\x01\x00\x04\x06\x30\x03\x01\x01\xFF\x00";
  bytes b = make(2, false);
  unsigned char *at = memmem(b.at, b.n, was, 10); /* basicConstraints */
  xm_der subject;
  X509_NAME *name;
  (void)state;
  assert_non_null(at);
  memcpy(at, is, 10);
  assert_false(is_openssls(&b, &name));
  assert_false(is_certificate(&b, &subject));
}

/* Names and their hashes. */

static X509_NAME *new_name(int type, const char *text) {
  X509_NAME *name = X509_NAME_new();
  ASN1_STRING *s = ASN1_STRING_type_new(type);
  X509_NAME_ENTRY *e = NULL;
  ASN1_STRING_set(s, text, (int)strlen(text));
  e = X509_NAME_ENTRY_create_by_NID(NULL, NID_commonName, type, ASN1_STRING_get0_data(s), ASN1_STRING_length(s));
  assert_non_null(e);
  assert_int_equal(X509_NAME_add_entry(name, e, -1, 0), 1);
  X509_NAME_ENTRY_free(e);
  ASN1_STRING_free(s);
  return name;
}

static bool hash_of(const X509_NAME *name, uint32_t *hash) {
  xm_der der;
  assert_int_equal(X509_NAME_get0_der(name, &der.at, &der.n), 1);
  return xm_der_hash_name(der, hash);
}

static void equal_names_have_equal_hashes(void **state) {
  static const struct {
    int type[2];
    const char *text[2];
  } rows[] = {
      {{V_ASN1_UTF8STRING, V_ASN1_UTF8STRING}, {"The CA", "the ca"}},
      {{V_ASN1_UTF8STRING, V_ASN1_PRINTABLESTRING}, {"  The   CA 1 ", "THE CA 1"}},
      {{V_ASN1_UTF8STRING, V_ASN1_IA5STRING}, {"a@b.c", "A@B.C"}},
      {{V_ASN1_UTF8STRING, V_ASN1_T61STRING}, {"\xC3\xBC" "ber", "\xFC" "ber"}},
      {{V_ASN1_UTF8STRING, V_ASN1_UTF8STRING}, {"W\xC3\xBCrzel \xE2\x82\xAC", "w\xC3\xBCrzel \xE2\x82\xAC"}},
  };
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    X509_NAME *a = new_name(rows[i].type[0], rows[i].text[0]), *b = new_name(rows[i].type[1], rows[i].text[1]);
    uint32_t of_a, of_b;
    assert_int_equal(X509_NAME_cmp(a, b), 0);
    assert_true(hash_of(a, &of_a) && hash_of(b, &of_b));
    assert_int_equal(of_a, of_b);
    X509_NAME_free(a);
    X509_NAME_free(b);
  }
}

static void different_names_have_different_hashes(void **state) {
  static const char *const names[] = {"", "a", "b", "ab", "ba", "a1", "a2", "The CA", "The CB", "The CA 2"};
  uint32_t hashes[sizeof names / sizeof *names];
  size_t i, j;
  (void)state;
  for (i = 0; i < sizeof names / sizeof *names; i++) {
    X509_NAME *name = new_name(V_ASN1_UTF8STRING, names[i]);
    assert_true(hash_of(name, &hashes[i]));
    for (j = 0; j < i; j++) assert_int_not_equal(hashes[i], hashes[j]);
    X509_NAME_free(name);
  }
}

/* A name spelled as BMPString has no hash. "ab" is equal to the UTF8String, but takes two bytes a letter. */
static void a_name_in_bmpstring_has_no_hash(void **state) {
  static const unsigned char bmp[] = {0, 'a', 0, 'b'};
  X509_NAME *name = X509_NAME_new(), *same = new_name(V_ASN1_UTF8STRING, "ab");
  uint32_t hash;
  (void)state;
  X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_BMPSTRING, bmp, sizeof bmp, -1, 0);
  assert_int_equal(X509_NAME_cmp(name, same), 0);
  assert_false(hash_of(name, &hash));
  X509_NAME_free(name);
  X509_NAME_free(same);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind_is_a_certificate),
      cmocka_unit_test(cut_or_longer_input_is_no_certificate),
      cmocka_unit_test(openssl_accepts_what_we_accept),
      cmocka_unit_test(openssl_accepts_it_with_any_byte_changed),
      cmocka_unit_test(a_boolean_has_one_byte),
      cmocka_unit_test(equal_names_have_equal_hashes),
      cmocka_unit_test(different_names_have_different_hashes),
      cmocka_unit_test(a_name_in_bmpstring_has_no_hash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
