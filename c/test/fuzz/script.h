/* script: plays a script of what a server sends to a whole connection (conn, nego, login, ...) with a simulated network
 * (wire.h), and checks what must hold whatever the server sends: nothing secret is sent before TLS, the password only
 * as the options allow, no secret is logged, the address is ours, and each connection ends exactly once. In the
 * server's bytes these stand for what only a server can know:
 *
 *   1  SCRAM's first message     2  SCRAM's last, rightly signed     3  the id of the request to bind a resource
 *   6  base64 of what follows up to the next 6; in that, 1 is the client's nonce, 2 the signature
 *   8  the right answer to a token's proof, in base64                9  the secret of a new token, in its place
 *
 * These are events: 4 the read ends here, 5 the program closes the connection, 7 time passes. */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "conn.h"
#include "keyring.h"
#include "known.h"
#include "ns.h"
#include "pbkdf2.h"
#include "scram_server.h"
#include "wire.h"

#define LOCAL "mallory"
#define PASSWORD "pencil-7f3a"
#define PLAIN "AG1hbGxvcnkAcGVuY2lsLTdmM2E=" /* base64 of NUL LOCAL NUL PASSWORD */

#define TOKEN "tok3n-5e1b"       /* the client's token */
#define FRESH_TOKEN "fre5h-90ac" /* the server's new one */
#define BY_TOKEN "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-"
#define TOKEN_PLACE "<token xmlns='urn:xmpp:fast:0' token='"

static struct play {
  input script;
  xm_conn_options o;
  scram_server scram;
  xm_buf payload; /* the last text that was sent in base64, decoded */
  char nonce[64]; /* the client's nonce */
  char bind_id[64];
  size_t read;  /* how many of the sent bytes have been examined */
  bool signed_; /* the right signature has been sent */
  char answer[64]; /* the right answer to a token's proof, in base64; empty: none is due */
  bool answered;   /* that answer has been sent */
  const char *profile; /* the element by which the login has begun on this stream; NULL: none yet */
  bool asked;      /* a token was requested, or shown */
  bool raw;        /* a token's text has come, or may come, in a place where it isn't secret */
  bool retries; /* nothing may be sent ahead any more */
} play;

/* The last tokens that the client may have, from this connection and the one before. */
enum { GIVEN = 8 };
static struct given {
  unsigned n; /* how many there have been */
  xm_token at[GIVEN];
} given;

static inline void note_given(const xm_token *token) {
  given.at[given.n++ % GIVEN] = *token;
}

/* What the client has sent */

static xm_buf *sent(void) {
  return wire.handshakes ? &wire.under_tls : &wire.clear;
}

static bool holds(const xm_buf *b, const char *what) {
  return xm_buf_len(b) && memmem(xm_buf_at(b), xm_buf_len(b), what, strlen(what));
}

/* Finds the content between the tag that begins with `tag` and the next '<', and decodes it. */
static bool find_payload(const char *s, size_t n, const char *tag, xm_buf *to) {
  const char *at = memmem(s, n, tag, strlen(tag)), *open = at ? memchr(at, '>', (size_t)(s + n - at)) : NULL;
  const char *end = open ? memchr(open, '<', (size_t)(s + n - open)) : NULL;
  return end && xm_b64_decode(to, open + 1, (size_t)(end - open) - 1) == XM_OK;
}

/* HMAC of the word and the channel binding (XEP-0484), which in wire.h is 32 times the first letter of the type. */
static void prove_token(const char *mechanism, const xm_token *token, const char *word, unsigned char mac[32]) {
  static const char *const types[] = {"EXPR", "ENDP", "UNIQ", "NONE"};
  unsigned char text[64];
  size_t len = strlen(word);
  int i;
  for (i = 0; i < 4 && strncmp(mechanism, types[i], 4) != 0;) i++;
  MUST(i < 4);
  memcpy(text, word, len);
  if (i < 3) memset(text + len, 't', 32);
  if (i < 3) len += 32;
  if (i == 0) MUST(wire.exporter);
  if (i == 1) MUST(wire.end_point);
  if (i == 2) MUST(wire.tls12);
  MUST(HMAC(EVP_sha256(), token->bytes, (int)token->n, text, len, mac, NULL));
}

static bool is_proof(const xm_buf *first, const char *mechanism, const xm_token *token) {
  static const size_t n = sizeof LOCAL; /* including its NUL */
  unsigned char right[32];
  prove_token(mechanism, token, "Initiator", right);
  return xm_buf_len(first) == n + 32 && memcmp(xm_buf_at(first), LOCAL, n) == 0 && memcmp(xm_buf_at(first) + n, right, 32) == 0;
}

/* Checks a login by a token: only in verified TLS, by a mechanism that is allowed, with a token that was an option or
 * has come. */
static void on_token(const char *mechanism, const xm_buf *first) {
  unsigned char mac[32];
  xm_buf text = XM_BUF_INIT;
  unsigned i = 0, n = given.n < GIVEN ? given.n : GIVEN;
  MUST(wire.secure && wire.verified && play.o.sasl2 && play.o.agent);
  if (strncmp(mechanism, "NONE", 4) == 0 || strncmp(mechanism, "ENDP", 4) == 0) MUST(play.o.mechanisms);
  if (play.o.mechanisms) MUST(strstr(play.o.mechanisms, "HT-"));
  while (i < n && !is_proof(first, mechanism, &given.at[i])) i++;
  MUST(i < n && strncmp(given.at[i].mechanism + strlen("HT-SHA-256-"), mechanism, 4) == 0);
  prove_token(mechanism, &given.at[i], "Responder", mac);
  MUST(xm_b64_encode(&text, mac, 32) == XM_OK && xm_buf_putc(&text, '\0') == XM_OK);
  memcpy(play.answer, xm_buf_at(&text), xm_buf_len(&text));
  xm_buf_free(&text);
}

static void on_auth(const char *s, size_t n) {
  bool sasl2 = memmem(s, n, "<authenticate ", 14) != NULL;
  const char *token = memmem(s, n, BY_TOKEN, strlen(BY_TOKEN)), *profile = sasl2 ? "<authenticate " : "<auth ";
  xm_buf first = XM_BUF_INIT;
  const char *bare = NULL;
  play.scram.hash = memmem(s, n, "SCRAM-SHA-1", 11)     ? XM_SCRAM_SHA1
                    : memmem(s, n, "SCRAM-SHA-256", 13) ? XM_SCRAM_SHA256
                                                        : XM_SCRAM_SHA512;
  MUST(!play.profile || strcmp(play.profile, profile) == 0); /* a stream has one profile */
  play.profile = profile;
  *play.answer = '\0';
  play.answered = play.signed_ = false;
  if (memmem(s, n, "<request-token ", 15)) MUST(sasl2 && wire.secure && wire.verified && play.o.agent && play.o.fast);
  play.asked = play.asked || token || memmem(s, n, "<request-token ", 15);
  if (find_payload(s, n, sasl2 ? "<initial-response" : "<auth ", &first) && token) {
    on_token(token + strlen(BY_TOKEN), &first);
  } else if (xm_buf_len(&first))
    bare = memmem(xm_buf_at(&first), xm_buf_len(&first), ",,n=" LOCAL ",r=", 7 + strlen(LOCAL));
  if (bare) {
    const char *end = xm_buf_at(&first) + xm_buf_len(&first), *nonce = bare + 7 + strlen(LOCAL);
    MUST(nonce <= end && (size_t)(end - nonce) < sizeof play.nonce);
    on_client_first(&play.scram, bare + 2, (size_t)(end - bare) - 2);
    memcpy(play.nonce, nonce, (size_t)(end - nonce));
  }
  xm_buf_free(&first);
}

static void on_response(const char *s, size_t n) {
  xm_buf final = XM_BUF_INIT;
  if (find_payload(s, n, "<response ", &final) && xm_buf_len(&final) && xm_buf_len(&play.payload))
    on_client_final(&play.scram, xm_buf_at(&play.payload), xm_buf_len(&play.payload), xm_buf_at(&final),
                    xm_buf_len(&final));
  xm_buf_free(&final);
}

static void on_request(const char *s, size_t n) {
  const char *id = memmem(s, n, " id='", 5), *end = id ? memchr(id + 5, '\'', (size_t)(s + n - id) - 5) : NULL;
  if (!end) return;
  MUST((size_t)(end - id) < sizeof play.bind_id);
  memset(play.bind_id, 0, sizeof play.bind_id);
  memcpy(play.bind_id, id + 5, (size_t)(end - id) - 5);
}

/* Examines what has been sent since the last time, if it is complete. */
static void read_sent(void) {
  size_t n = xm_buf_len(sent()) - play.read;
  const char *s = n ? xm_buf_at(sent()) + play.read : NULL;
  if (n == 0 || s[n - 1] != '>') return;
  if (memmem(s, n, "<auth ", 6) || memmem(s, n, "<authenticate ", 14)) on_auth(s, n);
  if (memmem(s, n, "<response ", 10)) on_response(s, n);
  if (memmem(s, n, "<iq ", 4)) on_request(s, n);
  play.read += n;
}

/* What the server sends */

static void put(xm_buf *to, const char *s) {
  MUST(xm_buf_puts(to, s) == XM_OK);
}

static void put_payload(xm_buf *to) {
  MUST(xm_b64_encode(to, xm_buf_at(&play.payload), xm_buf_len(&play.payload)) == XM_OK);
}

static void say_signature(xm_buf *to) {
  put(to, play.scram.signature);
  if (*play.scram.signature) play.signed_ = true;
}

static void say_answer(xm_buf *to) {
  put(to, play.answer);
  if (*play.answer) play.answered = true;
}

/* Writes the new token, which is a secret only in its own place. */
static void say_token(xm_buf *to) {
  size_t n = strlen(TOKEN_PLACE), there = xm_buf_len(to);
  if (!play.raw && there >= n && memcmp(xm_buf_at(to) + there - n, TOKEN_PLACE, n) == 0) put(to, FRESH_TOKEN);
}

static void say_encoded(xm_buf *to) {
  xm_buf_clear(&play.payload);
  while (play.script.n && *play.script.at != 6) {
    char c = (char)take(&play.script);
    if (c == 1) {
      put(&play.payload, play.nonce);
    } else if (c == 2) {
      say_signature(&play.payload);
    } else {
      MUST(xm_buf_putc(&play.payload, c) == XM_OK);
    }
  }
  take(&play.script);
  put_payload(to);
}

static void say_known(char what, xm_buf *to) {
  if (what == 3) return put(to, play.bind_id);
  if (what == 6) return say_encoded(to);
  if (what == 8) return say_answer(to);
  if (what == 9) return say_token(to);
  xm_buf_clear(&play.payload);
  put(&play.payload, what == 1 ? "r=" : "v=");
  if (what == 1) put(&play.payload, play.nonce);
  if (what == 1) put(&play.payload, "srv,s=QSXCR+Q6sek8bf92,i=4096");
  if (what == 2) say_signature(&play.payload);
  put_payload(to);
}

static bool is_event(uint8_t c) {
  return c == 4 || c == 5 || c == 7;
}

static bool has_token(const char *s, size_t n) {
  return memmem(s, n, TOKEN, strlen(TOKEN)) || memmem(s, n, FRESH_TOKEN, strlen(FRESH_TOKEN));
}

/* Notes tokens in other places: libFuzzer finds the strings that are compared with, and puts them into inputs. */
static void note_raw_tokens(const xm_buf *said) {
  const char *s = xm_buf_len(said) ? xm_buf_at(said) : "", *end = s + xm_buf_len(said), *at = s;
  size_t n = strlen(TOKEN_PLACE);
  play.raw = play.raw || memmem(s, (size_t)(end - s), TOKEN, strlen(TOKEN));
  for (; (at = memmem(at, (size_t)(end - at), FRESH_TOKEN, strlen(FRESH_TOKEN))); at++)
    play.raw = play.raw || (size_t)(at - s) < n || memcmp(at - n, TOKEN_PLACE, n) != 0;
}

static void say(xm_buf *to) {
  read_sent();
  while (play.script.n && !is_event(*play.script.at) && xm_buf_len(to) < 65536) {
    char c = (char)take(&play.script);
    if (strchr("\1\2\3\6\x08\x09", c) && c) {
      say_known(c, to);
    } else {
      MUST(xm_buf_putc(to, c) == XM_OK);
    }
  }
  note_raw_tokens(to);
}

/* Does the next event of the script. */
static void go_on(xm_conn *c, xm_loop *l) {
  uint8_t event = take(&play.script);
  if (event == 5) xm_conn_close(c, 0);
  if (event == 7) xm_loop_fire(l);
  if (event == 0) wire.over = true;
  xm_conn_flush(c);
}

/* Conditions */

/* Before TLS neither our address nor any proof may be sent. */
static void check_clear(void) {
  static const char *const secret[] = {LOCAL, PLAIN, "<auth", "<response", "<handshake", "<iq", "[masked]"};
  size_t i;
  if (play.o.tls == XM_TLS_NONE) return;
  for (i = 0; i < sizeof secret / sizeof *secret; i++) MUST(!holds(&wire.clear, secret[i]));
}

/* Checks that TLS begins only if nothing came behind <proceed/>. */
static void check_before_tls(void) {
  size_t n = xm_buf_len(&wire.told);
  const char *tag = n ? memrchr(xm_buf_at(&wire.told), '<', n) : NULL;
  MUST(play.o.tls != XM_TLS_NONE && xm_buf_len(&wire.heard) == 0);
  play.read = xm_buf_len(&wire.under_tls);
  if (wire.direct) return;
  MUST(wire.slow || holds(&wire.clear, "<starttls "));
  MUST(play.script.n == 0 || is_event(*play.script.at));
  MUST(tag && xm_buf_at(&wire.told)[n - 1] == '>');
  MUST(memmem(tag, n - (size_t)(tag - xm_buf_at(&wire.told)), "proceed", 7));
}

/* A new connection: everything has to be proved anew. */
static void begin_anew(void) {
  play.signed_ = play.answered = false;
  play.profile = NULL;
  *play.scram.signature = *play.nonce = *play.bind_id = *play.answer = '\0';
  play.read = xm_buf_len(&wire.clear);
}

static void check_plain(void) {
  if (holds(&wire.clear, PLAIN) || holds(&wire.under_tls, PLAIN))
    MUST(wire.secure && wire.verified && play.o.plain && !play.o.pinned && play.o.password);
  MUST(!holds(&wire.clear, PASSWORD) && !holds(&wire.under_tls, PASSWORD));
}

/* Checks that the log masks what proves knowledge of the password. */
static void check_said(const char *s, size_t n) {
  static const char *const masked[] = {"<auth", "<response", "<handshake"};
  size_t i;
  for (i = 0; i < sizeof masked / sizeof *masked; i++) {
    const char *open = memchr(s, '>', n), *end = memrchr(s, '<', n);
    if (n < strlen(masked[i]) || memcmp(s, masked[i], strlen(masked[i])) != 0) continue;
    MUST(open && (end == s || (end == open + 9 && memcmp(open + 1, "[masked]", 8) == 0)));
  }
  MUST(!memmem(s, n, PASSWORD, strlen(PASSWORD)) && !memmem(s, n, PLAIN, strlen(PLAIN)));
}

/* Checks that the log shows no token, whoever has sent it. */
static void check_tokens(const char *s, size_t n) {
  MUST(play.raw || !has_token(s, n));
}

static void check_log(xm_conn *c) {
  xm_buf *log = xm_conn_log(c);
  while (xm_buf_len(log)) {
    const char *s = xm_buf_at(log) + 1 + sizeof(size_t);
    size_t n;
    memcpy(&n, xm_buf_at(log) + 1, sizeof n);
    MUST(is_utf8(s, n) && (*xm_buf_at(log) == '<' || *xm_buf_at(log) == '>'));
    if (*xm_buf_at(log) == '>') check_said(s, n);
    check_tokens(s, n);
    xm_buf_consume(log, 1 + sizeof n + n);
  }
}

/* Checks that the bound address is ours, in the server's spelling. */
static void check_address(const xm_jid *jid) {
  const char *reason;
  xm_jid prepared, ours;
  MUST(jid && !jid->str[xm_jid_len(jid)]);
  MUST(xm_jid_parse(&prepared, xm_jid_domain(jid), jid->domain_len, &reason) == XM_OK);
  MUST(strcmp(prepared.str, "xmpp.example") == 0);
  MUST(xm_jid_parse(&ours, LOCAL "@xmpp.example", strlen(LOCAL "@xmpp.example"), &reason) == XM_OK);
  if (play.o.jid->local_len) MUST(jid->local_len && xm_jid_is(&ours, jid->str, xm_jid_bare_len(jid)));
}

static void check_stanza(const xm_conn *c) {
  const xm_tape *t = xm_conn_stanza(c);
  const char *name = xm_tape_name(t, 0);
  MUST(xm_conn_jid(c) && xm_conn_state_of(c) >= XM_CONN_READY && xm_tape_is(t, 0, xm_conn_ns(c), NULL));
  MUST(strcmp(name, "message") == 0 || strcmp(name, "presence") == 0 || strcmp(name, "iq") == 0);
}

static void check_end(xm_conn *c) {
  MUST(xm_conn_state_of(c) == XM_CONN_CLOSED && xm_conn_next(c) == XM_CONN_NOTHING);
  if (xm_err_is_set(xm_conn_why(c))) check_error(xm_conn_why(c));
  MUST(strcmp(xm_conn_why(c)->condition, "ENOMEM") != 0); /* there is enough memory */
}

/* The run */

static void mark(void *arg) {
  (void)arg;
}

static void run(xm_conn *c, xm_loop *l, void (*look)(xm_conn *c, xm_conn_event ev)) {
  xm_conn_event ev = XM_CONN_NOTHING;
  unsigned turns = 0, bound = 0;
  while (ev != XM_CONN_ENDED) {
    MUST(turns++ < 100000);
    ev = xm_conn_next(c);
    check_log(c);
    if (ev == XM_CONN_PASSWORD) xm_conn_log_in(c, PASSWORD, strlen(PASSWORD));
    look(c, ev);
    if (ev == XM_CONN_STANZA) check_stanza(c);
    if (ev == XM_CONN_NOTHING) go_on(c, l);
    bound += ev == XM_CONN_BOUND;
    MUST(bound <= 1);
  }
}

/* Prepares a run; the options are to be set next. */
static void begin_story(input script) {
  memset(&wire, 0, sizeof wire);
  memset(&play, 0, sizeof play);
  play.script = script;
  play.raw = memmem(script.at, script.n, "CDATA", 5) || memmem(script.at, script.n, "&", 1);
  play.scram.password = PASSWORD;
  wire.say = say;
  wire.before_tls = check_before_tls;
}

/* Plays a connection from its beginning to its end. */
static void play_story(xm_loop *loop, const xm_conn_session *session, void (*look)(xm_conn *c, xm_conn_event ev)) {
  xm_conn *c;
  play.o.wake = mark;
  c = xm_conn_new(loop, &play.o, session, NULL);
  MUST(c);
  run(c, loop, look);
  read_sent();
  check_clear();
  check_plain();
  check_end(c);
  xm_conn_free(c);
  wire_free();
  xm_buf_free(&play.payload);
  xm_buf_free(&play.scram.auth);
}

#endif
