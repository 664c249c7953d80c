/* sasl_rows: the rows of the SASL matrix (t_sasl_matrix.c).
 *
 * setup   the channel: tls13 (tls-exporter, tls-server-end-point), tls12 (tls-unique, too), clear; no-ems, ed25519
 *         (which remove some of these), unverified; the account, user@example.org with the password "pencil": nameless,
 *         no-password, odd-space, soft-hyphen, two-forms (the server has the newer one), certificate, many-names (in
 *         the certificate), pinned, once-bound, not-plain, was-unbound and was-other (how an earlier login went);
 *         =LIST: the mechanisms that are allowed
 * script  what the server sends: F features, "MECHANISMS|TYPES"; C challenge, S success, with this text; W challenge,
 *         V success, with the right signature; E failure; B features after the login; J the JID that it binds;
 *         otherwise XML. All but the last must be accepted
 * said    everything that we send, as a pattern of fnmatch: "auth MECHANISM bytes | response bytes | iq" */
#ifndef SASL_ROWS_H
#define SASL_ROWS_H

#define NONCE "fyko+d2lbbFgONRv9qkxdawL"
#define R "r=" NONCE "3rfcNHYJY1ZVvWVs7j"
#define SALT "s=QSXCR+Q6sek8bf92"
#define CH R "," SALT ",i=4096" /* RFC 5802 section 5 */
#define FINAL "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="
#define NS "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"

#define N1 "auth SCRAM-SHA-1 n,,n=user,r=" NONCE
#define N256 "auth SCRAM-SHA-256 n,,n=user,r=" NONCE
#define N512 "auth SCRAM-SHA-512 n,,n=user,r=" NONCE
#define Y1 "auth SCRAM-SHA-1 y,,n=user,r=" NONCE
#define Y256 "auth SCRAM-SHA-256 y,,n=user,r=" NONCE
#define P(hash, type) "auth SCRAM-SHA-" hash "-PLUS p=" type ",,n=user,r=" NONCE
#define PLAIN "auth PLAIN ~user~pencil"
#define PROOF " | response c=biws," R ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
#define ANSWER " | response c=*," R ",p=*"

struct row {
  const char *setup, *script[7], *condition, *said;
};

static const struct row rows[] = {
    /* RFC 5802's example, and other logins that succeed */
    {"clear", {"FSCRAM-SHA-1", "C" CH, "S" FINAL}, "", N1 PROOF},
    {"clear", {"FSCRAM-SHA-1", "C" CH, "C" FINAL, "<success " NS "/>"}, "", N1 PROOF " | response "},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "V", "B", "Juser@example.org/r"}, "", Y1 ANSWER " | iq"},
    {"tls13", {"FSCRAM-SHA-256", "C" CH, "V"}, "", Y256 ANSWER},
    {"tls13", {"FSCRAM-SHA-512 SCRAM-SHA-512-PLUS", "C" CH, "V"}, "", P("512", "tls-exporter") ANSWER},
    {"tls12", {"FSCRAM-SHA-512 SCRAM-SHA-512-PLUS", "C" CH, "V"}, "", P("512", "tls-unique") ANSWER},
    {"tls13", {"FSCRAM-SHA-256-PLUS|tls-exporter", "C" CH, "V"}, "", P("256", "tls-exporter") ANSWER},
    {"tls13",
     {"FSCRAM-SHA-1-PLUS|tls-exporter", "C" CH, "W", "<success " NS ">=</success>"},
     "",
     P("1", "tls-exporter") ANSWER " | response "},
    {"tls13", {"FPLAIN", "<success " NS "/>"}, "", PLAIN},
    {"tls13", {"FPLAIN", "<success " NS ">=</success>", "B", "Juser@example.org/x"}, "", PLAIN " | iq"},
    {"tls13 certificate", {"FEXTERNAL SCRAM-SHA-1", "<success " NS "/>"}, "", "auth EXTERNAL "},
    {"tls13 certificate many-names", {"FEXTERNAL", "<success " NS "/>"}, "", "auth EXTERNAL user@example.org"},
    {"tls13 nameless", {"FANONYMOUS", "<success " NS "/>", "B", "Jx1@example.org/r"}, "", "auth ANONYMOUS  | iq"},
    {"tls13 odd-space", {"FSCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 odd-space", {"FPLAIN"}, "", "auth PLAIN ~user~pen cil"},

    /* the choice of the mechanism */
    {"tls13", {"FPLAIN SCRAM-SHA-1 SCRAM-SHA-512 SCRAM-SHA-256"}, "", "auth SCRAM-SHA-512 y,,*"},
    {"tls12", {"FSCRAM-SHA-512 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS"}, "", P("256", "tls-unique")},
    {"tls13", {"FSCRAM-SHA-1 X-BETTER DIGEST-MD5 CRAM-MD5 PLAIN"}, "", Y1},
    {"tls13", {"FSCRAM-SHA-1 SCRAM-SHA-1 SCRAM-SHA-1"}, "", Y1},
    {"tls13 =SCRAM-SHA-1", {"FPLAIN SCRAM-SHA-1 SCRAM-SHA-512"}, "", N1},
    {"tls12 =SCRAM-SHA-1", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1"}, "", N1},
    {"tls12 =SCRAM-SHA-1-PLUS", {"FSCRAM-SHA-512-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-1"}, "", P("1", "tls-unique")},
    {"tls13 =SCRAM-SHA-256", {"FPLAIN SCRAM-SHA-1"}, "invalid-mechanism", ""},
    {"tls13 =PLAIN", {"FPLAIN SCRAM-SHA-1"}, "", PLAIN},
    {"tls13 =PLAIN", {"FSCRAM-SHA-1"}, "invalid-mechanism", ""},
    {"tls13", {"FDIGEST-MD5 X-FOO"}, "invalid-mechanism", ""},
    {"tls13", {"Fscram-sha-1 plain"}, "invalid-mechanism", ""},
    {"tls13", {"F"}, "invalid-mechanism", ""},
    {"tls13", {"<stream:features/>"}, "no-mechanisms", ""},
    {"tls13",
     {"<stream:features><mechanisms xmlns='urn:x'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"},
     "no-mechanisms",
     ""},
    {"tls13",
     {"<stream:features><mechanisms " NS "><mechanism xmlns='urn:x'>PLAIN</mechanism></mechanisms>"
      "</stream:features>"},
     "invalid-mechanism",
     ""},
    {"tls13",
     {"<stream:features><mechanisms " NS "><mechanism> PLAIN</mechanism></mechanisms></stream:features>"},
     "invalid-mechanism",
     ""},

    /* PLAIN: only if nothing better is offered, in verified TLS, and never if the server has offered better before */
    {"tls13", {"FPLAIN X-FOO"}, "", PLAIN},
    {"tls13", {"FPLAIN|tls-exporter"}, "", PLAIN}, /* passwords checked by LDAP: the list of binding types doesn't
                                                      matter */
    {"clear", {"FPLAIN"}, "invalid-mechanism", ""},
    {"clear", {"FPLAIN SCRAM-SHA-1"}, "", N1},
    {"tls13 unverified", {"FPLAIN"}, "invalid-mechanism", ""},
    {"tls13 unverified", {"FPLAIN SCRAM-SHA-1"}, "", Y1},
    {"tls13 not-plain", {"FPLAIN"}, "invalid-mechanism", ""},
    {"tls13 pinned", {"FPLAIN"}, "invalid-mechanism", ""},
    {"tls13 pinned =PLAIN", {"FPLAIN SCRAM-SHA-1"}, "invalid-mechanism", ""},
    {"tls13 pinned", {"FPLAIN SCRAM-SHA-1"}, "", Y1},
    {"tls13 no-password", {"FPLAIN SCRAM-SHA-1"}, "invalid-mechanism", ""},
    {"tls13 ed25519 =PLAIN,SCRAM-SHA-1-PLUS", {"FPLAIN SCRAM-SHA-1-PLUS|x"}, "no-channel-binding", ""},

    /* EXTERNAL and ANONYMOUS */
    {"tls13", {"FEXTERNAL SCRAM-SHA-1"}, "", Y1},
    {"clear certificate", {"FEXTERNAL SCRAM-SHA-1"}, "", N1},
    {"tls13 certificate no-password", {"FEXTERNAL PLAIN"}, "", "auth EXTERNAL "},
    {"tls13 certificate no-password", {"FPLAIN SCRAM-SHA-1"}, "invalid-mechanism", ""},
    {"tls13 certificate =SCRAM-SHA-1", {"FEXTERNAL SCRAM-SHA-1"}, "", N1},
    {"tls13 certificate", {"FPLAIN"}, "", PLAIN},
    {"tls13 certificate pinned", {"FPLAIN"}, "invalid-mechanism", ""},
    {"tls13 certificate", {"FEXTERNAL SCRAM-SHA-1 PLAIN", "Enot-authorized"}, "not-authorized", "auth EXTERNAL "},
    {"tls13 certificate", {"FEXTERNAL", "Einvalid-authzid"}, "invalid-authzid", "auth EXTERNAL "},
    {"tls13 certificate", {"FEXTERNAL", "<challenge " NS "/>"}, "unexpected-challenge", "auth EXTERNAL "},
    {"tls13 certificate", {"FEXTERNAL", "Sx"}, "unexpected-success-data", "auth EXTERNAL "},
    {"tls13 certificate",
     {"FEXTERNAL", "<success " NS "/>", "B", "Jeve@example.org/r"},
     "wrong-jid",
     "auth EXTERNAL  | iq"},
    {"tls13 nameless no-password", {"FANONYMOUS SCRAM-SHA-1 PLAIN"}, "", "auth ANONYMOUS "},
    {"tls13 nameless", {"FSCRAM-SHA-1 PLAIN"}, "invalid-mechanism", ""},
    {"tls13 nameless certificate", {"FEXTERNAL"}, "invalid-mechanism", ""},
    {"tls13", {"FANONYMOUS PLAIN"}, "", PLAIN},
    {"tls13", {"FANONYMOUS"}, "invalid-mechanism", ""},
    {"tls13 =ANONYMOUS",
     {"FANONYMOUS SCRAM-SHA-1", "<success " NS "/>", "B", "Jx1@example.org/r"},
     "",
     "auth ANONYMOUS  | iq"},
    {"tls13 =ANONYMOUS,PLAIN", {"FANONYMOUS PLAIN"}, "", PLAIN},
    {"tls13 nameless",
     {"FANONYMOUS", "<success " NS "/>", "B", "Jx1@evil.example/r"},
     "wrong-jid",
     "auth ANONYMOUS  | iq"},
    {"tls13 nameless", {"FANONYMOUS", "<success " NS "/>", "B", "Jexample.org/r"}, "", "auth ANONYMOUS  | iq"},
    {"tls13 nameless",
     {"FANONYMOUS", "<success " NS "/>", "B", "Jx1@example.org"},
     "invalid-jid",
     "auth ANONYMOUS  | iq"},
    {"tls13 nameless", {"FANONYMOUS", "<challenge " NS "/>"}, "unexpected-challenge", "auth ANONYMOUS "},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "V", "B", "Jx1@example.org/r"}, "wrong-jid", Y1 ANSWER " | iq"},

    /* the GS2 flags y, n and p without XEP-0440's list (Prosody 0.12, ejabberd 23.01) */
    {"tls12 no-ems", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS"}, "", P("1", "tls-server-end-point")},
    {"tls12 no-ems", {"FSCRAM-SHA-1"}, "", Y1},
    {"tls12 no-ems ed25519", {"FSCRAM-SHA-1"}, "", Y1},
    {"tls12 no-ems ed25519", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS"}, "", Y1},
    {"tls12", {"FSCRAM-SHA-1 SCRAM-SHA3-512-PLUS"}, "", Y1},
    {"tls13", {"FSCRAM-SHA-1 X-PLUS", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 =SCRAM-SHA-256,SCRAM-SHA-256-PLUS", {"FSCRAM-SHA-256 SCRAM-SHA-1-PLUS"}, "", Y256},
    {"tls13", {"FSCRAM-SHA-1-PLUS"}, "", P("1", "tls-exporter")},
    {"tls12 no-ems", {"FSCRAM-SHA-1-PLUS"}, "", P("1", "tls-server-end-point")},
    {"tls12 no-ems ed25519", {"FSCRAM-SHA-1-PLUS PLAIN"}, "no-channel-binding", ""},
    {"clear", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1"}, "", N1},
    {"clear", {"FSCRAM-SHA-1-PLUS"}, "invalid-mechanism", ""},
    {"tls13", {"FSCRAM-SHA-1", "Emalformed-request"}, "malformed-request", Y1},

    /* a guessed binding type that is refused, and a second try without it: once, and only if the guess is what was
     * refused */
    {"tls13",
     {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Enot-authorized", "C" CH, "V", "B", "Juser@example.org/r"},
     "",
     P("1", "tls-exporter") " | " Y1 ANSWER " | iq"},
    {"tls13", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Emalformed-request", "C" CH, "V"}, "", P("1", "tls-exporter") " | " Y1 ANSWER},
    {"tls13",
     {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Emalformed-request", "C" CH, "Enot-authorized"},
     "not-authorized",
     P("1", "tls-exporter") " | " Y1 ANSWER},
    {"tls13",
     {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Emalformed-request", "Emalformed-request"},
     "malformed-request",
     P("1", "tls-exporter") " | " Y1},
    {"tls13", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "C" CH, "Enot-authorized"}, "not-authorized", P("1", "tls-exporter") ANSWER},
    {"tls13", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Eaccount-disabled"}, "account-disabled", P("1", "tls-exporter")},
    {"tls13", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Etemporary-auth-failure"}, "temporary-auth-failure", P("1", "tls-exporter")},
    {"tls13", {"FSCRAM-SHA-1-PLUS", "Enot-authorized"}, "not-authorized", P("1", "tls-exporter")},
    {"tls13", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS|tls-exporter", "Enot-authorized"}, "not-authorized", P("1", "tls-exporter")},
    {"tls12", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Emalformed-request", "C" CH, "V"}, "", P("1", "tls-unique") " | " Y1 ANSWER},
    {"tls13 was-unbound", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 was-unbound", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS|tls-exporter", "C" CH, "V"}, "", P("1", "tls-exporter") ANSWER},

    /* an account that used channel binding before must use it again, unless the option mechanisms allows no -PLUS */
    {"tls13 once-bound", {"FSCRAM-SHA-1"}, "no-channel-binding", ""},
    {"tls13 once-bound", {"FSCRAM-SHA-1 X-PLUS"}, "no-channel-binding", ""},
    {"tls13 once-bound", {"FSCRAM-SHA-1|tls-exporter"}, "no-channel-binding", ""},
    {"tls13 once-bound", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS|tls-unique"}, "no-channel-binding", ""},
    {"tls13 once-bound", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Enot-authorized"}, "not-authorized", P("1", "tls-exporter")},
    {"tls13 once-bound was-unbound", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "C" CH, "V"}, "", P("1", "tls-exporter") ANSWER},
    {"tls13 once-bound", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS|tls-exporter", "C" CH, "V"}, "", P("1", "tls-exporter") ANSWER},
    {"tls13 once-bound =SCRAM-SHA-1", {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS|tls-exporter"}, "", N1},
    {"tls13 once-bound certificate", {"FEXTERNAL SCRAM-SHA-1"}, "", "auth EXTERNAL "},

    /* a password that has two forms: SASLprep's (pen2cil), then OpaqueString's */
    {"tls13 two-forms", {"FSCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 two-forms newer", {"FSCRAM-SHA-1", "C" CH, "Enot-authorized", "C" CH, "V"}, "", Y1 ANSWER " | " Y1 ANSWER},
    {"tls13 two-forms",
     {"FSCRAM-SHA-1", "C" CH, "Enot-authorized", "C" CH, "Enot-authorized"},
     "not-authorized",
     Y1 ANSWER " | " Y1 ANSWER},
    {"tls13 two-forms", {"FSCRAM-SHA-1", "Enot-authorized"}, "not-authorized", Y1},
    {"tls13 two-forms", {"FSCRAM-SHA-1", "C" CH, "Eaccount-disabled"}, "account-disabled", Y1 ANSWER},
    {"tls13 two-forms", {"FSCRAM-SHA-1", "C" CH, "Etemporary-auth-failure"}, "temporary-auth-failure", Y1 ANSWER},
    {"tls13 two-forms newer was-other", {"FSCRAM-SHA-1", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13 two-forms was-other", {"FSCRAM-SHA-1", "C" CH, "Enot-authorized", "C" CH, "V"}, "", Y1 ANSWER " | " Y1 ANSWER},
    {"tls13 was-other", {"FSCRAM-SHA-1", "C" CH, "Enot-authorized"}, "not-authorized", Y1 ANSWER},
    {"tls13 two-forms newer",
     {"FSCRAM-SHA-1 SCRAM-SHA-1-PLUS", "Enot-authorized", "C" CH, "Enot-authorized", "C" CH, "V"},
     "",
     P("1", "tls-exporter") " | " Y1 ANSWER " | " Y1 ANSWER},
    {"tls13 two-forms", {"FPLAIN", "<success " NS "/>"}, "", "auth PLAIN ~user~pen2cil"},
    {"tls13 two-forms",
     {"FPLAIN", "Enot-authorized", "<success " NS "/>"},
     "",
     "auth PLAIN ~user~pen2cil | auth PLAIN ~user~pen\xc2\xb2" "cil"},
    {"tls13 two-forms",
     {"FPLAIN", "Enot-authorized", "Enot-authorized"},
     "not-authorized",
     "auth PLAIN ~user~pen2cil | auth PLAIN ~user~pen\xc2\xb2" "cil"},
    {"tls13 odd-space", {"FPLAIN", "Enot-authorized"}, "not-authorized", "auth PLAIN ~user~pen cil"},
    {"tls13 soft-hyphen", {"FPLAIN", "Enot-authorized"}, "", "auth PLAIN ~user~pencil | auth PLAIN ~user~pen\xc2\xad" "cil"},
    {"tls13 odd-space", {"FSCRAM-SHA-1", "C" CH, "Enot-authorized"}, "not-authorized", Y1 ANSWER}, /* both forms are the
                                                                                                      same */

    /* the same with a list */
    {"tls13", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-server-end-point tls-exporter"}, "", P("1", "tls-exporter")},
    {"tls12", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-unique tls-exporter"}, "", P("1", "tls-exporter")},
    {"tls12", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-server-end-point tls-unique"}, "", P("1", "tls-unique")},
    {"tls13", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-server-end-point tls-unique"}, "", P("1", "tls-server-end-point")},
    {"tls12 no-ems",
     {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-server-end-point tls-unique"},
     "",
     P("1", "tls-server-end-point")},
    {"tls12 no-ems ed25519", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-server-end-point", "C" CH, "V"}, "", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-unique", "C" CH}, "no-channel-binding", Y1},
    {"tls13", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-unique", "C" CH ",h=z5wgmuBp62FmG6y7e+z7IK30ges="}, "", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|x-foreign", "C" CH}, "no-channel-binding", Y1},
    {"tls13",
     {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|x-foreign", "C" CH ",h=z5wgmuBp62FmG6y7e+z7IK30ges="},
     "downgrade-detected",
     Y1},
    {"tls13", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|", "C" CH}, "no-channel-binding", Y1},
    {"tls13", {"FSCRAM-SHA-1-PLUS|tls-unique"}, "no-channel-binding", ""},
    {"tls13", {"FSCRAM-SHA-1-PLUS PLAIN|tls-unique"}, "no-channel-binding", ""},
    {"tls13", {"FSCRAM-SHA-1|tls-exporter", "C" CH}, "no-channel-binding", Y1},
    {"tls13", {"FSCRAM-SHA-1 X-PLUS|tls-exporter", "C" CH}, "no-channel-binding", Y1},
    {"tls13", {"FSCRAM-SHA-1|tls-exporter", "C" CH ",h=3jF3WyEPM7a5T5fMHi3mct/ZFac="}, "", Y1 ANSWER},
    {"tls13 =SCRAM-SHA-1", {"FSCRAM-SHA-1|tls-exporter", "C" CH}, "", N1 PROOF},
    {"tls13 =SCRAM-SHA-1", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|x-foreign", "C" CH}, "", N1 PROOF},
    {"clear", {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-exporter", "C" CH}, "", N1 PROOF},
    {"tls13",
     {"<stream:features><mechanisms " NS "><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-1</mechanism>"
      "</mechanisms><sasl-channel-binding xmlns='urn:x'><channel-binding type='tls-exporter'/>"
      "</sasl-channel-binding></stream:features>"},
     "",
     P("1", "tls-exporter")},

    /* what the server claims to have offered (XEP-0474), and the version of TLS (XEP-0515) */
    {"tls13",
     {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-exporter tls-server-end-point",
      "C" CH ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08=,t=0304", "V"},
     "",
     P("1", "tls-exporter") ANSWER},
    {"tls13",
     {"FSCRAM-SHA-1-PLUS SCRAM-SHA-1|tls-server-end-point", "C" CH ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08="},
     "downgrade-detected",
     P("1", "tls-server-end-point")},
    {"tls13", {"FSCRAM-SHA-1", "C" CH ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08="}, "downgrade-detected", Y1},
    {"tls13", {"FSCRAM-SHA-1 PLAIN", "C" CH ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08="}, "downgrade-detected", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" CH ",t=0303"}, "downgrade-detected", Y1},
    {"tls12", {"FSCRAM-SHA-1", "C" CH ",t=0303"}, "", Y1 ANSWER},
    {"clear", {"FSCRAM-SHA-1", "C" CH ",t=0303"}, "downgrade-detected", N1},
    {"tls13", {"FSCRAM-SHA-1", "C" CH ",t=0304,t=0304"}, "malformed-challenge", Y1},

    /* servers that cheat */
    {"tls13", {"FSCRAM-SHA-1", "<success " NS "/>"}, "no-server-signature", Y1},
    {"tls13", {"FSCRAM-SHA-1", "S" FINAL}, "no-server-signature", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "<success " NS "/>"}, "no-server-signature", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "<success " NS ">=</success>"}, "no-server-signature", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "S" FINAL}, "bad-server-signature", Y1 ANSWER}, /* right only with the flag n */
    {"tls13",
     {"FSCRAM-SHA-1-PLUS|tls-exporter", "C" CH, "S" FINAL},
     "bad-server-signature",
     P("1", "tls-exporter") ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "Se=invalid-proof"}, "invalid-proof", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "Ce=channel-bindings-dont-match"}, "channel-bindings-dont-match", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "W", "V"}, "unexpected-success-data", Y1 ANSWER " | response "},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "W", "C" FINAL}, "unexpected-challenge", Y1 ANSWER " | response "},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "C" CH}, "malformed-challenge", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "<challenge " NS "/>"}, "malformed-challenge", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Cr=" NONCE "," SALT ",i=4096"}, "bad-server-nonce", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Cr=3rfcNHYJ" NONCE "," SALT ",i=4096"}, "bad-server-nonce", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" R "," SALT ",i=4095"}, "bad-iteration-count", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" R "," SALT ",i=2000001"}, "bad-iteration-count", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" R "," SALT ",i=4096abc"}, "bad-iteration-count", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" R "," SALT ",i=-1"}, "bad-iteration-count", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" R ",s=,i=4096"}, "bad-salt", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" R ",s=QSXC R+Q,i=4096"}, "bad-salt", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Cm=ext," CH}, "mandatory-extension", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" R ",i=4096," SALT}, "malformed-challenge", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<challenge " NS ">not base64!</challenge>"}, "incorrect-encoding", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<challenge " NS ">cj14 </challenge>"}, "incorrect-encoding", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<challenge " NS ">cj14<x/></challenge>"}, "incorrect-encoding", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "<success " NS "><x/></success>"}, "incorrect-encoding", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "<success " NS ">dj0</success>"}, "incorrect-encoding", Y1 ANSWER},
    {"tls13", {"FPLAIN", "<challenge " NS "/>"}, "unexpected-challenge", PLAIN},
    {"tls13", {"FPLAIN", "Sv=x"}, "unexpected-success-data", PLAIN},

    /* unexpected elements */
    {"tls13", {"FSCRAM-SHA-1", "<success xmlns='urn:x'/>"}, "bad-format", Y1},
    {"tls13", {"FSCRAM-SHA-1", "C" CH, "<success/>"}, "bad-format", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "FSCRAM-SHA-1"}, "bad-format", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<message><body>early</body></message>"}, "bad-format", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<iq type='get' id='1'/>"}, "bad-format", Y1},
    {"tls13", {"<success " NS "/>"}, "bad-format", ""},
    {"tls13", {"C" CH}, "bad-format", ""},
    {"tls13", {"FPLAIN", "<response " NS "/>"}, "bad-format", PLAIN},
    {"tls13", {"FPLAIN", "<abort " NS "/>"}, "bad-format", PLAIN},

    /* failures, whose conditions are passed on unchanged (RFC 6120 6.5); nothing is tried again */
    {"tls13", {"FSCRAM-SHA-1", "Eaborted"}, "aborted", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Eaccount-disabled"}, "account-disabled", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Ecredentials-expired"}, "credentials-expired", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Eencryption-required"}, "encryption-required", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Eincorrect-encoding"}, "incorrect-encoding", Y1},
    {"tls13", {"FSCRAM-SHA-1", "Einvalid-authzid"}, "invalid-authzid", Y1},
    {"tls13", {"FSCRAM-SHA-1 PLAIN", "Einvalid-mechanism"}, "invalid-mechanism", Y1},
    {"tls13", {"FSCRAM-SHA-1 PLAIN", "Emechanism-too-weak"}, "mechanism-too-weak", Y1},
    {"tls13", {"FSCRAM-SHA-1 PLAIN", "Enot-authorized"}, "not-authorized", Y1},
    {"tls13", {"FSCRAM-SHA-1 PLAIN", "C" CH, "Enot-authorized"}, "not-authorized", Y1 ANSWER},
    {"tls13", {"FSCRAM-SHA-1", "Etemporary-auth-failure"}, "temporary-auth-failure", Y1},
    {"tls13", {"FPLAIN", "Enot-authorized"}, "not-authorized", PLAIN},
    {"tls13", {"FPLAIN", "Etemporary-auth-failure"}, "temporary-auth-failure", PLAIN},
    {"tls13", {"FSCRAM-SHA-1", "Ex-new-condition"}, "x-new-condition", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<failure " NS "/>"}, "undefined-condition", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<failure " NS "><text>no</text></failure>"}, "undefined-condition", Y1},
    {"tls13", {"FSCRAM-SHA-1", "<failure " NS "><text>no</text><not-authorized/></failure>"}, "not-authorized", Y1},
    {"tls13",
     {"FSCRAM-SHA-1", "<failure " NS "><temporary-auth-failure xmlns='urn:x'/></failure>"},
     "undefined-condition",
     Y1},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

#endif
