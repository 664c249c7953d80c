/* sha1: published vectors, and for every length up to a few blocks the same as OpenSSL's EVP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <openssl/evp.h>

#include "sha1.h"

static void check(const void *bytes, size_t n, const char *hex) {
  unsigned char hash[XM_SHA1];
  char got[2 * XM_SHA1 + 1];
  int i;
  assert_int_equal(xm_sha1(hash, bytes, n), 0);
  for (i = 0; i < XM_SHA1; i++) sprintf(got + 2 * i, "%02x", hash[i]);
  assert_string_equal(got, hex);
}

/* FIPS 180-4's examples. */
static void published_vectors(void **unused) {
  static char million[1000000];
  (void)unused;
  memset(million, 'a', sizeof million);
  check("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  check("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
  check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  check(million, sizeof million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

static void it_is_what_evp_has(void **unused) {
  unsigned char text[400], ours[XM_SHA1], theirs[XM_SHA1];
  size_t n;
  (void)unused;
  for (n = 0; n < sizeof text; n++) text[n] = (unsigned char)(n * 7 + 253);
  for (n = 0; n <= sizeof text; n++) {
    assert_int_equal(EVP_Digest(text, n, theirs, NULL, EVP_sha1(), NULL), 1);
    assert_int_equal(xm_sha1(ours, text, n), 0);
    assert_memory_equal(ours, theirs, sizeof ours);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_vectors),
      cmocka_unit_test(it_is_what_evp_has),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
