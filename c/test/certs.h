/* certs: makes certificates for a test, with OpenSSL's API. Include cmocka.h before it. */
#ifndef CERTS_H
#define CERTS_H

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

/* A subject alternative name. */
typedef struct san {
  enum { SAN_DNS, SAN_SRV, SAN_XMPP, SAN_IP, SAN_EMAIL, SAN_URI, SAN_SRV_UTF8, SAN_XMPP_IA5 } kind;
  const char *value; /* SAN_IP: the address's bytes */
  int n;             /* length; 0: value ends with a NUL */
} san;

static inline ASN1_STRING *string_of(int type, const san *s) {
  ASN1_STRING *a = ASN1_STRING_type_new(type);
  assert_int_equal(ASN1_STRING_set(a, s->value, s->n ? s->n : (int)strlen(s->value)), 1);
  return a;
}

static inline void set_other(GENERAL_NAME *g, const char *oid, int type, const san *s) {
  ASN1_TYPE *value = ASN1_TYPE_new();
  ASN1_TYPE_set(value, type, string_of(type, s));
  assert_int_equal(GENERAL_NAME_set0_othername(g, OBJ_txt2obj(oid, 1), value), 1);
}

static inline GENERAL_NAME *name_of_san(const san *s) {
  static const char srv[] = "1.3.6.1.5.5.7.8.7", xmpp[] = "1.3.6.1.5.5.7.8.5";
  GENERAL_NAME *g = GENERAL_NAME_new();
  switch (s->kind) {
    case SAN_DNS: GENERAL_NAME_set0_value(g, GEN_DNS, string_of(V_ASN1_IA5STRING, s)); break;
    case SAN_EMAIL: GENERAL_NAME_set0_value(g, GEN_EMAIL, string_of(V_ASN1_IA5STRING, s)); break;
    case SAN_URI: GENERAL_NAME_set0_value(g, GEN_URI, string_of(V_ASN1_IA5STRING, s)); break;
    case SAN_IP: GENERAL_NAME_set0_value(g, GEN_IPADD, string_of(V_ASN1_OCTET_STRING, s)); break;
    case SAN_SRV: set_other(g, srv, V_ASN1_IA5STRING, s); break;
    case SAN_SRV_UTF8: set_other(g, srv, V_ASN1_UTF8STRING, s); break;
    case SAN_XMPP: set_other(g, xmpp, V_ASN1_UTF8STRING, s); break;
    case SAN_XMPP_IA5: set_other(g, xmpp, V_ASN1_IA5STRING, s); break;
  }
  return g;
}

/* A certificate with these names, without key and signature; valid from `from` to `until` seconds from now. */
static inline X509 *new_cert(const char *cn, const san *names, int count, long from, long until) {
  X509 *cert = X509_new();
  GENERAL_NAMES *all = count ? GENERAL_NAMES_new() : NULL;
  int i;
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), from);
  X509_gmtime_adj(X509_getm_notAfter(cert), until);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
  for (i = 0; i < count; i++) sk_GENERAL_NAME_push(all, name_of_san(&names[i]));
  if (all) assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, 0), 1);
  GENERAL_NAMES_free(all);
  return cert;
}

static inline void add_extension(X509 *cert, int nid, const char *value) {
  X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
  assert_non_null(e);
  X509_add_ext(cert, e, -1);
  X509_EXTENSION_free(e);
}

static inline EVP_PKEY *new_key(void) {
  return EVP_EC_gen("P-256");
}

/* Signs the certificate by `ca` with its key; NULL: it is self-signed. */
static inline void sign_cert(X509 *cert, EVP_PKEY *key, const X509 *ca, EVP_PKEY *ca_key) {
  X509_set_pubkey(cert, key);
  X509_set_issuer_name(cert, X509_get_subject_name(ca ? ca : cert));
  assert_true(X509_sign(cert, ca_key ? ca_key : key, EVP_sha256()) > 0);
}

#endif
