#include "login.h"

#include <string.h>

#include "b64.h"
#include "out.h"

#define NS_BINDINGS "urn:xmpp:sasl-cb:0"

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

/* The password as RFC 8265 4.2 has it. */
static int prepare_password(const xm_buf *password, xm_buf *prepared, xm_err *e) {
  size_t cap = 3 * xm_buf_len(password) + 64, len;
  const char *reason = "";
  char *to = xm_buf_reserve(prepared, cap);
  const char *from = password->data ? xm_buf_at(password) : "";
  int rc = to ? xm_jid_opaque_string(from, xm_buf_len(password), to, cap, &len, &reason) : XM_ENOMEM;
  if (rc == XM_ENOMEM) return xm_err_nomem(e);
  if (rc < 0)
    return xm_err_set(e, XM_LAYER_SASL, "malformed-request", false, "the password cannot be used: %s", reason);
  xm_buf_commit(prepared, len);
  return XM_OK;
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

static int choose(const xm_login_account *a, const xm_mech_offer *offer, xm_mech_choice *choice, xm_err *e) {
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
                           .channel = a->channel};
  return xm_mech_choose(offer, &policy, choice, e);
}

/* What was offered is what the server has to prove, if it proves anything. Too long a list can't be proved. */
static int make_sasl(xm_login *l, const xm_login_account *a, xm_err *e) {
  xm_mech_kind kind = l->choice.mech->kind;
  bool by_password = kind == XM_MECH_SCRAM || kind == XM_MECH_PLAIN;
  xm_buf prepared = XM_BUF_SECRET;
  if (!by_password || prepare_password(a->password, &prepared, e) == XM_OK) {
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
  if (rc == XM_OK) rc = xm_sasl_first(l->sasl, &first, e);
  if (rc == XM_OK) rc = send_sasl("auth", l->choice.mech->name, &first, out, e);
  xm_buf_free(&first);
  return rc;
}

int xm_login_start(xm_login *l, const xm_login_account *account, const xm_tape *t, uint32_t mechanisms, xm_buf *out,
                   xm_err *e) {
  xm_mech_offer offer = {0};
  int rc;
  read_offer(t, mechanisms, &offer);
  rc = choose(account, &offer, &l->choice, e);
  if (rc == XM_OK && xm_mech_offer_text(&offer, &l->offered) == XM_ENOMEM) rc = xm_err_nomem(e);
  return rc == XM_OK ? say_first(l, account, out, e) : rc;
}

int xm_login_start_ahead(xm_login *l, const xm_login_account *account, const xm_buf *offered, xm_buf *out, xm_err *e) {
  xm_mech_offer offer;
  if (xm_buf_len(offered) == 0) return 0;
  xm_mech_offer_read(&offer, xm_buf_at(offered), xm_buf_len(offered));
  if (choose(account, &offer, &l->choice, NULL) < 0 || l->choice.mech->kind != XM_MECH_SCRAM) return 0;
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
  if (rc == XM_OK) rc = xm_sasl_step(l->sasl, in.data ? xm_buf_at(&in) : "", xm_buf_len(&in), &answer, e);
  if (rc == XM_OK) rc = send_sasl("response", NULL, &answer, out, e);
  xm_buf_free(&in);
  xm_buf_free(&answer);
  return rc;
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
