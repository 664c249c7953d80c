/* jid: addresses (RFC 7622): split, prepare, compare. Rank 1: uses err, precis and stringprep. The only module that
 * uses libidn2.
 *
 * An address can be read in two ways. xm_jid_parse enforces everything: for addresses that we create. xm_jid_split
 * looks only at the structure: for addresses that arrive, since servers may prepare by older rules (stringprep), and
 * nothing may be dropped because of that. */
#ifndef XM_JID_H
#define XM_JID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum {
  XM_JID_PART = 1023,                   /* greatest length of a part, in bytes, after preparation (RFC 7622 3.2-3.4) */
  XM_JID_MAX = 3 * XM_JID_PART + 2,     /* of a whole address */
};

/* A prepared address, as "local@domain/resource" without the parts that are absent. The memory of a copy (xm_jid_copy)
 * may end at its NUL, so what a pointer points to is never copied by =. */
typedef struct xm_jid {
  unsigned short local_len;    /* 0: no localpart */
  unsigned short domain_len;   /* never 0 */
  unsigned short resource_len; /* 0: no resourcepart */
  char str[XM_JID_MAX + 1];    /* NUL at its end */
} xm_jid;

/* Where the parts of an address lie in the caller's bytes. Absent: NULL and 0. */
typedef struct xm_jid_parts {
  const char *local, *domain, *resource;
  size_t local_len, domain_len, resource_len;
} xm_jid_parts;

/* Splits at the first '/', then at the first '@' before it (RFC 7622 3.1). Nothing is prepared; every part that is
 * there must be 1 to 1023 bytes of valid UTF-8. 0, or XM_EINVAL with the reason, a static string like "the localpart is
 * empty". */
int xm_jid_split(xm_jid_parts *parts, const char *s, size_t n, const char **reason);

/* Splits and prepares: localpart by UsernameCaseMapped (RFC 8265 3.3) without any of `"&'/:<>@`, domainpart by IDNA2008
 * or as an IP literal (one trailing dot is removed), resourcepart by OpaqueString (RFC 8265 4.2). Idempotent.
 * 0; XM_EINVAL with the reason; XM_ENOMEM. */
int xm_jid_parse(xm_jid *jid, const char *s, size_t n, const char **reason);

/* Replaces the resourcepart of a prepared address (by one prepared here); n = 0 removes it. As xm_jid_parse. */
int xm_jid_set_resource(xm_jid *jid, const char *resource, size_t n, const char **reason);

static inline const char *xm_jid_local(const xm_jid *j) { return j->str; }
static inline const char *xm_jid_domain(const xm_jid *j) { return j->str + (j->local_len ? j->local_len + 1 : 0); }
static inline const char *xm_jid_resource(const xm_jid *j) { return xm_jid_domain(j) + j->domain_len + 1; }
/* Length of str up to the resourcepart's '/', and of the whole of it. */
static inline size_t xm_jid_bare_len(const xm_jid *j) {
  return (j->local_len ? j->local_len + 1u : 0u) + j->domain_len;
}
static inline size_t xm_jid_len(const xm_jid *j) {
  return xm_jid_bare_len(j) + (j->resource_len ? j->resource_len + 1u : 0u);
}

/* A copy with no more memory than it needs. The caller frees it; NULL: no memory. */
static inline xm_jid *xm_jid_copy(const xm_jid *jid) {
  size_t n = offsetof(xm_jid, str) + xm_jid_len(jid) + 1;
  xm_jid *copy = malloc(n);
  if (copy) memcpy(copy, jid, n);
  return copy;
}

/* How a server that prepares by RFC 6122 writes an address in what it sends: the localpart by Nodeprep ("fußball"
 * becomes "fussball"), the resourcepart by Resourceprep. The domainpart stays as xm_jid_parse makes it: domains that
 * such a server would take for the same have different owners. 0; XM_EINVAL: such a server doesn't accept the address;
 * XM_ENOMEM. */
int xm_jid_written(xm_jid *jid, const char *s, size_t n);

/* Is what arrived (`s`, as the peer spelled it) the address `jid`: the same bytes, the same after preparation, or what
 * a server of RFC 6122 makes of it? Not the other way round: nobody who is addressed as "fussball" answers as
 * "fußball". No memory: false. */
bool xm_jid_is(const xm_jid *jid, const char *s, size_t n);

/* The domainpart as it goes into DNS and certificates: A-labels (RFC 5890), no brackets round an IPv6 address. Writes at
 * most `cap` bytes with the NUL (256 are always enough). 0, XM_EINVAL, XM_ENOMEM. */
int xm_jid_ascii_domain(const xm_jid *jid, char *out, size_t cap);

/* The OpaqueString profile (RFC 8265 4.2), for passwords. Writes *out_len bytes to `out` (no NUL); at most `cap`.
 * 0; XM_EINVAL with the reason (empty, control character, not UTF-8, ...); XM_ELIMIT when `cap` is too small; XM_ENOMEM.
 * Leaves no copy of the input behind. */
int xm_jid_opaque_string(const char *s, size_t n, char *out, size_t cap, size_t *out_len, const char **reason);

#endif
