/* libFuzzer: any bytes as what a SCRAM server sends. The client's proof must be right for whoever knows the password,
 * what it accepted must be within the rules, and it must not accept a server that hasn't signed with the password.
 *
 * Input: hash, flags, then messages, each ended by LF; the first letter is C for a challenge, S for success. In a
 * message these bytes stand for what only a server can know: 1 the client's nonce, 2 the right signature, 3 the right
 * hash of the offer. */
#include "scram.h"
#include "pbkdf2.h"
#include "scram_server.h"

#define NONCE "fyko+d2lbbFgONRv9qkxdawL"
#define OFFER "PLAIN\x1ESCRAM-SHA-1\x1FMtls-exporter"

enum { BOUND = 1, NEED_HASH = 2, KNOWS_OFFER = 4, TLS13 = 8 };

typedef struct login {
  scram_server server;
  unsigned flags;
  char offer_hash[100]; /* base64 */
  xm_scram *scram;
  bool is_final; /* the client has sent its proof */
} login;

static void encode_offer(login *l) {
  unsigned char digest[DIGEST];
  xm_buf text = XM_BUF_INIT;
  MUST(EVP_Digest(OFFER, sizeof OFFER - 1, digest, NULL, md_of(l->server.hash), NULL) == 1);
  MUST(xm_b64_encode(&text, digest, size_of(l->server.hash)) == XM_OK && xm_buf_putc(&text, '\0') == XM_OK);
  memcpy(l->offer_hash, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
}

static void begin(login *l) {
  xm_scram_setup setup = {.hash = l->server.hash,
                          .username = "us,er",
                          .username_len = 5,
                          .password = l->server.password,
                          .password_len = strlen(l->server.password),
                          .gs2 = l->flags & BOUND ? "p=tls-exporter,," : "n,,",
                          .binding = l->flags & BOUND ? "binding" : NULL,
                          .binding_len = l->flags & BOUND ? 7 : 0,
                          .offered = l->flags & KNOWS_OFFER ? OFFER : NULL,
                          .offered_len = sizeof OFFER - 1,
                          .need_hash = l->flags & NEED_HASH,
                          .tls_version = l->flags & TLS13 ? 0x0304 : 0};
  xm_buf out = XM_BUF_INIT;
  const char *bare;
  l->scram = xm_scram_new_with_nonce(&setup, NONCE, NULL);
  MUST(l->scram && xm_scram_first(l->scram, &out, NULL) == XM_OK);
  bare = memmem(xm_buf_at(&out), xm_buf_len(&out), "n=us=2Cer,r=" NONCE, 12 + sizeof NONCE - 1);
  MUST(bare && bare == xm_buf_at(&out) + strlen(setup.gs2));
  on_client_first(&l->server, bare, (size_t)(xm_buf_at(&out) + xm_buf_len(&out) - bare));
  xm_buf_free(&out);
}

static void put_known(login *l, xm_buf *to, char c) {
  int rc = c == 1   ? xm_buf_puts(to, NONCE)
           : c == 2 ? xm_buf_puts(to, l->server.signature)
           : c == 3 ? xm_buf_puts(to, l->offer_hash)
                    : xm_buf_putc(to, c);
  MUST(rc == XM_OK);
}

static bool begins(const char *s, size_t n, const char *with) {
  return n >= strlen(with) && memcmp(s, with, strlen(with)) == 0;
}

/* Checks that the challenge that the client has answered was within the rules. */
static void check_first(const login *l, const char *in, size_t n) {
  size_t nonce_len, salt_len, rounds_len, h_len, t_len, i;
  const char *s = value_of(in, n, ",s=", &salt_len), *rounds = value_of(in, n, ",i=", &rounds_len);
  const char *nonce = value_of(in, n, "r=", &nonce_len), *h = value_of(in, n, ",h=", &h_len);
  const char *t = value_of(in, n, ",t=", &t_len);
  MUST(begins(in, n, "r=" NONCE) && nonce_len > sizeof NONCE - 1 && s && rounds && salt_len &&
       !memmem(in, n, ",m=", 3));
  for (i = 0; i < nonce_len; i++) MUST(nonce[i] > ' ' && nonce[i] <= '~');
  for (i = 0; i < rounds_len; i++) MUST(rounds[i] >= '0' && rounds[i] <= '9');
  MUST(*rounds != '0' && number_of(rounds, rounds_len) >= 4096 && number_of(rounds, rounds_len) <= 2000000);
  MUST(h || !(l->flags & NEED_HASH));
  if (h) MUST(l->flags & KNOWS_OFFER && h_len == strlen(l->offer_hash) && memcmp(h, l->offer_hash, h_len) == 0);
  if (t) MUST(l->flags & TLS13 && t_len == 4 && memcmp(t, "0304", 4) == 0);
}

static void check_final(const login *l, const char *out, size_t n) {
  static const char bound[] = "c=cD10bHMtZXhwb3J0ZXIsLGJpbmRpbmc=,r=" NONCE, bare[] = "c=biws,r=" NONCE;
  MUST(begins(out, n, l->flags & BOUND ? bound : bare));
}

/* Checks that only a server that has signed is accepted. */
static void check_signed(const login *l, const char *in, size_t n) {
  size_t len = strlen(l->server.signature);
  MUST(l->is_final && len && begins(in, n, "v=") && begins(in + 2, n - 2, l->server.signature));
  MUST(n == len + 2 || in[len + 2] == ',');
}

static bool step(login *l, const char *in, size_t n, bool *proved) {
  xm_buf out = XM_BUF_INIT;
  xm_err e = {0};
  int rc = xm_scram_step(l->scram, in, n, &out, &e);
  if (rc < 0) check_error(&e);
  if (rc == XM_OK && l->is_final) {
    check_signed(l, in, n);
    MUST(xm_buf_len(&out) == 0 && !*proved);
    *proved = true;
  } else if (rc == XM_OK) {
    check_first(l, in, n);
    check_final(l, xm_buf_at(&out), xm_buf_len(&out));
    MUST(on_client_final(&l->server, in, n, xm_buf_at(&out), xm_buf_len(&out)));
    l->is_final = true;
  }
  xm_buf_free(&out);
  return rc == XM_OK;
}

static bool finish(login *l, const char *in, size_t n, bool proved) {
  xm_err e = {0};
  int rc = xm_scram_success(l->scram, in, n, &e);
  if (rc < 0) check_error(&e);
  if (rc == XM_OK && !proved) check_signed(l, in, n);
  if (rc == XM_OK && proved) MUST(n == 0);
  return rc == XM_OK;
}

/* Takes a message from the input, with what only a server knows filled in. */
static xm_buf take_message(login *l, input *in) {
  xm_buf message = XM_BUF_INIT;
  while (in->n && *in->at != '\n') put_known(l, &message, (char)take(in));
  take(in);
  return message;
}

/* Plays the exchange. After a refusal every further message must be refused. */
static void converse(login *l, input *in) {
  bool proved = false, refused = false;
  while (in->n) {
    xm_buf message = take_message(l, in);
    size_t n = xm_buf_len(&message);
    const char *s = n ? xm_buf_at(&message) : "";
    bool success = n && *s == 'S', ok;
    if (n) s++, n--;
    ok = success ? finish(l, s, n, proved) : step(l, s, n, &proved);
    MUST(!ok || !refused);
    refused = !ok || success;
    xm_buf_free(&message);
    if (success) break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  input in = {bytes, n};
  login l = {.server = {.hash = (xm_scram_hash)(take(&in) % 3), .password = "pencil"}};
  l.flags = take(&in);
  encode_offer(&l);
  begin(&l);
  converse(&l, &in);
  xm_scram_free(l.scram);
  xm_buf_free(&l.server.auth);
  return 0;
}
