/* sasl2_rows: the rows of the SASL matrix for SASL2 (XEP-0388) and tokens (XEP-0484). As in sasl_rows.h, and also:
 *
 * setup   sasl2 (it may be used), strict (the server has had it before), broken (and logins by it have failed);
 *         token-EXPR, -UNIQ, -ENDP, -NONE (the account has a token, for that mechanism), fast (a token is requested),
 *         last-time, was-without
 * script  A features with SASL2's offer: "MECHANISMS/MECHANISMS OF THE OLDER PROFILE|TYPES;MECHANISMS FOR TOKENS",
 *         where each but the first may be left out; H success with the right answer to a token's proof, or with that
 *         for another WORD; T with so many bytes of the right one; K continue, with the right signature. C, S, V, W, E
 *         are sent in the login's profile
 * said    "authenticate MECHANISM bytes inside"; a token's proof is "proof" if it is right. Behind " # ": what has
 *         become of the token, which one has come, and "without" if none is to be shown next time */
#ifndef SASL2_ROWS_H
#define SASL2_ROWS_H

#include "sasl_rows.h"

#define TOKEN "secret-token:fast-9tk"
#define AGENT "d4565fa7-4d72-4749-b3d3-740edbf87770"
#define NS2 "xmlns='urn:xmpp:sasl:2'"
#define WHO "<authorization-identifier>user@example.org</authorization-identifier>"
#define SUCCESS(inside) "<success " NS2 ">" inside WHO "</success>"
#define DATA(base64) "<additional-data>" base64 "</additional-data>"

#define N1_2 "authenticate SCRAM-SHA-1 n,,n=user,r=" NONCE
#define Y1_2 "authenticate SCRAM-SHA-1 y,,n=user,r=" NONCE
#define Y256_2 "authenticate SCRAM-SHA-256 y,,n=user,r=" NONCE
#define P_2(hash, type) "authenticate SCRAM-SHA-" hash "-PLUS p=" type ",,n=user,r=" NONCE
#define PLAIN_2 "authenticate PLAIN ~user~pencil"
#define PLUS1 "SCRAM-SHA-1 SCRAM-SHA-1-PLUS"

#define USER_AGENT " <user-agent id='" AGENT "'/>"
#define ASKS(kind) "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-" kind "'/>"
#define HT(kind) "authenticate HT-SHA-256-" kind " user~proof" USER_AGENT "<fast xmlns='urn:xmpp:fast:0'/>"
#define FRESH "<token xmlns='urn:xmpp:fast:0' token='t2' expiry='2099-01-01T00:00:00Z'/>"
#define EXPR ";HT-SHA-256-EXPR"
#define ALL_HT ";HT-SHA-256-EXPR HT-SHA-256-UNIQ HT-SHA-256-ENDP HT-SHA-256-NONE"

static const struct row rows2[] = {
    /* logins that succeed */
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "V", "B", "Juser@example.org/r"}, "", Y1_2 ANSWER " | iq"},
    {"tls13 sasl2", {"ASCRAM-SHA-256", "C" CH, "V"}, "", Y256_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-512 SCRAM-SHA-512-PLUS|tls-exporter", "C" CH, "V"}, "", P_2("512", "tls-exporter") ANSWER},
    {"tls12 sasl2", {"ASCRAM-SHA-256 SCRAM-SHA-256-PLUS|tls-unique", "C" CH, "V"}, "", P_2("256", "tls-unique") ANSWER},
    {"tls13 sasl2",
     {"A" PLUS1 "|tls-exporter", "C" CH, "W", SUCCESS("")},
     "",
     P_2("1", "tls-exporter") ANSWER " | response "},
    {"tls13 sasl2", {"A" PLUS1 "|tls-exporter", "C" CH, "W", SUCCESS(DATA(""))}, "", P_2("1",
     "tls-exporter") ANSWER " | response "},
    {"tls13 sasl2", {"APLAIN", SUCCESS("")}, "", PLAIN_2},
    {"tls13 sasl2", {"APLAIN", SUCCESS(""), "B", "Juser@example.org/x"}, "", PLAIN_2 " | iq"},
    {"tls13 sasl2 certificate", {"AEXTERNAL SCRAM-SHA-1", SUCCESS("")}, "", "authenticate EXTERNAL "},
    {"tls13 sasl2 certificate many-names", {"AEXTERNAL", SUCCESS("")}, "", "authenticate EXTERNAL user@example.org"},
    {"tls13 sasl2 nameless",
     {"AANONYMOUS", "<success " NS2 "><authorization-identifier>x1@example.org</authorization-identifier></success>", "B",
      "Jx1@example.org/r"},
     "",
     "authenticate ANONYMOUS  | iq"},
    {"tls13 sasl2 odd-space", {"ASCRAM-SHA-1", "C" CH, "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2 odd-space", {"APLAIN"}, "", "authenticate PLAIN ~user~pen cil"},

    /* the profile: SASL2, unless the older profile's offer is strictly stronger (login.md 4) */
    {"tls13 sasl2", {"ASCRAM-SHA-1/SCRAM-SHA-1"}, "", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1/"}, "", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1/PLAIN"}, "", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1/SCRAM-SHA-512"}, "", Y1_2}, /* another hash isn't stronger */
    {"tls13", {"ASCRAM-SHA-1/SCRAM-SHA-1"}, "", Y1},
    {"tls13", {"ASCRAM-SHA-1"}, "no-mechanisms", ""},
    {"tls13 sasl2 broken", {"ASCRAM-SHA-1/SCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 sasl2 broken", {"ASCRAM-SHA-1"}, "no-mechanisms", ""},
    {"tls13 sasl2", {"FSCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 sasl2", {"A/SCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER}, /* 2 */
    {"tls13 sasl2", {"AX-FOO/SCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 sasl2", {"A"}, "no-mechanisms", ""}, /* 3 */
    {"tls13 sasl2", {"A/"}, "no-mechanisms", ""},
    {"tls13 sasl2", {"<stream:features/>"}, "no-mechanisms", ""},
    {"tls13 sasl2", {"AX-FOO"}, "invalid-mechanism", ""},
    {"tls13 sasl2", {"AX-FOO/X-BAR"}, "invalid-mechanism", ""},
    {"tls13 sasl2", {"A" EXPR}, "no-mechanisms", ""}, /* 4 */
    {"tls13 sasl2", {"A/PLAIN" EXPR}, "", PLAIN},
    {"clear sasl2", {"ASCRAM-SHA-1/SCRAM-SHA-1"}, "", N1}, /* 1 */
    {"clear sasl2", {"ASCRAM-SHA-1"}, "no-mechanisms", ""},
    {"clear sasl2 token-NONE =HT-SHA-256-NONE,SCRAM-SHA-1", {"ASCRAM-SHA-1/SCRAM-SHA-1" ALL_HT}, "", N1},
    {"tls13 sasl2", /* 5 */
     {"<stream:features><authentication " NS2 "><mechanism>PLAIN</mechanism></authentication><authentication " NS2
      "><mechanism>SCRAM-SHA-1</mechanism></authentication></stream:features>"},
     "",
     PLAIN_2},
    {"tls13 sasl2",
     {"<stream:features><authentication " NS "><mechanism>PLAIN</mechanism></authentication></stream:features>"},
     "no-mechanisms",
     ""},
    {"tls13 sasl2",
     {"<stream:features><mechanisms " NS2 "><mechanism>PLAIN</mechanism></mechanisms></stream:features>"},
     "no-mechanisms",
     ""},
    {"tls13 sasl2",
     {"<stream:features><x xmlns='urn:x'><authentication " NS2 "><mechanism>PLAIN</mechanism></authentication></x>"
      "</stream:features>"},
     "no-mechanisms",
     ""},
    {"tls13 sasl2",
     {"<stream:features><authentication " NS2 "><mechanism " NS ">PLAIN</mechanism></authentication></stream:features>"},
     "no-mechanisms",
     ""},
    {"tls13 sasl2",
     {"<stream:features><authentication " NS2 "><inline><mechanism>PLAIN</mechanism></inline></authentication>"
      "</stream:features>"},
     "no-mechanisms",
     ""},
    {"tls13 sasl2",
     {"<stream:features><authentication " NS2 "><inline/><upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>"
      "<mechanism>SCRAM-SHA-1</mechanism><hostname xmlns='urn:x'>h</hostname></authentication></stream:features>"},
     "",
     Y1_2},
    {"tls13 sasl2", {"APLAIN/SCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER}, /* 7 */
    {"tls13 sasl2", {"APLAIN/" PLUS1 "|tls-exporter", "C" CH, "V"}, "", P("1", "tls-exporter") ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1/" PLUS1 "|tls-exporter", "C" CH, "V"}, "", P("1", "tls-exporter") ANSWER},
    {"tls13 sasl2", {"A" PLUS1 "/SCRAM-SHA-1|tls-exporter"}, "", P_2("1", "tls-exporter")},
    {"tls13 sasl2 certificate", {"ASCRAM-SHA-1/EXTERNAL", "<success " NS "/>"}, "", "auth EXTERNAL "},
    {"tls13 sasl2 certificate", {"AEXTERNAL/SCRAM-SHA-1"}, "", "authenticate EXTERNAL "},
    {"tls13 sasl2 not-plain", {"APLAIN/SCRAM-SHA-1"}, "", Y1},
    {"tls13 sasl2 not-plain", {"APLAIN/PLAIN"}, "invalid-mechanism", ""},
    {"tls13 sasl2 =SCRAM-SHA-256", {"ASCRAM-SHA-1/SCRAM-SHA-256"}, "", N256},
    {"tls13 sasl2 =PLAIN", {"APLAIN/SCRAM-SHA-1"}, "", PLAIN_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1/" PLUS1}, "", Y1_2}, /* a -PLUS without a list of binding types isn't usable if SASL2
                                                           is offered */
    {"tls13 sasl2", {"APLAIN/" PLUS1}, "", PLAIN_2},

    /* pinned, and channel binding used before: both profiles share what is remembered */
    {"tls13 sasl2 pinned", {"FPLAIN"}, "invalid-mechanism", ""}, /* 8 */
    {"tls13 sasl2 pinned", {"APLAIN"}, "invalid-mechanism", ""},
    {"tls13 sasl2 pinned", {"APLAIN/PLAIN"}, "invalid-mechanism", ""},
    {"tls13 sasl2 pinned", {"APLAIN/SCRAM-SHA-1"}, "", Y1},
    {"tls13 sasl2 pinned", {"APLAIN SCRAM-SHA-1"}, "", Y1_2},
    {"tls13 sasl2 unverified", {"APLAIN"}, "invalid-mechanism", ""},
    {"tls13 sasl2 unverified", {"APLAIN SCRAM-SHA-1"}, "", Y1_2},
    {"tls13 sasl2 no-password", {"APLAIN SCRAM-SHA-1"}, "invalid-mechanism", ""},
    {"tls13 sasl2 once-bound", {"ASCRAM-SHA-1"}, "no-channel-binding", ""},
    {"tls13 sasl2 once-bound", {"ASCRAM-SHA-1/SCRAM-SHA-1"}, "no-channel-binding", ""},
    {"tls13 sasl2 once-bound", {"ASCRAM-SHA-1/" PLUS1 "|tls-exporter"}, "no-channel-binding", ""},
    {"tls13 sasl2 once-bound", {"A" PLUS1 "|tls-exporter", "C" CH, "V"}, "", P_2("1", "tls-exporter") ANSWER},
    {"tls13 sasl2 once-bound", {"A" PLUS1 "|tls-unique"}, "no-channel-binding", ""},
    {"tls13 sasl2 once-bound", {"A" PLUS1}, "no-channel-binding", ""},
    {"tls13 sasl2 once-bound", {"A" PLUS1 "|tls-exporter", "Enot-authorized"}, "not-authorized", P_2("1", "tls-exporter")},
    {"tls13 sasl2 once-bound =SCRAM-SHA-1", {"A" PLUS1 "|tls-exporter"}, "", N1_2},
    {"tls13 sasl2 once-bound certificate", {"AEXTERNAL SCRAM-SHA-1"}, "", "authenticate EXTERNAL "},

    /* GS2 flags and binding types by the strict rules (login.md 3.6) */
    {"tls13 sasl2", {"A" PLUS1}, "no-channel-binding", ""}, /* 9 */
    {"tls13 sasl2", {"ASCRAM-SHA-1-PLUS"}, "no-channel-binding", ""},
    {"tls12 sasl2", {"A" PLUS1}, "no-channel-binding", ""},
    {"tls13 sasl2", {"A" PLUS1 "/" PLUS1}, "no-channel-binding", ""},
    {"tls13 sasl2", {"A" PLUS1 " PLAIN"}, "no-channel-binding", ""},
    {"tls13 sasl2 =SCRAM-SHA-1", {"A" PLUS1}, "", N1_2},
    {"tls13 strict", {"F" PLUS1}, "no-channel-binding", ""}, /* also in the older profile, if the server has had
                                                                SASL2 */
    {"tls13 strict", {"F" PLUS1 "|tls-exporter", "C" CH, "V"}, "", P("1", "tls-exporter") ANSWER},
    {"tls13 sasl2 strict", {"FSCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 sasl2 strict", {"F" PLUS1}, "no-channel-binding", ""},
    {"tls13 sasl2", {"F" PLUS1}, "", P("1", "tls-exporter")},
    {"tls13 sasl2", {"ASCRAM-SHA-1 X-PLUS"}, "", Y1_2},
    {"tls13 sasl2", {"A" PLUS1 "|tls-server-end-point tls-exporter"}, "", P_2("1", "tls-exporter")},
    {"tls12 sasl2", {"A" PLUS1 "|tls-unique tls-exporter"}, "", P_2("1", "tls-exporter")},
    {"tls12 sasl2", {"A" PLUS1 "|tls-server-end-point tls-unique"}, "", P_2("1", "tls-unique")},
    {"tls13 sasl2", {"A" PLUS1 "|tls-server-end-point tls-unique"}, "", P_2("1", "tls-server-end-point")},
    {"tls12 sasl2 no-ems", {"A" PLUS1 "|tls-exporter tls-unique tls-server-end-point"}, "", P_2("1", "tls-server-end-point")},
    {"tls12 sasl2 no-ems ed25519", {"A" PLUS1 "|tls-server-end-point", "C" CH, "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1-PLUS|tls-exporter"}, "", P_2("1", "tls-exporter")},
    {"tls13 sasl2", {"ASCRAM-SHA-1-PLUS|tls-unique"}, "no-channel-binding", ""},
    {"tls13 sasl2", {"ASCRAM-SHA-1|tls-exporter", "C" CH}, "no-channel-binding", Y1_2}, /* 10 */
    {"tls13 sasl2", {"ASCRAM-SHA-1|tls-exporter", "C" CH ",h=3jF3WyEPM7a5T5fMHi3mct/ZFac=", "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1|tls-exporter", "C" CH ",h=LrtFoCs8XsoI+diY4u3rG69UGN8="}, "downgrade-detected", Y1_2},
    {"tls13 sasl2", {"A" PLUS1 "|x-foreign", "C" CH}, "no-channel-binding", Y1_2}, /* 11 */
    {"tls13 sasl2", {"A" PLUS1 "|x-foreign", "C" CH ",h=z5wgmuBp62FmG6y7e+z7IK30ges="}, "downgrade-detected", Y1_2},
    {"tls13 sasl2", {"A" PLUS1 "|", "C" CH}, "no-channel-binding", Y1_2},
    {"tls13 sasl2", {"A" PLUS1 "|tls-unique", "C" CH}, "no-channel-binding", Y1_2}, /* 12 */
    {"tls13 sasl2", {"A" PLUS1 "|tls-unique", "C" CH ",h=z5wgmuBp62FmG6y7e+z7IK30ges=", "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"APLAIN|tls-exporter"}, "", PLAIN_2},
    {"tls13 sasl2 was-unbound", {"A" PLUS1 "|tls-exporter", "C" CH, "V"}, "", P_2("1", "tls-exporter") ANSWER},
    {"tls13 sasl2", {"A" PLUS1 "|tls-exporter", "Emalformed-request"}, "malformed-request", P_2("1", "tls-exporter")},
    {"tls13 sasl2", {"A" PLUS1 "|tls-exporter", "C" CH, "Enot-authorized"}, "not-authorized", P_2("1", "tls-exporter") ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Emalformed-request"}, "malformed-request", Y1_2}, /* -PLUS was removed: y is
                                                                                           refused */

    /* h= and t=: hashes of the direct children of the profile in use only (13 to 15) */
    {"tls13 sasl2",
     {"A" PLUS1 "|tls-exporter tls-server-end-point", "C" CH ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08=,t=0304", "V"},
     "",
     P_2("1", "tls-exporter") ANSWER},
    {"tls13 sasl2", {"A" PLUS1 "|tls-exporter", "C" CH ",h=i7xcmuOYVni3ZJoDNdEMMr4hq08=", "V"}, "", P_2("1",
     "tls-exporter") ANSWER},
    {"tls13 sasl2",
     {"A" PLUS1 "|tls-exporter", "C" CH ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08="},
     "downgrade-detected",
     P_2("1", "tls-exporter")},
    {"tls13 sasl2", {"ASCRAM-SHA-1/PLAIN", "C" CH ",h=LrtFoCs8XsoI+diY4u3rG69UGN8=", "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1/PLAIN", "C" CH ",h=Y+xk2TW25vKwG9yWicfQlsuiFQs="}, "downgrade-detected", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1/SCRAM-SHA-1", "C" CH ",h=9gmncj0fIo1r1Xvu9J/ADL2sANw="}, "downgrade-detected", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1" EXPR, "C" CH ",h=LrtFoCs8XsoI+diY4u3rG69UGN8=", "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1" EXPR, "C" CH ",h=G1yb0Ff8htWxfRLoxY3xOI1pt1U="}, "downgrade-detected", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1 OAUTHBEARER", "C" CH ",h=8sF/YGRL5EPptuRdFuxCb/w+5XE=", "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1 OAUTHBEARER", "C" CH ",h=LrtFoCs8XsoI+diY4u3rG69UGN8="}, "downgrade-detected", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-256", "C" CH ",h=5IlFKz4VKe4+I01or1SYZH07/h8E/JKh4/0iRkqB2IY=", "V"}, "", Y256_2 ANSWER},
    {"tls13 sasl2",
     {"ASCRAM-SHA-256/SCRAM-SHA-1", "C" CH ",h=0/NIECGLXv63MqTb7NyUI9Tqxi40YVZyx61umRrH924="},
     "downgrade-detected",
     Y256_2},
    {"tls13 sasl2 broken", {"AX-FOO/SCRAM-SHA-1", "C" CH ",h=LrtFoCs8XsoI+diY4u3rG69UGN8=", "V"}, "", Y1 ANSWER},
    {"tls13 sasl2", {"APLAIN/SCRAM-SHA-1", "C" CH ",h=LrtFoCs8XsoI+diY4u3rG69UGN8=", "V"}, "", Y1 ANSWER},
    {"tls13 sasl2", {"APLAIN/SCRAM-SHA-1", "C" CH ",h=Y+xk2TW25vKwG9yWicfQlsuiFQs="}, "downgrade-detected", Y1},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH ",h=LrtFoCs8XsoI+diY4u3rG69UGN8=,h=LrtFoCs8XsoI+diY4u3rG69UGN8="},
     "malformed-challenge", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH ",h="}, "malformed-challenge", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH ",h=not base64"}, "downgrade-detected", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH ",t=0303"}, "downgrade-detected", Y1_2},
    {"tls12 sasl2", {"ASCRAM-SHA-1", "C" CH ",t=0303", "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH ",t=0304,t=0304"}, "malformed-challenge", Y1_2},

    /* servers that cheat (16 to 26) */
    {"tls13 sasl2", {"ASCRAM-SHA-1", SUCCESS("")}, "no-server-signature", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "S" FINAL}, "no-server-signature", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, SUCCESS("")}, "no-server-signature", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, SUCCESS(DATA(""))}, "no-server-signature", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, SUCCESS(DATA("="))}, "incorrect-encoding", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "S" FINAL}, "bad-server-signature", Y1_2 ANSWER},
    {"tls13 sasl2", {"A" PLUS1 "|tls-exporter", "C" CH, "S" FINAL}, "bad-server-signature", P_2("1", "tls-exporter") ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "Se=other-error"}, "other-error", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "Ce=channel-bindings-dont-match"}, "channel-bindings-dont-match", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "<success " NS2 ">" FINAL WHO "</success>"}, "no-server-signature", Y1_2 ANSWER},
    {"tls13 sasl2",
     {"ASCRAM-SHA-1", "C" CH, "<success " NS2 "><additional-data " NS ">dj0=</additional-data>" WHO "</success>"},
     "no-server-signature",
     Y1_2 ANSWER},
    {"tls13 sasl2",
     {"ASCRAM-SHA-1", "C" CH, SUCCESS("<bound xmlns='urn:xmpp:bind:0'>" DATA("dj0=") "</bound>")},
     "no-server-signature",
     Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, SUCCESS(DATA("dj0=") DATA("dj0="))}, "incorrect-encoding", Y1_2 ANSWER},
    {"tls13 sasl2", {"APLAIN", SUCCESS(DATA("") DATA(""))}, "incorrect-encoding", PLAIN_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, SUCCESS(DATA("no base64!"))}, "incorrect-encoding", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, SUCCESS(DATA("dj0= "))}, "incorrect-encoding", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, SUCCESS(DATA("dj<x/>0="))}, "incorrect-encoding", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "W", "V"}, "unexpected-success-data", Y1_2 ANSWER " | response "},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "W", "C" FINAL}, "unexpected-challenge", Y1_2 ANSWER " | response "},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "C" CH}, "malformed-challenge", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<challenge " NS2 "/>"}, "malformed-challenge", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<challenge " NS2 ">=</challenge>"}, "incorrect-encoding", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<challenge " NS2 ">cj14<x/></challenge>"}, "incorrect-encoding", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<challenge " NS2 ">cj 14</challenge>"}, "incorrect-encoding", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Cr=" NONCE "," SALT ",i=4096"}, "bad-server-nonce", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" R "," SALT ",i=4095"}, "bad-iteration-count", Y1_2},
    {"tls13 sasl2", {"APLAIN", "<challenge " NS2 "/>"}, "unexpected-challenge", PLAIN_2},
    {"tls13 sasl2", {"APLAIN", "Sv=x"}, "unexpected-success-data", PLAIN_2},
    {"tls13 sasl2 certificate", {"AEXTERNAL", "<challenge " NS2 "/>"}, "unexpected-challenge", "authenticate EXTERNAL "},
    {"tls13 sasl2 certificate", {"AEXTERNAL", "Sx"}, "unexpected-success-data", "authenticate EXTERNAL "},
    {"tls13 sasl2 nameless", {"AANONYMOUS", "<challenge " NS2 "/>"}, "unexpected-challenge", "authenticate ANONYMOUS "},
    {"tls13 sasl2", {"APLAIN", "<success " NS2 "/>"}, "invalid-jid", PLAIN_2},
    {"tls13 sasl2 nameless", {"AANONYMOUS", "<success " NS2 "/>"}, "invalid-jid", "authenticate ANONYMOUS "},
    {"tls13 sasl2 certificate",
     {"AEXTERNAL", "<success " NS2 "><authorization-identifier>eve@example.org</authorization-identifier></success>"},
     "wrong-jid",
     "authenticate EXTERNAL "},
    {"tls13 sasl2 nameless",
     {"AANONYMOUS", "<success " NS2 "><authorization-identifier>x1@evil.example</authorization-identifier></success>"},
     "wrong-jid",
     "authenticate ANONYMOUS "},

    /* unexpected elements, above all the other profile's (24) */
    {"tls13 sasl2", {"ASCRAM-SHA-1/SCRAM-SHA-1", "<challenge " NS "/>"}, "bad-format", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1/SCRAM-SHA-1", "C" CH, "<success " NS "/>"}, "bad-format", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1/SCRAM-SHA-1", "<failure " NS "><not-authorized/></failure>"}, "bad-format", Y1_2},
    {"tls13 sasl2", {"FSCRAM-SHA-1", "<challenge " NS2 "/>"}, "bad-format", Y1},
    {"tls13 sasl2", {"FSCRAM-SHA-1", "C" CH, SUCCESS("")}, "bad-format", Y1 ANSWER},
    {"tls13 sasl2", {"FSCRAM-SHA-1", "<failure " NS2 "><not-authorized " NS "/></failure>"}, "bad-format", Y1},
    {"tls13 sasl2", {"FSCRAM-SHA-1", "C" CH, "<continue " NS2 "/>"}, "bad-format", Y1 ANSWER},
    {"tls13 sasl2", {SUCCESS("")}, "bad-format", ""},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "ASCRAM-SHA-1"}, "bad-format", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<message><body>early</body></message>"}, "bad-format", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<task-data " NS2 "/>"}, "bad-format", Y1_2},
    {"tls13 sasl2", {"APLAIN", "<response " NS2 "/>"}, "bad-format", PLAIN_2},
    {"tls13 sasl2", {"APLAIN", "<authenticate " NS2 " mechanism='PLAIN'/>"}, "bad-format", PLAIN_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "K"}, "task-required", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "<continue " NS2 "><tasks/></continue>"}, "no-server-signature", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "<continue " NS2 ">" DATA("dj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9") "</continue>"},
     "bad-server-signature", Y1_2 ANSWER},
    {"tls13 sasl2", {"APLAIN", "<continue " NS2 "><tasks><task>X-TOTP</task></tasks></continue>"}, "task-required", PLAIN_2},

    /* failures: their conditions in any namespace, as servers send them; nothing is tried again, in either profile */
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Eaborted"}, "aborted", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Eaccount-disabled"}, "account-disabled", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Ecredentials-expired"}, "credentials-expired", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Eencryption-required"}, "encryption-required", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Eincorrect-encoding"}, "incorrect-encoding", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Einvalid-authzid"}, "invalid-authzid", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1 PLAIN", "Einvalid-mechanism"}, "invalid-mechanism", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1 PLAIN", "Emechanism-too-weak"}, "mechanism-too-weak", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1 PLAIN/SCRAM-SHA-1", "Enot-authorized"}, "not-authorized", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1 PLAIN/PLAIN", "C" CH, "Enot-authorized"}, "not-authorized", Y1_2 ANSWER},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Etemporary-auth-failure"}, "temporary-auth-failure", Y1_2},
    {"tls13 sasl2", {"APLAIN", "Enot-authorized"}, "not-authorized", PLAIN_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "Ex-new-condition"}, "undefined-condition", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<failure " NS2 "/>"}, "undefined-condition", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<failure " NS2 "><text>no</text></failure>"}, "undefined-condition", Y1_2},
    {"tls13 sasl2", {"ASCRAM-SHA-1", "<failure " NS2 "><not-authorized/><text>no</text></failure>"}, "not-authorized", Y1_2},
    {"tls13 sasl2",
     {"ASCRAM-SHA-1", "<failure " NS2 "><text>no</text><x xmlns='urn:x'/><temporary-auth-failure xmlns='urn:y'/></failure>"},
     "temporary-auth-failure",
     Y1_2},
    {"tls13 sasl2",
     {"ASCRAM-SHA-1", "<failure " NS2 "><account-disabled " NS "/><not-authorized " NS "/></failure>"},
     "account-disabled",
     Y1_2},

    /* a password that has two forms */
    {"tls13 sasl2 two-forms", {"ASCRAM-SHA-1", "C" CH, "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2 two-forms newer", {"ASCRAM-SHA-1", "C" CH, "Enot-authorized", "C" CH, "V"}, "", Y1_2 ANSWER " | " Y1_2 ANSWER},
    {"tls13 sasl2 two-forms",
     {"ASCRAM-SHA-1", "C" CH, "Enot-authorized", "C" CH, "Enot-authorized"},
     "not-authorized",
     Y1_2 ANSWER " | " Y1_2 ANSWER},
    {"tls13 sasl2 two-forms newer was-other", {"ASCRAM-SHA-1", "C" CH, "V"}, "", Y1_2 ANSWER},
    {"tls13 sasl2 two-forms", {"ASCRAM-SHA-1", "C" CH, "Eaccount-disabled"}, "account-disabled", Y1_2 ANSWER},
    {"tls13 sasl2 two-forms",
     {"APLAIN", "Enot-authorized", SUCCESS("")},
     "",
     "authenticate PLAIN ~user~pen2cil | authenticate PLAIN ~user~pen\xc2\xb2" "cil"},
    {"tls13 sasl2 soft-hyphen",
     {"APLAIN", "Enot-authorized", "Enot-authorized"},
     "not-authorized",
     "authenticate PLAIN ~user~pencil | authenticate PLAIN ~user~pen\xc2\xad" "cil"},

    /* a token is requested: for a binding type that is available and unique to the connection, or for the mechanism
     * that is named */
    {"tls13 sasl2 fast", {"APLAIN" EXPR, SUCCESS("")}, "", PLAIN_2 USER_AGENT ASKS("EXPR")},
    {"tls13 sasl2 fast", {"APLAIN" EXPR, SUCCESS(FRESH)}, "", PLAIN_2 USER_AGENT ASKS("EXPR") " # new HT-SHA-256-EXPR"},
    {"tls13 sasl2 fast", {"ASCRAM-SHA-1" ALL_HT, "C" CH, "V"}, "", Y1_2 USER_AGENT ASKS("EXPR") ANSWER},
    {"tls12 sasl2 fast", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT ASKS("EXPR")},
    {"tls12 sasl2 fast", {"APLAIN;HT-SHA-256-NONE HT-SHA-256-UNIQ"}, "", PLAIN_2 USER_AGENT ASKS("UNIQ")},
    {"tls13 sasl2 fast", {"APLAIN;HT-SHA-256-NONE HT-SHA-256-UNIQ"}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 fast", {"APLAIN;HT-SHA-256-NONE HT-SHA-256-ENDP", SUCCESS(FRESH)}, "", PLAIN_2 USER_AGENT}, /* 57 */
    {"tls13 sasl2 fast =PLAIN,HT-SHA-256-NONE", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT ASKS("NONE")},
    {"tls13 sasl2 fast =PLAIN,HT-SHA-256-NONE,HT-SHA-256-ENDP", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT ASKS("ENDP")},
    {"tls13 sasl2 fast ed25519 =PLAIN,HT-SHA-256-ENDP", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 fast =PLAIN", {"APLAIN" ALL_HT, SUCCESS(FRESH)}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 fast", {"APLAIN;HT2-SHA-256-EXPR HT-SHA-256 ht-sha-256-expr HT-SHA-512-EXPR"}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 fast unverified", {"ASCRAM-SHA-1" ALL_HT, "C" CH, "V"}, "", Y1_2 USER_AGENT ANSWER}, /* 53 */
    {"tls13 sasl2 fast nameless",
     {"AANONYMOUS" ALL_HT,
      "<success " NS2 ">" FRESH "<authorization-identifier>x@example.org</authorization-identifier></success>"},
     "",
     "authenticate ANONYMOUS " USER_AGENT},
    {"tls13 sasl2", {"APLAIN" ALL_HT, SUCCESS(FRESH)}, "", PLAIN_2},
    {"tls13 sasl2 fast", {"APLAIN/SCRAM-SHA-1" ALL_HT}, "", Y1},
    {"tls13 sasl2 fast", {"APLAIN" EXPR, SUCCESS(FRESH FRESH)}, "", PLAIN_2 USER_AGENT ASKS("EXPR")},

    /* a login by a token */
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "H"}, "", HT("EXPR") " # worked"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "H", "B", "Juser@example.org/r"}, "", HT("EXPR") " | iq # worked"},
    {"tls13 sasl2 token-EXPR no-password", {"APLAIN" EXPR, "H"}, "", HT("EXPR") " # worked"},
    {"tls12 sasl2 token-EXPR", {"APLAIN" EXPR, "H"}, "", HT("EXPR") " # worked"},
    {"tls12 sasl2 token-UNIQ", {"APLAIN" ALL_HT, "H"}, "", HT("UNIQ") " # worked"},
    {"tls13 sasl2 token-ENDP =PLAIN,HT-SHA-256-ENDP", {"APLAIN" ALL_HT, "H"}, "", HT("ENDP") " # worked"},
    {"tls13 sasl2 token-NONE =PLAIN,HT-SHA-256-NONE", {"APLAIN" ALL_HT, "H"}, "", HT("NONE") " # worked"},
    {"tls13 sasl2 token-EXPR fast", {"APLAIN" EXPR, "H"}, "", HT("EXPR") " # worked"}, /* no token is requested */
    {"tls13 sasl2 token-EXPR", {"A" EXPR, "H"}, "", HT("EXPR") " # worked"},
    {"tls13 sasl2 token-EXPR", {"A" PLUS1 "/" PLUS1 "|tls-exporter" EXPR, "H"}, "", HT("EXPR") " # worked"},
    {"tls13 sasl2 token-EXPR certificate", {"AEXTERNAL" EXPR}, "", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR pinned once-bound", {"ASCRAM-SHA-1" EXPR, "H"}, "", HT("EXPR") " # worked"},
    {"tls13 sasl2 token-EXPR last-time",
     {"APLAIN" EXPR, "H"},
     "",
     "authenticate HT-SHA-256-EXPR user~proof" USER_AGENT "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/> # worked"},

    /* a token that can't be used, or must not be, isn't shown, and is kept */
    {"tls13 sasl2 token-EXPR", {"APLAIN"}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 token-EXPR", {"APLAIN/" PLUS1 "|tls-exporter" EXPR, "C" CH, "V"}, "", P("1", "tls-exporter") ANSWER},
    {"tls13 sasl2 token-EXPR", {"A/SCRAM-SHA-1" EXPR}, "", Y1}, /* if it were refused, no mechanism would be left */
    {"tls13 sasl2 token-EXPR no-password", {"APLAIN/" PLUS1 "|tls-exporter" EXPR, "H"}, "", HT("EXPR") " # worked"},
    {"tls13 sasl2 token-EXPR", {"FPLAIN"}, "", PLAIN},
    {"tls13 token-EXPR", {"APLAIN/PLAIN" EXPR}, "", PLAIN},
    {"tls13 sasl2 broken token-EXPR", {"APLAIN/PLAIN" EXPR}, "", PLAIN},
    {"tls13 sasl2 token-EXPR", {"APLAIN;HT-SHA-256-NONE HT-SHA-256-UNIQ"}, "", PLAIN_2 USER_AGENT}, /* 57 */
    {"tls13 sasl2 token-EXPR fast =SCRAM-SHA-1", {"ASCRAM-SHA-1" EXPR}, "", N1_2 USER_AGENT},
    {"tls13 sasl2 token-UNIQ", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT},
    {"tls12 sasl2 no-ems token-EXPR", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT},
    {"tls12 sasl2 no-ems token-UNIQ", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 ed25519 token-ENDP =PLAIN,HT-SHA-256-ENDP", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 token-ENDP", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 token-NONE", {"APLAIN" ALL_HT}, "", PLAIN_2 USER_AGENT},
    {"tls13 sasl2 token-EXPR unverified", {"ASCRAM-SHA-1" EXPR}, "", Y1_2 USER_AGENT},
    {"tls13 sasl2 token-EXPR was-without", {"APLAIN" EXPR, SUCCESS("")}, "", PLAIN_2 USER_AGENT " # without"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1 HT-SHA-256-EXPR"}, "", Y1_2 USER_AGENT}, /* not in the list for tokens */
    {"tls13 sasl2 token-EXPR no-password", {"APLAIN"}, "invalid-mechanism", ""},
    {"tls13 sasl2 token-EXPR no-password", {"APLAIN;HT-SHA-256-NONE"}, "invalid-mechanism", ""},

    /* servers that don't know the token (19 to 21) */
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, SUCCESS("")}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, SUCCESS(DATA(""))}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, "HInitiator"}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, "HX"}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, "T31"}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, "T1"}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, "Ssecret-token:fast-9tk"}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, SUCCESS(DATA("x"))}, "incorrect-encoding", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-NONE =PLAIN,HT-SHA-256-NONE", {"APLAIN" ALL_HT, "HInitiator"}, "bad-server-signature",
     HT("NONE") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, "<challenge " NS2 "/>"}, "unexpected-challenge", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR no-password", {"APLAIN" EXPR, "Cx"}, "unexpected-challenge", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR fast", {"APLAIN" EXPR, SUCCESS(FRESH)}, "bad-server-signature", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"APLAIN" EXPR, "<continue " NS2 "/>"}, "bad-server-signature", HT("EXPR") " # shown"},

    /* after a refused token (login.md 3.7): the password on the same stream, by the mechanism that would have been
     * chosen without the token */
    {"tls13 sasl2 token-EXPR fast",
     {"A" PLUS1 "|tls-exporter" EXPR, "Enot-authorized", "C" CH, "V"},
     "",
     HT("EXPR") " | " P_2("1", "tls-exporter") USER_AGENT ASKS("EXPR") ANSWER " # refused"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Ecredentials-expired", "C" CH, "V"}, "",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " # refused"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Emalformed-request", "C" CH, "V"}, "",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " # shown without"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Einvalid-mechanism", "C" CH, "V"}, "",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " # shown without"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Eincorrect-encoding", "C" CH, "V"}, "",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " # shown without"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Eencryption-required", "C" CH, "V"}, "",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " # shown without"},
    {"tls13 sasl2 token-EXPR",
     {"ASCRAM-SHA-1" EXPR, "<failure " NS2 "><malformed-request/><text>FAST is not available</text></failure>", "C" CH, "V"},
     "",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " # shown without"},
    {"tls13 sasl2 token-EXPR fast", {"APLAIN" EXPR, "Enot-authorized", SUCCESS(FRESH)}, "",
     HT("EXPR") " | " PLAIN_2 USER_AGENT ASKS("EXPR") " # refused new HT-SHA-256-EXPR"},
    {"tls13 sasl2 token-EXPR certificate no-password", {"AEXTERNAL" EXPR, "Enot-authorized", SUCCESS("")}, "",
     HT("EXPR") " | authenticate EXTERNAL " USER_AGENT " # refused"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Etemporary-auth-failure"}, "temporary-auth-failure", HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Eaccount-disabled"}, "account-disabled", HT("EXPR") " # refused"},
    {"tls13 sasl2 token-EXPR no-password", {"ASCRAM-SHA-1" EXPR, "Enot-authorized"}, "not-authorized", HT("EXPR") " # refused"},
    {"tls13 sasl2 token-EXPR no-password", {"ASCRAM-SHA-1" EXPR, "Ecredentials-expired"}, "credentials-expired",
     HT("EXPR") " # refused"},
    {"tls13 sasl2 token-EXPR no-password", {"ASCRAM-SHA-1" EXPR, "Emalformed-request"}, "malformed-request",
     HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR no-password", {"ASCRAM-SHA-1" EXPR, "Einvalid-mechanism"}, "invalid-mechanism",
     HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR no-password", {"ASCRAM-SHA-1" EXPR, "Etemporary-auth-failure"}, "temporary-auth-failure",
     HT("EXPR") " # shown"},
    {"tls13 sasl2 token-EXPR no-password", {"ASCRAM-SHA-1" EXPR, "Eaccount-disabled"}, "account-disabled",
     HT("EXPR") " # refused"},
    {"tls13 sasl2 token-EXPR no-password", {"A" EXPR, "Enot-authorized"}, "not-authorized", HT("EXPR") " # refused"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Enot-authorized", "C" CH, "Enot-authorized"}, "not-authorized",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " # refused"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Emalformed-request", "Emalformed-request"}, "malformed-request",
     HT("EXPR") " | " Y1_2 USER_AGENT " # shown"},
    {"tls13 sasl2 token-EXPR", {"ASCRAM-SHA-1" EXPR, "Enot-authorized", "H"}, "no-server-signature",
     HT("EXPR") " | " Y1_2 USER_AGENT " # refused"},
    {"tls13 sasl2 token-EXPR", {"A" PLUS1 EXPR, "Enot-authorized"}, "not-authorized", HT("EXPR") " # refused"}, /* no list */
    {"tls13 sasl2 token-EXPR once-bound", {"ASCRAM-SHA-1" EXPR, "Enot-authorized"}, "not-authorized", HT("EXPR") " # refused"},
    {"tls13 sasl2 token-EXPR pinned", {"APLAIN" EXPR, "Enot-authorized"}, "not-authorized", HT("EXPR") " # refused"},
    {"tls13 sasl2 token-EXPR two-forms newer",
     {"ASCRAM-SHA-1" EXPR, "Enot-authorized", "C" CH, "Enot-authorized", "C" CH, "V"},
     "",
     HT("EXPR") " | " Y1_2 USER_AGENT ANSWER " | " Y1_2 USER_AGENT ANSWER " # refused"},
};
enum { ROWS2 = sizeof rows2 / sizeof rows2[0] };

#endif
