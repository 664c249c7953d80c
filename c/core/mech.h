/* mech: which mechanism to log in with, and what binds it to the channel (RFC 6120 6.3, RFC 5802 6, XEP-0440 5, XEP-0484).
 * Rank 1: knows err, buf, and scram's names of hashes. Only chooses: what a mechanism says is sasl's.
 *
 * Strongest first: EXTERNAL; SCRAM-SHA-512-PLUS, -256-PLUS, -1-PLUS; the same without -PLUS (RFC 5802, RFC 7677);
 * PLAIN (RFC 4616); ANONYMOUS (RFC 4505), which is for those who have no name. Those for a token (XEP-0484) are none of these:
 * a token has its one mechanism. */
#ifndef XM_MECH_H
#define XM_MECH_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "scram.h"

typedef enum xm_mech_kind { XM_MECH_EXTERNAL, XM_MECH_SCRAM, XM_MECH_PLAIN, XM_MECH_ANONYMOUS, XM_MECH_TOKEN } xm_mech_kind;

typedef struct xm_mech {
  const char *name;
  xm_mech_kind kind;
  xm_scram_hash hash; /* SCRAM's */
  int binding;        /* a token's: the type, XM_MECH_BINDINGS: it is bound to nothing */
} xm_mech;

/* Types of channel binding, strongest first (RFC 9266, RFC 5929). */
enum { XM_MECH_EXPORTER, XM_MECH_UNIQUE, XM_MECH_END_POINT, XM_MECH_BINDINGS };
const char *xm_mech_binding_name(int type); /* "tls-exporter", ... */

/* What TLS says of the channel. All zero: there is no TLS. */
typedef struct xm_mech_channel {
  unsigned version; /* 0x0304: TLS 1.3 */
  struct {
    size_t n; /* 0: can't be had on this connection */
    unsigned char bytes[64];
  } bindings[XM_MECH_BINDINGS];
} xm_mech_channel;

/* Names as they came, borrowed. Those that find no place count for the choice all the same, but not for a proof of the
 * whole list: `n` is then greater than XM_MECH_NAMES. */
enum { XM_MECH_NAMES = 64 };
typedef struct xm_mech_list {
  unsigned n;
  struct {
    const char *s;
    size_t n;
  } at[XM_MECH_NAMES];
} xm_mech_list;

/* What the server offers, collected name by name. All zero: nothing yet. */
typedef struct xm_mech_offer {
  unsigned known;    /* a bit for each mechanism of ours */
  bool lists;        /* types of channel binding are listed (XEP-0440) */
  unsigned bindings; /* of these, a bit for each of ours */
  xm_mech_list mechanisms, types;
  char names[256]; /* the mechanisms, for error texts: "SCRAM-SHA-1, X-FOO, ..." cut to fit */
} xm_mech_offer;

void xm_mech_offer_add(xm_mech_offer *offer, const char *name, size_t n);
void xm_mech_offer_add_binding(xm_mech_offer *offer, const char *type, size_t n);
/* Appends what a server hashes to prove its offer (XEP-0474 5.1); sorts the lists. 0; XM_ELIMIT: too many names;
 * XM_ENOMEM. */
int xm_mech_offer_text(xm_mech_offer *offer, xm_buf *out);
/* The offer that such a text stands for; its names are borrowed from there. */
void xm_mech_offer_read(xm_mech_offer *offer, const char *text, size_t n);

/* A comma- or space-separated allow-list of mechanism names ("SCRAM-SHA-256 PLAIN") as bits; NULL: all, but for tokens only
 * those whose proof can't be said again on another channel. The first name that is not one of ours is told by `*unknown` (with
 * its length), else NULL. */
unsigned xm_mech_allowed(const char *list, const char **unknown, size_t *unknown_len);
/* Does the list allow nothing but ANONYMOUS, so that the login is nobody's, whatever the JID? */
bool xm_mech_is_anonymous(const char *list);

/* Who logs in, over what. */
typedef struct xm_mech_policy {
  unsigned allowed;        /* by xm_mech_allowed */
  bool username, password; /* are there */
  bool certificate;        /* TLS shows one of ours */
  bool tls, verified;      /* the channel is TLS; with a certificate that is the server's */
  bool plain;              /* PLAIN may be used at all */
  bool pinned;             /* this account has logged in by something better before: no PLAIN any more */
  const xm_mech_channel *channel;
  bool bound;   /* this account has logged in bound to the channel before: nothing less any more */
  bool refused; /* the server has refused a type of binding that it hadn't listed: it is not tried again */
  bool strict;  /* it speaks SASL2, which doesn't allow a -PLUS without a list of types (XEP-0440 5, rule 3) */
  bool fronted; /* TLS may end in front of it, and mostly does (WebSocket): where nothing is offered to be bound by, nothing is said
                   of it, since some servers take 'y' for a lie there (ejabberd 24) */
} xm_mech_policy;

typedef struct xm_mech_choice {
  const xm_mech *mech;
  char flag;      /* GS2's (RFC 5802 7): 'p' bound; 'y' would be, if the server could; 'n' we don't. SCRAM's */
  int binding;    /* with 'p': the type */
  bool guessed;   /* with 'p': which the server hasn't listed, and there is a way without. If it refuses that, choose again
                     with `refused` */
  bool need_hash; /* the offer makes no sense unless the server proves it (XEP-0474 6, on XEP-0440's rules 5 and 6) */
} xm_mech_choice;

/* The strongest that is offered, allowed and within reach.
 * - EXTERNAL needs a certificate, SCRAM and PLAIN a username and a password, ANONYMOUS no username (or to be the only
 * one allowed); PLAIN moreover verified TLS, no pin, and that no SCRAM is both offered and allowed.
 * - Bound where both can: of the listed types by the strongest; without a list by tls-unique, which is what servers take that
 *   have none, or, where that can't be had (TLS 1.3), by the strongest that is there.
 * - Where we could be bound (TLS, and a -PLUS is allowed) but are not, the server hears 'y', whatever the reason: no -PLUS of
 *   ours came, or none that is allowed; no type that it lists can be had here; it has refused the one that was guessed. A
 *   server that knows better takes that for what it then is, an offer that somebody in between has changed, and refuses
 *   (RFC 5802 6). 'n' would let that somebody choose the reason.
 * - An offer that only somebody in between can have made has to be proved (need_hash), or is refused.
 * - An account that was bound before is bound, or refused.
 * 0, or XM_EFAIL with layer sasl: "invalid-mechanism" (the text lists what was offered), "no-channel-binding". */
int xm_mech_choose(const xm_mech_offer *offer, const xm_mech_policy *policy, xm_mech_choice *choice, xm_err *e);

/* Is `a` strictly stronger than `b`: a better mechanism, or the like of it that is bound to the channel? */
bool xm_mech_is_stronger(const xm_mech_choice *a, const xm_mech_choice *b);

/* Tokens (XEP-0484). The bit of a mechanism for them, by its exact name; 0: none of ours. */
unsigned xm_mech_token_bit(const char *name, size_t n);
/* The mechanism to ask a token for, of those with these bits; NULL: none that is allowed and whose binding can be had. Only over
 * TLS with a verified certificate. Where TLS may end in front of the server (`fronted`) and `offer`, the one that this login was
 * chosen from, has nothing to be bound by, a bound token would be refused at the next login (ejabberd 24 lists them all the same):
 * then only one that isn't bound. */
const xm_mech *xm_mech_for_token(unsigned listed, const xm_mech_policy *policy, const xm_mech_offer *offer);
/* To log in by a token that was issued for this mechanism. false: it isn't listed, not allowed, or can't be bound here. */
bool xm_mech_choose_token(const char *name, unsigned listed, const xm_mech_policy *policy, xm_mech_choice *choice);

#endif
