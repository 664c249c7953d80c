/* libFuzzer: any bytes as a certificate, as the content of its subjectAltName, as a list of names, or as a pattern and
 * a name. Who a certificate is valid for is decided here a second time, only by RFC 6120 13.7.1 and RFC 9525.
 *
 * Input: a byte that says how to read it, then the domain or address that is asked for, up to a NUL, then the rest. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <strings.h>

#include "cert.h"
#include "fuzz.h"

#define OID_XMPP_ADDR "1.3.6.1.5.5.7.8.5"
#define OID_SRV_NAME "1.3.6.1.5.5.7.8.7"

/* The domain or address that is asked for. */
typedef struct question {
  char name[300];
  unsigned char ip[16];
  size_t ip_len; /* 0: a domain */
} question;

static question read_question(input *in) {
  question q = {0};
  size_t n = 0;
  while (in->n && *in->at && n < sizeof q.name - 1) q.name[n++] = (char)take(in);
  take(in);
  q.ip_len = inet_pton(AF_INET, q.name, q.ip) == 1 ? 4 : inet_pton(AF_INET6, q.name, q.ip) == 1 ? 16 : 0;
  return q;
}

/* The rules, implemented a second time */

static bool is_domain(const char *s, size_t n, const char *name) {
  size_t m = strlen(name);
  if (n && s[n - 1] == '.') n--;
  if (m && name[m - 1] == '.') m--;
  return n > 0 && n == m && !memchr(s, 0, n) && strncasecmp(s, name, n) == 0;
}

/* "*" stands for the whole first label, if at least two more follow. */
static bool covers(const char *pattern, size_t n, const char *name) {
  size_t label = strcspn(name, ".");
  if (!memchr(pattern, '*', n)) return is_domain(pattern, n, name);
  if (pattern[n - 1] == '.') n--;
  if (n < 2 || pattern[0] != '*' || pattern[1] != '.' || memchr(pattern + 1, '*', n - 1)) return false;
  return memchr(pattern + 2, '.', n - 2) && label > 0 && is_domain(pattern + 1, n - 1, name + label);
}

static bool other_name_fits(const OTHERNAME *o, const char *name) {
  const ASN1_STRING *s = o->value->value.asn1_string;
  char oid[64] = "";
  bool addr, srv;
  OBJ_obj2txt(oid, sizeof oid, o->type_id, 1);
  addr = strcmp(oid, OID_XMPP_ADDR) == 0 && o->value->type == V_ASN1_UTF8STRING;
  srv = strcmp(oid, OID_SRV_NAME) == 0 && o->value->type == V_ASN1_IA5STRING;
  if (addr) return s->length > 0 && is_domain((char *)s->data, (size_t)s->length, name);
  return srv && s->length > 13 && strncasecmp((char *)s->data, "_xmpp-client.", 13) == 0 &&
         is_domain((char *)s->data + 13, (size_t)s->length - 13, name);
}

static bool name_fits(const GENERAL_NAME *g, const question *q) {
  const ASN1_STRING *s = g->d.ia5;
  if (q->ip_len)
    return g->type == GEN_IPADD && (size_t)s->length == q->ip_len && memcmp(s->data, q->ip, q->ip_len) == 0;
  if (g->type == GEN_DNS) return s->length > 0 && covers((char *)s->data, (size_t)s->length, q->name);
  return g->type == GEN_OTHERNAME && other_name_fits(g->d.otherName, q->name);
}

static bool fits(X509 *cert, const question *q) {
  GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  bool any = false;
  int i;
  for (i = 0; i < sk_GENERAL_NAME_num(names); i++) any = any || name_fits(sk_GENERAL_NAME_value(names, i), q);
  GENERAL_NAMES_free(names);
  return any;
}

static void check_list(X509 *cert, size_t cap) {
  char *list = malloc(cap);
  size_t i;
  MUST(list);
  memset(list, 'x', cap);
  xm_cert_list_names(cert, list, cap);
  MUST(memchr(list, '\0', cap) && *list);
  for (i = 0; list[i]; i++) MUST(list[i] >= ' ' && list[i] <= '~');
  free(list);
}

static void check_cert(X509 *cert, const question *q) {
  MUST(xm_cert_is_for(cert, q->name) == fits(cert, q));
  check_list(cert, 256);
  check_list(cert, 2 + strlen(q->name));
  (void)xm_cert_names_others(cert, q->name, strlen(q->name));
}

/* Ways to read the input */

static void check_der(const input *in, const question *q) {
  const unsigned char *at = in->at;
  X509 *cert = d2i_X509(NULL, &at, (long)in->n);
  if (cert) check_cert(cert, q);
  X509_free(cert);
}

static void check_alt_names(const input *in, const question *q) {
  X509 *cert = X509_new();
  ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
  X509_EXTENSION *ext = NULL;
  MUST(cert && value && ASN1_OCTET_STRING_set(value, in->at, (int)in->n));
  ext = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value);
  MUST(ext && X509_add_ext(cert, ext, -1));
  check_cert(cert, q);
  X509_EXTENSION_free(ext);
  ASN1_OCTET_STRING_free(value);
  X509_free(cert);
}

/* A name of one of the kinds that are used, or of another that looks similar. */
static GENERAL_NAME *make_name(uint8_t kind, const char *s, size_t n) {
  static const struct {
    int type;
    const char *oid;
    int string;
  } kinds[] = {{GEN_DNS, NULL, V_ASN1_IA5STRING},
               {GEN_OTHERNAME, OID_XMPP_ADDR, V_ASN1_UTF8STRING},
               {GEN_OTHERNAME, OID_SRV_NAME, V_ASN1_IA5STRING},
               {GEN_IPADD, NULL, V_ASN1_OCTET_STRING},
               {GEN_EMAIL, NULL, V_ASN1_IA5STRING},
               {GEN_URI, NULL, V_ASN1_IA5STRING},
               {GEN_OTHERNAME, OID_XMPP_ADDR, V_ASN1_IA5STRING},
               {GEN_OTHERNAME, "1.3.6.1.5.5.7.8.6", V_ASN1_UTF8STRING}};
  size_t k = kind % (sizeof kinds / sizeof *kinds);
  GENERAL_NAME *g = GENERAL_NAME_new();
  ASN1_STRING *string = ASN1_STRING_type_new(kinds[k].string);
  ASN1_TYPE *value;
  MUST(g && string && ASN1_STRING_set(string, s, (int)n));
  if (!kinds[k].oid) {
    GENERAL_NAME_set0_value(g, kinds[k].type, string);
    return g;
  }
  value = ASN1_TYPE_new();
  MUST(value);
  ASN1_TYPE_set(value, kinds[k].string, string);
  MUST(GENERAL_NAME_set0_othername(g, OBJ_txt2obj(kinds[k].oid, 1), value));
  return g;
}

static void check_names(input in, const question *q) {
  GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
  X509 *cert = X509_new();
  MUST(names && cert);
  while (in.n) {
    uint8_t kind = take(&in);
    size_t n;
    const char *s = take_bytes(&in, take(&in), &n);
    MUST(sk_GENERAL_NAME_push(names, make_name(kind, s, n)));
  }
  MUST(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1);
  check_cert(cert, q);
  GENERAL_NAMES_free(names);
  X509_free(cert);
}

static void check_pattern(const input *in, const question *q) {
  char *pattern = malloc(in->n + 1); /* a copy, so that reading beyond its end is detected */
  MUST(pattern);
  memcpy(pattern, in->at, in->n);
  pattern[in->n] = 'x';
  MUST(xm_cert_dns_matches(pattern, in->n, q->name) == covers(pattern, in->n, q->name));
  free(pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  input in = {bytes, n};
  uint8_t how = take(&in);
  question q = read_question(&in);
  switch (how % 4) {
    case 0: check_der(&in, &q); break;
    case 1: check_alt_names(&in, &q); break;
    case 2: check_names(in, &q); break;
    default: check_pattern(&in, &q); break;
  }
  ERR_clear_error();
  return 0;
}
