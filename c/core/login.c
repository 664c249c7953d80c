#include "login.h"

#include <string.h>

#include "b64.h"
#include "out.h"
#include "stringprep.h"

#define NS_BINDINGS "urn:xmpp:sasl-cb:0"

enum { SPREAD = 11 }; /* what SASLprep makes of a byte at most: 33 of the three of U+FDFA */

void xm_login_clear(xm_login *l) {
  xm_sasl_free(l->sasl);
  xm_buf_free(&l->offered);
  *l = (xm_login){0};
}

static int put_base64(xm_out *o, const xm_buf *payload) {
  xm_buf text = XM_BUF_SECRET;
  size_t n = xm_buf_len(payload);
  int rc = n ? xm_b64_encode(&text, xm_buf_at(payload), n) : xm_buf_puts(&text, "=");
  if (rc == XM_OK) rc = xm_out_text(o, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
  return rc;
}

/* <auth/> has a payload always, <response/> only one that isn't empty (RFC 6120 6.4.2, 6.4.3). */
static int send_sasl(const char *name, const char *mechanism, const xm_buf *payload, xm_buf *out, xm_err *e) {
  xm_out o = xm_out_begin(out);
  int rc = xm_out_start(&o, name, "xmlns", XM_LOGIN_NS, "mechanism", mechanism, NULL);
  if (rc == XM_OK && (mechanism || xm_buf_len(payload))) rc = put_base64(&o, payload);
  if (rc == XM_OK) rc = xm_out_end(&o, name);
  return rc == XM_OK ? XM_OK : xm_err_nomem(e);
}

/* The first form of the password, or, when there is that, the other one: see xm_login_again. 0; XM_EINVAL: it has none;
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

/* Where both forms are the same, there is nothing to choose. */
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

static void read_offer(const xm_tape *t, uint32_t mechanisms, xm_mech_offer *offer) {
  uint32_t list = xm_tape_child(t, 0, NS_BINDINGS, "sasl-channel-binding"), i;
  const char *s;
  size_t n;
  for (i = xm_tape_child(t, mechanisms, XM_LOGIN_NS, "mechanism"); i;
       i = xm_tape_sibling(t, i, XM_LOGIN_NS, "mechanism")) {
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

static int choose(xm_login *l, const xm_login_account *a, const xm_mech_offer *offer, xm_err *e) {
  const char *unknown;
  size_t n;
  xm_mech_policy policy = {.allowed = xm_mech_allowed(a->mechanisms, &unknown, &n),
                           .username = a->jid->local_len > 0,
                           .password = a->password != NULL,
                           .certificate = a->certificate,
                           .tls = a->tls,
                           .verified = a->verified,
                           .plain = a->plain,
                           .pinned = a->pinned,
                           .bound = a->bound,
                           .refused = l->detours & XM_LOGIN_UNBOUND,
                           .channel = a->channel};
  return xm_mech_choose(offer, &policy, &l->choice, e);
}

/* What was offered is what the server has to prove, if it proves anything. Too long a list can't be proved. */
static int make_sasl(xm_login *l, const xm_login_account *a, xm_err *e) {
  xm_mech_kind kind = l->choice.mech->kind;
  bool by_password = kind == XM_MECH_SCRAM || kind == XM_MECH_PLAIN;
  xm_buf prepared = XM_BUF_SECRET;
  if (!by_password || prepare_password(l, a->password, &prepared, e) == XM_OK) {
    xm_sasl_login login = {.username = xm_jid_local(a->jid),
                           .username_len = a->jid->local_len,
                           .password = xm_buf_at(&prepared),
                           .password_len = xm_buf_len(&prepared),
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

/* Everything is chosen. */
static int say_first(xm_login *l, const xm_login_account *account, xm_buf *out, xm_err *e) {
  xm_buf first = XM_BUF_SECRET;
  int rc = make_sasl(l, account, e);
  l->challenged = false;
  if (!l->choice.guessed) l->left &= ~(unsigned)XM_LOGIN_UNBOUND;
  if (rc == XM_OK) rc = xm_sasl_first(l->sasl, &first, e);
  if (rc == XM_OK) rc = send_sasl("auth", l->choice.mech->name, &first, out, e);
  xm_buf_free(&first);
  return rc;
}

static void reset(xm_login *l, const xm_login_account *account) {
  l->detours = account->detours;
  l->left = account->password ? XM_LOGIN_UNBOUND | XM_LOGIN_OTHER_FORM : 0;
}

int xm_login_start(xm_login *l, const xm_login_account *account, const xm_tape *t, uint32_t mechanisms, xm_buf *out,
                   xm_err *e) {
  xm_mech_offer offer = {0};
  int rc;
  read_offer(t, mechanisms, &offer);
  reset(l, account);
  rc = choose(l, account, &offer, e);
  if (rc == XM_OK && xm_mech_offer_text(&offer, &l->offered) == XM_ENOMEM) rc = xm_err_nomem(e);
  return rc == XM_OK ? say_first(l, account, out, e) : rc;
}

int xm_login_start_ahead(xm_login *l, const xm_login_account *account, const xm_buf *offered, xm_buf *out, xm_err *e) {
  xm_mech_offer offer;
  if (xm_buf_len(offered) == 0) return 0;
  xm_mech_offer_read(&offer, xm_buf_at(offered), xm_buf_len(offered));
  reset(l, account);
  if (choose(l, account, &offer, NULL) < 0 || l->choice.mech->kind != XM_MECH_SCRAM) return 0;
  if (xm_buf_put(&l->offered, xm_buf_at(offered), xm_buf_len(offered)) < 0) return xm_err_nomem(e);
  return say_first(l, account, out, e) == XM_OK ? 1 : XM_EFAIL;
}

int xm_login_is_offered(const xm_login *l, const xm_tape *t, uint32_t mechanisms, xm_err *e) {
  xm_mech_offer offer = {0};
  xm_buf text = XM_BUF_INIT;
  size_t n = xm_buf_len(&l->offered);
  int rc;
  read_offer(t, mechanisms, &offer);
  rc = xm_mech_offer_text(&offer, &text);
  if (rc == XM_OK) rc = xm_buf_len(&text) == n && memcmp(xm_buf_at(&text), xm_buf_at(&l->offered), n) == 0;
  xm_buf_free(&text);
  return rc == XM_ENOMEM ? xm_err_nomem(e) : rc == 1;
}

/* A challenge's or a success's payload; "=" is an empty one (RFC 6120 6.4.2). */
static int decode_payload(const xm_tape *t, xm_buf *to, xm_err *e) {
  size_t len;
  const char *text = xm_tape_content(t, 0, &len);
  int rc = len == 1 && *text == '=' ? XM_OK : xm_b64_decode(to, text, len);
  if (rc == XM_ENOMEM) return xm_err_nomem(e);
  if (rc < 0 || xm_tape_child(t, 0, NULL, NULL))
    return xm_err_set(e, XM_LAYER_SASL, "incorrect-encoding", false, "the server's <%s/> is not base64",
                      xm_tape_name(t, 0));
  return XM_OK;
}

int xm_login_challenge(xm_login *l, const xm_tape *t, xm_buf *out, xm_err *e) {
  xm_buf in = XM_BUF_SECRET, answer = XM_BUF_SECRET;
  int rc = decode_payload(t, &in, e);
  l->challenged = true;
  if (rc == XM_OK) rc = xm_sasl_step(l->sasl, in.data ? xm_buf_at(&in) : "", xm_buf_len(&in), &answer, e);
  if (rc == XM_OK) rc = send_sasl("response", NULL, &answer, out, e);
  xm_buf_free(&in);
  xm_buf_free(&answer);
  return rc;
}

/* What the server may have refused, and can be changed. A type of binding that it doesn't take, it refuses at once (seen:
 * Prosody with <malformed-request/>, ejabberd with <not-authorized/>); a wrong proof, only when it has come. */
static unsigned to_blame(const xm_login *l, const char *condition) {
  bool denied = strcmp(condition, "not-authorized") == 0;
  bool shown = l->challenged || l->choice.mech->kind == XM_MECH_PLAIN;
  if (!l->challenged && (denied || strcmp(condition, "malformed-request") == 0) && l->left & XM_LOGIN_UNBOUND)
    return XM_LOGIN_UNBOUND;
  return denied && shown ? l->left & XM_LOGIN_OTHER_FORM : 0;
}

static int choose_again(xm_login *l, const xm_login_account *account) {
  xm_mech_offer offer;
  if (xm_buf_len(&l->offered) == 0) return XM_EFAIL; /* there were too many names for another choice */
  xm_mech_offer_read(&offer, xm_buf_at(&l->offered), xm_buf_len(&l->offered));
  return choose(l, account, &offer, NULL);
}

int xm_login_again(xm_login *l, const xm_login_account *account, const char *condition, xm_buf *out, xm_err *e) {
  unsigned blamed = to_blame(l, condition);
  if (!blamed) return 0;
  l->left &= ~blamed;
  l->taken |= blamed;
  l->detours ^= blamed;
  if (blamed == XM_LOGIN_UNBOUND && choose_again(l, account) < 0) return 0;
  xm_sasl_free(l->sasl);
  l->sasl = NULL;
  return say_first(l, account, out, e) == XM_OK ? 1 : XM_EFAIL;
}

bool xm_login_needs_password(const xm_login *l) {
  return l->left != 0;
}

int xm_login_success(xm_login *l, const xm_tape *t, xm_err *e) {
  xm_buf in = XM_BUF_SECRET;
  int rc = decode_payload(t, &in, e);
  if (rc == XM_OK) rc = xm_sasl_success(l->sasl, in.data ? xm_buf_at(&in) : "", xm_buf_len(&in), e);
  xm_buf_free(&in);
  xm_sasl_free(l->sasl);
  l->sasl = NULL;
  return rc;
}
