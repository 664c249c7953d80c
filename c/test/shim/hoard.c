/* hoard: a library to preload that never frees memory and never uses any twice: it keeps its contents, so that
 * spec/support/secrets_scan.py can look for secrets in what was freed. */
#include <malloc.h>
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t); /* glibc's own malloc */

void free(void *p) {
  (void)p;
}

void *realloc(void *p, size_t n) {
  size_t had = p ? malloc_usable_size(p) : 0;
  void *moved = __libc_malloc(n);
  if (moved && had) memcpy(moved, p, had < n ? had : n);
  return moved;
}
