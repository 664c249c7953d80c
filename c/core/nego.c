#include "nego.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inside.h"
#include "ns.h"
#include "out.h"
#include "rnd.h"
#include "sasl.h"
#include "sm.h"

#define NS_STREAMS "urn:ietf:params:xml:ns:xmpp-streams"
#define NS_TLS "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"
#define NS_SESSION "urn:ietf:params:xml:ns:xmpp-session"
#define NS_SM "urn:xmpp:sm:3"

struct xm_nego {
  xm_nego_options o;
  xm_nego_state state;
  bool secure, verified;  /* TLS is there; with the right certificate */
  bool authenticated;
  bool has_password;
  bool proved;            /* a component's handshake was sent */
  bool has_sm, has_bind;  /* as offered after the login */
  xm_buf offers;          /* see xm_nego_take_offers */
  bool has_session;       /* and that the server asks for one to be begun (RFC 3921 3), as older servers do */
  unsigned may, ahead, went, objected; /* XM_NEGO_AHEAD_*: see there, and xm_nego_is_ahead and the next two */
  xm_buf expected;                     /* the offer of an earlier login */
  xm_nego_outcome outcome;
  uint32_t h;             /* the server's, of the session that was to be resumed */
  xm_buf password;        /* secret; empty once it is no longer needed */
  unsigned detours;       /* see xm_nego_set_detours */
  xm_mech_channel channel;
  xm_login login;
  bool strict, broken;    /* see xm_nego_set_sasl2 */
  xm_login_profile profile_expected;
  unsigned inside_expected, inside; /* see xm_inside_offered: at an earlier login, and now */
  size_t most;            /* bytes that the server accepts before the login (XEP-0478); 0: it hasn't said */
  bool bare;              /* nothing is carried inside, as the server accepts too few bytes */
  xm_inside_wish wish;    /* what has been asked for there */
  bool bound_inside;
  xm_enabled enabled;
  xm_token token, fresh;  /* secret */
  char id[XM_RND_ID + 1]; /* of the last iq sent */
  xm_jid jid;             /* what was bound */
};

xm_nego *xm_nego_new(const xm_nego_options *options, const char *password, size_t password_len) {
  xm_nego *n = calloc(1, sizeof *n);
  if (!n) return NULL;
  n->o = *options;
  n->o.token = NULL;
  if (options->token) memcpy(&n->token, options->token, sizeof n->token);
  n->password = XM_BUF_SECRET;
  n->has_password = password != NULL;
  if (!password || xm_buf_put(&n->password, password, password_len) == XM_OK) return n;
  xm_nego_free(n);
  return NULL;
}

void xm_nego_free(xm_nego *n) {
  if (!n) return;
  xm_login_clear(&n->login);
  xm_buf_free(&n->password);
  xm_buf_free(&n->expected);
  xm_buf_free(&n->offers);
  xm_enabled_clear(&n->enabled);
  xm_wipe(&n->token, sizeof n->token);
  xm_wipe(&n->fresh, sizeof n->fresh);
  free(n);
}

void xm_enabled_clear(xm_enabled *e) {
  free(e->id);
  free(e->location);
  *e = (xm_enabled){0};
}

void xm_nego_secured(xm_nego *n, bool verified) {
  n->secure = true;
  n->verified = verified;
  n->channel = (xm_mech_channel){0};
}

void xm_nego_set_channel(xm_nego *n, const xm_mech_channel *channel) {
  n->channel = *channel;
}

xm_nego_state xm_nego_at(const xm_nego *n) {
  return n->state;
}

int xm_nego_set_ahead(xm_nego *n, unsigned may, const char *offer, size_t len, xm_login_profile profile, unsigned inside) {
  n->may = may;
  n->profile_expected = profile;
  n->inside_expected = inside;
  xm_buf_clear(&n->expected);
  return len ? xm_buf_put(&n->expected, offer, len) : XM_OK;
}

void xm_nego_set_sasl2(xm_nego *n, bool strict, bool broken) {
  n->strict = strict;
  n->broken = broken;
}

void xm_nego_set_detours(xm_nego *n, unsigned detours) {
  n->detours = detours;
}

unsigned xm_nego_detours(const xm_nego *n) {
  return n->authenticated ? n->login.detours : 0;
}

unsigned xm_nego_is_ahead(const xm_nego *n) {
  return n->ahead;
}

unsigned xm_nego_went_ahead(const xm_nego *n) {
  return n->went;
}

unsigned xm_nego_objected(const xm_nego *n) {
  return n->objected;
}

bool xm_nego_is_secret(const xm_nego *n) {
  return n->state == XM_NEGO_SASL || n->state == XM_NEGO_HANDSHAKE;
}

const xm_jid *xm_nego_jid(const xm_nego *n) {
  return &n->jid;
}

const char *xm_nego_mechanism(const xm_nego *n) {
  return n->authenticated ? n->login.choice.mech->name : NULL;
}

const char *xm_nego_binding(const xm_nego *n) {
  return n->authenticated && n->login.choice.flag == 'p' ? xm_mech_binding_name(n->login.choice.binding) : NULL;
}

const char *xm_nego_offer(const xm_nego *n, size_t *len) {
  *len = xm_buf_len(&n->login.offered);
  if (!n->authenticated || !n->secure || *len == 0) return NULL;
  if (n->login.choice.mech->kind != XM_MECH_SCRAM && n->login.choice.mech->kind != XM_MECH_TOKEN) return NULL;
  return xm_buf_at(&n->login.offered);
}

xm_login_profile xm_nego_profile(const xm_nego *n) {
  return n->login.profile;
}

unsigned xm_nego_inside(const xm_nego *n) {
  return n->inside;
}

static bool is_sasl2(const xm_nego *n) {
  return n->login.profile == XM_LOGIN_SASL2;
}

bool xm_nego_is_in_sasl2(const xm_nego *n) {
  return is_sasl2(n) && (n->state == XM_NEGO_SASL || n->ahead == XM_NEGO_AHEAD_AUTH);
}

xm_login_token xm_nego_token(const xm_nego *n) {
  return n->login.token;
}

const xm_token *xm_nego_new_token(const xm_nego *n) {
  return &n->fresh;
}

bool xm_nego_is_bound_inside(const xm_nego *n) {
  return n->bound_inside;
}

xm_enabled xm_nego_take_enabled(xm_nego *n) {
  xm_enabled enabled = n->enabled;
  n->enabled = (xm_enabled){0};
  return enabled;
}

const char *xm_nego_waits_for(const xm_nego *n) {
  switch (n->state) {
    case XM_NEGO_HEADER: return "the server's stream header";
    case XM_NEGO_FEATURES: return "the server's stream features";
    case XM_NEGO_PROCEED: return "the server's answer to STARTTLS";
    case XM_NEGO_SASL: return "the server's answer to the authentication";
    case XM_NEGO_LAST: return "the server's features of the session";
    case XM_NEGO_RESUME: return "the server to resume the session";
    case XM_NEGO_BIND: return "the server to bind a resource";
    case XM_NEGO_SESSION: return "the server to begin a session";
    case XM_NEGO_HANDSHAKE: return "the server's answer to the component's handshake";
    default: return "nothing";
  }
}

const char *xm_nego_phase(const xm_nego *n) {
  if (n->state == XM_NEGO_BIND || n->state == XM_NEGO_SESSION || n->state == XM_NEGO_LAST) return "binding";
  if (n->authenticated) return n->o.previd ? "resuming" : "binding";
  return n->o.need_tls && !n->secure ? "securing" : "authenticating";
}

xm_nego_outcome xm_nego_outcome_of(const xm_nego *n, uint32_t *h) {
  *h = n->h;
  return n->outcome;
}

bool xm_nego_has_sm(const xm_nego *n) {
  return n->has_sm;
}

xm_buf xm_nego_take_offers(xm_nego *n) {
  xm_buf offers = n->offers;
  n->offers = XM_BUF_INIT;
  return offers;
}

/* Writing can only fail for want of memory: the names and values are ours or have been checked. */
static int wrote(int rc, xm_err *e) {
  return rc == XM_OK ? XM_OK : xm_err_nomem(e);
}

/* `next`, the verdict if all went well, or XM_EFAIL. */
static int came_to(int rc, int next) {
  return rc == XM_OK ? next : XM_EFAIL;
}

/* RFC 6120 4.7. Our address is not sent in the clear (4.7.1); ejabberd offers some features only to those who send it.
 * One who may log in by ANONYMOUS alone will get another address, and ejabberd accepts a SASL2 login only for the one
 * sent. */
int xm_nego_begin(xm_nego *n, xm_buf *out, xm_err *e) {
  const char *ns = n->o.component ? XM_NS_COMPONENT : XM_NS_CLIENT;
  bool tell = n->secure && n->o.jid->local_len && !xm_mech_is_anonymous(n->o.mechanisms);
  char from[XM_JID_MAX + 1];
  size_t from_len = xm_jid_bare_len(n->o.jid);
  xm_out o = xm_out_begin(out);
  int rc = xm_buf_puts(out, "<?xml version='1.0'?>");
  memcpy(from, n->o.jid->str, from_len);
  from[from_len] = '\0';
  if (rc == XM_OK) rc = xm_buf_puts(out, "<stream:stream xmlns:stream='" XM_NS_STREAM "'");
  if (rc == XM_OK) rc = xm_out_attr(&o, "xmlns", 5, ns, strlen(ns));
  if (rc == XM_OK) rc = xm_out_attr(&o, "to", 2, xm_jid_domain(n->o.jid), n->o.jid->domain_len);
  if (rc == XM_OK && tell) rc = xm_out_attr(&o, "from", 4, from, from_len);
  if (rc == XM_OK && !n->o.component) {
    const char *lang = n->o.lang ? n->o.lang : "en";
    rc = xm_out_attr(&o, "version", 7, "1.0", 3);
    if (rc == XM_OK) rc = xm_out_attr(&o, "xml:lang", 8, lang, strlen(lang));
  }
  if (rc == XM_OK) rc = xm_buf_putc(out, '>');
  n->state = XM_NEGO_HEADER;
  return wrote(rc, e);
}

/* What a stanza's or stream's error says: the condition, and the text where there is one. */
static const char *condition_of(const xm_tape *t, uint32_t i, const char *ns, const char **text) {
  uint32_t c = xm_tape_child(t, i, ns, NULL), said = xm_tape_child(t, i, ns, "text");
  *text = said ? xm_tape_content(t, said, NULL) : "";
  if (c && c == said) c = xm_tape_sibling(t, c, ns, NULL);
  return c ? xm_tape_name(t, c) : "undefined-condition";
}

static const char *colon(const char *text) { return *text ? ": " : ""; }

bool xm_nego_is_stream_error(const xm_tape *t) {
  return xm_tape_is(t, 0, XM_NS_STREAM, "error");
}

const char *xm_nego_other_host(const xm_tape *t) {
  uint32_t other = xm_nego_is_stream_error(t) ? xm_tape_child(t, 0, NS_STREAMS, "see-other-host") : 0;
  return other ? xm_tape_content(t, other, NULL) : NULL;
}

int xm_nego_stream_error(const xm_tape *t, xm_err *e) {
  static const char *const passing[] = {"connection-timeout", "internal-server-error", "remote-connection-failed",
                                        "reset", "resource-constraint", "system-shutdown", "undefined-condition"};
  const char *text, *condition = condition_of(t, 0, NS_STREAMS, &text), *other = xm_nego_other_host(t);
  bool retry = false;
  size_t i;
  for (i = 0; i < sizeof passing / sizeof *passing; i++) retry = retry || strcmp(condition, passing[i]) == 0;
  if (other)
    return xm_err_set(e, XM_LAYER_STREAM, condition, false, "the server says to connect to another host: %s",
                      other);
  return xm_err_set(e, XM_LAYER_STREAM, condition, retry, "the server ended the stream with <%s/>%s%s", condition,
                    colon(text), text);
}

static int unexpected(const xm_nego *n, const xm_tape *t, xm_err *e) {
  return xm_err_set(e, XM_LAYER_STREAM, "bad-format", false, "waiting for %s, <%s xmlns='%s'/> came",
                    xm_nego_waits_for(n), xm_tape_name(t, 0), xm_tape_ns(t, 0));
}

/* A component proves that it knows the secret: SHA-1 of stream id and secret, in hex (XEP-0114 3). */
static int send_handshake(xm_nego *n, const char *id, xm_buf *out, xm_err *e) {
  char hex[XM_SASL_HANDSHAKE + 1];
  xm_out o = xm_out_begin(out);
  int rc;
  n->state = XM_NEGO_HANDSHAKE;
  if (!id || !*id) return XM_NEGO_WAIT; /* Prosody sends none before its stream error for an unknown host */
  rc = xm_sasl_handshake(id, xm_buf_at(&n->password), xm_buf_len(&n->password), hex);
  if (rc == XM_OK) rc = xm_out_start(&o, "handshake", NULL);
  if (rc == XM_OK) rc = xm_out_text(&o, hex, XM_SASL_HANDSHAKE);
  if (rc == XM_OK) rc = xm_out_end(&o, "handshake");
  xm_wipe(hex, sizeof hex);
  xm_buf_free(&n->password);
  n->proved = true;
  return came_to(wrote(rc, e), XM_NEGO_WAIT);
}

int xm_nego_opened(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  const char *version = xm_tape_get(t, 0, "version", NULL);
  if (n->o.component && n->o.need_tls && !n->secure)
    return xm_err_set(e, XM_LAYER_TLS, "starttls-not-offered", false,
                      "there is no STARTTLS for components (XEP-0114): say tls=\"direct\", or \"none\" for a server on "
                      "a network that you trust");
  if (n->o.component) return send_handshake(n, xm_tape_get(t, 0, "id", NULL), out, e);
  if (!version || strtol(version, NULL, 10) < 1)
    return xm_err_set(e, XM_LAYER_STREAM, "unsupported-version", false,
                      "the server speaks no XMPP 1.0 (its stream's version is %s)", version ? version : "absent");
  n->state = XM_NEGO_FEATURES;
  return XM_NEGO_WAIT;
}

/* What was sent ahead relied on something that has changed. */
static int changed(xm_nego *n, const char *what, xm_err *e) {
  n->objected = n->ahead | XM_NEGO_CHANGED;
  return xm_err_set(e, XM_LAYER_STREAM, "undefined-condition", true, "the server's %s at the last login", what);
}

/* STARTTLS (RFC 6120 5). */

static int send_starttls(xm_buf *out, xm_err *e) {
  xm_out o = xm_out_begin(out);
  int rc = xm_out_start(&o, "starttls", "xmlns", NS_TLS, NULL);
  if (rc == XM_OK) rc = xm_out_end(&o, "starttls");
  return wrote(rc, e);
}

static int start_tls(xm_nego *n, xm_buf *out, xm_err *e) {
  n->state = XM_NEGO_PROCEED;
  return n->ahead ? XM_OK : send_starttls(out, e);
}

static int on_proceed(xm_nego *n, const xm_tape *t, xm_err *e) {
  if (xm_tape_is(t, 0, NS_TLS, "proceed")) return XM_NEGO_STARTTLS;
  if (!xm_tape_is(t, 0, NS_TLS, "failure")) return unexpected(n, t, e);
  return xm_err_set(e, XM_LAYER_TLS, "failure", true, "the server offered STARTTLS and then refused it");
}

/* SASL (RFC 6120 6). */

static xm_login_account account_of(const xm_nego *n) {
  return (xm_login_account){.jid = n->o.jid,
                            .mechanisms = n->o.mechanisms,
                            .password = n->has_password ? &n->password : NULL,
                            .plain = n->o.plain,
                            .pinned = n->o.pinned,
                            .bound = n->o.bound,
                            .sasl2 = n->o.sasl2 && !n->broken,
                            .strict = n->strict,
                            .detours = n->detours,
                            .remember = n->o.remember,
                            .certificate = n->o.certificate,
                            .authzid = n->o.authzid,
                            .tls = n->secure,
                            .verified = n->verified,
                            .fronted = n->o.fronted,
                            .channel = n->secure ? &n->channel : NULL,
                            .token = n->token.n ? n->token.bytes : NULL,
                            .token_len = n->token.n,
                            .token_mechanism = n->token.mechanism,
                            .listed = n->inside};
}

/* Wipes the password as soon as it won't be needed any more. */
static void drop_password(xm_nego *n) {
  if (!xm_login_needs_password(&n->login)) xm_buf_free(&n->password);
}

/* The login was sent ahead: it stands only if the choice, and what is carried inside, would be the same now. */
static int confirm_sasl(xm_nego *n, const xm_tape *t, unsigned inside, xm_err *e) {
  xm_login_account account = account_of(n);
  int rc = xm_login_is_offered(&n->login, &account, t, e);
  if (rc < 0) return rc;
  if (rc && (!is_sasl2(n) || inside == n->inside)) return XM_OK;
  return changed(n, "SASL mechanisms are not what they were", e);
}

/* If the session to be resumed is lost, another one follows in the same exchange, where that is wanted. */
static xm_inside_wish wish_of(const xm_nego *n, const xm_login_account *account) {
  xm_inside_wish w = {.agent = n->o.agent, .by_token = n->login.choice.mech->kind == XM_MECH_TOKEN};
  w.invalidate = w.by_token && n->o.invalidate;
  if (n->bare) return w;
  w.software = n->o.software;
  w.device = n->o.device;
  w.bind = n->o.bind2 && !n->o.only_resume;
  w.tag = n->o.tag;
  w.enable = n->o.sm;
  w.resumable = n->o.resumable;
  w.carbons = n->o.carbons;
  w.inactive = n->o.inactive;
  w.previd = n->o.previd;
  w.h = n->o.h;
  if (n->o.fast && n->o.agent && !w.by_token) w.ask = xm_login_token_to_ask_for(&n->login, account);
  return w;
}

/* Appends the first message of what was chosen, with what is wanted inside. */
static int say_login(xm_nego *n, xm_buf *out, xm_err *e) {
  xm_login_account account = account_of(n);
  xm_buf inside = XM_BUF_INIT;
  int rc = XM_OK;
  n->wish = wish_of(n, &account);
  if (is_sasl2(n) && xm_inside_put(&n->wish, n->inside, &inside) < 0) rc = xm_err_nomem(e);
  if (rc == XM_OK) rc = xm_login_say(&n->login, &account, &inside, out, e);
  xm_buf_free(&inside);
  return rc;
}

/* The same, for a server that may accept only so many bytes: if there are more, it is sent with nothing inside. */
static int say_login_within(xm_nego *n, xm_buf *out, xm_err *e) {
  size_t mark = xm_buf_mark(out), most = n->most;
  if (say_login(n, out, e) < 0) return XM_EFAIL;
  if (!most || xm_buf_len(out) - mark <= most) return XM_OK;
  xm_buf_rollback(out, mark);
  n->bare = true;
  if (say_login(n, out, e) < 0) return XM_EFAIL;
  if (xm_buf_len(out) - mark <= most) return XM_OK;
  xm_buf_rollback(out, mark);
  return xm_err_set(e, XM_LAYER_STREAM, "policy-violation", false,
                    "the server takes no more than %zu bytes before the login, and the login is longer than that", most);
}

static int start_sasl(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  uint32_t at = xm_tape_child(t, 0, XM_LOGIN_NS2, "authentication");
  unsigned inside = at ? xm_inside_offered(t, at) : 0;
  xm_login_account account;
  int rc;
  if (n->ahead) {
    rc = confirm_sasl(n, t, inside, e);
  } else {
    n->inside = inside;
    account = account_of(n);
    rc = xm_login_choose(&n->login, &account, t, e);
    n->most = is_sasl2(n) ? xm_inside_limit(t) : 0;
    if (rc == XM_OK) rc = say_login_within(n, out, e);
  }
  drop_password(n);
  n->state = XM_NEGO_SASL;
  return rc;
}

/* For a person: what a refusal usually means, by what was sent. */
static const char *what_it_means(const xm_nego *n, const char *condition) {
  bool denied = strcmp(condition, "not-authorized") == 0;
  xm_mech_kind kind = n->login.choice.mech->kind;
  if (kind == XM_MECH_TOKEN && (denied || strcmp(condition, "credentials-expired") == 0))
    return n->has_password ? "the token is not good any more, and there is no other way to log in here: "
                           : "the token is not good any more, and there is no password to log in by: ";
  if (denied && (kind == XM_MECH_SCRAM || kind == XM_MECH_PLAIN)) return "wrong password, or no such account: ";
  return denied && kind == XM_MECH_EXTERNAL ? "the certificate is not good for this account: " : "";
}

/* The likely reason, if the password is right. */
static const char *hint_at_binding(const xm_nego *n) {
  if (n->login.choice.flag == 'y')
    return ". (It was told that the login isn't bound to the channel. If the server does offer that, somebody in between has "
           "changed its offer. To log in without, name only mechanisms without -PLUS in the option mechanisms)";
  if (n->login.choice.flag == 'p' && n->o.bound && !n->login.challenged)
    return ". (This account has logged in bound to the channel before, so it isn't tried without. If the server can't do "
           "that any more, call xmpp.forget(), or name mechanisms without -PLUS in the option mechanisms)";
  return "";
}

/* RFC 6120 6.5. */
static int sasl_failure(const xm_nego *n, const char *condition, const char *text, xm_err *e) {
  const char *forms = n->login.taken & XM_LOGIN_OTHER_FORM ? " (the password was tried in both of its forms)" : "";
  const char *hint = hint_at_binding(n);
  bool retry = strcmp(condition, "temporary-auth-failure") == 0;
  return xm_err_set(e, XM_LAYER_SASL, condition, retry, "%sthe server refused the login by %s with <%s/>%s%s%s%s",
                    what_it_means(n, condition), n->login.choice.mech->name, condition, forms, colon(text), text, hint);
}

static int on_failure(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  const char *text, *condition = xm_login_condition(&n->login, t, &text);
  xm_login_account account = account_of(n);
  int again = xm_login_again(&n->login, &account, condition);
  int rc = again ? say_login_within(n, out, e) : XM_OK;
  drop_password(n);
  if (!again) return sasl_failure(n, condition, text, e);
  return came_to(rc, XM_NEGO_WAIT);
}

/* For the session that SASL2's <success/> may have inside, see below. */
static int on_success2(xm_nego *n, const xm_tape *t, xm_err *e);

static int on_success(xm_nego *n, const xm_tape *t, xm_err *e) {
  int rc = xm_login_success(&n->login, t, e);
  n->authenticated = rc == XM_OK;
  xm_buf_free(&n->password);
  if (rc == XM_OK && is_sasl2(n)) return on_success2(n, t, e);
  return came_to(rc, XM_NEGO_RESTART);
}

/* The mechanism is done, and the server wants more (XEP-0388 2.6.3): a second factor, a new hash. We have none of
 * that. */
static int on_continue(xm_nego *n, const xm_tape *t, xm_err *e) {
  uint32_t tasks = xm_tape_child(t, 0, XM_LOGIN_NS2, "tasks"), i;
  char names[200] = "";
  size_t used = 0;
  if (xm_login_success(&n->login, t, e) < 0) return XM_EFAIL;
  for (i = tasks ? xm_tape_child(t, tasks, XM_LOGIN_NS2, "task") : 0; i && used < sizeof names - 1;
       i = xm_tape_sibling(t, i, XM_LOGIN_NS2, "task"))
    used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", xm_tape_content(t, i, NULL));
  return xm_err_set(e, XM_LAYER_SASL, "task-required", false,
                    "the server wants more of a login than the password, which this library can't do: %s", *names ? names : "(unnamed)");
}

static int on_sasl(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  if (xm_login_is(&n->login, t, "challenge")) return came_to(xm_login_challenge(&n->login, t, out, e), XM_NEGO_WAIT);
  if (xm_login_is(&n->login, t, "success")) return on_success(n, t, e);
  if (xm_login_is(&n->login, t, "failure")) return on_failure(n, t, out, e);
  if (is_sasl2(n) && xm_login_is(&n->login, t, "continue")) return on_continue(n, t, e);
  return unexpected(n, t, e);
}

/* Resource binding (RFC 6120 7). */

/* Begins <iq><NAME xmlns=NS>, with a new id. What xm_out returns, or XM_EFAIL. */
static int start_iq(xm_nego *n, xm_out *o, const char *name, const char *ns, xm_err *e) {
  int rc;
  if (xm_rnd_id(n->id) < 0)
    return xm_err_set(e, XM_LAYER_BIND, "no-randomness", true, "the system has no random bytes to give");
  rc = xm_out_start(o, "iq", "type", "set", "id", n->id, NULL);
  return rc == XM_OK ? xm_out_start(o, name, "xmlns", ns, NULL) : rc;
}

static int send_bind(xm_nego *n, xm_buf *out, xm_err *e) {
  xm_out o = xm_out_begin(out);
  int rc = start_iq(n, &o, "bind", NS_BIND, e);
  if (rc == XM_OK && n->o.jid->resource_len) {
    rc = xm_out_start(&o, "resource", NULL);
    if (rc == XM_OK) rc = xm_out_text(&o, xm_jid_resource(n->o.jid), n->o.jid->resource_len);
    if (rc == XM_OK) rc = xm_out_end(&o, "resource");
  }
  if (rc == XM_OK) rc = xm_out_end(&o, "bind");
  if (rc == XM_OK) rc = xm_out_end(&o, "iq");
  return wrote(rc, e);
}

/* RFC 3921 3, which RFC 6121 has abolished: a server that asks for it delivers no stanza before. */
static int send_session(xm_nego *n, xm_buf *out, xm_err *e) {
  xm_out o = xm_out_begin(out);
  int rc = start_iq(n, &o, "session", NS_SESSION, e);
  if (rc == XM_OK) rc = xm_out_end(&o, "session");
  if (rc == XM_OK) rc = xm_out_end(&o, "iq");
  n->state = XM_NEGO_SESSION;
  return wrote(rc, e);
}

/* Takes over the server's spelling as it is, since it may prepare by older rules than ours. */
static void adopt(xm_jid *jid, const xm_jid_parts *p) {
  char *to = jid->str;
  jid->local_len = (unsigned short)p->local_len;
  jid->domain_len = (unsigned short)p->domain_len;
  jid->resource_len = (unsigned short)p->resource_len;
  if (p->local_len) {
    memcpy(to, p->local, p->local_len);
    to[p->local_len] = '@';
    to += p->local_len + 1;
  }
  memcpy(to, p->domain, p->domain_len);
  to[p->domain_len] = '/';
  memcpy(to + p->domain_len + 1, p->resource, p->resource_len);
  to[p->domain_len + 1 + p->resource_len] = '\0';
}

/* The same localpart and domainpart as asked for; the resourcepart is the server's to choose (RFC 6120 7.6, 7.7), and
 * after an anonymous login the localpart, too. A server may write it as RFC 6122 does. */
static bool is_ours(const xm_nego *n, const xm_jid_parts *p) {
  const xm_jid *jid = n->o.jid;
  bool anonymous = n->login.choice.mech->kind == XM_MECH_ANONYMOUS;
  const char *want = anonymous ? xm_jid_domain(jid) : jid->str, *got = anonymous || !p->local ? p->domain : p->local;
  const char *reason;
  xm_jid bare;
  return xm_jid_parse(&bare, want, (size_t)(jid->str + xm_jid_bare_len(jid) - want), &reason) == XM_OK &&
         xm_jid_is(&bare, got, (size_t)(p->domain + p->domain_len - got));
}

/* Reads the address in record `i`, which must be ours; `full`: with a resourcepart. 0 or XM_EFAIL. */
static int read_own_jid(const xm_nego *n, const xm_tape *t, uint32_t i, bool full, xm_jid_parts *p, xm_err *e) {
  size_t len = 0;
  const char *s = i ? xm_tape_content(t, i, &len) : "", *reason = "";
  *p = (xm_jid_parts){0};
  if (xm_jid_split(p, s, len, &reason) < 0 || (full && !p->resource))
    return xm_err_set(e, XM_LAYER_BIND, "invalid-jid", false, "the server bound no %sJID but '%.100s'%s%s", full ? "full " : "", s,
                      colon(reason), reason);
  if (!is_ours(n, p))
    return xm_err_set(e, XM_LAYER_BIND, "wrong-jid", false, "the server bound '%.100s', which is not %s", s,
                      n->o.jid->str);
  return XM_OK;
}

static int on_bound(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  uint32_t bind = xm_tape_child(t, 0, NS_BIND, "bind"), jid = bind ? xm_tape_child(t, bind, NS_BIND, "jid") : 0;
  xm_jid_parts p;
  if (read_own_jid(n, t, jid, true, &p, e) < 0) return XM_EFAIL;
  adopt(&n->jid, &p);
  if (n->has_session) return came_to(send_session(n, out, e), XM_NEGO_WAIT);
  n->state = XM_NEGO_DONE;
  return XM_NEGO_READY;
}

/* Resumption (XEP-0198 5). */

static int send_resume(xm_nego *n, xm_buf *out, xm_err *e) {
  xm_out o = xm_out_begin(out);
  char h[16];
  int rc;
  snprintf(h, sizeof h, "%u", (unsigned)n->o.h);
  rc = xm_out_start(&o, "resume", "xmlns", NS_SM, "h", h, "previd", n->o.previd, NULL);
  if (rc == XM_OK) rc = xm_out_end(&o, "resume");
  return wrote(rc, e);
}

/* An h: decimal, within 32 bits. */
static bool read_h(const xm_tape *t, uint32_t i, uint32_t *h) {
  size_t n;
  const char *s = xm_tape_get(t, i, "h", &n);
  uint64_t value = s ? strtoull(s, NULL, 10) : 0;
  if (!s || n == 0 || n > 10 || strspn(s, "0123456789") != n || value > UINT32_MAX) return false;
  *h = (uint32_t)value;
  return true;
}

static int on_resumed(xm_nego *n, const xm_tape *t, uint32_t i, xm_err *e) {
  const char *previd = xm_tape_get(t, i, "previd", NULL);
  if (!previd || strcmp(previd, n->o.previd) != 0 || !read_h(t, i, &n->h))
    return xm_err_set(e, XM_LAYER_STREAM, "undefined-condition", true,
                      "the server resumed another session than ours, or didn't say how much of it it had handled");
  n->outcome = XM_NEGO_RESUMED;
  n->state = XM_NEGO_DONE;
  return XM_NEGO_READY;
}

static int resume(xm_nego *n, xm_buf *out, xm_err *e) {
  n->state = XM_NEGO_RESUME;
  return n->ahead ? XM_OK : send_resume(n, out, e);
}

static int bind_anew(xm_nego *n, xm_buf *out, xm_err *e) {
  n->state = XM_NEGO_BIND;
  if (n->o.only_resume)
    return xm_err_set(e, XM_LAYER_CLOSED, "session-lost", false,
                      "the server has forgotten the session, and a new one (reconnect) was not asked for");
  if (n->has_bind) return n->ahead ? XM_OK : send_bind(n, out, e);
  return xm_err_set(e, XM_LAYER_BIND, "not-offered", false, "the server offers no resource binding after the login");
}

/* Other elements of stream management mean nothing yet on a stream that is about to be resumed. */
static int on_resume(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  if (xm_tape_is(t, 0, NS_SM, "resumed")) return on_resumed(n, t, 0, e);
  if (xm_tape_is(t, 0, NS_SM, "r") || xm_tape_is(t, 0, NS_SM, "a")) return XM_NEGO_WAIT;
  if (!xm_tape_is(t, 0, NS_SM, "failed")) return unexpected(n, t, e);
  n->outcome = read_h(t, 0, &n->h) ? XM_NEGO_LOST_AT : XM_NEGO_LOST;
  return came_to(bind_anew(n, out, e), XM_NEGO_WAIT);
}

/* A server that has it only for older clients marks it as optional. */
static bool asks_for_session(const xm_tape *t) {
  uint32_t session = xm_tape_child(t, 0, NS_SESSION, "session");
  return session && !xm_tape_child(t, session, NULL, "optional");
}

/* The namespaces of what is offered; not without limit, as a server may send what it likes. */
int xm_nego_read_offers(const xm_tape *t, xm_buf *to) {
  uint32_t at = xm_tape_child(t, 0, NULL, NULL);
  unsigned left = XM_NEGO_OFFERS;
  xm_buf_clear(to);
  for (; at && left > 0; at = xm_tape_sibling(t, at, NULL, NULL), left--) {
    const char *ns = xm_tape_ns(t, at);
    size_t len = strlen(ns) + 1;
    if (xm_buf_len(to) + len > XM_NEGO_OFFERS_BYTES) continue;
    if (xm_buf_put(to, ns, len) < 0) return XM_ENOMEM;
  }
  return XM_OK;
}

/* After a login that had no session inside: the old session, or a new one. */
static int start_session(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  bool resumes = n->o.previd && n->outcome == XM_NEGO_ANEW;
  if (xm_nego_read_offers(t, &n->offers) < 0) return xm_err_nomem(e);
  n->has_sm = xm_tape_child(t, 0, NS_SM, "sm") != 0;
  n->has_bind = xm_tape_child(t, 0, NS_BIND, "bind") != 0;
  n->has_session = asks_for_session(t);
  if (resumes && n->has_sm) return resume(n, out, e);
  if (resumes && n->ahead) return changed(n, "stream management is not what it was", e);
  if (resumes) n->outcome = XM_NEGO_LOST;
  return bind_anew(n, out, e);
}

static int iq_refused(const xm_tape *t, const char *what, xm_err *e) {
  uint32_t error = xm_tape_child(t, 0, NULL, "error");
  const char *text = "", *condition = error ? condition_of(t, error, XM_NS_STANZAS, &text) : "undefined-condition";
  bool retry = strcmp(condition, "resource-constraint") == 0 || strcmp(condition, "internal-server-error") == 0;
  return xm_err_set(e, XM_LAYER_BIND, condition, retry, "the server refused to %s with <%s/>%s%s", what, condition,
                    colon(text), text);
}

/* 1: it is the response to our iq, and a result; XM_EFAIL: it is something else. */
static int is_result(const xm_nego *n, const xm_tape *t, const char *what, xm_err *e) {
  const char *id = xm_tape_get(t, 0, "id", NULL), *type = xm_tape_get(t, 0, "type", NULL);
  if (!xm_tape_is(t, 0, XM_NS_CLIENT, "iq") || !id || strcmp(id, n->id) != 0 || !type) return unexpected(n, t, e);
  if (strcmp(type, "error") == 0) return iq_refused(t, what, e);
  return strcmp(type, "result") == 0 ? 1 : unexpected(n, t, e);
}

static int on_bind(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  return is_result(n, t, "bind a resource", e) == 1 ? on_bound(n, t, out, e) : XM_EFAIL;
}

static int on_session(xm_nego *n, const xm_tape *t, xm_err *e) {
  if (is_result(n, t, "begin a session", e) < 0) return XM_EFAIL;
  n->state = XM_NEGO_DONE;
  return XM_NEGO_READY;
}

/* Inside of SASL2's <success/>. */

/* Copies a string of the server's; without memory it counts as absent, and the session can't be resumed. */
static char *copy_of(const char *s) {
  return s ? strdup(s) : NULL;
}

static void read_enabled(xm_nego *n, const xm_tape *t, uint32_t i) {
  const xm_sm_terms terms = xm_sm_read_terms(t, i);
  n->enabled = (xm_enabled){.on = true, .max = terms.max, .id = copy_of(terms.id), .location = copy_of(terms.location)};
}

/* <failed/> of Bind 2; Prosody wraps its condition in an <error/>. */
static int bind2_refused(const xm_tape *t, uint32_t i, xm_err *e) {
  uint32_t error = xm_tape_child(t, i, NULL, "error");
  const char *text, *condition = condition_of(t, error ? error : i, XM_NS_STANZAS, &text);
  return xm_err_set(e, XM_LAYER_BIND, condition, strcmp(condition, "resource-constraint") == 0,
                    "the server refused to bind a resource with <%s/>%s%s", condition, colon(text), text);
}

/* A token that wasn't requested is ignored: it isn't known which mechanism it is for. */
static void note_token(xm_nego *n, const xm_tape *t) {
  const char *mechanism = n->wish.by_token ? n->token.mechanism : n->wish.ask;
  if (!mechanism || n->wish.invalidate) return;
  xm_inside_read_token(t, &n->fresh);
  snprintf(n->fresh.mechanism, sizeof n->fresh.mechanism, "%s", mechanism);
}

static int on_success2(xm_nego *n, const xm_tape *t, xm_err *e) {
  bool tried = n->wish.previd && n->inside & XM_INSIDE_RESUME;
  xm_inside_answer a;
  xm_jid_parts p;
  if (xm_inside_read(t, &n->wish, n->inside, &a, e) < 0) return XM_EFAIL;
  if (a.refused) return bind2_refused(t, a.refused, e);
  if (read_own_jid(n, t, a.identifier, a.bound != 0, &p, e) < 0) return XM_EFAIL;
  note_token(n, t);
  if (a.resumed) return on_resumed(n, t, a.resumed, e);
  if (tried && (a.lost || a.bound)) n->outcome = a.lost && read_h(t, a.lost, &n->h) ? XM_NEGO_LOST_AT : XM_NEGO_LOST;
  n->state = a.bound ? XM_NEGO_LAST : XM_NEGO_FEATURES;
  if (!a.bound) return XM_NEGO_WAIT;
  adopt(&n->jid, &p);
  n->bound_inside = true;
  if (a.enabled) read_enabled(n, t, a.enabled);
  return XM_NEGO_WAIT;
}

/* The features that follow aren't needed; a server that sends none has done nothing wrong. */
static int on_last(xm_nego *n, const xm_tape *t, xm_err *e) {
  n->state = XM_NEGO_DONE;
  if (!xm_tape_is(t, 0, XM_NS_STREAM, "features")) return XM_NEGO_READY_BEFORE;
  n->has_sm = xm_tape_child(t, 0, NS_SM, "sm") != 0;
  return xm_nego_read_offers(t, &n->offers) < 0 ? xm_err_nomem(e) : XM_NEGO_READY;
}

/* What is still to do, in its order: TLS, SASL, binding. */
static int on_features(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  uint32_t tls = xm_tape_child(t, 0, NS_TLS, "starttls");
  int rc;
  if (!xm_tape_is(t, 0, XM_NS_STREAM, "features")) return unexpected(n, t, e);
  if (!n->secure && n->o.need_tls && !tls)
    return xm_err_set(e, XM_LAYER_TLS, "starttls-not-offered", false,
                      "the server offers no STARTTLS, and nothing secret is said in the clear. If it has a port for "
                      "direct TLS, say tls=\"direct\"");
  if (!n->secure && n->o.need_tls) {
    rc = start_tls(n, out, e);
  } else if (!n->authenticated) {
    rc = start_sasl(n, t, out, e);
  } else {
    rc = start_session(n, t, out, e);
  }
  return came_to(rc, XM_NEGO_WAIT);
}

static int on_handshake(xm_nego *n, const xm_tape *t, xm_err *e) {
  if (!xm_tape_is(t, 0, XM_NS_COMPONENT, "handshake") || !n->proved) return unexpected(n, t, e);
  memcpy(&n->jid, n->o.jid, offsetof(xm_jid, str) + xm_jid_len(n->o.jid) + 1); /* its memory may end at its NUL */
  n->state = XM_NEGO_DONE;
  return XM_NEGO_READY;
}

/* Sending ahead (XEP-0305). */

static int log_in_ahead(xm_nego *n, xm_buf *out, xm_err *e) {
  xm_login_account account;
  int rc;
  n->inside = n->inside_expected;
  account = account_of(n);
  rc = xm_login_choose_ahead(&n->login, &account, n->profile_expected, &n->expected, e);
  if (rc != 1) return rc;
  rc = say_login(n, out, e);
  drop_password(n);
  return rc < 0 ? rc : 1;
}

/* What would be sent next, whatever the features say. 0: that isn't known. */
static unsigned next_flight(const xm_nego *n) {
  if (n->o.component) return 0;
  if (n->authenticated) return XM_NEGO_AHEAD_SESSION;
  if (n->secure) return XM_NEGO_AHEAD_AUTH;
  return n->o.need_tls ? XM_NEGO_AHEAD_STARTTLS : 0;
}

int xm_nego_go_ahead(xm_nego *n, xm_buf *out, xm_err *e) {
  unsigned flight = next_flight(n) & n->may;
  int rc = 0;
  if (flight == XM_NEGO_AHEAD_STARTTLS) rc = send_starttls(out, e);
  if (flight == XM_NEGO_AHEAD_AUTH) rc = log_in_ahead(n, out, e);
  if (flight == XM_NEGO_AHEAD_SESSION) rc = n->o.previd ? send_resume(n, out, e) : send_bind(n, out, e);
  if (rc < 0) return rc;
  n->ahead = flight == XM_NEGO_AHEAD_AUTH && !rc ? 0 : flight;
  n->went |= n->ahead;
  return rc;
}

/* The conditions with which servers object to what was sent too early (RFC 6120 4.9.3): there is no agreed one. */
static bool is_objection(const char *condition) {
  static const char *const conditions[] = {"bad-format",          "connection-timeout",  "internal-server-error",
                                           "invalid-namespace",   "invalid-xml",         "not-authorized",
                                           "not-well-formed",     "policy-violation",    "restricted-xml",
                                           "undefined-condition", "unsupported-feature", "unsupported-stanza-type",
                                           "xml-not-well-formed"};
  size_t i;
  for (i = 0; i < sizeof conditions / sizeof *conditions; i++)
    if (strcmp(condition, conditions[i]) == 0) return true;
  return false;
}

static int on_stream_error(xm_nego *n, const xm_tape *t, xm_err *e) {
  const char *text;
  if (is_objection(condition_of(t, 0, NS_STREAMS, &text)))
    n->objected = n->ahead | (n->login.token == XM_LOGIN_TOKEN_SHOWN ? XM_NEGO_TOKEN : 0);
  return xm_nego_stream_error(t, e);
}

static bool is_stanza(const xm_tape *t) {
  const char *name = xm_tape_name(t, 0);
  if (strcmp(xm_tape_ns(t, 0), XM_NS_CLIENT) != 0) return false;
  return strcmp(name, "message") == 0 || strcmp(name, "presence") == 0 || strcmp(name, "iq") == 0;
}

/* Is it the response to an iq of ours, good or bad? (A request of the server's may have the same id.) */
static bool is_answer(const xm_nego *n, const xm_tape *t) {
  const char *id = xm_tape_get(t, 0, "id", NULL), *type = xm_tape_get(t, 0, "type", NULL);
  if (!*n->id || !id || strcmp(id, n->id) != 0 || !xm_tape_is(t, 0, NULL, "iq")) return false;
  return !type || (strcmp(type, "get") != 0 && strcmp(type, "set") != 0);
}

/* To a client that has logged in, a server may deliver what is for the session that it is about to have. */
static bool is_early(const xm_nego *n, const xm_tape *t) {
  if (!n->authenticated || n->state == XM_NEGO_HEADER || n->state == XM_NEGO_LAST || n->state == XM_NEGO_DONE) return false;
  return is_stanza(t) && !is_answer(n, t);
}

int xm_nego_read(xm_nego *n, const xm_tape *t, xm_buf *out, xm_err *e) {
  if (xm_nego_is_stream_error(t)) return on_stream_error(n, t, e);
  if (is_early(n, t)) return XM_NEGO_EARLY;
  if (n->state > XM_NEGO_FEATURES) n->ahead = 0; /* this is its answer */
  switch (n->state) {
    case XM_NEGO_FEATURES: return on_features(n, t, out, e);
    case XM_NEGO_PROCEED: return on_proceed(n, t, e);
    case XM_NEGO_SASL: return on_sasl(n, t, out, e);
    case XM_NEGO_LAST: return on_last(n, t, e);
    case XM_NEGO_RESUME: return on_resume(n, t, out, e);
    case XM_NEGO_BIND: return on_bind(n, t, out, e);
    case XM_NEGO_SESSION: return on_session(n, t, e);
    case XM_NEGO_HANDSHAKE: return on_handshake(n, t, e);
    default: return unexpected(n, t, e);
  }
}
