/* known: what servers have shown in earlier logins of this process: the SASL mechanisms that one offers, and in which
 * profile; what it objects to being sent before it has asked (XEP-0305); and how a login succeeded where its first try
 * was refused. A bounded table, for all loops and threads alike; the server not met for longest is forgotten first.
 * Nothing in it is secret, and nothing in it is relied on: it only says what may be sent sooner. Rank 0. */
#ifndef XM_KNOWN_H
#define XM_KNOWN_H

#include <stdbool.h>
#include <stddef.h>

enum { XM_KNOWN_SERVERS = 32, XM_KNOWN_KEY = 704, XM_KNOWN_OFFER = 512 };

typedef struct xm_known {
  bool met;           /* a login has succeeded there */
  unsigned objected;  /* what it has objected to: bits of the caller's */
  unsigned suspected; /* what it may have objected to */
  unsigned detours;   /* how the last login succeeded: bits of the caller's */
  bool sasl2;         /* a login by SASL2 has succeeded there */
  bool offer_is_sasl2; /* the offer is SASL2's; */
  unsigned inside;     /* and what could be carried inside of the login: bits of the caller's */
  size_t n;           /* length of the offer; 0: it isn't known */
  char offer[XM_KNOWN_OFFER];
} xm_known;

/* `key` identifies a server: at most XM_KNOWN_KEY bytes; of a longer one nothing is known. All zero: nothing is. */
void xm_known_get(const void *key, size_t n, xm_known *k);
/* Notes the offer with which a login has succeeded; one that is too long for the table counts as not known. */
void xm_known_offer(const void *key, size_t n, const char *offer, size_t len, bool sasl2, unsigned inside);
/* Notes that the server has objected to these bits, besides earlier ones. Not `sure`: it may have been the network, so
 * it counts only when it happens a second time without a success in between. */
void xm_known_objection(const void *key, size_t n, unsigned bits, bool sure);
/* Notes a login: the bits that were accepted on the way, and its detours. */
void xm_known_success(const void *key, size_t n, unsigned bits, unsigned detours, bool sasl2);
/* There was another reason: these bits are cleared, as if nobody had objected. */
void xm_known_pardon(const void *key, size_t n, unsigned bits);
/* Forgets everything. */
void xm_known_clear(void);

#endif
