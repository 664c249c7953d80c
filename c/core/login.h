/* login: SASL as XMPP carries it: the offer read from the stream features, base64 in XML. There are two profiles: that
 * of RFC 6120 6 (<auth/>, <challenge/>, <response/>, <success/>), and SASL2 (XEP-0388: <authenticate/>, and so on),
 * whose messages may carry other things, which are inside's. No other module knows both. Rank 2, part of nego: uses
 * err, buf, tape, b64, out, jid, mech, sasl. */
#ifndef XM_LOGIN_H
#define XM_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "jid.h"
#include "mech.h"
#include "sasl.h"
#include "tape.h"

typedef enum xm_login_profile { XM_LOGIN_SASL, XM_LOGIN_SASL2 } xm_login_profile;
#define XM_LOGIN_NS "urn:ietf:params:xml:ns:xmpp-sasl"
#define XM_LOGIN_NS2 "urn:xmpp:sasl:2"

/* What a server may refuse, after which the login is begun once more without it, on the same stream. */
enum {
  XM_LOGIN_UNBOUND = 1,    /* a type of channel binding that it hasn't listed: then none is used ('y') */
  XM_LOGIN_OTHER_FORM = 2, /* the first of two forms of the password: see xm_login_again */
  XM_LOGIN_NO_TOKEN = 4,   /* logging in by a token at all, whichever it is */
};

/* What has become of the token. */
typedef enum xm_login_token {
  XM_LOGIN_TOKEN_UNUSED,
  XM_LOGIN_TOKEN_SHOWN, /* and not answered, or by something that says nothing about it */
  XM_LOGIN_TOKEN_WORKED,
  XM_LOGIN_TOKEN_REFUSED, /* it is of no use any more */
} xm_login_token;

/* Who logs in, and by what means. Strings are borrowed. */
typedef struct xm_login_account {
  const xm_jid *jid;
  const char *mechanisms; /* allow-list; NULL: all */
  const xm_buf *password; /* NULL: there is none */
  bool plain, pinned, bound; /* see xm_mech_policy */
  bool sasl2;             /* SASL2 may be used where it is offered */
  bool strict;            /* the server has had SASL2 before: its rules apply, whatever is offered now */
  unsigned detours;       /* XM_LOGIN_*: how an earlier login succeeded, so that this one begins with that */
  bool remember;          /* see xm_sasl_login */
  bool certificate;       /* TLS presents one of ours */
  bool authzid;           /* which doesn't name exactly this account (XEP-0178) */
  bool tls, verified, fronted; /* see xm_mech_policy */
  const xm_mech_channel *channel;
  const char *token;      /* NULL: there is none */
  size_t token_len;
  const char *token_mechanism; /* the one that it was issued for */
  unsigned listed;        /* the mechanisms for tokens that the server lists: bits of xm_mech_token_bit */
} xm_login_account;

/* All zero: not begun. */
typedef struct xm_login {
  xm_login_profile profile;
  xm_mech_choice choice;
  xm_buf offered; /* xm_mech_offer_text of what it was chosen from; empty: that was too long */
  xm_sasl *sasl; /* until it has succeeded */
  unsigned detours; /* XM_LOGIN_*: what this try goes without */
  unsigned left;    /* those that may still be switched, each once */
  unsigned taken;   /* those that have been switched */
  bool challenged;  /* this try has got beyond its first message */
  xm_login_token token;
} xm_login;

void xm_login_clear(xm_login *l);

/* Chooses profile and mechanism by the features on the tape. SASL2 where that has something to choose from, unless the
 * other profile's offer is strictly stronger, which no honest server makes; in SASL2 a token, if there is one that may
 * be used, comes before everything else. 0, or XM_EFAIL. */
int xm_login_choose(xm_login *l, const xm_login_account *account, const xm_tape *t, xm_err *e);
/* The same before the features have come, by the offer of an earlier login (`offered`) in this profile. Only what
 * reveals nothing of the password is sent ahead: SCRAM's first message, a token's proof. 1: it is chosen; 0: the offer
 * has to be waited for; XM_EFAIL. */
int xm_login_choose_ahead(xm_login *l, const xm_login_account *account, xm_login_profile profile, const xm_buf *offered,
                          xm_err *e);
/* The features have come after the choice. 1: they list what it was made from, name by name, so it would be the same
 * now; 0: they don't; XM_EFAIL. */
int xm_login_is_offered(const xm_login *l, const xm_login_account *account, const xm_tape *t, xm_err *e);
/* Appends <auth/>, or <authenticate/> with what else is to be inside it (NULL, or empty: nothing), for what was chosen.
 * 0 or XM_EFAIL. */
int xm_login_say(xm_login *l, const xm_login_account *account, const xm_buf *inside, xm_buf *out, xm_err *e);

/* The mechanism to request a token for (XEP-0484); NULL: none. A static string. */
const char *xm_login_token_to_ask_for(const xm_login *l, const xm_login_account *account);

/* Is it an element of this profile with that name? */
bool xm_login_is(const xm_login *l, const xm_tape *t, const char *name);
/* <challenge/> is on the tape: appends <response/>. 0 or XM_EFAIL. */
int xm_login_challenge(xm_login *l, const xm_tape *t, xm_buf *out, xm_err *e);
/* <failure/> is on the tape: its condition (RFC 6120 6.5), and its text or "". In SASL2 the condition is the first one
 * that is known, in whatever namespace, as Prosody has some in the wrong one. The strings are the tape's. */
const char *xm_login_condition(const xm_login *l, const xm_tape *t, const char **text);
/* The login was refused with that condition. 1: it is to be begun once more; by what, is chosen, and xm_login_say
 * writes it; 0: that was final.
 *
 * A password has two forms where the older profile (SASLprep, RFC 4013) treats some of its characters otherwise than
 * the newer one (OpaqueString, RFC 8265; what that refuses, such as a soft hyphen, is left unchanged); which of them a
 * server has stored can't be seen. SCRAM is defined with the older one (RFC 5802 2.2), which is tried first, with PLAIN
 * as well; then the newer one, which is mostly what was typed: ejabberd, where it stores plain passwords, compares
 * PLAIN's with that byte for byte. This doesn't help anybody to guess: both forms are made from the one secret that the
 * program has given; an attacker without it has neither, and one with a list of guesses can prepare them himself. One
 * who impersonates the server gets a second proof of the same secret, made as the first one was, or with PLAIN a second
 * spelling of what he was shown before. It costs a second failure, of those that a server counts before it locks an
 * account, only where the forms differ and the first one was refused as being wrong ("not-authorized").
 *
 * After a token, what would have been chosen without it is tried. */
int xm_login_again(xm_login *l, const xm_login_account *account, const char *condition);
/* May the password still be needed for another try? */
bool xm_login_needs_password(const xm_login *l);
/* <success/>, or SASL2's <continue/>, is on the tape. 0, or XM_EFAIL: the server has not proved what the mechanism
 * demands. */
int xm_login_success(xm_login *l, const xm_tape *t, xm_err *e);

#endif
