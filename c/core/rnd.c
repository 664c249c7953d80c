#include "rnd.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

#include "err.h"
#include "has.h"

#if XM_HAS_GETENTROPY
enum { AT_ONCE = 256 }; /* bytes that one call of getentropy gives at most */

/* Fills the bytes if the kernel can; false where it is older than the system call, or where a sandbox forbids the
 * call. */
static bool ask_kernel(unsigned char *p, size_t n) {
  for (; n > AT_ONCE; p += AT_ONCE, n -= AT_ONCE)
    if (getentropy(p, AT_ONCE) != 0) return false;
  return getentropy(p, n) == 0;
}
#else
static bool ask_kernel(unsigned char *p, size_t n) {
  (void)p, (void)n;
  return false;
}
#endif

/* The kernel is asked first, because OpenSSL's generator, which seeds itself from the kernel too, takes eight million
 * instructions to start. */
int xm_rnd_bytes(void *p, size_t n) {
  return ask_kernel(p, n) || RAND_bytes(p, (int)n) == 1 ? XM_OK : XM_EFAIL;
}

/* Six bits of each byte are used: 144 in all. */
static void spell(const unsigned char *raw, char id[XM_RND_ID + 1]) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  int i;
  for (i = 0; i < XM_RND_ID; i++) id[i] = alphabet[raw[i] & 63];
  id[XM_RND_ID] = '\0';
}

int xm_rnd_id(char id[XM_RND_ID + 1]) {
  unsigned char raw[XM_RND_ID];
  if (xm_rnd_bytes(raw, sizeof raw) < 0) return XM_EFAIL;
  spell(raw, id);
  return XM_OK;
}

/* How many forks lie between this process and the first one. Where they can't be counted, no supply is used. */
static volatile unsigned forks;
static bool counted;

static void on_fork(void) { forks++; }

__attribute__((constructor)) static void count_forks(void) { counted = pthread_atfork(NULL, NULL, on_fork) == 0; }

void xm_rnd_seed(xm_rnd_supply *s, const uint64_t *seed) {
  s->left = 0;
  s->is_seeded = seed != NULL;
  s->seed = seed ? *seed : 0;
}

/* SplitMix64. */
static uint64_t next_seeded(uint64_t *seed) {
  uint64_t x = *seed += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

static int refill(xm_rnd_supply *s) {
  size_t i;
  if (!s->is_seeded) return xm_rnd_bytes(s->bytes, sizeof s->bytes);
  for (i = 0; i < sizeof s->bytes; i++) s->bytes[i] = (unsigned char)(next_seeded(&s->seed) >> 56);
  return XM_OK;
}

int xm_rnd_supplied_id(xm_rnd_supply *s, char id[XM_RND_ID + 1]) {
  if (!counted && !s->is_seeded) return xm_rnd_id(id);
  if (s->forks != forks || s->left == 0) {
    s->left = 0;
    s->forks = forks;
    if (refill(s) < 0) return XM_EFAIL;
    s->left = sizeof s->bytes;
  }
  s->left -= XM_RND_ID;
  spell(s->bytes + s->left, id);
  return XM_OK;
}
