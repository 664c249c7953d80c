/* stringprep: the profiles of RFC 3454 with which servers of RFC 6122 prepare addresses (Nodeprep, Resourceprep) and
 * SCRAM prepares passwords (SASLprep, RFC 4013). Rank 1: uses err and buf. We ourselves prepare addresses by PRECIS
 * (precis); this is for what others do.
 *
 * The RFC's tables are those of Unicode 3.2. For the characters that were assigned then, libunistring's data of today
 * are the same, but for the exceptions in the tables here; whatever has been assigned since counts as unassigned here
 * (table A.1) and stays as it is, as in a query (RFC 3454 7), since that is what servers do. */
#ifndef XM_STRINGPREP_H
#define XM_STRINGPREP_H

#include <stddef.h>

#include "err.h"

typedef enum xm_stringprep_profile {
  XM_STRINGPREP_NODE,     /* RFC 6122 appendix A: case is folded */
  XM_STRINGPREP_RESOURCE, /* RFC 6122 appendix B */
  XM_STRINGPREP_SASL,     /* RFC 4013: spaces become U+0020 */
} xm_stringprep_profile;

/* Writes *out_len bytes of UTF-8 to `out` (no NUL), at most `cap`; `out` may not overlap `s`. Leaves no copy of the
 * input behind. 0; XM_EINVAL: not UTF-8, or the profile refuses the result (it is empty, has a prohibited character, or
 * mixes directions); XM_ELIMIT when `cap` is too small, or `n` is more than sixteen times that; XM_ENOMEM. */
int xm_stringprep(xm_stringprep_profile profile, const char *s, size_t n, char *out, size_t cap, size_t *out_len);

#endif
