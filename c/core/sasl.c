#include "sasl.h"

#include <stdlib.h>
#include <string.h>

#include "scram.h"

enum { MAX_PASSWORD = 1 << 20 }; /* bytes; no server stores a longer one, and OpenSSL counts in int */

/* What a mechanism does. `state` is its own, made by `make` (NULL: failed, `e` set); the rest as in sasl.h. */
typedef struct ops {
  void *(*make)(const xm_sasl_mech *mech, const xm_sasl_login *login, xm_err *e);
  int (*first)(void *state, xm_buf *out, xm_err *e);
  int (*step)(void *state, const char *in, size_t n, xm_buf *out, xm_err *e);
  int (*success)(void *state, const char *in, size_t n, xm_err *e);
  void (*drop)(void *state);
} ops;

struct xm_sasl_mech {
  const char *name;
  const ops *ops;
  bool shows_password; /* to the server, and to whoever reads the channel */
  xm_scram_hash hash;  /* of a SCRAM mechanism */
};

struct xm_sasl {
  const xm_sasl_mech *mech;
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

static void *make_scram(const xm_sasl_mech *mech, const xm_sasl_login *login, xm_err *e) {
  xm_scram_setup setup = {.hash = mech->hash,
                          .username = login->username,
                          .username_len = login->username_len,
                          .password = login->password,
                          .password_len = login->password_len,
                          .min_rounds = login->min_rounds,
                          .max_rounds = login->max_rounds};
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

static void drop_plain(void *state) {
  xm_buf_free(state);
  free(state);
}

/* PLAIN's state is its one message (RFC 4616), gone as soon as it was said: what is left is only whether it was. */
static void *make_plain(const xm_sasl_mech *mech, const xm_sasl_login *login, xm_err *e) {
  xm_buf *message;
  (void)mech;
  if (check_login(login, e) < 0) return NULL;
  message = malloc(sizeof *message);
  if (!message) return xm_err_nomem(e), NULL;
  *message = XM_BUF_SECRET;
  if (xm_buf_putc(message, '\0') == XM_OK && xm_buf_put(message, login->username, login->username_len) == XM_OK &&
      xm_buf_putc(message, '\0') == XM_OK && xm_buf_put(message, login->password, login->password_len) == XM_OK)
    return message;
  drop_plain(message);
  return xm_err_nomem(e), NULL;
}

static int first_plain(void *state, xm_buf *out, xm_err *e) {
  xm_buf *message = state;
  if (xm_buf_put(out, xm_buf_at(message), xm_buf_len(message)) < 0) return xm_err_nomem(e);
  xm_buf_free(message);
  return XM_OK;
}

static int step_plain(void *state, const char *in, size_t n, xm_buf *out, xm_err *e) {
  (void)state, (void)in, (void)n, (void)out;
  return xm_err_set(e, XM_LAYER_SASL, "unexpected-challenge", false,
                    "the server sent a challenge, and PLAIN has none: everything was said in the first message");
}

static int success_plain(void *state, const char *in, size_t n, xm_err *e) {
  (void)in;
  if (xm_buf_len(state))
    return xm_err_set(e, XM_LAYER_SASL, "unexpected-success", false,
                      "the server said success before it was told who logs in");
  if (n)
    return xm_err_set(e, XM_LAYER_SASL, "unexpected-success-data", false,
                      "the server sent data with success, and PLAIN has none");
  return XM_OK;
}

static const ops plain_ops = {make_plain, first_plain, step_plain, success_plain, drop_plain};

/* Strongest first: the place is the bit. */
static const xm_sasl_mech mechs[] = {
    {"SCRAM-SHA-512", &scram_ops, false, XM_SCRAM_SHA512},
    {"SCRAM-SHA-256", &scram_ops, false, XM_SCRAM_SHA256},
    {"SCRAM-SHA-1", &scram_ops, false, XM_SCRAM_SHA1},
    {"PLAIN", &plain_ops, true, 0},
};
enum { MECHS = sizeof mechs / sizeof mechs[0] };

/* The bit of a name; 0: not one of ours. */
static unsigned bit_of(const char *name, size_t n) {
  unsigned i;
  for (i = 0; i < MECHS; i++)
    if (strlen(mechs[i].name) == n && memcmp(mechs[i].name, name, n) == 0) return 1u << i;
  return 0;
}

/* Adds a peer's name to the list for error texts, what is not printable ASCII as '?'. The first that does not fit ends
 * the list with "...", for which there is always room. */
static void add_name(xm_sasl_offer *offer, const char *name, size_t n) {
  static const char comma[] = ", ", dots[] = "...";
  const size_t most = sizeof offer->names - strlen(comma) - sizeof dots;
  size_t i, used = strlen(offer->names);
  char *to = offer->names + used;
  if (used >= strlen(dots) && strcmp(to - strlen(dots), dots) == 0) return;
  if (used) to = stpcpy(to, comma);
  if (n > most || (size_t)(to - offer->names) > most - n) {
    strcpy(to, dots);
    return;
  }
  for (i = 0; i < n; i++) to[i] = name[i] > ' ' && name[i] <= '~' ? name[i] : '?';
  to[n] = '\0';
}

void xm_sasl_offer_add(xm_sasl_offer *offer, const char *name, size_t n) {
  unsigned bit = bit_of(name, n);
  if (n == 0 || offer->known & bit) return;
  offer->known |= bit;
  add_name(offer, name, n);
}

unsigned xm_sasl_allowed(const char *list, const char **unknown, size_t *unknown_len) {
  static const char separators[] = ", \t\r\n";
  unsigned bits = 0;
  *unknown = NULL;
  *unknown_len = 0;
  if (!list) return (1u << MECHS) - 1;
  for (list += strspn(list, separators); *list; list += strspn(list, separators)) {
    size_t n = strcspn(list, separators);
    unsigned bit = bit_of(list, n);
    if (!bit && !*unknown) {
      *unknown = list;
      *unknown_len = n;
    }
    bits |= bit;
    list += n;
  }
  return bits;
}

/* Why nothing could be chosen, for a person. */
static int refuse(const xm_sasl_offer *offer, unsigned allowed, xm_err *e) {
  unsigned both = offer->known & allowed;
  const char *why = "this library has none of these";
  if (both)
    why = "PLAIN shows the password, so it needs TLS with a verified certificate, and the option plain not false";
  else if (offer->known)
    why = "the option mechanisms allows none of these";
  return xm_err_set(e, XM_LAYER_SASL, "invalid-mechanism", false,
                    "no way to log in: the SASL mechanisms that the server offers are: %s; %s",
                    offer->names[0] ? offer->names : "(none)", why);
}

const xm_sasl_mech *xm_sasl_choose(const xm_sasl_offer *offer, unsigned allowed, bool plain, xm_err *e) {
  unsigned i;
  for (i = 0; i < MECHS; i++) {
    unsigned bit = 1u << i, better = bit - 1;
    if (!(offer->known & allowed & bit)) continue;
    if (mechs[i].shows_password && (!plain || offer->known & allowed & better)) continue;
    return &mechs[i];
  }
  refuse(offer, allowed, e);
  return NULL;
}

const char *xm_sasl_mech_name(const xm_sasl_mech *mech) {
  return mech->name;
}

xm_sasl *xm_sasl_new(const xm_sasl_mech *mech, const xm_sasl_login *login, xm_err *e) {
  xm_sasl *s = calloc(1, sizeof *s);
  if (!s) return xm_err_nomem(e), NULL;
  s->mech = mech;
  s->state = mech->ops->make(mech, login, e);
  if (s->state) return s;
  free(s);
  return NULL;
}

void xm_sasl_free(xm_sasl *s) {
  if (!s) return;
  s->mech->ops->drop(s->state);
  free(s);
}

int xm_sasl_first(xm_sasl *s, xm_buf *out, xm_err *e) {
  size_t mark = xm_buf_mark(out);
  int rc = s->mech->ops->first(s->state, out, e);
  if (rc < 0) xm_buf_rollback(out, mark);
  return rc;
}

int xm_sasl_step(xm_sasl *s, const char *in, size_t n, xm_buf *out, xm_err *e) {
  size_t mark = xm_buf_mark(out);
  int rc = s->mech->ops->step(s->state, in, n, out, e);
  if (rc < 0) xm_buf_rollback(out, mark);
  return rc;
}

int xm_sasl_success(xm_sasl *s, const char *in, size_t n, xm_err *e) {
  return s->mech->ops->success(s->state, in, n, e);
}

int xm_sasl_handshake(const char *stream_id, const char *secret, size_t n, char hex[XM_SASL_HANDSHAKE + 1]) {
  static const char digits[] = "0123456789abcdef";
  unsigned char digest[XM_SASL_HANDSHAKE / 2];
  xm_buf both = XM_BUF_SECRET;
  size_t i;
  int rc = xm_buf_puts(&both, stream_id);
  if (rc == XM_OK) rc = xm_buf_put(&both, secret, n);
  if (rc == XM_OK) rc = xm_scram_sha1(xm_buf_at(&both), xm_buf_len(&both), digest);
  xm_buf_free(&both);
  if (rc < 0) return rc;
  for (i = 0; i < XM_SASL_HANDSHAKE; i++) hex[i] = digits[digest[i / 2] >> (i % 2 ? 0 : 4) & 15];
  hex[i] = '\0';
  return XM_OK;
}
