/* span: how many bytes from here on are plain, sixteen at a time. Rank 0: knows no other room.
 *
 * Plain is a byte of printable ASCII (0x20 to 0x7F) that is none of four characters which the caller names, as constants:
 * who has fewer of them names one twice, which costs nothing. Whatever isn't plain (a control character, one of the four, the
 * first byte of a character beyond ASCII) the caller looks at himself.
 *
 * Nothing outside of [s, s + n) is read. SSE2 and NEON do the work where the compiler has them; elsewhere, and with
 * XM_SPAN_PORTABLE, plain C does it, eight bytes at a time. */
#ifndef XM_SPAN_H
#define XM_SPAN_H

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

/* Eight bytes: the first in memory is the lowest in the number. */

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

/* Zero exactly where the lowest byte that isn't plain isn't: a borrow makes false marks only above a true one. */
XM_SPAN_INLINE uint64_t xm_span_marks(uint64_t eight, char a, char b, char c, char d) {
  const uint64_t ones = UINT64_MAX / 255;
  return ((eight | (eight - ones * ' ') | ((eight ^ ones * (unsigned char)a) - ones) | ((eight ^ ones * (unsigned char)b) - ones) |
           ((eight ^ ones * (unsigned char)c) - ones) | ((eight ^ ones * (unsigned char)d) - ones)) & ones << 7);
}

/* Where the first is of eight that isn't plain; 8: there is none. */
XM_SPAN_INLINE unsigned xm_span_of8(uint64_t eight, char a, char b, char c, char d) {
  uint64_t marks = xm_span_marks(eight, a, b, c, d);
  return marks ? (unsigned)__builtin_ctzll(marks) / 8 : 8;
}

/* Where the first is of sixteen at `s` that isn't plain; 16: there is none. The sixteen are copied to `to`, if that isn't NULL. */
#if defined XM_SPAN_SSE2

XM_SPAN_INLINE unsigned xm_span_of16(char *to, const char *s, char a, char b, char c, char d) {
  const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)s);
  __m128i hit = _mm_cmplt_epi8(v, _mm_set1_epi8(' ')); /* with a sign: what is beyond ASCII is less than that, too */
  if (to) _mm_storeu_si128((__m128i *)(void *)to, v);
  hit = _mm_or_si128(hit, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(a)), _mm_cmpeq_epi8(v, _mm_set1_epi8(b))));
  hit = _mm_or_si128(hit, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(c)), _mm_cmpeq_epi8(v, _mm_set1_epi8(d))));
  return (unsigned)__builtin_ctz((unsigned)_mm_movemask_epi8(hit) | 1u << 16);
}

#elif defined XM_SPAN_NEON

XM_SPAN_INLINE unsigned xm_span_of16(char *to, const char *s, char a, char b, char c, char d) {
  const uint8x16_t v = vld1q_u8((const uint8_t *)s);
  uint8x16_t hit = vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8(' ')); /* with a sign: what is beyond ASCII is less, too */
  uint64_t marks;
  if (to) vst1q_u8((uint8_t *)to, v);
  hit = vorrq_u8(hit, vorrq_u8(vceqq_u8(v, vdupq_n_u8((uint8_t)a)), vceqq_u8(v, vdupq_n_u8((uint8_t)b))));
  hit = vorrq_u8(hit, vorrq_u8(vceqq_u8(v, vdupq_n_u8((uint8_t)c)), vceqq_u8(v, vdupq_n_u8((uint8_t)d))));
  marks = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(hit), 4)), 0); /* four bits for each byte */
  return marks ? (unsigned)__builtin_ctzll(marks) / 4 : 16;
}

#else

XM_SPAN_INLINE unsigned xm_span_of16(char *to, const char *s, char a, char b, char c, char d) {
  unsigned first = xm_span_of8(xm_span_load8(s), a, b, c, d);
  if (to) memcpy(to, s, 16);
  return first < 8 ? first : 8 + xm_span_of8(xm_span_load8(s + 8), a, b, c, d);
}

#endif

/* Less than eight: all of them in one number, some twice. */
XM_SPAN_INLINE size_t xm_span_few(char *to, const char *s, size_t n, char a, char b, char c, char d) {
  const unsigned char *u = (const unsigned char *)s;
  size_t first;
  if (n >= 4) {
    first = xm_span_of8(xm_span_load4(s) | xm_span_load4(s + n - 4) << 32, a, b, c, d);
    if (to) memmove(to, s, 4), memmove(to + n - 4, s + n - 4, 4);
    return first < 4 ? first : first + n - 8;
  }
  if (n == 0) return 0;
  first = xm_span_of8((uint64_t)u[0] | (uint64_t)u[n / 2] << 8 | (uint64_t)u[n - 1] << 16, a, b, c, d); /* a zero ends it */
  if (to) to[0] = s[0], to[n / 2] = s[n / 2], to[n - 1] = s[n - 1];
  return first < n ? first : n;
}

/* The last bytes are looked at together with some of those in front of them, which are plain: so there is no loop over single
 * ones. */
XM_SPAN_INLINE size_t xm_span_walk(char *to, const char *s, size_t n, char a, char b, char c, char d) {
  size_t i, first;
  if (n < 8) return xm_span_few(to, s, n, a, b, c, d);
  if (n < 16) {
    first = xm_span_of8(xm_span_load8(s), a, b, c, d);
    if (to) memcpy(to, s, 8), memcpy(to + n - 8, s + n - 8, 8);
    return first < 8 ? first : n - 8 + xm_span_of8(xm_span_load8(s + n - 8), a, b, c, d);
  }
  for (i = 0; i + 16 < n; i += 16) {
    first = xm_span_of16(to ? to + i : NULL, s + i, a, b, c, d);
    if (first < 16) return i + first;
  }
  i = n - 16;
  return i + xm_span_of16(to ? to + i : NULL, s + i, a, b, c, d);
}

/* How many of the `n` bytes at `s` are plain, from the first on. */
XM_SPAN_INLINE size_t xm_span(const char *s, size_t n, char a, char b, char c, char d) {
  return xm_span_walk(NULL, s, n, a, b, c, d);
}

/* The same, and these are copied to `to`, where there is room for all `n`: what lies behind the plain ones afterwards is
 * anything. The two may not overlap. */
XM_SPAN_INLINE size_t xm_span_copy(char *to, const char *s, size_t n, char a, char b, char c, char d) {
  return xm_span_walk(to, s, n, a, b, c, d);
}

#endif
