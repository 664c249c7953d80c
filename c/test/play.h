/* play: plays for nego. The server's lines are parsed and handed to nego as link does; what nego writes is compared
 * with our lines:
 *
 *   S: bytes                  from the server; $H is a stream header, $F and /$F are <stream:features> and its end, $ID
 *                             the last id that we have sent
 *   C: pattern                everything that we have sent since; '*' stands for anything (an id), $H for our header
 *   TLS, UNVERIFIED, RESTART  nego must request it; then it is done
 *   READY jid, BEFORE jid     that session must be bound; BEFORE: and what came last belongs to it
 *   KEPT n                    how many stanzas in the server's lines since the last KEPT must be kept for the session
 *   RESUMED h                 the old session must be resumed, of which the server has handled h
 *   ANEW, LOST [h]            what has become of the old session, when a new one is bound
 *   FAIL layer condition [retry]
 *   WENT, AHEAD, OBJECTED N   what was sent ahead so far, what of that is unanswered, what may be to blame (32: an
 *                             offer that has changed): XM_NEGO_AHEAD_*
 *   OFFERS namespaces         what was offered after the login
 *   TOKEN fate [mechanism token expiry]   what has become of our token (unused, shown, worked, refused); the new one
 *   ENABLED [id max location] stream management that came with the session ("-": none of these); nothing: it isn't on
 *
 * The modules are compiled into the program that includes this, so that their malloc can be made to fail. Include
 * fnmatch.h and cmocka.h before it. */
#ifndef PLAY_H
#define PLAY_H

#include "ns.h"
#include "xml.h"

#include "failing.h"

#include "../core/b64.c"
#include "../core/buf.c"
#include "../core/login.c"
#include "../core/nego.c"
#include "../core/out.c"

#include "failing_off.h"

#include "events.h"

#define SASL "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
#define OFFER "S: $H$F<mechanisms " SASL "><mechanism>PLAIN</mechanism></mechanisms>/$F\n"
#define AUTH "C: <auth " SASL " mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>\n"
#define LOGIN OFFER "C: $H*</auth>\nS: <success " SASL "/>\nRESTART\n"
#define BIND "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'"
#define BOUND(jid) "S: <iq type='result' id='$ID'>" BIND "><jid>" jid "</jid></bind></iq>\n"
#define TO_BIND LOGIN "S: $H$F" BIND "/>/$F\nC: $H<iq type='set' id='*'>*</iq>\n"
#define SM "<sm xmlns='urn:xmpp:sm:3'/>"
#define RESUME "C: $H<resume xmlns='urn:xmpp:sm:3' h='7' previd='id-1'/>\n"
#define TO_RESUME LOGIN "S: $H$F" SM BIND "/>/$F\n" RESUME
#define BINDS "C: <iq type='set' id='*'>" BIND "><resource>lua</resource></bind></iq>\n"
#define REBOUND BINDS BOUND("alice@xmpp.example/lua") "READY alice@xmpp.example/lua\n"
#define STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'"

static const char header[] =
    "<?xml version='1.0'?><stream:stream xmlns:stream='" XM_NS_STREAM "' xmlns='jabber:client' ";

/* What may be sent ahead in all plays, and by which offer. */
static struct ahead {
  unsigned may;
  const char *offer;
  xm_login_profile profile;
  unsigned inside;
} ahead;

/* The channel that logins are bound to, in all plays with TLS. */
static xm_mech_channel channel;

struct play {
  const char *line;
  xm_nego *nego;
  xm_xml *xml;
  xm_buf out;
  char id[64];
  int verdict; /* the verdict on the server's last line */
  unsigned kept;
  xm_err e;
};

static const char *const layers[] = {"",     "dns",    "tcp",     "tls",    "stream", "sasl",
                                     "bind", "stanza", "timeout", "closed", "limit"};

static xm_jid jid_of(const char *s) {
  const char *reason;
  xm_jid j;
  assert_int_equal(xm_jid_parse(&j, s, strlen(s), &reason), XM_OK);
  return j;
}

/* Appends the line with its $words replaced. */
static void expand(const struct play *p, const char *s, size_t n, const char *our_header, xm_buf *to) {
  const struct {
    const char *word, *text;
  } words[] = {{"$H", our_header}, {"/$F", "</stream:features>"}, {"$F", "<stream:features>"}, {"$ID", p->id}};
  size_t i = 0, k;
  while (i < n) {
    for (k = 0; k < 4 && strncmp(s + i, words[k].word, strlen(words[k].word)) != 0;) k++;
    xm_buf_put(to, k < 4 ? words[k].text : s + i, k < 4 ? strlen(words[k].text) : 1);
    i += k < 4 ? strlen(words[k].word) : 1;
  }
  xm_buf_putc(to, '\0');
}

/* Hands over what the server sends, event by event; stops when nego requests another stream, or fails. */
static void server_says(struct play *p, const char *s) {
  size_t n = strlen(s), room;
  p->verdict = XM_NEGO_WAIT;
  while (p->verdict == XM_NEGO_WAIT || p->verdict == XM_NEGO_READY) {
    const xm_tape *t = xm_xml_tape(p->xml);
    int event = xm_xml_next(p->xml, &p->e);
    if (event == XM_XML_MORE && n == 0) return;
    if (event == XM_XML_MORE) {
      char *to = xm_xml_space(p->xml, &room);
      size_t some = n < room ? n : room;
      memcpy(to, s, some);
      xm_xml_fill(p->xml, some);
      s += some;
      n -= some;
      continue;
    }
    if (event < 0) fail_msg("%s: %s", p->line, p->e.text);
    p->verdict =
        event == XM_XML_OPEN ? xm_nego_opened(p->nego, t, &p->out, &p->e) : xm_nego_read(p->nego, t, &p->out, &p->e);
    if (p->verdict != XM_NEGO_EARLY) continue;
    p->kept++;
    p->verdict = XM_NEGO_WAIT;
  }
}

static void we_said(struct play *p, const char *pattern) {
  const char *id;
  xm_buf_putc(&p->out, '\0');
  id = strstr(xm_buf_at(&p->out), "<iq type='set' id='");
  if (id) snprintf(p->id, sizeof p->id, "%.*s", (int)strcspn(id + 19, "'"), id + 19);
  if (fnmatch(pattern, xm_buf_at(&p->out), FNM_NOESCAPE) != 0)
    fail_msg("%s\ninstead of\n%s", xm_buf_at(&p->out), pattern);
  xm_buf_clear(&p->out);
}

static void begin(struct play *p) {
  assert_int_equal(xm_nego_begin(p->nego, &p->out, &p->e), XM_OK);
  assert_true(xm_nego_go_ahead(p->nego, &p->out, &p->e) >= 0);
}

/* Begins a new stream after TLS or SASL, as link does. */
static void begin_anew(struct play *p, int verdict) {
  assert_int_equal(p->verdict, verdict);
  assert_int_equal(xm_buf_len(&p->out), 0);
  assert_int_equal(xm_xml_restart(p->xml), XM_OK);
  begin(p);
}

static void we_fail(struct play *p, const char *how) {
  char got[128];
  snprintf(got, sizeof got, "%s %s%s", layers[p->e.layer], p->e.condition, p->e.retry ? " retry" : "");
  assert_int_equal(p->verdict, XM_EFAIL);
  if (strcmp(got, how) != 0) fail_msg("%s (%s) instead of %s", got, p->e.text, how);
  assert_int_equal(xm_buf_len(&p->out), 0);
  assert_true(strlen(p->e.text) > 15);
  assert_null(strpbrk(p->e.text, "\n\r\t"));
}

/* Checks what became of the session that was to be resumed; `h`: "" if the server hasn't sent it. */
static void outcome_is(struct play *p, const char *word, const char *h) {
  static const char *const names[] = {"ANEW", "RESUMED", "LOST", "LOST"};
  char said[16] = "";
  uint32_t n;
  xm_nego_outcome outcome = xm_nego_outcome_of(p->nego, &n);
  if (outcome == XM_NEGO_RESUMED || outcome == XM_NEGO_LOST_AT) snprintf(said, sizeof said, "%u", (unsigned)n);
  assert_string_equal(names[outcome], word);
  assert_string_equal(said, h);
  if (outcome != XM_NEGO_RESUMED) return;
  assert_int_equal(p->verdict, XM_NEGO_READY);
  assert_int_equal(xm_nego_at(p->nego), XM_NEGO_DONE);
  assert_int_equal(xm_buf_len(&p->out), 0);
  assert_int_equal(xm_jid_len(xm_nego_jid(p->nego)), 0); /* nothing was bound */
}

static void offers_are(struct play *p, const char *wanted) {
  xm_buf offers = xm_nego_take_offers(p->nego);
  size_t i, n = xm_buf_len(&offers);
  char *s = xm_buf_at(&offers);
  for (i = 0; i + 1 < n; i++)
    if (!s[i]) s[i] = ' ';
  if (strcmp(n ? s : "", wanted) != 0) fail_msg("%s\ninstead of\n%s", n ? s : "", wanted);
  xm_buf_free(&offers);
  offers = xm_nego_take_offers(p->nego);
  assert_int_equal(xm_buf_len(&offers), 0);
}

static void token_is(struct play *p, const char *wanted) {
  static const char *const fates[] = {"unused", "shown", "worked", "refused"};
  const xm_token *fresh = xm_nego_new_token(p->nego);
  char got[XM_TOKEN_MOST + 100], *to = got;
  to += sprintf(to, "%s", fates[xm_nego_token(p->nego)]);
  if (fresh->n) sprintf(to, " %s %.*s %lld", fresh->mechanism, (int)fresh->n, fresh->bytes, (long long)fresh->expiry);
  if (strcmp(got, wanted) != 0) fail_msg("%s\ninstead of\n%s", got, wanted);
}

static void enabled_is(struct play *p, const char *wanted) {
  xm_enabled is = xm_nego_take_enabled(p->nego);
  char got[200] = "";
  if (is.on) snprintf(got, sizeof got, "%s %u %s", is.id ? is.id : "-", is.max, is.location ? is.location : "-");
  if (strcmp(got, wanted) != 0) fail_msg("%s\ninstead of\n%s", got, wanted);
  xm_enabled_clear(&is);
  assert_false(xm_nego_take_enabled(p->nego).on);
}

static void session_is(struct play *p, int verdict, const char *jid) {
  assert_int_equal(p->verdict, verdict);
  assert_int_equal(xm_nego_at(p->nego), XM_NEGO_DONE);
  assert_string_equal(xm_nego_jid(p->nego)->str, jid);
  assert_int_equal(xm_jid_len(xm_nego_jid(p->nego)), strlen(jid));
}

static void line(struct play *p, const char *s, size_t n, const char *our_header) {
  static const char theirs[] = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XM_NS_STREAM
                               "' id='s' from='xmpp.example' version='1.0'>";
  char word[32] = "", *space;
  xm_buf text = XM_BUF_INIT;
  snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), s);
  space = strchr(word, ' ');
  if (space) *space = '\0';
  p->line = s;
  n -= space ? strlen(word) + 1 : n;
  expand(p, space ? s + strlen(word) + 1 : "", n, strcmp(word, "S:") == 0 ? theirs : our_header, &text);
  if (strcmp(word, "S:") == 0) {
    server_says(p, xm_buf_at(&text));
  } else if (strcmp(word, "C:") == 0) {
    we_said(p, xm_buf_at(&text));
  } else if (strcmp(word, "TLS") == 0 || strcmp(word, "UNVERIFIED") == 0) {
    xm_nego_secured(p->nego, *word == 'T');
    begin_anew(p, XM_NEGO_STARTTLS);
  } else if (strcmp(word, "RESTART") == 0) {
    begin_anew(p, XM_NEGO_RESTART);
  } else if (strcmp(word, "READY") == 0) {
    session_is(p, XM_NEGO_READY, xm_buf_at(&text));
  } else if (strcmp(word, "BEFORE") == 0) {
    session_is(p, XM_NEGO_READY_BEFORE, xm_buf_at(&text));
  } else if (strcmp(word, "TOKEN") == 0) {
    token_is(p, xm_buf_at(&text));
  } else if (strcmp(word, "ENABLED") == 0) {
    enabled_is(p, xm_buf_at(&text));
  } else if (strcmp(word, "RESUMED") == 0 || strcmp(word, "LOST") == 0 || strcmp(word, "ANEW") == 0) {
    outcome_is(p, word, xm_buf_at(&text));
  } else if (strcmp(word, "WENT") == 0) {
    assert_int_equal(xm_nego_went_ahead(p->nego), atoi(xm_buf_at(&text)));
  } else if (strcmp(word, "AHEAD") == 0) {
    assert_int_equal(xm_nego_is_ahead(p->nego), atoi(xm_buf_at(&text)));
  } else if (strcmp(word, "KEPT") == 0) {
    assert_int_equal(p->kept, atoi(xm_buf_at(&text)));
    p->kept = 0;
  } else if (strcmp(word, "OFFERS") == 0) {
    offers_are(p, xm_buf_at(&text));
  } else if (strcmp(word, "OBJECTED") == 0) {
    assert_int_equal(xm_nego_objected(p->nego), atoi(xm_buf_at(&text)));
  } else {
    assert_string_equal(word, "FAIL");
    we_fail(p, xm_buf_at(&text));
  }
  xm_buf_free(&text);
}

/* Plays the script. `tls`: the connection uses direct TLS, with the right certificate. */
static void play_as(const xm_nego_options *o, bool tls, const char *password, const char *script) {
  const xm_bounds limits = {65536, 65536, 128, 256, 50000, 1024};
  char ours[512];
  struct play p = {.xml = xm_xml_new(o->component ? XM_NS_COMPONENT : XM_NS_CLIENT, &limits),
                   .nego = xm_nego_new(o, password, password ? strlen(password) : 0)};
  if (tls) xm_nego_secured(p.nego, true);
  if (tls) xm_nego_set_channel(p.nego, &channel);
  snprintf(ours, sizeof ours, "%sto='xmpp.example'*version='1.0' xml:lang='en'>", header);
  assert_int_equal(xm_nego_set_ahead(p.nego, ahead.may, ahead.offer, ahead.offer ? strlen(ahead.offer) : 0, ahead.profile,
                                     ahead.inside),
                   XM_OK);
  begin(&p);
  for (; *script; script += *script == '\n') {
    size_t n = strcspn(script, "\n");
    if (n) line(&p, script, n, ours);
    script += n;
  }
  assert_true(strlen(xm_nego_waits_for(p.nego)) > 0);
  assert_int_equal(p.kept, 0);
  xm_nego_free(p.nego);
  xm_xml_free(p.xml);
  xm_buf_free(&p.out);
}

static void play(bool tls, const char *script) {
  const xm_jid jid = jid_of("alice@xmpp.example/lua");
  const xm_nego_options o = {.jid = &jid, .plain = true, .need_tls = true};
  play_as(&o, tls, "secret", script);
}

/* The same with a heap whose request number `at` fails, and perhaps all after it (failing.h). `says` is what the server
 * sends, event by event, with a_header where another stream begins. `fine`: nego has accepted all of it. */

static const char a_header[] = "<stream:stream xmlns='jabber:client' xmlns:stream='" XM_NS_STREAM "' version='1.0'>";

struct attempt {
  xm_nego *nego; /* NULL: there was no memory for it */
  xm_xml *xml;
  xm_buf out;
  xm_err e;
  bool fine, failed; /* failed: a request for memory did fail */
  int verdict;       /* the last verdict */
  long before;       /* blocks in use */
};

static bool hand_over(struct attempt *a, const char *s) {
  struct log got = {0};
  const xm_tape *t = xm_xml_tape(a->xml);
  if (s == a_header && (xm_xml_restart(a->xml) < 0 || xm_nego_begin(a->nego, &a->out, &a->e) < 0)) return false;
  if (s == a_header && xm_nego_go_ahead(a->nego, &a->out, &a->e) < 0) return false;
  heap.armed = false;
  feed(a->xml, &got, s, strlen(s), true);
  log_free(&got);
  heap.armed = true;
  a->verdict = s == a_header ? xm_nego_opened(a->nego, t, &a->out, &a->e) : xm_nego_read(a->nego, t, &a->out, &a->e);
  return a->verdict >= 0;
}

static bool go_through(struct attempt *a, const char *offer, const char *const says[]) {
  int i;
  xm_nego_secured(a->nego, true);
  xm_nego_set_channel(a->nego, &channel);
  if (ahead.may && xm_nego_set_ahead(a->nego, ahead.may, offer, strlen(offer), ahead.profile, ahead.inside) < 0)
    return xm_err_nomem(&a->e), false;
  for (i = 0; says[i]; i++)
    if (!hand_over(a, says[i])) return false;
  return true;
}

static void attempt(struct attempt *a, const xm_nego_options *o, long at, bool for_good, const char *offer,
                    const char *const says[]) {
  const xm_bounds limits = {65536, 65536, 128, 256, 50000, 1024};
  *a = (struct attempt){.before = heap.live, .xml = xm_xml_new(XM_NS_CLIENT, &limits)};
  heap_fails(at, for_good);
  a->nego = xm_nego_new(o, "secret", 6);
  a->fine = a->nego && go_through(a, offer, says);
  a->failed = heap_is_well();
}

static void attempt_end(struct attempt *a) {
  xm_nego_free(a->nego);
  xm_xml_free(a->xml);
  xm_buf_free(&a->out);
  assert_int_equal(heap.live, a->before);
}

#endif
