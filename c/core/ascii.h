/* ascii: letters and digits, independent of the locale. Rank 0: uses no other module.
 *
 * tolower, strcasecmp, isdigit and the like depend on the locale of the process, which is the program's to choose: in a
 * Turkish one, "I" and "i" are different letters. The names of hosts (RFC 4343), of encodings and in certificates are
 * compared without regard to the case of ASCII's letters, and of no others. */
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

/* Are the first `n` bytes the same, ignoring the case of ASCII's letters? */
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
