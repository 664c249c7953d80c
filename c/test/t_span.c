/* span: every byte at every place, the first of two hits, at the edge of readable memory, with copying and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the headers above */
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "span.h"

enum { MOST = 70, MARK = 'M' };

/* The kinds of pairs: two bytes that differ in one bit, the same byte twice, two that differ in more bits. */
static bool is_plain4(unsigned char c) { return c >= ' ' && c < 0x80 && c != '&' && c != '<' && c != '>' && c != '\''; }
static bool is_plain2(unsigned char c) { return c >= ' ' && c < 0x80 && c != '\x7F' && c != '"'; }

/* `n` bytes at the end of a page, after which nothing is readable; or at the beginning of one, before which nothing
 * is. */
typedef struct room {
  char *pages;
  size_t size;
} room;

static room make_room(void) {
  room r = {.size = (size_t)sysconf(_SC_PAGESIZE)};
  r.pages = mmap(NULL, 3 * r.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(r.pages != MAP_FAILED);
  assert_int_equal(mprotect(r.pages + r.size, r.size, PROT_READ | PROT_WRITE), 0);
  return r;
}

static void free_room(room *r) {
  munmap(r->pages, 3 * r->size);
}

/* Calls every function for `n` bytes at `s`. */
static void ask(const char *s, size_t n) {
  char to[MOST + 2];
  size_t four = 0, two = 0;
  while (four < n && is_plain4((unsigned char)s[four])) four++;
  while (two < n && is_plain2((unsigned char)s[two])) two++;
  assert_int_equal(xm_span(s, n, '&', '\'', '<', '>'), four);
  assert_int_equal(xm_span(s, n, '"', '"', '"', '\x7F'), two);
  memset(to, MARK, sizeof to);
  assert_int_equal(xm_span_copy(to + 1, s, n, '&', '\'', '<', '>'), four);
  assert_memory_equal(to + 1, s, four);
  assert_int_equal(to[0], MARK);
  assert_int_equal(to[n + 1], MARK);
}

static void at_both_edges(room *r, const char *s, size_t n) {
  char *first = r->pages + r->size, *last = first + r->size - n;
  memcpy(last, s, n);
  ask(last, n);
  memcpy(first, s, n);
  ask(first, n);
}

static void finds_each_byte_at_each_place(void **state) {
  room r = make_room();
  char s[MOST];
  size_t n, at;
  int c;
  (void)state;
  for (n = 0; n <= MOST; n++) {
    memset(s, 'x', sizeof s);
    at_both_edges(&r, s, n);
    for (at = 0; at < n; at++) {
      for (c = 0; c < 256; c++) {
        s[at] = (char)c;
        at_both_edges(&r, s, n);
      }
      s[at] = 'x';
    }
  }
  free_room(&r);
}

/* A byte that is no hit must not count as one because of its neighbour, and a hit must not hide an earlier one. */
static void finds_the_first_of_two(void **state) {
  static const unsigned char odd[] = {0, 1, 0x1F, ' ', '!', '%', '&', '\'', '(', ';', '<', '=', '>', '?', 0x7F, 0x80, 0xA6, 0xBC, 0xFF};
  room r = make_room();
  char s[40];
  size_t n, at, i, j;
  (void)state;
  for (n = 2; n <= sizeof s; n++)
    for (at = 0; at + 1 < n; at++)
      for (i = 0; i < sizeof odd; i++)
        for (j = 0; j < sizeof odd; j++) {
          memset(s, 'x', sizeof s);
          s[at] = (char)odd[i];
          s[at + 1] = (char)odd[j];
          at_both_edges(&r, s, n);
        }
  free_room(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_each_byte_at_each_place),
      cmocka_unit_test(finds_the_first_of_two),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
