/* mech: which mechanism to log in with, and what binds it to the channel (RFC 6120 6.3, RFC 5802 6, XEP-0440 5,
 * XEP-0484). Rank 1: uses err, buf, and scram's names of hashes. Only chooses: the messages of a mechanism are sasl's.
 *
 * Strongest first: EXTERNAL; SCRAM-SHA-512-PLUS, -256-PLUS, -1-PLUS; the same without -PLUS (RFC 5802, RFC 7677); PLAIN
 * (RFC 4616); ANONYMOUS (RFC 4505), which is for those who have no account. The mechanisms for tokens (XEP-0484) have
 * no place in this order: each token is for one of them. */
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
  xm_scram_hash hash; /* of SCRAM */
  int binding;        /* of a token: the type; XM_MECH_BINDINGS: it is bound to nothing */
} xm_mech;

/* Types of channel binding, strongest first (RFC 9266, RFC 5929). */
enum { XM_MECH_EXPORTER, XM_MECH_UNIQUE, XM_MECH_END_POINT, XM_MECH_BINDINGS };
const char *xm_mech_binding_name(int type); /* "tls-exporter", ... */

/* What TLS provides for channel binding. All zero: there is no TLS. */
typedef struct xm_mech_channel {
  unsigned version; /* 0x0304: TLS 1.3 */
  struct {
    size_t n; /* 0: not available on this connection */
    unsigned char bytes[64];
  } bindings[XM_MECH_BINDINGS];
} xm_mech_channel;

/* Names as they came, borrowed. Those for which there is no room count for the choice all the same, but the list as a
 * whole can't be proved then: `n` is greater than XM_MECH_NAMES. */
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
  unsigned known;    /* a bit for each mechanism that we know */
  bool lists;        /* types of channel binding are listed (XEP-0440) */
  unsigned bindings; /* of these, a bit for each that we know */
  xm_mech_list mechanisms, types;
  char names[256]; /* the mechanisms, for error texts: "SCRAM-SHA-1, X-FOO, ..." truncated to fit */
} xm_mech_offer;

void xm_mech_offer_add(xm_mech_offer *offer, const char *name, size_t n);
void xm_mech_offer_add_binding(xm_mech_offer *offer, const char *type, size_t n);
/* Appends the text that a server hashes to prove its offer (XEP-0474 5.1); sorts the lists. 0; XM_ELIMIT: too many
 * names; XM_ENOMEM. */
int xm_mech_offer_text(xm_mech_offer *offer, xm_buf *out);
/* The offer of which such a text was made; its names are borrowed from the text. */
void xm_mech_offer_read(xm_mech_offer *offer, const char *text, size_t n);

/* A comma- or space-separated allow-list of mechanism names ("SCRAM-SHA-256 PLAIN") as bits; NULL: all, but of those
 * for tokens only the ones whose proof can't be replayed on another channel. *unknown: the first name that we don't
 * know (with its length), else NULL. */
unsigned xm_mech_allowed(const char *list, const char **unknown, size_t *unknown_len);
/* Does the list allow nothing but ANONYMOUS, so that the login is anonymous, whatever the JID? */
bool xm_mech_is_anonymous(const char *list);

/* Who logs in, over what. */
typedef struct xm_mech_policy {
  unsigned allowed;        /* by xm_mech_allowed */
  bool username, password; /* there are such */
  bool certificate;        /* TLS presents one of ours */
  bool tls, verified;      /* the channel is TLS; the server's certificate was verified */
  bool plain;              /* PLAIN may be used at all */
  bool pinned;             /* this account has logged in by something better before: PLAIN isn't used any more */
  const xm_mech_channel *channel;
  bool bound;   /* this account has logged in bound to the channel before: nothing less is accepted any more */
  bool refused; /* the server has refused a type of binding that it hadn't listed: it is not tried again */
  bool strict;  /* it speaks SASL2, which doesn't allow a -PLUS without a list of types (XEP-0440 5, rule 3) */
  bool fronted; /* TLS may end in front of the server, and mostly does (WebSocket): where that offers nothing to be
                   bound by, it is sent 'n', since some servers take 'y' for a lie there (ejabberd 24) */
} xm_mech_policy;

typedef struct xm_mech_choice {
  const xm_mech *mech;
  char flag;      /* SCRAM's, by GS2 (RFC 5802 7): 'p': bound; 'y': we could be, the server couldn't; 'n': no */
  int binding;    /* with 'p': the type */
  bool guessed;   /* with 'p': the server hasn't listed the type, and there is a way without. If it refuses that, choose
                     again with `refused` */
  bool need_hash; /* the offer isn't honest unless the server proves it (XEP-0474 6, on XEP-0440's rules 5 and 6) */
} xm_mech_choice;

/* The strongest that is offered, allowed and possible.
 * - EXTERNAL needs a certificate, SCRAM and PLAIN a username and a password, ANONYMOUS no username (or to be the only
 *   one allowed); PLAIN also verified TLS, no pin, and that no SCRAM is both offered and allowed.
 * - Bound where both sides can: by the strongest of the listed types; without a list by tls-unique, which is what
 *   servers without one accept, or, where that isn't available (TLS 1.3), by the strongest that is.
 * - Where we could be bound (TLS, and a -PLUS is allowed) but are not, the server is sent 'y', whatever the reason (but
 *   see `fronted`): it offered no -PLUS that we know, or none that is allowed; no type that it lists is available here;
 *   it has refused the one that was guessed. A server that can bind takes that for what it then is, an offer that
 *   somebody in between has changed, and refuses (RFC 5802 6). With 'n', that somebody could choose the reason.
 * - An offer that only somebody in between can have made has to be proved (need_hash), or is refused.
 * - An account that was bound before is bound, or refused.
 * 0, or XM_EFAIL with layer sasl: "invalid-mechanism" (the text lists what was offered), "no-channel-binding". */
int xm_mech_choose(const xm_mech_offer *offer, const xm_mech_policy *policy, xm_mech_choice *choice, xm_err *e);

/* Is `a` strictly stronger than `b`: a better kind of mechanism, or of the same kind and bound to the channel? */
bool xm_mech_is_stronger(const xm_mech_choice *a, const xm_mech_choice *b);

/* Tokens (XEP-0484). The bit of a mechanism for them, by its exact name; 0: we don't know it. */
unsigned xm_mech_token_bit(const char *name, size_t n);
/* The mechanism to request a token for, of those with these bits; NULL: there is none that is allowed and whose binding
 * is available. Only over TLS with a verified certificate. Where TLS may end in front of the server (`fronted`) and `offer`, from
 * which this login was chosen, has nothing to bind by, a bound token would be refused at the next login (ejabberd 24 lists them
 * all the same), so only an unbound one is requested. */
const xm_mech *xm_mech_for_token(unsigned listed, const xm_mech_policy *policy, const xm_mech_offer *offer);
/* Chooses to log in by a token issued for this mechanism. false: that isn't listed, isn't allowed, or can't be bound
 * here. */
bool xm_mech_choose_token(const char *name, unsigned listed, const xm_mech_policy *policy, xm_mech_choice *choice);

#endif
