/* The SASL matrix: what a server may send, over which channel, to which client; exactly what the client sends; and how
 * it ends. Elements go into nego and come out of it, with login, mech, sasl and scram behind it. The rows are in
 * sasl_rows.h (RFC 6120's profile) and sasl2_rows.h (SASL2, and tokens). Some modules are compiled into this file, so
 * that their malloc can be made to fail. */
#include <fnmatch.h>
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
#include <openssl/hmac.h>

#include "failing.h"
/* Modules whose malloc fails are included above this line, */
#include "../core/buf.c"
#include "../core/login.c"
#include "../core/nego.c"
#include "failing_off.h"
/* others below. */
#include "sasl2_rows.h"
#include "sasl_rows.h"
#include "xml.h"

/* Replaces rnd's: the nonce is always that of RFC 5802's example. */
int xm_rnd_bytes(void *p, size_t n) {
  memset(p, 4, n);
  return 0;
}

int xm_rnd_id(char id[XM_RND_ID + 1]) {
  strcpy(id, NONCE);
  return 0;
}

static bool says(const char *setup, const char *word) {
  return strstr(setup, word) != NULL;
}

/* One login. */
typedef struct session {
  const struct row *row;
  xm_nego *nego;
  xm_xml *xml;
  xm_buf out;
  xm_err e;
  bool failing;    /* memory runs out, see `heap` */
  bool sasl2;      /* the client logs in by SASL2 */
  char said[2000]; /* what the client has sent; see sasl_rows.h, sasl2_rows.h */
  char mechanism[40];
  char bare[400];       /* SCRAM: client-first-bare */
  char challenge[1600]; /* server-first-message */
  char final[1600];     /* client-final-message-without-proof */
} session;

static xm_mech_channel channel_of(const char *setup) {
  static const xm_mech_channel tls13 = {
      0x0304, {{20, "THIS IS FAKE CB DATA"}, {0, ""}, {32, "the hash of a certificate, 32 b"}}};
  static const xm_mech_channel tls12 = {
      0x0303, {{20, "THIS IS FAKE CB DATA"}, {12, "finished it"}, {32, "the hash of a certificate, 32 b"}}};
  xm_mech_channel channel = says(setup, "tls12") ? tls12 : tls13;
  if (says(setup, "no-ems")) channel.bindings[XM_MECH_EXPORTER].n = channel.bindings[XM_MECH_UNIQUE].n = 0;
  if (says(setup, "ed25519")) channel.bindings[XM_MECH_END_POINT].n = 0;
  return channel;
}

static void tell_channel(session *s) {
  const xm_mech_channel channel = channel_of(s->row->setup);
  if (says(s->row->setup, "clear")) return;
  xm_nego_secured(s->nego, !says(s->row->setup, "unverified"));
  xm_nego_set_channel(s->nego, &channel);
}

/* The account's token: "token-EXPR" is one for HT-SHA-256-EXPR. */
static bool read_token(const char *setup, xm_token *token) {
  const char *kind = strstr(setup, "token-");
  *token = (xm_token){.n = strlen(TOKEN), .bytes = TOKEN};
  if (kind) snprintf(token->mechanism, sizeof token->mechanism, "HT-SHA-256-%.4s", kind + strlen("token-"));
  return kind != NULL;
}

static void start(session *s, xm_jid *jid, char allowed[200]) {
  const char *setup = s->row->setup, *list = strchr(setup, '='), *reason;
  xm_bounds limits = {65536, 65536, 128, 256, 50000, 1024};
  const char *address = says(setup, "nameless") ? "example.org/r" : "user@example.org/r";
  const char *password = says(setup, "no-password") ? NULL : "pencil";
  xm_nego_options o = {.jid = jid,
                       .plain = !says(setup, "not-plain"),
                       .pinned = says(setup, "pinned"),
                       .bound = says(setup, "once-bound"),
                       .certificate = says(setup, "certificate"),
                       .authzid = says(setup, "many-names"),
                       .need_tls = !says(setup, "clear"),
                       .sasl2 = says(setup, "sasl2"),
                       .fast = says(setup, "fast"),
                       .invalidate = says(setup, "last-time"),
                       .agent = says(setup, "fast") || says(setup, "token-") ? AGENT : NULL};
  xm_token token;
  assert_int_equal(xm_jid_parse(jid, address, strlen(address), &reason), XM_OK);
  if (read_token(setup, &token)) o.token = &token;
  if (list) o.mechanisms = strcpy(allowed, list + 1);
  if (says(setup, "odd-space"))
    password =
        "pen\xc2\xa0"
        "cil"; /* U+00A0, which becomes a space */
  if (says(setup, "soft-hyphen")) password = "pen\xc2\xad" "cil";
  if (says(setup, "two-forms")) password = "pen\xc2\xb2" "cil"; /* superscript two */
  s->nego = xm_nego_new(&o, password, password ? strlen(password) : 0);
  s->xml = xm_xml_new("jabber:client", &limits);
  assert_true(s->nego && s->xml);
  xm_nego_set_detours(s->nego, (says(setup, "was-unbound") ? XM_LOGIN_UNBOUND : 0u) |
                                   (says(setup, "was-other") ? XM_LOGIN_OTHER_FORM : 0u) |
                                   (says(setup, "was-without") ? XM_LOGIN_NO_TOKEN : 0u));
  xm_nego_set_sasl2(s->nego, says(setup, "strict"), says(setup, "broken"));
  tell_channel(s);
}

/* Gives the parser what the server sends, until there is an event. */
static int hear(session *s, const char *text) {
  size_t n = strlen(text), room;
  int ev = xm_xml_next(s->xml, &s->e); /* the last element isn't needed any more */
  while (n && ev == XM_XML_MORE) {
    char *to = xm_xml_space(s->xml, &room);
    size_t some = n < room ? n : room;
    memcpy(to, text, some);
    xm_xml_fill(s->xml, some);
    text += some;
    n -= some;
    ev = xm_xml_next(s->xml, &s->e);
  }
  return ev == XM_XML_MORE ? xm_xml_drained(s->xml, &s->e) : ev;
}

static void open_stream(session *s) {
  static const char header[] =
      "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' "
      "version='1.0'>";
  assert_int_equal(xm_nego_begin(s->nego, &s->out, &s->e), XM_OK);
  xm_buf_clear(&s->out);
  assert_int_equal(xm_xml_restart(s->xml), XM_OK);
  assert_int_equal(hear(s, header), XM_XML_OPEN);
  assert_int_equal(xm_nego_opened(s->nego, xm_xml_tape(s->xml), &s->out, &s->e), XM_NEGO_WAIT);
}

/* What the client has sent. */

static size_t decode(const char *text, size_t n, char *to) {
  int len = n == 1 ? 0 : EVP_DecodeBlock((unsigned char *)to, (const unsigned char *)text, (int)n);
  assert_true(len >= 0);
  while (n > 1 && n-- && text[n] == '=') len--;
  to[len] = '\0';
  return (size_t)len;
}

static void note_scram(session *s, const char *bytes, bool first) {
  const char *proof = strstr(bytes, ",p=");
  if (first) {
    const char *comma = strchr(bytes, ',');
    snprintf(s->bare, sizeof s->bare, "%s", comma && strchr(comma + 1, ',') ? strchr(comma + 1, ',') + 1 : "");
  } else if (proof) {
    snprintf(s->final, sizeof s->final, "%.*s", (int)(proof - bytes), bytes);
  }
}

/* Decodes what is between `from` and `to`. */
static size_t decode_between(const char *from, const char *to, char bytes[1500]) {
  bytes[0] = '\0';
  return to > from ? decode(from, (size_t)(to - from), bytes) : 0;
}

/* HMAC-SHA-256, with the token as its key, of a word and the channel binding (XEP-0484). */
static void prove_by_token(const session *s, const char *word, unsigned char mac[32]) {
  const xm_mech_channel channel = channel_of(s->row->setup);
  static const char *const types[] = {"EXPR", "UNIQ", "ENDP"};
  unsigned char text[100];
  size_t len = strlen(word);
  unsigned n;
  int i;
  memcpy(text, word, len);
  for (i = 0; i < 3; i++) {
    if (!says(s->mechanism, types[i])) continue;
    memcpy(text + len, channel.bindings[i].bytes, channel.bindings[i].n);
    len += channel.bindings[i].n;
  }
  assert_non_null(HMAC(EVP_sha256(), TOKEN, strlen(TOKEN), text, len, mac, &n));
}

/* A name, NUL and a proof; the proof is replaced by a word. */
static size_t name_proof(const session *s, char bytes[1500], size_t n) {
  char *proof = memchr(bytes, '\0', n);
  unsigned char right[32];
  assert_non_null(proof);
  proof++;
  prove_by_token(s, "Initiator", right);
  strcpy(proof, n - (size_t)(proof - bytes) == 32 && memcmp(proof, right, 32) == 0 ? "proof" : "wrong");
  return (size_t)(proof - bytes) + 5;
}

/* The first message of a login: the element's name, the mechanism, the initial response, and in SASL2 what else is
 * inside. */
static void note_login(session *s, const char *xml, char *to) {
  const char *content, *end, *inside = "";
  char bytes[1500];
  size_t n, i;
  s->sasl2 = strncmp(xml, "<authenticate ", 14) == 0;
  sscanf(strstr(xml, "mechanism='"), "mechanism='%39[^']", s->mechanism);
  if (s->sasl2) {
    assert_memory_equal(xml, "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='", 49);
    content = strstr(xml, "'><initial-response");
    assert_non_null(content); /* all of our mechanisms send one */
    content += strlen("'><initial-response");
    end = *content++ == '/' ? content : strstr(content, "</initial-response>");
    inside = end == content ? content + 1 : end + strlen("</initial-response>");
    assert_false(end - content == 1 && *content == '='); /* "=" is for an empty one in the older profile */
  } else {
    assert_memory_equal(xml, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='", 57);
    content = strchr(xml, '>') + 1;
    end = strchr(content, '<');
    assert_true(end > content); /* "=" at least: no initial response would be something else */
  }
  n = decode_between(content, end, bytes);
  note_scram(s, bytes, true);
  if (strncmp(s->mechanism, "HT-", 3) == 0) n = name_proof(s, bytes, n);
  for (i = 0; i < n; i++) bytes[i] = bytes[i] ? bytes[i] : '~';
  bytes[n] = '\0';
  to += sprintf(to, "%s %s %s", s->sasl2 ? "authenticate" : "auth", s->mechanism, bytes);
  i = strlen(inside);
  if (i > strlen("</authenticate>")) sprintf(to, " %.*s", (int)(i - strlen("</authenticate>")), inside);
}

/* One element from the client, as text after the earlier ones. Nothing else may ever be sent. */
static void note(session *s) {
  char xml[2000], bytes[1500], *content, *to = s->said + strlen(s->said);
  const char *response = s->sasl2 ? "<response xmlns='urn:xmpp:sasl:2'" : "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
  snprintf(xml, sizeof xml, "%.*s", (int)xm_buf_len(&s->out), xm_buf_at(&s->out));
  xm_buf_clear(&s->out);
  to += sprintf(to, "%s", *s->said ? " | " : "");
  if (strncmp(xml, "<iq ", 4) == 0) {
    strcpy(to, "iq");
  } else if (strncmp(xml, "<auth", 5) == 0) {
    note_login(s, xml, to);
  } else {
    assert_memory_equal(xml, response, strlen(response));
    content = strchr(xml, '>') + 1;
    decode_between(content, strchr(content, '<'), bytes);
    note_scram(s, bytes, false);
    sprintf(to, "response %s", bytes);
  }
}

/* The signature of an honest server: RFC 5802 section 3. */
static void sign(const session *s, char v[120]) {
  const EVP_MD *md = strstr(s->mechanism, "512")   ? EVP_sha512()
                     : strstr(s->mechanism, "256") ? EVP_sha256()
                                                   : EVP_sha1();
  unsigned char salted[64], key[64], signature[64];
  unsigned n;
  char auth[4000];
  const char *password = says(s->row->setup, "odd-space")   ? "pen cil"
                         : says(s->row->setup, "newer")     ? "pen\xc2\xb2" "cil"
                         : says(s->row->setup, "two-forms") ? "pen2cil"
                                                            : "pencil";
  snprintf(auth, sizeof auth, "%s,%s,%s", s->bare, s->challenge, s->final);
  assert_int_equal(PKCS5_PBKDF2_HMAC(password, -1, (const unsigned char *)"A%\xc2G\xe4:\xb1\xe9<m\xffv", 12, 4096, md,
                                     EVP_MD_get_size(md), salted),
                   1);
  HMAC(md, salted, EVP_MD_get_size(md), (const unsigned char *)"Server Key", 10, key, &n);
  HMAC(md, key, (int)n, (const unsigned char *)auth, strlen(auth), signature, &n);
  strcpy(v, "v=");
  EVP_EncodeBlock((unsigned char *)v + 2, signature, (int)n);
}

/* A message from the server, in the login's profile, with these bytes in base64. */
static void wrap_bytes(const session *s, const char *name, const void *bytes, size_t n, char *xml) {
  bool success = strcmp(name, "success") == 0;
  char *to = xml + sprintf(xml, "<%s %s>%s", name, s->sasl2 ? NS2 : NS, s->sasl2 && success ? "<additional-data>" : "");
  to += EVP_EncodeBlock((unsigned char *)to, bytes, (int)n);
  if (s->sasl2 && success) to += sprintf(to, "</additional-data>" WHO);
  sprintf(to, "</%s>", name);
}

static void wrap(const session *s, const char *name, const char *text, char *xml) {
  wrap_bytes(s, name, text, strlen(text), xml);
}

static void answer_token(const session *s, const char *word, size_t n, char *xml) {
  unsigned char mac[32];
  prove_by_token(s, word, mac);
  wrap_bytes(s, "success", mac, n, xml);
}

static char *put_names(char *to, const char *list, const char *end, const char *form) {
  while (list < end) {
    size_t n = strcspn(list, " /|;");
    char name[100];
    snprintf(name, sizeof name, "%.*s", (int)n, list);
    to += sprintf(to, form, name);
    list += n + (list[n] == ' ');
  }
  return to;
}

/* The end of this part of a line; part(): where the next part begins that is marked with `mark`; NULL: there is
 * none. */
static const char *end_of_part(const char *at) {
  return at + strcspn(at, "/|;");
}

static const char *part(const char *line, char mark) {
  const char *at = strchr(line, mark);
  return at ? at + 1 : NULL;
}

static char *put_mechanisms(char *to, const char *list) {
  to += sprintf(to, "<mechanisms " NS ">");
  to = put_names(to, list, end_of_part(list), "<mechanism>%s</mechanism>");
  return to + sprintf(to, "</mechanisms>");
}

static char *put_authentication(char *to, const char *list, const char *tokens) {
  to += sprintf(to, "<authentication " NS2 ">");
  to = put_names(to, list, end_of_part(list), "<mechanism>%s</mechanism>");
  if (tokens) {
    to += sprintf(to, "<inline><fast xmlns='urn:xmpp:fast:0'>");
    to = put_names(to, tokens, end_of_part(tokens), "<mechanism>%s</mechanism>");
    to += sprintf(to, "</fast></inline>");
  }
  return to + sprintf(to, "</authentication>");
}

static void features(const char *line, bool sasl2, char *to) {
  const char *older = sasl2 ? part(line, '/') : line, *types = part(line, '|');
  to += sprintf(to, "<stream:features>");
  if (sasl2) to = put_authentication(to, line, part(line, ';'));
  if (older) to = put_mechanisms(to, older);
  if (types) {
    to += sprintf(to, "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>");
    to = put_names(to, types, end_of_part(types), "<channel-binding type='%s'/>");
    to += sprintf(to, "</sasl-channel-binding>");
  }
  strcpy(to, "</stream:features>");
}

/* SASL2's <continue/>: the mechanism is done, and the server wants another task. */
static void put_continue(const char *v, char *xml) {
  char *to = xml + sprintf(xml, "<continue " NS2 "><additional-data>");
  to += EVP_EncodeBlock((unsigned char *)to, (const unsigned char *)v, (int)strlen(v));
  strcpy(to, "</additional-data><tasks><task>X-TOTP</task></tasks></continue>");
}

/* Makes XML of a line of a script: see sasl_rows.h and sasl2_rows.h. */
static void line_to_xml(session *s, const char *line, char *xml) {
  char v[120];
  if (*line == 'C') snprintf(s->challenge, sizeof s->challenge, "%s", line + 1);
  switch (*line) {
    case 'F': features(line + 1, false, xml); break;
    case 'A': features(line + 1, true, xml); break;
    case 'C': wrap(s, "challenge", line + 1, xml); break;
    case 'S': wrap(s, "success", line + 1, xml); break;
    case 'V': sign(s, v), wrap(s, "success", v, xml); break;
    case 'W': sign(s, v), wrap(s, "challenge", v, xml); break;
    case 'K': sign(s, v), put_continue(v, xml); break;
    case 'H': answer_token(s, line[1] ? line + 1 : "Responder", 32, xml); break;
    case 'T': answer_token(s, "Responder", (size_t)atoi(line + 1), xml); break;
    case 'E': sprintf(xml, "<failure %s><%s " NS "/></failure>", s->sasl2 ? NS2 : NS, line + 1); break;
    case 'B': strcpy(xml, "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"); break;
    case 'J':
      sprintf(xml,
              "<iq type='result' id='" NONCE
              "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%s</jid></bind></iq>",
              line + 1);
      break;
    default: strcpy(xml, line); break;
  }
}

/* Plays one line. Returns an xm_nego_verdict, or XM_EFAIL. */
static int play_line(session *s, const char *line) {
  char xml[8000];
  int verdict;
  line_to_xml(s, line, xml);
  if (hear(s, xml) != XM_XML_STANZA) fail_msg("no element: %s (%s)", xml, s->e.text);
  heap.armed = s->failing;
  verdict = xm_nego_read(s->nego, xm_xml_tape(s->xml), &s->out, &s->e);
  heap.armed = false;
  if (verdict < 0 && !s->failing) assert_int_equal(xm_buf_len(&s->out), 0);
  if (verdict >= 0 && xm_buf_len(&s->out)) note(s);
  if (verdict == XM_NEGO_RESTART) open_stream(s);
  return verdict;
}

static xm_layer layer_of(const char *condition) {
  if (says(condition, "-jid")) return XM_LAYER_BIND;
  return says(condition, "bad-format") ? XM_LAYER_STREAM : XM_LAYER_SASL;
}

static void check_error(size_t i, const session *s) {
  const struct row *row = s->row;
  const char *p;
  if (strcmp(s->e.condition, row->condition) != 0)
    fail_msg("row %zu: %s, not %s: %s", i, s->e.condition, row->condition, s->e.text);
  if (!*row->condition) return;
  assert_int_equal(s->e.retry, strcmp(row->condition, "temporary-auth-failure") == 0);
  assert_int_equal(s->e.layer, layer_of(row->condition));
  assert_null(strstr(s->e.text, "pencil"));
  for (p = s->e.text; *p; p++) assert_true((unsigned char)*p >= ' ');
}

/* Has the login succeeded by the end of the script, whatever came after that? */
static bool is_success(const struct row *row, const char *last) {
  return says(row->said, "| iq") || says(row->condition, "-jid") ||
         (!*row->condition && (strchr("SVHT", *last) || says(last, "<success")));
}

/* Notes what has become of the token, and which new one has come. */
static void note_fate(session *s) {
  static const char *const fates[] = {"", " shown", " worked", " refused"};
  const xm_token *fresh = xm_nego_new_token(s->nego);
  char what[100];
  snprintf(what, sizeof what, "%s%s%s%s", fates[xm_nego_token(s->nego)], fresh->n ? " new " : "",
           fresh->n ? fresh->mechanism : "", xm_nego_detours(s->nego) & XM_LOGIN_NO_TOKEN ? " without" : "");
  if (*what) sprintf(s->said + strlen(s->said), " #%s", what);
}

static void play(size_t i, const struct row *row) {
  session s = {.row = row, .out = XM_BUF_SECRET};
  static xm_jid jid;
  char allowed[200];
  int k, verdict = XM_NEGO_WAIT;
  start(&s, &jid, allowed);
  open_stream(&s);
  for (k = 0; row->script[k]; k++) {
    if (verdict < 0) fail_msg("row %zu: too early: %s", i, s.e.text);
    verdict = play_line(&s, row->script[k]);
  }
  if ((verdict < 0) != (*row->condition != 0)) fail_msg("row %zu: %s", i, verdict < 0 ? s.e.text : s.said);
  check_error(i, &s);
  note_fate(&s);
  if (fnmatch(row->said, s.said, 0) != 0) fail_msg("row %zu: said \"%s\", not \"%s\"", i, s.said, row->said);
  if (says(row->setup, "no-password") || !strstr(row->said, " PLAIN ")) assert_null(strstr(s.said, "pencil"));
  assert_null(strstr(s.said, TOKEN));
  assert_null(strstr(s.e.text, TOKEN));
  if (*s.mechanism && s.sasl2 != (xm_nego_profile(s.nego) == XM_LOGIN_SASL2)) fail_msg("row %zu: in the other profile", i);
  if ((xm_nego_mechanism(s.nego) != NULL) != is_success(row, row->script[k - 1]))
    fail_msg("row %zu: logged in by %s", i, xm_nego_mechanism(s.nego) ? xm_nego_mechanism(s.nego) : "nothing");
  if (xm_nego_mechanism(s.nego)) assert_string_equal(xm_nego_mechanism(s.nego), s.mechanism);
  xm_nego_free(s.nego);
  xm_xml_free(s.xml);
  xm_buf_free(&s.out);
}

/* A login that would succeed, with the heap failing from request `at` on: false if there were fewer. */
static bool survives(const struct row *row, long at) {
  session s = {.row = row, .out = XM_BUF_SECRET, .failing = true};
  static xm_jid jid;
  char allowed[200];
  int k, verdict = XM_NEGO_WAIT;
  long live = heap.live;
  start(&s, &jid, allowed);
  open_stream(&s);
  heap_fails(at, true);
  heap.armed = false;
  for (k = 0; s.row->script[k] && verdict >= 0; k++) verdict = play_line(&s, s.row->script[k]);
  assert_int_equal(verdict<0, heap.noes> 0);
  assert_string_equal(s.e.condition, verdict < 0 ? "ENOMEM" : "");
  xm_nego_free(s.nego);
  xm_xml_free(s.xml);
  xm_buf_free(&s.out);
  assert_int_equal(heap.live, live);
  return verdict < 0;
}

static void run_out_of_memory(const struct row *table, size_t n) {
  size_t i;
  long at;
  for (i = 0; i < n; i++) {
    if (*table[i].condition || !table[i].script[1]) continue;
    for (at = 0; survives(&table[i], at); at++) continue;
    assert_true(at > 0);
  }
}

static void test_failing_heap(void **unused) {
  (void)unused;
  run_out_of_memory(rows, ROWS);
}

static void test_failing_heap_sasl2(void **unused) {
  (void)unused;
  run_out_of_memory(rows2, ROWS2);
}

static void test_matrix(void **unused) {
  size_t i;
  (void)unused;
  assert_true(ROWS >= 120);
  for (i = 0; i < ROWS; i++) play(i, &rows[i]);
}

static void test_matrix_sasl2(void **unused) {
  size_t i;
  (void)unused;
  assert_true(ROWS2 >= 160);
  for (i = 0; i < ROWS2; i++) play(i, &rows2[i]);
}

/* The channel binding's type is reported when the login has succeeded, not before. */
static void test_binding_is_told(void **unused) {
  static const struct row row = {"tls13", {"FSCRAM-SHA-1-PLUS|tls-exporter", "C" CH, "V"}, "", "*"};
  session s = {.row = &row, .out = XM_BUF_SECRET};
  xm_jid jid;
  char allowed[200];
  int k;
  (void)unused;
  start(&s, &jid, allowed);
  open_stream(&s);
  for (k = 0; row.script[k]; k++) {
    assert_null(xm_nego_binding(s.nego));
    assert_true(play_line(&s, row.script[k]) >= 0);
  }
  assert_string_equal(xm_nego_binding(s.nego), "tls-exporter");
  xm_nego_free(s.nego);
  xm_xml_free(s.xml);
  xm_buf_free(&s.out);
}

/* Each mechanism has a limit of challenges. */
static void test_challenges_have_an_end(void **unused) {
  static const struct {
    struct row row;
    int most;
  } endless[] = {{{"tls13 sasl2", {"ASCRAM-SHA-1", "C" CH, "W"}, "", ""}, 2},
                 {{"tls13", {"FSCRAM-SHA-1", "C" CH, "W"}, "", ""}, 2},
                 {{"tls13 sasl2", {"APLAIN"}, "", ""}, 0},
                 {{"tls13 sasl2 certificate", {"AEXTERNAL"}, "", ""}, 0},
                 {{"tls13 sasl2 nameless", {"AANONYMOUS"}, "", ""}, 0},
                 {{"tls13 sasl2 token-EXPR", {"APLAIN;HT-SHA-256-EXPR"}, "", ""}, 0}};
  size_t i;
  (void)unused;
  for (i = 0; i < sizeof endless / sizeof *endless; i++) {
    session s = {.row = &endless[i].row, .out = XM_BUF_SECRET};
    xm_jid jid;
    char allowed[200];
    int k, verdict = XM_NEGO_WAIT;
    start(&s, &jid, allowed);
    open_stream(&s);
    for (k = 0; s.row->script[k]; k++) assert_int_equal(play_line(&s, s.row->script[k]), XM_NEGO_WAIT);
    for (k = endless[i].most; k < 100 && verdict >= 0; k++)
      verdict = play_line(&s, s.sasl2 ? "<challenge " NS2 "/>" : "<challenge " NS "/>");
    assert_int_equal(k, endless[i].most + 1);
    assert_string_equal(s.e.condition, "unexpected-challenge");
    xm_nego_free(s.nego);
    xm_xml_free(s.xml);
    xm_buf_free(&s.out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matrix),
      cmocka_unit_test(test_matrix_sasl2),
      cmocka_unit_test(test_binding_is_told),
      cmocka_unit_test(test_challenges_have_an_end),
      cmocka_unit_test(test_failing_heap),
      cmocka_unit_test(test_failing_heap_sasl2),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
