/* libFuzzer: a login by SASL2 (XEP-0388), with what may go inside of it: binding a resource (XEP-0386), resuming a
 * session (XEP-0198), tokens (XEP-0484); with a script of what the server sends (script.h), on a whole connection. The
 * conditions are there, and here: a session begins only if the mechanism's proof was given on this stream; a resource
 * is bound inside only if that was requested; a token is shown only in verified TLS, by a mechanism that is allowed,
 * and accepted only if one was requested or shown; a stream uses one profile.
 *
 * Input: four bytes of options, then the server's bytes. */
#include "script.h"

#define AGENT "d4565fa7-4d72-4749-b3d3-740edbf87770"

static const char *const kinds[] = {"HT-SHA-256-EXPR", "HT-SHA-256-UNIQ", "HT-SHA-256-ENDP", "HT-SHA-256-NONE"};

/* A second connection: after something was sent ahead, a refused token, a session that can't be resumed, or what may be
 * either. */
static void on_retry(void) {
  play.retries = true;
  begin_anew();
}

static bool is_ht(const char *mechanism) {
  return strncmp(mechanism, "HT-", 3) == 0;
}

/* Checks what was requested. (On a slow wire the server may answer what hasn't been sent yet.) */
static void check_asked(const xm_conn_info *info) {
  MUST(play.profile && info->sasl2 == (strcmp(play.profile, "<authenticate ") == 0));
  if (strcmp(info->mechanism, "PLAIN") == 0) MUST(holds(&wire.under_tls, PLAIN));
  if (info->bound_inside) MUST(info->resumed || holds(sent(), "<bind xmlns='urn:xmpp:bind:0'"));
  if (info->resumed) MUST(holds(sent(), "<resume xmlns='urn:xmpp:sm:3'"));
}

/* Checks what must hold for any connection that is logged in. */
static void check_login(const xm_conn *c) {
  const xm_conn_info info = xm_conn_info_of(c);
  const char *m = info.mechanism;
  MUST(m && wire.secure && xm_conn_jid(c) && xm_conn_jid(c)->resource_len);
  check_address(xm_conn_jid(c));
  MUST(!info.sasl2 || play.o.sasl2);
  MUST(info.by_token == is_ht(m));
  if (strncmp(m, "SCRAM", 5) == 0) MUST(play.signed_ && play.o.password);
  if (strstr(m, "-PLUS")) MUST(info.binding);
  if (is_ht(m)) MUST(play.answered && wire.verified);
  if (strcmp(m, "EXTERNAL") == 0) MUST(wire.certificate);
  if (info.bound_inside) MUST(info.sasl2 && (info.resumed || play.o.bind2));
  if (!info.bound_inside && !info.resumed) MUST(*play.bind_id);
  read_sent();
  if (!wire.slow) check_asked(&info);
}

/* Checks a token that has come: it must have been requested, for a mechanism that may be used. */
static void check_token(const xm_conn *c) {
  xm_token token;
  MUST(play.asked && play.o.agent && wire.secure && wire.verified && xm_conn_info_of(c).sasl2 && !play.o.invalidate);
  if (!xm_conn_token(c, &token)) return; /* it has expired */
  MUST(token.n > 0 && token.n <= XM_TOKEN_MOST && memchr(token.mechanism, '\0', sizeof token.mechanism));
  MUST(is_ht(token.mechanism) && is_utf8(token.bytes, token.n) && !memchr(token.bytes, '\0', token.n));
  if (!play.o.mechanisms) MUST(strcmp(token.mechanism, kinds[2]) != 0 && strcmp(token.mechanism, kinds[3]) != 0);
  note_given(&token);
  xm_wipe(&token, sizeof token);
}

static void look(xm_conn *c, xm_conn_event ev) {
  if (xm_conn_state_of(c) == XM_CONN_READY) check_login(c);
  if (ev == XM_CONN_BOUND) MUST(xm_conn_state_of(c) == XM_CONN_READY);
  if (ev == XM_CONN_TOKEN) check_token(c);
}

static void set_options(const uint8_t o[4], const xm_jid *jid, xm_token *token) {
  static char ctx;
  play.o = xm_conn_defaults();
  play.o.jid = jid;
  play.o.tls = o[0] & 1 ? XM_TLS_STARTTLS : XM_TLS_DIRECT;
  play.o.tls_ctx = (xm_tls_ctx *)&ctx;
  play.o.password = o[0] & 2 ? NULL : PASSWORD;
  play.o.password_len = strlen(PASSWORD);
  play.o.sasl2 = !(o[0] & 4);
  play.o.bind2 = o[0] & 8;
  play.o.fast = o[0] & 16;
  play.o.log = o[0] & 32;
  play.o.plain = !(o[0] & 64);
  play.o.sm = !(o[0] & 128);
  wire.verified = !(o[1] & 1);
  wire.exporter = !(o[1] & 2);
  wire.end_point = !(o[1] & 4);
  wire.tls12 = o[1] & 8;
  wire.certificate = o[1] & 16;
  wire.slow = o[1] & 32;
  wire.sips = o[1] & 64;
  play.o.pinned = o[1] & 128;
  play.o.agent = o[2] & 1 ? NULL : AGENT;
  play.o.software = o[2] & 2 ? "soft<ware>" : NULL;
  play.o.tag = o[2] & 4 ? "tag" : NULL;
  play.o.carbons = play.o.inactive = o[2] & 8;
  play.o.invalidate = o[2] & 16;
  play.o.pipelining = o[2] & 32 ? XM_PIPELINING_NONE : XM_PIPELINING_EAGER;
  if (o[2] & 64) play.o.mechanisms = "SCRAM-SHA-256 PLAIN HT-SHA-256-EXPR HT-SHA-256-UNIQ HT-SHA-256-ENDP HT-SHA-256-NONE";
  play.o.remember = true;
  play.o.fast = play.o.fast && play.o.agent;
  *token = (xm_token){.n = strlen(TOKEN), .bytes = TOKEN};
  strcpy(token->mechanism, kinds[o[3] & 3]);
  if (o[3] & 4 && play.o.agent) play.o.token = token;
  if (play.o.token) note_given(token);
  wire.direct = play.o.tls == XM_TLS_DIRECT;
  wire.most = 16;
}

static void play_once(xm_loop *loop, input script, const uint8_t o[4], const xm_jid *jid) {
  static const char stanza[] = "<message to='bob@xmpp.example'/>";
  const xm_sm_stanza unacknowledged = {.xml = stanza, .len = strlen(stanza)};
  xm_jid bound;
  const xm_conn_session session = {.sm = {.id = "s1", .in = 3, .written = 1}, .jid = &bound, .stanzas = &unacknowledged, .n = 1};
  const char *why;
  xm_token token;
  begin_story(script);
  set_options(o, jid, &token);
  wire.again = on_retry;
  MUST(xm_jid_parse(&bound, LOCAL "@xmpp.example/r", strlen(LOCAL "@xmpp.example/r"), &why) == XM_OK);
  play_story(loop, o[3] & 8 && jid->local_len ? &session : NULL, look);
  xm_wipe(&token, sizeof token);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static xm_loop *loop;
  input in = {bytes, n};
  uint8_t o[4] = {take(&in), take(&in), take(&in), take(&in)};
  const char *reason, *address = o[3] & 16 ? "xmpp.example" : LOCAL "@xmpp.example";
  xm_jid jid;
  if (!loop) loop = xm_loop_new(NULL);
  MUST(loop && xm_jid_parse(&jid, address, strlen(address), &reason) == XM_OK);
  xm_known_clear();
  xm_keyring_forget();
  memset(&given, 0, sizeof given);
  play_once(loop, in, o, &jid);
  o[3] &= (uint8_t)~4u;                          /* the next login uses the token that has come, if there is one */
  if (o[3] & 32) play_once(loop, in, o, &jid);   /* as a client that has logged in here before */
  xm_loop_turn(loop, 0);                         /* so that what was closed frees its descriptors */
  return 0;
}
