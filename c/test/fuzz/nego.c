/* libFuzzer: a script of what a server says, to a whole connection (conn, nego, login, ...) on a wire of our own.
 * Nothing secret is said before TLS, the password never but as the options allow, nobody is believed who hasn't proved
 * what he must, and every story has its one end.
 *
 * Input: three bytes of options, then the server's bytes, in which these stand for what only a server can know:
 *   1  SCRAM's first message     2  SCRAM's last, rightly signed     3  the id of the request to bind a resource
 *   6  what comes up to the next 6 in base64; in it 1 is the client's nonce, 2 the signature
 * and these for events: 4 the read ends here, 5 the connection is closed by its user, 7 time has passed. */
#include "conn.h"
#include "known.h"
#include "ns.h"
#include "pbkdf2.h"
#include "scram_server.h"
#include "wire.h"

#define LOCAL "mallory"
#define PASSWORD "pencil-7f3a"
#define PLAIN "AG1hbGxvcnkAcGVuY2lsLTdmM2E=" /* base64 of NUL LOCAL NUL PASSWORD */

static struct play {
  input script;
  xm_conn_options o;
  scram_server scram;
  xm_buf payload; /* the last that was said in base64, before it was that */
  char nonce[64]; /* the client's */
  char bind_id[64];
  size_t read;  /* of what was sent, bytes that were looked at */
  bool signed_; /* the right signature was told */
  bool retries; /* nothing may be said ahead any more */
} play;

/* What was sent. */

static xm_buf *sent(void) {
  return wire.handshakes ? &wire.under_tls : &wire.clear;
}

static bool holds(const xm_buf *b, const char *what) {
  return xm_buf_len(b) && memmem(xm_buf_at(b), xm_buf_len(b), what, strlen(what));
}

/* The content between the tag that begins with `tag` and the next '<', decoded. */
static bool find_payload(const char *s, size_t n, const char *tag, xm_buf *to) {
  const char *at = memmem(s, n, tag, strlen(tag)), *open = at ? memchr(at, '>', (size_t)(s + n - at)) : NULL;
  const char *end = open ? memchr(open, '<', (size_t)(s + n - open)) : NULL;
  return end && xm_b64_decode(to, open + 1, (size_t)(end - open) - 1) == XM_OK;
}

static void on_auth(const char *s, size_t n) {
  xm_buf first = XM_BUF_INIT;
  const char *bare = NULL;
  play.scram.hash = memmem(s, n, "SCRAM-SHA-1", 11)     ? XM_SCRAM_SHA1
                    : memmem(s, n, "SCRAM-SHA-256", 13) ? XM_SCRAM_SHA256
                                                        : XM_SCRAM_SHA512;
  if (find_payload(s, n, "<auth ", &first) && xm_buf_len(&first))
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

/* Looks at what was sent since, once it is whole. */
static void read_sent(void) {
  size_t n = xm_buf_len(sent()) - play.read;
  const char *s = n ? xm_buf_at(sent()) + play.read : NULL;
  if (n == 0 || s[n - 1] != '>') return;
  if (memmem(s, n, "<auth ", 6)) on_auth(s, n);
  if (memmem(s, n, "<response ", 10)) on_response(s, n);
  if (memmem(s, n, "<iq ", 4)) on_request(s, n);
  play.read += n;
}

/* What the server says. */

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

static void say(xm_buf *to) {
  read_sent();
  while (play.script.n && !is_event(*play.script.at) && xm_buf_len(to) < 65536) {
    char c = (char)take(&play.script);
    if (c == 1 || c == 2 || c == 3 || c == 6) {
      say_known(c, to);
    } else {
      MUST(xm_buf_putc(to, c) == XM_OK);
    }
  }
}

/* The next event of the script. */
static void go_on(xm_conn *c, xm_loop *l) {
  uint8_t event = take(&play.script);
  if (event == 5) xm_conn_close(c, 0);
  if (event == 7) xm_loop_fire(l);
  if (event == 0) wire.over = true;
  xm_conn_flush(c);
}

/* What must hold. */

/* Before the login is safe, nobody hears who we are, let alone a proof. */
static void check_clear(void) {
  static const char *const secret[] = {LOCAL, PLAIN, "<auth", "<response", "<handshake", "<iq", "[masked]"};
  size_t i;
  if (play.o.tls == XM_TLS_NONE) return;
  for (i = 0; i < sizeof secret / sizeof *secret; i++) MUST(!holds(&wire.clear, secret[i]));
}

/* Nothing came behind <proceed/>. */
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

/* Only for what was said ahead, and then everything has to be proved anew. */
static void on_retry(void) {
  MUST(play.o.pipelining);
  play.retries = true;
  play.signed_ = false;
  *play.scram.signature = *play.nonce = *play.bind_id = '\0';
  play.read = xm_buf_len(&wire.clear);
}

static void check_plain(void) {
  if (holds(&wire.clear, PLAIN) || holds(&wire.under_tls, PLAIN))
    MUST(wire.secure && wire.verified && play.o.plain && !play.o.pinned && play.o.password);
  MUST(!holds(&wire.clear, PASSWORD) && !holds(&wire.under_tls, PASSWORD));
}

/* What proves knowledge of the password is masked. */
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

static void check_log(xm_conn *c) {
  xm_buf *log = xm_conn_log(c);
  while (xm_buf_len(log)) {
    const char *s = xm_buf_at(log) + 1 + sizeof(size_t);
    size_t n;
    memcpy(&n, xm_buf_at(log) + 1, sizeof n);
    MUST(is_utf8(s, n) && (*xm_buf_at(log) == '<' || *xm_buf_at(log) == '>'));
    if (*xm_buf_at(log) == '>') check_said(s, n);
    xm_buf_consume(log, 1 + sizeof n + n);
  }
}

/* The server's spelling of our address counts, but it is ours. */
static void check_address(const xm_jid *jid) {
  const char *reason;
  xm_jid prepared, ours;
  MUST(jid && !jid->str[xm_jid_len(jid)]);
  MUST(xm_jid_parse(&prepared, xm_jid_domain(jid), jid->domain_len, &reason) == XM_OK);
  MUST(strcmp(prepared.str, "xmpp.example") == 0);
  MUST(xm_jid_parse(&ours, LOCAL "@xmpp.example", strlen(LOCAL "@xmpp.example"), &reason) == XM_OK);
  if (play.o.jid->local_len) MUST(jid->local_len && xm_jid_is(&ours, jid->str, xm_jid_bare_len(jid)));
}

static void check_bound(const xm_conn *c) {
  const xm_conn_info info = xm_conn_info_of(c);
  const char *mechanism = info.mechanism;
  MUST(xm_conn_state_of(c) == XM_CONN_READY && (wire.secure || play.o.tls == XM_TLS_NONE));
  check_address(xm_conn_jid(c));
  if (play.o.component) {
    MUST(!mechanism && holds(sent(), "<handshake"));
    return;
  }
  MUST(mechanism && xm_conn_jid(c)->resource_len && *play.bind_id);
  MUST(!info.ahead || (play.o.pipelining && !play.retries));
  if (strncmp(mechanism, "SCRAM", 5) == 0) MUST(play.signed_ && play.o.password);
  if (strstr(mechanism, "-PLUS")) MUST(wire.secure && info.binding);
  if (strcmp(mechanism, "PLAIN") == 0) MUST(holds(&wire.under_tls, PLAIN));
  if (strcmp(mechanism, "EXTERNAL") == 0) MUST(wire.secure && wire.certificate);
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
}

/* The play. */

static void set_options(const uint8_t o[3], const xm_jid *jid) {
  static char ctx;
  play.o = xm_conn_defaults();
  play.o.jid = jid;
  play.o.tls = (xm_tls_policy)(o[0] & 3) == XM_TLS_DIRECT ? XM_TLS_DIRECT : o[0] & 2 ? XM_TLS_NONE : XM_TLS_STARTTLS;
  play.o.component = o[0] & 4;
  play.o.plain = o[0] & 8;
  play.o.pinned = o[0] & 16;
  play.o.password = o[0] & 32 && !play.o.component ? NULL : PASSWORD;
  play.o.password_len = strlen(PASSWORD);
  play.o.log = o[0] & 64;
  play.o.pipelining = o[2] & 8 ? XM_PIPELINING_NONE : XM_PIPELINING_EAGER;
  if (play.o.tls != XM_TLS_NONE) play.o.tls_ctx = (xm_tls_ctx *)&ctx;
  if (o[1] & 32) play.o.mechanisms = "SCRAM-SHA-256,PLAIN";
  if (o[1] & 128) play.o.timeout = 0;
  play.scram.password = PASSWORD;
  wire.direct = play.o.tls == XM_TLS_DIRECT;
  wire.verified = o[0] & 128;
  wire.exporter = o[1] & 1;
  wire.end_point = o[1] & 2;
  wire.tls12 = o[1] & 4;
  wire.certificate = o[1] & 8;
  wire.slow = o[1] & 16;
  wire.refuse = o[2] & 1;
  wire.sips = o[2] & 4;
}

static void mark(void *arg) {
  (void)arg;
}

static void run(xm_conn *c, xm_loop *l) {
  xm_conn_event ev = XM_CONN_NOTHING;
  unsigned turns = 0, bound = 0;
  while (ev != XM_CONN_ENDED) {
    MUST(turns++ < 100000);
    ev = xm_conn_next(c);
    check_log(c);
    if (ev == XM_CONN_PASSWORD) xm_conn_log_in(c, PASSWORD, strlen(PASSWORD));
    if (ev == XM_CONN_BOUND) check_bound(c);
    if (ev == XM_CONN_STANZA) check_stanza(c);
    if (ev == XM_CONN_NOTHING) go_on(c, l);
    bound += ev == XM_CONN_BOUND;
    MUST(bound <= 1);
  }
}

/* From the dial to the end. */
static void play_once(xm_loop *loop, input script, const uint8_t o[3], const xm_jid *jid) {
  xm_conn *c;
  memset(&wire, 0, sizeof wire);
  memset(&play, 0, sizeof play);
  set_options(o, jid);
  play.script = script;
  play.o.wake = mark;
  wire.say = say;
  wire.before_tls = check_before_tls;
  wire.again = on_retry;
  c = xm_conn_new(loop, &play.o, NULL, NULL);
  MUST(c);
  run(c, loop);
  read_sent();
  check_clear();
  check_plain();
  check_end(c);
  xm_conn_free(c);
  wire_free();
  xm_buf_free(&play.payload);
  xm_buf_free(&play.scram.auth);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static const char *const jids[] = {LOCAL "@xmpp.example", "xmpp.example", LOCAL "@xmpp.example/home"};
  static xm_loop *loop;
  input in = {bytes, n};
  uint8_t o[3] = {take(&in), take(&in), take(&in)};
  const char *reason, *address = jids[o[0] & 4 || o[1] & 64 ? 1 : o[2] & 2];
  xm_jid jid;
  if (!loop) loop = xm_loop_new(NULL);
  MUST(loop && xm_jid_parse(&jid, address, strlen(address), &reason) == XM_OK);
  xm_known_clear();
  play_once(loop, in, o, &jid);
  if (o[2] & 16) play_once(loop, in, o, &jid); /* as who has been here */
  xm_loop_turn(loop, 0);                       /* what was closed there gives its descriptors back */
  return 0;
}
