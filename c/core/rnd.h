/* rnd: unguessable bytes, for ids, nonces, resourceparts and jitter: the kernel's (getrandom(2), by getentropy), or, where it
 * has none to give, those of OpenSSL's generator. Rank 0. The one door to either. */
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

/* The same out of a supply, for ids of stanzas: the generator costs less by the dozen. It belongs to one thread, begins as
 * all zero, and is thrown away in a forked process, which would else give the ids that its parent gives. */
typedef struct xm_rnd_supply {
  unsigned char bytes[32 * XM_RND_ID];
  size_t left;
  unsigned forks; /* as many as there were when it was drawn */
  bool is_seeded;
  uint64_t seed;  /* of the next bytes */
} xm_rnd_supply;

/* For tests: the ids to come are the same each time, and anybody can guess them. NULL: random again. */
void xm_rnd_seed(xm_rnd_supply *s, const uint64_t *seed);

int xm_rnd_supplied_id(xm_rnd_supply *s, char id[XM_RND_ID + 1]);

#endif
