#include "cert.h"

#include <arpa/inet.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "ascii.h"

#define OID_XMPP_ADDR "1.3.6.1.5.5.7.8.5"
#define OID_SRV_NAME "1.3.6.1.5.5.7.8.7"
#define SRV_PREFIX "_xmpp-client."

static bool same_name(const char *a, size_t n, const char *b, size_t m) {
  if (n && a[n - 1] == '.') n--;
  if (m && b[m - 1] == '.') m--;
  return n == m && n > 0 && xm_ascii_same(a, b, n);
}

bool xm_cert_dns_matches(const char *pattern, size_t n, const char *name) {
  const char *dot = strchr(name, '.');
  if (memchr(pattern, '\0', n)) return false;
  if (n > 3 && pattern[0] == '*' && pattern[1] == '.') /* with another dot inside: never a whole top-level domain */
    return dot && dot != name && memchr(pattern + 2, '.', n - 3) && !memchr(pattern + 2, '*', n - 2) &&
           same_name(pattern + 1, n - 1, dot, strlen(dot));
  return !memchr(pattern, '*', n) && same_name(pattern, n, name, strlen(name));
}

/* The string of an otherName that has this OID and this ASN.1 type; else NULL. */
static const char *other_name(const GENERAL_NAME *g, const char *oid, int type, size_t *n) {
  const OTHERNAME *other = g->d.otherName;
  char text[64];
  if (g->type != GEN_OTHERNAME || other->value->type != type) return NULL;
  if (OBJ_obj2txt(text, sizeof text, other->type_id, 1) <= 0 || strcmp(text, oid) != 0) return NULL;
  *n = (size_t)ASN1_STRING_length(other->value->value.asn1_string);
  return (const char *)ASN1_STRING_get0_data(other->value->value.asn1_string);
}

static bool is_for_domain(const GENERAL_NAME *g, const char *name) {
  const size_t prefix = strlen(SRV_PREFIX);
  const char *s;
  size_t n;
  if (g->type == GEN_DNS)
    return xm_cert_dns_matches((const char *)ASN1_STRING_get0_data(g->d.dNSName),
                               (size_t)ASN1_STRING_length(g->d.dNSName), name);
  s = other_name(g, OID_XMPP_ADDR, V_ASN1_UTF8STRING, &n);
  if (s) return same_name(s, n, name, strlen(name));
  s = other_name(g, OID_SRV_NAME, V_ASN1_IA5STRING, &n);
  return s && n > prefix && xm_ascii_same(s, SRV_PREFIX, prefix) &&
         same_name(s + prefix, n - prefix, name, strlen(name));
}

static bool is_for_address(const GENERAL_NAME *g, const unsigned char *ip, int ip_len) {
  return g->type == GEN_IPADD && ASN1_STRING_length(g->d.iPAddress) == ip_len &&
         memcmp(ASN1_STRING_get0_data(g->d.iPAddress), ip, (size_t)ip_len) == 0;
}

bool xm_cert_is_for(X509 *cert, const char *name) {
  GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  unsigned char ip[16];
  int i, ip_len = inet_pton(AF_INET, name, ip) == 1 ? 4 : inet_pton(AF_INET6, name, ip) == 1 ? 16 : 0;
  bool fits = false;
  for (i = 0; i < sk_GENERAL_NAME_num(names) && !fits; i++) {
    const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
    fits = ip_len ? is_for_address(g, ip, ip_len) : is_for_domain(g, name);
  }
  GENERAL_NAMES_free(names);
  return fits;
}

/* Is the domain in this subtree: its root, or below it? A root that begins with a dot, which OpenSSL accepts, isn't in
 * it itself; an empty root covers everything. */
static bool is_below(const GENERAL_NAME *g, const char *name) {
  const char *root = (const char *)ASN1_STRING_get0_data(g->d.dNSName);
  size_t n = (size_t)ASN1_STRING_length(g->d.dNSName), len = strlen(name);
  if (len && name[len - 1] == '.') len--;
  if (n && root[n - 1] == '.') n--;
  if (n == 0) return true;
  if (n > len || !xm_ascii_same(name + len - n, root, n)) return false;
  return n == len || *root == '.' || name[len - n - 1] == '.';
}

/* How many of these subtrees are of host names; *in: is the name in one of them? */
static int count_trees(const STACK_OF(GENERAL_SUBTREE) *trees, const char *name, bool *in) {
  int i, hosts = 0;
  *in = false;
  for (i = 0; i < sk_GENERAL_SUBTREE_num(trees); i++) {
    const GENERAL_NAME *g = sk_GENERAL_SUBTREE_value(trees, i)->base;
    if (g->type != GEN_DNS) continue;
    hosts++;
    *in = *in || is_below(g, name);
  }
  return hosts;
}

static bool may_name(X509 *ca, const char *name) {
  int critical;
  bool permitted, excluded, may;
  NAME_CONSTRAINTS *nc = X509_get_ext_d2i(ca, NID_name_constraints, &critical, NULL);
  if (!nc) return critical == -1; /* -1: it has none; otherwise they can't be read */
  may = count_trees(nc->permittedSubtrees, name, &permitted) == 0 || permitted;
  count_trees(nc->excludedSubtrees, name, &excluded);
  NAME_CONSTRAINTS_free(nc);
  return may && !excluded;
}

bool xm_cert_may_name(const STACK_OF(X509) *chain, const char *name) {
  int i;
  for (i = 1; i < sk_X509_num(chain); i++)
    if (!may_name(sk_X509_value(chain, i), name)) return false;
  return true;
}

/* Counts the xmppAddrs that are `jid`, and those that aren't. */
static void count_addresses(X509 *cert, const char *jid, size_t n, int *same, int *others) {
  GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  size_t len;
  int i;
  *same = *others = 0;
  for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
    const char *s = other_name(sk_GENERAL_NAME_value(names, i), OID_XMPP_ADDR, V_ASN1_UTF8STRING, &len);
    if (s) ++*(len == n && memcmp(s, jid, n) == 0 ? same : others);
  }
  GENERAL_NAMES_free(names);
}

bool xm_cert_has_address(X509 *cert, const char *jid, size_t n) {
  int same, others;
  count_addresses(cert, jid, n, &same, &others);
  return same > 0;
}

bool xm_cert_names_others(X509 *cert, const char *jid, size_t n) {
  int same, others;
  count_addresses(cert, jid, n, &same, &others);
  return others > 0;
}

static const char *name_of(const GENERAL_NAME *g, char ip[INET6_ADDRSTRLEN], size_t *n) {
  const char *s = other_name(g, OID_XMPP_ADDR, V_ASN1_UTF8STRING, n);
  if (!s) s = other_name(g, OID_SRV_NAME, V_ASN1_IA5STRING, n);
  if (g->type == GEN_IPADD) {
    int family = ASN1_STRING_length(g->d.iPAddress) == 16 ? AF_INET6 : AF_INET;
    if (family == AF_INET && ASN1_STRING_length(g->d.iPAddress) != 4) return NULL;
    s = inet_ntop(family, ASN1_STRING_get0_data(g->d.iPAddress), ip, INET6_ADDRSTRLEN);
    *n = s ? strlen(s) : 0;
  }
  if (g->type != GEN_DNS) return s;
  *n = (size_t)ASN1_STRING_length(g->d.dNSName);
  return (const char *)ASN1_STRING_get0_data(g->d.dNSName);
}

void xm_cert_list_names(X509 *cert, char *to, size_t cap) {
  GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
  char ip[INET6_ADDRSTRLEN];
  size_t used = 0, n, k;
  int i;
  for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
    const char *s = name_of(sk_GENERAL_NAME_value(names, i), ip, &n);
    if (!s || used + n + 6 > cap) continue;
    used += (size_t)snprintf(to + used, cap - used, "%s", used ? ", " : "");
    for (k = 0; k < n; k++) to[used++] = s[k] > ' ' && s[k] < 0x7F ? s[k] : '?';
    to[used] = '\0';
  }
  if (!used) snprintf(to, cap, "no names at all");
  GENERAL_NAMES_free(names);
}
