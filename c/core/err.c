#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static size_t length_of(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* A cut may fall inside a character; drop the half one, so that text stays valid UTF-8. */
static void cut_at_character(char *s, size_t cap) {
  size_t n = strlen(s), lead = n;
  if (n + 1 < cap) return;
  while (lead > 0 && ((unsigned char)s[lead - 1] & 0xC0) == 0x80) lead--;
  if (lead > 0 && lead - 1 + length_of((unsigned char)s[lead - 1]) > n) s[lead - 1] = '\0';
}

static void fill(xm_err *e, xm_layer layer, const char *condition, bool retry, int native) {
  e->layer = layer;
  e->retry = retry;
  e->native = native;
  snprintf(e->condition, sizeof e->condition, "%s", condition);
  cut_at_character(e->condition, sizeof e->condition);
}

int xm_err_set(xm_err *e, xm_layer layer, const char *condition, bool retry, const char *fmt, ...) {
  va_list args;
  if (!e || xm_err_is_set(e)) return XM_EFAIL;
  fill(e, layer, condition, retry, 0);
  va_start(args, fmt);
  vsnprintf(e->text, sizeof e->text, fmt, args);
  va_end(args);
  cut_at_character(e->text, sizeof e->text);
  return XM_EFAIL;
}

int xm_err_errno(xm_err *e, xm_layer layer, int errnum, const char *name, bool retry, const char *what) {
  if (!e || xm_err_is_set(e)) return XM_EFAIL;
  fill(e, layer, name, retry, errnum);
  snprintf(e->text, sizeof e->text, "%s: %s", what, strerror(errnum));
  cut_at_character(e->text, sizeof e->text);
  return XM_EFAIL;
}

int xm_err_nomem(xm_err *e) {
  return xm_err_set(e, XM_LAYER_LIMIT, "ENOMEM", true, "out of memory");
}

void xm_err_clear(xm_err *e) {
  *e = (xm_err){0};
}

bool xm_err_is_set(const xm_err *e) {
  return e->layer != XM_LAYER_NONE;
}

const char *xm_layer_name(xm_layer layer) {
  static const char *const names[] = {"",     "dns",    "tcp",     "tls",    "stream", "sasl",
                                      "bind", "stanza", "timeout", "closed", "limit"};
  return names[layer];
}
