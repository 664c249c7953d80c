/* nego: plays (play.h) of the login, step by step. t_sasl_matrix tests each SASL mechanism; t_nego2 tests SASL2 with
 * what goes inside of its <authenticate/>. */
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
#include <fnmatch.h>

#include "play.h"

static void a_login_from_the_header_to_the_session(void **state) {
  (void)state;
  play(false,
       "C: <[?]xml version='1.0'[?]><stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
       "xmlns='jabber:client' "
       "to='xmpp.example' version='1.0' xml:lang='en'>\n"
       "S: $H$F" STARTTLS
       "><required/></starttls>/$F\n"
       "C: " STARTTLS
       "/>\n"
       "S: <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n"
       "TLS\n"
       "C: <[?]xml version='1.0'[?]><stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
       "xmlns='jabber:client' "
       "to='xmpp.example' from='alice@xmpp.example' version='1.0' xml:lang='en'>\n" OFFER AUTH "S: <success " SASL
       "/>\n"
       "RESTART\n"
       "S: $H$F" BIND
       "/><session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>/$F\n"
       "C: $H<iq type='set' id='*'>" BIND
       "><resource>lua</resource></bind></iq>\n" BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua");
}

#define SESSION "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'"
#define BOUND_BEFORE_SESSION \
  LOGIN "S: $H$F" BIND "/>" SESSION "/>/$F\nC: $H<iq*</iq>\n" BOUND("alice@xmpp.example/lua") \
  "C: <iq type='set' id='*'>" SESSION "/></iq>\n"

/* RFC 3921 3: a server of that time requires a session, and sends no stanza before; later ones offer it for older
 * clients. */
static void an_older_server_is_asked_for_a_session(void **state) {
  (void)state;
  play(true, BOUND_BEFORE_SESSION "S: <iq type='result' id='$ID'/>\nREADY alice@xmpp.example/lua");
  play(true, BOUND_BEFORE_SESSION "S: <iq id='$ID'/>\nFAIL stream bad-format");
  play(true, BOUND_BEFORE_SESSION "S: <iq type='result' id='$ID' from='xmpp.example' to='alice@xmpp.example/lua'>" SESSION
       "/></iq>\nREADY alice@xmpp.example/lua");
  play(true, BOUND_BEFORE_SESSION
       "S: <iq type='error' id='$ID'><error type='auth'><forbidden "
       "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>\nFAIL bind forbidden");
  play(true, BOUND_BEFORE_SESSION
       "S: <iq type='error' id='$ID'><error type='wait'><internal-server-error "
       "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>\nFAIL bind internal-server-error retry");
  play(true, LOGIN "S: $H$F" BIND "/><session xmlns='urn:x'/>/$F\nC: $H<iq*</iq>\n" BOUND("alice@xmpp.example/lua")
       "READY alice@xmpp.example/lua");
}

static void what_is_offered_again_is_passed_over(void **state) {
  (void)state;
  play(true, LOGIN "S: $H$F" STARTTLS "/><mechanisms " SASL "><mechanism>PLAIN</mechanism></mechanisms>" BIND
                   "/>/$F\n"
                   "C: $H<iq*</iq>\n" BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua");
}

#define BIND_NS "urn:ietf:params:xml:ns:xmpp-bind"
#define BINDING "/>/$F\nC: $H<iq*</iq>\n" BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua\n"

/* Features are noted by their namespaces, whatever their names and content; those offered before the login aren't. */
static void what_is_offered_after_the_login_is_noted(void **state) {
  (void)state;
  play(true, LOGIN "OFFERS \nS: $H$F<ver xmlns='urn:xmpp:features:rosterver'/><x><y xmlns='u:y'/></x><c xmlns='u:c' a='b'><d/></c>"
       BIND BINDING "OFFERS urn:xmpp:features:rosterver " XM_NS_CLIENT " u:c " BIND_NS);
  play(true, LOGIN "S: $H$F" BIND BINDING "OFFERS " BIND_NS);
  play(true, LOGIN "S: $H$F/$F\nC: $H\nFAIL bind not-offered\nOFFERS ");
}

/* A server may offer any number of features; we keep up to a limit. */
static void what_is_offered_without_end_is_not_kept(void **state) {
  char script[16384] = LOGIN "S: $H$F" BIND "/>", wanted[8192] = BIND_NS, name[1001];
  int i;
  (void)state;
  for (i = 0; i < 70; i++) {
    sprintf(script + strlen(script), "<f xmlns='u:%d'/>", i);
    if (i < XM_NEGO_OFFERS - 1) sprintf(wanted + strlen(wanted), " u:%d", i);
  }
  strcat(script, "/$F\nC: $H<iq*</iq>\nOFFERS ");
  play(true, strcat(script, wanted));
  memset(name, 'n', 1000);
  name[1000] = '\0';
  strcpy(script, LOGIN "S: $H$F" BIND "/>");
  strcpy(wanted, BIND_NS);
  for (i = 0; i < 5; i++) {
    sprintf(script + strlen(script), "<f xmlns='%s%d'/>", name, i);
    if (i < 4) sprintf(wanted + strlen(wanted), " %s%d", name, i);
  }
  strcat(script, "<f xmlns='u:short'/>/$F\nC: $H<iq*</iq>\nOFFERS ");
  play(true, strcat(strcat(script, wanted), " u:short"));
}

static void nothing_secret_is_said_in_the_clear(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example");
  const xm_nego_options clear = {.jid = &jid, .plain = true};
  (void)state;
  play(false, "C: $H\n" OFFER "FAIL tls starttls-not-offered");
  play(false, "C: $H\nS: $H$F/$F\nFAIL tls starttls-not-offered");
  play(false, "C: $H\nS: $H$F<starttls xmlns='urn:x'/>/$F\nFAIL tls starttls-not-offered");
  play(false, "C: $H\nS: $H$F" STARTTLS
              "/>/$F\nC: *\nS: <failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\nFAIL tls failure retry");
  play(false, "C: $H\nS: $H$F" STARTTLS
              "/>/$F\nC: *\nS: <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n"
              "UNVERIFIED\nC: $H\n" OFFER "FAIL sasl invalid-mechanism");
  play_as(&clear, false, "secret", "C: $H\n" OFFER "FAIL sasl invalid-mechanism");
}

/* The JID isn't sent if no mechanism but ANONYMOUS may be used. */
static void an_anonymous_login_does_not_send_the_jid(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example");
  xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true, .mechanisms = "ANONYMOUS"};
  (void)state;
  play_as(&o, true, "secret",
          "C: *to='xmpp.example' version='1.0'*>\n"
          "S: $H$F<mechanisms " SASL "><mechanism>ANONYMOUS</mechanism></mechanisms>/$F\n"
          "C: <auth " SASL " mechanism='ANONYMOUS'*\n");
  o.mechanisms = "ANONYMOUS PLAIN";
  play_as(&o, true, "secret", "C: *to='xmpp.example' from='alice@xmpp.example' version='1.0'*>\n" OFFER AUTH);
}

static void a_resource_is_the_servers_to_choose(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example");
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true, .lang = "de"};
  (void)state;
  play_as(
      &o, true, "secret",
      "C: *to='xmpp.example' from='alice@xmpp.example' version='1.0' xml:lang='de'>\n" OFFER AUTH "S: <success " SASL
      "/>\n"
      "RESTART\nS: $H$F" BIND
      "/>/$F\n"
      "C: *<iq type='set' id='*'>" BIND "/></iq>\n" BOUND("alice@xmpp.example/a/b@c") "READY alice@xmpp.example/a/b@c");
}

static void the_bound_address_is_ours(void **state) {
  char *script = malloc(10000);
  (void)state;
  play(true, TO_BIND BOUND("alice@xmpp.example/other") "READY alice@xmpp.example/other");
  play(true, TO_BIND BOUND("Alice@XMPP.example/Lua") "READY Alice@XMPP.example/Lua"); /* spelled as the server does */
  play(true, TO_BIND BOUND("eve@xmpp.example/lua") "FAIL bind wrong-jid");
  play(true, TO_BIND BOUND("alice@evil.example/lua") "FAIL bind wrong-jid");
  play(true, TO_BIND BOUND("alice@xmpp.example.evil.example/lua") "FAIL bind wrong-jid");
  play(true, TO_BIND BOUND("xmpp.example/lua") "FAIL bind wrong-jid");
  play(true, TO_BIND BOUND("alice@xmpp.exampl\xC3\xA9/lua") "FAIL bind wrong-jid");
  play(true, TO_BIND BOUND("alice@xmpp.example") "FAIL bind invalid-jid");
  play(true, TO_BIND BOUND("alice@xmpp.example/") "FAIL bind invalid-jid");
  play(true, TO_BIND BOUND("") "FAIL bind invalid-jid");
  play(true, TO_BIND "S: <iq type='result' id='$ID'>" BIND "/></iq>\nFAIL bind invalid-jid");
  play(true, TO_BIND "S: <iq type='result' id='$ID'/>\nFAIL bind invalid-jid");
  play(true, TO_BIND "S: <iq type='result' id='$ID'><jid>alice@xmpp.example/lua</jid></iq>\nFAIL bind invalid-jid");
  sprintf(script, TO_BIND BOUND("alice@xmpp.example/%01023d") "READY alice@xmpp.example/%01023d", 7, 7);
  play(true, script);
  sprintf(script, TO_BIND BOUND("alice@xmpp.example/%01024d") "FAIL bind invalid-jid", 7);
  play(true, script);
  free(script);
}

/* Servers that still prepare by stringprep (RFC 6122) fold more characters than PRECIS does: it is still our
 * account. */
static void a_stringprep_server_may_fold_the_localpart_further(void **state) {
#define OURS   \
  "fu\xC3\x9F" \
  "e\xCF\x82@xmpp.example/lua"
#define THEIRS "fusse\xCF\x83@xmpp.example/lua"
  const xm_jid jid = jid_of(OURS);
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true};
  (void)state;
  play_as(&o, true, "secret", TO_BIND BOUND(THEIRS) "READY " THEIRS);
  play_as(&o, true, "secret", TO_BIND BOUND(OURS) "READY " OURS);
  play_as(&o, true, "secret", TO_BIND BOUND("fuse\xCF\x83@xmpp.example/lua") "FAIL bind wrong-jid");
  play_as(&o, true, "secret", TO_BIND BOUND("fusse\xCF\x83@xmpp.examples/lua") "FAIL bind wrong-jid");
}

static void a_refused_resource_has_its_condition(void **state) {
  (void)state;
#define ERROR(children) "S: <iq type='error' id='$ID'>" BIND "/><error type='modify'>" children "</error></iq>\n"
#define STANZAS "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
  play(true, TO_BIND ERROR("<conflict " STANZAS) "FAIL bind conflict");
  play(true, TO_BIND ERROR("<resource-constraint " STANZAS) "FAIL bind resource-constraint retry");
  play(true, TO_BIND ERROR("<bad-request xmlns='urn:x'/><not-allowed " STANZAS) "FAIL bind not-allowed");
  play(true, TO_BIND ERROR("") "FAIL bind undefined-condition");
  play(true, TO_BIND "S: <iq type='error' id='$ID'/>\nFAIL bind undefined-condition");
}

/* The conditions of RFC 6120 6.5, each with and without a text, and one that no RFC defines. */
static void every_refused_login_has_its_condition(void **state) {
  static const char *const conditions[] = {
      "aborted",         "account-disabled",      "credentials-expired", "encryption-required", "incorrect-encoding",
      "invalid-authzid", "invalid-mechanism",     "malformed-request",   "mechanism-too-weak",  "not-authorized",
      "bad-protocol",    "temporary-auth-failure"};
  char script[2000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof conditions / sizeof *conditions; i++) {
    const char *retry = i == 11 ? " retry" : "";
    snprintf(script, sizeof script, OFFER "C: *\nS: <failure " SASL "><%s/></failure>\nFAIL sasl %s%s", conditions[i],
             conditions[i], retry);
    play(true, script);
    snprintf(script, sizeof script,
             OFFER "C: *\nS: <failure " SASL "><text xml:lang='en'>a\rtext</text><%s/></failure>\nFAIL sasl %s%s",
             conditions[i], conditions[i], retry);
    play(true, script);
  }
  play(true, OFFER "C: *\nS: <failure " SASL "/>\nFAIL sasl undefined-condition");
  play(true, OFFER "C: *\nS: <failure " SASL "><text>t</text></failure>\nFAIL sasl undefined-condition");
  play(true, OFFER "C: *\nS: <failure xmlns='urn:x'/>\nFAIL stream bad-format");
}

static void a_malformed_success_is_refused(void **state) {
  (void)state;
  play(true, OFFER "C: *\nS: <success xmlns='urn:x'/>\nFAIL stream bad-format");
  play(true, OFFER "C: *\nS: <success " SASL ">no base64!</success>\nFAIL sasl incorrect-encoding");
  play(true, OFFER "C: *\nS: <success " SASL "><x/></success>\nFAIL sasl incorrect-encoding");
  play(true, OFFER "C: *\nS: <challenge " SASL ">YQ<x/>==</challenge>\nFAIL sasl incorrect-encoding");
  play(true, OFFER "C: *\nS: <success " SASL ">=</success>\nRESTART\nC: $H");
  play(true, "S: $H$F/$F\nC: $H\nFAIL sasl no-mechanisms");
  play(true, LOGIN "C: $H\nS: $H$F/$F\nFAIL bind not-offered");
}

/* Elements that aren't due. Only the first three may follow the login, where they are kept for later. */
static void elements_out_of_order_are_refused(void **state) {
  static const char *const strangers[] = {"<message/>",
                                          "<iq type='result' id='x'/>",
                                          "<iq type='set' id='$ID'/>",
                                          "<success " SASL "/>",
                                          "<challenge " SASL "/>",
                                          "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
                                          "<stream:features/>",
                                          "<failure " SASL "/>",
                                          "<features xmlns='urn:x'/>",
                                          "<iq type='result' id='$ID' xmlns='urn:x'/>",
                                          "<message xmlns='jabber:server'/>",
                                          "<handshake/>"};
  static const struct {
    bool tls;
    const char *before, *fine; /* fine: a bit for each stranger that is allowed there */
    unsigned own;
  } places[] = {{false, "C: $H\nS: $H\n", "features", 1u << 6},
                {true, "C: $H\nS: $H\n", "features", 1u << 6},
                {false, "C: $H\nS: $H$F" STARTTLS "/>/$F\nC: *\n", "proceed", 1u << 5},
                {true, OFFER "C: *\n", "sasl", 1u << 3 | 1u << 4 | 1u << 7},
                {true, LOGIN "C: *\nS: $H\n", "features again", 1u << 0 | 1u << 1 | 1u << 2 | 1u << 6},
                {true, TO_BIND, "bind", 1u << 0 | 1u << 1 | 1u << 2},
                {true, BOUND_BEFORE_SESSION, "session", 1u << 0 | 1u << 1 | 1u << 2},
                {true, TO_BIND BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua\n", "done", 0}};
  size_t i, k;
  char script[4000];
  (void)state;
  for (i = 0; i < sizeof places / sizeof *places; i++) {
    for (k = 0; k < sizeof strangers / sizeof *strangers; k++) {
      bool kept = places[i].own >> k & 1 && k < 3;
      if (places[i].own >> k & 1 && !kept) continue;
      snprintf(script, sizeof script, "%sS: %s\n%s", places[i].before, strangers[k], kept ? "KEPT 1" : "FAIL stream bad-format");
      play(places[i].tls, script);
    }
  }
}

#define STREAM_ERROR(condition) \
  "<stream:error><" condition " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\n"
#define EARLY "<message><body>Hi</body></message><presence from='a@b/c'/><iq type='get' id='1'><q xmlns='urn:q'/></iq>"

/* Between the login and its last step: a server may begin to send what belongs to a session as soon as it is asked for
 * one. */
static void what_comes_before_the_session_is_kept_for_it(void **state) {
  (void)state;
  play(true, LOGIN "S: $H" EARLY "\nKEPT 3\nS: $F" BIND "/>/$F\nC: $H<iq*</iq>\nS: " EARLY "\nKEPT 3\n"
       BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua\nKEPT 0");
  play(true, TO_BIND "S: " EARLY "<iq type='get' id='$ID'/><iq type='set' id='$ID'/><message id='$ID' type='result'/>"
       "<iq type='error' id='x$ID'/><iq type='result'/>\nKEPT 8\n" BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua");
  play(true, BOUND_BEFORE_SESSION "S: " EARLY "\nKEPT 3\nS: <iq type='result' id='$ID'/>\nREADY alice@xmpp.example/lua");
  play(true, TO_BIND "S: " EARLY "\nKEPT 3\nS: <iq type='error' id='$ID'><error type='cancel'>"
       "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>\nFAIL bind conflict");
  play(true, TO_BIND "S: " EARLY "\nKEPT 3\nS: " STREAM_ERROR("reset") "FAIL stream reset retry");
}

/* A component has its session when it has proved its secret; before that, nothing is kept. */
static void nothing_is_kept_before_a_component_is_authenticated(void **state) {
  static const char *const places[] = {"C: $H\nS: $H\n", "C: $H\nS: $H$F" STARTTLS "/>/$F\nC: *\n"};
  const xm_jid jid = jid_of("echo.example");
  const xm_nego_options o = {.component = true, .jid = &jid};
  char script[1000];
  size_t i;
  (void)state;
  for (i = 0; i < 2; i++) {
    snprintf(script, sizeof script, "%sS: " EARLY "\nFAIL stream bad-format", places[i]);
    play(false, script);
  }
  play(true, OFFER "C: *\nS: " EARLY "\nFAIL stream bad-format");
  play_as(&o, false, "secret",
          "C: *\nS: <stream:stream xmlns='jabber:component:accept' xmlns:stream='" XM_NS_STREAM "' id='1'>\nC: *\n"
          "S: <message/>\nFAIL stream bad-format");
}

static void a_stream_error_ends_it_anywhere(void **state) {
  static const struct {
    const char *condition, *outcome;
  } errors[] = {{"host-unknown", "host-unknown"},
                {"not-authorized", "not-authorized"},
                {"policy-violation", "policy-violation"},
                {"conflict", "conflict"},
                {"system-shutdown", "system-shutdown retry"},
                {"reset", "reset retry"},
                {"connection-timeout", "connection-timeout retry"},
                {"see-other-host", "see-other-host"},
                {"made-up", "made-up"}};
  static const char *const places[] = {"C: $H\nS: $H\n", OFFER "C: *\n", TO_BIND};
  char script[4000];
  size_t i, k;
  (void)state;
  for (i = 0; i < 3; i++) {
    for (k = 0; k < sizeof errors / sizeof *errors; k++) {
      snprintf(
          script, sizeof script,
          "%sS: <stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'>x</%s></stream:error>\nFAIL stream %s",
          places[i], errors[k].condition, errors[k].condition, errors[k].outcome);
      play(true, script);
    }
  }
  play(true, "C: $H\nS: $H<stream:error/>\nFAIL stream undefined-condition retry");
}

static void versions_below_one_are_refused(void **state) {
  (void)state;
#define HEADER(version) "C: $H\nS: <stream:stream xmlns='jabber:client' xmlns:stream='" XM_NS_STREAM "' " version ">\n"
  play(true, HEADER("") "FAIL stream unsupported-version");
  play(true, HEADER("version='0.9'") "FAIL stream unsupported-version");
  play(true, HEADER("version=''") "FAIL stream unsupported-version");
  play(true, HEADER("version='x'") "FAIL stream unsupported-version");
  play(true, HEADER("version='1.1'") "S: $F/$F\nFAIL sasl no-mechanisms");
}

static void passwords_are_prepared_or_refused(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true};
  (void)state;
  play_as(&o, true,
          "a\xC2\xA0"
          "e\xCC\x81",
          "C: $H\n" OFFER "C: *>AGFsaWNlAGEgw6k=</auth>"); /* OpaqueString: NFC, and U+0020 for other spaces */
  play_as(&o, true, "a\nb", "C: $H\n" OFFER "FAIL sasl malformed-request");
  play_as(&o, true, "a\xFF", "C: $H\n" OFFER "FAIL sasl malformed-request");
  play_as(&o, true, "", "C: $H\n" OFFER "FAIL sasl malformed-request");
  play_as(&o, true, NULL, "C: $H\n" OFFER "FAIL sasl invalid-mechanism");
}

static void a_component_proves_its_secret(void **state) {
  const xm_jid jid = jid_of("xmpp.example");
  const xm_nego_options o = {.component = true, .jid = &jid}, safe = {.component = true, .jid = &jid, .need_tls = true};
#define COMPONENT(id)                                                      \
  "C: <[?]xml version='1.0'[?]><stream:stream xmlns:stream='" XM_NS_STREAM \
  "' xmlns='jabber:component:accept' to='xmpp.example'>\n"                 \
  "S: <stream:stream xmlns='jabber:component:accept' xmlns:stream='" XM_NS_STREAM "' " id ">\n"
#define HOST_UNKNOWN "S: <stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\n"
  (void)state;
  play_as(&o, false, "test", COMPONENT("id='3BF96D32'")
          "C: <handshake>aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e</handshake>\n"
          "S: <handshake/>\nREADY xmpp.example");
  play_as(&o, false, "test", COMPONENT("id='3BF96D32'") "C: *\nS: <message/>\nFAIL stream bad-format");
  play_as(&o, false, "test", COMPONENT("id='3BF96D32'") "C: *\nS: <handshake xmlns='urn:x'/>\nFAIL stream bad-format");
  play_as(&o, false, "test", COMPONENT("id='3BF96D32'") "C: *\n" HOST_UNKNOWN "FAIL stream host-unknown");
  play_as(&o, false, "test", COMPONENT("id=''") "C: \n" HOST_UNKNOWN "FAIL stream host-unknown");
  play_as(&o, false, "test", COMPONENT("") "S: <handshake/>\nFAIL stream bad-format");
  play_as(&o, false, "", COMPONENT("") "S: <handshake/>\nFAIL stream bad-format");
  play_as(&o, false, "", COMPONENT("id='3BF96D32'") "C: <handshake>*</handshake>\nS: <handshake/>\nREADY xmpp.example");
  play_as(&safe, false, "test", COMPONENT("id='3BF96D32'") "FAIL tls starttls-not-offered");
  play_as(&safe, true, "test", COMPONENT("id='3BF96D32'") "C: <handshake>*</handshake>");
}

static void what_proves_the_password_is_marked_secret(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true};
  struct play p = {.nego = xm_nego_new(&o, "secret", 6)};
  const xm_bounds limits = {65536, 65536, 128, 256, 50000, 1024};
  (void)state;
  p.xml = xm_xml_new(XM_NS_CLIENT, &limits);
  xm_nego_secured(p.nego, true);
  assert_int_equal(xm_nego_begin(p.nego, &p.out, &p.e), XM_OK);
  assert_false(xm_nego_is_secret(p.nego));
  line(&p, OFFER, strlen(OFFER) - 1, "");
  assert_true(xm_nego_is_secret(p.nego));
  assert_int_equal(p.nego->password.cap, 0); /* freed, after it was wiped */
  assert_null(xm_nego_mechanism(p.nego));
  server_says(&p, "<success " SASL "/>");
  assert_string_equal(xm_nego_mechanism(p.nego), "PLAIN");
  xm_buf_clear(&p.out);
  begin_anew(&p, XM_NEGO_RESTART);
  assert_false(xm_nego_is_secret(p.nego));
  xm_nego_free(p.nego);
  xm_nego_free(NULL);
  xm_xml_free(p.xml);
  xm_buf_free(&p.out);
}

/* With a session that can be resumed: its id, and that 7 of its stanzas have been handled. */
static void play_again(bool tls, const char *script) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true, .previd = "id-1", .h = 7};
  play_as(&o, tls, "secret", script);
}

#define RESUMED(attributes) "S: <resumed xmlns='urn:xmpp:sm:3' " attributes "/>\n"
#define NOT_FOUND "><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>\n"

static void a_session_is_resumed(void **state) {
  (void)state;
  play_again(true, TO_RESUME RESUMED("previd='id-1' h='3'") "RESUMED 3");
  play_again(true, TO_RESUME RESUMED("h='0' previd='id-1'") "RESUMED 0");
  play_again(true, TO_RESUME RESUMED("previd='id-1' h='4294967295'") "RESUMED 4294967295");
  play_again(true, TO_RESUME RESUMED("previd='id-1' h='0000000003'") "RESUMED 3");
  play_again(true, LOGIN "S: $H$F" SM "/$F\n" RESUME RESUMED("previd='id-1' h='3'") "RESUMED 3");
}

/* Resumption comes after TLS, SASL and its own offer, whatever was offered before that. */
static void resuming_waits_for_the_login(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options none = {.jid = &jid, .plain = true, .need_tls = true};
  (void)state;
  play_again(false, "C: $H\nS: $H$F" STARTTLS "/>" SM BIND "/>/$F\nC: " STARTTLS
                    "/>\nS: <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\nTLS\n"
                    "S: $H$F<mechanisms " SASL "><mechanism>PLAIN</mechanism></mechanisms>" SM BIND "/>/$F\n"
                    "C: $H<auth*</auth>\nS: <success " SASL "/>\nRESTART\n"
                    "S: $H$F" SM BIND "/>/$F\n" RESUME RESUMED("previd='id-1' h='3'") "RESUMED 3");
  play_again(false, "C: $H\nS: $H$F" SM BIND "/>/$F\nFAIL tls starttls-not-offered");
  play_again(true, "C: $H\nS: $H$F" SM BIND "/>/$F\nFAIL sasl no-mechanisms");
  play_as(&none, true, "secret", LOGIN "S: $H$F" SM BIND "/>/$F\nC: $H<iq*</iq>\n"
          BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua\nANEW");
}

/* The ids are the server's choice, and are repeated byte by byte (XEP-0198 3: at most 4000). */
static void the_old_id_is_said_as_it_was(void **state) {
  static const struct {
    const char *id, *written;
    uint32_t h;
  } rows[] = {{"a+b/c==", "h='0' previd='a+b/c=='", 0},
              {"<'&\">", "h='4294967295' previd='&lt;&apos;&amp;\"&gt;'", UINT32_MAX},
              {"\xC3\xA9 ", "h='10' previd='\xC3\xA9 '", 10}};
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true};
  char script[2000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *previd = strchr(rows[i].written, 'p');
    o.previd = rows[i].id;
    o.h = rows[i].h;
    snprintf(script, sizeof script,
             LOGIN "S: $H$F" SM BIND "/>/$F\nC: $H<resume xmlns='urn:xmpp:sm:3' %s/>\n" RESUMED("%s h='1'") "RESUMED 1",
             rows[i].written, previd);
    play_as(&o, true, "secret", script);
  }
}

/* Another session than ours, or one whose `h` can't be read, can't be continued. */
static void what_is_resumed_must_be_ours(void **state) {
  static const char *const wrong[] = {
      "h='3'", "previd='' h='3'", "previd='id-2' h='3'", "previd='id-1 ' h='3'", "previd='ID-1' h='3'", "previd='id-1'",
      "previd='id-1' h=''", "previd='id-1' h='-1'", "previd='id-1' h='+1'", "previd='id-1' h=' 1'",
      "previd='id-1' h='1 '", "previd='id-1' h='0x1'", "previd='id-1' h='1e1'", "previd='id-1' h='1.0'",
      "previd='id-1' h='three'", "previd='id-1' h='4294967296'", "previd='id-1' h='00000000003'",
      "previd='id-1' h='18446744073709551617'", "previd='id-1' h='\xD9\xA3'"};
  char script[2000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    snprintf(script, sizeof script, TO_RESUME RESUMED("%s") "FAIL stream undefined-condition retry", wrong[i]);
    play_again(true, script);
  }
}

static void a_lost_session_is_followed_by_another(void **state) {
  (void)state;
#define FAILED "S: <failed xmlns='urn:xmpp:sm:3'"
  play_again(true, TO_RESUME FAILED NOT_FOUND REBOUND "LOST");
  play_again(true, TO_RESUME FAILED "/>\n" REBOUND "LOST");
  play_again(true, TO_RESUME FAILED " h='0'" NOT_FOUND REBOUND "LOST 0");
  play_again(true, TO_RESUME FAILED " h='4294967295'" NOT_FOUND REBOUND "LOST 4294967295");
  play_again(true, TO_RESUME FAILED " h='4294967296'" NOT_FOUND REBOUND "LOST");
  play_again(true, TO_RESUME FAILED " h='x'" NOT_FOUND REBOUND "LOST");
  play_again(true, TO_RESUME FAILED " h=''" NOT_FOUND REBOUND "LOST");
  play_again(true, TO_RESUME FAILED "/>\n" BINDS BOUND("eve@xmpp.example/lua") "FAIL bind wrong-jid");
  play_again(true, LOGIN "S: $H$F" SM "/$F\n" RESUME FAILED "/>\nFAIL bind not-offered");
}

static void without_the_offer_the_session_is_lost(void **state) {
  static const char *const offers[] = {"", "<sm xmlns='urn:xmpp:sm:2'/>", "<sm/>", "<resume xmlns='urn:xmpp:sm:3'/>",
                                       "<x xmlns='urn:x'>" SM "</x>"};
  char script[2000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof offers / sizeof *offers; i++) {
    snprintf(script, sizeof script,
             LOGIN "S: $H$F%s" BIND "/>/$F\nC: $H<iq*</iq>\n" BOUND("alice@xmpp.example/lua")
             "READY alice@xmpp.example/lua\nLOST", offers[i]);
    play_again(true, script);
  }
}

/* If only resuming is wanted, no resource is bound: it may be another client's by now. */
static void nothing_is_bound_where_only_resuming_is_wanted(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true, .previd = "id-1", .h = 7, .only_resume = true};
  (void)state;
  play_as(&o, true, "secret", TO_RESUME RESUMED("previd='id-1' h='3'") "RESUMED 3");
  play_as(&o, true, "secret", TO_RESUME FAILED NOT_FOUND "FAIL closed session-lost\nLOST");
  play_as(&o, true, "secret", TO_RESUME FAILED "/>\nFAIL closed session-lost\nLOST");
  play_as(&o, true, "secret", TO_RESUME FAILED " h='5'" NOT_FOUND "FAIL closed session-lost\nLOST 5");
  play_as(&o, true, "secret", LOGIN "C: $H\nS: $H$F" BIND "/>/$F\nFAIL closed session-lost\nLOST");
  play_as(&o, true, "secret", LOGIN "C: $H\nS: $H$F/$F\nFAIL closed session-lost\nLOST");
}

/* Before the answer, there may be nonzas of stream management, and stanzas, which neither side counts; anything else is
 * out of order. */
static void few_elements_may_precede_the_answer_to_resume(void **state) {
  static const char *const early[] = {
      "<message xmlns='urn:x'/>", "<resumed previd='id-1' h='3'/>", "<failed/>",
      "<enabled xmlns='urn:xmpp:sm:3' id='x'/>", "<r xmlns='urn:xmpp:sm:2'/>", "<stream:features/>",
      "<success " SASL "/>"};
  char script[2000];
  size_t i;
  (void)state;
  play_again(true, TO_RESUME "S: <r xmlns='urn:xmpp:sm:3'/>\nC: \nS: <a xmlns='urn:xmpp:sm:3' h='5'/>\nC: \n"
                             RESUMED("previd='id-1' h='3'") "RESUMED 3");
  play_again(true, TO_RESUME "S: <r xmlns='urn:xmpp:sm:3'/>\nC: \n" FAILED " h='5'/>\n" REBOUND "LOST 5");
  play_again(true, TO_RESUME "S: " EARLY "\nKEPT 3\n" RESUMED("previd='id-1' h='3'") "RESUMED 3");
  play_again(true, TO_RESUME "S: " EARLY "\nKEPT 3\n" FAILED " h='5'/>\n" REBOUND "LOST 5");
  play_again(true, TO_RESUME "S: <stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\n"
                             "FAIL stream reset retry");
  for (i = 0; i < sizeof early / sizeof *early; i++) {
    snprintf(script, sizeof script, TO_RESUME "S: %s\nFAIL stream bad-format", early[i]);
    play_again(true, script);
  }
}

/* What is sent ahead (XEP-0305). */

#define MECHANISMS(list) "S: $H$F<mechanisms " SASL ">" list "</mechanisms>/$F\n"
#define TWO "<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>"
#define TWO_TURNED "<mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism>"
#define SCRAM_AHEAD "C: $H<auth " SASL " mechanism='SCRAM-SHA-1'>*</auth>\n"
#define BIND_AHEAD "C: $H<iq type='set' id='*'>" BIND "><resource>lua</resource></bind></iq>\n"
#define TO_BIND_AHEAD OFFER "C: $H*</auth>\nS: <success " SASL "/>\nRESTART\n" BIND_AHEAD "AHEAD 4\n"
#define STARTTLS_AHEAD "C: $H" STARTTLS "/>\nAHEAD 1\n"
static void ahead_of(unsigned may, const char *offer) {
  ahead = (struct ahead){.may = may, .offer = offer};
}

static void not_ahead(void) {
  ahead_of(0, NULL);
}

static void starttls_is_said_ahead_where_it_must_be(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua"), domain = jid_of("xmpp.example");
  const xm_nego_options clear = {.jid = &jid, .plain = true}, component = {.jid = &domain, .component = true};
  (void)state;
  ahead_of(XM_NEGO_AHEAD_ALL, NULL);
  play(false, STARTTLS_AHEAD "S: $H$F" STARTTLS
                             "/>/$F\nC: \nAHEAD 1\n"
                             "S: <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\nAHEAD 0\nTLS\n" OFFER
                             "C: $H*</auth>\nWENT 1");
  play(false, STARTTLS_AHEAD "S: $H$F/$F\nFAIL tls starttls-not-offered\nOBJECTED 0");
  play(false, STARTTLS_AHEAD OFFER "FAIL tls starttls-not-offered");
  play(false,
       STARTTLS_AHEAD "S: $H<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\nFAIL stream bad-format\nOBJECTED 0");
  play(false, STARTTLS_AHEAD "S: $H$F" STARTTLS
                             "/>/$F<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n"
                             "FAIL tls failure retry\nOBJECTED 0");
  play_as(&clear, false, "secret", "C: $H\nAHEAD 0");
  play_as(&component, false, "secret", "C: *accept' to='xmpp.example'>\nAHEAD 0");
  ahead_of(XM_NEGO_AHEAD_ALL - XM_NEGO_AHEAD_STARTTLS, NULL);
  play(false, "C: $H\nS: $H$F" STARTTLS "/>/$F\nC: " STARTTLS "/>\nAHEAD 0\nWENT 0");
  not_ahead();
}

static void auth_is_said_ahead_if_the_offer_is_known(void **state) {
  (void)state;
  ahead_of(XM_NEGO_AHEAD_ALL, "PLAIN\x1ESCRAM-SHA-1");
  play(true, SCRAM_AHEAD "AHEAD 2\n" MECHANISMS(TWO) "C: \nS: <failure " SASL
                                                     "><not-authorized/></failure>\n"
                                                     "FAIL sasl not-authorized\nOBJECTED 0\nAHEAD 0");
  play(true, SCRAM_AHEAD MECHANISMS(TWO_TURNED) "C: \nS: <challenge " SASL
                                                ">cj1h</challenge>\n"
                                                "FAIL sasl malformed-challenge\nWENT 2");
  play(true, SCRAM_AHEAD "S: $H<challenge " SASL ">cj1h</challenge>\nFAIL stream bad-format\nOBJECTED 0");
  play(true, SCRAM_AHEAD "S: $H<success " SASL "/>\nFAIL stream bad-format");
  play(true, SCRAM_AHEAD MECHANISMS(TWO) "S: <success " SASL "/>\nFAIL sasl no-server-signature");
  play(true, SCRAM_AHEAD "S: $H$F/$F\nFAIL sasl no-mechanisms");
  ahead_of(XM_NEGO_AHEAD_STARTTLS | XM_NEGO_AHEAD_SESSION, "PLAIN\x1ESCRAM-SHA-1");
  play(true, "C: $H\n" MECHANISMS(TWO) "C: <auth *</auth>\nWENT 0");
  not_ahead();
}

/* Whatever has changed in the offer, another mechanism might have been chosen. */
static void a_changed_offer_is_an_objection(void **state) {
  static const char *const offers[] = {
      "<mechanism>SCRAM-SHA-1</mechanism>",
      "<mechanism>PLAIN</mechanism>",
      TWO "<mechanism>SCRAM-SHA-256</mechanism>",
      TWO "<mechanism>X</mechanism>",
      TWO "<mechanism>SCRAM-SHA-1-PLUS</mechanism>",
      TWO "<mechanism>PLAIN</mechanism>",
      "<mechanism>SCRAM-SHA-1</mechanism><mechanism>plain</mechanism>",
      "",
      TWO
      "</mechanisms><sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>"
      "</sasl-channel-binding><mechanisms xmlns='urn:x'>"};
  char script[2000];
  size_t i;
  (void)state;
  ahead_of(XM_NEGO_AHEAD_ALL, "PLAIN\x1ESCRAM-SHA-1");
  for (i = 0; i < sizeof offers / sizeof *offers; i++) {
    snprintf(script, sizeof script, SCRAM_AHEAD MECHANISMS("%s") "FAIL stream undefined-condition retry\nOBJECTED 34",
             offers[i]);
    play(true, script);
  }
  not_ahead();
}

/* <auth/> isn't sent ahead if it would show the password, without TLS, or if the mechanism isn't allowed. */
static void auth_is_not_said_ahead_otherwise(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options clear = {.jid = &jid, .plain = true}, other = {.jid = &jid, .mechanisms = "SCRAM-SHA-256"};
  const xm_nego_options certificate = {.jid = &jid, .certificate = true};
  static const char *const offers[] = {NULL, "PLAIN", "X\x1EY", "SCRAM-SHA-1-PLUS", "\x1E", "\x1F", "\x1F\x1E"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof offers / sizeof *offers; i++) {
    ahead_of(XM_NEGO_AHEAD_ALL, offers[i]);
    play(true, "C: $H\nAHEAD 0\n" OFFER AUTH "WENT 0");
  }
  ahead_of(XM_NEGO_AHEAD_ALL, "PLAIN\x1ESCRAM-SHA-1");
  play_as(&clear, false, "secret", "C: $H\nAHEAD 0");
  play_as(&other, true, "secret", "C: $H\nAHEAD 0");
  play_as(&clear, true, NULL, "C: $H\nAHEAD 0");
  ahead_of(XM_NEGO_AHEAD_ALL, "EXTERNAL\x1ESCRAM-SHA-1");
  play_as(&certificate, true, "secret", "C: $H\nAHEAD 0");
  not_ahead();
}

static void binding_is_asked_for_ahead(void **state) {
  (void)state;
  ahead_of(XM_NEGO_AHEAD_ALL, NULL);
  play(true, TO_BIND_AHEAD "S: $H$F" BIND "/>/$F\nC: \nAHEAD 4\n" BOUND(
                 "alice@xmpp.example/lua") "READY alice@xmpp.example/lua\nWENT 4\nAHEAD 0");
  play(true, TO_BIND_AHEAD "S: $H$F" BIND "/>/$F\n" BOUND("eve@xmpp.example/lua") "FAIL bind wrong-jid");
  play(true, TO_BIND_AHEAD "S: $H$F" BIND "/>/$F<iq id='$ID'/>\nFAIL stream bad-format");
  play(true, TO_BIND_AHEAD "S: $H" EARLY "\nKEPT 3\nAHEAD 4\nS: $F" BIND "/>/$F" EARLY "\nC: \nKEPT 3\nAHEAD 4\n"
       BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua\nWENT 4\nAHEAD 0");
  play(true, TO_BIND_AHEAD "S: $H$F" BIND "/>/$F" EARLY "\nKEPT 3\nS: " STREAM_ERROR("policy-violation")
       "FAIL stream policy-violation\nOBJECTED 4");
  play(true, TO_BIND_AHEAD "S: $H<iq type='result' id='$ID'>" BIND
                           "><jid>alice@xmpp.example/lua</jid></bind></iq>\n"
                           "FAIL stream bad-format\nOBJECTED 0");
  play(true, TO_BIND_AHEAD "S: $H$F/$F\nFAIL bind not-offered\nOBJECTED 0");
  play(true, TO_BIND_AHEAD
       "S: $H$F" BIND
       "/>/$F<iq type='error' id='$ID'><error type='cancel'>"
       "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>\nFAIL bind conflict\nOBJECTED 0");
  ahead_of(XM_NEGO_AHEAD_ALL - XM_NEGO_AHEAD_SESSION, NULL);
  play(true, TO_BIND "WENT 0");
  not_ahead();
}

static void resuming_is_asked_for_ahead(void **state) {
#define TO_RESUME_AHEAD LOGIN RESUME "AHEAD 4\n"
  (void)state;
  ahead_of(XM_NEGO_AHEAD_ALL, NULL);
  play_again(true, TO_RESUME_AHEAD "S: $H$F" SM BIND
                                   "/>/$F\nC: \n" RESUMED("previd='id-1' h='3'") "RESUMED 3\nWENT 4\nAHEAD 0");
  play_again(true, TO_RESUME_AHEAD "S: $H$F" SM BIND "/>/$F\nC: \n" FAILED " h='5'/>\n" REBOUND "LOST 5");
  play_again(true, TO_RESUME_AHEAD "S: $H$F" SM "/$F\nC: \n" FAILED "/>\nFAIL bind not-offered\nOBJECTED 0");
  play_again(true, TO_RESUME_AHEAD "S: $H$F" BIND "/>/$F\nFAIL stream undefined-condition retry\nOBJECTED 36");
  play_again(true, TO_RESUME_AHEAD "S: $H<resumed xmlns='urn:xmpp:sm:3' previd='id-1' h='3'/>\nFAIL stream bad-format");
  play_again(true, TO_RESUME_AHEAD "S: $H$F" SM BIND "/>/$F\n" RESUMED(
                       "previd='id-2' h='3'") "FAIL stream undefined-condition retry\nOBJECTED 0");
  not_ahead();
}

static void a_stream_error_may_be_an_objection(void **state) {
  (void)state;
  ahead_of(XM_NEGO_AHEAD_ALL, "PLAIN\x1ESCRAM-SHA-1");
  play(false, STARTTLS_AHEAD "S: $H" STREAM_ERROR("not-authorized") "FAIL stream not-authorized\nOBJECTED 1");
  play(false, STARTTLS_AHEAD "S: $H$F" STARTTLS
                             "/>/$F" STREAM_ERROR("policy-violation") "FAIL stream policy-violation\nOBJECTED 1");
  play(false, STARTTLS_AHEAD "S: $H" STREAM_ERROR("host-unknown") "FAIL stream host-unknown\nOBJECTED 0");
  play(true,
       SCRAM_AHEAD "S: $H" STREAM_ERROR("undefined-condition") "FAIL stream undefined-condition retry\nOBJECTED 2");
  play(true, SCRAM_AHEAD MECHANISMS(TWO) "C: \nS: " STREAM_ERROR(
                 "unsupported-stanza-type") "FAIL stream unsupported-stanza-type\nOBJECTED 2");
  play(true, SCRAM_AHEAD MECHANISMS(TWO) "S: " STREAM_ERROR(
                 "system-shutdown") "FAIL stream system-shutdown retry\nOBJECTED 0");
  ahead_of(XM_NEGO_AHEAD_ALL, NULL);
  play(true, TO_BIND_AHEAD "S: $H$F" BIND "/>/$F" STREAM_ERROR("bad-format") "FAIL stream bad-format\nOBJECTED 4");
  play(true, TO_BIND_AHEAD "S: $H$F" BIND "/>/$F" STREAM_ERROR("conflict") "FAIL stream conflict\nOBJECTED 0");
  not_ahead();
  play(true, TO_BIND "S: " STREAM_ERROR("bad-format") "FAIL stream bad-format\nOBJECTED 0");
}

static void what_can_be_said_ahead_next_time_is_told(void **state) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options o = {.jid = &jid, .plain = true};
  xm_nego *n = xm_nego_new(&o, "secret", 6);
  size_t len;
  (void)state;
  assert_null(xm_nego_offer(n, &len)); /* there was no login */
  n->login.choice.mech = &(const xm_mech){"SCRAM-SHA-1", XM_MECH_SCRAM, XM_SCRAM_SHA1, 0};
  xm_buf_puts(&n->login.offered, "SCRAM-SHA-1");
  assert_null(xm_nego_offer(n, &len));
  n->authenticated = true;
  assert_null(xm_nego_offer(n, &len)); /* an offer without TLS */
  n->secure = true;
  assert_memory_equal(xm_nego_offer(n, &len), "SCRAM-SHA-1", 11);
  assert_int_equal(len, 11);
  n->login.choice.mech = &(const xm_mech){"PLAIN", XM_MECH_PLAIN, XM_SCRAM_SHA1, 0};
  assert_null(xm_nego_offer(n, &len));
  xm_nego_free(n);
}

static const char plain_features[] =
    "<stream:features><mechanisms " SASL "><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
static const char scram_features[] =
    "<stream:features><mechanisms " SASL "><mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>";

static void run_out_of_memory(const char *offer, const char *const says[], unsigned went) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true, .previd = "id-1"};
  long n = 0;
  struct attempt a;
  do {
    attempt(&a, &o, n++, true, offer, says);
    assert_int_equal(a.fine, !a.failed);
    if (a.nego && a.failed) assert_string_equal(a.e.condition, "ENOMEM");
    if (a.fine) assert_int_equal(xm_nego_went_ahead(a.nego), went);
    attempt_end(&a);
  } while (a.failed);
  assert_true(n > 6);
}

static void memory_that_runs_out_is_told(void **state) {
  const char *const whole[] = {a_header, plain_features, "<success " SASL "/>",
                               a_header, "<stream:features>" SM BIND "/></stream:features>", "<failed xmlns='urn:xmpp:sm:3'/>", NULL};
  const char *const begun[] = {a_header, scram_features, NULL};
  (void)state;
  run_out_of_memory("PLAIN", whole, 0);
  ahead_of(XM_NEGO_AHEAD_ALL, NULL);
  run_out_of_memory("PLAIN", whole, XM_NEGO_AHEAD_SESSION);
  run_out_of_memory("SCRAM-SHA-1", begun, XM_NEGO_AHEAD_AUTH);
  not_ahead();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_login_from_the_header_to_the_session),
      cmocka_unit_test(an_older_server_is_asked_for_a_session),
      cmocka_unit_test(what_is_offered_again_is_passed_over),
      cmocka_unit_test(what_is_offered_after_the_login_is_noted),
      cmocka_unit_test(what_is_offered_without_end_is_not_kept),
      cmocka_unit_test(nothing_secret_is_said_in_the_clear),
      cmocka_unit_test(an_anonymous_login_does_not_send_the_jid),
      cmocka_unit_test(a_resource_is_the_servers_to_choose),
      cmocka_unit_test(the_bound_address_is_ours),
      cmocka_unit_test(a_stringprep_server_may_fold_the_localpart_further),
      cmocka_unit_test(a_refused_resource_has_its_condition),
      cmocka_unit_test(every_refused_login_has_its_condition),
      cmocka_unit_test(a_malformed_success_is_refused),
      cmocka_unit_test(elements_out_of_order_are_refused),
      cmocka_unit_test(what_comes_before_the_session_is_kept_for_it),
      cmocka_unit_test(nothing_is_kept_before_a_component_is_authenticated),
      cmocka_unit_test(a_stream_error_ends_it_anywhere),
      cmocka_unit_test(versions_below_one_are_refused),
      cmocka_unit_test(passwords_are_prepared_or_refused),
      cmocka_unit_test(a_component_proves_its_secret),
      cmocka_unit_test(what_proves_the_password_is_marked_secret),
      cmocka_unit_test(a_session_is_resumed),
      cmocka_unit_test(resuming_waits_for_the_login),
      cmocka_unit_test(the_old_id_is_said_as_it_was),
      cmocka_unit_test(what_is_resumed_must_be_ours),
      cmocka_unit_test(a_lost_session_is_followed_by_another),
      cmocka_unit_test(without_the_offer_the_session_is_lost),
      cmocka_unit_test(nothing_is_bound_where_only_resuming_is_wanted),
      cmocka_unit_test(few_elements_may_precede_the_answer_to_resume),
      cmocka_unit_test(starttls_is_said_ahead_where_it_must_be),
      cmocka_unit_test(auth_is_said_ahead_if_the_offer_is_known),
      cmocka_unit_test(a_changed_offer_is_an_objection),
      cmocka_unit_test(auth_is_not_said_ahead_otherwise),
      cmocka_unit_test(binding_is_asked_for_ahead),
      cmocka_unit_test(resuming_is_asked_for_ahead),
      cmocka_unit_test(a_stream_error_may_be_an_objection),
      cmocka_unit_test(what_can_be_said_ahead_next_time_is_told),
      cmocka_unit_test(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
