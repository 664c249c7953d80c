#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static size_t length_of(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Truncation may fall inside a character, which is then dropped, so that the text stays valid UTF-8. */
static void cut_at_character(char *s, size_t cap) {
  size_t n = strlen(s), lead = n;
  if (n + 1 < cap) return;
  while (lead > 0 && ((unsigned char)s[lead - 1] & 0xC0) == 0x80) lead--;
  if (lead > 0 && lead - 1 + length_of((unsigned char)s[lead - 1]) > n) s[lead - 1] = '\0';
}

/* Decodes the character that `s` begins with; *n: its bytes. false: they are not UTF-8. */
static bool decode(const unsigned char *s, size_t *n, unsigned long *c) {
  static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t i;
  *n = length_of(*s);
  *c = *n == 1 ? *s : *s & (0x7Fu >> *n);
  for (i = 1; i < *n; i++) {
    if ((s[i] & 0xC0) != 0x80) return false;
    *c = *c << 6 | (s[i] & 0x3F);
  }
  return (*s < 0x80 || *s >= 0xC2) && *s <= 0xF4 && *c >= least[*n] && *c <= 0x10FFFF && (*c & ~0x7FFul) != 0xD800;
}

/* What a terminal obeys, or what moves, hides or reverses the text beside it: controls (C0, C1); direction marks,
 * embeddings, overrides and isolates (UAX 9); line breaks; characters without width; tags. */
static bool is_unseen(unsigned long c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C || c == 0x180E || c == 0x200B || c == 0x200E ||
         c == 0x200F || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
         (c >= 0xFFF9 && c <= 0xFFFB) || c >= 0xE0000;
}

size_t xm_err_shows(const char *s) {
  size_t n;
  unsigned long c;
  return decode((const unsigned char *)s, &n, &c) && !is_unseen(c) ? n : 0;
}

void xm_err_mend(char *s) {
  while (*s) {
    size_t n = xm_err_shows(s);
    if (n == 0) *s = '?';
    s += n ? n : 1;
  }
}

/* The text may contain anything that the caller or the peer said. */
static void mend(char *s, size_t cap) {
  cut_at_character(s, cap);
  xm_err_mend(s);
}

static void fill(xm_err *e, xm_layer layer, const char *condition, bool retry, int native) {
  e->layer = layer;
  e->retry = retry;
  e->native = native;
  snprintf(e->condition, sizeof e->condition, "%s", condition);
  mend(e->condition, sizeof e->condition);
}

int xm_err_set(xm_err *e, xm_layer layer, const char *condition, bool retry, const char *fmt, ...) {
  va_list args;
  if (!e || xm_err_is_set(e)) return XM_EFAIL;
  fill(e, layer, condition, retry, 0);
  va_start(args, fmt);
  vsnprintf(e->text, sizeof e->text, fmt, args);
  va_end(args);
  mend(e->text, sizeof e->text);
  return XM_EFAIL;
}

int xm_err_errno(xm_err *e, xm_layer layer, int errnum, const char *name, bool retry, const char *what) {
  if (!e || xm_err_is_set(e)) return XM_EFAIL;
  fill(e, layer, name, retry, errnum);
  snprintf(e->text, sizeof e->text, "%s: %s", what, strerror(errnum));
  mend(e->text, sizeof e->text);
  return XM_EFAIL;
}

int xm_err_nomem(xm_err *e) {
  return xm_err_set(e, XM_LAYER_LIMIT, "ENOMEM", true, "out of memory");
}

const char *xm_layer_name(xm_layer layer) {
  static const char *const names[] = {"",       "dns",     "tcp",    "tls",   "stream", "sasl",     "bind",
                                      "stanza", "timeout", "closed", "limit", "proxy",  "websocket"};
  return names[layer];
}
