#include "jid.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdint.h>
#include <string.h>
#include <unistr.h>

#include "ascii.h"
#include "precis.h"
#include "stringprep.h"

typedef enum part { LOCAL, DOMAIN, RESOURCE, PASSWORD, PARTS } part;

enum {
  TOO_LONG = XM_PRECIS_FAULTS, /* one more than the faults that precis knows */
  FAULTS,
  RAW = 4 * XM_JID_PART, /* what is longer than this is longer than a part after any preparation, too */
  LABEL = 63,            /* RFC 1035 2.3.4 */
  NAME = 253,            /* the same: 255 bytes on the wire */
};

static const char long_name[] = "the domainpart is longer than 253 bytes in DNS";
static const char long_label[] = "the domainpart has a label longer than 63 bytes in DNS";

static int refuse(const char **reason, const char *why) {
  *reason = why;
  return XM_EINVAL;
}

static int refuse_part(const char **reason, part p, int fault) {
#define EACH(rest) \
  { "the localpart " rest, "the domainpart " rest, "the resourcepart " rest, "the password " rest }
  static const char *const sentences[FAULTS][PARTS] = {
      [XM_PRECIS_EMPTY] = EACH("is empty"),
      [XM_PRECIS_UTF8] = EACH("is not valid UTF-8"),
      [XM_PRECIS_CHARACTER] = EACH("has a character that is not allowed there"),
      [XM_PRECIS_CONTEXT] = EACH("has a character that is not allowed beside its neighbours"),
      [XM_PRECIS_BIDI] = EACH("mixes left-to-right with right-to-left characters"),
      [TOO_LONG] = EACH("is longer than 1023 bytes"),
  };
#undef EACH
  return refuse(reason, sentences[fault][p]);
}

/* Translates the result of one of precis's functions. */
static int explain(int rc, part p, xm_precis_fault fault, const char **reason) {
  if (rc == XM_EINVAL) return refuse_part(reason, p, (int)fault);
  if (rc == XM_ELIMIT && p != PASSWORD) return refuse_part(reason, p, TOO_LONG);
  return rc;
}

static bool is_ascii(const char *s, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) {
    if ((unsigned char)s[i] > 0x7F) return false;
  }
  return true;
}

static bool is_utf8(const char *s, size_t n) {
  return is_ascii(s, n) || !u8_check((const uint8_t *)s, n);
}

static bool is_letter_or_digit(char c) {
  return xm_ascii_is_letter(c) || xm_ascii_is_digit(c);
}

static void put_lower(char *to, const char *s, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) to[i] = xm_ascii_lower(s[i]);
}

/* Finds the parts. Refuses those that are announced but empty, and checks nothing else. */
static int cut(xm_jid_parts *p, const char *s, size_t n, const char **reason) {
  const char *slash = n ? memchr(s, '/', n) : NULL;
  size_t bare = slash ? (size_t)(slash - s) : n;
  const char *at = bare ? memchr(s, '@', bare) : NULL;
  *p = (xm_jid_parts){.domain = s, .domain_len = bare};
  if (at) {
    p->local = s;
    p->local_len = (size_t)(at - s);
    p->domain = at + 1;
    p->domain_len = bare - p->local_len - 1;
    if (!p->local_len) return refuse_part(reason, LOCAL, XM_PRECIS_EMPTY);
  }
  if (slash) {
    p->resource = slash + 1;
    p->resource_len = n - bare - 1;
    if (!p->resource_len) return refuse_part(reason, RESOURCE, XM_PRECIS_EMPTY);
  }
  return p->domain_len ? XM_OK : refuse_part(reason, DOMAIN, XM_PRECIS_EMPTY);
}

static int check_part(part p, const char *s, size_t n, const char **reason) {
  if (n > XM_JID_PART) return refuse_part(reason, p, TOO_LONG);
  return is_utf8(s, n) ? XM_OK : refuse_part(reason, p, XM_PRECIS_UTF8);
}

int xm_jid_split(xm_jid_parts *parts, const char *s, size_t n, const char **reason) {
  int rc = cut(parts, s, n, reason);
  if (rc == XM_OK) rc = check_part(LOCAL, parts->local, parts->local_len, reason);
  if (rc == XM_OK) rc = check_part(DOMAIN, parts->domain, parts->domain_len, reason);
  if (rc == XM_OK) rc = check_part(RESOURCE, parts->resource, parts->resource_len, reason);
  return rc;
}

static bool is_alabel(const char *s, size_t n) {
  return n >= 4 && (s[0] | 0x20) == 'x' && (s[1] | 0x20) == 'n' && s[2] == '-' && s[3] == '-';
}

static bool has_alabel(const char *s, size_t n) {
  size_t i;
  for (i = 0; i < n; i++) {
    if ((i == 0 || s[i - 1] == '.') && is_alabel(s + i, n - i)) return true;
  }
  return false;
}

/* An LDH label (RFC 5890 2.3.1); of the reserved ones only A-labels are allowed. */
static int check_label(const char *s, size_t n, const char **reason) {
  size_t i;
  if (n == 0) return refuse(reason, "the domainpart has an empty label");
  if (n > LABEL) return refuse(reason, long_label);
  for (i = 0; i < n; i++) {
    if (!is_letter_or_digit(s[i]) && s[i] != '-') return refuse_part(reason, DOMAIN, XM_PRECIS_CHARACTER);
  }
  if (s[0] == '-' || s[n - 1] == '-')
    return refuse(reason, "the domainpart has a label that begins or ends with a hyphen");
  if (n >= 4 && s[2] == '-' && s[3] == '-' && !is_alabel(s, n))
    return refuse(reason, "the domainpart has a label with hyphens in the third and fourth place");
  return XM_OK;
}

/* Four numbers with dots between them: never a host's name (RFC 1123 2.1). */
static bool is_dotted_decimal(const char *s, size_t n) {
  size_t i, dots = 0;
  for (i = 0; i < n; i++) {
    if (!xm_ascii_is_digit(s[i]) && s[i] != '.') return false;
    dots += s[i] == '.';
  }
  return dots == 3;
}

static bool is_address(int family, const char *s, size_t n) {
  char text[INET6_ADDRSTRLEN];
  unsigned char bytes[sizeof(struct in6_addr)];
  if (n >= sizeof text || memchr(s, '\0', n)) return false;
  memcpy(text, s, n);
  text[n] = '\0';
  return inet_pton(family, text, bytes) == 1;
}

/* A domain name in ASCII, without its trailing dot. */
static int check_name(const char *s, size_t n, const char **reason) {
  size_t at = 0;
  if (n == 0) return refuse_part(reason, DOMAIN, XM_PRECIS_EMPTY);
  if (n > NAME) return refuse(reason, long_name);
  for (;;) {
    const char *dot = memchr(s + at, '.', n - at);
    size_t len = dot ? (size_t)(dot - s) - at : n - at;
    int rc = check_label(s + at, len, reason);
    if (rc < 0) return rc;
    if (at + len == n) break;
    at += len + 1;
  }
  if (is_dotted_decimal(s, n) && !is_address(AF_INET, s, n))
    return refuse(reason, "the domainpart looks like an IPv4 address, but is not one");
  return XM_OK;
}

static int explain_idn(int rc, const char **reason) {
  switch (rc) {
    case IDN2_OK: return XM_OK;
    case IDN2_MALLOC: return XM_ENOMEM;
    case IDN2_TOO_BIG_DOMAIN: return refuse(reason, long_name);
    case IDN2_PUNYCODE_BIG_OUTPUT:
    case IDN2_TOO_BIG_LABEL: return refuse(reason, long_label);
    default: return refuse(reason, "the domainpart is not an internationalized domain name (IDNA2008)");
  }
}

/* A-labels for every U-label. Never with IDN2_USE_STD3_ASCII_RULES: it drops characters instead of refusing them. */
static int to_alabels(const char *name, int flags, char out[NAME + 2], const char **reason) {
  char *made = NULL;
  int rc = explain_idn(idn2_to_ascii_8z(name, &made, flags | IDN2_NFC_INPUT), reason);
  if (rc == XM_OK && strlen(made) > NAME + 1) rc = refuse(reason, long_name);
  if (rc == XM_OK) strcpy(out, made);
  idn2_free(made);
  return rc;
}

/* U-labels for every A-label. Only what leads back to the same A-labels, without further mapping, is accepted. */
static int to_ulabels(const char *ascii, char *to, size_t *len, const char **reason) {
  char again[NAME + 2], *made = NULL;
  int rc = explain_idn(idn2_to_unicode_8z8z(ascii, &made, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT), reason);
  if (rc == XM_OK) rc = to_alabels(made, IDN2_NO_TR46, again, reason);
  if (rc == XM_OK && strcmp(again, ascii) != 0) rc = explain_idn(IDN2_ALABEL_ROUNDTRIP_FAILED, reason);
  if (rc == XM_OK && strlen(made) > XM_JID_PART) rc = refuse_part(reason, DOMAIN, TOO_LONG);
  if (rc == XM_OK) {
    *len = strlen(made);
    memcpy(to, made, *len);
  }
  idn2_free(made);
  return rc;
}

static int prepare_idn(const char *s, size_t n, char *to, size_t *len, const char **reason) {
  char name[RAW + 1], ascii[NAME + 2];
  size_t ascii_len;
  int rc;
  if (n > RAW) return refuse_part(reason, DOMAIN, TOO_LONG);
  if (!is_utf8(s, n)) return refuse_part(reason, DOMAIN, XM_PRECIS_UTF8);
  if (memchr(s, '\0', n)) return refuse_part(reason, DOMAIN, XM_PRECIS_CHARACTER);
  memcpy(name, s, n);
  name[n] = '\0';
  rc = to_alabels(name, IDN2_NONTRANSITIONAL, ascii, reason);
  if (rc < 0) return rc;
  ascii_len = strlen(ascii);
  if (ascii_len && ascii[ascii_len - 1] == '.') ascii[--ascii_len] = '\0';
  rc = check_name(ascii, ascii_len, reason);
  return rc < 0 ? rc : to_ulabels(ascii, to, len, reason);
}

static int prepare_ascii(const char *s, size_t n, char *to, size_t *len, const char **reason) {
  if (s[n - 1] == '.') n--;
  *len = n;
  if (n <= NAME) put_lower(to, s, n);
  return check_name(s, n, reason);
}

static int prepare_ipv6(const char *s, size_t n, char *to, size_t *len, const char **reason) {
  if (n < 3 || s[n - 1] != ']' || !is_address(AF_INET6, s + 1, n - 2))
    return refuse(reason, "the domainpart begins with a bracket, but is no IPv6 address");
  *len = n;
  put_lower(to, s, n);
  return XM_OK;
}

/* `to` has room for XM_JID_PART bytes, as in the functions that this one calls. */
static int prepare_domain(const char *s, size_t n, char *to, size_t *len, const char **reason) {
  if (s[0] == '[') return prepare_ipv6(s, n, to, len, reason);
  if (is_ascii(s, n) && !has_alabel(s, n)) return prepare_ascii(s, n, to, len, reason);
  return prepare_idn(s, n, to, len, reason);
}

static int prepare_local(const char *s, size_t n, char *to, size_t *len, const char **reason) {
  xm_precis_fault fault = XM_PRECIS_EMPTY;
  int rc = xm_precis_username(s, n, to, XM_JID_PART, len, &fault);
  size_t i;
  for (i = 0; rc == XM_OK && i < *len; i++) {
    if (memchr("\"&'/:<>@", to[i], 8)) return refuse_part(reason, LOCAL, XM_PRECIS_CHARACTER);
  }
  return explain(rc, LOCAL, fault, reason);
}

int xm_jid_set_resource(xm_jid *jid, const char *resource, size_t n, const char **reason) {
  char made[XM_JID_PART];
  size_t len = 0, bare = xm_jid_bare_len(jid);
  if (n) {
    xm_precis_fault fault = XM_PRECIS_EMPTY;
    int rc = xm_precis_opaque(resource, n, made, sizeof made, &len, &fault);
    if (rc < 0) return explain(rc, RESOURCE, fault, reason);
    jid->str[bare] = '/';
    memcpy(jid->str + bare + 1, made, len);
  }
  jid->resource_len = (unsigned short)len;
  jid->str[xm_jid_len(jid)] = '\0';
  return XM_OK;
}

int xm_jid_parse(xm_jid *jid, const char *s, size_t n, const char **reason) {
  xm_jid made; /* separate, since `s` may be a piece of `jid` */
  xm_jid_parts p;
  size_t local = 0, domain = 0;
  int rc = cut(&p, s, n, reason);
  if (rc == XM_OK && p.local) rc = prepare_local(p.local, p.local_len, made.str, &local, reason);
  if (rc < 0) return rc;
  if (local) made.str[local] = '@';
  rc = prepare_domain(p.domain, p.domain_len, made.str + (local ? local + 1 : 0), &domain, reason);
  if (rc < 0) return rc;
  made.local_len = (unsigned short)local;
  made.domain_len = (unsigned short)domain;
  rc = xm_jid_set_resource(&made, p.resource, p.resource_len, reason);
  if (rc < 0) return rc;
  memcpy(jid, &made, offsetof(xm_jid, str) + xm_jid_len(&made) + 1);
  return XM_OK;
}

/* Writes one part, at offset `at`. */
static int write_part(xm_jid *jid, size_t at, xm_stringprep_profile p, const char *s, size_t n, unsigned short *len) {
  size_t made;
  int rc = xm_stringprep(p, s, n, jid->str + at, XM_JID_PART, &made);
  if (rc == XM_OK) *len = (unsigned short)made;
  return rc == XM_ELIMIT ? XM_EINVAL : rc;
}

int xm_jid_written(xm_jid *jid, const char *s, size_t n) {
  xm_jid made = {.local_len = 0};
  xm_jid_parts p;
  const char *reason;
  size_t domain;
  int rc = cut(&p, s, n, &reason);
  if (rc == XM_OK && p.local) rc = write_part(&made, 0, XM_STRINGPREP_NODE, p.local, p.local_len, &made.local_len);
  if (rc < 0) return rc;
  if (p.local) made.str[made.local_len] = '@';
  rc = prepare_domain(p.domain, p.domain_len, made.str + (p.local ? made.local_len + 1 : 0), &domain, &reason);
  if (rc < 0) return rc;
  made.domain_len = (unsigned short)domain;
  n = xm_jid_bare_len(&made);
  if (p.resource) {
    made.str[n] = '/';
    rc = write_part(&made, n + 1, XM_STRINGPREP_RESOURCE, p.resource, p.resource_len, &made.resource_len);
  }
  made.str[xm_jid_len(&made)] = '\0';
  if (rc == XM_OK) memcpy(jid, &made, offsetof(xm_jid, str) + xm_jid_len(&made) + 1);
  return rc;
}

static bool equals(const xm_jid *jid, const char *s, size_t n) {
  return n == xm_jid_len(jid) && memcmp(jid->str, s, n) == 0;
}

bool xm_jid_is(const xm_jid *jid, const char *s, size_t n) {
  const char *reason;
  xm_jid arrived, written;
  if (equals(jid, s, n)) return true;
  if (xm_jid_parse(&arrived, s, n, &reason) == XM_OK) {
    s = arrived.str;
    n = xm_jid_len(&arrived);
  }
  if (equals(jid, s, n)) return true;
  return xm_jid_written(&written, jid->str, xm_jid_len(jid)) == XM_OK && equals(&written, s, n);
}

int xm_jid_ascii_domain(const xm_jid *jid, char *out, size_t cap) {
  char name[XM_JID_PART + 1], ascii[NAME + 2];
  const char *from = name, *reason;
  size_t n = jid->domain_len;
  memcpy(name, xm_jid_domain(jid), n);
  name[n] = '\0';
  if (name[0] == '[') {
    from++;
    n -= 2;
  } else if (!is_ascii(name, n)) {
    int rc = to_alabels(name, IDN2_NO_TR46, ascii, &reason);
    if (rc < 0) return rc;
    from = ascii;
    n = strlen(ascii);
  }
  if (n >= cap) return XM_EINVAL;
  memcpy(out, from, n);
  out[n] = '\0';
  return XM_OK;
}

int xm_jid_opaque_string(const char *s, size_t n, char *out, size_t cap, size_t *out_len, const char **reason) {
  xm_precis_fault fault = XM_PRECIS_EMPTY;
  int rc = xm_precis_opaque(s, n, out, cap, out_len, &fault);
  return explain(rc, PASSWORD, fault, reason);
}
