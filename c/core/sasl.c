#include "sasl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scram.h"
#include "sha1.h"

enum { MAX_PASSWORD = 1 << 20 }; /* bytes; no server stores a longer one, and OpenSSL counts in int */

/* A mechanism's functions. `state` is its own, made by `make` (NULL: failed, `e` set); the others are as in sasl.h. */
typedef struct ops {
  void *(*make)(const xm_mech_choice *choice, const xm_sasl_login *login, xm_err *e);
  int (*first)(void *state, xm_buf *out, xm_err *e);
  int (*step)(void *state, const char *in, size_t n, xm_buf *out, xm_err *e);
  int (*success)(void *state, const char *in, size_t n, xm_err *e);
  void (*drop)(void *state);
} ops;

struct xm_sasl {
  const ops *ops;
  void *state;
};

static bool is_sayable(const char *s, size_t n) {
  return n > 0 && !memchr(s, '\0', n);
}

static int check_login(const xm_sasl_login *login, xm_err *e) {
  if (!is_sayable(login->username, login->username_len))
    return xm_err_set(e, XM_LAYER_SASL, "invalid-username", false,
                      "the username to log in with is empty or contains a NUL byte: SASL can't say it");
  if (!is_sayable(login->password, login->password_len) || login->password_len > MAX_PASSWORD)
    return xm_err_set(e, XM_LAYER_SASL, "invalid-password", false,
                      "the password is empty, contains a NUL byte or is longer than %d bytes", (int)MAX_PASSWORD);
  return XM_OK;
}

/* SCRAM. */

static void *make_scram(const xm_mech_choice *choice, const xm_sasl_login *login, xm_err *e) {
  char gs2[40];
  xm_scram_setup setup = {.hash = choice->mech->hash,
                          .username = login->username,
                          .username_len = login->username_len,
                          .password = login->password,
                          .password_len = login->password_len,
                          .min_rounds = login->min_rounds,
                          .max_rounds = login->max_rounds,
                          .remember = login->remember,
                          .gs2 = gs2,
                          .offered = login->offered,
                          .offered_len = login->offered_len,
                          .need_hash = choice->need_hash};
  snprintf(gs2, sizeof gs2, "%c,,", choice->flag);
  if (login->channel) setup.tls_version = login->channel->version;
  if (choice->flag == 'p') {
    snprintf(gs2, sizeof gs2, "p=%s,,", xm_mech_binding_name(choice->binding));
    setup.binding = login->channel->bindings[choice->binding].bytes;
    setup.binding_len = login->channel->bindings[choice->binding].n;
  }
  return check_login(login, e) < 0 ? NULL : xm_scram_new(&setup, e);
}

static int first_scram(void *state, xm_buf *out, xm_err *e) {
  return xm_scram_first(state, out, e);
}

static int step_scram(void *state, const char *in, size_t n, xm_buf *out, xm_err *e) {
  return xm_scram_step(state, in, n, out, e);
}

static int success_scram(void *state, const char *in, size_t n, xm_err *e) {
  return xm_scram_success(state, in, n, e);
}

static void drop_scram(void *state) {
  xm_scram_free(state);
}

static const ops scram_ops = {make_scram, first_scram, step_scram, success_scram, drop_scram};

/* Mechanisms with a single message (RFC 4616, RFC 4422 appendix A, RFC 4505): the state is that message, which is wiped
 * as soon as it was handed out. */
typedef struct said {
  const char *name;
  bool done;
  xm_buf message;
} said;

static void drop_said(void *state) {
  said *s = state;
  xm_buf_free(&s->message);
  free(s);
}

static int put_plain(xm_buf *message, const xm_sasl_login *login) {
  int rc = xm_buf_putc(message, '\0');
  if (rc == XM_OK) rc = xm_buf_put(message, login->username, login->username_len);
  if (rc == XM_OK) rc = xm_buf_putc(message, '\0');
  return rc == XM_OK ? xm_buf_put(message, login->password, login->password_len) : rc;
}

static void *make_said(const xm_mech_choice *choice, const xm_sasl_login *login, xm_err *e) {
  xm_mech_kind kind = choice->mech->kind;
  said *s;
  int rc = XM_OK;
  if (kind == XM_MECH_PLAIN && check_login(login, e) < 0) return NULL;
  s = calloc(1, sizeof *s);
  if (!s) return xm_err_nomem(e), NULL;
  s->name = choice->mech->name;
  s->message = XM_BUF_SECRET;
  if (kind == XM_MECH_PLAIN) rc = put_plain(&s->message, login);
  if (kind == XM_MECH_EXTERNAL && login->authzid) rc = xm_buf_put(&s->message, login->authzid, login->authzid_len);
  if (rc == XM_OK) return s;
  drop_said(s);
  return xm_err_nomem(e), NULL;
}

static int first_said(void *state, xm_buf *out, xm_err *e) {
  said *s = state;
  size_t n = xm_buf_len(&s->message);
  if (n && xm_buf_put(out, xm_buf_at(&s->message), n) < 0) return xm_err_nomem(e);
  xm_buf_free(&s->message);
  s->done = true;
  return XM_OK;
}

static int step_said(void *state, const char *in, size_t n, xm_buf *out, xm_err *e) {
  const said *s = state;
  (void)in, (void)n, (void)out;
  return xm_err_set(e, XM_LAYER_SASL, "unexpected-challenge", false,
                    "the server sent a challenge, and %s has none: everything was said in the first message", s->name);
}

static int success_said(void *state, const char *in, size_t n, xm_err *e) {
  const said *s = state;
  (void)in;
  if (!s->done)
    return xm_err_set(e, XM_LAYER_SASL, "unexpected-success", false,
                      "the server said success before it was told who logs in");
  if (n)
    return xm_err_set(e, XM_LAYER_SASL, "unexpected-success-data", false,
                      "the server sent data with success, and %s has none", s->name);
  return XM_OK;
}

static const ops said_ops = {make_said, first_said, step_said, success_said, drop_said};

/* HT (XEP-0484 4, from draft-schmaus-kitten-sasl-ht-09): the client's message is the username, a NUL and an HMAC; the
 * server answers with another HMAC. Both have the token as key, and are taken over a fixed word and the channel
 * binding's bytes. */
typedef struct ht {
  bool said;
  xm_buf message;
  unsigned char answer[XM_SCRAM_MAC];
} ht;

static void drop_ht(void *state) {
  ht *h = state;
  xm_buf_free(&h->message);
  xm_wipe(h, sizeof *h);
  free(h);
}

/* HMAC(token, word || binding). */
static int prove(const xm_mech_choice *choice, const xm_sasl_login *login, const char *word, unsigned char mac[XM_SCRAM_MAC]) {
  xm_buf text = XM_BUF_INIT;
  int rc = xm_buf_puts(&text, word);
  if (rc == XM_OK && choice->flag == 'p')
    rc = xm_buf_put(&text, login->channel->bindings[choice->binding].bytes, login->channel->bindings[choice->binding].n);
  if (rc == XM_OK) rc = xm_scram_hmac(login->password, login->password_len, xm_buf_at(&text), xm_buf_len(&text), mac);
  xm_buf_free(&text);
  return rc;
}

static void *make_ht(const xm_mech_choice *choice, const xm_sasl_login *login, xm_err *e) {
  unsigned char mac[XM_SCRAM_MAC];
  ht *h;
  int rc;
  if (check_login(login, e) < 0) return NULL;
  h = calloc(1, sizeof *h);
  if (!h) return xm_err_nomem(e), NULL;
  h->message = XM_BUF_SECRET;
  rc = xm_buf_put(&h->message, login->username, login->username_len);
  if (rc == XM_OK) rc = xm_buf_putc(&h->message, '\0');
  if (rc == XM_OK) rc = prove(choice, login, "Initiator", mac);
  if (rc == XM_OK) rc = xm_buf_put(&h->message, mac, sizeof mac);
  if (rc == XM_OK) rc = prove(choice, login, "Responder", h->answer);
  xm_wipe(mac, sizeof mac);
  if (rc == XM_OK) return h;
  drop_ht(h);
  return xm_err_nomem(e), NULL;
}

static int first_ht(void *state, xm_buf *out, xm_err *e) {
  ht *h = state;
  if (xm_buf_put(out, xm_buf_at(&h->message), xm_buf_len(&h->message)) < 0) return xm_err_nomem(e);
  xm_buf_free(&h->message);
  h->said = true;
  return XM_OK;
}

static int step_ht(void *state, const char *in, size_t n, xm_buf *out, xm_err *e) {
  (void)state, (void)in, (void)n, (void)out;
  return xm_err_set(e, XM_LAYER_SASL, "unexpected-challenge", false,
                    "the server sent a challenge, and a login by a token has none: everything was said in the first message");
}

static int success_ht(void *state, const char *in, size_t n, xm_err *e) {
  const ht *h = state;
  if (!h->said)
    return xm_err_set(e, XM_LAYER_SASL, "unexpected-success", false, "the server said success before it was told who logs in");
  if (n == sizeof h->answer && xm_scram_is_same(in, h->answer, n)) return XM_OK;
  return xm_err_set(e, XM_LAYER_SASL, "bad-server-signature", false,
                    "the server has not proved that it knows the token: this is not the server that gave it");
}

static const ops ht_ops = {make_ht, first_ht, step_ht, success_ht, drop_ht};

static const ops *ops_of(xm_mech_kind kind) {
  return kind == XM_MECH_SCRAM ? &scram_ops : kind == XM_MECH_TOKEN ? &ht_ops : &said_ops;
}

xm_sasl *xm_sasl_new(const xm_mech_choice *choice, const xm_sasl_login *login, xm_err *e) {
  xm_sasl *s = calloc(1, sizeof *s);
  if (!s) return xm_err_nomem(e), NULL;
  s->ops = ops_of(choice->mech->kind);
  s->state = s->ops->make(choice, login, e);
  if (s->state) return s;
  free(s);
  return NULL;
}

void xm_sasl_free(xm_sasl *s) {
  if (!s) return;
  s->ops->drop(s->state);
  free(s);
}

int xm_sasl_first(xm_sasl *s, xm_buf *out, xm_err *e) {
  size_t mark = xm_buf_mark(out);
  int rc = s->ops->first(s->state, out, e);
  if (rc < 0) xm_buf_rollback(out, mark);
  return rc;
}

int xm_sasl_step(xm_sasl *s, const char *in, size_t n, xm_buf *out, xm_err *e) {
  size_t mark = xm_buf_mark(out);
  int rc = s->ops->step(s->state, in, n, out, e);
  if (rc < 0) xm_buf_rollback(out, mark);
  return rc;
}

int xm_sasl_success(xm_sasl *s, const char *in, size_t n, xm_err *e) {
  return s->ops->success(s->state, in, n, e);
}

int xm_sasl_handshake(const char *stream_id, const char *secret, size_t n, char hex[XM_SASL_HANDSHAKE + 1]) {
  static const char digits[] = "0123456789abcdef";
  unsigned char digest[XM_SHA1];
  xm_buf both = XM_BUF_SECRET;
  size_t i;
  int rc = xm_buf_puts(&both, stream_id);
  if (rc == XM_OK) rc = xm_buf_put(&both, secret, n);
  if (rc == XM_OK) rc = xm_sha1(digest, xm_buf_at(&both), xm_buf_len(&both));
  xm_buf_free(&both);
  if (rc < 0) return rc;
  for (i = 0; i < XM_SASL_HANDSHAKE; i++) hex[i] = digits[digest[i / 2] >> (i % 2 ? 0 : 4) & 15];
  hex[i] = '\0';
  return XM_OK;
}
