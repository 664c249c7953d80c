/* pbkdf2: replaces OpenSSL's PBKDF2 in the whole program by one that costs nothing, since a fuzzer has no time for 4096
 * rounds. */
#ifndef PBKDF2_H
#define PBKDF2_H

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fuzz.h"

int PKCS5_PBKDF2_HMAC(const char *password, int password_len, const unsigned char *salt, int salt_len, int rounds,
                      const EVP_MD *md, int key_len, unsigned char *key) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  MUST(rounds >= 4096 && rounds <= 2000000 && salt_len > 0 && key_len <= EVP_MD_get_size(md));
  if (!HMAC(EVP_sha512(), password, password_len, salt, (size_t)salt_len, bytes, &n)) return 0;
  bytes[0] ^= (unsigned char)rounds;
  memcpy(key, bytes, (size_t)key_len);
  return 1;
}

#endif
