#include "precis.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <unigbrk.h>
#include <uninorm.h>
#include <unistr.h>

#include "buf.h"

enum {
  LETTER_DIGITS = UC_CATEGORY_MASK_Ll | UC_CATEGORY_MASK_Lu | UC_CATEGORY_MASK_Lo | UC_CATEGORY_MASK_Nd |
                  UC_CATEGORY_MASK_Lm | UC_CATEGORY_MASK_Mn | UC_CATEGORY_MASK_Mc,
  FREE_ONLY = UC_CATEGORY_MASK_Lt | UC_CATEGORY_MASK_Nl | UC_CATEGORY_MASK_No | UC_CATEGORY_MASK_Me |
              UC_CATEGORY_MASK_Zs | UC_CATEGORY_MASK_S | UC_CATEGORY_MASK_P,
  SHRINK = 4, /* no profile shrinks four bytes to one: the worst case is seven to two, a fullwidth letter and two
                 accents */
  SPREAD = 3, /* the most code points that NFC makes of one, as of U+FB2C */
  ROUNDS = 4, /* the rules are applied at most so often until nothing changes any more (RFC 8264 7) */
  NFKC_OF_ONE = 32,
  STACK_DEPTH = 4096, /* more than libunistring's frames need */
};

/* What a code point is (RFC 8264 8): disallowed, allowed in FreeformClass only, allowed depending on its neighbours,
 * allowed in both classes. */
typedef enum property { DISALLOWED, FREE, CONTEXT, VALID } property;

typedef struct profile {
  uint32_t (*map)(uint32_t c); /* width or additional mapping */
  bool lower;                  /* whether case is mapped after that */
  bool identifier;             /* IdentifierClass, else FreeformClass */
  bool bidi;
  unsigned char lowest; /* ASCII from this character to '~' is allowed and stays as it is, except for case */
} profile;

/* A string between two rounds. The three arrays are parts of one block. */
typedef struct work {
  uint32_t *was, *mapped, *now;
  size_t was_len, mapped_len, now_len, cap;
} work;

/* Which characters occur anywhere, for the contextual rules that look at the whole string. */
typedef struct survey {
  bool kana_or_han, arabic_digit, extended_digit;
} survey;

static int refuse(xm_precis_fault *fault, xm_precis_fault why) {
  *fault = why;
  return XM_EINVAL;
}

/* Category F (RFC 8264 9.6, RFC 5892 2.6). */
static bool is_exception(uint32_t c, property *p) {
  static const struct {
    uint32_t first, last;
    property p;
  } table[] = {
      {0x00B7, 0x00B7, CONTEXT},    {0x00DF, 0x00DF, VALID},      {0x0375, 0x0375, CONTEXT},
      {0x03C2, 0x03C2, VALID},      {0x05F3, 0x05F4, CONTEXT},    {0x0640, 0x0640, DISALLOWED},
      {0x0660, 0x0669, CONTEXT},    {0x06F0, 0x06F9, CONTEXT},    {0x06FD, 0x06FE, VALID},
      {0x07FA, 0x07FA, DISALLOWED}, {0x0F0B, 0x0F0B, VALID},      {0x3007, 0x3007, VALID},
      {0x302E, 0x302F, DISALLOWED}, {0x3031, 0x3035, DISALLOWED}, {0x303B, 0x303B, DISALLOWED},
      {0x30FB, 0x30FB, CONTEXT},
  };
  size_t i;
  for (i = 0; i < sizeof table / sizeof *table; i++) {
    if (c < table[i].first || c > table[i].last) continue;
    *p = table[i].p;
    return true;
  }
  return false;
}

/* Hangul_Syllable_Type L, V or T, which is what Grapheme_Cluster_Break calls by the same names. */
static bool is_old_jamo(uint32_t c) {
  int b = uc_graphemeclusterbreak_property(c);
  return b == GBP_L || b == GBP_V || b == GBP_T;
}

static bool has_compat(uint32_t c) {
  uint32_t to[NFKC_OF_ONE];
  size_t n = NFKC_OF_ONE;
  return !u32_normalize(UNINORM_NFKC, &c, 1, to, &n) || n != 1 || to[0] != c;
}

static property derive(uint32_t c) {
  property p;
  uint32_t category = uc_general_category(c).bitmask;
  if (is_exception(c, &p)) return p;
  if (c > 0x20 && c < 0x7F) return VALID;
  if (uc_is_property_join_control(c)) return CONTEXT;
  if (is_old_jamo(c) || uc_is_property_default_ignorable_code_point(c)) return DISALLOWED;
  if (has_compat(c)) return FREE;
  if (category & LETTER_DIGITS) return VALID;
  return category & FREE_ONLY ? FREE : DISALLOWED; /* controls, noncharacters and unassigned characters are
                                                      disallowed, too */
}

static bool is_script(uint32_t c, const char *name) {
  const uc_script_t *script = uc_script(c);
  return script && strcmp(script->name, name) == 0;
}

static survey look_over(const uint32_t *s, size_t n) {
  survey seen = {false, false, false};
  size_t i;
  for (i = 0; i < n; i++) {
    if (s[i] >= 0x0660 && s[i] <= 0x0669) seen.arabic_digit = true;
    if (s[i] >= 0x06F0 && s[i] <= 0x06F9) seen.extended_digit = true;
    if (is_script(s[i], "Hiragana") || is_script(s[i], "Katakana") || is_script(s[i], "Han")) seen.kana_or_han = true;
  }
  return seen;
}

/* Does the non-joiner at `i` separate two letters that would otherwise be joined (RFC 5892 A.1)? */
static bool parts_joined(const uint32_t *s, size_t n, size_t i) {
  size_t left = i, right = i + 1;
  int before, after;
  while (left > 0 && uc_joining_type(s[left - 1]) == UC_JOINING_TYPE_T) left--;
  while (right < n && uc_joining_type(s[right]) == UC_JOINING_TYPE_T) right++;
  if (left == 0 || right == n) return false;
  before = uc_joining_type(s[left - 1]);
  after = uc_joining_type(s[right]);
  return (before == UC_JOINING_TYPE_L || before == UC_JOINING_TYPE_D) &&
         (after == UC_JOINING_TYPE_R || after == UC_JOINING_TYPE_D);
}

/* RFC 5892 appendix A, for a character that derive() calls CONTEXT. */
static bool fits(const uint32_t *s, size_t n, size_t i, const survey *seen) {
  bool virama = i > 0 && uc_combining_class(s[i - 1]) == UC_CCC_VR;
  switch (s[i]) {
    case 0x200C: return virama || parts_joined(s, n, i);
    case 0x200D: return virama;
    case 0x00B7: return i > 0 && i + 1 < n && s[i - 1] == 'l' && s[i + 1] == 'l';
    case 0x0375: return i + 1 < n && is_script(s[i + 1], "Greek");
    case 0x05F3:
    case 0x05F4: return i > 0 && is_script(s[i - 1], "Hebrew");
    case 0x30FB: return seen->kana_or_han;
    default: return !(seen->arabic_digit && seen->extended_digit); /* the two rows of Arabic-Indic digits */
  }
}

static int check_class(const uint32_t *s, size_t n, bool identifier, xm_precis_fault *fault) {
  survey seen = look_over(s, n);
  size_t i;
  for (i = 0; i < n; i++) {
    property p = derive(s[i]);
    if (p == DISALLOWED || (p == FREE && identifier)) return refuse(fault, XM_PRECIS_CHARACTER);
    if (p == CONTEXT && !fits(s, n, i, &seen)) return refuse(fault, XM_PRECIS_CONTEXT);
  }
  return XM_OK;
}

/* RFC 5893 2, which requires nothing of a string without right-to-left characters. One that has any must begin with
 * one, since conditions 5 and 6 allow none in a left-to-right label. */
static bool obeys_bidi(const uint32_t *s, size_t n) {
  enum {
    RTL = 1 << UC_BIDI_R | 1 << UC_BIDI_AL,
    ARABIC = 1 << UC_BIDI_AN,
    NUMBERS = ARABIC | 1 << UC_BIDI_EN,
    MARK = 1 << UC_BIDI_NSM,
    NEUTRAL = 1 << UC_BIDI_ES | 1 << UC_BIDI_CS | 1 << UC_BIDI_ET | 1 << UC_BIDI_ON | 1 << UC_BIDI_BN,
  };
  int seen = 0, last = 0;
  size_t i;
  for (i = 0; i < n; i++) {
    int one = 1 << uc_bidi_class(s[i]);
    seen |= one;
    if (one != MARK) last = one;
  }
  if (!(seen & (RTL | ARABIC))) return true;
  return (1 << uc_bidi_class(s[0]) & RTL) && !(seen & ~(RTL | NUMBERS | MARK | NEUTRAL)) && (last & (RTL | NUMBERS)) &&
         (seen & NUMBERS) != NUMBERS;
}

static uint32_t map_width(uint32_t c) {
  ucs4_t to[UC_DECOMPOSITION_MAX_LENGTH];
  int tag, n = uc_decomposition(c, &tag, to);
  return n == 1 && (tag == UC_DECOMP_WIDE || tag == UC_DECOMP_NARROW) ? to[0] : c;
}

static uint32_t map_space(uint32_t c) {
  return uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Zs) ? ' ' : c;
}

/* Maps was -> mapped. Lower case is mapped code point by code point, so a sigma's place in its word does not matter. */
static int map_all(work *w, const profile *p) {
  size_t i;
  w->mapped_len = 0;
  for (i = 0; i < w->was_len; i++) {
    uint32_t c = p->map(w->was[i]);
    bool longer = p->lower && c == 0x0130; /* the only character whose lower case has two code points (SpecialCasing) */
    if (w->cap - w->mapped_len < 2) return XM_ELIMIT;
    w->mapped[w->mapped_len++] = longer ? 'i' : p->lower ? uc_tolower(c) : c;
    if (longer) w->mapped[w->mapped_len++] = 0x0307;
  }
  return XM_OK;
}

/* mapped -> now. The library would return a block of its own only if ours were too small, which it is not. */
static int compose(work *w) {
  w->now_len = w->cap;
  return u32_normalize(UNINORM_NFC, w->mapped, w->mapped_len, w->now, &w->now_len) == w->now ? XM_OK : XM_ENOMEM;
}

/* Applies the mappings until they change nothing more; the result is in `now`. */
static int settle(work *w, const profile *p, xm_precis_fault *fault) {
  int round, rc;
  for (round = 0; round < ROUNDS; round++) {
    uint32_t *spare = w->was;
    rc = map_all(w, p);
    if (rc == XM_OK) rc = compose(w);
    if (rc < 0) return rc;
    if (u32_cmp2(w->was, w->was_len, w->now, w->now_len) == 0) return XM_OK;
    w->was = w->now;
    w->was_len = w->now_len;
    w->now = spare;
  }
  return refuse(fault, XM_PRECIS_CHARACTER);
}

static int encode(const uint32_t *s, size_t n, char *out, size_t cap, size_t *out_len) {
  size_t i, at = 0;
  for (i = 0; i < n; i++) {
    int used = u8_uctomb((uint8_t *)out + at, s[i], (ptrdiff_t)(cap - at));
    if (used < 0) return XM_ELIMIT;
    at += (size_t)used;
  }
  *out_len = at;
  return XM_OK;
}

static int judge(const work *w, const profile *p, xm_precis_fault *fault) {
  int rc = check_class(w->now, w->now_len, p->identifier, fault);
  if (rc == XM_OK && p->bidi && !obeys_bidi(w->now, w->now_len)) return refuse(fault, XM_PRECIS_BIDI);
  return rc;
}

/* Wipes the stack below: libunistring's frames there have held characters of what may be a password. */
__attribute__((noinline)) static void scrub_stack(void) {
  char frames[STACK_DEPTH];
  xm_wipe(frames, sizeof frames);
}

static int prepare_any(const profile *p, const char *s, size_t n, char *out, size_t cap, size_t *out_len,
                       xm_precis_fault *fault) {
  size_t each = n * SPREAD;
  uint32_t *block = calloc(n, 3 * SPREAD * sizeof *block); /* calloc for its overflow check */
  work w = {.was = block, .mapped = block + each, .now = block + 2 * each, .was_len = each, .cap = each};
  int rc;
  if (!block) return XM_ENOMEM;
  if (!u8_to_u32((const uint8_t *)s, n, w.was, &w.was_len)) {
    rc = refuse(fault, XM_PRECIS_UTF8);
  } else {
    rc = settle(&w, p, fault);
    if (rc == XM_OK) rc = judge(&w, p, fault);
    if (rc == XM_OK) rc = encode(w.now, w.now_len, out, cap, out_len);
  }
  xm_wipe(block, 3 * each * sizeof *block);
  free(block);
  scrub_stack();
  return rc;
}

static bool is_plain(const char *s, size_t n, unsigned char lowest) {
  size_t i;
  for (i = 0; i < n; i++) {
    if ((unsigned char)s[i] < lowest || (unsigned char)s[i] > '~') return false;
  }
  return true;
}

static int prepare_plain(const char *s, size_t n, bool lower, char *out, size_t cap, size_t *out_len) {
  size_t i;
  if (n > cap) return XM_ELIMIT;
  for (i = 0; i < n; i++) out[i] = (char)(lower && s[i] >= 'A' && s[i] <= 'Z' ? s[i] + ('a' - 'A') : s[i]);
  *out_len = n;
  return XM_OK;
}

static int prepare(const profile *p, const char *s, size_t n, char *out, size_t cap, size_t *out_len,
                   xm_precis_fault *fault) {
  if (n == 0) return refuse(fault, XM_PRECIS_EMPTY);
  if (n / SHRINK > cap) return XM_ELIMIT;
  if (is_plain(s, n, p->lowest)) return prepare_plain(s, n, p->lower, out, cap, out_len);
  return prepare_any(p, s, n, out, cap, out_len, fault);
}

int xm_precis_username(const char *s, size_t n, char *out, size_t cap, size_t *out_len, xm_precis_fault *fault) {
  static const profile username = {.map = map_width, .lower = true, .identifier = true, .bidi = true, .lowest = '!'};
  return prepare(&username, s, n, out, cap, out_len, fault);
}

int xm_precis_opaque(const char *s, size_t n, char *out, size_t cap, size_t *out_len, xm_precis_fault *fault) {
  static const profile opaque = {.map = map_space, .lowest = ' '};
  return prepare(&opaque, s, n, out, cap, out_len, fault);
}
