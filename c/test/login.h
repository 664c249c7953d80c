/* login: a recorded login (corpus/logins/NAME.login, by spec/support/record), and a player of the server's part of it,
 * which computes anew what differs from login to login. No I/O. Include cmocka.h before it. */
#ifndef LOGIN_H
#define LOGIN_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "b64.h"
#include "buf.h"
#include "fuzz/scram_server.h"

#define NEW_TOKEN "a token that the server of a recording gives"
#define TOKEN "a token that was given before"

enum { LOGIN_STEPS = 32 };

typedef struct login_step {
  char who; /* 'C': the client sends `text`; 'S': the server does; 't': the TLS handshake */
  char *text;
} login_step;

typedef struct login {
  const char *name, *mechanism;
  char path[512];
  xm_buf file; /* `steps` points into it */
  login_step steps[LOGIN_STEPS];
  int n;
} login;

/* Replaces \
 *  and \\\\ by what they stand for. */
static void unescape(char *s) {
  char *to = s;
  for (; *s; s++) *to++ = *s != '\\' ? *s : *++s == 'n' ? '\n' : *s;
  *to = '\0';
}

static void add_step(login *l, char *line) {
  login_step *step = &l->steps[l->n];
  if (*line == '#' || !*line) return;
  assert_true(l->n++ < LOGIN_STEPS);
  step->who = *line;
  step->text = strncmp(line + 1, ": ", 2) == 0 ? line + 3 : line;
  unescape(step->text);
}

static void read_login(login *l, const char *name) {
  FILE *f;
  char *line;
  size_t n = 1;
  *l = (login){.name = name};
  snprintf(l->path, sizeof l->path, "%.*scorpus/logins/%s.login", (int)(strrchr(__FILE__, '/') + 1 - __FILE__),
           __FILE__, name);
  f = fopen(l->path, "rb");
  assert_non_null(f);
  while (n > 0) {
    n = fread(xm_buf_reserve(&l->file, 4096), 1, 4096, f);
    xm_buf_commit(&l->file, n);
  }
  fclose(f);
  assert_int_equal(xm_buf_putc(&l->file, '\0'), XM_OK);
  for (line = strtok(xm_buf_at(&l->file), "\n"); line; line = strtok(NULL, "\n")) add_step(l, line);
  l->mechanism = memmem(xm_buf_at(&l->file), xm_buf_len(&l->file), "mechanism='SCRAM-SHA-1'", 23) ? "SCRAM-SHA-1"
                                                                                                  : "SCRAM-SHA-256";
}

static bool login_is_sasl2(const login *l) {
  return strstr(l->name, "-sasl2") || strstr(l->name, "-fast");
}

/* It was recorded with HT-SHA-256-NONE (see record), and is played with -EXPR, which is bound to the channel. */
static bool login_is_fast(const login *l) {
  return strstr(l->name, "-fast");
}

/* The n-th step from the end that is `who`'s, where 0 is the last. */
static const login_step *step_from_end(const login *l, char who, int n) {
  int i = l->n - 1;
  while (l->steps[i].who != who || n-- > 0) i--;
  return &l->steps[i];
}

/* The player of the server's part. */
typedef struct player {
  const login *login;
  const login_step *step; /* the current step; behind the last one: it is over */
  xm_buf due;             /* what the server sends in this step and hasn't sent yet */
  xm_buf heard;           /* what the client has sent in this step, and ahead for the next ones */
  xm_buf first;           /* the server's first SCRAM message */
  unsigned char exporter[32]; /* the channel binding, if there is TLS */
  scram_server scram;
  char nonce[64], bind_id[64]; /* both are the client's */
} player;

static void player_free(player *p) {
  xm_buf_free(&p->due);
  xm_buf_free(&p->heard);
  xm_buf_free(&p->first);
  xm_buf_free(&p->scram.auth);
}

static bool player_is_through(const player *p) {
  return p->step == p->login->steps + p->login->n;
}

static void put_encoded(player *p, const xm_buf *text) {
  assert_int_equal(xm_b64_encode(&p->due, xm_buf_at(text), xm_buf_len(text)), XM_OK);
}

/* HMAC(TOKEN, word || channel binding), by XEP-0484. */
static void put_token_mac(const player *p, const char *word, xm_buf *to) {
  unsigned char said[64], mac[DIGEST];
  unsigned n = 0;
  size_t len = strlen(word);
  memcpy(said, word, len);
  memcpy(said + len, p->exporter, sizeof p->exporter);
  assert_non_null(HMAC(EVP_sha256(), TOKEN, (int)strlen(TOKEN), said, len + sizeof p->exporter, mac, &n));
  assert_int_equal(xm_buf_put(to, mac, n), XM_OK);
}

static void fill_hole(player *p, const char *hole, size_t n) {
  xm_buf text = XM_BUF_INIT;
  if (strncmp(hole, "bind", n) == 0) {
    xm_buf_puts(&p->due, p->bind_id);
  } else if (strncmp(hole, "token", n) == 0) {
    xm_buf_puts(&p->due, NEW_TOKEN);
  } else if (strncmp(hole, "expiry", n) == 0) {
    xm_buf_puts(&p->due, "2099-12-31T23:59:59Z");
  } else if (strncmp(hole, "responder", n) == 0) {
    put_token_mac(p, "Responder", &text);
    put_encoded(p, &text);
  } else if (strncmp(hole, "final", n) == 0) {
    assert_true(*p->scram.signature); /* only set if the client's proof was right */
    xm_buf_puts(&text, "v=");
    xm_buf_puts(&text, p->scram.signature);
    put_encoded(p, &text);
  } else {
    xm_buf_clear(&p->first);
    xm_buf_puts(&p->first, "r=");
    xm_buf_puts(&p->first, p->nonce);
    xm_buf_put(&p->first, hole + strlen("first:"), n - strlen("first:"));
    put_encoded(p, &p->first);
  }
  xm_buf_free(&text);
}

static void fill_in(player *p) {
  const char *s = p->step->text, *open;
  while ((open = strchr(s, '{'))) {
    const char *close = strchr(open, '}');
    xm_buf_put(&p->due, s, (size_t)(open - s));
    fill_hole(p, open + 1, (size_t)(close - open) - 1);
    s = close + 1;
  }
  xm_buf_puts(&p->due, s);
}

static void begin_step(player *p) {
  xm_buf_clear(&p->due);
  if (!player_is_through(p) && p->step->who == 'S') fill_in(p);
}

static void next_step(player *p) {
  p->step++;
  begin_step(p);
}

static void player_begin(player *p, const login *l, const char *password) {
  *p = (player){.login = l, .step = l->steps};
  p->scram.password = password;
  p->scram.hash = strcmp(l->mechanism, "SCRAM-SHA-1") == 0 ? XM_SCRAM_SHA1 : XM_SCRAM_SHA256;
  begin_step(p);
}

/* What the client has sent between `from` and `to`. */
static const char *between(const player *p, const char *from, const char *to, size_t *n) {
  const char *s = xm_buf_at(&p->heard), *end = s + xm_buf_len(&p->heard);
  const char *at = memmem(s, (size_t)(end - s), from, strlen(from)), *stop;
  assert_non_null(at);
  at += strlen(from);
  stop = memmem(at, (size_t)(end - at), to, strlen(to));
  assert_non_null(stop);
  *n = (size_t)(stop - at);
  return at;
}

static void copy_between(const player *p, const char *from, const char *to, char copy[64]) {
  size_t n;
  const char *s = between(p, from, to, &n);
  assert_true(n >= 1 && n <= 63);
  memcpy(copy, s, n);
  copy[n] = '\0';
}

/* The content of the element with that end tag, decoded from base64. */
static void payload_of(const player *p, const char *end_tag, xm_buf *to) {
  size_t n, tag;
  const char *s = between(p, "'>", end_tag, &n);
  for (tag = n; tag > 0 && s[tag - 1] != '>';) tag--;
  assert_int_equal(xm_b64_decode(to, s + tag, n - tag), XM_OK);
}

/* Checks the token's proof. A client to which another offer came, as it was altered on its way, uses another mechanism,
 * and will refuse the answer. */
static void on_token(const player *p, const xm_buf *message) {
  xm_buf right = XM_BUF_INIT;
  if (!memmem(xm_buf_at(&p->heard), xm_buf_len(&p->heard), "mechanism='HT-", 14)) return;
  assert_int_equal(xm_buf_put(&right, "alice", 6), XM_OK);
  put_token_mac(p, "Initiator", &right);
  assert_int_equal(xm_buf_len(message), xm_buf_len(&right));
  assert_memory_equal(xm_buf_at(message), xm_buf_at(&right), xm_buf_len(&right));
  xm_buf_free(&right);
}

/* The client has sent <auth/> or <authenticate/>. */
static void on_auth(player *p, const char *end_tag) {
  xm_buf message = XM_BUF_INIT;
  const char *bare, *nonce, *end;
  payload_of(p, end_tag, &message);
  if (login_is_fast(p->login)) {
    on_token(p, &message);
    xm_buf_free(&message);
    return;
  }
  assert_int_equal(xm_buf_putc(&message, '\0'), XM_OK);
  bare = strstr(xm_buf_at(&message), ",n=");
  assert_non_null(bare);
  nonce = strstr(++bare, ",r=");
  assert_non_null(nonce);
  end = bare + strlen(bare);
  assert_true(end > nonce + 3 && end <= nonce + 3 + 63);
  strcpy(p->nonce, nonce + 3);
  on_client_first(&p->scram, bare, (size_t)(end - bare));
  xm_buf_free(&message);
}

static void on_response(player *p) {
  xm_buf message = XM_BUF_INIT;
  payload_of(p, "</response>", &message);
  assert_true(on_client_final(&p->scram, xm_buf_at(&p->first), xm_buf_len(&p->first), xm_buf_at(&message),
                              xm_buf_len(&message)));
  xm_buf_free(&message);
}

/* How the client's bytes of this step end: by the end tag in the recording, or, for an element without one, by what
 * ends that. */
static const char *end_of_words(const login_step *step) {
  const char *last = strrchr(step->text, '<');
  return last[1] == '/' ? last : strstr(last, "/>") ? "/>" : "lang='en'>";
}

/* How many of the received bytes belong to this step; 0: they haven't all come. Several stanzas end with the last one
 * received; otherwise, what follows may have been sent ahead for the next step. */
static size_t words_heard(const player *p) {
  const char *end = end_of_words(p->step), *s = xm_buf_at(&p->heard), *at;
  size_t n = xm_buf_len(&p->heard), len = strlen(end);
  if (n < len) return 0;
  at = strncmp(p->step->text, "<presence", 9) == 0 ? s + n - len : memmem(s, n, end, len);
  return at && memcmp(at, end, len) == 0 ? (size_t)(at - s) + len : 0;
}

/* Examines what the client has sent. true: the step is complete. */
static bool player_hear(player *p) {
  size_t n = player_is_through(p) || p->step->who != 'C' ? 0 : words_heard(p);
  const char *end;
  if (n == 0) return false;
  end = end_of_words(p->step);
  if (strcmp(end, "</auth>") == 0) on_auth(p, end);
  if (strcmp(end, "</authenticate>") == 0) on_auth(p, "</initial-response>");
  if (strcmp(end, "</response>") == 0) on_response(p);
  if (strcmp(end, "</iq>") == 0) copy_between(p, " id='", "'", p->bind_id);
  xm_buf_consume(&p->heard, n);
  next_step(p);
  return true;
}

/* `n` of the bytes that are due have been sent. */
static void player_said(player *p, size_t n) {
  xm_buf_consume(&p->due, n);
  if (xm_buf_len(&p->due) == 0) next_step(p);
}

#endif
