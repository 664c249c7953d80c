/* keyring: what logins leave for later ones. SCRAM's keys, which a client may keep (RFC 5802 5.1), so that the many
 * rounds of hashing that a server asks for are paid for once. And tokens (XEP-0484), which are passwords for one
 * account. Rank 1: uses buf, rnd. Called by scram, by conn, and by whoever forgets everything.
 *
 * There is one for the process and all of its threads, in memory that is locked, is left out of core dumps, and is
 * empty in a child after a fork. Where the system doesn't provide such memory, nothing is kept. Keys are found only by
 * a keyed hash of all that they are derived from, the password included: with another password nothing is found. Tokens
 * are found by one of whose they are and where they may be used. */
#ifndef XM_KEYRING_H
#define XM_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  XM_KEYRING_SIZE = 128, /* bytes of keys */
  XM_KEYRING_MOST = 64,  /* how many; the one used longest ago makes room */
  XM_KEYRING_NAME = 32,
};

typedef struct xm_keyring_name {
  unsigned char bytes[XM_KEYRING_NAME];
} xm_keyring_name;

/* The name for what is derived from these bytes. It is valid in this process only, and until everything is forgotten.
 * false: nothing can be kept. */
bool xm_keyring_name_of(const void *bytes, size_t n, xm_keyring_name *name);

/* false: there are none. */
bool xm_keyring_get(const xm_keyring_name *name, unsigned char keys[XM_KEYRING_SIZE]);
void xm_keyring_put(const xm_keyring_name *name, const unsigned char keys[XM_KEYRING_SIZE]);
void xm_keyring_drop(const xm_keyring_name *name);

enum { XM_TOKEN_MOST = 1024, XM_TOKEN_MECHANISM = 24, XM_KEYRING_TOKENS = 40 };

/* A secret: wipe it. All zero: none. */
typedef struct xm_token {
  size_t n;
  char bytes[XM_TOKEN_MOST];
  char mechanism[XM_TOKEN_MECHANISM]; /* the only one that it may be used with */
  int64_t expiry;                     /* seconds since 1970; 0: not known */
} xm_token;

/* Each name has two: a server accepts the one that worked last until the one that it has issued since is used. */
typedef enum xm_token_slot { XM_TOKEN_NEW, XM_TOKEN_PROVEN } xm_token_slot;

/* false: there is none; it can't be kept. The one used longest ago makes room. */
bool xm_keyring_token(const xm_keyring_name *name, xm_token_slot slot, xm_token *token);
bool xm_keyring_put_token(const xm_keyring_name *name, xm_token_slot slot, const xm_token *token);
void xm_keyring_drop_token(const xm_keyring_name *name, xm_token_slot slot);

/* Wipes everything, and gives the memory back. */
void xm_keyring_forget(void);

/* Only a holder may put keys there; when the last one lets go, everything is forgotten. */
void xm_keyring_hold(void);
void xm_keyring_release(void);

#endif
