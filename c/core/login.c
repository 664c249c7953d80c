#include "login.h"

#include <string.h>

#include "b64.h"
#include "out.h"
#include "stringprep.h"

#define NS_BINDINGS "urn:xmpp:sasl-cb:0"

enum { SPREAD = 11 }; /* the most bytes that SASLprep makes of one: 33 of the three of U+FDFA */

void xm_login_clear(xm_login *l) {
  xm_sasl_free(l->sasl);
  xm_buf_free(&l->offered);
  *l = (xm_login){0};
}

static const char *ns_of(xm_login_profile profile) {
  return profile == XM_LOGIN_SASL2 ? XM_LOGIN_NS2 : XM_LOGIN_NS;
}

static int put_base64(xm_out *o, const xm_buf *payload) {
  xm_buf text = XM_BUF_SECRET;
  size_t n = xm_buf_len(payload);
  int rc;
  if (n == 0) return XM_OK;
  rc = xm_b64_encode(&text, xm_buf_at(payload), n);
  if (rc == XM_OK) rc = xm_out_text(o, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
  return rc;
}

static int send_response(const xm_login *l, const xm_buf *payload, xm_buf *out, xm_err *e) {
  xm_out o = xm_out_begin(out);
  int rc = xm_out_start(&o, "response", "xmlns", ns_of(l->profile), NULL);
  if (rc == XM_OK) rc = put_base64(&o, payload);
  if (rc == XM_OK) rc = xm_out_end(&o, "response");
  return rc == XM_OK ? XM_OK : xm_err_nomem(e);
}

/* An empty message is written as "=" (RFC 6120 6.4.2): all of our mechanisms have an initial one. */
static int send_auth(const char *mechanism, const xm_buf *payload, xm_buf *out) {
  xm_out o = xm_out_begin(out);
  int rc = xm_out_start(&o, "auth", "xmlns", XM_LOGIN_NS, "mechanism", mechanism, NULL);
  if (rc == XM_OK) rc = xm_buf_len(payload) ? put_base64(&o, payload) : xm_out_text(&o, "=", 1);
  return rc == XM_OK ? xm_out_end(&o, "auth") : rc;
}

/* An empty message is written as nothing (XEP-0388 2.6.1). */
static int send_authenticate(const char *mechanism, const xm_buf *payload, const xm_buf *inside, xm_buf *out) {
  xm_out o = xm_out_begin(out);
  int rc = xm_out_start(&o, "authenticate", "xmlns", XM_LOGIN_NS2, "mechanism", mechanism, NULL);
  if (rc == XM_OK) rc = xm_out_start(&o, "initial-response", NULL);
  if (rc == XM_OK) rc = put_base64(&o, payload);
  if (rc == XM_OK) rc = xm_out_end(&o, "initial-response");
  if (rc == XM_OK && inside) rc = xm_buf_put(out, xm_buf_at(inside), xm_buf_len(inside));
  return rc == XM_OK ? xm_out_end(&o, "authenticate") : rc;
}

/* The first form of the password, or with `other` the other one: see xm_login_again. 0; XM_EINVAL: it has none;
 * XM_ENOMEM. */
static int put_form(const xm_buf *password, bool other, xm_buf *to, const char **reason) {
  size_t n = xm_buf_len(password), cap = SPREAD * n + 64, len = 0;
  const char *from = password->data ? xm_buf_at(password) : "";
  char *room = xm_buf_reserve(to, cap);
  int rc = XM_EINVAL;
  if (!room) return XM_ENOMEM;
  if (!other) rc = xm_stringprep(XM_STRINGPREP_SASL, from, n, room, cap, &len);
  if (rc == XM_EINVAL) rc = xm_jid_opaque_string(from, n, room, cap, &len, reason);
  if (rc == XM_EINVAL && other) return xm_buf_put(to, from, n);
  if (rc == XM_OK) xm_buf_commit(to, len);
  return rc;
}

static bool is_same(const xm_buf *a, const xm_buf *b) {
  size_t n = xm_buf_len(a);
  return xm_buf_len(b) == n && memcmp(xm_buf_at(a), xm_buf_at(b), n) == 0;
}

/* Where both forms are the same, there is no other one to try. */
static int prepare_password(xm_login *l, const xm_buf *password, xm_buf *prepared, xm_err *e) {
  const char *reason = "", *unsaid;
  xm_buf other = XM_BUF_SECRET;
  int rc = put_form(password, false, prepared, &reason);
  int also = rc == XM_OK ? put_form(password, true, &other, &unsaid) : rc;
  if (also == XM_OK && is_same(prepared, &other)) {
    l->left &= ~(unsigned)XM_LOGIN_OTHER_FORM;
    l->detours &= ~(unsigned)XM_LOGIN_OTHER_FORM;
  } else if (l->detours & XM_LOGIN_OTHER_FORM) {
    xm_buf first = *prepared;
    *prepared = other;
    other = first;
  }
  xm_buf_free(&other);
  if (rc == XM_ENOMEM || also == XM_ENOMEM) return xm_err_nomem(e);
  if (rc == XM_OK) return XM_OK;
  return xm_err_set(e, XM_LAYER_SASL, "malformed-request", false, "the password cannot be used: %s", reason);
}

/* Reads what one of the two profiles offers: the direct children of its element (0: it isn't there), and the types of
 * channel binding, which are for both. Names further down are those for tokens, and don't count here. */
static void read_offer(const xm_tape *t, uint32_t at, xm_login_profile profile, xm_mech_offer *offer) {
  uint32_t list = xm_tape_child(t, 0, NS_BINDINGS, "sasl-channel-binding"), i;
  const char *s;
  size_t n;
  for (i = at ? xm_tape_child(t, at, ns_of(profile), "mechanism") : 0; i;
       i = xm_tape_sibling(t, i, ns_of(profile), "mechanism")) {
    s = xm_tape_content(t, i, &n);
    xm_mech_offer_add(offer, s, n);
  }
  offer->lists = list != 0;
  for (i = list ? xm_tape_child(t, list, NS_BINDINGS, "channel-binding") : 0; i;
       i = xm_tape_sibling(t, i, NS_BINDINGS, "channel-binding")) {
    s = xm_tape_get(t, i, "type", &n);
    if (s) xm_mech_offer_add_binding(offer, s, n);
  }
}

/* The record of a profile's element in the features; 0: it isn't offered, or may not be used, as SASL2 may not without
 * TLS. */
static uint32_t find_profile(const xm_login_account *a, const xm_tape *t, xm_login_profile profile) {
  if (profile == XM_LOGIN_SASL) return xm_tape_child(t, 0, XM_LOGIN_NS, "mechanisms");
  return a->sasl2 && a->tls ? xm_tape_child(t, 0, XM_LOGIN_NS2, "authentication") : 0;
}

static xm_mech_policy policy_of(const xm_login *l, const xm_login_account *a) {
  const char *unknown;
  size_t n;
  return (xm_mech_policy){.allowed = xm_mech_allowed(a->mechanisms, &unknown, &n),
                          .username = a->jid->local_len > 0,
                          .password = a->password != NULL,
                          .certificate = a->certificate,
                          .tls = a->tls,
                          .verified = a->verified,
                          .fronted = a->fronted,
                          .plain = a->plain,
                          .pinned = a->pinned,
                          .bound = a->bound,
                          .refused = l->detours & XM_LOGIN_UNBOUND,
                          .strict = l->profile == XM_LOGIN_SASL2 || a->strict,
                          .channel = a->channel};
}

/* Anything but a token. */
static int choose(xm_login *l, const xm_login_account *a, const xm_mech_offer *offer, xm_err *e) {
  const xm_mech_policy policy = policy_of(l, a);
  return xm_mech_choose(offer, &policy, &l->choice, e);
}

static bool choose_token(xm_login *l, const xm_login_account *a) {
  const xm_mech_policy policy = policy_of(l, a);
  return a->token && !(l->detours & XM_LOGIN_NO_TOKEN) && xm_mech_choose_token(a->token_mechanism, a->listed, &policy, &l->choice);
}

static bool is_by_token(const xm_login *l) {
  return l->choice.mech && l->choice.mech->kind == XM_MECH_TOKEN;
}

/* What was offered is what the server has to prove, if it proves anything (XEP-0474); too long a list can't be
 * proved. */
static int make_sasl(xm_login *l, const xm_login_account *a, xm_err *e) {
  xm_mech_kind kind = l->choice.mech->kind;
  bool by_password = kind == XM_MECH_SCRAM || kind == XM_MECH_PLAIN, by_token = kind == XM_MECH_TOKEN;
  xm_buf prepared = XM_BUF_SECRET;
  if (!by_password || prepare_password(l, a->password, &prepared, e) == XM_OK) {
    xm_sasl_login login = {.username = xm_jid_local(a->jid),
                           .username_len = a->jid->local_len,
                           .password = by_token ? a->token : xm_buf_at(&prepared),
                           .password_len = by_token ? a->token_len : xm_buf_len(&prepared),
                           .remember = a->remember,
                           .authzid = a->authzid ? a->jid->str : NULL,
                           .authzid_len = xm_jid_bare_len(a->jid),
                           .channel = a->channel,
                           .offered = xm_buf_len(&l->offered) ? xm_buf_at(&l->offered) : NULL,
                           .offered_len = xm_buf_len(&l->offered)};
    l->sasl = xm_sasl_new(&l->choice, &login, e);
  }
  xm_buf_free(&prepared);
  return l->sasl ? XM_OK : XM_EFAIL;
}

static void reset(xm_login *l, const xm_login_account *account) {
  l->detours = account->detours;
  l->left = account->password ? XM_LOGIN_UNBOUND | XM_LOGIN_OTHER_FORM : 0;
}

/* Nothing at all is offered. */
static int refuse_nothing(xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "no-mechanisms", false, "the server offers no way to log in here");
}

/* Without a token. `offers` are those of the two profiles. Where SASL2 has no mechanism for us, the other profile is
 * used if it offers any; what SASL2 refuses by its own rules, the other doesn't make good. */
static int choose_profile(xm_login *l, const xm_login_account *a, const bool has[2], const xm_mech_offer offers[2], xm_err *e) {
  const xm_mech_offer *old = &offers[XM_LOGIN_SASL], *new = &offers[XM_LOGIN_SASL2];
  xm_login other = {.detours = l->detours, .profile = XM_LOGIN_SASL};
  xm_login_account strict = *a;
  xm_err why = {0};
  strict.strict = a->strict || has[XM_LOGIN_SASL2];
  l->profile = XM_LOGIN_SASL2;
  if (has[XM_LOGIN_SASL2] && choose(l, a, new, &why) == XM_OK) {
    bool can = has[XM_LOGIN_SASL] && choose(&other, &strict, old, NULL) == XM_OK;
    if (!can || !xm_mech_is_stronger(&other.choice, &l->choice)) return XM_OK;
  } else if (has[XM_LOGIN_SASL2] && (!old->mechanisms.n || strcmp(why.condition, "invalid-mechanism") != 0)) {
    if (!new->mechanisms.n) return refuse_nothing(e);
    if (e) *e = why;
    return XM_EFAIL;
  }
  l->profile = XM_LOGIN_SASL;
  return choose(l, &strict, old, e);
}

/* A token belongs to SASL2, and so does what follows its refusal. So it isn't used where the other profile would be
 * chosen without it: its refusal must not lead to something weaker than that. */
static bool may_show_token(const xm_login *l, const xm_login_account *a, const bool has[2], const xm_mech_offer offers[2]) {
  xm_login without = {.detours = l->detours};
  return has[XM_LOGIN_SASL2] &&
         (choose_profile(&without, a, has, offers, NULL) < 0 || without.profile == XM_LOGIN_SASL2);
}

int xm_login_choose(xm_login *l, const xm_login_account *account, const xm_tape *t, xm_err *e) {
  uint32_t at[2] = {find_profile(account, t, XM_LOGIN_SASL), find_profile(account, t, XM_LOGIN_SASL2)};
  const bool has[2] = {at[0] != 0, at[1] != 0};
  xm_mech_offer offers[2] = {{0}, {0}};
  int rc = XM_OK;
  read_offer(t, at[XM_LOGIN_SASL], XM_LOGIN_SASL, &offers[XM_LOGIN_SASL]);
  read_offer(t, at[XM_LOGIN_SASL2], XM_LOGIN_SASL2, &offers[XM_LOGIN_SASL2]);
  reset(l, account);
  if (!has[0] && !has[1]) return refuse_nothing(e);
  l->profile = XM_LOGIN_SASL2;
  if (!may_show_token(l, account, has, offers) || !choose_token(l, account)) rc = choose_profile(l, account, has, offers, e);
  if (rc == XM_OK && xm_mech_offer_text(&offers[l->profile], &l->offered) == XM_ENOMEM) return xm_err_nomem(e);
  return rc;
}

int xm_login_choose_ahead(xm_login *l, const xm_login_account *account, xm_login_profile profile, const xm_buf *offered,
                          xm_err *e) {
  xm_mech_offer offer;
  bool has2 = account->sasl2 && account->tls;
  if (xm_buf_len(offered) == 0 || (profile == XM_LOGIN_SASL2 ? !has2 : has2 && account->strict)) return 0;
  xm_mech_offer_read(&offer, xm_buf_at(offered), xm_buf_len(offered));
  reset(l, account);
  l->profile = profile;
  if (!(profile == XM_LOGIN_SASL2 && choose_token(l, account)) &&
      (choose(l, account, &offer, NULL) < 0 || l->choice.mech->kind != XM_MECH_SCRAM))
    return 0;
  if (xm_buf_put(&l->offered, xm_buf_at(offered), xm_buf_len(offered)) < 0) return xm_err_nomem(e);
  return 1;
}

int xm_login_say(xm_login *l, const xm_login_account *account, const xm_buf *inside, xm_buf *out, xm_err *e) {
  xm_buf first = XM_BUF_SECRET;
  int rc, said;
  xm_sasl_free(l->sasl);
  l->sasl = NULL;
  rc = make_sasl(l, account, e);
  l->challenged = false;
  if (!l->choice.guessed && !is_by_token(l)) l->left &= ~(unsigned)XM_LOGIN_UNBOUND;
  if (is_by_token(l)) l->token = XM_LOGIN_TOKEN_SHOWN;
  if (rc == XM_OK) rc = xm_sasl_first(l->sasl, &first, e);
  if (rc == XM_OK) {
    said = l->profile == XM_LOGIN_SASL2 ? send_authenticate(l->choice.mech->name, &first, inside, out)
                                        : send_auth(l->choice.mech->name, &first, out);
    if (said < 0) rc = xm_err_nomem(e);
  }
  xm_buf_free(&first);
  return rc;
}

/* The same profile would be chosen now as long as nothing better is offered than what the choice was made from. */
int xm_login_is_offered(const xm_login *l, const xm_login_account *account, const xm_tape *t, xm_err *e) {
  xm_mech_offer offer = {0};
  xm_buf text = XM_BUF_INIT;
  size_t n = xm_buf_len(&l->offered);
  int rc;
  uint32_t old = find_profile(account, t, XM_LOGIN_SASL), new = find_profile(account, t, XM_LOGIN_SASL2);
  if (!old && !new) return refuse_nothing(e);
  if (l->profile == XM_LOGIN_SASL && new) return 0;
  read_offer(t, l->profile == XM_LOGIN_SASL2 ? new : old, l->profile, &offer);
  rc = xm_mech_offer_text(&offer, &text);
  if (rc == XM_OK) rc = xm_buf_len(&text) == n && memcmp(xm_buf_at(&text), xm_buf_at(&l->offered), n) == 0;
  xm_buf_free(&text);
  return rc == XM_ENOMEM ? xm_err_nomem(e) : rc == 1;
}

const char *xm_login_token_to_ask_for(const xm_login *l, const xm_login_account *account) {
  const xm_mech_policy policy = policy_of(l, account);
  const xm_mech *mech;
  xm_mech_offer offer;
  xm_mech_offer_read(&offer, xm_buf_at(&l->offered), xm_buf_len(&l->offered));
  mech = xm_mech_for_token(account->listed, &policy, &offer);
  return mech ? mech->name : NULL;
}

bool xm_login_is(const xm_login *l, const xm_tape *t, const char *name) {
  return xm_tape_is(t, 0, ns_of(l->profile), name);
}

/* Decodes the text of record `i`; in RFC 6120's profile "=" is an empty one (6.4.2). */
static int decode_text(const xm_login *l, const xm_tape *t, uint32_t i, xm_buf *to, xm_err *e) {
  size_t len;
  const char *text = xm_tape_content(t, i, &len);
  bool is_empty = l->profile == XM_LOGIN_SASL && len == 1 && *text == '=';
  int rc = is_empty ? XM_OK : xm_b64_decode(to, text, len);
  if (rc == XM_ENOMEM) return xm_err_nomem(e);
  if (rc < 0 || xm_tape_child(t, i, NULL, NULL))
    return xm_err_set(e, XM_LAYER_SASL, "incorrect-encoding", false, "the server's <%s/> is not base64", xm_tape_name(t, i));
  return XM_OK;
}

/* The data of <success/> or <continue/>, for which SASL2 has a child element. */
static int decode_last(const xm_login *l, const xm_tape *t, xm_buf *to, xm_err *e) {
  uint32_t data;
  if (l->profile == XM_LOGIN_SASL) return decode_text(l, t, 0, to, e);
  data = xm_tape_child(t, 0, XM_LOGIN_NS2, "additional-data");
  if (data && xm_tape_sibling(t, data, XM_LOGIN_NS2, "additional-data"))
    return xm_err_set(e, XM_LAYER_SASL, "incorrect-encoding", false, "the server's <%s/> has <additional-data/> twice",
                      xm_tape_name(t, 0));
  return data ? decode_text(l, t, data, to, e) : XM_OK;
}

int xm_login_challenge(xm_login *l, const xm_tape *t, xm_buf *out, xm_err *e) {
  xm_buf in = XM_BUF_SECRET, answer = XM_BUF_SECRET;
  int rc = decode_text(l, t, 0, &in, e);
  l->challenged = true;
  if (rc == XM_OK) rc = xm_sasl_step(l->sasl, in.data ? xm_buf_at(&in) : "", xm_buf_len(&in), &answer, e);
  if (rc == XM_OK) rc = send_response(l, &answer, out, e);
  xm_buf_free(&in);
  xm_buf_free(&answer);
  return rc;
}

/* RFC 6120 6.5. */
static bool is_known(const char *name) {
  static const char *const known[] = {"aborted", "account-disabled", "credentials-expired", "encryption-required",
                                      "incorrect-encoding", "invalid-authzid", "invalid-mechanism", "malformed-request",
                                      "mechanism-too-weak", "not-authorized", "temporary-auth-failure"};
  size_t i;
  for (i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(name, known[i]) == 0) return true;
  return false;
}

const char *xm_login_condition(const xm_login *l, const xm_tape *t, const char **text) {
  bool is_new = l->profile == XM_LOGIN_SASL2;
  const char *ns = is_new ? NULL : XM_LOGIN_NS;
  uint32_t said = xm_tape_child(t, 0, ns, "text"), i;
  *text = said ? xm_tape_content(t, said, NULL) : "";
  for (i = xm_tape_child(t, 0, ns, NULL); i; i = xm_tape_sibling(t, i, ns, NULL))
    if (is_new ? is_known(xm_tape_name(t, i)) : i != said) return xm_tape_name(t, i);
  return "undefined-condition";
}

/* What the server may have refused, and can be changed. A type of channel binding that it doesn't accept is refused at
 * once (seen: Prosody with <malformed-request/>, ejabberd with <not-authorized/>); a wrong proof, only after it was
 * sent. */
static unsigned to_blame(const xm_login *l, const char *condition) {
  bool denied = strcmp(condition, "not-authorized") == 0;
  bool shown = l->challenged || l->choice.mech->kind == XM_MECH_PLAIN;
  if (!l->challenged && (denied || strcmp(condition, "malformed-request") == 0) && l->left & XM_LOGIN_UNBOUND)
    return XM_LOGIN_UNBOUND;
  return denied && shown ? l->left & XM_LOGIN_OTHER_FORM : 0;
}

/* Where there is no other choice, the refused one stays, since the error names it. */
static int choose_again(xm_login *l, const xm_login_account *account) {
  const xm_mech_choice refused = l->choice;
  xm_mech_offer offer;
  if (xm_buf_len(&l->offered) == 0) return XM_EFAIL; /* there were too many names for another choice */
  xm_mech_offer_read(&offer, xm_buf_at(&l->offered), xm_buf_len(&l->offered));
  if (choose(l, account, &offer, NULL) == XM_OK) return XM_OK;
  l->choice = refused;
  return XM_EFAIL;
}

/* A token that isn't good any more is dropped; where it is the server that can't accept one, it is kept (XEP-0484 3).
 * In both cases there may be another way to log in. */
static unsigned blame_token(xm_login *l, const char *condition) {
  static const char *const bad[] = {"not-authorized", "credentials-expired", "account-disabled"};
  size_t i;
  if (strcmp(condition, "temporary-auth-failure") == 0) return 0;
  for (i = 0; i < sizeof bad / sizeof *bad; i++)
    if (strcmp(condition, bad[i]) == 0) l->token = XM_LOGIN_TOKEN_REFUSED;
  return strcmp(condition, "account-disabled") == 0 ? 0 : XM_LOGIN_NO_TOKEN;
}

/* Remembered only where it is the server that accepts no token. */
static void go_without_token(xm_login *l) {
  l->detours &= ~(unsigned)XM_LOGIN_NO_TOKEN;
  if (l->token != XM_LOGIN_TOKEN_REFUSED) l->detours |= XM_LOGIN_NO_TOKEN;
}

int xm_login_again(xm_login *l, const xm_login_account *account, const char *condition) {
  bool by_token = is_by_token(l);
  unsigned blamed = by_token ? blame_token(l, condition) : to_blame(l, condition);
  if (!blamed) return 0;
  l->left &= ~blamed;
  l->taken |= blamed;
  if (by_token) go_without_token(l);
  else l->detours ^= blamed;
  return (by_token || blamed == XM_LOGIN_UNBOUND) && choose_again(l, account) < 0 ? 0 : 1;
}

bool xm_login_needs_password(const xm_login *l) {
  return l->left != 0;
}

int xm_login_success(xm_login *l, const xm_tape *t, xm_err *e) {
  xm_buf in = XM_BUF_SECRET;
  int rc = decode_last(l, t, &in, e);
  if (rc == XM_OK) rc = xm_sasl_success(l->sasl, in.data ? xm_buf_at(&in) : "", xm_buf_len(&in), e);
  if (rc == XM_OK && is_by_token(l)) l->token = XM_LOGIN_TOKEN_WORKED;
  xm_buf_free(&in);
  xm_sasl_free(l->sasl);
  l->sasl = NULL;
  return rc;
}
