/* sasl: whole logins against a server that was written independently, the same with a heap that fails at every place,
 * and the mechanisms of one message. t_scram and t_sasl_matrix have servers that lie, t_mech the choice.
 *
 * The modules are compiled into this file, so that their malloc can be made to fail and their freed blocks can be
 * searched for the password, under sanitizers too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four headers above */
#include <cmocka.h>

#include <openssl/hmac.h>

#include "refusal.h"

#define PASSWORD "pencil"

static struct heap {
  bool failing;   /* some allocation will fail */
  bool armed;     /* only while the client runs do allocations count */
  bool for_good;  /* after the first failure all fail; else only that one */
  long left;      /* allocations until one fails */
  unsigned noes;  /* how many have failed */
  long live;      /* the modules' blocks that haven't been freed */
  unsigned leaks; /* blocks that were freed with the password in them */
} heap;

typedef union block {
  size_t n;
  max_align_t align;
} block;

static bool says_no(void) {
  if (!heap.armed) return false;
  if (heap.left-- > 0 || (heap.noes && !heap.for_good)) return false;
  heap.noes++;
  return true;
}

static void *spy_calloc(size_t count, size_t n) {
  block *b = says_no() ? NULL : calloc(1, sizeof *b + count * n);
  if (!b) return NULL;
  b->n = count * n;
  heap.live++;
  return b + 1;
}

static void *spy_malloc(size_t n) {
  return spy_calloc(1, n);
}

static void spy_free(void *p) {
  block *b = p;
  if (!p) return;
  if (memmem(p, b[-1].n, PASSWORD, strlen(PASSWORD))) heap.leaks++;
  heap.live--;
  free(b - 1);
}

static void *spy_realloc(void *p, size_t n) {
  block *old = p;
  void *to = spy_malloc(n);
  if (!to || !p) return to;
  memcpy(to, p, old[-1].n < n ? old[-1].n : n);
  spy_free(p);
  return to;
}

static void *ssl_malloc(size_t n, const char *file, int line) {
  (void)file, (void)line;
  return says_no() ? NULL : malloc(n);
}

static void *ssl_realloc(void *p, size_t n, const char *file, int line) {
  (void)file, (void)line;
  return says_no() ? NULL : realloc(p, n);
}

static void ssl_free(void *p, const char *file, int line) {
  (void)file, (void)line;
  free(p);
}

#define malloc spy_malloc
#define calloc spy_calloc
#define realloc spy_realloc
#define free spy_free
#include "../core/b64.c"
#include "../core/buf.c"
#include "../core/rnd.h"

static bool no_randomness;
static int spy_rnd_id(char id[XM_RND_ID + 1]) {
  return no_randomness ? XM_EFAIL : xm_rnd_id(id);
}

static size_t widest_wipe; /* bytes, the most that scram wiped at once */
static void spy_wipe(void *p, size_t n) {
  if (n > widest_wipe) widest_wipe = n;
  xm_wipe(p, n);
}

#define xm_rnd_id spy_rnd_id
#define xm_wipe spy_wipe
#include "../core/sasl.c"
#include "../core/scram.c"
#undef malloc
#undef calloc
#undef realloc
#undef free

/* An error, whose text must not contain the password. */
static void check_refusal(const xm_err *e, const char *condition) {
  check_form(e, condition);
  assert_null(strstr(e->text, PASSWORD));
}

static const struct kind {
  const char *mech;
  const EVP_MD *(*md)(void);
  size_t len;
} kinds[] = {{"SCRAM-SHA-1", EVP_sha1, 20}, {"SCRAM-SHA-256", EVP_sha256, 32}, {"SCRAM-SHA-512", EVP_sha512, 64}};

#define LOGIN(name, n, secret, m) \
  { .username = name, .username_len = n, .password = secret, .password_len = m }
static const xm_sasl_login user = LOGIN("user", 4, PASSWORD, sizeof PASSWORD - 1);

#define OFFER "PLAIN\x1eSCRAM-SHA-1"
static const xm_mech_channel tls13 = {.version = 0x0304, .bindings = {{32, "32 bytes that TLS has exported ."}}};

/* A server, written from RFC 5802 section 3 with one-shot HMAC() and digests: it shares no code with scram.c. */
typedef struct server {
  const struct kind *kind;
  const char *rounds, *extension;
  char flag;                  /* GS2's; 0: n */
  bool claims;                /* it proves its offer and TLS's version */
  char gs2[120];              /* the GS2 header, then the channel binding, which has no NUL before its end */
  char bare[300], first[900]; /* client-first-message-bare, server-first-message */
  char final[200];
} server;

static void mac(const server *v, const void *key, size_t keylen, const void *data, size_t n, unsigned char *to) {
  unsigned len;
  assert_non_null(HMAC(v->kind->md(), key, (int)keylen, data, n, to, &len));
  assert_int_equal(len, v->kind->len);
}

/* Hi(): PBKDF2 with one block of output. */
static void salted_password(const server *v, const char *password, unsigned char *to) {
  unsigned char u[64];
  int i, rounds = atoi(v->rounds);
  size_t k;
  mac(v, password, strlen(password), "a salt\0\0\0\1", 10, u);
  memcpy(to, u, v->kind->len);
  for (i = 1; i < rounds; i++) {
    mac(v, password, strlen(password), u, v->kind->len, u);
    for (k = 0; k < v->kind->len; k++) to[k] ^= u[k];
  }
}

/* XEP-0474 and XEP-0515, written to `to`. */
static void claim(const server *v, char to[120]) {
  unsigned char hash[64];
  assert_int_equal(EVP_Digest(OFFER, strlen(OFFER), hash, NULL, v->kind->md(), NULL), 1);
  strcpy(to, ",t=0304,h=");
  EVP_EncodeBlock((unsigned char *)to + strlen(to), hash, (int)v->kind->len);
}

static void server_challenge(server *v, const xm_buf *said) {
  char claims[120] = "";
  size_t n;
  snprintf(v->gs2, sizeof v->gs2, v->flag == 'p' ? "p=tls-exporter,," : "%c,,", v->flag ? v->flag : 'n');
  n = strlen(v->gs2);
  assert_memory_equal(xm_buf_at(said), v->gs2, n);
  snprintf(v->bare, sizeof v->bare, "%.*s", (int)(xm_buf_len(said) - n), xm_buf_at(said) + n);
  if (v->claims) claim(v, claims);
  /* long enough that the client's windows have to grow in the middle of a message */
  snprintf(v->first, sizeof v->first, "%s%%%0150d!,s=YSBzYWx0,i=%s%s%s", strstr(v->bare, "r="), 0, v->rounds,
           v->extension, claims);
}

/* c= is the GS2 header and the channel binding. Returns what follows it. */
static const char *check_binding(const server *v, const char *response) {
  char bytes[120], c[170] = "c=";
  size_t n = strlen(v->gs2);
  memcpy(bytes, v->gs2, n);
  if (v->flag == 'p') memcpy(bytes + n, tls13.bindings[0].bytes, 32), n += 32;
  EVP_EncodeBlock((unsigned char *)c + 2, (unsigned char *)bytes, (int)n);
  assert_memory_equal(response, c, strlen(c));
  return response + strlen(c);
}

/* The client's key, recovered from its proof, has the hash that a server stores. */
static void check_proof(const server *v, const unsigned char *salted, const char *proof, const unsigned char *auth,
                        size_t n) {
  unsigned char key[64], stored[64], signature[64], got[66];
  size_t i;
  mac(v, salted, v->kind->len, "Client Key", 10, key);
  assert_int_equal(EVP_Digest(key, v->kind->len, stored, NULL, v->kind->md(), NULL), 1);
  mac(v, stored, v->kind->len, auth, n, signature);
  assert_int_equal(EVP_DecodeBlock(got, (const unsigned char *)proof, (int)strlen(proof)), (v->kind->len + 2) / 3 * 3);
  for (i = 0; i < v->kind->len; i++) assert_int_equal(got[i] ^ signature[i], key[i]);
}

static void server_final(server *v, const char *password, const xm_buf *said) {
  char response[900], auth[2400], *proof;
  const char *nonce;
  unsigned char salted[64], key[64], signature[64];
  snprintf(response, sizeof response, "%.*s", (int)xm_buf_len(said), xm_buf_at(said));
  proof = strstr(response, ",p=");
  assert_non_null(proof);
  *proof = '\0';
  snprintf(auth, sizeof auth, "%s,%s,%s", v->bare, v->first, response);
  nonce = check_binding(v, response);
  assert_memory_equal(nonce, ",r=", 3);
  assert_memory_equal(nonce + 3, v->first + 2, strcspn(v->first + 2, ","));
  salted_password(v, password, salted);
  check_proof(v, salted, proof + 3, (unsigned char *)auth, strlen(auth));
  mac(v, salted, v->kind->len, "Server Key", 10, key);
  mac(v, key, v->kind->len, auth, strlen(auth), signature);
  memcpy(v->final, "v=", 2);
  EVP_EncodeBlock((unsigned char *)v->final + 2, signature, (int)v->kind->len);
}

/* A choice of this mechanism, made for the test. */
static const xm_mech_choice *choice_of(const char *name, char flag) {
  static xm_mech_choice choice;
  const char *unknown;
  size_t n;
  xm_mech_offer offer = {0};
  xm_mech_policy policy = {.allowed = xm_mech_allowed(name, &unknown, &n),
                           .username = strcmp(name, "ANONYMOUS") != 0,
                           .password = true,
                           .certificate = true,
                           .tls = true,
                           .verified = true,
                           .plain = true,
                           .channel = &tls13};
  xm_mech_offer_add(&offer, name, strlen(name));
  assert_int_equal(xm_mech_choose(&offer, &policy, &choice, NULL), XM_OK);
  assert_string_equal(choice.mech->name, name);
  choice.flag = flag ? flag : 'n';
  return &choice;
}

/* One call of the client's, with the heap as the test has set it up; a call that fails hasn't added anything to
 * `out`. */
#define CLIENT(call, out)                                  \
  do {                                                     \
    size_t before = xm_buf_len(out);                       \
    heap.armed = heap.failing;                             \
    rc = (call);                                           \
    heap.armed = false;                                    \
    if (rc < 0) assert_int_equal(xm_buf_len(out), before); \
  } while (0)

/* A whole login to the server above. Returns 0, or the client's XM_EFAIL. */
static int log_in(server *v, const xm_sasl_login *login, bool proof_in_challenge, xm_err *e) {
  const xm_mech_choice *choice = choice_of(v->kind->mech, v->flag);
  xm_sasl_login full = *login;
  xm_buf out = XM_BUF_SECRET;
  xm_sasl *s = NULL;
  int rc;
  full.channel = &tls13;
  full.offered = OFFER;
  full.offered_len = strlen(OFFER);
  CLIENT((s = xm_sasl_new(choice, &full, e)) ? XM_OK : XM_EFAIL, &out);
  if (rc == XM_OK) CLIENT(xm_sasl_first(s, &out, e), &out);
  if (rc == XM_OK) {
    server_challenge(v, &out);
    xm_buf_clear(&out);
    CLIENT(xm_sasl_step(s, v->first, strlen(v->first), &out, e), &out);
  }
  if (rc == XM_OK) {
    server_final(v, login->password, &out);
    xm_buf_clear(&out);
    if (proof_in_challenge) {
      CLIENT(xm_sasl_step(s, v->final, strlen(v->final), &out, e), &out);
      assert_int_equal(xm_buf_len(&out), 0);
      v->final[0] = '\0';
    }
  }
  if (rc == XM_OK) CLIENT(xm_sasl_success(s, v->final, strlen(v->final), e), &out);
  xm_sasl_free(s);
  xm_buf_free(&out);
  return rc;
}

static void test_with_another_server(void **unused) {
  static const char *const extensions[] = {"", ",x=1", ",H=abc,z=a=b=c", ",Z=\xc3\xa9\xff!"};
  static const xm_sasl_login logins[] = {
      LOGIN("user", 4, PASSWORD, 6),
      LOGIN("a,b=c", 5, "pass, word=\xc2\xa0\xef\xac\x81", 16),
  };
  size_t k, x, l;
  (void)unused;
  for (k = 0; k < 3; k++)
    for (x = 0; x < 4; x++)
      for (l = 0; l < 2; l++) {
        server v = {.kind = &kinds[k], .rounds = "4096", .extension = extensions[x], .flag = "npyp"[x], .claims = l};
        xm_err e = {0};
        if (log_in(&v, &logins[l], x % 2, &e) < 0) fail_msg("%s: %s", e.condition, e.text);
        assert_non_null(strstr(v.bare, l ? "n=a=2Cb=3Dc,r=" : "n=user,r="));
      }
  assert_int_equal(heap.live, 0);
  assert_int_equal(heap.leaks, 0);
}

/* A password of 1 MiB is accepted, one more byte is refused. */
static void test_longest_password(void **unused) {
  enum { LONG = 1 << 20 };
  server v = {.kind = &kinds[0], .rounds = "1", .extension = ""};
  char *password = malloc(LONG + 2);
  xm_sasl_login login = LOGIN("user", 4, password, LONG);
  xm_err e = {0};
  (void)unused;
  login.min_rounds = 1;
  memset(password, 'p', LONG + 1);
  password[LONG] = '\0';
  assert_int_equal(log_in(&v, &login, false, &e), XM_OK);
  password[LONG] = 'p';
  login.password_len++;
  assert_int_equal(log_in(&v, &login, false, &e), XM_EFAIL);
  assert_string_equal(e.condition, "invalid-password");
  free(password);
}

/* The login with the heap failing at allocation `at`; false if there were fewer. */
static bool survives(long at, bool for_good, bool proof_in_challenge, const char *extension) {
  server v = {.kind = &kinds[2], .rounds = "1", .extension = extension, .flag = "np"[for_good], .claims = true};
  xm_sasl_login login = user;
  xm_err e = {0};
  int rc;
  login.min_rounds = 1;
  heap = (struct heap){.failing = true, .left = at, .for_good = for_good};
  rc = log_in(&v, &login, proof_in_challenge, &e);
  assert_int_equal(heap.live, 0);
  assert_int_equal(heap.leaks, 0);
  assert_int_equal(xm_err_is_set(&e), rc < 0);
  if (rc == 0) return heap.noes > 0; /* OpenSSL can do without some allocations */
  assert_true(heap.noes > 0);
  if (strcmp(e.condition, "ENOMEM") && strcmp(e.condition, "no-randomness")) check_refusal(&e, "crypto-failed");
  return true;
}

/* Every allocation of the login fails once, alone or with all that follow: our own and OpenSSL's. */
static void test_failing_heap(void **unused) {
  char extension[200] = ",x=";
  int way;
  (void)unused;
  memset(extension + 3, 'y', sizeof extension - 4);
  for (way = 0; way < 8; way++) {
    long at = 0;
    while (survives(at, way & 1, way & 2, way & 4 ? extension : "")) at++;
    assert_true(at > 20);
  }
  heap = (struct heap){0};
}

static void test_no_randomness(void **unused) {
  xm_err e = {0};
  (void)unused;
  no_randomness = true;
  assert_null(xm_sasl_new(choice_of("SCRAM-SHA-1", 'n'), &user, &e));
  no_randomness = false;
  check_refusal(&e, "no-randomness");
  assert_int_equal(heap.live, 0);
}

/* The keys of a login are on the stack in one block; nothing is left of them. */
static void test_keys_are_wiped(void **unused) {
  server v = {.kind = &kinds[0], .rounds = "4096", .extension = ""};
  (void)unused;
  widest_wipe = 0;
  assert_int_equal(log_in(&v, &user, false, NULL), XM_OK);
  assert_true(widest_wipe >= sizeof(keys));
}

static void test_plain(void **unused) {
  xm_buf out = XM_BUF_SECRET;
  xm_err e = {0};
  xm_sasl *s = xm_sasl_new(choice_of("PLAIN", 'n'), &user, &e);
  (void)unused;
  assert_int_equal(xm_sasl_success(s, NULL, 0, &e), XM_EFAIL);
  check_refusal(&e, "unexpected-success");
  xm_err_clear(&e);
  xm_buf_puts(&out, "before:");
  assert_int_equal(xm_sasl_first(s, &out, &e), XM_OK);
  assert_int_equal(xm_buf_len(&out), 7 + 5 + 1 + 6);
  assert_memory_equal(xm_buf_at(&out), "before:\0user\0" PASSWORD, 19);
  assert_int_equal(xm_sasl_step(s, "", 0, &out, &e), XM_EFAIL);
  check_refusal(&e, "unexpected-challenge");
  xm_err_clear(&e);
  assert_int_equal(xm_sasl_success(s, "x", 1, &e), XM_EFAIL);
  check_refusal(&e, "unexpected-success-data");
  xm_err_clear(&e);
  assert_int_equal(xm_sasl_success(s, NULL, 0, &e), XM_OK);
  assert_int_equal(xm_buf_len(&out), 19);
  xm_sasl_free(s);
  xm_sasl_free(NULL);
  xm_buf_free(&out);
  assert_int_equal(heap.live, 0);
  assert_int_equal(heap.leaks, 0);
}

/* EXTERNAL sends nothing, or the authzid; ANONYMOUS nothing. Neither accepts data from the server. */
static void test_external_and_anonymous(void **unused) {
  static const struct {
    const char *mech, *authzid;
  } rows[] = {{"EXTERNAL", NULL}, {"EXTERNAL", "user@example.org"}, {"ANONYMOUS", NULL}, {"ANONYMOUS", "ignored"}};
  size_t i;
  (void)unused;
  for (i = 0; i < 4; i++) {
    xm_sasl_login login = {.authzid = rows[i].authzid, .authzid_len = rows[i].authzid ? strlen(rows[i].authzid) : 0};
    xm_buf out = XM_BUF_SECRET;
    xm_err e = {0};
    xm_sasl *s = xm_sasl_new(choice_of(rows[i].mech, 'n'), &login, &e);
    assert_int_equal(xm_sasl_success(s, NULL, 0, NULL), XM_EFAIL);
    assert_int_equal(xm_sasl_first(s, &out, &e), XM_OK);
    assert_int_equal(xm_buf_len(&out), i == 1 ? login.authzid_len : 0);
    if (i == 1) assert_memory_equal(xm_buf_at(&out), login.authzid, login.authzid_len);
    assert_int_equal(xm_sasl_step(s, "", 0, &out, &e), XM_EFAIL);
    check_refusal(&e, "unexpected-challenge");
    assert_non_null(strstr(e.text, rows[i].mech));
    assert_int_equal(xm_sasl_success(s, "x", 1, NULL), XM_EFAIL);
    assert_int_equal(xm_sasl_success(s, NULL, 0, NULL), XM_OK);
    xm_sasl_free(s);
    xm_buf_free(&out);
  }
  assert_int_equal(heap.live, 0);
}

/* HT (XEP-0484, draft-schmaus-kitten-sasl-ht-09), compared with OpenSSL's HMAC. */

static const xm_mech_channel all_bindings = {
    .version = 0x0303,
    .bindings = {{32, "32 bytes that TLS has exported ."}, {12, "finished it."}, {20, "a certificate's hash"}}};

static const xm_mech_choice *token_choice(const char *name) {
  static xm_mech_choice choice;
  const xm_mech_policy policy = {.allowed = ~0u, .username = true, .tls = true, .verified = true, .channel = &all_bindings};
  assert_true(xm_mech_choose_token(name, ~0u, &policy, &choice));
  return &choice;
}

static void ht_mac(const char *token, const char *word, int binding, unsigned char to[32]) {
  unsigned char text[100];
  size_t n = strlen(word);
  unsigned len;
  memcpy(text, word, n);
  if (binding < 3) memcpy(text + n, all_bindings.bindings[binding].bytes, all_bindings.bindings[binding].n);
  if (binding < 3) n += all_bindings.bindings[binding].n;
  assert_non_null(HMAC(EVP_sha256(), token, (int)strlen(token), text, n, to, &len));
  assert_int_equal(len, 32);
}

static void check_ht(const char *name, int binding, const char *user_name, const char *token) {
  xm_sasl_login login = LOGIN(user_name, strlen(user_name), token, strlen(token));
  size_t n = strlen(user_name) + 1;
  unsigned char mac_of[33], answer[33];
  xm_buf out = XM_BUF_SECRET;
  xm_err e = {0};
  xm_sasl *s;
  int i;
  login.channel = &all_bindings;
  ht_mac(token, "Initiator", binding, mac_of);
  ht_mac(token, "Responder", binding, answer);
  s = xm_sasl_new(token_choice(name), &login, &e);
  assert_non_null(s);
  assert_int_equal(xm_sasl_success(s, (char *)answer, 32, &e), XM_EFAIL); /* before anything was said */
  check_refusal(&e, "unexpected-success");
  e = (xm_err){0};
  assert_int_equal(xm_sasl_first(s, &out, &e), XM_OK);
  assert_int_equal(xm_buf_len(&out), n + 32);
  assert_memory_equal(xm_buf_at(&out), user_name, n); /* with its NUL */
  assert_memory_equal(xm_buf_at(&out) + n, mac_of, 32);
  xm_buf_clear(&out);
  assert_int_equal(xm_sasl_step(s, "", 0, &out, &e), XM_EFAIL);
  check_refusal(&e, "unexpected-challenge");
  e = (xm_err){0};
  for (i = 0; i < 256; i++) { /* each bit of it matters, */
    answer[i / 8] ^= (unsigned char)(1 << i % 8);
    assert_int_equal(xm_sasl_success(s, (char *)answer, 32, &e), XM_EFAIL);
    answer[i / 8] ^= (unsigned char)(1 << i % 8);
  }
  for (i = 0; i < 34; i++) /* and so does its length */
    if (i != 32) assert_int_equal(xm_sasl_success(s, (char *)answer, i == 33 ? 33 : (size_t)i, &e), XM_EFAIL);
  assert_int_equal(xm_sasl_success(s, (char *)mac_of, 32, &e), XM_EFAIL);
  check_refusal(&e, "bad-server-signature");
  assert_int_equal(xm_sasl_success(s, (char *)answer, 32, &e), XM_OK);
  xm_sasl_free(s);
  xm_buf_free(&out);
}

static void test_tokens(void **unused) {
  static const char *const names[] = {"HT-SHA-256-EXPR", "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP", "HT-SHA-256-NONE"};
  static const char long_one[] = "a token that is longer than a block of the hash is, which HMAC hashes first: 64 bytes and more";
  int i;
  (void)unused;
  for (i = 0; i < 4; i++) {
    check_ht(names[i], i, "user", "secret-token:fast-" PASSWORD);
    check_ht(names[i], i, "\xc3\xa9", "dGhpcyBpcyBubyBiYXNlNjQ="); /* taken literally */
    check_ht(names[i], i, "user", long_one);
  }
  assert_int_equal(heap.live, 0);
  assert_int_equal(heap.leaks, 0);
}

/* Computed once by another implementation (Python's hmac), in case the two above are wrong in the same way. */
static void test_a_known_token(void **unused) {
  static const unsigned char known[] = {0x61, 0x6c, 0x69, 0x63, 0x65, 0x00, 0x2f, 0xbc, 0x54, 0x13, 0xad, 0x1d, 0x90, 0xb6,
                                        0xf0, 0x0a, 0x1e, 0xe7, 0x57, 0x5c, 0x51, 0x1d, 0xe2, 0xeb, 0xb6, 0xd8, 0xcd, 0xcd,
                                        0x6d, 0x21, 0x2d, 0xa2, 0xd2, 0xb0, 0xbb, 0x4f, 0x7f, 0x8f};
  xm_sasl_login login = LOGIN("alice", 5, "t0k3n", 5);
  xm_buf out = XM_BUF_SECRET;
  xm_err e = {0};
  xm_sasl *s;
  (void)unused;
  login.channel = &all_bindings;
  s = xm_sasl_new(token_choice("HT-SHA-256-EXPR"), &login, &e);
  assert_int_equal(xm_sasl_first(s, &out, &e), XM_OK);
  assert_memory_equal(xm_buf_at(&out), known, sizeof known);
  xm_sasl_free(s);
  xm_buf_free(&out);
}

static void test_tokens_that_cannot_be_sent(void **unused) {
  static const struct {
    xm_sasl_login login;
    const char *condition;
  } rows[] = {{LOGIN("", 0, "t", 1), "invalid-username"},
              {LOGIN("a\0b", 3, "t", 1), "invalid-username"},
              {LOGIN("a", 1, "", 0), "invalid-password"},
              {LOGIN("a", 1, "t\0", 2), "invalid-password"}};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    xm_sasl_login login = rows[i].login;
    xm_err e = {0};
    login.channel = &all_bindings;
    assert_null(xm_sasl_new(token_choice("HT-SHA-256-EXPR"), &login, &e));
    check_refusal(&e, rows[i].condition);
  }
}

/* OpenSSL can do without some allocations; then the message is the same. */
static void one_message_with_failing_heap(const xm_mech_choice *choice, const xm_sasl_login *login) {
  bool hashes = choice->mech->kind == XM_MECH_TOKEN;
  unsigned char mac_of[32];
  unsigned noes = 1;
  long at;
  for (at = 0; noes; at++) {
    xm_buf out = XM_BUF_SECRET;
    xm_err e = {0};
    xm_sasl *s = NULL;
    int rc;
    heap = (struct heap){.failing = true, .left = at};
    CLIENT((s = xm_sasl_new(choice, login, &e)) ? XM_OK : XM_EFAIL, &out);
    if (rc == XM_OK) CLIENT(xm_sasl_first(s, &out, &e), &out);
    noes = heap.noes;
    assert_true(rc < 0 ? noes > 0 : noes == 0 || hashes);
    assert_string_equal(e.condition, rc < 0 ? "ENOMEM" : "");
    if (rc == XM_OK && hashes) ht_mac(login->password, "Initiator", choice->binding, mac_of);
    if (rc == XM_OK && hashes) assert_memory_equal(xm_buf_at(&out) + login->username_len + 1, mac_of, 32);
    xm_sasl_free(s);
    xm_buf_free(&out);
    assert_int_equal(heap.live, 0);
    assert_int_equal(heap.leaks, 0);
  }
  assert_true(at > 3);
  heap = (struct heap){0};
}

static void test_one_message_with_failing_heap(void **unused) {
  const xm_sasl_login external = {.authzid = "user@example.org", .authzid_len = 16};
  xm_sasl_login token = user;
  (void)unused;
  one_message_with_failing_heap(choice_of("PLAIN", 'n'), &user);
  one_message_with_failing_heap(choice_of("EXTERNAL", 'n'), &external);
  token.channel = &all_bindings;
  one_message_with_failing_heap(token_choice("HT-SHA-256-EXPR"), &token);
}

/* What no mechanism can express is refused before anything is sent. */
static void test_logins_that_cannot_be_sent(void **unused) {
  static const struct {
    xm_sasl_login login;
    const char *condition;
  } logins[] = {
      {LOGIN("us\0er", 5, PASSWORD, 6), "invalid-username"}, {LOGIN("\0", 1, PASSWORD, 6), "invalid-username"},
      {LOGIN("", 0, PASSWORD, 6), "invalid-username"},       {LOGIN(NULL, 0, PASSWORD, 6), "invalid-username"},
      {LOGIN("user", 4, "pen\0cil", 7), "invalid-password"}, {LOGIN("user", 4, NULL, 0), "invalid-password"},
  };
  static const char *const names[] = {"SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"};
  size_t i, k;
  (void)unused;
  for (i = 0; i < sizeof logins / sizeof logins[0]; i++)
    for (k = 0; k < 4; k++) {
      xm_err e = {0};
      assert_null(xm_sasl_new(choice_of(names[k], 'n'), &logins[i].login, &e));
      check_refusal(&e, logins[i].condition);
    }
  assert_int_equal(heap.live, 0);
}

/* XEP-0114's own example; a long secret; a heap that fails. */
static void test_component_handshake(void **unused) {
  static const char longer[] = "0123456789abcdef0123456789abcdef" PASSWORD;
  char hex[XM_SASL_HANDSHAKE + 1] = "";
  unsigned noes = 1;
  long at;
  (void)unused;
  assert_int_equal(xm_sasl_handshake("3BF96D32", "test", 4, hex), XM_OK);
  assert_string_equal(hex, "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e");
  for (at = 0; noes; at++) {
    int rc;
    heap = (struct heap){.armed = true, .left = at};
    rc = xm_sasl_handshake("id", longer, strlen(longer), hex);
    noes = heap.noes;
    assert_true(rc == XM_OK || (rc == XM_ENOMEM && noes));
    assert_int_equal(heap.live, 0);
    assert_int_equal(heap.leaks, 0);
  }
  assert_true(at > 1);
  assert_string_equal(hex, "2eff602b04c512e408eb829f0539cfa3c4b19a3b");
  heap = (struct heap){0};
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_with_another_server),
      cmocka_unit_test(test_longest_password),
      cmocka_unit_test(test_failing_heap),
      cmocka_unit_test(test_no_randomness),
      cmocka_unit_test(test_keys_are_wiped),
      cmocka_unit_test(test_plain),
      cmocka_unit_test(test_external_and_anonymous),
      cmocka_unit_test(test_one_message_with_failing_heap),
      cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_a_known_token),
      cmocka_unit_test(test_tokens_that_cannot_be_sent),
      cmocka_unit_test(test_logins_that_cannot_be_sent),
      cmocka_unit_test(test_component_handshake),
  };
  if (!CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free)) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
