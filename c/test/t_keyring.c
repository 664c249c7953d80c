/* keyring: what it keeps and finds again, and which memory it uses; and SCRAM logins with it. The module is compiled
 * into this file, so that its system calls can be made to fail and the pages that it unmaps can be examined. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs some of these headers first */
#include <cmocka.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scram.h"

static bool may_lock = true, may_advise = true;
static int gave_back; /* how many unmappings there were, all of zeroed memory */

static int try_lock(const void *p, size_t n) {
  return may_lock ? mlock(p, n) : -1;
}

static int try_advise(void *p, size_t n, int advice) {
  return may_advise ? madvise(p, n, advice) : -1;
}

static int look_and_unmap(void *p, size_t n) {
  const unsigned char *byte = p;
  size_t i;
  for (i = 0; i < n; i++) assert_int_equal(byte[i], 0);
  gave_back++;
  return munmap(p, n);
}

#define mlock try_lock
#define madvise try_advise
#define munmap look_and_unmap
#include "../core/keyring.c"
#undef mlock
#undef madvise
#undef munmap

/* Calls OpenSSL's PBKDF2, and counts the calls. */
typedef int pbkdf2_fn(const char *, int, const unsigned char *, int, int, const EVP_MD *, int, unsigned char *);
static int worked_out;

int PKCS5_PBKDF2_HMAC(const char *password, int password_len, const unsigned char *salt, int salt_len, int rounds,
                      const EVP_MD *md, int key_len, unsigned char *key) {
  void *theirs = dlsym(RTLD_NEXT, "PKCS5_PBKDF2_HMAC");
  pbkdf2_fn *work_out;
  memcpy(&work_out, &theirs, sizeof work_out);
  worked_out++;
  return work_out(password, password_len, salt, salt_len, rounds, md, key_len, key);
}

static int forget_all(void **state) {
  (void)state;
  may_lock = may_advise = true;
  xm_keyring_forget();
  return 0;
}

static xm_keyring_name name_of(const char *s) {
  xm_keyring_name name;
  assert_true(xm_keyring_name_of(s, strlen(s), &name));
  return name;
}

static void put(const char *s, unsigned char byte) {
  xm_keyring_name name = name_of(s);
  unsigned char keys[XM_KEYRING_SIZE];
  memset(keys, byte, sizeof keys);
  xm_keyring_put(&name, keys);
}

/* The byte that put() stored; -1: nothing was found. */
static int got(const char *s) {
  xm_keyring_name name = name_of(s);
  unsigned char keys[XM_KEYRING_SIZE], same[XM_KEYRING_SIZE];
  if (!xm_keyring_get(&name, keys)) return -1;
  memset(same, keys[0], sizeof same);
  assert_memory_equal(keys, same, sizeof keys);
  return keys[0];
}

static void what_is_put_is_found_by_its_name(void **state) {
  xm_keyring_name a, b;
  (void)state;
  assert_int_equal(got("a"), -1);
  put("a", 1);
  put("b", 2);
  assert_int_equal(got("a"), 1);
  assert_int_equal(got("b"), 2);
  assert_int_equal(got("c"), -1);
  put("a", 3);
  assert_int_equal(got("a"), 3);
  a = name_of("a");
  xm_keyring_drop(&a);
  xm_keyring_drop(&a);
  assert_int_equal(got("a"), -1);
  assert_int_equal(got("b"), 2);
  xm_keyring_forget();
  assert_int_equal(got("b"), -1);
  b = name_of("a"); /* hashed with another key, so the old name finds nothing */
  assert_memory_not_equal(a.bytes, b.bytes, sizeof a.bytes);
}

static void the_one_used_longest_ago_goes(void **state) {
  char s[16];
  int i;
  (void)state;
  for (i = 0; i < XM_KEYRING_MOST; i++) {
    snprintf(s, sizeof s, "%d", i);
    put(s, (unsigned char)i);
  }
  assert_int_equal(got("0"), 0);
  put("more", 100);
  assert_int_equal(got("0"), 0);
  assert_int_equal(got("1"), -1);
  assert_int_equal(got("2"), 2);
  assert_int_equal(got("63"), 63);
  assert_int_equal(got("more"), 100);
}

/* How the kernel treats the memory at `p`: VmFlags in /proc/PID/smaps. */
static bool has_flag(const void *p, const char *flag) {
  FILE *f = fopen("/proc/self/smaps", "r");
  char line[512];
  unsigned long from, to;
  bool here = false, has = false;
  assert_non_null(f);
  while (fgets(line, sizeof line, f)) {
    if (sscanf(line, "%lx-%lx ", &from, &to) == 2) here = from <= (unsigned long)p && (unsigned long)p < to;
    if (here && strncmp(line, "VmFlags:", 8) == 0) has = strstr(line, flag) != NULL;
  }
  fclose(f);
  return has;
}

/* Under a sanitizer, mlock does nothing and returns success. */
#if defined __SANITIZE_ADDRESS__
enum { CAN_LOCK = false };
#else
enum { CAN_LOCK = true };
#endif

static bool is_hidden(const void *p) {
  return has_flag(p, " lo") == CAN_LOCK && has_flag(p, " dd") && has_flag(p, " wf");
}

static void check_hidden(void) {
  assert_non_null(the);
  assert_true(is_hidden(the));
}

static void its_memory_is_locked_and_no_dump_has_it(void **state) {
  (void)state;
  put("a", 1);
  check_hidden();
}

static void all_is_zeroised_and_given_back(void **state) {
  int before = gave_back;
  (void)state;
  xm_keyring_forget(); /* without a keyring it does nothing */
  assert_int_equal(gave_back, before);
  put("a", 1);
  xm_keyring_forget();
  assert_int_equal(gave_back, before + 1);
  assert_null(the);
}

static void a_child_has_nothing_and_begins_anew(void **state) {
  pid_t child;
  int status;
  (void)state;
  put("a", 1);
  child = fork();
  if (child == 0) {
    bool right = !the->ready && the->entries[0].used == 0 && got("a") == -1;
    put("a", 2);
    right = right && got("a") == 2 && is_hidden(the);
    _exit(right ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(got("a"), 1);
}

static void without_such_memory_nothing_is_kept(void **state) {
  unsigned char keys[XM_KEYRING_SIZE] = {0};
  xm_keyring_name name = {{0}};
  int i;
  (void)state;
  for (i = 0; i < 2; i++) {
    may_lock = i == 0;
    may_advise = i == 1;
    assert_false(xm_keyring_name_of("a", 1, &name));
    xm_keyring_put(&name, keys);
    assert_false(xm_keyring_get(&name, keys));
    xm_keyring_drop(&name);
    assert_null(the);
  }
}

static void the_last_one_to_let_go_forgets(void **state) {
  (void)state;
  xm_keyring_hold();
  xm_keyring_hold();
  put("a", 1);
  xm_keyring_release();
  assert_int_equal(got("a"), 1);
  xm_keyring_release();
  assert_int_equal(got("a"), -1);
}

static void *use_it(void *arg) {
  char s[16];
  unsigned char keys[XM_KEYRING_SIZE];
  int i;
  long mine = (long)(intptr_t)arg, wrong = 0;
  const xm_token mine_is = {.n = 1, .bytes = "t", .expiry = mine};
  xm_token got_token;
  xm_token_slot slot;
  for (i = 0; i < 2000; i++) {
    xm_keyring_name name;
    snprintf(s, sizeof s, "%ld %d", mine, i % 5);
    memset(keys, (int)mine, sizeof keys);
    if (!xm_keyring_name_of(s, strlen(s), &name)) continue;
    xm_keyring_put(&name, keys);
    if (xm_keyring_get(&name, keys) && keys[XM_KEYRING_SIZE - 1] != mine) wrong++;
    slot = i % 2 ? XM_TOKEN_NEW : XM_TOKEN_PROVEN;
    if (xm_keyring_put_token(&name, slot, &mine_is) && xm_keyring_token(&name, slot, &got_token)) wrong += got_token.expiry != mine;
    if (i % 100 == 0) xm_keyring_forget();
    if (i % 7 == 0) xm_keyring_drop(&name);
  }
  return (void *)(intptr_t)wrong;
}

static void threads_share_it(void **state) {
  pthread_t threads[4];
  void *wrong;
  long i;
  (void)state;
  for (i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, use_it, (void *)(intptr_t)(i + 1)), 0);
  for (i = 0; i < 4; i++) {
    assert_int_equal(pthread_join(threads[i], &wrong), 0);
    assert_null(wrong);
  }
}

/* Tokens. */

static xm_token token_of(const char *s) {
  xm_token token = {.n = strlen(s), .mechanism = "HT-SHA-256-EXPR", .expiry = 7};
  memcpy(token.bytes, s, token.n);
  return token;
}

static bool put_token(const char *name, xm_token_slot slot, const char *s) {
  const xm_keyring_name n = name_of(name);
  const xm_token token = token_of(s);
  return xm_keyring_put_token(&n, slot, &token);
}

/* "": there is no token. */
static const char *token_at(const char *name, xm_token_slot slot) {
  static xm_token token;
  const xm_keyring_name n = name_of(name);
  memset(&token, 0, sizeof token);
  if (!xm_keyring_token(&n, slot, &token)) return "";
  assert_string_equal(token.mechanism, "HT-SHA-256-EXPR");
  assert_int_equal(token.expiry, 7);
  assert_int_equal(token.n, strlen(token.bytes));
  return token.bytes;
}

static void drop_token(const char *name, xm_token_slot slot) {
  const xm_keyring_name n = name_of(name);
  xm_keyring_drop_token(&n, slot);
}

static void a_name_has_two_tokens(void **state) {
  (void)state;
  assert_string_equal(token_at("a", XM_TOKEN_NEW), "");
  assert_null(tokens); /* a look-up allocates nothing */
  assert_true(put_token("a", XM_TOKEN_NEW, "one") && put_token("a", XM_TOKEN_PROVEN, "two"));
  assert_true(put_token("b", XM_TOKEN_NEW, "three"));
  assert_string_equal(token_at("a", XM_TOKEN_NEW), "one");
  assert_string_equal(token_at("a", XM_TOKEN_PROVEN), "two");
  assert_string_equal(token_at("b", XM_TOKEN_NEW), "three");
  assert_string_equal(token_at("b", XM_TOKEN_PROVEN), "");
  assert_string_equal(token_at("c", XM_TOKEN_NEW), "");
  assert_true(put_token("a", XM_TOKEN_NEW, "four"));
  assert_string_equal(token_at("a", XM_TOKEN_NEW), "four");
  drop_token("a", XM_TOKEN_NEW);
  drop_token("a", XM_TOKEN_NEW);
  assert_string_equal(token_at("a", XM_TOKEN_NEW), "");
  assert_string_equal(token_at("a", XM_TOKEN_PROVEN), "two");
  assert_string_equal(token_at("b", XM_TOKEN_NEW), "three");
}

/* The longest possible token is kept completely; a shorter one that replaces it leaves nothing of it. */
static void a_token_is_kept_whole(void **state) {
  const xm_keyring_name name = name_of("a");
  xm_token token = {.n = XM_TOKEN_MOST, .mechanism = "HT-SHA-256-UNIQ", .expiry = INT64_MAX}, got, small = token_of("t");
  (void)state;
  memset(token.bytes, 'x', sizeof token.bytes);
  assert_true(xm_keyring_put_token(&name, XM_TOKEN_NEW, &token));
  assert_true(xm_keyring_token(&name, XM_TOKEN_NEW, &got));
  assert_memory_equal(&got, &token, sizeof got);
  assert_true(xm_keyring_put_token(&name, XM_TOKEN_NEW, &small));
  assert_true(xm_keyring_token(&name, XM_TOKEN_NEW, &got));
  assert_memory_equal(&got, &small, sizeof got);
}

/* Tokens and keys of the same name don't affect each other. */
static void tokens_and_keys_are_apart(void **state) {
  xm_keyring_name a;
  (void)state;
  put("a", 1);
  assert_string_equal(token_at("a", XM_TOKEN_NEW), "");
  assert_true(put_token("b", XM_TOKEN_NEW, "t"));
  assert_int_equal(got("b"), -1);
  a = name_of("a");
  xm_keyring_drop_token(&a, XM_TOKEN_NEW);
  assert_int_equal(got("a"), 1);
  a = name_of("b");
  xm_keyring_drop(&a);
  assert_string_equal(token_at("b", XM_TOKEN_NEW), "t");
}

static void the_token_touched_longest_ago_goes(void **state) {
  char s[16];
  int i;
  (void)state;
  for (i = 0; i < XM_KEYRING_TOKENS; i++) {
    snprintf(s, sizeof s, "%d", i);
    assert_true(put_token(s, i % 2 ? XM_TOKEN_PROVEN : XM_TOKEN_NEW, s));
  }
  put("1", 1); /* keys take no space from tokens */
  assert_string_equal(token_at("0", XM_TOKEN_NEW), "0");
  assert_true(put_token("3", XM_TOKEN_PROVEN, "3"));
  assert_true(put_token("more", XM_TOKEN_NEW, "more"));
  assert_string_equal(token_at("0", XM_TOKEN_NEW), "0");
  assert_string_equal(token_at("1", XM_TOKEN_PROVEN), "");
  assert_true(put_token("2", XM_TOKEN_PROVEN, "other slot"));
  assert_string_equal(token_at("2", XM_TOKEN_NEW), "");
  assert_string_equal(token_at("2", XM_TOKEN_PROVEN), "other slot");
  assert_string_equal(token_at("3", XM_TOKEN_PROVEN), "3");
  assert_string_equal(token_at("4", XM_TOKEN_NEW), "4");
  assert_string_equal(token_at("more", XM_TOKEN_NEW), "more");
  drop_token("5", XM_TOKEN_PROVEN); /* its slot is free now */
  assert_true(put_token("last", XM_TOKEN_NEW, "last"));
  assert_string_equal(token_at("6", XM_TOKEN_NEW), "6");
}

static void tokens_are_hidden_and_zeroised(void **state) {
  int before = gave_back;
  (void)state;
  assert_true(put_token("a", XM_TOKEN_NEW, "t"));
  assert_true(is_hidden(the) && is_hidden(tokens));
  drop_token("a", XM_TOKEN_NEW);
  assert_null(memmem(tokens, sizeof *tokens, "HT-SHA", 6));
  assert_true(put_token("a", XM_TOKEN_NEW, "t"));
  xm_keyring_forget();
  assert_int_equal(gave_back, before + 2);
  assert_true(!the && !tokens);
  assert_string_equal(token_at("a", XM_TOKEN_NEW), "");
}

static void a_child_has_no_tokens(void **state) {
  const xm_keyring_name name = name_of("a");
  const xm_token token = token_of("t");
  xm_token none;
  pid_t child;
  int status;
  (void)state;
  assert_true(xm_keyring_put_token(&name, XM_TOKEN_NEW, &token));
  child = fork();
  if (child == 0) {
    bool right = !xm_keyring_token(&name, XM_TOKEN_NEW, &none) && !memmem(tokens, sizeof *tokens, "HT-SHA", 6);
    right = right && !xm_keyring_put_token(&name, XM_TOKEN_NEW, &token); /* the name was made with the parent's key */
    xm_keyring_drop_token(&name, XM_TOKEN_NEW);
    right = right && !*token_at("a", XM_TOKEN_NEW) && put_token("a", XM_TOKEN_NEW, "u");
    right = right && strcmp(token_at("a", XM_TOKEN_NEW), "u") == 0 && is_hidden(tokens);
    _exit(right ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_string_equal(token_at("a", XM_TOKEN_NEW), "t");
}

/* Whether or not there already was locked memory for the keys. */
static void without_such_memory_no_token_is_kept(void **state) {
  const xm_token token = token_of("t");
  xm_keyring_name name = {{0}};
  xm_token none;
  int i;
  (void)state;
  for (i = 0; i < 4; i++) {
    bool found_before = i >= 2;
    xm_keyring_forget();
    may_lock = may_advise = true;
    if (found_before) name = name_of("a");
    may_lock = i % 2 == 0;
    may_advise = i % 2 == 1;
    if (!found_before) assert_false(xm_keyring_name_of("a", 1, &name));
    assert_false(xm_keyring_put_token(&name, XM_TOKEN_NEW, &token));
    assert_false(xm_keyring_token(&name, XM_TOKEN_NEW, &none));
    xm_keyring_drop_token(&name, XM_TOKEN_NEW);
    assert_null(tokens);
    assert_int_equal(the != NULL, found_before);
  }
  may_lock = may_advise = true; /* as soon as memory can be locked, tokens are kept */
  assert_true(xm_keyring_put_token(&name, XM_TOKEN_NEW, &token));
}

static void the_last_one_to_let_go_forgets_tokens(void **state) {
  (void)state;
  xm_keyring_hold();
  assert_true(put_token("a", XM_TOKEN_NEW, "t"));
  xm_keyring_release();
  assert_null(tokens);
}

/* Logins, with the exchange in RFC 5802. */

#define R "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
#define CHALLENGE R ",s=QSXCR+Q6sek8bf92,i=4096"
#define ANSWER "c=biws," R ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
#define FINAL "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="

typedef struct login {
  const char *user, *password, *challenge, *final; /* final NULL: the server sends <failure/>, or the connection ends */
  xm_scram_hash hash;
  bool forgetful;
} login;

static const login usual = {"user", "pencil", CHALLENGE, FINAL, XM_SCRAM_SHA1, false};

/* Logs in, and returns how often PBKDF2 was computed; `answer`, if not NULL, is the client's expected final message. */
static int log_in(const login *l, const char *answer) {
  xm_scram_setup setup = {.hash = l->hash,
                          .username = l->user,
                          .username_len = strlen(l->user),
                          .password = l->password,
                          .password_len = strlen(l->password),
                          .remember = !l->forgetful};
  xm_err e = {0};
  xm_buf out = XM_BUF_SECRET;
  xm_scram *s = xm_scram_new_with_nonce(&setup, "fyko+d2lbbFgONRv9qkxdawL", &e);
  int before = worked_out;
  assert_int_equal(xm_scram_first(s, &out, &e), XM_OK);
  xm_buf_clear(&out);
  if (xm_scram_step(s, l->challenge, strlen(l->challenge), &out, &e) < 0) fail_msg("%s", e.text);
  if (answer) assert_int_equal(xm_buf_len(&out), strlen(answer));
  if (answer) assert_memory_equal(xm_buf_at(&out), answer, strlen(answer));
  if (l->final) xm_scram_success(s, l->final, strlen(l->final), &e);
  xm_scram_free(s);
  xm_buf_free(&out);
  return worked_out - before;
}

static void the_second_login_costs_no_rounds(void **state) {
  (void)state;
  assert_int_equal(log_in(&usual, ANSWER), 1);
  assert_int_equal(log_in(&usual, ANSWER), 0);
  assert_int_equal(log_in(&usual, ANSWER), 0);
  check_hidden();
  xm_keyring_forget();
  assert_int_equal(log_in(&usual, ANSWER), 1);
}

/* A password that is shorter by a letter is another one, though the account and the server's messages are the same. */
static void another_password_is_worked_out(void **state) {
  login other = usual;
  (void)state;
  log_in(&usual, ANSWER);
  other.password = "penci";
  other.final = NULL;
  assert_int_equal(log_in(&other, NULL), 1);
  other.password = "pencil ";
  assert_int_equal(log_in(&other, NULL), 1);
  assert_int_equal(log_in(&usual, ANSWER), 0);
}

static void anything_else_is_worked_out(void **state) {
  const login others[] = {{"user2", "pencil", CHALLENGE, NULL, XM_SCRAM_SHA1, false},
                          {"use", "rpencil", CHALLENGE, NULL, XM_SCRAM_SHA1, false},
                          {"user", "pencil", R ",s=QSXCR+Q6sek8bf93,i=4096", NULL, XM_SCRAM_SHA1, false},
                          {"user", "pencil", R ",s=QSXCR+Q6sek8bf92,i=4097", NULL, XM_SCRAM_SHA1, false},
                          {"user", "pencil", CHALLENGE, NULL, XM_SCRAM_SHA256, false},
                          {"user", "pencil", CHALLENGE, FINAL, XM_SCRAM_SHA1, true}};
  size_t i;
  (void)state;
  log_in(&usual, ANSWER);
  for (i = 0; i < sizeof others / sizeof *others; i++) assert_int_equal(log_in(&others[i], NULL), 1);
  assert_int_equal(log_in(&usual, ANSWER), 0);
}

/* A login that is refused or cut off, or whose server doesn't prove itself, with computed keys and with kept ones. */
static void a_login_that_fails_leaves_nothing(void **state) {
  static const char *const finals[] = {NULL, "", "v=rmF9pqV8S7suAoZWja4dJRkFsKR=", "e=invalid-proof"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof finals / sizeof *finals; i++) {
    login failed = usual;
    failed.final = finals[i];
    assert_int_equal(log_in(&failed, ANSWER), 1);
    assert_int_equal(log_in(&usual, ANSWER), 1);
    assert_int_equal(log_in(&failed, ANSWER), 0);
    assert_int_equal(log_in(&usual, ANSWER), 1);
    xm_keyring_forget();
  }
}

static void a_login_that_opts_out_leaves_nothing(void **state) {
  login l = usual;
  (void)state;
  l.forgetful = true;
  assert_int_equal(log_in(&l, ANSWER), 1);
  assert_null(the);
  assert_int_equal(log_in(&usual, ANSWER), 1);
}

static void without_locked_memory_logins_still_work(void **state) {
  (void)state;
  may_lock = false;
  assert_int_equal(log_in(&usual, ANSWER), 1);
  assert_int_equal(log_in(&usual, ANSWER), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(what_is_put_is_found_by_its_name, forget_all),
      cmocka_unit_test_teardown(the_one_used_longest_ago_goes, forget_all),
      cmocka_unit_test_teardown(its_memory_is_locked_and_no_dump_has_it, forget_all),
      cmocka_unit_test_teardown(all_is_zeroised_and_given_back, forget_all),
      cmocka_unit_test_teardown(a_child_has_nothing_and_begins_anew, forget_all),
      cmocka_unit_test_teardown(without_such_memory_nothing_is_kept, forget_all),
      cmocka_unit_test_teardown(the_last_one_to_let_go_forgets, forget_all),
      cmocka_unit_test_teardown(a_name_has_two_tokens, forget_all),
      cmocka_unit_test_teardown(a_token_is_kept_whole, forget_all),
      cmocka_unit_test_teardown(tokens_and_keys_are_apart, forget_all),
      cmocka_unit_test_teardown(the_token_touched_longest_ago_goes, forget_all),
      cmocka_unit_test_teardown(tokens_are_hidden_and_zeroised, forget_all),
      cmocka_unit_test_teardown(a_child_has_no_tokens, forget_all),
      cmocka_unit_test_teardown(without_such_memory_no_token_is_kept, forget_all),
      cmocka_unit_test_teardown(the_last_one_to_let_go_forgets_tokens, forget_all),
      cmocka_unit_test_teardown(threads_share_it, forget_all),
      cmocka_unit_test_teardown(the_second_login_costs_no_rounds, forget_all),
      cmocka_unit_test_teardown(another_password_is_worked_out, forget_all),
      cmocka_unit_test_teardown(anything_else_is_worked_out, forget_all),
      cmocka_unit_test_teardown(a_login_that_fails_leaves_nothing, forget_all),
      cmocka_unit_test_teardown(a_login_that_opts_out_leaves_nothing, forget_all),
      cmocka_unit_test_teardown(without_locked_memory_logins_still_work, forget_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
