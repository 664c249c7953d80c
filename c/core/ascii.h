/* ascii: letters and digits without a locale. Rank 0: knows no other room.
 *
 * tolower, strcasecmp, isdigit and their kind ask the locale of the process, which belongs to the program: under a Turkish
 * one "I" and "i" are two letters. The names of hosts (RFC 4343), of encodings and of certificates have ASCII's case and no
 * other. */
#ifndef XM_ASCII_H
#define XM_ASCII_H

#include <stdbool.h>
#include <stddef.h>

static inline char xm_ascii_lower(char c) {
  return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static inline bool xm_ascii_is_digit(char c) {
  return c >= '0' && c <= '9';
}

static inline bool xm_ascii_is_letter(char c) {
  return xm_ascii_lower(c) >= 'a' && xm_ascii_lower(c) <= 'z';
}

/* Are the first `n` bytes the same, but for the case of ASCII's letters? */
static inline bool xm_ascii_same(const char *a, const char *b, size_t n) {
  while (n > 0 && xm_ascii_lower(*a) == xm_ascii_lower(*b)) {
    a++;
    b++;
    n--;
  }
  return n == 0;
}

/* The same for whole strings. */
static inline bool xm_ascii_equal(const char *a, const char *b) {
  while (*a && xm_ascii_lower(*a) == xm_ascii_lower(*b)) {
    a++;
    b++;
  }
  return *a == *b;
}

#endif
