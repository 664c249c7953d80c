#include "b64.h"

#include <limits.h>
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int xm_b64_encode(xm_buf *out, const void *bytes, size_t n) {
  const unsigned char *in = bytes;
  char *to = xm_buf_reserve(out, (n + 2) / 3 * 4);
  size_t i;
  if (!to) return XM_ENOMEM;
  for (i = 0; i < n; i += 3) {
    uint32_t v = (uint32_t)in[i] << 16;
    if (i + 1 < n) v |= (uint32_t)in[i + 1] << 8;
    if (i + 2 < n) v |= in[i + 2];
    *to++ = alphabet[v >> 18];
    *to++ = alphabet[v >> 12 & 63];
    *to++ = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
    *to++ = i + 2 < n ? alphabet[v & 63] : '=';
  }
  xm_buf_commit(out, (n + 2) / 3 * 4);
  return XM_OK;
}

/* Each character's value plus one; 0: not in the alphabet. */
static const unsigned char values[256] = {
    ['+'] = 63, ['/'] = 64, ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
    ['A'] = 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
};

/* Decodes one group of four characters, the last `pad` of which are '='. The number of bytes written, or XM_EINVAL. */
static int decode_group(const char *text, int pad, char *to) {
  uint32_t v = 0;
  int i;
  for (i = 0; i < 4; i++) {
    unsigned value = i < 4 - pad ? values[(unsigned char)text[i]] : 1;
    if (value == 0) return XM_EINVAL;
    v = v << 6 | (value - 1);
  }
  if (v & ((1u << pad * 8) - 1)) return XM_EINVAL; /* bits that belong to no byte must be zero */
  for (i = 0; i < 3 - pad; i++) to[i] = (char)(v >> (16 - 8 * i));
  return 3 - pad;
}

/* Decodes groups without padding, which all but the last must be. How many of the `n` characters were valid. */
static size_t decode_whole(const unsigned char *text, size_t n, char *to) {
  size_t i;
  for (i = 0; i < n; i += 4, text += 4, to += 3) {
    unsigned a = values[text[0]], b = values[text[1]], c = values[text[2]], d = values[text[3]];
    uint32_t v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
    if (!a || !b || !c || !d) break;
    to[0] = (char)(v >> 16);
    to[1] = (char)(v >> 8);
    to[2] = (char)v;
  }
  return i;
}

/* `n` is at least one group. The number of bytes written, or XM_EINVAL. */
static int decode(const char *text, size_t n, char *to) {
  size_t whole = n - 4;
  int pad = text[n - 1] == '=' ? 1 + (text[n - 2] == '=') : 0, got;
  if (decode_whole((const unsigned char *)text, whole, to) < whole) return XM_EINVAL;
  got = decode_group(text + whole, pad, to + whole / 4 * 3);
  return got < 0 ? got : (int)(whole / 4 * 3) + got;
}

int xm_b64_decode(xm_buf *out, const char *text, size_t n) {
  char *to;
  int got;
  if (n == 0 || n % 4 || n > INT_MAX) return n ? XM_EINVAL : XM_OK;
  if (!(to = xm_buf_reserve(out, n / 4 * 3))) return XM_ENOMEM;
  got = decode(text, n, to);
  if (got < 0 && out->secret) xm_wipe(to, n / 4 * 3);
  if (got < 0) return got;
  xm_buf_commit(out, (size_t)got);
  return XM_OK;
}
