#include "der.h"

#include <unistr.h>

#include "ascii.h"

/* Tags. */
enum {
  BOOLEAN = 0x01,
  INTEGER = 0x02,
  BIT_STRING = 0x03,
  OCTET_STRING = 0x04,
  NOTHING = 0x05,
  OID = 0x06,
  UTF8_STRING = 0x0C,
  PRINTABLE_STRING = 0x13,
  T61_STRING = 0x14,
  IA5_STRING = 0x16,
  UTC_TIME = 0x17,
  GENERALIZED_TIME = 0x18,
  SEQUENCE = 0x30,
  SET = 0x31,
  VERSION = 0xA0,
  EXTENSIONS = 0xA3,
};

static bool is_next(const xm_der *d, unsigned tag) {
  return d->n > 0 && d->at[0] == tag;
}

/* How many bytes the length has that follows the tag, and its value; 0: it is cut off, indefinite or too large. */
static size_t read_length(const xm_der *d, size_t *length) {
  size_t i, more = d->n < 2 || d->at[1] < 0x80 ? 0 : d->at[1] & 0x7F;
  *length = d->n < 2 || more ? 0 : d->at[1];
  if (d->n < 2 + more || more > 3 || d->at[1] == 0x80) return 0;
  for (i = 0; i < more; i++) *length = *length << 8 | d->at[2 + i];
  return 1 + more;
}

/* Takes off the first element, which must have that tag. Its content goes to `in`, if that isn't NULL. */
static bool take(xm_der *d, unsigned tag, xm_der *in) {
  size_t length, head = is_next(d, tag) ? read_length(d, &length) : 0;
  if (!head || length > d->n - 1 - head) return false;
  d->at += 1 + head;
  d->n -= 1 + head;
  if (in) *in = (xm_der){d->at, length};
  d->at += length;
  d->n -= length;
  return true;
}

/* The same, where that must be the only element. */
static bool take_all(xm_der *d, unsigned tag, xm_der *in) {
  return take(d, tag, in) && d->n == 0;
}

static bool take_integer(xm_der *d) {
  xm_der in;
  if (!take(d, INTEGER, &in) || in.n == 0) return false;
  return in.n == 1 || !((in.at[0] == 0 && in.at[1] < 0x80) || (in.at[0] == 0xFF && in.at[1] >= 0x80));
}

static bool take_bits(xm_der *d) {
  xm_der in;
  return take(d, BIT_STRING, &in) && in.n > 1 && in.at[0] < 8;
}

/* Base 128: no number may end in the middle or begin with zeros. */
static bool take_oid(xm_der *d) {
  xm_der in;
  size_t i;
  if (!take(d, OID, &in) || in.n == 0 || in.at[in.n - 1] >= 0x80) return false;
  for (i = 0; i < in.n; i++)
    if (in.at[i] == 0x80 && (i == 0 || in.at[i - 1] < 0x80)) return false;
  return true;
}

/* With parameters of the kinds that RSA, elliptic curves and RSA-PSS have. */
static bool take_algorithm(xm_der *d) {
  xm_der in, nothing;
  if (!take(d, SEQUENCE, &in) || !take_oid(&in)) return false;
  if (in.n == 0) return true;
  if (is_next(&in, NOTHING)) return take_all(&in, NOTHING, &nothing) && nothing.n == 0;
  if (is_next(&in, SEQUENCE)) return take_all(&in, SEQUENCE, NULL);
  return take_oid(&in) && in.n == 0;
}

static bool take_time(xm_der *d) {
  bool is_short = is_next(d, UTC_TIME);
  xm_der in;
  size_t i;
  if (!take(d, is_short ? UTC_TIME : GENERALIZED_TIME, &in) || in.n != (is_short ? 13 : 15)) return false;
  for (i = 0; i + 1 < in.n; i++)
    if (in.at[i] < '0' || in.at[i] > '9') return false;
  return in.at[i] == 'Z';
}

static bool take_validity(xm_der *d) {
  xm_der in;
  return take(d, SEQUENCE, &in) && take_time(&in) && take_time(&in) && in.n == 0;
}

/* Names. */

/* FNV-1a of the ASCII letters and digits: only these are the same in all strings that count as equal. */
static void hash_text(xm_der text, uint32_t *hash) {
  size_t i;
  for (i = 0; i < text.n; i++) {
    unsigned char c = (unsigned char)xm_ascii_lower((char)text.at[i]);
    if (xm_ascii_is_letter((char)c) || xm_ascii_is_digit((char)c)) *hash = (*hash ^ c) * 16777619;
  }
}

static bool take_string(xm_der *d, xm_der *text) {
  unsigned tag = d->n ? d->at[0] : 0;
  if (tag != UTF8_STRING && tag != PRINTABLE_STRING && tag != T61_STRING && tag != IA5_STRING) return false;
  return take(d, tag, text) && (tag != UTF8_STRING || !u8_check(text->at, text->n));
}

static bool take_attribute(xm_der *set, uint32_t *hash) {
  xm_der in, text;
  if (!take(set, SEQUENCE, &in) || !take_oid(&in) || !take_string(&in, &text) || in.n > 0) return false;
  hash_text(text, hash);
  return true;
}

bool xm_der_hash_name(xm_der name, uint32_t *hash) {
  xm_der list, set;
  *hash = 2166136261;
  if (!take_all(&name, SEQUENCE, &list)) return false;
  while (list.n > 0) {
    if (!take(&list, SET, &set) || set.n == 0) return false;
    while (set.n > 0)
      if (!take_attribute(&set, hash)) return false;
  }
  return true;
}

/* *name: the element itself. */
static bool take_name(xm_der *d, xm_der *name) {
  uint32_t hash;
  *name = *d;
  if (!take(d, SEQUENCE, NULL)) return false;
  name->n -= d->n;
  return xm_der_hash_name(*name, &hash);
}

/* Certificates. */

static bool take_version(xm_der *d) {
  xm_der in;
  if (!is_next(d, VERSION)) return true;
  return take(d, VERSION, &in) && take_integer(&in) && in.n == 0;
}

static bool take_key(xm_der *d) {
  xm_der in;
  return take(d, SEQUENCE, &in) && take_algorithm(&in) && take_bits(&in) && in.n == 0;
}

static bool take_extension(xm_der *d) {
  xm_der in, critical;
  if (!take(d, SEQUENCE, &in) || !take_oid(&in)) return false;
  if (is_next(&in, BOOLEAN) && (!take(&in, BOOLEAN, &critical) || critical.n != 1)) return false;
  return take_all(&in, OCTET_STRING, NULL);
}

static bool take_extensions(xm_der *d) {
  xm_der in, list;
  if (!is_next(d, EXTENSIONS)) return true;
  if (!take(d, EXTENSIONS, &in) || !take_all(&in, SEQUENCE, &list)) return false;
  while (list.n > 0)
    if (!take_extension(&list)) return false;
  return true;
}

/* RFC 5280 4.1.1.1 */
static bool take_body(xm_der *d, xm_der *subject) {
  xm_der in, issuer;
  return take(d, SEQUENCE, &in) && take_version(&in) && take_integer(&in) && take_algorithm(&in) &&
         take_name(&in, &issuer) && take_validity(&in) && take_name(&in, subject) && take_key(&in) &&
         take_extensions(&in) && in.n == 0;
}

bool xm_der_certificate(xm_der bytes, xm_der *subject) {
  xm_der in;
  return take_all(&bytes, SEQUENCE, &in) && take_body(&in, subject) && take_algorithm(&in) && take_bits(&in) && in.n == 0;
}
