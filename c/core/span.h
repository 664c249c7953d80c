/* span: how many bytes from a place on are plain, checked sixteen at a time. Rank 0: uses no other module.
 *
 * A byte is plain if it is printable ASCII (0x20 to 0x7F) and none of four characters which the caller names, as
 * constants (a caller with fewer names one twice, which costs nothing). Whatever isn't plain (a control character, one
 * of the four, the first byte of a non-ASCII character) is left to the caller.
 *
 * Nothing outside of [s, s + n) is read. SSE2 and NEON are used where the compiler has them; elsewhere, and with
 * XM_SPAN_PORTABLE, plain C checks eight bytes at a time. */
#ifndef XM_SPAN_H
#define XM_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined __SSE2__ && !defined XM_SPAN_PORTABLE
#include <emmintrin.h>
#define XM_SPAN_SSE2
#elif defined __ARM_NEON && defined __aarch64__ && defined __LITTLE_ENDIAN__ && !defined XM_SPAN_PORTABLE
#include <arm_neon.h>
#define XM_SPAN_NEON
#endif

#define XM_SPAN_INLINE static inline __attribute__((always_inline))

/* Numbers made of bytes: the first byte in memory becomes the lowest. */

XM_SPAN_INLINE uint64_t xm_span_load8(const char *s) {
  uint64_t eight;
  memcpy(&eight, s, 8);
#if defined __BYTE_ORDER__ && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  eight = __builtin_bswap64(eight);
#endif
  return eight;
}

XM_SPAN_INLINE uint64_t xm_span_load4(const char *s) {
  const unsigned char *u = (const unsigned char *)s;
  return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* Sixteen bytes: functions that load and store them (from one place, or as eight from each of two), and find the first
 * one that isn't plain (16: all are). Two characters that differ in one bit cost as much as one: xm_span_bit is that
 * bit. */

#define xm_span_bit(a, b) ((((a) ^ (b)) & (((a) ^ (b)) - 1)) == 0 ? (char)((a) ^ (b)) : '\0')

#if defined XM_SPAN_SSE2

typedef __m128i xm_span_16;

XM_SPAN_INLINE xm_span_16 xm_span_load16(const char *s) { return _mm_loadu_si128((const __m128i *)(const void *)s); }
XM_SPAN_INLINE void xm_span_store16(char *to, xm_span_16 v) { _mm_storeu_si128((__m128i *)(void *)to, v); }
XM_SPAN_INLINE xm_span_16 xm_span_pair(uint64_t low, uint64_t high) { return _mm_set_epi64x((int64_t)high, (int64_t)low); }

XM_SPAN_INLINE __m128i xm_span_either(__m128i v, char a, char b) {
  const char bit = xm_span_bit(a, b);
  if (bit) return _mm_cmpeq_epi8(_mm_or_si128(v, _mm_set1_epi8(bit)), _mm_set1_epi8((char)(a | b)));
  if (a == b) return _mm_cmpeq_epi8(v, _mm_set1_epi8(a));
  return _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(a)), _mm_cmpeq_epi8(v, _mm_set1_epi8(b)));
}

XM_SPAN_INLINE unsigned xm_span_first(xm_span_16 v, char a, char b, char c, char d) {
  const __m128i odd = _mm_cmpgt_epi8(_mm_set1_epi8(' '), v); /* signed: non-ASCII bytes are negative, so less than a
                                                                space, too */
  const __m128i hit = _mm_or_si128(odd, _mm_or_si128(xm_span_either(v, a, b), xm_span_either(v, c, d)));
  return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(hit) | 1u << 16);
}

#elif defined XM_SPAN_NEON

typedef uint8x16_t xm_span_16;

XM_SPAN_INLINE xm_span_16 xm_span_load16(const char *s) { return vld1q_u8((const uint8_t *)s); }
XM_SPAN_INLINE void xm_span_store16(char *to, xm_span_16 v) { vst1q_u8((uint8_t *)to, v); }
XM_SPAN_INLINE xm_span_16 xm_span_pair(uint64_t low, uint64_t high) {
  return vcombine_u8(vcreate_u8(low), vcreate_u8(high));
}

XM_SPAN_INLINE uint8x16_t xm_span_either(uint8x16_t v, char a, char b) {
  const char bit = xm_span_bit(a, b);
  if (bit) return vceqq_u8(vorrq_u8(v, vdupq_n_u8((uint8_t)bit)), vdupq_n_u8((uint8_t)(a | b)));
  if (a == b) return vceqq_u8(v, vdupq_n_u8((uint8_t)a));
  return vorrq_u8(vceqq_u8(v, vdupq_n_u8((uint8_t)a)), vceqq_u8(v, vdupq_n_u8((uint8_t)b)));
}

XM_SPAN_INLINE unsigned xm_span_first(xm_span_16 v, char a, char b, char c, char d) {
  const uint8x16_t odd = vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(' ')); /* signed: non-ASCII bytes are less, too */
  const uint8x16_t hit = vorrq_u8(odd, vorrq_u8(xm_span_either(v, a, b), xm_span_either(v, c, d)));
  /* narrow the result to four bits for each byte */
  const uint64_t marks = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(hit), 4)), 0);
  return marks ? (unsigned)__builtin_ctzll(marks) / 4 : 16;
}

#else

typedef struct xm_span_16 {
  uint64_t low, high;
} xm_span_16;

XM_SPAN_INLINE xm_span_16 xm_span_pair(uint64_t low, uint64_t high) { return (xm_span_16){low, high}; }
XM_SPAN_INLINE xm_span_16 xm_span_load16(const char *s) { return xm_span_pair(xm_span_load8(s), xm_span_load8(s + 8)); }

XM_SPAN_INLINE void xm_span_store16(char *to, xm_span_16 v) {
#if defined __BYTE_ORDER__ && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  v.low = __builtin_bswap64(v.low);
  v.high = __builtin_bswap64(v.high);
#endif
  memcpy(to, &v.low, 8);
  memcpy(to + 8, &v.high, 8);
}

/* Sets the highest bit of each byte that is one of the two, or non-ASCII. A borrow can set false marks, but only above
 * a true one, so the lowest mark is right. */
XM_SPAN_INLINE uint64_t xm_span_either(uint64_t v, char a, char b) {
  const uint64_t ones = UINT64_MAX / 255;
  const unsigned char bit = (unsigned char)xm_span_bit(a, b);
  if (bit || a == b) return ((v | ones * bit) ^ ones * (unsigned char)(a | b)) - ones;
  return ((v ^ ones * (unsigned char)a) - ones) | ((v ^ ones * (unsigned char)b) - ones);
}

XM_SPAN_INLINE unsigned xm_span_of8(uint64_t v, char a, char b, char c, char d) {
  const uint64_t ones = UINT64_MAX / 255, odd = v | (v - ones * ' ');
  const uint64_t marks = (odd | xm_span_either(v, a, b) | xm_span_either(v, c, d)) & ones << 7;
  return marks ? (unsigned)__builtin_ctzll(marks) / 8 : 8;
}

XM_SPAN_INLINE unsigned xm_span_first(xm_span_16 v, char a, char b, char c, char d) {
  unsigned first = xm_span_of8(v.low, a, b, c, d);
  return first < 8 ? first : 8 + xm_span_of8(v.high, a, b, c, d);
}

#endif

/* Fewer than 16 bytes are checked all at once, some of them twice; the last bytes of more, too, together with plain
 * ones before them. So there is no loop over single bytes. */

/* Four to seven bytes, as the first and the last four; one to three, as the first, the middle one and the last. The
 * rest of the number is zero, which is not plain. */
XM_SPAN_INLINE size_t xm_span_few(bool copies, char *to, const char *s, size_t n, char a, char b, char c, char d) {
  const unsigned char *u = (const unsigned char *)s;
  size_t first;
  if (n >= 4) {
    first = xm_span_first(xm_span_pair(xm_span_load4(s) | xm_span_load4(s + n - 4) << 32, 0), a, b, c, d);
    if (copies) memcpy(to, s, 4), memcpy(to + n - 4, s + n - 4, 4);
    return first < 4 ? first : first + n - 8;
  }
  if (n == 0) return 0;
  first = xm_span_first(xm_span_pair((uint64_t)u[0] | (uint64_t)u[n / 2] << 8 | (uint64_t)u[n - 1] << 16, 0), a, b, c, d);
  if (copies) to[0] = s[0], to[n / 2] = s[n / 2], to[n - 1] = s[n - 1];
  return first < n ? first : n;
}

XM_SPAN_INLINE size_t xm_span_some(bool copies, char *to, const char *s, size_t n, char a, char b, char c, char d) {
  const uint64_t low = xm_span_load8(s), high = xm_span_load8(s + n - 8);
  size_t first = xm_span_first(xm_span_pair(low, high), a, b, c, d);
  if (copies) memcpy(to, s, 8), memcpy(to + n - 8, s + n - 8, 8);
  return first < 8 ? first : first + n - 16;
}

XM_SPAN_INLINE size_t xm_span_walk(bool copies, char *to, const char *s, size_t n, char a, char b, char c, char d) {
  xm_span_16 v;
  size_t i, first;
  if (n < 8) return xm_span_few(copies, to, s, n, a, b, c, d);
  if (n < 16) return xm_span_some(copies, to, s, n, a, b, c, d);
  for (i = 0; i + 16 < n; i += 16) {
    v = xm_span_load16(s + i);
    if (copies) xm_span_store16(to + i, v);
    first = xm_span_first(v, a, b, c, d);
    if (first < 16) return i + first;
  }
  v = xm_span_load16(s + n - 16);
  if (copies) xm_span_store16(to + n - 16, v);
  return n - 16 + xm_span_first(v, a, b, c, d);
}

/* How many of the `n` bytes at `s` are plain, from the first on. */
XM_SPAN_INLINE size_t xm_span(const char *s, size_t n, char a, char b, char c, char d) {
  return xm_span_walk(false, NULL, s, n, a, b, c, d);
}

/* The same, and they are copied to `to`, which must have room for all `n`: what lies behind the plain ones there
 * afterwards is undefined. The two may not overlap. */
XM_SPAN_INLINE size_t xm_span_copy(char *to, const char *s, size_t n, char a, char b, char c, char d) {
  return xm_span_walk(true, to, s, n, a, b, c, d);
}

#endif
