/* nego: plays (play.h) of a login in one exchange: SASL2 (XEP-0388), with a resource bound inside of it (XEP-0386), a
 * session resumed (XEP-0198), and tokens (XEP-0484); what a server may do wrong or differently there, as tables; and
 * the same when memory runs out. t_sasl_matrix tests each mechanism. */
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

#define SASL2 "xmlns='urn:xmpp:sasl:2'"
#define AGENT "d4565fa7-4d72-4749-b3d3-740edbf87770"
#define AUTHENTICATION(mechanism, inside) \
  "<authentication " SASL2 "><mechanism>" mechanism "</mechanism><inline>" inside "</inline></authentication>"
#define IN_BIND "<bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:sm:3'/><feature var='urn:xmpp:carbons:2'/>" \
  "<feature var='urn:xmpp:csi:0'/></inline></bind>"
#define IN_SM "<sm xmlns='urn:xmpp:sm:3'/>"
#define IN_FAST "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism></fast>"
#define EVERYTHING IN_BIND IN_SM IN_FAST
#define BOTH "<mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism>"
#define FEATURES2(inside) "S: $H$F" AUTHENTICATION("PLAIN", inside) "/$F\n"

#define SAYS_PLAIN "<authenticate " SASL2 " mechanism='PLAIN'><initial-response>AGFsaWNlAHNlY3JldA==</initial-response>"
#define PROOF "YWxpY2UA11g122ng2uh3t/IDK7KxruYDTdATzHVrWktXjtHq9mA="
#define DATA(base64) "<additional-data>" base64 "</additional-data>"
#define ANSWER "r+K0Mek/nCJXRJSXhNzd8wXNmb/iW2OTxSxFeEiQLy0="
#define REFLECTED "11g122ng2uh3t/IDK7KxruYDTdATzHVrWktXjtHq9mA="
#define SAYS_TOKEN "<authenticate " SASL2 " mechanism='HT-SHA-256-EXPR'><initial-response>" PROOF "</initial-response>"
#define USER_AGENT "<user-agent id='" AGENT "'/>"
#define BINDS2 "<bind xmlns='urn:xmpp:bind:0'><tag>lua</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>"
#define RESUMES2 "<resume xmlns='urn:xmpp:sm:3' h='7' previd='id-1'/>"
#define ASKS "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-EXPR'/>"
#define SHOWS "<fast xmlns='urn:xmpp:fast:0'/>"

#define WHO_IS(jid) "<authorization-identifier>" jid "</authorization-identifier>"
#define WHO WHO_IS("alice@xmpp.example/lua~x")
#define WHO_BARE WHO_IS("alice@xmpp.example")
#define SUCCESS(inside) "<success " SASL2 ">" inside "</success>"
#define FAILURE(condition) "<failure " SASL2 "><" condition " " SASL "/></failure>"
#define CONTINUE(inside) "<continue " SASL2 ">" inside "</continue>"
#define BOUND2(inside) "<bound xmlns='urn:xmpp:bind:0'>" inside "</bound>"
#define NOT_BOUND "<failed xmlns='urn:xmpp:bind:0'>"
#define ENABLED(attributes) "<enabled xmlns='urn:xmpp:sm:3' " attributes "/>"
#define RESUMED2 "<resumed xmlns='urn:xmpp:sm:3' previd='id-1' h='3'/>"
#define LOST2(inside) "<failed xmlns='urn:xmpp:sm:3'" inside "</failed>"
#define TOKEN(token, expiry) "<token xmlns='urn:xmpp:fast:0' token='" token "' expiry='" expiry "'/>"
#define FRESH TOKEN("t2", "2099-01-01T00:00:00Z")
#define FRESH_IS "HT-SHA-256-EXPR t2 4070908800"
#define ME "alice@xmpp.example/lua~x"
#define THEN_BINDS "S: $F" BIND "/>/$F\nC: <iq type='set' id='*'>" BIND "/></iq>\n" BOUND("alice@xmpp.example/r") \
  "READY alice@xmpp.example/r\n"
#define FEATURES_BEHIND "S: $F<x xmlns='u:x'/>/$F\n"
#define STANZAS "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"

/* How to log in: by SASL2 and nothing else; with a resource bound inside, and asking for a token; the same, resuming
 * the old session; the same, without a new session if that fails; by a token; by a token, without a password. */
enum who { ALONE, BINDING, RESUMING, ONLY_RESUMING, SHOWING, SHOWING_ONLY };

static void options_of(enum who who, const xm_jid *jid, xm_token *token, xm_nego_options *o) {
  *token = (xm_token){.n = 5, .bytes = "t0k3n", .mechanism = "HT-SHA-256-EXPR"};
  *o = (xm_nego_options){.jid = jid, .plain = true, .need_tls = true, .sasl2 = true};
  if (who >= BINDING) {
    o->bind2 = o->sm = o->resumable = o->fast = true;
    o->tag = "lua";
    o->agent = AGENT;
  }
  if (who == RESUMING || who == ONLY_RESUMING) o->previd = "id-1", o->h = 7;
  o->only_resume = who == ONLY_RESUMING;
  if (who >= SHOWING) o->token = token;
}

static void play2(enum who who, const char *script) {
  const xm_jid jid = jid_of("alice@xmpp.example");
  xm_token token;
  xm_nego_options o;
  options_of(who, &jid, &token, &o);
  play_as(&o, true, who == SHOWING_ONLY ? NULL : "secret", script);
}

static int with_channel(void **state) {
  (void)state;
  channel = (xm_mech_channel){0x0304, {{20, "THIS IS FAKE CB DATA"}, {0, ""}, {0, ""}}};
  return 0;
}

/* What each of them sends to a server that offers everything. */
static const char *const logins[] = {
    FEATURES2(EVERYTHING) "C: $H" SAYS_PLAIN "</authenticate>\n",
    FEATURES2(EVERYTHING) "C: $H" SAYS_PLAIN USER_AGENT BINDS2 ASKS "</authenticate>\n",
    FEATURES2(EVERYTHING) "C: $H" SAYS_PLAIN USER_AGENT RESUMES2 BINDS2 ASKS "</authenticate>\n",
    FEATURES2(EVERYTHING) "C: $H" SAYS_PLAIN USER_AGENT RESUMES2 ASKS "</authenticate>\n",
    FEATURES2(EVERYTHING) "C: $H" SAYS_TOKEN USER_AGENT BINDS2 SHOWS "</authenticate>\n",
    FEATURES2(EVERYTHING) "C: $H" SAYS_TOKEN USER_AGENT BINDS2 SHOWS "</authenticate>\n",
};

static void everything_takes_one_exchange(void **state) {
  (void)state;
  play2(ALONE, FEATURES2("") "C: $H" SAYS_PLAIN "</authenticate>\nS: " SUCCESS(WHO_BARE) "\nC: \n" THEN_BINDS
        "ANEW\nENABLED \nTOKEN unused");
  play2(BINDING, FEATURES2(EVERYTHING) "C: $H" SAYS_PLAIN USER_AGENT BINDS2 ASKS "</authenticate>\n"
        "S: " SUCCESS(BOUND2(ENABLED("id='s1' resume='true' max='60'")) FRESH WHO) "\nC: \n" FEATURES_BEHIND
        "READY " ME "\nANEW\nOFFERS u:x\nENABLED s1 60 -\nTOKEN unused " FRESH_IS);
  play2(RESUMING, FEATURES2(EVERYTHING) "C: $H" SAYS_PLAIN USER_AGENT RESUMES2 BINDS2 ASKS "</authenticate>\n"
        "S: " SUCCESS(RESUMED2 FRESH WHO) "\nRESUMED 3\nENABLED \nTOKEN unused " FRESH_IS);
  play2(SHOWING, FEATURES2(EVERYTHING) "C: $H" SAYS_TOKEN USER_AGENT BINDS2 SHOWS "</authenticate>\n"
        "S: " SUCCESS(DATA(ANSWER) BOUND2("") FRESH WHO) "\n" FEATURES_BEHIND
        "READY " ME "\nENABLED \nTOKEN worked " FRESH_IS);
}

/* Only what is offered is asked for. */
static void only_what_is_offered_inside_is_asked_for(void **state) {
  static const struct {
    const char *offered, *said;
  } rows[] = {
      {"", USER_AGENT},
      {IN_BIND, USER_AGENT BINDS2},
      {"<bind xmlns='urn:xmpp:bind:0'/>", USER_AGENT "<bind xmlns='urn:xmpp:bind:0'><tag>lua</tag></bind>"},
      {"<bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:sm:2'/><feature/></inline></bind>",
       USER_AGENT "<bind xmlns='urn:xmpp:bind:0'><tag>lua</tag></bind>"},
      {IN_SM, USER_AGENT RESUMES2},
      {IN_FAST, USER_AGENT ASKS},
      {IN_SM IN_BIND, USER_AGENT RESUMES2 BINDS2},
      {"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:2'/><fast xmlns='urn:x'><mechanism>HT-SHA-256-EXPR"
       "</mechanism></fast>", USER_AGENT},
      {"<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast>", USER_AGENT},
      {"<fast xmlns='urn:xmpp:fast:0' tls-0rtt='true'><mechanism>HT-SHA-256-EXPR</mechanism></fast>", USER_AGENT ASKS}, /* 60 */
  };
  char script[4000];
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    snprintf(script, sizeof script, "S: $H$F" AUTHENTICATION("PLAIN", "%s") "/$F\nC: $H" SAYS_PLAIN "%s</authenticate>\n",
             rows[i].offered, rows[i].said);
    play2(RESUMING, script);
  }
}

/* The hazards in the table of the design (login.md 7), by their numbers, and failures of a token (0: login.md 3.7):
 * what the server sends to the login, and what follows. */
static const struct hazard {
  int number;
  enum who who;
  const char *says, *comes;
} hazards[] = {
    {18, ALONE, SUCCESS(WHO_BARE) SUCCESS(WHO_BARE), "FAIL stream bad-format"},
    {18, BINDING, SUCCESS(BOUND2("") WHO) "<iq type='result' id='x'/>" SUCCESS(WHO), "BEFORE " ME},
    {19, SHOWING, SUCCESS(BOUND2("") WHO), "FAIL sasl bad-server-signature\nTOKEN shown"},
    {19, SHOWING, SUCCESS(BOUND2("") FRESH WHO), "FAIL sasl bad-server-signature\nTOKEN shown"},
    {20, SHOWING, SUCCESS(DATA(REFLECTED) BOUND2("") WHO),
     "FAIL sasl bad-server-signature\nTOKEN shown"},
    {20, SHOWING_ONLY, SUCCESS(DATA("AAAA") BOUND2("") WHO),
     "FAIL sasl bad-server-signature\nTOKEN shown"},
    {21, SHOWING, "<challenge " SASL2 ">AAAA</challenge>", "FAIL sasl unexpected-challenge\nTOKEN shown"},
    {22, ALONE, "<challenge " SASL2 "><x/></challenge>", "FAIL sasl incorrect-encoding"},
    {24, BINDING, "<success " SASL "/>", "FAIL stream bad-format"},
    {24, BINDING, "<challenge " SASL "/>", "FAIL stream bad-format"},
    {24, BINDING, "<failure " SASL "><not-authorized/></failure>", "FAIL stream bad-format"},
    {25, ALONE, SUCCESS(WHO_BARE WHO_BARE), "FAIL stream bad-format"},
    {25, BINDING, SUCCESS(BOUND2("") WHO WHO_BARE), "FAIL stream bad-format"},
    {25, SHOWING, SUCCESS(DATA(ANSWER) DATA(ANSWER) BOUND2("") WHO),
     "FAIL sasl incorrect-encoding\nTOKEN shown"},
    {26, ALONE, SUCCESS(""), "FAIL bind invalid-jid"},
    {26, BINDING, SUCCESS(BOUND2("")), "FAIL bind invalid-jid"},
    {26, RESUMING, SUCCESS(RESUMED2), "FAIL bind invalid-jid"},
    {26, BINDING, SUCCESS(BOUND2(WHO)), "FAIL bind invalid-jid"},
    {26, BINDING, SUCCESS(BOUND2("") "<authorization-identifier " SASL ">" ME "</authorization-identifier>"),
     "FAIL bind invalid-jid"},
    {27, ALONE, SUCCESS(WHO_IS("eve@xmpp.example")), "FAIL bind wrong-jid"},
    {27, BINDING, SUCCESS(BOUND2("") WHO_IS("eve@xmpp.example/lua")), "FAIL bind wrong-jid"},
    {27, BINDING, SUCCESS(BOUND2("") WHO_IS("alice@evil.example/lua")), "FAIL bind wrong-jid"},
    {27, BINDING, SUCCESS(BOUND2("") WHO_IS("alice@xmpp.example.evil.example/lua")), "FAIL bind wrong-jid"},
    {27, BINDING, SUCCESS(BOUND2("") WHO_IS("xmpp.example/lua")), "FAIL bind wrong-jid"},
    {27, BINDING, SUCCESS(BOUND2("") WHO_IS("@/")), "FAIL bind invalid-jid"},
    {27, RESUMING, SUCCESS(RESUMED2 WHO_IS("eve@xmpp.example")), "FAIL bind wrong-jid"},
    {27, ALONE, SUCCESS(WHO_IS("")), "FAIL bind invalid-jid"},
    {27, ALONE, SUCCESS("<authorization-identifier><x>alice@xmpp.example</x></authorization-identifier>"),
     "FAIL bind invalid-jid"},
    {28, ALONE, SUCCESS(WHO), "C: \n" THEN_BINDS},
    {29, BINDING, SUCCESS(BOUND2("") WHO_BARE), "FAIL bind invalid-jid"},
    {29, BINDING, SUCCESS(BOUND2("") WHO_IS("alice@xmpp.example/")), "FAIL bind invalid-jid"},
    {30, RESUMING, SUCCESS(RESUMED2 WHO_BARE), "RESUMED 3"},
    {31, BINDING, SUCCESS(BOUND2("") WHO_IS("ALICE@XMPP.example/x")) "<message/>", "BEFORE ALICE@XMPP.example/x"},
    {32, RESUMING, SUCCESS(BOUND2("") RESUMED2 WHO), "FAIL stream undefined-condition retry"},
    {32, RESUMING, SUCCESS(LOST2(">") RESUMED2 WHO), "FAIL stream undefined-condition retry"},
    {32, BINDING, SUCCESS(BOUND2("") NOT_BOUND "</failed>" WHO), "FAIL stream undefined-condition retry"},
    {32, BINDING, SUCCESS(BOUND2("") BOUND2("") WHO), "FAIL stream bad-format"},
    {32, RESUMING, SUCCESS(RESUMED2 RESUMED2 WHO), "FAIL stream bad-format"},
    {33, BINDING, SUCCESS(RESUMED2 WHO), "FAIL stream undefined-condition retry"},
    {33, ALONE, SUCCESS(RESUMED2 WHO), "FAIL stream undefined-condition retry"},
    {33, ALONE, SUCCESS(BOUND2("") WHO), "FAIL stream undefined-condition retry"},
    {33, ONLY_RESUMING, SUCCESS(BOUND2("") WHO), "FAIL stream undefined-condition retry"},
    {33, RESUMING, SUCCESS("<resumed xmlns='urn:xmpp:sm:3' previd='id-2' h='3'/>" WHO), "FAIL stream undefined-condition retry"},
    {33, RESUMING, SUCCESS("<resumed xmlns='urn:xmpp:sm:3' previd='id-1'/>" WHO), "FAIL stream undefined-condition retry"},
    {33, RESUMING, SUCCESS("<resumed xmlns='urn:xmpp:sm:3' h='3'/>" WHO), "FAIL stream undefined-condition retry"},
    {33, RESUMING, SUCCESS("<resumed xmlns='urn:xmpp:sm:3' previd='id-1' h='4294967296'/>" WHO),
     "FAIL stream undefined-condition retry"},
    {34, RESUMING, SUCCESS(LOST2(" h='4294967295'>") BOUND2("") WHO) "<message/>", "BEFORE " ME "\nLOST 4294967295"},
    {34, RESUMING, SUCCESS(LOST2(" h='-1'>") BOUND2("") WHO) "<message/>", "BEFORE " ME "\nLOST"},
    {35, RESUMING, SUCCESS(LOST2("><error type='cancel'><item-not-found " STANZAS "/></error>") BOUND2("") WHO) "<message/>",
     "BEFORE " ME "\nLOST"},
    {35, RESUMING, SUCCESS(LOST2(" h='5'><item-not-found " STANZAS "/>") BOUND2(ENABLED("id='s2' resume='1'")) WHO) "<message/>",
     "BEFORE " ME "\nLOST 5\nENABLED s2 0 -"},
    {35, ONLY_RESUMING, SUCCESS(LOST2(" h='5'>") WHO_BARE) "$F" BIND "/>/$F", "FAIL closed session-lost\nLOST 5"},
    {36, RESUMING, SUCCESS(BOUND2("") WHO) "<message/>", "BEFORE " ME "\nLOST"},
    {36, RESUMING, SUCCESS(LOST2(">") WHO_BARE), "C: \nLOST\n" THEN_BINDS "LOST"}, /* binds on its own then */
    {36, RESUMING, SUCCESS(WHO_BARE), "C: \nS: $F" SM BIND "/>/$F\nC: <resume xmlns='urn:xmpp:sm:3' h='7' previd='id-1'/>"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("id='s1'")) WHO) "<message/>", "BEFORE " ME "\nENABLED - 0 -"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("resume='true'")) WHO) "<message/>", "BEFORE " ME "\nENABLED - 0 -"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("id='s1' resume='1' max='60' location='h:1'")) WHO) "<message/>",
     "BEFORE " ME "\nENABLED s1 60 h:1"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("id='s1' resume='maybe' max='60'")) WHO) "<message/>", "BEFORE " ME "\nENABLED - 60 -"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("id='s1' resume='false'")) WHO) "<message/>", "BEFORE " ME "\nENABLED - 0 -"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("id='s1' resume='true' max='soon'")) WHO) "<message/>", "BEFORE " ME "\nENABLED s1 0 -"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("id='s1' resume='true' max='-1'")) WHO) "<message/>", "BEFORE " ME "\nENABLED s1 0 -"},
    {37, BINDING, SUCCESS(BOUND2(ENABLED("id='s1' resume='true' max='99999999999999999999'")) WHO) "<message/>",
     "BEFORE " ME "\nENABLED s1 0 -"},
    {38, BINDING, SUCCESS(BOUND2("") ENABLED("id='s1' resume='true'") WHO) "<message/>", "BEFORE " ME "\nENABLED "},
    {38, ALONE, SUCCESS(ENABLED("id='s1' resume='true'") WHO_BARE), "C: \n" THEN_BINDS "ENABLED "},
    {38, BINDING, SUCCESS(BOUND2(ENABLED("id='s1'") ENABLED("id='s2'")) WHO), "FAIL stream bad-format"},
    {38, BINDING, SUCCESS(BOUND2("<enabled xmlns='urn:xmpp:carbons:2'/>") WHO) "<message/>", "BEFORE " ME "\nENABLED "},
    {39, BINDING, SUCCESS(BOUND2("") WHO) "$F" SM "/$F", "READY " ME "\nENABLED \nOFFERS urn:xmpp:sm:3"},
    {39, BINDING, SUCCESS(BOUND2("<failed xmlns='urn:xmpp:sm:3'/>") WHO) "<message/>", "BEFORE " ME "\nENABLED "},
    {40, BINDING, "$F/$F", "FAIL stream bad-format"},
    {40, BINDING, SUCCESS(BOUND2("") WHO) "$F/$F$F/$F", "FAIL stream bad-format"}, /* link gives nego the first only */
    {40, ALONE, SUCCESS(WHO_BARE) "$F/$F", "FAIL bind not-offered"},
    {42, BINDING, SUCCESS(BOUND2("") WHO) "<message/>", "BEFORE " ME},
    {42, BINDING, SUCCESS(BOUND2("") WHO) "<r xmlns='urn:xmpp:sm:3'/>", "BEFORE " ME},
    {42, ALONE, SUCCESS(WHO_BARE) "<message/>", "KEPT 1"}, /* no resource is bound yet */
    {43, BINDING, "<message/>", "FAIL stream bad-format"},
    {43, SHOWING, "<iq type='get' id='1'/>", "FAIL stream bad-format\nTOKEN shown"},
    {45, SHOWING, "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
     "FAIL stream reset retry\nTOKEN shown"},
    {45, BINDING, SUCCESS(BOUND2("") WHO) "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
     "FAIL stream conflict"},
    {46, BINDING, CONTINUE("<tasks><task>X-TOTP</task><task>HOTP</task></tasks>"), "FAIL sasl task-required"},
    {46, BINDING, CONTINUE(""), "FAIL sasl task-required"},
    {46, SHOWING, CONTINUE("<additional-data>" ANSWER "</additional-data><tasks><task>x</task></tasks>"),
     "FAIL sasl task-required\nTOKEN worked"},
    {47, SHOWING, CONTINUE("<additional-data>" REFLECTED "</additional-data><tasks><task>x</task></tasks>"),
     "FAIL sasl bad-server-signature\nTOKEN shown"},
    {48, BINDING, "<task-data " SASL2 "/>", "FAIL stream bad-format"},
    {48, BINDING, SUCCESS(BOUND2("") WHO) "<task-data " SASL2 "/>", "BEFORE " ME}, /* and it isn't given out */
    {50, BINDING, SUCCESS(BOUND2("") "<token xmlns='urn:xmpp:fast:0' expiry='2099-01-01T00:00:00Z'/>" WHO), "TOKEN unused"},
    {50, BINDING, SUCCESS(BOUND2("") "<token xmlns='urn:xmpp:fast:0' token='t2'/>" WHO), "TOKEN unused"},
    {50, BINDING, SUCCESS(BOUND2("") TOKEN("", "2099-01-01T00:00:00Z") WHO), "TOKEN unused"},
    {50, BINDING, SUCCESS(BOUND2("") "<token xmlns='urn:x' token='t2' expiry='2099-01-01T00:00:00Z'/>" WHO), "TOKEN unused"},
    {50, BINDING, SUCCESS(BOUND2(FRESH) WHO), "TOKEN unused"},
    {51, BINDING, "<failure " SASL2 "><not-authorized " SASL "/>" FRESH "</failure>", "FAIL sasl not-authorized\nTOKEN unused"},
    {51, BINDING, CONTINUE(FRESH), "FAIL sasl task-required\nTOKEN unused"},
    {51, BINDING, SUCCESS(BOUND2("") WHO) FRESH, "BEFORE " ME "\nTOKEN unused"},
    {52, SHOWING, SUCCESS(DATA(ANSWER) BOUND2("") FRESH WHO), "TOKEN worked " FRESH_IS},
    {52, ALONE, SUCCESS(FRESH WHO), "TOKEN unused"}, /* without a user agent it can't be used */
    {54, BINDING, SUCCESS(BOUND2("") FRESH FRESH WHO), "TOKEN unused"},
    {55, BINDING, SUCCESS(BOUND2("") TOKEN("t2", "soon") WHO), "TOKEN unused HT-SHA-256-EXPR t2 0"},
    {55, BINDING, SUCCESS(BOUND2("") TOKEN("t2", "2001-09-09T01:46:40Z") WHO), "TOKEN unused HT-SHA-256-EXPR t2 1000000000"},
    {55, BINDING, SUCCESS(BOUND2("") TOKEN("t2", "9999-12-31T23:59:59Z") WHO), "TOKEN unused HT-SHA-256-EXPR t2 253402300799"},
    {65, BINDING, "<failure " SASL2 "><not-authorized " SASL "/><text>a&#10;b&lt;c&gt;&#13;</text></failure>",
     "FAIL sasl not-authorized"},
    {66, BINDING, "<failure " SASL2 "/>", "FAIL sasl undefined-condition"},
    {66, BINDING, "<failure " SASL2 "><x xmlns='urn:x'/><temporary-auth-failure/></failure>",
     "FAIL sasl temporary-auth-failure retry"},
    {66, BINDING, FAILURE("x-made-up"), "FAIL sasl undefined-condition"},
    {66, BINDING, SUCCESS(NOT_BOUND "<resource-constraint " STANZAS "/></failed>" WHO_BARE),
     "FAIL bind resource-constraint retry"},
    {66, BINDING, SUCCESS(NOT_BOUND "<error type='cancel'><conflict " STANZAS "/></error></failed>" WHO_BARE),
     "FAIL bind conflict"},
    {66, BINDING, SUCCESS(NOT_BOUND "</failed>" WHO_BARE), "FAIL bind undefined-condition"},
    {0, SHOWING, FAILURE("not-authorized"), "C: " SAYS_PLAIN USER_AGENT BINDS2 ASKS "</authenticate>\nTOKEN refused\n"
     "S: " SUCCESS(BOUND2("") FRESH WHO) "<message/>\nBEFORE " ME "\nTOKEN refused " FRESH_IS},
    {0, SHOWING, FAILURE("malformed-request"), "C: " SAYS_PLAIN USER_AGENT BINDS2 ASKS "</authenticate>\nTOKEN shown"},
    {0, SHOWING_ONLY, FAILURE("not-authorized"), "FAIL sasl not-authorized\nTOKEN refused"},
    {0, SHOWING_ONLY, FAILURE("malformed-request"), "FAIL sasl malformed-request\nTOKEN shown"},
    {0, SHOWING_ONLY, FAILURE("temporary-auth-failure"), "FAIL sasl temporary-auth-failure retry\nTOKEN shown"},
    {0, SHOWING, FAILURE("account-disabled"), "FAIL sasl account-disabled\nTOKEN refused"},
};
enum { HAZARDS = sizeof hazards / sizeof *hazards };

static void every_hazard_has_the_expected_outcome(void **state) {
  static char script[16384];
  size_t i;
  (void)state;
  assert_true(HAZARDS >= 40);
  for (i = 0; i < HAZARDS; i++) {
    snprintf(script, sizeof script, "%sS: %s\n%s", logins[hazards[i].who], hazards[i].says, hazards[i].comes);
    play2(hazards[i].who, script);
  }
}

/* 27, 50, 65: texts of any length. */
static void texts_of_any_length_are_handled(void **state) {
  static char script[65536], text[30000];
  (void)state;
  memset(text, 'x', sizeof text - 1);
  snprintf(script, sizeof script, "%sS: " SUCCESS(BOUND2("") "<authorization-identifier>alice@xmpp.example/%.4000s"
           "</authorization-identifier>") "\nFAIL bind invalid-jid", logins[BINDING], text);
  play2(BINDING, script);
  snprintf(script, sizeof script, "%sS: <failure " SASL2 "><not-authorized " SASL "/><text>%s</text></failure>\n"
           "FAIL sasl not-authorized", logins[BINDING], text);
  play2(BINDING, script);
  snprintf(script, sizeof script, "%sS: " CONTINUE("<tasks><task>%s</task><task>x</task></tasks>") "\nFAIL sasl task-required",
           logins[BINDING], text);
  play2(BINDING, script);
  snprintf(script, sizeof script, "%sS: " SUCCESS(BOUND2("") TOKEN("%.1024s", "2099-01-01T00:00:00Z") WHO) "\nTOKEN unused "
           "HT-SHA-256-EXPR %.1024s 4070908800", logins[BINDING], text, text);
  play2(BINDING, script);
  snprintf(script, sizeof script, "%sS: " SUCCESS(BOUND2("") TOKEN("%.1025s", "2099-01-01T00:00:00Z") WHO) "\nTOKEN unused",
           logins[BINDING], text);
  play2(BINDING, script);
}

/* 70: XEP-0478, limits. What goes inside is left out first, then the login fails. */
static void a_server_may_limit_the_size_of_elements(void **state) {
#define LIMITED(n) "S: $H$F" AUTHENTICATION("PLAIN", EVERYTHING) "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>" n \
  "</max-bytes></limits>/$F\n"
#define ALL_SAID "C: $H" SAYS_PLAIN USER_AGENT BINDS2 ASKS "</authenticate>"
#define BY_TOKEN SAYS_TOKEN USER_AGENT BINDS2 SHOWS "</authenticate>"
#define BARE_SAID "C: $H" SAYS_PLAIN USER_AGENT "</authenticate>"
  char script[4000];
  (void)state;
  play2(BINDING, LIMITED("10000") ALL_SAID);
  play2(BINDING, LIMITED("200") BARE_SAID "\nS: " SUCCESS(WHO_BARE) "\nC: \n" THEN_BINDS);
  play2(BINDING, LIMITED("200") BARE_SAID "\nS: " SUCCESS(BOUND2("") WHO) "\nFAIL stream undefined-condition retry");
  play2(RESUMING, LIMITED("200") BARE_SAID "\nS: " SUCCESS(RESUMED2 WHO) "\nFAIL stream undefined-condition retry");
  play2(BINDING, LIMITED("200") BARE_SAID "\nS: " SUCCESS(FRESH WHO) "\nTOKEN unused");
  play2(BINDING, LIMITED("100") "C: $H\nFAIL stream policy-violation");
  play2(BINDING, LIMITED("1") "C: $H\nFAIL stream policy-violation");
  play2(BINDING, LIMITED("0") ALL_SAID); /* a limit of no use is ignored */
  play2(BINDING, LIMITED("") ALL_SAID);
  play2(BINDING, LIMITED("-1") ALL_SAID);
  play2(BINDING, LIMITED("many") ALL_SAID);
  play2(BINDING, LIMITED("99999999999999999999") ALL_SAID);
  play2(ALONE, LIMITED("400") "C: $H" SAYS_PLAIN "</authenticate>");
  /* After a refused token, the login with a password would exceed the limit, unless less goes inside. */
  snprintf(script, sizeof script, "S: $H$F<authentication " SASL2 ">" BOTH "<inline>" EVERYTHING "</inline></authentication>"
           "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>%zu</max-bytes></limits>/$F\n"
           "C: $H" BY_TOKEN "\nS: " FAILURE("not-authorized") "\n"
           "C: <authenticate " SASL2 " mechanism='SCRAM-SHA-1'><initial-response>*</initial-response>" USER_AGENT "</authenticate>",
           strlen(BY_TOKEN));
  play2(SHOWING, script);
}

/* A classic resumption after a login that hasn't done it, and what else is done on the same stream. */
static void what_was_not_done_inside_follows_the_login(void **state) {
  (void)state;
  play2(RESUMING, FEATURES2("") "C: $H" SAYS_PLAIN USER_AGENT "</authenticate>\n"
        "S: " SUCCESS(WHO_BARE) "\nC: \nS: $F" SM BIND "/>/$F\n"
        "C: <resume xmlns='urn:xmpp:sm:3' h='7' previd='id-1'/>\n"
        "S: <resumed xmlns='urn:xmpp:sm:3' previd='id-1' h='3'/>\nRESUMED 3");
  play2(RESUMING, FEATURES2("") "C: $H" SAYS_PLAIN USER_AGENT "</authenticate>\n"
        "S: " SUCCESS(WHO_BARE) "\nC: \n" THEN_BINDS "LOST");
  play2(RESUMING, FEATURES2(IN_SM) "C: $H" SAYS_PLAIN USER_AGENT RESUMES2 "</authenticate>\n"
        "S: " SUCCESS(LOST2(" h='2'>") WHO_BARE) "\nC: \n" THEN_BINDS "LOST 2");
  play2(ONLY_RESUMING, FEATURES2(EVERYTHING) "C: $H" SAYS_PLAIN USER_AGENT RESUMES2 ASKS "</authenticate>\n"
        "S: " SUCCESS(RESUMED2 WHO) "\nRESUMED 3");
}

/* What is sent ahead (XEP-0305). */

#define OFFERED "PLAIN\x1ESCRAM-SHA-1"
#define TWO2(inside) "S: $H$F<authentication " SASL2 ">" BOTH "<inline>" inside "</inline></authentication>/$F\n"
#define SCRAM2_AHEAD "C: $H<authenticate " SASL2 " mechanism='SCRAM-SHA-1'>*" USER_AGENT BINDS2 ASKS "</authenticate>\nAHEAD 2\n"
#define TOKEN_AHEAD "C: $H" SAYS_TOKEN USER_AGENT BINDS2 SHOWS "</authenticate>\nAHEAD 2\n"

static unsigned everything(void) {
  return XM_INSIDE_BIND | XM_INSIDE_ENABLE | XM_INSIDE_CARBONS | XM_INSIDE_CSI | XM_INSIDE_RESUME |
         xm_mech_token_bit("HT-SHA-256-EXPR", 15);
}

static void everything_is_said_ahead(void **state) {
  (void)state;
  ahead = (struct ahead){XM_NEGO_AHEAD_ALL, OFFERED, XM_LOGIN_SASL2, everything()};
  play2(BINDING, SCRAM2_AHEAD TWO2(EVERYTHING) "C: \nAHEAD 2\nS: <challenge " SASL2 ">cj1h</challenge>\n"
        "FAIL sasl malformed-challenge\nWENT 2");
  play2(SHOWING, TOKEN_AHEAD TWO2(EVERYTHING) "C: \nS: " SUCCESS(DATA(ANSWER) BOUND2("") WHO)
        "<message/>\nBEFORE " ME "\nTOKEN worked\nWENT 2\nAHEAD 0");
  play2(SHOWING_ONLY, TOKEN_AHEAD TWO2(EVERYTHING) "C: \nS: " SUCCESS(DATA(REFLECTED) BOUND2("") WHO)
        "\nFAIL sasl bad-server-signature\nTOKEN shown");
  play2(SHOWING, TOKEN_AHEAD TWO2(EVERYTHING) "C: \nS: " FAILURE("not-authorized") "\n"
        "C: <authenticate " SASL2 " mechanism='SCRAM-SHA-1'>*" USER_AGENT BINDS2 ASKS "</authenticate>\nTOKEN refused");
  play2(BINDING, SCRAM2_AHEAD "S: $H" SUCCESS(BOUND2("") WHO) "\nFAIL stream bad-format");
  play2(BINDING, SCRAM2_AHEAD TWO2(EVERYTHING) "C: \nS: " SUCCESS(BOUND2("") WHO) "\nFAIL sasl no-server-signature");
  ahead = (struct ahead){0};
}

/* 67, 68: with another list, another profile, or other offers inside, the login begins anew. */
static void a_changed_offer_restarts_the_login(void **state) {
  static const char *const offers[] = {
      AUTHENTICATION("SCRAM-SHA-1", EVERYTHING),
      "<authentication " SASL2 "><mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism></authentication>",
      "<authentication " SASL2 ">" BOTH "<inline>" IN_SM IN_FAST "</inline></authentication>",
      "<authentication " SASL2 "><mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism><inline>" IN_BIND IN_SM
      "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>",
      "<authentication " SASL2 ">" BOTH "<inline>" EVERYTHING "</inline></authentication>"
      "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>",
      "<mechanisms " SASL "><mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>"};
  char script[4000];
  size_t i;
  (void)state;
  ahead = (struct ahead){XM_NEGO_AHEAD_ALL, OFFERED, XM_LOGIN_SASL2, everything()};
  for (i = 0; i < sizeof offers / sizeof *offers; i++) {
    snprintf(script, sizeof script, SCRAM2_AHEAD "S: $H$F%s/$F\nFAIL stream undefined-condition retry\nOBJECTED 34", offers[i]);
    play2(BINDING, script);
    snprintf(script, sizeof script, TOKEN_AHEAD "S: $H$F%s/$F\nFAIL stream undefined-condition retry\nOBJECTED 34\nTOKEN shown",
             offers[i]);
    play2(SHOWING, script);
  }
  ahead.profile = XM_LOGIN_SASL; /* a server that had only the older profile, and now has both */
  ahead.inside = 0;
  play2(ALONE, "C: $H<auth " SASL " mechanism='SCRAM-SHA-1'>*</auth>\n"
        "S: $H$F<mechanisms " SASL "><mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>"
        AUTHENTICATION("SCRAM-SHA-1", "") "/$F\nFAIL stream undefined-condition retry\nOBJECTED 34");
  ahead = (struct ahead){0};
}

/* Nothing is sent ahead that shows the password, or a token that isn't offered, or if no offer is known. */
static void what_reveals_the_password_is_not_said_ahead(void **state) {
  static const char *const offers[] = {NULL, "PLAIN", "X\x1EY"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof offers / sizeof *offers; i++) {
    ahead = (struct ahead){XM_NEGO_AHEAD_ALL, offers[i], XM_LOGIN_SASL2, everything()};
    play2(BINDING, "C: $H\nAHEAD 0\n" FEATURES2(EVERYTHING) "C: " SAYS_PLAIN USER_AGENT BINDS2 ASKS "</authenticate>\nWENT 0");
  }
  ahead = (struct ahead){XM_NEGO_AHEAD_ALL, "PLAIN", XM_LOGIN_SASL2, XM_INSIDE_BIND};
  play2(SHOWING, "C: $H\nAHEAD 0");
  ahead = (struct ahead){XM_NEGO_AHEAD_ALL, "PLAIN", XM_LOGIN_SASL2, everything()};
  play2(SHOWING, TOKEN_AHEAD);
  ahead = (struct ahead){XM_NEGO_AHEAD_ALL - XM_NEGO_AHEAD_AUTH, "PLAIN", XM_LOGIN_SASL2, everything()};
  play2(SHOWING, "C: $H\nAHEAD 0");
  ahead = (struct ahead){XM_NEGO_AHEAD_ALL, OFFERED, XM_LOGIN_SASL2, everything()};
  play(true, "C: $H\nAHEAD 0"); /* without SASL2 */
  ahead = (struct ahead){0};
}

/* 74: memory runs out at any place. Either the login has failed or it is valid; a token has come whole or not at all;
 * and if there is no memory for stream management, the session can't be resumed, but is the same otherwise. */

static void it_stands(const struct attempt *a, bool has_token) {
  const xm_token *fresh = xm_nego_new_token(a->nego);
  assert_int_equal(a->verdict, XM_NEGO_READY);
  assert_int_equal(xm_nego_at(a->nego), XM_NEGO_DONE);
  assert_true(xm_nego_is_bound_inside(a->nego));
  assert_string_equal(xm_nego_jid(a->nego)->str, ME);
  assert_int_equal(fresh->n, has_token ? 2 : 0);
}

/* Checked whether or not the login has failed. */
static void nothing_is_half(const struct attempt *a) {
  const xm_token *fresh = xm_nego_new_token(a->nego);
  xm_enabled is = xm_nego_take_enabled(a->nego);
  if (fresh->n) {
    assert_int_equal(fresh->n, 2);
    assert_memory_equal(fresh->bytes, "t2", 2);
    assert_string_equal(fresh->mechanism, "HT-SHA-256-EXPR");
    assert_int_equal(fresh->expiry, 4070908800);
  }
  if (is.id) assert_string_equal(is.id, "s1");
  if (is.location) assert_string_equal(is.location, "h:1");
  assert_true(is.on || (!is.id && !is.location && !is.max));
  xm_enabled_clear(&is);
}

static void run_out_of_memory(enum who who, bool for_good, const char *const says[]) {
  const xm_jid jid = jid_of("alice@xmpp.example");
  xm_nego_options o;
  xm_token token;
  long n = 0, tolerated = 0;
  struct attempt a;
  options_of(who, &jid, &token, &o);
  do {
    attempt(&a, &o, n++, for_good, OFFERED, says);
    if (a.nego) nothing_is_half(&a);
    if (a.fine) it_stands(&a, true);
    if (a.nego && !a.fine) assert_string_equal(a.e.condition, "ENOMEM");
    tolerated += a.fine && a.failed;
    assert_true(a.failed || a.fine);
    attempt_end(&a);
  } while (a.failed);
  assert_true(n > 10);
  assert_int_equal(tolerated, for_good ? 0 : 2); /* the id, and the place to resume at */
}

static void memory_that_runs_out_leaves_nothing_half(void **state) {
  static const char features[] =
      "<stream:features><authentication " SASL2 ">" BOTH "<inline>" EVERYTHING "</inline></authentication></stream:features>";
  static const char plain[] = "<stream:features>" AUTHENTICATION("PLAIN", EVERYTHING) "</stream:features>";
#define SESSION BOUND2(ENABLED("id='s1' resume='true' max='60' location='h:1'")) FRESH WHO
  static const char shown[] = SUCCESS(DATA(ANSWER) SESSION);
  static const char last[] = "<stream:features><x xmlns='u:x'/></stream:features>";
  const char *const by_password[] = {a_header, plain, SUCCESS(SESSION), last, NULL};
  const char *const by_token[] = {a_header, features, shown, last, NULL};
  const char *const refused[] = {a_header, plain, FAILURE("not-authorized"), SUCCESS(SESSION), last, NULL};
  int for_good;
  (void)state;
  for (for_good = 0; for_good < 2; for_good++) {
    run_out_of_memory(BINDING, for_good, by_password);
    run_out_of_memory(SHOWING, for_good, by_token);
    run_out_of_memory(SHOWING, for_good, refused);
    ahead = (struct ahead){XM_NEGO_AHEAD_ALL, OFFERED, XM_LOGIN_SASL2, everything()};
    run_out_of_memory(SHOWING, for_good, by_token);
    ahead = (struct ahead){0};
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(everything_takes_one_exchange),
      cmocka_unit_test(only_what_is_offered_inside_is_asked_for),
      cmocka_unit_test(every_hazard_has_the_expected_outcome),
      cmocka_unit_test(texts_of_any_length_are_handled),
      cmocka_unit_test(a_server_may_limit_the_size_of_elements),
      cmocka_unit_test(what_was_not_done_inside_follows_the_login),
      cmocka_unit_test(everything_is_said_ahead),
      cmocka_unit_test(a_changed_offer_restarts_the_login),
      cmocka_unit_test(what_reveals_the_password_is_not_said_ahead),
      cmocka_unit_test(memory_that_runs_out_leaves_nothing_half),
  };
  return cmocka_run_group_tests(tests, with_channel, NULL);
}
