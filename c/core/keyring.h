/* keyring: SCRAM's keys of logins that have succeeded, for the next ones (RFC 5802 5.1 lets a client keep them): what a
 * server's rounds of hashing cost is paid once. Rank 1: knows buf, rnd. Called by scram, and by who forgets all.
 *
 * One for the process and all of its threads, in memory that is locked, is left out of core dumps, and is empty in a
 * child after a fork. Where the system doesn't give such memory, nothing is kept. What is there, is found only by a
 * keyed hash of all that the keys are derived from, the password too: with another password nothing is found. */
#ifndef XM_KEYRING_H
#define XM_KEYRING_H

#include <stdbool.h>
#include <stddef.h>

enum {
  XM_KEYRING_SIZE = 128, /* bytes of keys */
  XM_KEYRING_MOST = 64,  /* the one that was used longest ago goes */
  XM_KEYRING_NAME = 32,
};

typedef struct xm_keyring_name {
  unsigned char bytes[XM_KEYRING_NAME];
} xm_keyring_name;

/* The name for what is derived from these bytes. It is of use in this process only, and until all is forgotten. false:
 * nothing can be kept. */
bool xm_keyring_name_of(const void *bytes, size_t n, xm_keyring_name *name);

/* false: there are none. */
bool xm_keyring_get(const xm_keyring_name *name, unsigned char keys[XM_KEYRING_SIZE]);
void xm_keyring_put(const xm_keyring_name *name, const unsigned char keys[XM_KEYRING_SIZE]);
void xm_keyring_drop(const xm_keyring_name *name);

/* All of it, zeroised and given back. */
void xm_keyring_forget(void);

/* Who holds it may put keys there; when the last one lets go, all is forgotten. */
void xm_keyring_hold(void);
void xm_keyring_release(void);

#endif
