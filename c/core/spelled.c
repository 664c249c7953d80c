#include "spelled.h"

#include <string.h>

/* An ASCII address without, in front of its resourcepart, capitals, an A-label or a dot at the end is already
 * prepared. */
static bool is_prepared(const char *s, size_t n) {
  bool resource = false;
  size_t i;
  for (i = 0; i < n; i++) {
    if ((unsigned char)s[i] >= 0x80) return false;
    if (s[i] == '/') resource = true;
    if (resource) continue;
    if (s[i] >= 'A' && s[i] <= 'Z') return false;
    if (s[i] == 'x' && n - i >= 4 && memcmp(s + i, "xn--", 4) == 0) return false;
    if (s[i] == '.' && (i + 1 == n || s[i + 1] == '/')) return false;
  }
  return true;
}

/* The address prepared, in `room`, if that is possible, else `s` itself. */
static const char *prepare(const char *s, size_t *n, xm_jid *room) {
  const char *reason;
  if (xm_jid_parse(room, s, *n, &reason) != XM_OK) return s;
  *n = xm_jid_len(room);
  return room->str;
}

static bool equals(const char *a, size_t n, const char *b, size_t m) {
  return n == m && memcmp(a, b, n) == 0;
}

xm_spelled xm_spelled_of(const char *s, size_t n, xm_jid room[2]) {
  xm_spelled a = {.s = s, .n = n};
  if (!s || is_prepared(s, n)) return a;
  a.s = prepare(s, &a.n, &room[0]);
  if (is_prepared(a.s, a.n) || xm_jid_written(&room[1], a.s, a.n) != XM_OK) return a;
  if (equals(a.s, a.n, room[1].str, xm_jid_len(&room[1]))) return a;
  a.written = room[1].str;
  a.written_n = xm_jid_len(&room[1]);
  return a;
}

bool xm_spelled_equals(const char *want, size_t n, const char *arrived) {
  size_t len = strlen(arrived);
  xm_jid room;
  if (equals(want, n, arrived, len)) return true;
  if (is_prepared(arrived, len)) return false;
  arrived = prepare(arrived, &len, &room);
  return equals(want, n, arrived, len);
}

bool xm_spelled_is(const xm_spelled *a, const char *arrived) {
  return xm_spelled_equals(a->s, a->n, arrived) || (a->written && xm_spelled_equals(a->written, a->written_n, arrived));
}

bool xm_spelled_fits(const xm_spelled *a, const xm_spelled *arrived) {
  return equals(a->s, a->n, arrived->s, arrived->n) ||
         (a->written && equals(a->written, a->written_n, arrived->s, arrived->n));
}

uint64_t xm_spelled_mix(uint64_t h, const xm_spelled *a) {
  if (!a->s) return h;
  return a->written ? xm_mix(h, a->written, a->written_n) : xm_mix(h, a->s, a->n);
}

const char *xm_lay(char **at, const char *s, size_t n) {
  char *to = *at;
  if (!s) return NULL;
  memcpy(to, s, n);
  to[n] = '\0';
  *at += n + 1;
  return to;
}

void xm_spelled_lay(char **at, xm_spelled *to, const xm_spelled *from) {
  *to = *from;
  to->s = xm_lay(at, from->s, from->n);
  to->written = xm_lay(at, from->written, from->written_n);
}
