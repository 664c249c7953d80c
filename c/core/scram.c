#include "scram.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "b64.h"
#include "keyring.h"
#include "rnd.h"

enum {
  MIN_ROUNDS = 4096, /* RFC 7677 section 4 */
  MAX_ROUNDS = 2000000,
  MAX_SALT = 1024,     /* bytes */
  MAX_MESSAGE = 16384, /* bytes of a server's message: all of it is hashed, and its nonce is sent back to the server */
  SHOWN = 44,          /* the most bytes that an error text shows of a peer's value, including a NUL */
  GLIMPSE = 8,         /* characters that an error text shows of what is no attribute: it might be our own proof,
                          sent back to us */
};

static const struct digest {
  const char *name;
  const EVP_MD *(*md)(void);
  size_t len;
} digests[] = {
    [XM_SCRAM_SHA1] = {"SHA1", EVP_sha1, 20},
    [XM_SCRAM_SHA256] = {"SHA256", EVP_sha256, 32},
    [XM_SCRAM_SHA512] = {"SHA512", EVP_sha512, 64},
};
enum { LONGEST = 64 };

typedef enum state {
  FIRST_DUE,  /* nothing has been sent; xm_scram_first is due */
  FIRST_SENT, /* the server owes r=, s=, i= (RFC 5802 section 7, server-first-message) */
  FINAL_SENT, /* our proof has been sent; the server owes v=, in a challenge or with success */
  PROVED,     /* v= was right: the server knows the password's verifier. Success may follow, without data */
  REFUSED,    /* something was wrong; this is final */
} state;

struct xm_scram {
  state state;
  const struct digest *digest;
  unsigned min_rounds, max_rounds;
  xm_buf password;  /* freed when the proof has been made */
  xm_buf auth;      /* AuthMessage as far as it is known; until FINAL_SENT it ends with our nonce */
  size_t nonce_len; /* the length of our nonce */
  xm_buf binding;   /* what c= encodes: the GS2 header, then the channel binding's bytes. Until FINAL_SENT */
  size_t gs2_len;
  bool knows_offer, need_hash;
  unsigned char offer[LONGEST]; /* what h= should be, if knows_offer */
  char tls_version[5];          /* what t= should be; empty: any t= is wrong */
  unsigned char server_signature[LONGEST];
  bool remember;
  bool kept; /* the keys are in the keyring under `name`; they are dropped if the login fails */
  xm_keyring_name name;
};

/* A cursor over the attributes of one of the server's messages, from left to right. */
typedef struct cursor {
  const char *at, *end;
  bool more;             /* false after the last attribute (a comma at the end promises one more) */
  const char *malformed; /* the condition to fail with */
} cursor;

typedef struct slice {
  const char *p;
  size_t n;
} slice;

/* server-first-message in its parts. `all` is the whole message as it came, with extensions. `hash` (h=, XEP-0474) and
 * `version` (t=, XEP-0515) may be absent. */
typedef struct challenge {
  slice all, nonce, salt, rounds, hash, version;
} challenge;

/* What is derived from the password. It exists during one call and is wiped at its end; only `kept` may be stored. */
typedef struct keys {
  unsigned char salted[LONGEST], stored[LONGEST], proof[LONGEST];
  unsigned char kept[XM_KEYRING_SIZE]; /* ClientKey, ServerKey */
} keys;
enum { CLIENT = 0, SERVER = LONGEST }; /* in `kept` */
_Static_assert(XM_KEYRING_SIZE == 2 * LONGEST, "a keyring has room for two keys");

/* A peer's bytes for an error text: as printable ASCII, shortened. */
static const char *show(char to[SHOWN], slice v) {
  size_t i, n = v.n < SHOWN - 4 ? v.n : SHOWN - 4;
  for (i = 0; i < n; i++) to[i] = v.p[i] >= ' ' && v.p[i] <= '~' ? v.p[i] : '?';
  strcpy(to + n, n < v.n ? "..." : "");
  return to;
}

static int no_crypto(const xm_scram *s, xm_err *e) {
  return xm_err_set(
      e, XM_LAYER_SASL, "crypto-failed", false,
      "OpenSSL would not compute hashes with %s for the login: memory ran out, or its policy forbids the hash",
      s->digest->name);
}

static int mandatory(xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "mandatory-extension", false,
                    "the server's SCRAM message demands an extension (m=) that this library does not have");
}

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The next attribute, which must be there: returns its letter, and its value in `v`; or XM_EFAIL. */
static int next_attribute(cursor *c, slice *v, xm_err *e) {
  char shown[SHOWN];
  const char *comma = memchr(c->at, ',', (size_t)(c->end - c->at));
  slice whole = {c->at, (size_t)((comma ? comma : c->end) - c->at)};
  slice glimpse = {whole.p, whole.n < GLIMPSE ? whole.n : GLIMPSE};
  if (whole.n < 2 || !is_letter(whole.p[0]) || whole.p[1] != '=' || memchr(whole.p, '\0', whole.n))
    return xm_err_set(e, XM_LAYER_SASL, c->malformed, false,
                      "the server's SCRAM message is malformed: \"%s\" begins no attribute", show(shown, glimpse));
  if (whole.p[0] == 'm') return mandatory(e);
  *v = (slice){whole.p + 2, whole.n - 2};
  c->more = comma != NULL;
  c->at = comma ? comma + 1 : c->end;
  return whole.p[0];
}

/* Takes the next attribute, which must be `letter`. */
static int take(cursor *c, char letter, slice *v, xm_err *e) {
  int got;
  if (!c->more)
    return xm_err_set(e, XM_LAYER_SASL, c->malformed, false, "the server's SCRAM message ends where %c= should come",
                      letter);
  got = next_attribute(c, v, e);
  if (got < 0) return got;
  if (got == letter) return XM_OK;
  return xm_err_set(e, XM_LAYER_SASL, c->malformed, false,
                    "the server's SCRAM message is malformed: %c= where %c= should come", got, letter);
}

/* Reads extensions up to the end. Of a challenge (`ch` not NULL) those that we know are kept and the others ignored, as
 * long as no attribute with another meaning is among them, and none that we know occurs twice. */
static int read_extensions(cursor *c, challenge *ch, xm_err *e) {
  slice v;
  while (c->more) {
    int got = next_attribute(c, &v, e);
    slice *kept = !ch ? NULL : got == 'h' ? &ch->hash : got == 't' ? &ch->version : NULL;
    if (got < 0) return got;
    if (v.n == 0 || strchr("aceinprsv", got) || (kept && kept->p))
      return xm_err_set(e, XM_LAYER_SASL, c->malformed, false,
                        "the server's SCRAM message is malformed: %c= is empty, or isn't allowed where it came", got);
    if (kept) *kept = v;
  }
  return XM_OK;
}

/* Has the message an acceptable length? 0 or XM_EFAIL. */
static int check_length(const cursor *c, xm_err *e) {
  size_t n = (size_t)(c->end - c->at);
  if (n > 0 && n <= MAX_MESSAGE) return XM_OK;
  return xm_err_set(e, XM_LAYER_SASL, c->malformed, false,
                    "the server's SCRAM message has %zu bytes; from 1 to %d are taken", n, (int)MAX_MESSAGE);
}

static int read_challenge(challenge *ch, const char *in, size_t n, xm_err *e) {
  cursor c = {in, in + n, true, "malformed-challenge"};
  *ch = (challenge){.all = {in, n}};
  if (check_length(&c, e) < 0) return XM_EFAIL;
  if (take(&c, 'r', &ch->nonce, e) < 0) return XM_EFAIL;
  if (take(&c, 's', &ch->salt, e) < 0) return XM_EFAIL;
  if (take(&c, 'i', &ch->rounds, e) < 0) return XM_EFAIL;
  return read_extensions(&c, ch, e);
}

static int check_nonce(const xm_scram *s, slice nonce, xm_err *e) {
  const char *ours = s->auth.data + s->auth.last - s->nonce_len;
  const char *wrong = NULL;
  size_t i;
  if (nonce.n < s->nonce_len || memcmp(nonce.p, ours, s->nonce_len))
    wrong = "does not begin with ours: an old answer replayed, or one meant for another login";
  else if (nonce.n == s->nonce_len)
    wrong = "adds nothing to ours, so the server could be replaying an old exchange";
  for (i = 0; i < nonce.n && !wrong; i++)
    if (nonce.p[i] <= ' ' || nonce.p[i] > '~') wrong = "has bytes that are not printable ASCII";
  if (!wrong) return XM_OK;
  return xm_err_set(e, XM_LAYER_SASL, "bad-server-nonce", false, "the server's SCRAM nonce %s", wrong);
}

/* The number in `v`; 0 when it is no plain decimal number, or has more digits than any that is accepted. */
static unsigned long long read_count(slice v) {
  unsigned long long count = 0;
  size_t i;
  if (v.n == 0 || v.n > 10 || v.p[0] == '0') return 0;
  for (i = 0; i < v.n; i++) {
    if (v.p[i] < '0' || v.p[i] > '9') return 0;
    count = count * 10 + (unsigned)(v.p[i] - '0');
  }
  return count;
}

static int check_rounds(const xm_scram *s, slice v, int *rounds, xm_err *e) {
  char shown[SHOWN];
  unsigned long long count = read_count(v);
  if (count < s->min_rounds || count > s->max_rounds)
    return xm_err_set(e, XM_LAYER_SASL, "bad-iteration-count", false,
                      "the server asks for i=\"%s\" rounds of hashing; a number from %u to %u is taken (fewer make the "
                      "password cheap to guess, more make this side work without end)",
                      show(shown, v), s->min_rounds, s->max_rounds);
  *rounds = (int)count;
  return XM_OK;
}

static int read_salt(slice v, xm_buf *salt, xm_err *e) {
  int rc = v.n > (MAX_SALT + 2) / 3 * 4 ? XM_EINVAL : xm_b64_decode(salt, v.p, v.n);
  if (rc == XM_ENOMEM) return xm_err_nomem(e);
  if (rc == XM_OK && xm_buf_len(salt) > 0 && xm_buf_len(salt) <= MAX_SALT) return XM_OK;
  return xm_err_set(e, XM_LAYER_SASL, "bad-salt", false,
                    "the server's SCRAM salt (%zu characters) is not the base64 of 1 to %d bytes", v.n, (int)MAX_SALT);
}

static int downgraded(const char *what, xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "downgrade-detected", false,
                    "what the server says of %s is not what came here: somebody in between is tampering with the "
                    "connection",
                    what);
}

static bool is_hash_right(const xm_scram *s, slice v, int *rc) {
  xm_buf hash = XM_BUF_INIT;
  bool right;
  *rc = xm_b64_decode(&hash, v.p, v.n);
  right = *rc == XM_OK && s->knows_offer && xm_buf_len(&hash) == s->digest->len &&
          CRYPTO_memcmp(xm_buf_at(&hash), s->offer, s->digest->len) == 0;
  xm_buf_free(&hash);
  return right;
}

/* Checks h= and t=. Both are covered by the signatures: somebody who changes them can't complete the login, or can't
 * prove to be the server. */
static int check_downgrade(const xm_scram *s, const challenge *ch, xm_err *e) {
  int rc;
  if (ch->version.p && (ch->version.n != 4 || memcmp(ch->version.p, s->tls_version, 4)))
    return downgraded("the version of TLS (t=)", e);
  if (!ch->hash.p && s->need_hash)
    return xm_err_set(
        e, XM_LAYER_SASL, "no-channel-binding", false,
        "the mechanisms and types of channel binding that the server offers don't go together, and it "
        "sends no proof (h=) that they are its own: somebody in between may have changed them. Mechanisms "
        "without -PLUS in the option mechanisms make do without channel binding");
  if (!ch->hash.p || is_hash_right(s, ch->hash, &rc)) return XM_OK;
  return rc == XM_ENOMEM ? xm_err_nomem(e) : downgraded("the mechanisms that it offers (h=)", e);
}

static bool hmac(const struct digest *d, const void *key, const void *data, size_t n, unsigned char *to) {
  return EVP_Q_mac(NULL, "HMAC", NULL, d->name, NULL, key, d->len, data, n, to, d->len, NULL) != NULL;
}

/* Computes the keys by PBKDF2. */
static bool work_out(const xm_scram *s, const xm_buf *salt, int rounds, keys *k) {
  const struct digest *d = s->digest;
  return PKCS5_PBKDF2_HMAC(xm_buf_at(&s->password), (int)xm_buf_len(&s->password), (unsigned char *)xm_buf_at(salt),
                           (int)xm_buf_len(salt), rounds, d->md(), (int)d->len, k->salted) == 1 &&
         hmac(d, k->salted, "Client Key", 10, k->kept + CLIENT) &&
         hmac(d, k->salted, "Server Key", 10, k->kept + SERVER);
}

/* Everything from which the keys are derived, and whose they are: "n=user", as it was sent. */
static int put_origin(const xm_scram *s, const xm_buf *salt, int rounds, xm_buf *to) {
  const char *auth = xm_buf_at(&s->auth);
  size_t who = (size_t)((const char *)memchr(auth, ',', xm_buf_len(&s->auth)) - auth);
  size_t sizes[] = {s->digest->len, (size_t)rounds, who, xm_buf_len(salt)};
  int rc = xm_buf_put(to, sizes, sizeof sizes);
  if (rc == XM_OK) rc = xm_buf_put(to, auth, who);
  if (rc == XM_OK) rc = xm_buf_put(to, xm_buf_at(salt), xm_buf_len(salt));
  return rc == XM_OK ? xm_buf_put(to, xm_buf_at(&s->password), xm_buf_len(&s->password)) : rc;
}

static bool find_name(xm_scram *s, const xm_buf *salt, int rounds) {
  xm_buf origin = XM_BUF_SECRET;
  bool named = s->remember && put_origin(s, salt, rounds, &origin) == XM_OK &&
               xm_keyring_name_of(xm_buf_at(&origin), xm_buf_len(&origin), &s->name);
  xm_buf_free(&origin);
  return named;
}

/* Gets the keys from the keyring, or computes them and puts them there; xm_scram_free takes them out again if the login
 * fails. */
static bool derive(xm_scram *s, const xm_buf *salt, int rounds, keys *k) {
  const struct digest *d = s->digest;
  memset(k, 0, sizeof *k);
  s->kept = find_name(s, salt, rounds);
  if (!s->kept || !xm_keyring_get(&s->name, k->kept)) {
    if (!work_out(s, salt, rounds, k)) return false;
    if (s->kept) xm_keyring_put(&s->name, k->kept);
  }
  return EVP_Digest(k->kept + CLIENT, d->len, k->stored, NULL, d->md(), NULL) == 1;
}

/* Makes both signatures over the whole AuthMessage: ours becomes the proof, the server's is stored for comparison. */
static bool sign(xm_scram *s, keys *k) {
  size_t i, n = xm_buf_len(&s->auth);
  if (!hmac(s->digest, k->stored, xm_buf_at(&s->auth), n, k->proof)) return false;
  for (i = 0; i < s->digest->len; i++) k->proof[i] ^= k->kept[CLIENT + i];
  return hmac(s->digest, k->kept + SERVER, xm_buf_at(&s->auth), n, s->server_signature);
}

/* Appends server-first-message and client-final-message-without-proof to AuthMessage; the latter goes to `out`, too. */
static int say_without_proof(xm_scram *s, const challenge *ch, xm_buf *out) {
  size_t start;
  if (xm_buf_putc(&s->auth, ',') || xm_buf_put(&s->auth, ch->all.p, ch->all.n) || xm_buf_putc(&s->auth, ','))
    return XM_ENOMEM;
  start = xm_buf_mark(&s->auth);
  if (xm_buf_puts(&s->auth, "c=") || xm_b64_encode(&s->auth, xm_buf_at(&s->binding), xm_buf_len(&s->binding)) ||
      xm_buf_puts(&s->auth, ",r=") || xm_buf_put(&s->auth, ch->nonce.p, ch->nonce.n))
    return XM_ENOMEM;
  return xm_buf_put(out, xm_buf_at(&s->auth) + start, xm_buf_len(&s->auth) - start);
}

static int say_final(xm_scram *s, const challenge *ch, const xm_buf *salt, int rounds, xm_buf *out, xm_err *e) {
  keys k;
  int rc = XM_OK;
  if (say_without_proof(s, ch, out) < 0) return xm_err_nomem(e);
  if (!derive(s, salt, rounds, &k) || !sign(s, &k))
    rc = no_crypto(s, e);
  else if (xm_buf_puts(out, ",p=") || xm_b64_encode(out, k.proof, s->digest->len))
    rc = xm_err_nomem(e);
  xm_wipe(&k, sizeof k);
  return rc;
}

/* The response to the challenge. The password isn't needed after this, whatever the result, and is freed. */
static int answer(xm_scram *s, const char *in, size_t n, xm_buf *out, xm_err *e) {
  challenge ch;
  xm_buf salt = XM_BUF_SECRET;
  int rounds = 0, rc = read_challenge(&ch, in, n, e);
  if (rc == XM_OK) rc = check_nonce(s, ch.nonce, e);
  if (rc == XM_OK) rc = check_rounds(s, ch.rounds, &rounds, e);
  if (rc == XM_OK) rc = read_salt(ch.salt, &salt, e);
  if (rc == XM_OK) rc = check_downgrade(s, &ch, e);
  if (rc == XM_OK) rc = say_final(s, &ch, &salt, rounds, out, e);
  xm_buf_free(&salt);
  xm_buf_free(&s->password);
  xm_buf_free(&s->auth);
  xm_buf_free(&s->binding);
  return rc;
}

static int server_error(slice v, xm_err *e) {
  char shown[SHOWN];
  const char *name = v.n ? show(shown, v) : "other-error";
  return xm_err_set(e, XM_LAYER_SASL, name, false, "the server broke off the login with the SCRAM error \"%s\"", name);
}

static int compare_signature(const xm_scram *s, slice v, xm_err *e) {
  xm_buf signature = XM_BUF_SECRET;
  int rc = xm_b64_decode(&signature, v.p, v.n);
  bool equal = rc == XM_OK && xm_buf_len(&signature) == s->digest->len &&
               CRYPTO_memcmp(xm_buf_at(&signature), s->server_signature, s->digest->len) == 0;
  xm_buf_free(&signature);
  if (rc == XM_ENOMEM) return xm_err_nomem(e);
  if (equal) return XM_OK;
  return xm_err_set(e, XM_LAYER_SASL, "bad-server-signature", false,
                    "the server's signature (v=) is wrong: it does not know this account's password, so it is not the "
                    "server that it says it is, or its account data is damaged");
}

/* Checks server-final-message, v= or e=. What follows v= is not covered by the signature: its syntax is checked, and it
 * is ignored. */
static int check_server(const xm_scram *s, const char *in, size_t n, const char *malformed, xm_err *e) {
  cursor c = {in, in + n, true, malformed};
  slice v;
  if (check_length(&c, e) < 0) return XM_EFAIL;
  if (in[0] == 'e') return take(&c, 'e', &v, e) < 0 ? XM_EFAIL : server_error(v, e);
  if (take(&c, 'v', &v, e) < 0 || read_extensions(&c, NULL, e) < 0) return XM_EFAIL;
  return compare_signature(s, v, e);
}

/* saslname (RFC 5802 section 5.1). */
static int put_escaped(xm_buf *out, const char *name, size_t n) {
  size_t i;
  int rc = XM_OK;
  for (i = 0; i < n && rc == XM_OK; i++)
    rc = name[i] == ','   ? xm_buf_puts(out, "=2C")
         : name[i] == '=' ? xm_buf_puts(out, "=3D")
                          : xm_buf_putc(out, name[i]);
  return rc;
}

/* Prepares the first message: the GS2 header, followed by the username and our nonce. */
static int prepare(xm_scram *s, const xm_scram_setup *setup, const char *nonce) {
  const char *gs2 = setup->gs2 ? setup->gs2 : "n,,";
  int rc = xm_buf_put(&s->password, setup->password, setup->password_len);
  s->gs2_len = strlen(gs2);
  s->nonce_len = strlen(nonce);
  if (rc == XM_OK) rc = xm_buf_puts(&s->binding, gs2);
  if (rc == XM_OK && setup->binding) rc = xm_buf_put(&s->binding, setup->binding, setup->binding_len);
  if (rc == XM_OK) rc = xm_buf_puts(&s->auth, "n=");
  if (rc == XM_OK) rc = put_escaped(&s->auth, setup->username, setup->username_len);
  if (rc == XM_OK) rc = xm_buf_puts(&s->auth, ",r=");
  return rc == XM_OK ? xm_buf_puts(&s->auth, nonce) : rc;
}

/* What h= and t= should be. */
static int expect(xm_scram *s, const xm_scram_setup *setup) {
  s->need_hash = setup->need_hash;
  s->knows_offer = setup->offered != NULL;
  if (setup->tls_version) snprintf(s->tls_version, sizeof s->tls_version, "%04x", setup->tls_version & 0xFFFF);
  if (!s->knows_offer) return XM_OK;
  return EVP_Digest(setup->offered, setup->offered_len, s->offer, NULL, s->digest->md(), NULL) == 1 ? XM_OK : XM_EFAIL;
}

xm_scram *xm_scram_new_with_nonce(const xm_scram_setup *setup, const char *nonce, xm_err *e) {
  xm_scram *s = calloc(1, sizeof *s);
  if (!s) return xm_err_nomem(e), NULL;
  s->digest = &digests[setup->hash];
  s->min_rounds = setup->min_rounds ? setup->min_rounds : MIN_ROUNDS;
  s->max_rounds = setup->max_rounds ? setup->max_rounds : MAX_ROUNDS;
  if (s->max_rounds > INT_MAX) s->max_rounds = INT_MAX;
  s->password = s->auth = s->binding = XM_BUF_SECRET;
  s->remember = setup->remember;
  if (prepare(s, setup, nonce) < 0)
    xm_err_nomem(e);
  else if (expect(s, setup) < 0)
    no_crypto(s, e);
  else
    return s;
  xm_scram_free(s);
  return NULL;
}

xm_scram *xm_scram_new(const xm_scram_setup *setup, xm_err *e) {
  char nonce[XM_RND_ID + 1];
  if (xm_rnd_id(nonce) == XM_OK) return xm_scram_new_with_nonce(setup, nonce, e);
  xm_err_set(e, XM_LAYER_SASL, "no-randomness", false, "the system gave no random bytes for the SCRAM nonce");
  return NULL;
}

void xm_scram_free(xm_scram *s) {
  if (!s) return;
  if (s->kept && s->state != PROVED) xm_keyring_drop(&s->name);
  xm_buf_free(&s->password);
  xm_buf_free(&s->auth);
  xm_buf_free(&s->binding);
  xm_wipe(s, sizeof *s);
  free(s);
}

int xm_scram_first(xm_scram *s, xm_buf *out, xm_err *e) {
  if (xm_buf_put(out, xm_buf_at(&s->binding), s->gs2_len) || xm_buf_put(out, xm_buf_at(&s->auth), xm_buf_len(&s->auth)))
    return xm_err_nomem(e);
  s->state = FIRST_SENT;
  return XM_OK;
}

static int unexpected_challenge(xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "unexpected-challenge", false,
                    "the server sent a challenge where SCRAM has none: the exchange was over, or had not begun");
}

int xm_scram_step(xm_scram *s, const char *in, size_t n, xm_buf *out, xm_err *e) {
  state before = s->state;
  int rc = XM_EFAIL;
  s->state = REFUSED;
  switch (before) {
    case FIRST_SENT: rc = answer(s, in, n, out, e); break;
    case FINAL_SENT: rc = check_server(s, in, n, "malformed-challenge", e); break;
    case FIRST_DUE:
    case PROVED:
    case REFUSED: return unexpected_challenge(e);
  }
  if (rc == XM_OK) s->state = before == FIRST_SENT ? FINAL_SENT : PROVED;
  return rc;
}

static int no_signature(xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "no-server-signature", false,
                    "the server said success without proving (v=) that it knows this account's password: not trusted");
}

static int twice(xm_err *e) {
  return xm_err_set(e, XM_LAYER_SASL, "unexpected-success-data", false,
                    "the server sent data with success though its SCRAM exchange was complete before");
}

int xm_scram_success(xm_scram *s, const char *in, size_t n, xm_err *e) {
  state before = s->state;
  s->state = REFUSED;
  if (before == PROVED && n) return twice(e);
  if (before != PROVED && (before != FINAL_SENT || !n)) return no_signature(e);
  if (before == FINAL_SENT && check_server(s, in, n, "malformed-success", e) < 0) return XM_EFAIL;
  s->state = PROVED;
  return XM_OK;
}

int xm_scram_hmac(const void *key, size_t key_len, const void *bytes, size_t n, unsigned char mac[XM_SCRAM_MAC]) {
  bool done = EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_len, bytes, n, mac, XM_SCRAM_MAC, NULL) != NULL;
  return done ? XM_OK : XM_ENOMEM;
}

bool xm_scram_is_same(const void *a, const void *b, size_t n) {
  return CRYPTO_memcmp(a, b, n) == 0;
}
