/* spelled: an address that we have named, and is it the one that has arrived? Rank 1: knows jid, table.
 *
 * Addresses are compared as prepared (RFC 7622), and what arrives also as a server of RFC 6122 writes what we have named
 * (xm_jid_written): who is named "fußball" may come as "fussball", not the other way round. What can't be prepared is
 * compared byte for byte. */
#ifndef XM_SPELLED_H
#define XM_SPELLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jid.h"
#include "table.h"

typedef struct xm_spelled {
  const char *s, *written; /* prepared; as such a server writes it, NULL where that is the same. `s` NULL: nobody */
  size_t n, written_n;
} xm_spelled;

/* `s` may be NULL. What comes points to `s` or into `room`. */
xm_spelled xm_spelled_of(const char *s, size_t n, xm_jid room[2]);
/* Could what arrived be the address that we named so? */
bool xm_spelled_is(const xm_spelled *a, const char *arrived);
/* The same of one that is known in its spellings already. */
bool xm_spelled_fits(const xm_spelled *a, const xm_spelled *arrived);
/* Is what arrived the address `want`, `n` prepared bytes, by preparation alone? */
bool xm_spelled_equals(const char *want, size_t n, const char *arrived);
/* Mixes it in such that all that may be it come to the same. Of nobody nothing is mixed in. */
uint64_t xm_spelled_mix(uint64_t h, const xm_spelled *a);

/* Copies `n` bytes and a NUL to *at, which moves behind them. NULL stays NULL. */
const char *xm_lay(char **at, const char *s, size_t n);
/* The same for both strings: xm_spelled_size bytes. */
void xm_spelled_lay(char **at, xm_spelled *to, const xm_spelled *from);
static inline size_t xm_spelled_size(const xm_spelled *a) { return a->n + a->written_n + 2; }

#endif
