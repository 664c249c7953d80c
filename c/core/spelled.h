/* spelled: is the address that arrived the one that we have used? Rank 1: uses jid, table.
 *
 * Addresses are compared as prepared (RFC 7622); and one that arrived may also be spelt as a server of RFC 6122 writes
 * the one that we have used (xm_jid_written): if we used "fußball", "fussball" may arrive, but not the other way round.
 * What can't be prepared is compared byte for byte. */
#ifndef XM_SPELLED_H
#define XM_SPELLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "jid.h"
#include "table.h"

typedef struct xm_spelled {
  const char *s, *written; /* prepared; as such a server writes it, NULL if that is the same. `s` NULL: no address */
  size_t n, written_n;
} xm_spelled;

/* `s` may be NULL. The result points to `s` or into `room`. */
xm_spelled xm_spelled_of(const char *s, size_t n, xm_jid room[2]);
/* Could the address that arrived be this one? */
bool xm_spelled_is(const xm_spelled *a, const char *arrived);
/* The same for an address that arrived and whose spellings are known already. */
bool xm_spelled_fits(const xm_spelled *a, const xm_spelled *arrived);
/* Is the address that arrived the address `want`, `n` prepared bytes, by preparation alone? */
bool xm_spelled_equals(const char *want, size_t n, const char *arrived);
/* Mixes an address into a hash, so that all spellings that may be the same address have the same hash. No address: `h`
 * is unchanged. */
uint64_t xm_spelled_mix(uint64_t h, const xm_spelled *a);

/* Copies `n` bytes and a NUL to *at, and moves *at behind them. NULL stays NULL. */
const char *xm_lay(char **at, const char *s, size_t n);
/* The same for both strings, xm_spelled_size bytes in all. */
void xm_spelled_lay(char **at, xm_spelled *to, const xm_spelled *from);
static inline size_t xm_spelled_size(const xm_spelled *a) { return a->n + a->written_n + 2; }

#endif
