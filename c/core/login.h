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

/* Who logs in, and by what means. Strings are borrowed. */
typedef struct xm_login_account {
  const xm_jid *jid;
  const char *mechanisms; /* allow-list; NULL: all */
  const xm_buf *password; /* NULL: there is none */
  bool plain, pinned;     /* see xm_mech_policy */
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
/* <success/> is on the tape. 0, or XM_EFAIL: it is none. */
int xm_login_success(xm_login *l, const xm_tape *t, xm_err *e);

#endif
