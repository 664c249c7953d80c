/* Prints how both profiles prepare each code point on its own: "U+0041 Lu 61 41", as bytes in hex or "disallowed". The
 * general category is libunistring's. spec/support/precis-compare compares this with another implementation. */
#include <stdio.h>
#include <string.h>
#include <unictype.h>
#include <unistr.h>

#include "precis.h"

enum { LAST = 0x10FFFF, SURROGATES = 0xD800, AFTER_SURROGATES = 0xE000 };

typedef int profile(const char *, size_t, char *, size_t, size_t *, xm_precis_fault *);

/* -1: it failed in another way than by a refusal. */
static int print_one(profile *apply, const char *s, size_t n) {
  char out[64];
  size_t i, len = 0;
  xm_precis_fault fault;
  int rc = apply(s, n, out, sizeof out, &len, &fault);
  if (rc == XM_EINVAL) return printf(" disallowed");
  if (rc < 0) return -1;
  putchar(' ');
  for (i = 0; i < len; i++) printf("%02x", (unsigned)(unsigned char)out[i]);
  return 0;
}

int main(void) {
  ucs4_t c;
  for (c = 0; c <= LAST; c++) {
    uint8_t s[4];
    size_t n;
    if (c == SURROGATES) c = AFTER_SURROGATES; /* skipped: UTF-8 has no surrogates */
    n = (size_t)u8_uctomb(s, c, sizeof s);
    printf("U+%04X %s", (unsigned)c, uc_general_category_name(uc_general_category(c)));
    if (print_one(xm_precis_username, (char *)s, n) < 0 || print_one(xm_precis_opaque, (char *)s, n) < 0) return 1;
    putchar('\n');
  }
  return 0;
}
