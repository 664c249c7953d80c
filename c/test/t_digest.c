/* digest: each hash against published vectors; BLAKE2b (RFC 7693) also around the ends of its blocks. */
#include "digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>
#include <openssl/evp.h>

#include "blake2b.h"

static int number_of(const char *name) {
  int i;
  for (i = 0; xm_digest_name(i); i++)
    if (strcmp(xm_digest_name(i), name) == 0) return i;
  fail_msg("there is no %s", name);
  return -1;
}

static void check(const char *name, const char *text, const char *hex) {
  unsigned char hash[XM_DIGEST_MOST];
  char got[2 * XM_DIGEST_MOST + 1] = "";
  int i, n = xm_digest(number_of(name), text, strlen(text), hash);
  for (i = 0; i < n; i++) sprintf(got + 2 * i, "%02x", hash[i]);
  assert_string_equal(got, hex);
}

static void published_vectors(void **unused) {
  (void)unused;
  check("sha-1", "", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  check("sha-1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
  check("sha-256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  check("sha-512", "abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac9"
        "4fa54ca49f");
  check("sha3-256", "", "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a");
  check("sha3-256", "abc", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
  check("blake2b-256", "", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  check("blake2b-256", "abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

/* OpenSSL has BLAKE2b with one length of output only; ours must be the same, however full the last block is. */
static void blake2b_is_as_openssl_has_it(void **unused) {
  unsigned char text[400], ours[64], theirs[64];
  unsigned n, len;
  (void)unused;
  for (n = 0; n < sizeof text; n++) text[n] = (unsigned char)(n * 7 + 3);
  for (n = 0; n <= sizeof text; n++) {
    assert_int_equal(EVP_Digest(text, n, theirs, &len, EVP_blake2b512(), NULL), 1);
    xm_blake2b(ours, sizeof ours, text, n);
    assert_memory_equal(ours, theirs, sizeof ours);
  }
}

static void a_shorter_digest_is_no_prefix_of_a_longer_one(void **unused) {
  unsigned char longer[64], shorter[32];
  (void)unused;
  xm_blake2b(longer, 64, "abc", 3);
  xm_blake2b(shorter, 32, "abc", 3);
  assert_memory_not_equal(longer, shorter, 32);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(published_vectors),
      cmocka_unit_test(blake2b_is_as_openssl_has_it),
      cmocka_unit_test(a_shorter_digest_is_no_prefix_of_a_longer_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
