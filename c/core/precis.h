/* precis: the two PRECIS profiles that addresses and passwords need (RFC 8264, 8265). Rank 1: uses err and buf; only
 * jid knows it. Which characters are assigned is what libunistring says.
 *
 * The rules run in the order of RFC 8264 7: map, normalise, and only then check whether the result is allowed. (Read
 * strictly, RFC 8265 3.3.2 checks before case mapping and normalisation, which would refuse a decomposed Hangul
 * syllable instead of composing it. The results that are possible are the same either way.) */
#ifndef XM_PRECIS_H
#define XM_PRECIS_H

#include <stddef.h>

#include "err.h"

typedef enum xm_precis_fault {
  XM_PRECIS_EMPTY,     /* the input is empty */
  XM_PRECIS_UTF8,      /* the input is not UTF-8 */
  XM_PRECIS_CHARACTER, /* a character that the string class does not allow, or a string that still changes after
                          several rounds */
  XM_PRECIS_CONTEXT,   /* a character whose neighbours do not allow it (RFC 5892 appendix A) */
  XM_PRECIS_BIDI,      /* the Bidi Rule is broken (RFC 5893 2) */
  XM_PRECIS_FAULTS,
} xm_precis_fault;

/* Both write *out_len bytes of UTF-8 to `out` (no NUL), at most `cap`; `out` may not overlap `s`. Applied to their own
 * result, they return it unchanged. Printable ASCII is handled here without calling a library. No copy of the input is
 * left in memory. 0; XM_EINVAL with *fault set; XM_ELIMIT when `cap` is too small, or less than a quarter of `n`;
 * XM_ENOMEM. */
int xm_precis_username(const char *s, size_t n, char *out, size_t cap, size_t *out_len, xm_precis_fault *fault);
int xm_precis_opaque(const char *s, size_t n, char *out, size_t cap, size_t *out_len, xm_precis_fault *fault);

#endif
