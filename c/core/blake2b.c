#include "blake2b.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 128, ROUNDS = 12 };

/* Section 2.6: the same as SHA-512's. */
static const uint64_t iv[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
    UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f), UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179)};

/* Section 2.7: the eleventh round uses the first row again, the twelfth the second. */
static const unsigned char sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static uint64_t turn(uint64_t x, int by) {
  return x >> by | x << (64 - by);
}

/* Section 3.1. */
static void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
  v[a] += v[b] + x;
  v[d] = turn(v[d] ^ v[a], 32);
  v[c] += v[d];
  v[b] = turn(v[b] ^ v[c], 24);
  v[a] += v[b] + y;
  v[d] = turn(v[d] ^ v[a], 16);
  v[c] += v[d];
  v[b] = turn(v[b] ^ v[c], 63);
}

static void read_words(uint64_t *m, const unsigned char *block) {
  int i, j;
  for (i = 0; i < 16; i++)
    for (m[i] = 0, j = 7; j >= 0; j--) m[i] = m[i] << 8 | block[8 * i + j];
}

/* Section 3.2: one block; `all` is the number of bytes up to its end. */
static void compress(uint64_t *h, const unsigned char *block, uint64_t all, int is_last) {
  uint64_t v[16], m[16];
  int i;
  read_words(m, block);
  memcpy(v, h, 8 * sizeof *v);
  memcpy(v + 8, iv, sizeof iv);
  v[12] ^= all;
  if (is_last) v[14] = ~v[14];
  for (i = 0; i < ROUNDS; i++) {
    const unsigned char *s = sigma[i % 10];
    int k;
    for (k = 0; k < 4; k++) mix(v, k, 4 + k, 8 + k, 12 + k, m[s[2 * k]], m[s[2 * k + 1]]);
    for (k = 0; k < 4; k++) mix(v, k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4, m[s[8 + 2 * k]], m[s[9 + 2 * k]]);
  }
  for (i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

void xm_blake2b(unsigned char *to, size_t len, const void *bytes, size_t n) {
  const unsigned char *at = bytes;
  unsigned char last[BLOCK] = {0};
  uint64_t h[8], all = n;
  size_t i;
  memcpy(h, iv, sizeof h);
  h[0] ^= UINT64_C(0x01010000) ^ len;
  for (; n > BLOCK; n -= BLOCK, at += BLOCK) compress(h, at, all - n + BLOCK, 0);
  if (n) memcpy(last, at, n);
  compress(h, last, all, 1);
  for (i = 0; i < len; i++) to[i] = (unsigned char)(h[i / 8] >> 8 * (i % 8));
}
