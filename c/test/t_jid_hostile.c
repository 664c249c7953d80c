/* jid with hostile input: malformed UTF-8, random addresses, memory that runs out, passwords in memory that is
 * freed. */
#include <dlfcn.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "jid.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif

static volatile long until_failure = -1; /* how many allocations still work; -1: all */
static volatile long failures;           /* how many have failed */
static volatile long alive;              /* blocks that haven't been freed */
static const char *secret;               /* when set: every block that is freed is searched for it */
static size_t secret_len;
static volatile bool leaked_secret;

/* Sanitizers replace malloc themselves, and ours would hide the program's blocks from them. */
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
static bool may_allocate(void) {
  if (until_failure == 0) failures++;
  if (until_failure > 0)
    until_failure--;
  else if (until_failure == 0)
    return false;
  alive++;
  return true;
}

#pragma GCC visibility push(default) /* or the libraries would use the C library's */
void *malloc(size_t n) {
  static void *(*real)(size_t);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "malloc");
  return may_allocate() ? real(n) : NULL;
}

void *calloc(size_t n, size_t size) {
  static void *(*real)(size_t, size_t);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "calloc");
  return may_allocate() ? real(n, size) : NULL;
}

void *realloc(void *p, size_t n) {
  static void *(*real)(void *, size_t);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "realloc");
  if (until_failure != 0 && p) return real(p, n);
  return may_allocate() ? real(p, n) : NULL;
}

void free(void *p) {
  static void (*real)(void *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "free");
  if (p) alive--;
  if (p && secret && memmem(p, malloc_usable_size(p), secret, secret_len)) leaked_secret = true;
  real(p);
}
#pragma GCC visibility pop
#endif

/* Valgrind replaces malloc, too. */
static void skip_unless_ours(void) {
  long before = alive;
  void *volatile p = malloc(1);
  bool ours = alive != before;
  free(p);
  if (!ours) skip();
}

static int parse(xm_jid *j, const char *s, const char **reason) {
  *reason = NULL;
  return xm_jid_parse(j, s, strlen(s), reason);
}

static void check_invalid(const char *s, const char *why) {
  const char *reason;
  xm_jid j;
  assert_int_equal(parse(&j, s, &reason), XM_EINVAL);
  assert_string_equal(reason, why);
}

static void malformed_utf8(void **state) {
  char rows[] =
      "\x80 \xBF \xC0\x80 \xC1\xBF \xC3 \xC3( \xE0\x80\x80 \xE0\x9F\xBF \xE2\x82 \xE2\x82( \xED\xA0\x80 \xED\xBF\xBF "
      "\xF0\x80\x80\x80 \xF0\x8F\xBF\xBF \xF0\x9F\x98 \xF4\x90\x80\x80 \xF5\x80\x80\x80 \xF8\x88\x80\x80\x80 "
      "\xFC\x84\x80\x80\x80\x80 \xFE \xFF \xEF\xBF\xBD\x80";
  char s[64], *rest = rows, *row;
  const char *reason;
  xm_jid j;
  (void)state;
  assert_int_equal(parse(&j, "a@d/r", &reason), XM_OK);
  while ((row = strsep(&rest, " "))) {
    snprintf(s, sizeof s, "a%sb@d", row);
    check_invalid(s, "the localpart is not valid UTF-8");
    snprintf(s, sizeof s, "a@b%s", row);
    check_invalid(s, "the domainpart is not valid UTF-8");
    snprintf(s, sizeof s, "a@d/%s", row);
    check_invalid(s, "the resourcepart is not valid UTF-8");
    assert_false(xm_jid_is(&j, s, strlen(s)));
  }
}

static void no_secret_left_behind(void **state) {
  static const char password[] = "p\u00E4ssword";
  static const uint32_t wide[] = {'s', 's', 'w', 'o', 'r', 'd'};
  char out[64];
  size_t n;
  const char *reason;
  void *p;
  (void)state;
  skip_unless_ours();
  secret = (const char *)wide;
  secret_len = sizeof wide;
  p = malloc(sizeof wide);
  memcpy(p, wide, sizeof wide);
  __asm__ __volatile__("" : : "r"(p) : "memory");
  free(p);
  assert_true(leaked_secret); /* the search does find it */
  leaked_secret = false;
  assert_int_equal(xm_jid_opaque_string(password, sizeof password - 1, out, sizeof out, &n, &reason), XM_OK);
  assert_int_equal(xm_jid_opaque_string("p\u00E4ssword\t", sizeof password, out, sizeof out, &n, &reason), XM_EINVAL);
  secret = NULL;
  assert_false(leaked_secret);
}

static void failing_malloc(void **state) {
  const char *reason;
  xm_jid j = {.str = "untouched"};
  long n, before;
  int rc = XM_ENOMEM;
  (void)state;
  skip_unless_ours();
  before = alive;
  failures = 0;
  for (n = 0; rc == XM_ENOMEM; n++) {
    assert_string_equal(j.str, "untouched");
    until_failure = n;
    rc = parse(&j, "Ä@faß.example/é", &reason);
    until_failure = -1;
    assert_int_equal(alive, before);
  }
  assert_int_equal(rc, XM_OK);
  assert_true(failures > 5);
  assert_string_equal(j.str, "ä@faß.example/é");
  until_failure = 0;
  assert_false(xm_jid_is(&j, "Ä@faß.example/é", strlen("Ä@faß.example/é")));
  assert_int_equal(xm_jid_ascii_domain(&j, (char[256]){0}, 256), XM_ENOMEM);
  until_failure = -1;
}

static uint32_t next_random(uint32_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 17;
  return *seed ^= *seed << 5;
}

/* Copies word `i` of a list with single spaces between them. */
static char *put_token(char *to, const char *list, size_t i) {
  while (i--) list = strchr(list, ' ') + 1;
  return stpncpy(to, list, strcspn(list, " "));
}

/* Makes an address of pieces that the rules are about, so that a good part of them are valid. */
static size_t random_address(uint32_t *seed, char *to) {
  static const char pieces[] =
      "a B z9 - . xn--fa-hia ß Σ ς É e\u0301 \u0130 \u212A \uFF21 \uFF76 \uFF9E \u1112 \u1161 한 \u05D0 \u05B0 \u0628 "
      "\u0661 \u06F1 \u094D \u0915 \u200C \u200D l\u00B7l \u00B7 \u30FB か \u2163 ♚ \u3000 \u00A0 。 \u2100 "
      "\U0001D160 \u1FBE \u0344 \xFF 1.2.3.4 [::1]";
  enum { PIECES = 44, FOR_DOMAINS = 10 };
  static const char *const joints[] = {"@", "/", ""};
  size_t part, i;
  char *at = to;
  for (part = 0; part < 3; part++) {
    size_t n = 1 + next_random(seed) % 3;
    if (part != 1 && next_random(seed) % 4 == 0) continue;
    if (part == 1 && next_random(seed) % 2) at = stpcpy(at, "d.");
    for (i = 0; i < n; i++) at = put_token(at, pieces, next_random(seed) % (part == 1 ? FOR_DOMAINS : PIECES));
    at = stpcpy(at, joints[part]);
  }
  return (size_t)(at - to);
}

static void check_stable(const xm_jid *j, const char *s, size_t n) {
  const char *reason = "";
  char ascii[256];
  xm_jid again;
  xm_jid_parts p;
  if (xm_jid_parse(&again, j->str, xm_jid_len(j), &reason) < 0) fail_msg("%s gives %s: %s", s, j->str, reason);
  assert_string_equal(again.str, j->str);
  assert_int_equal(xm_jid_len(&again), strlen(j->str));
  assert_true(xm_jid_is(j, s, n));
  assert_int_equal(xm_jid_split(&p, j->str, xm_jid_len(j), &reason), XM_OK);
  assert_int_equal(p.local_len, j->local_len);
  assert_int_equal(p.domain_len, j->domain_len);
  assert_int_equal(p.resource_len, j->resource_len);
  assert_int_equal(xm_jid_ascii_domain(j, ascii, sizeof ascii), XM_OK);
  if (*xm_jid_domain(j) == '[') return;
  assert_int_equal(parse(&again, ascii, &reason), XM_OK);
  assert_int_equal(again.domain_len, j->domain_len);
  assert_memory_equal(again.str, xm_jid_domain(j), j->domain_len);
}

static void idempotent(void **state) {
  enum { TRIES = 200000 };
  uint32_t seed = 20240607;
  long i, valid = 0;
  char s[512];
  (void)state;
  for (i = 0; i < TRIES; i++) {
    const char *reason = NULL;
    size_t n = random_address(&seed, s);
    xm_jid j;
    int rc = xm_jid_parse(&j, s, n, &reason);
    assert_true(rc == XM_OK || (rc == XM_EINVAL && reason));
    if (rc < 0) continue;
    valid++;
    check_stable(&j, s, n);
  }
  assert_true(valid > TRIES / 20);
  print_message("%ld of %d random addresses are valid\n", valid, TRIES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(malformed_utf8),
      cmocka_unit_test(no_secret_left_behind),
      cmocka_unit_test(failing_malloc),
      cmocka_unit_test(idempotent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
