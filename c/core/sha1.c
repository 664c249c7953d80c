#include "sha1.h"

#include <stdint.h>
#include <string.h>

#include "buf.h"

enum { BLOCK = 64, LENGTH = 8 }; /* bytes of a block, and of the length at the end of the last one */

static uint32_t turn(uint32_t x, int by) {
  return x << by | x >> (32 - by);
}

/* Section 6.1.2. */
static void compress(uint32_t h[5], const unsigned char *block) {
  static const uint32_t k[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
  uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f;
  int i;
  for (i = 0; i < 16; i++, block += 4)
    w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
  for (; i < 80; i++) w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  for (i = 0; i < 80; i++) {
    f = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
    f += turn(a, 5) + e + k[i / 20] + w[i];
    e = d, d = c, c = turn(b, 30), b = a, a = f;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
  xm_wipe(w, sizeof w);
}

void xm_sha1(unsigned char to[XM_SHA1], const void *bytes, size_t n) {
  uint32_t h[] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  const unsigned char *in = bytes;
  unsigned char last[2 * BLOCK] = {0}; /* or the last two */
  uint64_t bits = (uint64_t)n * 8;
  size_t end;
  int i;
  for (; n >= BLOCK; in += BLOCK, n -= BLOCK) compress(h, in);
  if (n) memcpy(last, in, n);
  last[n] = 0x80;
  end = n < BLOCK - LENGTH ? BLOCK : sizeof last;
  for (i = 1; i <= LENGTH; i++, bits >>= 8) last[end - (size_t)i] = (unsigned char)bits;
  compress(h, last);
  if (end > BLOCK) compress(h, last + BLOCK);
  for (i = 0; i < XM_SHA1; i++) to[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
  xm_wipe(last, sizeof last);
}
