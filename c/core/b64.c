#include "b64.h"

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

static int value_of(unsigned char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four characters of which the last `pad` are '='. The number of bytes written, or XM_EINVAL. */
static int decode_group(const char *text, int pad, char *to) {
  uint32_t v = 0;
  int i;
  for (i = 0; i < 4; i++) {
    int d = i < 4 - pad ? value_of((unsigned char)text[i]) : 0;
    if (d < 0) return XM_EINVAL;
    v = v << 6 | (uint32_t)d;
  }
  if (v & ((1u << pad * 8) - 1)) return XM_EINVAL; /* bits that no byte owns must be zero */
  for (i = 0; i < 3 - pad; i++) to[i] = (char)(v >> (16 - 8 * i));
  return 3 - pad;
}

int xm_b64_decode(xm_buf *out, const char *text, size_t n) {
  size_t i, mark = xm_buf_mark(out);
  if (n % 4) return XM_EINVAL;
  if (n && !xm_buf_reserve(out, n / 4 * 3)) return XM_ENOMEM;
  for (i = 0; i < n; i += 4) {
    int pad = i + 4 < n ? 0 : (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=');
    int got = decode_group(text + i, pad, out->data + out->last);
    if (got < 0) {
      xm_buf_rollback(out, mark);
      return got;
    }
    xm_buf_commit(out, (size_t)got);
  }
  return XM_OK;
}
