/* known: what servers have shown in earlier logins of this process: the SASL mechanisms that one offers, and in which profile; what
 * it would not be told before it had asked (XEP-0305), and how a login got on where its first try was refused. A bounded table, for all loops and threads alike; who was not met
 * for longest is forgotten first. Nothing in it is secret, and nothing in it is believed: it is only what may be said
 * sooner. Rank 0. */
#ifndef XM_KNOWN_H
#define XM_KNOWN_H

#include <stdbool.h>
#include <stddef.h>

enum { XM_KNOWN_SERVERS = 32, XM_KNOWN_KEY = 704, XM_KNOWN_OFFER = 512 };

typedef struct xm_known {
  bool met;           /* a login has succeeded there */
  unsigned objected;  /* to what: bits of the caller's */
  unsigned suspected; /* of that, perhaps */
  unsigned detours;   /* how the last login got on: bits of the caller's */
  bool sasl2;         /* one by SASL2 has succeeded there */
  bool offer_is_sasl2; /* whose offer it is; */
  unsigned inside;     /* and what could ride inside of the login: bits of the caller's */
  size_t n;           /* 0: the offer isn't known */
  char offer[XM_KNOWN_OFFER];
} xm_known;

/* `key` tells servers apart: bytes, at most XM_KNOWN_KEY, else nothing is known of it. All zero: nothing is. */
void xm_known_get(const void *key, size_t n, xm_known *k);
/* The offer that a login has succeeded on; one that is too long for the table is as if it weren't known. */
void xm_known_offer(const void *key, size_t n, const char *offer, size_t len, bool sasl2, unsigned inside);
/* These bits, besides those before. Not `sure`: it may have been the network, and counts when it comes a second time
 * with no success between. */
void xm_known_objection(const void *key, size_t n, unsigned bits, bool sure);
/* A login: what was accepted of that, on the way, and its detours. */
void xm_known_success(const void *key, size_t n, unsigned bits, unsigned detours, bool sasl2);
/* There was another reason: these bits are as if nobody had objected. */
void xm_known_pardon(const void *key, size_t n, unsigned bits);
/* All of it is forgotten. */
void xm_known_clear(void);

#endif
