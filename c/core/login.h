/* login: SASL as XMPP carries it (RFC 6120 6): the offer read from the stream features, base64 in <auth/>,
 * <challenge/>, <response/>, <success/>. Rank 2, nego's own: knows err, buf, tape, b64, out, jid, mech, sasl. */
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

#define XM_LOGIN_NS "urn:ietf:params:xml:ns:xmpp-sasl"

/* What a server may refuse, so that the login is begun once more without it, on the same stream. */
enum {
  XM_LOGIN_UNBOUND = 1,   /* a type of channel binding that it hasn't listed: it is told that we have none ('y') */
  XM_LOGIN_OTHER_FORM = 2 /* the first of two forms of the password: see xm_login_again */
};

/* Who logs in, and by what means. Strings are borrowed. */
typedef struct xm_login_account {
  const xm_jid *jid;
  const char *mechanisms; /* allow-list; NULL: all */
  const xm_buf *password; /* NULL: there is none */
  bool plain, pinned, bound; /* see xm_mech_policy */
  unsigned detours;       /* XM_LOGIN_*: how an earlier login got on, so that this one begins with it */
  bool remember;          /* see xm_sasl_login */
  bool certificate;       /* TLS shows one of ours */
  bool authzid;           /* which doesn't name this account and no other (XEP-0178) */
  bool tls, verified;
  const xm_mech_channel *channel;
} xm_login_account;

/* All zero: not begun. */
typedef struct xm_login {
  xm_mech_choice choice;
  xm_buf offered; /* xm_mech_offer_text of what it was chosen from; empty: too much for that */
  xm_sasl *sasl; /* until it has succeeded */
  unsigned detours; /* XM_LOGIN_*: what this try goes without */
  unsigned left;    /* those that may still be changed, each once */
  unsigned taken;   /* those that have been */
  bool challenged;  /* this try has got further than its first message */
} xm_login;

void xm_login_clear(xm_login *l);

/* Chooses by <mechanisms/> (record `mechanisms` of the features on the tape) and appends <auth/>. 0 or XM_EFAIL. */
int xm_login_start(xm_login *l, const xm_login_account *account, const xm_tape *t, uint32_t mechanisms, xm_buf *out,
                   xm_err *e);
/* The same before <mechanisms/> has come, by the offer of an earlier login (`offered` of it). Only what shows nothing
 * of the password is said ahead: SCRAM's first message. 1: it was begun; 0: it was not, the offer has to be waited for;
 * XM_EFAIL. */
int xm_login_start_ahead(xm_login *l, const xm_login_account *account, const xm_buf *offered, xm_buf *out, xm_err *e);
/* <mechanisms/> has come, too late for a choice. 1: it is what was chosen from, name by name, so that the choice is
 * what it would have been; 0: it is not; XM_EFAIL. */
int xm_login_is_offered(const xm_login *l, const xm_tape *t, uint32_t mechanisms, xm_err *e);
/* <challenge/> is on the tape: appends <response/>. 0 or XM_EFAIL. */
int xm_login_challenge(xm_login *l, const xm_tape *t, xm_buf *out, xm_err *e);
/* <failure/> has come, with that condition. 1: the login is begun once more, <auth/> is appended; 0: it is final; XM_EFAIL.
 *
 * A password with characters that were handled otherwise by the older profile (SASLprep, RFC 4013) than by the newer one
 * (OpaqueString, RFC 8265; of what that refuses, as a soft hyphen, nothing is changed) has two forms, and which of them a server has stored can't be seen. SCRAM is defined by the older
 * (RFC 5802 2.2), which comes first, by PLAIN as well; then the newer, which is mostly what was typed: ejabberd, where it keeps
 * passwords as they are, compares PLAIN's with that byte for byte. This is no help to who guesses: both are made of the one secret that the program has given, who doesn't have that has neither, and who has a
 * list of guesses can prepare them himself. Who plays the server hears a second proof of the same secret, made as the first
 * is, or by PLAIN a second spelling of what he was shown before. It costs a second failure, of those that a server counts
 * before it locks an account, only where the forms differ and the first was refused for what it is ("not-authorized"). */
int xm_login_again(xm_login *l, const xm_login_account *account, const char *condition, xm_buf *out, xm_err *e);
/* Until then the password is needed; false: not any more. */
bool xm_login_needs_password(const xm_login *l);
/* <success/> is on the tape. 0, or XM_EFAIL: it is none. */
int xm_login_success(xm_login *l, const xm_tape *t, xm_err *e);

#endif
