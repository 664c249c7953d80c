/* The functions that replace the deprecated ones initialise all of OpenSSL first, which is what this file avoids. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sha1.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "buf.h"

int xm_sha1(unsigned char to[XM_SHA1], const void *bytes, size_t n) {
#ifdef OPENSSL_NO_DEPRECATED_3_0 /* this OpenSSL was built without the deprecated functions */
  return EVP_Digest(bytes, n, to, NULL, EVP_sha1(), NULL) == 1 ? XM_OK : XM_ENOMEM;
#else
  SHA_CTX hash;
  bool ok = SHA1_Init(&hash) == 1 && SHA1_Update(&hash, bytes, n) == 1 && SHA1_Final(to, &hash) == 1;
  xm_wipe(&hash, sizeof hash);
  return ok ? XM_OK : XM_ENOMEM;
#endif
}
