/* hurry: makes tens of thousands of logins in a test affordable: the library's clock can be set forward, so that no
 * test waits for a deadline, and results of PBKDF2 are cached. Include cmocka.h before it. */
#ifndef HURRY_H
#define HURRY_H

#include <dlfcn.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* The clock. This function replaces libuv's for the library, but not inside libuv itself. */

static uint64_t skew, frozen; /* ns */

static uint64_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t uv_hrtime(void);
uint64_t uv_hrtime(void) {
  return frozen ? frozen : clock_ns(CLOCK_MONOTONIC) + skew;
}

static void freeze(void) {
  frozen = uv_hrtime();
}

static void unfreeze(void) {
  skew = frozen - clock_ns(CLOCK_MONOTONIC);
  frozen = 0;
}

/* PBKDF2 by OpenSSL, with a cache. There is only one password, so it isn't part of the key. */

typedef int pbkdf2_fn(const char *, int, const unsigned char *, int, int, const EVP_MD *, int, unsigned char *);

static struct known {
  unsigned char salt[64], key[64];
  int salt_len, rounds, key_len;
} known[8];

int PKCS5_PBKDF2_HMAC(const char *password, int password_len, const unsigned char *salt, int salt_len, int rounds,
                      const EVP_MD *md, int key_len, unsigned char *key) {
  static size_t next;
  struct known *k;
  void *theirs = dlsym(RTLD_NEXT, "PKCS5_PBKDF2_HMAC");
  pbkdf2_fn *work_out;
  assert_true(salt_len <= 64 && key_len <= 64);
  for (k = known; k < known + 8; k++)
    if (k->salt_len == salt_len && k->rounds == rounds && k->key_len == key_len &&
        memcmp(k->salt, salt, (size_t)salt_len) == 0)
      return memcpy(key, k->key, (size_t)key_len) != NULL;
  memcpy(&work_out, &theirs, sizeof work_out);
  k = &known[next++ % 8];
  *k = (struct known){.salt_len = salt_len, .rounds = rounds, .key_len = key_len};
  memcpy(k->salt, salt, (size_t)salt_len);
  if (!work_out(password, password_len, salt, salt_len, rounds, md, key_len, k->key)) return 0;
  memcpy(key, k->key, (size_t)key_len);
  return 1;
}

#endif
