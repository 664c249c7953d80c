/* fuzz: shared by the targets: conditions that must hold, an input that is used up piece by piece, and what must hold
 * for every error and every text that is written. A target aborts if a condition doesn't hold; everything else is found
 * by the sanitizers. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "err.h"

#define MUST(condition)                                                               \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: this must hold: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                        \
    }                                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The rest of the input. At its end zeros are taken. */
typedef struct input {
  const uint8_t *at;
  size_t n;
} input;

static inline uint8_t take(input *in) {
  if (in->n == 0) return 0;
  in->n--;
  return *in->at++;
}

/* Takes up to `most` bytes; fewer if there are no more. */
static inline const char *take_bytes(input *in, size_t most, size_t *n) {
  const char *s = (const char *)in->at;
  *n = most < in->n ? most : in->n;
  in->at += *n;
  in->n -= *n;
  return s;
}

/* Takes a string whose length is the next byte, up to the first NUL. `to` has room for 256 bytes. */
static inline char *take_string(input *in, char *to) {
  size_t n;
  const char *s = take_bytes(in, take(in), &n);
  if (n) memcpy(to, s, n);
  to[n] = '\0';
  return to;
}

/* A seed for random choices that depends on the input without using it up. Its loop is excluded from coverage, which it
 * would only clutter. */
#ifdef __clang__
__attribute__((no_sanitize("coverage")))
#endif
static inline uint32_t hash_of(const uint8_t *bytes, size_t n) {
  uint32_t h = 2166136261u;
  while (n--) h = (h ^ *bytes++) * 16777619u;
  return h;
}

static inline uint32_t chance(uint32_t *seed, uint32_t n) {
  *seed = *seed * 1664525u + 1013904223u;
  return (*seed >> 8) % n;
}

static inline bool is_utf8(const char *s, size_t n) {
  return u8_check((const uint8_t *)s, n) == NULL;
}

static inline void check_error(const xm_err *e) {
  MUST(xm_err_is_set(e) && *e->condition && *e->text && *xm_layer_name(e->layer));
  MUST(is_utf8(e->condition, strlen(e->condition)) && is_utf8(e->text, strlen(e->text)));
}

#endif
