/* rnd: unguessable bytes, for ids, nonces, resourceparts and jitter: the kernel's (getrandom(2), by way of getentropy),
 * or, if that isn't available, those of OpenSSL's generator. Rank 0. The only file that calls either. */
#ifndef XM_RND_H
#define XM_RND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XM_RND_ID 24 /* characters of an id */

/* Fills `n` bytes. 0, or XM_EFAIL when the system has no randomness to give. */
int xm_rnd_bytes(void *p, size_t n);

/* Writes an id of XM_RND_ID characters and a NUL: 144 random bits in base64url (RFC 4648 section 5), which is legal in an
 * id, a resourcepart and a SCRAM nonce. 0 or XM_EFAIL. */
int xm_rnd_id(char id[XM_RND_ID + 1]);

/* The same from a supply, for ids of stanzas: it is cheaper to draw the random bytes for many ids at once. A supply
 * belongs to one thread and is all zero at first. After a fork the child draws a new one, since otherwise it would use
 * the same ids as its parent. */
typedef struct xm_rnd_supply {
  unsigned char bytes[32 * XM_RND_ID];
  size_t left;
  unsigned forks; /* the number of forks at the time when it was drawn */
  bool is_seeded;
  uint64_t seed;  /* from which the next bytes are computed */
} xm_rnd_supply;

/* For tests: the next ids are the same each time, and anybody can guess them. NULL: random again. */
void xm_rnd_seed(xm_rnd_supply *s, const uint64_t *seed);

int xm_rnd_supplied_id(xm_rnd_supply *s, char id[XM_RND_ID + 1]);

#endif
