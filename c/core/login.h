/* login: SASL as XMPP carries it: the offer read from the stream features, base64 in XML. There are two profiles of that: the one
 * of RFC 6120 6 (<auth/>, <challenge/>, <response/>, <success/>), and SASL2 (XEP-0388: <authenticate/>, and so on), in whose
 * messages other things may ride; what, is inside's. Nobody else knows both. Rank 2, nego's own: knows err, buf, tape, b64, out,
 * jid, mech, sasl. */
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

/* What a server may refuse, so that the login is begun once more without it, on the same stream. */
enum {
  XM_LOGIN_UNBOUND = 1,    /* a type of channel binding that it hasn't listed: it is told that we have none ('y') */
  XM_LOGIN_OTHER_FORM = 2, /* the first of two forms of the password: see xm_login_again */
  XM_LOGIN_NO_TOKEN = 4,   /* a login by token as such, whichever it is */
};

/* What has become of the token. */
typedef enum xm_login_token {
  XM_LOGIN_TOKEN_UNUSED,
  XM_LOGIN_TOKEN_SHOWN, /* and not answered, or by nothing that says anything of it */
  XM_LOGIN_TOKEN_WORKED,
  XM_LOGIN_TOKEN_REFUSED, /* it is of no use any more */
} xm_login_token;

/* Who logs in, and by what means. Strings are borrowed. */
typedef struct xm_login_account {
  const xm_jid *jid;
  const char *mechanisms; /* allow-list; NULL: all */
  const xm_buf *password; /* NULL: there is none */
  bool plain, pinned, bound; /* see xm_mech_policy */
  bool sasl2;             /* SASL2 may be used, where it is offered */
  bool strict;            /* the server has had it before: its rules count, whatever it offers now */
  unsigned detours;       /* XM_LOGIN_*: how an earlier login got on, so that this one begins with it */
  bool remember;          /* see xm_sasl_login */
  bool certificate;       /* TLS shows one of ours */
  bool authzid;           /* which doesn't name this account and no other (XEP-0178) */
  bool tls, verified, fronted; /* see xm_mech_policy */
  const xm_mech_channel *channel;
  const char *token;      /* NULL: there is none */
  size_t token_len;
  const char *token_mechanism; /* that it was issued for */
  unsigned listed;        /* mechanisms for tokens, as the server lists them: bits of xm_mech_token_bit */
} xm_login_account;

/* All zero: not begun. */
typedef struct xm_login {
  xm_login_profile profile;
  xm_mech_choice choice;
  xm_buf offered; /* xm_mech_offer_text of what it was chosen from; empty: too much for that */
  xm_sasl *sasl; /* until it has succeeded */
  unsigned detours; /* XM_LOGIN_*: what this try goes without */
  unsigned left;    /* those that may still be changed, each once */
  unsigned taken;   /* those that have been */
  bool challenged;  /* this try has got further than its first message */
  xm_login_token token;
} xm_login;

void xm_login_clear(xm_login *l);

/* Chooses profile and mechanism by the features on the tape. SASL2 where it has something to choose, but for an offer of the
 * other profile that is strictly stronger, which no honest server makes; a token, if there is one that may be used, goes before
 * all else in SASL2. 0, or XM_EFAIL. */
int xm_login_choose(xm_login *l, const xm_login_account *account, const xm_tape *t, xm_err *e);
/* The same before the features have come, by the offer of an earlier login (`offered` of it) in this profile. Only what shows
 * nothing of the password is said ahead: SCRAM's first message, a token's proof. 1: it is chosen; 0: the offer has to be waited
 * for; XM_EFAIL. */
int xm_login_choose_ahead(xm_login *l, const xm_login_account *account, xm_login_profile profile, const xm_buf *offered,
                          xm_err *e);
/* The features have come, too late for a choice. 1: they have what was chosen from, name by name, so that the choice is what it
 * would have been; 0: they have not; XM_EFAIL. */
int xm_login_is_offered(const xm_login *l, const xm_login_account *account, const xm_tape *t, xm_err *e);
/* Appends <auth/>, or <authenticate/> with what is inside it besides (NULL, or empty: nothing), of what was chosen. 0 or
 * XM_EFAIL. */
int xm_login_say(xm_login *l, const xm_login_account *account, const xm_buf *inside, xm_buf *out, xm_err *e);

/* The mechanism to ask for a token for (XEP-0484); NULL: none. A string that stays. */
const char *xm_login_token_to_ask_for(const xm_login *l, const xm_login_account *account);

/* Is it an element of this profile's, of that name? */
bool xm_login_is(const xm_login *l, const xm_tape *t, const char *name);
/* <challenge/> is on the tape: appends <response/>. 0 or XM_EFAIL. */
int xm_login_challenge(xm_login *l, const xm_tape *t, xm_buf *out, xm_err *e);
/* <failure/> is on the tape: its condition (RFC 6120 6.5), and its text or "". SASL2's is the first one that is known, in whatever
 * namespace, as Prosody has some in the wrong one. Strings of the tape's. */
const char *xm_login_condition(const xm_login *l, const xm_tape *t, const char **text);
/* It was refused with that condition. 1: the login is to be begun once more, it is chosen by what, and xm_login_say says it; 0: it
 * is final.
 *
 * A password with characters that were handled otherwise by the older profile (SASLprep, RFC 4013) than by the newer one
 * (OpaqueString, RFC 8265; of what that refuses, as a soft hyphen, nothing is changed) has two forms, and which of them a server has stored can't be seen. SCRAM is defined by the older
 * (RFC 5802 2.2), which comes first, by PLAIN as well; then the newer, which is mostly what was typed: ejabberd, where it keeps
 * passwords as they are, compares PLAIN's with that byte for byte. This is no help to who guesses: both are made of the one secret that the program has given, who doesn't have that has neither, and who has a
 * list of guesses can prepare them himself. Who plays the server hears a second proof of the same secret, made as the first
 * is, or by PLAIN a second spelling of what he was shown before. It costs a second failure, of those that a server counts
 * before it locks an account, only where the forms differ and the first was refused for what it is ("not-authorized").
 *
 * Behind a token comes what would have been chosen without. */
int xm_login_again(xm_login *l, const xm_login_account *account, const char *condition);
/* Until then the password is needed; false: not any more. */
bool xm_login_needs_password(const xm_login *l);
/* <success/>, or SASL2's <continue/>, is on the tape. 0, or XM_EFAIL: the server has not shown what the mechanism wants of it. */
int xm_login_success(xm_login *l, const xm_tape *t, xm_err *e);

#endif
