/* libFuzzer: a login by RFC 6120, or a component's, with a script of what the server sends (script.h). The conditions
 * are there; here it is checked that no server is accepted that hasn't proved what it must. For SASL2 see sasl2.c.
 *
 * Input: three bytes of options, then the server's bytes. */
#include "script.h"

/* Conditions */

/* A second connection: only after something was sent ahead, and then everything has to be proved anew. */
static void on_retry(void) {
  MUST(play.o.pipelining);
  play.retries = true;
  begin_anew();
}

static void check_bound(xm_conn *c, xm_conn_event ev) {
  const xm_conn_info info = xm_conn_info_of(c);
  const char *mechanism = info.mechanism;
  if (ev != XM_CONN_BOUND) return;
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

/* The run */

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
  play.o.remember = o[2] & 16;
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

static void play_once(xm_loop *loop, input script, const uint8_t o[3], const xm_jid *jid) {
  begin_story(script);
  set_options(o, jid);
  wire.again = on_retry;
  play_story(loop, NULL, check_bound);
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
  xm_keyring_forget();
  play_once(loop, in, o, &jid);
  if (o[2] & 16) play_once(loop, in, o, &jid); /* as a client that has logged in here before */
  xm_loop_turn(loop, 0);                       /* so that what was closed frees its descriptors */
  return 0;
}
