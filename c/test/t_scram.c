/* scram: the exchanges in the RFCs and XEPs byte for byte, and a table of servers that lie. */
#include "scram.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs setjmp.h, stdarg.h, stddef.h and stdint.h before it */
#include <cmocka.h>

#include "refusal.h"

#define PASSWORD "pencil"

#define NONCE "fyko+d2lbbFgONRv9qkxdawL"
#define R "r=" NONCE "3rfcNHYJY1ZVvWVs7j"
#define S "s=QSXCR+Q6sek8bf92"
#define FIRST R "," S ",i=4096"
#define FINAL "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="

/* An error, whose text must not contain the password or the proof. */
static void check_refusal(const xm_err *e, const char *condition) {
  check_form(e, condition);
  assert_null(strstr(e->text, PASSWORD));
  assert_null(strstr(e->text, "v0X8v3Bz2T0")); /* the proof of RFC 5802's user */
}

static void check_said(xm_buf *out, const char *said) {
  assert_int_equal(xm_buf_len(out), strlen(said));
  if (said[0]) assert_memory_equal(xm_buf_at(out), said, strlen(said));
  xm_buf_clear(out);
}

static xm_scram_setup setup_of(xm_scram_hash hash) {
  return (xm_scram_setup){
      .hash = hash, .username = "user", .username_len = 4, .password = PASSWORD, .password_len = strlen(PASSWORD)};
}

/* A session with this nonce that has sent its first message. */
static xm_scram *started(xm_scram_hash hash, const char *nonce) {
  xm_scram_setup setup = setup_of(hash);
  char said[100];
  xm_err e = {0};
  xm_buf out = XM_BUF_SECRET;
  xm_scram *s = xm_scram_new_with_nonce(&setup, nonce, &e);
  assert_non_null(s);
  assert_int_equal(xm_scram_first(s, &out, &e), XM_OK);
  snprintf(said, sizeof said, "n,,n=user,r=%s", nonce);
  check_said(&out, said);
  xm_buf_free(&out);
  return s;
}

static const struct vector {
  xm_scram_hash hash;
  const char *nonce, *challenge, *response, *proof;
} vectors[] = {
    /* RFC 5802 section 5 */
    {XM_SCRAM_SHA1, NONCE, FIRST, "c=biws," R ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", FINAL},
    /* RFC 7677 section 3 */
    {XM_SCRAM_SHA256, "rOprNGfwEbeRWgbNEkqO",
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

/* The server's proof may come with <success/>, or in a challenge that is answered by an empty response. */
static void test_vectors(void **unused) {
  size_t i;
  (void)unused;
  for (i = 0; i < 4; i++) {
    const struct vector *v = &vectors[i / 2];
    xm_scram *s = started(v->hash, v->nonce);
    xm_err e = {0};
    xm_buf out = XM_BUF_SECRET;
    assert_int_equal(xm_scram_step(s, v->challenge, strlen(v->challenge), &out, &e), XM_OK);
    check_said(&out, v->response);
    if (i % 2) {
      assert_int_equal(xm_scram_step(s, v->proof, strlen(v->proof), &out, &e), XM_OK);
      check_said(&out, "");
      assert_int_equal(xm_scram_success(s, NULL, 0, &e), XM_OK);
    } else {
      assert_int_equal(xm_scram_success(s, v->proof, strlen(v->proof), &e), XM_OK);
    }
    assert_false(xm_err_is_set(&e));
    xm_buf_free(&out);
    xm_scram_free(s);
  }
}

#define OFFER "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point"
#define HASH "G6k/rBLDqgOhRRaCuuatSDFkJ08="
#define XEP_R "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6"

/* XEP-0515 section 5.3: with channel binding, the hash of XEP-0474, and the version of TLS. */
static void test_bound_vector(void **unused) {
  static const char challenge[] = XEP_R ",s=QSXCR+Q6sek8bf92,i=4096,h=" HASH ",t=0304";
  static const char proof[] = "v=3w34ZIMVRkx2f2Ozb3/ecRPVdv4=";
  xm_scram_setup setup = setup_of(XM_SCRAM_SHA1);
  xm_scram *s;
  xm_err e = {0};
  xm_buf out = XM_BUF_SECRET;
  (void)unused;
  setup.gs2 = "p=tls-exporter,,";
  setup.binding = "THIS IS FAKE CB DATA";
  setup.binding_len = 20;
  setup.offered = OFFER;
  setup.offered_len = strlen(OFFER);
  setup.tls_version = 0x0304;
  s = xm_scram_new_with_nonce(&setup, "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6", &e);
  assert_int_equal(xm_scram_first(s, &out, &e), XM_OK);
  check_said(&out, "p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6");
  assert_int_equal(xm_scram_step(s, challenge, strlen(challenge), &out, &e), XM_OK);
  check_said(&out, "c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB," XEP_R ",p=KHUfN8dSy1K95crT4D5y1ItLJfs=");
  assert_int_equal(xm_scram_success(s, proof, strlen(proof), &e), XM_OK);
  xm_buf_free(&out);
  xm_scram_free(s);
}

/* What the server says of its offer and of TLS, and the error that follows ("": the login goes on). */
static const struct claim {
  const char *extensions, *condition, *offered;
  bool need_hash;
  unsigned tls_version;
} claims[] = {
    {"", "", OFFER, false, 0x0304},
    {",h=" HASH, "", OFFER, false, 0x0304},
    {",h=" HASH, "", OFFER, true, 0x0304},
    {",t=0304", "", OFFER, false, 0x0304},
    {",t=0303", "", OFFER, false, 0x0303},
    {",t=0304,h=" HASH, "", OFFER, true, 0x0304},
    {",h=" HASH ",x=1,t=0304,y=2", "", OFFER, true, 0x0304},
    {",H=abc,T=0303", "", OFFER, false, 0x0304}, /* other attributes */
    {"", "no-channel-binding", OFFER, true, 0x0304},
    {",t=0304", "no-channel-binding", OFFER, true, 0x0304},
    {",H=" HASH, "no-channel-binding", OFFER, true, 0x0304},
    {",h=" HASH, "downgrade-detected", NULL, false, 0x0304}, /* a list that is too long to be kept */
    {",h=" HASH, "downgrade-detected", NULL, true, 0x0304},
    {",h=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "downgrade-detected", NULL, true, 0x0304},
    {",h=" HASH, "downgrade-detected", "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS", false, 0x0304},
    {",h=" HASH, "downgrade-detected", "SCRAM-SHA-1\x1ftls-exporter\x1etls-server-end-point", false, 0x0304},
    {",h=" HASH, "downgrade-detected", "SCRAM-SHA-1,SCRAM-SHA-1-PLUS|tls-exporter,tls-server-end-point", false, 0x0304},
    {",h=G6k/rBLDqgOhRRaCuuatSDFkJ0+=", "downgrade-detected", OFFER, false, 0x0304},
    {",h=G6k/rBLDqgOhRRaCuuatSDFkJ09=", "downgrade-detected", OFFER, false, 0x0304}, /* trailing bits */
    {",h=H6k/rBLDqgOhRRaCuuatSDFkJ08=", "downgrade-detected", OFFER, false, 0x0304},
    {",h=G6k/rBLDqgOhRRaCuuatSDFkJ08", "downgrade-detected", OFFER, false, 0x0304},
    {",h=G6k/rBLDqgOhRRaCuuatSDFkJw==", "downgrade-detected", OFFER, false, 0x0304},
    {",h=G6k/rBLDqgOhRRaCuuatSDFkJ08A", "downgrade-detected", OFFER, false, 0x0304},
    {",h=no base64", "downgrade-detected", OFFER, true, 0x0304},
    {",t=0303", "downgrade-detected", OFFER, false, 0x0304},
    {",t=0304", "downgrade-detected", OFFER, false, 0x0303},
    {",t=0304", "downgrade-detected", OFFER, false, 0},
    {",t=0000", "downgrade-detected", OFFER, false, 0},
    {",t=304", "downgrade-detected", OFFER, false, 0x0304},
    {",t=03040", "downgrade-detected", OFFER, false, 0x0304},
    {",t=0x0304", "downgrade-detected", OFFER, false, 0x0304},
    {",t=030A", "downgrade-detected", OFFER, false, 0x030A}, /* upper-case digits */
    {",t=030a", "", OFFER, false, 0x030A},
    {",t=0303,h=" HASH, "downgrade-detected", OFFER, true, 0x0304},
    {",h=" HASH ",h=" HASH, "malformed-challenge", OFFER, false, 0x0304},
    {",t=0304,t=0304", "malformed-challenge", OFFER, false, 0x0304},
    {",t=0304,t=0303", "malformed-challenge", OFFER, false, 0x0304},
    {",h=", "malformed-challenge", OFFER, false, 0x0304},
    {",t=", "malformed-challenge", OFFER, false, 0x0304},
    {",h=" HASH ",m=1", "mandatory-extension", OFFER, false, 0x0304},
};

static void test_claims(void **unused) {
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof claims / sizeof claims[0]; i++) {
    const struct claim *c = &claims[i];
    xm_scram_setup setup = setup_of(XM_SCRAM_SHA1);
    xm_scram *s;
    char challenge[300];
    xm_err e = {0};
    xm_buf out = XM_BUF_SECRET;
    setup.offered = c->offered;
    setup.offered_len = c->offered ? strlen(c->offered) : 0;
    setup.need_hash = c->need_hash;
    setup.tls_version = c->tls_version;
    s = xm_scram_new_with_nonce(&setup, NONCE, &e);
    assert_int_equal(xm_scram_first(s, &out, &e), XM_OK);
    xm_buf_clear(&out);
    snprintf(challenge, sizeof challenge, "%s%s", FIRST, c->extensions);
    xm_scram_step(s, challenge, strlen(challenge), &out, &e);
    if (strcmp(e.condition, c->condition)) fail_msg("row %zu: %s: %s", i, e.condition, e.text);
    assert_int_equal(xm_buf_len(&out) == 0, xm_err_is_set(&e));
    if (xm_err_is_set(&e)) check_refusal(&e, c->condition);
    xm_buf_free(&out);
    xm_scram_free(s);
  }
}

/* The flags "y,," and "n,," are sent, and go into the proof, unchanged. */
static void test_flags(void **unused) {
  static const char *const flags[][2] = {{"n,,", "c=biws,"}, {"y,,", "c=eSws,"}};
  size_t i;
  (void)unused;
  for (i = 0; i < 2; i++) {
    xm_scram_setup setup = setup_of(XM_SCRAM_SHA1);
    xm_scram *s;
    xm_buf out = XM_BUF_SECRET;
    setup.gs2 = flags[i][0];
    s = xm_scram_new_with_nonce(&setup, NONCE, NULL);
    assert_int_equal(xm_scram_first(s, &out, NULL), XM_OK);
    assert_memory_equal(xm_buf_at(&out), flags[i][0], 3);
    xm_buf_clear(&out);
    assert_int_equal(xm_scram_step(s, FIRST, strlen(FIRST), &out, NULL), XM_OK);
    assert_memory_equal(xm_buf_at(&out), flags[i][1], 7);
    xm_buf_free(&out);
    xm_scram_free(s);
  }
}

/* ~ stands for NUL. The last message of the script must be refused with this condition, and those before it
 * accepted. */
static const struct row {
  const char *condition, *script[5];
} rows[] = {
    {"bad-server-nonce", {"C:r=other3rfcNHYJY1ZVvWVs7j," S ",i=4096"}},
    {"bad-server-nonce", {"C:r=" NONCE "," S ",i=4096"}}, /* nothing added by the server */
    {"bad-server-nonce", {"C:r=fyko+d2lbbFgONRv9qkxdaw," S ",i=4096"}},
    {"bad-server-nonce", {"C:r=," S ",i=4096"}},
    {"bad-server-nonce", {"C:r=3rfcNHYJ" NONCE "," S ",i=4096"}},
    {"bad-server-nonce", {"C:r=FYKO+D2LBBFGONRV9QKXDAWL3rfcNHYJ," S ",i=4096"}},
    {"bad-server-nonce", {"C:" R " ," S ",i=4096"}},
    {"bad-server-nonce", {"C:" R "\x01," S ",i=4096"}},
    {"bad-server-nonce", {"C:" R "\x7f," S ",i=4096"}},
    {"bad-server-nonce", {"C:" R "\xc3\xa9," S ",i=4096"}},
    {"bad-server-nonce", {"C:" R "\xff," S ",i=4096"}},
    {"malformed-challenge", {"C:" R "~," S ",i=4096"}},
    {"bad-iteration-count", {"C:" R "," S ",i="}},
    {"bad-iteration-count", {"C:" R "," S ",i=0"}},
    {"bad-iteration-count", {"C:" R "," S ",i=1"}},
    {"bad-iteration-count", {"C:" R "," S ",i=4095"}},
    {"bad-iteration-count", {"C:" R "," S ",i=2000001"}},
    {"bad-iteration-count", {"C:" R "," S ",i=2147483648"}},
    {"bad-iteration-count", {"C:" R "," S ",i=4294967296"}},
    {"bad-iteration-count", {"C:" R "," S ",i=4294971392"}},           /* 4096 modulo 2^32 */
    {"bad-iteration-count", {"C:" R "," S ",i=18446744073709555712"}}, /* 4096 modulo 2^64 */
    {"bad-iteration-count", {"C:" R "," S ",i=-1"}},
    {"bad-iteration-count", {"C:" R "," S ",i=+4096"}},
    {"bad-iteration-count", {"C:" R "," S ",i=04096"}},
    {"bad-iteration-count", {"C:" R "," S ",i=0x1000"}},
    {"bad-iteration-count", {"C:" R "," S ",i= 4096"}},
    {"bad-iteration-count", {"C:" R "," S ",i=4096 "}},
    {"bad-iteration-count", {"C:" R "," S ",i=4096abc"}},
    {"bad-iteration-count", {"C:" R "," S ",i=4096.0"}},
    {"bad-iteration-count", {"C:" R "," S ",i=40:0"}},                     /* 4100, if : were a digit */
    {"bad-iteration-count", {"C:" R "," S ",i=\xef\xbc\x94\x30\x39\x36"}}, /* a full-width 4 */
    {"bad-salt", {"C:" R ",s=,i=4096"}},
    {"bad-salt", {"C:" R ",s=QSXCR+Q6sek8bf9,i=4096"}},
    {"bad-salt", {"C:" R ",s=QSXCR+Q6sek8bf9=,i=4096"}}, /* trailing bits */
    {"bad-salt", {"C:" R ",s=QSXCR+Q6sek8bf92=,i=4096"}},
    {"bad-salt", {"C:" R ",s=QSXCR+Q6sek8bf92====,i=4096"}},
    {"bad-salt", {"C:" R ",s=====,i=4096"}},
    {"bad-salt", {"C:" R ",s=QSXC R+Q6sek8bf9,i=4096"}},
    {"bad-salt", {"C:" R ",s=QSXCR-Q6sek8bf92,i=4096"}},
    {"bad-salt", {"C:" R ",s=QSXC\nQ6sek8bf92,i=4096"}},
    {"mandatory-extension", {"C:m=ext," FIRST}},
    {"mandatory-extension", {"C:m=," FIRST}},
    {"mandatory-extension", {"C:" R ",m=ext," S ",i=4096"}},
    {"mandatory-extension", {"C:" FIRST ",m=ext"}},
    {"mandatory-extension", {"C:" FIRST ",x=1,m=ext"}},
    {"mandatory-extension", {"C:" FIRST, "S:m=ext," FINAL}},
    {"mandatory-extension", {"C:" FIRST, "S:" FINAL ",m=ext"}},
    {"malformed-challenge", {"C:"}},
    {"malformed-challenge", {"C:,"}},
    {"malformed-challenge", {"C:r"}},
    {"malformed-challenge", {"C:r:" NONCE "x," S ",i=4096"}},
    {"malformed-challenge", {"C:" R}},
    {"malformed-challenge", {"C:" R "," S}},
    {"malformed-challenge", {"C:" R ",i=4096"}},
    {"malformed-challenge", {"C:" S "," R ",i=4096"}},
    {"malformed-challenge", {"C:" R ",i=4096," S}},
    {"malformed-challenge", {"C:i=4096," R "," S}},
    {"malformed-challenge", {"C:x=1," FIRST}},
    {"malformed-challenge", {"C:" R ",x=1," S ",i=4096"}},
    {"malformed-challenge", {"C:," FIRST}},
    {"malformed-challenge", {"C: " FIRST}},
    {"malformed-challenge", {"C:" R ",," S ",i=4096"}},
    {"malformed-challenge", {"C:" FIRST ","}},
    {"malformed-challenge", {"C:" FIRST ",,x=1"}},
    {"malformed-challenge", {"C:" FIRST ",x"}},
    {"malformed-challenge", {"C:" FIRST ",x="}},
    {"malformed-challenge", {"C:" FIRST ",xx=1"}},
    {"malformed-challenge", {"C:" FIRST ",1=x"}},
    {"malformed-challenge", {"C:" FIRST ",=x"}},
    {"malformed-challenge", {"C:" FIRST ",\xc3=x"}},
    {"malformed-challenge", {"C:" FIRST ",x=~"}},
    {"malformed-challenge", {"C:" FIRST "~"}},
    {"malformed-challenge", {"C:" FIRST ",i=4096"}},
    {"malformed-challenge", {"C:" FIRST ",s=QSXC"}},
    {"malformed-challenge", {"C:" FIRST ",r=x"}},
    {"malformed-challenge", {"C:" FIRST "," FINAL}},
    {"malformed-challenge", {"C:e=other-error"}},
    {"malformed-challenge", {"C:n,,n=user,r=" NONCE}},
    {"bad-server-signature", {"C:" FIRST, "S:v=rmF9pqV8S7suAoZWja4dJRkFsKR="}},
    {"bad-server-signature", {"C:" FIRST, "S:v=rmF9pqV8S7suAoZWja4dJRkFsKU="}},
    {"bad-server-signature", {"C:" FIRST, "S:v=smF9pqV8S7suAoZWja4dJRkFsKQ="}},
    {"bad-server-signature", {"C:" FIRST, "S:v="}},
    {"bad-server-signature", {"C:" FIRST, "S:v=rmF9pqV8"}},
    {"bad-server-signature", {"C:" FIRST, "S:v=rmF9pqV8S7suAoZWja4dJRkFsKQA"}},
    {"bad-server-signature", {"C:" FIRST, "S:v=rmF9pqV8S7suAoZWja4dJRkFsKQ"}},
    {"bad-server-signature", {"C:" FIRST, "S:" FINAL " "}},
    {"bad-server-signature", {"C:" FIRST, "S:" FINAL FINAL}},
    {"bad-server-signature", {"C:" FIRST, "S:v=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="}}, /* the client's own proof */
    {"bad-server-signature", {"C:" FIRST, "S:v=AAAAAAAAAAAAAAAAAAAAAAAAAAA="}},
    {"bad-server-signature", {"C:" FIRST, "C:v=AAAAAAAAAAAAAAAAAAAAAAAAAAA="}},
    {"malformed-success", {"C:" FIRST, "S:" FINAL "," FINAL}},
    {"malformed-success", {"C:" FIRST, "S:" FINAL ",e=invalid-proof"}},
    {"malformed-success", {"C:" FIRST, "S:" FINAL ","}},
    {"malformed-success", {"C:" FIRST, "S:" FINAL "~"}},
    {"malformed-success", {"C:" FIRST, "S:V=rmF9pqV8S7suAoZWja4dJRkFsKQ="}},
    {"malformed-success", {"C:" FIRST, "S:x=1," FINAL}},
    {"malformed-success", {"C:" FIRST, "S: " FINAL}},
    {"malformed-success", {"C:" FIRST, "S:rmF9pqV8S7suAoZWja4dJRkFsKQ="}},
    {"malformed-success", {"C:" FIRST, "S:p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="}},
    {"malformed-success", {"C:" FIRST, "S: p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="}},
    {"malformed-success", {"C:" FIRST, "S:" FIRST}},
    {"malformed-success", {"C:" FIRST, "S:~"}},
    {"malformed-success", {"C:" FIRST, "S:e"}},
    {"malformed-challenge", {"C:" FIRST, "C:"}},
    {"malformed-challenge", {"C:" FIRST, "C:" FIRST}},
    {"malformed-challenge", {"C:" FIRST, "C:" FINAL "," FINAL}},
    {"invalid-proof", {"C:" FIRST, "S:e=invalid-proof"}},
    {"invalid-proof", {"C:" FIRST, "C:e=invalid-proof"}},
    {"unknown-user", {"C:" FIRST, "S:e=unknown-user,x=1"}},
    {"other-error", {"C:" FIRST, "S:e="}},
    {"bad???thing", {"C:" FIRST, "S:e=bad\x01\x7f\xffthing"}},
    {"%s%n%s", {"C:" FIRST, "S:e=%s%n%s"}},
    {"1234567890123456789012345678901234567890...", {"C:" FIRST, "S:e=123456789012345678901234567890123456789012345"}},
    {"no-server-signature", {"S:"}},
    {"no-server-signature", {"S:" FINAL}},
    {"no-server-signature", {"C:" FIRST, "S:"}},
    {"unexpected-success-data", {"C:" FIRST, "C:" FINAL, "S:" FINAL}},
    {"unexpected-success-data", {"C:" FIRST, "C:" FINAL, "S:x=1"}},
    {"unexpected-success-data", {"C:" FIRST, "C:" FINAL, "S:~"}},
    {"unexpected-challenge", {"C:" FIRST, "C:" FINAL, "C:" FINAL}},
    {"unexpected-challenge", {"C:" FIRST, "C:" FINAL, "C:"}},
    {"unexpected-challenge", {"C:" FIRST, "S:" FINAL, "C:" FINAL}},
};

/* Takes one message of a script: "C:" a challenge, "S:" success with data. */
static int hear(xm_scram *s, const char *line, xm_err *e) {
  char bytes[400];
  size_t i, n = strlen(line) - 2;
  xm_buf out = XM_BUF_SECRET;
  int rc;
  const char *in = n ? bytes : NULL;
  assert_true(n < sizeof bytes);
  for (i = 0; i < n; i++) bytes[i] = line[i + 2] == '~' ? '\0' : line[i + 2];
  rc = line[0] == 'C' ? xm_scram_step(s, in, n, &out, e) : xm_scram_success(s, in, n, e);
  xm_buf_free(&out);
  return rc;
}

static void test_hostile_servers(void **unused) {
  size_t i, k;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct row *row = &rows[i];
    xm_scram *s = started(XM_SCRAM_SHA1, NONCE);
    xm_err e = {0};
    for (k = 0; row->script[k + 1]; k++)
      if (hear(s, row->script[k], &e) != XM_OK) fail_msg("row %zu: too early: %s", i, e.text);
    if (hear(s, row->script[k], &e) != XM_EFAIL) fail_msg("row %zu: taken: %s", i, row->script[k]);
    if (strcmp(e.condition, row->condition)) fail_msg("row %zu: %s: %s", i, e.condition, e.text);
    check_refusal(&e, row->condition);
    /* and nothing makes it valid again */
    assert_int_equal(hear(s, "S:" FINAL, &(xm_err){0}), XM_EFAIL);
    assert_int_equal(hear(s, "S:", &(xm_err){0}), XM_EFAIL);
    assert_int_equal(hear(s, "C:" FIRST, &(xm_err){0}), XM_EFAIL);
    assert_int_equal(hear(s, "S:" FINAL, NULL), XM_EFAIL);
    xm_scram_free(s);
  }
}

/* Before it has sent its first message, a session accepts nothing. */
static void test_nothing_before_the_first_message(void **unused) {
  static const char *const lines[] = {"S:", "S:" FINAL, "C:" FIRST, "C:"};
  xm_scram_setup setup = setup_of(XM_SCRAM_SHA1);
  size_t i;
  (void)unused;
  for (i = 0; i < 4; i++) {
    xm_err e = {0};
    xm_scram *s = xm_scram_new_with_nonce(&setup, NONCE, &e);
    assert_int_equal(hear(s, lines[i], &e), XM_EFAIL);
    check_refusal(&e, i < 2 ? "no-server-signature" : "unexpected-challenge");
    xm_scram_free(s);
  }
}

/* A challenge of `head`, `n` times `c`, and `tail`: the condition of its error, "" if it is accepted. */
static const char *long_challenge(const char *head, char c, size_t n, const char *tail) {
  static xm_err e;
  xm_buf in = XM_BUF_INIT, out = XM_BUF_SECRET;
  xm_scram *s = started(XM_SCRAM_SHA1, NONCE);
  xm_err_clear(&e);
  xm_buf_puts(&in, head);
  while (n--) xm_buf_putc(&in, c);
  xm_buf_puts(&in, tail);
  if (xm_scram_step(s, xm_buf_at(&in), xm_buf_len(&in), &out, &e) < 0) check_refusal(&e, e.condition);
  xm_buf_free(&in);
  xm_buf_free(&out);
  xm_scram_free(s);
  return e.condition;
}

static void test_sizes(void **unused) {
  size_t room = 16384 - strlen(FIRST ",x=");
  (void)unused;
  assert_string_equal(long_challenge(R ",s=", 'A', 1364, "AA==,i=4096"), "");
  assert_string_equal(long_challenge(R ",s=", 'A', 1364, "AAA=,i=4096"), "bad-salt");
  assert_string_equal(long_challenge(R ",s=", 'A', 1364, "AAAA,i=4096"), "bad-salt");
  assert_string_equal(long_challenge(R ",s=", 'A', 1364, ",i=4096"), "");
  assert_string_equal(long_challenge(R ",s=", 'A', 10000, ",i=4096"), "bad-salt");
  assert_string_equal(long_challenge(R, 'A', 1000, "," S ",i=4096"), "");
  assert_string_equal(long_challenge(R, 'A', 65536, "," S ",i=4096"), "malformed-challenge");
  assert_string_equal(long_challenge(FIRST ",x=", 'y', room, ""), "");
  assert_string_equal(long_challenge(FIRST ",x=", 'y', room + 1, ""), "malformed-challenge");
  assert_string_equal(long_challenge("", 'r', 1000, ""), "malformed-challenge");
}

/* The condition of the error for i=`rounds` with these limits, "" if it is accepted. */
static const char *count(unsigned min, unsigned max, const char *rounds) {
  static xm_err e;
  xm_scram_setup setup = setup_of(XM_SCRAM_SHA1);
  char line[200];
  xm_scram *s;
  xm_buf out = XM_BUF_SECRET;
  setup.min_rounds = min;
  setup.max_rounds = max;
  s = xm_scram_new_with_nonce(&setup, NONCE, NULL);
  xm_err_clear(&e);
  assert_int_equal(xm_scram_first(s, &out, &e), XM_OK);
  snprintf(line, sizeof line, "C:" R "," S ",i=%s", rounds);
  hear(s, line, &e);
  xm_buf_free(&out);
  xm_scram_free(s);
  return e.condition;
}

static void test_bounds_of_the_count(void **unused) {
  (void)unused;
  assert_string_equal(count(0, 0, "4096"), "");
  assert_string_equal(count(0, 0, "10000"), "");
  assert_string_equal(count(7, 12, "6"), "bad-iteration-count");
  assert_string_equal(count(7, 12, "7"), "");
  assert_string_equal(count(7, 12, "12"), "");
  assert_string_equal(count(7, 12, "13"), "bad-iteration-count");
  assert_string_equal(count(1, 0, "1"), "");
  assert_string_equal(count(1, 0, "0"), "bad-iteration-count");
  assert_string_equal(count(1, 0, "01"), "bad-iteration-count");
  assert_string_equal(count(1, 0, ""), "bad-iteration-count");
  /* a count that doesn't fit into OpenSSL's int is refused, whatever the caller allows */
  assert_string_equal(count(1, UINT_MAX, "2147483648"), "bad-iteration-count");
  assert_string_equal(count(1, UINT_MAX, "4294967295"), "bad-iteration-count");
}

static void test_username_is_escaped(void **unused) {
  xm_scram_setup setup = setup_of(XM_SCRAM_SHA1);
  xm_scram *s;
  xm_buf out = XM_BUF_SECRET;
  (void)unused;
  setup.username = "a,b=c=2C\xc3\xa9";
  setup.username_len = 10;
  s = xm_scram_new_with_nonce(&setup, NONCE, NULL);
  assert_int_equal(xm_scram_first(s, &out, NULL), XM_OK);
  check_said(&out, "n,,n=a=2Cb=3Dc=3D2C\xc3\xa9,r=" NONCE);
  xm_buf_free(&out);
  xm_scram_free(s);
}

/* A nonce that isn't given is random, long enough, and of the right alphabet. */
static void test_nonce_is_fresh(void **unused) {
  xm_scram_setup setup = setup_of(XM_SCRAM_SHA256);
  char last[24] = "";
  int i;
  (void)unused;
  for (i = 0; i < 100; i++) {
    xm_buf out = XM_BUF_SECRET;
    xm_scram *s = xm_scram_new(&setup, NULL);
    assert_int_equal(xm_scram_first(s, &out, NULL), XM_OK);
    assert_int_equal(xm_buf_len(&out), strlen("n,,n=user,r=") + sizeof last);
    assert_memory_not_equal(xm_buf_at(&out) + 12, last, sizeof last);
    memcpy(last, xm_buf_at(&out) + 12, sizeof last);
    assert_null(memchr(last, ',', sizeof last));
    xm_buf_free(&out);
    xm_scram_free(s);
  }
  xm_scram_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_vectors),
      cmocka_unit_test(test_bound_vector),
      cmocka_unit_test(test_claims),
      cmocka_unit_test(test_flags),
      cmocka_unit_test(test_hostile_servers),
      cmocka_unit_test(test_nothing_before_the_first_message),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_bounds_of_the_count),
      cmocka_unit_test(test_username_is_escaped),
      cmocka_unit_test(test_nonce_is_fresh),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
