/* Reads strings in hex, one a line, and prints how the three profiles prepare each: "61 41 61", as bytes in hex or
 * "refused". spec/support/stringprep-compare compares this with another implementation. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "stringprep.h"

enum { LONGEST = 4096 };

static size_t read_hex(const char *hex, char *out) {
  size_t n = 0;
  unsigned byte;
  for (; sscanf(hex, "%2x", &byte) == 1; hex += 2) out[n++] = (char)byte;
  return n;
}

/* false: it failed in another way than by a refusal. */
static bool print_one(xm_stringprep_profile p, const char *s, size_t n) {
  char out[LONGEST];
  size_t i, len = 0;
  int rc = xm_stringprep(p, s, n, out, sizeof out, &len);
  if (rc == XM_EINVAL) printf("refused");
  for (i = 0; rc == XM_OK && i < len; i++) printf("%02x", (unsigned)(unsigned char)out[i]);
  putchar(p == XM_STRINGPREP_SASL ? '\n' : ' ');
  return rc == XM_OK || rc == XM_EINVAL;
}

int main(void) {
  char hex[2 * LONGEST], s[LONGEST];
  while (fgets(hex, sizeof hex, stdin)) {
    size_t n = read_hex(hex, s);
    int p;
    for (p = XM_STRINGPREP_NODE; p <= XM_STRINGPREP_SASL; p++)
      if (!print_one((xm_stringprep_profile)p, s, n)) return 1;
  }
  return 0;
}
