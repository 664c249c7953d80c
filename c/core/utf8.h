/* utf8: reading and writing non-ASCII characters in UTF-8 (RFC 3629). Rank 0: uses no other module. */
#ifndef XM_UTF8_H
#define XM_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* The length in bytes of the non-ASCII character at `s`, 2 to 4, if `n` > 0 bytes are there. 0: they are its beginning
 * only. -1: it is not valid UTF-8. */
static inline int xm_utf8_length(const char *s, size_t n) {
  const unsigned char *b = (const unsigned char *)s;
  int len = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2, i;
  if (b[0] < 0xC2 || b[0] > 0xF4) return -1;
  if (n < 2) return 0;
  if (b[0] == 0xE0 && b[1] < 0xA0) return -1; /* overlong */
  if (b[0] == 0xED && b[1] > 0x9F) return -1; /* a surrogate */
  if (b[0] == 0xF0 && b[1] < 0x90) return -1;
  if (b[0] == 0xF4 && b[1] > 0x8F) return -1; /* beyond U+10FFFF */
  for (i = 1; i < len && (size_t)i < n; i++)
    if ((b[i] & 0xC0) != 0x80) return -1;
  return n < (size_t)len ? 0 : len;
}

/* Is the character, which has at least three bytes, U+FFFE or U+FFFF, which XML 1.0 forbids (2.2)? */
static inline bool xm_utf8_is_forbidden(const char *s) {
  return memcmp(s, "\xEF\xBF", 2) == 0 && (unsigned char)s[2] >= 0xBE;
}

/* Writes the character, of at most 4 bytes; returns how many bytes it has. */
static inline size_t xm_utf8_put(char *to, unsigned code) {
  if (code < 0x80) {
    to[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    to[0] = (char)(0xC0 | code >> 6);
    to[1] = (char)(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    to[0] = (char)(0xE0 | code >> 12);
    to[1] = (char)(0x80 | (code >> 6 & 0x3F));
    to[2] = (char)(0x80 | (code & 0x3F));
    return 3;
  }
  to[0] = (char)(0xF0 | code >> 18);
  to[1] = (char)(0x80 | (code >> 12 & 0x3F));
  to[2] = (char)(0x80 | (code >> 6 & 0x3F));
  to[3] = (char)(0x80 | (code & 0x3F));
  return 4;
}

#endif
