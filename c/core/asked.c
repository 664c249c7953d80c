#include "asked.h"

#include "ascii.h"

enum { HEADER = 12, LONGEST_LABEL = 63 };

/* The offset at which the question ends; 0: there isn't exactly one question, or it is cut short. */
static size_t end_of_question(const unsigned char *p, size_t n) {
  size_t at = HEADER;
  if (n < HEADER || p[4] != 0 || p[5] != 1) return 0;
  while (at < n && p[at]) {
    if (p[at] > LONGEST_LABEL) return 0;
    at += p[at] + 1u;
  }
  at += 1 + 4; /* the root label; type and class */
  return at <= n ? at : 0;
}

static uint64_t mix(uint64_t key, unsigned char byte) {
  return (key ^ byte) * 1099511628211u;
}

/* FNV-1a of id and question; 0: there is no question. A collision does no harm, since c-ares compares as well. */
static uint64_t key_of(const unsigned char *p, size_t n) {
  size_t i, end = end_of_question(p, n);
  uint64_t key;
  if (!end) return 0;
  key = mix(mix(14695981039346656037u, p[0]), p[1]);
  for (i = HEADER; i < end; i++) key = mix(key, (unsigned char)xm_ascii_lower((char)p[i]));
  return key ? key : 1;
}

void xm_asked_note(xm_asked *a, const void *packet, size_t n) {
  uint64_t key = key_of(packet, n);
  if (key) a->keys[a->n++ % XM_ASKED] = key;
}

bool xm_asked_is_answer(const xm_asked *a, const void *packet, size_t n) {
  const unsigned char *p = packet;
  uint64_t key = key_of(p, n);
  int i;
  if (!key || !(p[2] & 0x80)) return false;
  for (i = 0; i < XM_ASKED; i++)
    if (a->keys[i] == key) return true;
  return false;
}
