/* hoard: a library to preload in which no memory is ever used twice: what was freed stays as it was, for somebody to
 * look for secrets in it (spec/support/secrets_scan.py). */
#include <malloc.h>
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t); /* glibc's own, under the name that it keeps for this */

void free(void *p) {
  (void)p;
}

void *realloc(void *p, size_t n) {
  size_t had = p ? malloc_usable_size(p) : 0;
  void *moved = __libc_malloc(n);
  if (moved && had) memcpy(moved, p, had < n ? had : n);
  return moved;
}
