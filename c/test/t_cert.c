/* cert: which certificate is valid for which name: by dNSName with wildcards, SRVName, xmppAddr and iPAddress; never by
 * the common name. The certificates are made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#include "cert.h"

#include "certs.h"
#include "foreign.h"

#define LENGTH(a) (int)(sizeof(a) / sizeof *(a))

static bool fits(const san *names, int n, const char *cn, const char *name) {
  X509 *cert = new_cert(cn, names, n, 0, 3600);
  bool yes = xm_cert_is_for(cert, name);
  X509_free(cert);
  return yes;
}

static void wildcards_are_whole_left_labels(void **state) {
  static const struct {
    const char *pattern, *name;
    bool covers;
  } rows[] = {{"xmpp.example", "xmpp.example", true},
              {"XMPP.Example", "xmpp.example", true},
              {"xmpp.example.", "xmpp.example", true},
              {"xmpp.example", "xmpp.example.", true},
              {"xmpp.example..", "xmpp.example", false},
              {"xn--mller-kva.example", "XN--mller-kva.example", true},
              {"XMPP.ISTANBUL.EXAMPLE", "xmpp.istanbul.example", true},
              {"*.istanbul.example", "xmpp.ISTANBUL.example", true},
              {"xmpp.example", "xmpp.example2", false},
              {"xmpp.example", "a.xmpp.example", false},
              {"a.xmpp.example", "xmpp.example", false},
              {"", "xmpp.example", false},
              {".", "xmpp.example", false},
              {"", "", false},
              {"localhost", "localhost", true},
              {"*.xmpp.example", "a.xmpp.example", true},
              {"*.xmpp.example", "xn--mller-kva.xmpp.example", true},
              {"*.XMPP.example", "A.xmpp.example.", true},
              {"*.xmpp.example.", "a.xmpp.example", true},
              {"*.xmpp.example", "xmpp.example", false},
              {"*.xmpp.example", ".xmpp.example", false},
              {"*.xmpp.example", "a.b.xmpp.example", false},
              {"*.xmpp.example", "axmpp.example", false},
              {"*.example", "xmpp.example", false},
              {"*.example.", "xmpp.example", false},
              {"*", "localhost", false},
              {"*.", "localhost", false},
              {"*", "xmpp.example", false},
              {"*.*.example", "a.b.example", false},
              {"**.xmpp.example", "a.xmpp.example", false},
              {"a*.xmpp.example", "ab.xmpp.example", false},
              {"*a.xmpp.example", "ba.xmpp.example", false},
              {"xn--*.xmpp.example", "xn--a.xmpp.example", false},
              {"a.*.example", "a.b.example", false},
              {"xmpp.*", "xmpp.example", false},
              {"*xmpp.example", "xmpp.example", false}};
  int i;
  (void)state;
  for (i = 0; i < LENGTH(rows); i++) {
    const san dns = {SAN_DNS, rows[i].pattern, 0};
    if (xm_cert_dns_matches(rows[i].pattern, strlen(rows[i].pattern), rows[i].name) != rows[i].covers)
      fail_msg("%s for %s", rows[i].pattern, rows[i].name);
    if (*rows[i].pattern && *rows[i].name) assert_int_equal(fits(&dns, 1, "x", rows[i].name), rows[i].covers);
  }
}

static void other_names_have_their_forms(void **state) {
  static const struct {
    san name;
    bool fits;
  } rows[] = {{{SAN_SRV, "_xmpp-client.xmpp.example", 0}, true},
              {{SAN_SRV, "_XMPP-Client.XMPP.example.", 0}, true},
              {{SAN_SRV, "_xmpp-server.xmpp.example", 0}, false},
              {{SAN_SRV, "_xmpps-client.xmpp.example", 0}, false},
              {{SAN_SRV, "xmpp.example", 0}, false},
              {{SAN_SRV, "_xmpp-client.", 0}, false},
              {{SAN_SRV, "_xmpp-client.*.example", 0}, false},
              {{SAN_SRV, "_xmpp-client.a.xmpp.example", 0}, false},
              {{SAN_SRV, "_xmpp-client.xmpp.example\0.evil.example", 39}, false},
              {{SAN_SRV_UTF8, "_xmpp-client.xmpp.example", 0}, false},
              {{SAN_XMPP, "xmpp.example", 0}, true},
              {{SAN_XMPP, "XMPP.example", 0}, true},
              {{SAN_XMPP, "alice@xmpp.example", 0}, false},
              {{SAN_XMPP, "xmpp.example/res", 0}, false},
              {{SAN_XMPP, "*.example", 0}, false},
              {{SAN_XMPP, "xmpp.example\0", 13}, false},
              {{SAN_XMPP, "xmpp\0example", 12}, false},
              {{SAN_XMPP_IA5, "xmpp.example", 0}, false},
              {{SAN_EMAIL, "xmpp.example", 0}, false},
              {{SAN_URI, "xmpp.example", 0}, false},
              {{SAN_URI, "xmpp:xmpp.example", 0}, false},
              {{SAN_IP, "xmpp.example", 0}, false},
              {{SAN_DNS, "xmpp.example\0.evil.example", 26}, false},
              {{SAN_DNS, "xmpp.example\0", 13}, false},
              {{SAN_DNS, "\0xmpp.example", 13}, false},
              {{SAN_DNS, "*.xmpp\0example", 14}, false}};
  int i;
  (void)state;
  for (i = 0; i < LENGTH(rows); i++)
    if (fits(&rows[i].name, 1, "x", "xmpp.example") != rows[i].fits) fail_msg("row %d: %s", i, rows[i].name.value);
}

/* The locale is the program's choice: in Turkish, strcasecmp doesn't match "I" with "i". */
static void a_locale_changes_nothing(void **state) {
  static const san srv = {SAN_SRV, "_XMPP-CLIENT.ISTANBUL.example", 0}, xmpp = {SAN_XMPP, "ISTANBUL.example", 0};
  go_abroad("tr_TR");
  wildcards_are_whole_left_labels(state);
  other_names_have_their_forms(state);
  assert_true(fits(&srv, 1, "x", "istanbul.example"));
  assert_true(fits(&xmpp, 1, "x", "istanbul.example"));
  come_home();
}

static void the_common_name_is_never_looked_at(void **state) {
  const san foreign = {SAN_XMPP, "other.example", 0};
  (void)state;
  assert_false(fits(NULL, 0, "xmpp.example", "xmpp.example"));
  assert_false(fits(&foreign, 1, "xmpp.example", "xmpp.example"));
  assert_false(fits(NULL, 0, "192.0.2.1", "192.0.2.1"));
}

static void addresses_are_addresses(void **state) {
  static const char v6[] = "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\1",
                    mapped[] = "\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\0\2\1";
  const san v4_name = {SAN_IP, "\xC0\0\2\1", 4}, v6_name = {SAN_IP, v6, 16}, mapped_name = {SAN_IP, mapped, 16};
  const san text[] = {
      {SAN_DNS, "192.0.2.1", 0},   {SAN_DNS, "2001:db8::1", 0}, {SAN_XMPP, "192.0.2.1", 0},
      {SAN_DNS, "*.0.2.1", 0},     {SAN_IP, "192.0.2.1", 0},    {SAN_SRV, "_xmpp-client.192.0.2.1", 0},
      {SAN_IP, "\xC0\0\2\1\0", 5}, {SAN_IP, "\xC0\0\2", 3},     {SAN_IP, "\xC0\0\2\1\xFF\xFF\xFF\xFF", 8}};
  (void)state;
  assert_true(fits(&v4_name, 1, "x", "192.0.2.1"));
  assert_false(fits(&v4_name, 1, "x", "192.0.2.2"));
  assert_true(fits(&v6_name, 1, "x", "2001:db8::1"));
  assert_true(fits(&v6_name, 1, "x", "2001:0DB8:0::0:1"));
  assert_false(fits(&v6_name, 1, "x", "2001:db8::2"));
  assert_false(fits(&mapped_name, 1, "x", "192.0.2.1"));
  assert_false(fits(text, LENGTH(text), "x", "192.0.2.1"));
  assert_false(fits(text, LENGTH(text), "x", "2001:db8::1"));
  assert_false(fits(&v4_name, 1, "x", "xmpp.example"));
}

static void any_of_many_names_will_do(void **state) {
  enum { MANY = 10000 };
  static san names[MANY + 1];
  int i;
  (void)state;
  for (i = 0; i < MANY; i++)
    names[i] = (san){i % 3 == 0 ? SAN_DNS : i % 3 == 1 ? SAN_XMPP : SAN_SRV, "other.example", 0};
  assert_false(fits(names, MANY, "x", "xmpp.example"));
  names[MANY] = (san){SAN_DNS, "xmpp.example", 0};
  assert_true(fits(names, MANY + 1, "x", "xmpp.example"));
}

/* Two subjectAltName extensions count as none, since neither says which of them is valid. */
static void two_name_extensions_count_as_none(void **state) {
  const san dns = {SAN_DNS, "xmpp.example", 0};
  X509 *cert = new_cert("x", &dns, 1, 0, 3600);
  char names[100];
  (void)state;
  add_extension(cert, NID_subject_alt_name, "DNS:evil.example");
  assert_false(xm_cert_is_for(cert, "xmpp.example"));
  assert_false(xm_cert_is_for(cert, "evil.example"));
  xm_cert_list_names(cert, names, sizeof names);
  assert_string_equal(names, "no names at all");
  X509_free(cert);
}

/* A chain of a certificate and three CAs; the middle one has these name constraints (NULL: none; "": garbage). */
static bool lets_name(const char *constraints, const char *name) {
  static const unsigned char garbage[] = {0x30, 0x02, 0xA0, 0x7F};
  X509 *certs[4];
  STACK_OF(X509) *chain = sk_X509_new_null();
  bool may;
  int i;
  for (i = 0; i < 4; i++) {
    certs[i] = new_cert("x", NULL, 0, 0, 3600);
    sk_X509_push(chain, certs[i]);
  }
  if (constraints && *constraints) add_extension(certs[2], NID_name_constraints, constraints);
  if (constraints && !*constraints) {
    ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(bytes, garbage, sizeof garbage);
    X509_EXTENSION *e = X509_EXTENSION_create_by_NID(NULL, NID_name_constraints, 1, bytes);
    X509_add_ext(certs[2], e, -1);
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(bytes);
  }
  may = xm_cert_may_name(chain, name);
  sk_X509_pop_free(chain, X509_free);
  return may;
}

static void a_ca_is_good_for_its_own_names(void **state) {
  static const struct {
    const char *constraints, *name;
    bool may;
  } rows[] = {{NULL, "xmpp.example", true},
              {"", "xmpp.example", false},
              {"permitted;DNS:example", "xmpp.example", true},
              {"permitted;DNS:xmpp.example", "xmpp.example", true},
              {"permitted;DNS:XMPP.Example", "xmpp.eXAMPLE", true},
              {"permitted;DNS:xmpp.example", "a.b.xmpp.example", true},
              {"permitted;DNS:xmpp.example", "xmpp.example.", true},
              {"permitted;DNS:xmpp.example.", "xmpp.example", true},
              {"permitted;DNS:xmpp.example", "axmpp.example", false},
              {"permitted;DNS:xmpp.example", "example", false},
              {"permitted;DNS:a.xmpp.example", "xmpp.example", false},
              {"permitted;DNS:corp.example", "xmpp.example", false},
              {"permitted;DNS:.xmpp.example", "a.xmpp.example", true},
              {"permitted;DNS:.xmpp.example", "xmpp.example", false},
              {"permitted;DNS:corp.example,permitted;DNS:xmpp.example", "xmpp.example", true},
              {"permitted;DNS:xmpp.example,excluded;DNS:a.xmpp.example", "a.xmpp.example", false},
              {"permitted;DNS:xmpp.example,excluded;DNS:a.xmpp.example", "b.xmpp.example", true},
              {"excluded;DNS:xmpp.example", "xmpp.example", false},
              {"excluded;DNS:xmpp.example.", "XMPP.example", false},
              {"excluded;DNS:example", "xmpp.example", false},
              {"excluded;DNS:corp.example", "xmpp.example", true},
              {"excluded;DNS:corp.example,excluded;DNS:xmpp.example", "xmpp.example", false},
              {"permitted;email:corp.example", "xmpp.example", true}, /* doesn't constrain host names */
              {"excluded;email:xmpp.example", "xmpp.example", true},
              {"permitted;IP:192.0.2.0/255.255.255.0", "xmpp.example", true}};
  X509 *leaf = new_cert("x", NULL, 0, 0, 3600);
  STACK_OF(X509) *alone = sk_X509_new_null();
  int i;
  (void)state;
  for (i = 0; i < LENGTH(rows); i++)
    if (lets_name(rows[i].constraints, rows[i].name) != rows[i].may)
      fail_msg("%s: %s", rows[i].constraints, rows[i].name);
  assert_true(xm_cert_may_name(NULL, "xmpp.example"));
  add_extension(leaf, NID_name_constraints, "permitted;DNS:corp.example"); /* not a CA's, so they constrain nothing */
  sk_X509_push(alone, leaf);
  assert_true(xm_cert_may_name(alone, "xmpp.example"));
  sk_X509_pop_free(alone, X509_free);
}

static void names_are_listed_for_people(void **state) {
  static const char v6[] = "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\1";
  const san names[] = {{SAN_DNS, "*.a.example", 0},
                       {SAN_EMAIL, "who@cares", 0},
                       {SAN_XMPP, "b\xC3\xA9.example", 0},
                       {SAN_SRV, "_xmpp-client.c.example", 0},
                       {SAN_IP, "\xC0\0\2\1", 4},
                       {SAN_IP, v6, 16},
                       {SAN_IP, "\xC0\0\2", 3},
                       {SAN_DNS, "d\0\n\x1B[2J", 7}};
  X509 *cert = new_cert("x", names, LENGTH(names), 0, 3600), *bare = new_cert("x", NULL, 0, 0, 3600);
  char all[200], few[32], none[32];
  (void)state;
  xm_cert_list_names(cert, all, sizeof all);
  assert_string_equal(all, "*.a.example, b??.example, _xmpp-client.c.example, 192.0.2.1, 2001:db8::1, d???[2J");
  xm_cert_list_names(cert, few, sizeof few);
  assert_true(strncmp(few, "*.a.example, b??.ex", 11) == 0 && strlen(few) < sizeof few);
  xm_cert_list_names(bare, none, sizeof none);
  assert_string_equal(none, "no names at all");
  X509_free(cert);
  X509_free(bare);
}

/* XEP-0178: a client certificate that also names somebody else. */
static void other_addresses_are_noticed(void **state) {
  const san names[] = {
      {SAN_XMPP, "alice@xmpp.example", 0}, {SAN_DNS, "other.example", 0}, {SAN_XMPP, "bob@xmpp.example", 0}};
  X509 *one = new_cert("x", names, 2, 0, 3600), *two = new_cert("x", names, 3, 0, 3600);
  (void)state;
  assert_false(xm_cert_names_others(one, "alice@xmpp.example", 18));
  assert_true(xm_cert_names_others(one, "alice@xmpp.exampl", 17));
  assert_true(xm_cert_names_others(one, "bob@xmpp.example", 16));
  assert_true(xm_cert_names_others(two, "alice@xmpp.example", 18));
  X509_free(one);
  X509_free(two);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wildcards_are_whole_left_labels),    cmocka_unit_test(other_names_have_their_forms),
      cmocka_unit_test(the_common_name_is_never_looked_at), cmocka_unit_test(addresses_are_addresses),
      cmocka_unit_test(any_of_many_names_will_do),          cmocka_unit_test(two_name_extensions_count_as_none),
      cmocka_unit_test(a_ca_is_good_for_its_own_names),
      cmocka_unit_test(names_are_listed_for_people),        cmocka_unit_test(other_addresses_are_noticed),
      cmocka_unit_test(a_locale_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
