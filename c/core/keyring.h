/* keyring: what logins leave for the next ones. SCRAM's keys (RFC 5802 5.1 lets a client keep them): what a server's rounds of
 * hashing cost is paid once. And tokens (XEP-0484), which are passwords for one account. Rank 1: knows buf, rnd. Called by scram,
 * by conn, and by who forgets all.
 *
 * One for the process and all of its threads, in memory that is locked, is left out of core dumps, and is empty in a
 * child after a fork. Where the system doesn't give such memory, nothing is kept. What is there, is found only by a
 * keyed hash of all that the keys are derived from, the password too: with another password nothing is found; a token, of whose
 * it is and where it may be shown. */
#ifndef XM_KEYRING_H
#define XM_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

enum { XM_TOKEN_MOST = 1024, XM_TOKEN_MECHANISM = 24, XM_KEYRING_TOKENS = 40 };

/* Secret: to be wiped. All zero: none. */
typedef struct xm_token {
  size_t n;
  char bytes[XM_TOKEN_MOST];
  char mechanism[XM_TOKEN_MECHANISM]; /* the only one that it is shown by */
  int64_t expiry;                     /* seconds since 1970; 0: not known */
} xm_token;

/* There are two for each name: a server takes the one that has worked last until the one that it has given since was used. */
typedef enum xm_token_slot { XM_TOKEN_NEW, XM_TOKEN_PROVEN } xm_token_slot;

/* false: there is none; it can't be kept. The one that was touched longest ago makes room. */
bool xm_keyring_token(const xm_keyring_name *name, xm_token_slot slot, xm_token *token);
bool xm_keyring_put_token(const xm_keyring_name *name, xm_token_slot slot, const xm_token *token);
void xm_keyring_drop_token(const xm_keyring_name *name, xm_token_slot slot);

/* All of it, zeroised and given back. */
void xm_keyring_forget(void);

/* Who holds it may put keys there; when the last one lets go, all is forgotten. */
void xm_keyring_hold(void);
void xm_keyring_release(void);

#endif
