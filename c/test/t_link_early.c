/* link: stanzas between the login and the session (early.h), on a fed link: they are given out first and in their
 * order, however the input is cut, and are marked as early; limits; pauses; ends; a heap that fails at every place. */
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

#include "failing.h"

#include "../core/buf.c"
#include "../core/early.c"
#include "../core/link.c"
#include "../core/link_setup.c"
#include "../core/tape.c"

#include "failing_off.h"

#define HEADER "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XM_NS_STREAM "' id='1' version='1.0'>"
#define SASL "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
#define LOGIN HEADER "<stream:features><mechanisms " SASL "><mechanism>PLAIN</mechanism></mechanisms></stream:features>"
#define SUCCESS "<success " SASL "/>\n" HEADER
#define BIND "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'"
#define OFFER "<stream:features>" BIND "/></stream:features>"
#define BOUND "<iq type='result' id='$'>" BIND "><jid>alice@xmpp.example/r</jid></bind></iq>" /* '$' is our id */

typedef struct scene {
  xm_loop *loop;
  xm_jid jid;
  xm_conn_options o;
  xm_wirelog log;
  xm_link *k; /* NULL: there was no memory for it */
  xm_buf wire;
  char id[64];
  char told[16384]; /* each element's id, of early ones in capitals; "|": OPENED */
} scene;

static void on_news(void *arg) { (void)arg; }

static void open_scene(scene *s) {
  const xm_link_start start = {.password = "secret", .password_len = 6};
  const char *reason;
  xm_err e = {0};
  *s = (scene){.loop = xm_loop_new(&e)};
  assert_non_null(s->loop);
  assert_int_equal(xm_jid_parse(&s->jid, "alice@xmpp.example", 18, &reason), XM_OK);
  s->o = (xm_conn_options){.jid = &s->jid,
                           .tls = XM_TLS_NONE,
                           .plain = true,
                           .fed = true,
                           .timeout = 30000,
                           .bounds = XM_BOUNDS_DEFAULT,
                           .wake = on_news};
  s->k = xm_link_new(s->loop, &s->o, &start, &s->log, &e);
}

static void close_scene(scene *s) {
  xm_link_free(s->k);
  xm_buf_free(&s->wire);
  assert_int_equal(xm_loop_timeout(s->loop), -1);
  xm_loop_release(s->loop);
}

static void tell(scene *s, const char *id) {
  bool early = xm_link_is_early(s->k);
  char *to = s->told + strlen(s->told);
  assert_true(strlen(s->told) + strlen(id) < sizeof s->told - 1);
  for (; *id; id++) *to++ = early && *id >= 'a' && *id <= 'z' ? (char)(*id - 32) : *id;
  *to = '\0';
}

/* Takes all events. Returns the last one: NOTHING or ENDED. */
static xm_link_event listen_to(scene *s) {
  for (;;) {
    xm_link_event ev = xm_link_next(s->k);
    if (ev == XM_LINK_OPENED) tell(s, "|");
    if (ev == XM_LINK_ELEMENT) tell(s, xm_tape_get(xm_link_tape(s->k), 0, "id", NULL));
    if (ev == XM_LINK_NOTHING || ev == XM_LINK_ENDED) return ev;
  }
}

/* The server sends `text` in pieces of `size` bytes. */
static xm_link_event say_in_pieces(scene *s, const char *text, size_t size) {
  xm_link_event ev = XM_LINK_NOTHING;
  char *all = malloc(strlen(text) + sizeof s->id);
  size_t n, at;
  const char *hole = strchr(text, '$');
  sprintf(all, "%.*s%s%s", hole ? (int)(hole - text) : (int)strlen(text), text, hole ? s->id : "", hole ? hole + 1 : "");
  for (at = 0, n = strlen(all); at < n && ev != XM_LINK_ENDED; at += size) {
    if (xm_link_feed(s->k, all + at, size < n - at ? size : n - at) < 0) ev = XM_LINK_ENDED;
    else ev = listen_to(s);
  }
  free(all);
  return ev;
}

static xm_link_event say(scene *s, const char *text) {
  return say_in_pieces(s, text, 1u << 20);
}

/* Reads our last iq's id from what was sent. */
static void hear_id(scene *s) {
  const char *at;
  xm_buf_clear(&s->wire);
  if (xm_link_take(s->k, &s->wire) < 0 || xm_buf_putc(&s->wire, '\0') < 0) return;
  at = strstr(xm_buf_at(&s->wire), "<iq type='set' id='");
  if (at) snprintf(s->id, sizeof s->id, "%.*s", (int)strcspn(at + 19, "'"), at + 19);
}

static void log_in(scene *s) {
  assert_int_equal(say(s, LOGIN), XM_LINK_NOTHING);
  assert_int_equal(say(s, SUCCESS), XM_LINK_NOTHING);
}

static void ask_to_bind(scene *s) {
  log_in(s);
  assert_int_equal(say(s, OFFER), XM_LINK_NOTHING);
  hear_id(s);
  assert_true(strlen(s->id) > 10);
}

#define EARLY "<message id='a'><body>Hi</body></message> <presence id='b'/>\n<iq type='get' id='c'><q xmlns='urn:q'/></iq>"
#define LATER "<message id='d'/><presence id='e'/>"

static void early_stanzas_are_the_first_of_the_session(void **state) {
  size_t size;
  (void)state;
  for (size = 1; size < sizeof EARLY + sizeof BOUND + sizeof LATER; size += 1 + size / 8) {
    scene s;
    open_scene(&s);
    log_in(&s);
    say_in_pieces(&s, "<message id='first'/>" OFFER, size);
    hear_id(&s);
    assert_int_equal(say_in_pieces(&s, EARLY BOUND LATER, size), XM_LINK_NOTHING);
    assert_string_equal(s.told, "|FIRSTABCde");
    assert_int_equal(xm_link_state_of(s.k), XM_LINK_OPEN);
    assert_false(xm_link_is_early(s.k));
    close_scene(&s);
  }
}

/* One element at a time, as a connection takes them: each is valid, with its whole tape, until the next is asked
 * for. */
static void each_element_is_valid_until_the_next(void **state) {
  scene s;
  (void)state;
  open_scene(&s);
  ask_to_bind(&s);
  say(&s, EARLY);
  xm_link_pause(s.k, true); /* a negotiation goes on in spite of it */
  assert_int_equal(say(&s, BOUND LATER), XM_LINK_NOTHING);
  assert_string_equal(s.told, "|");
  assert_string_equal(xm_link_jid(s.k)->str, "alice@xmpp.example/r");
  xm_link_pause(s.k, false);
  assert_int_equal(xm_link_next(s.k), XM_LINK_ELEMENT);
  assert_true(xm_link_is_early(s.k));
  xm_link_rest(s.k);
  xm_link_pause(s.k, true);
  assert_int_equal(xm_link_next(s.k), XM_LINK_NOTHING);
  assert_string_equal(xm_tape_content(xm_link_tape(s.k), xm_tape_child(xm_link_tape(s.k), 0, XM_NS_CLIENT, "body"), NULL), "Hi");
  xm_link_pause(s.k, false);
  assert_int_equal(xm_link_next(s.k), XM_LINK_ELEMENT);
  assert_string_equal(xm_tape_get(xm_link_tape(s.k), 0, "id", NULL), "b");
  xm_link_end(s.k, XM_LINK_CUT, NULL); /* what hasn't been given out is lost */
  assert_string_equal(xm_tape_get(xm_link_tape(s.k), 0, "id", NULL), "b");
  assert_int_equal(xm_link_next(s.k), XM_LINK_ENDED);
  close_scene(&s);
}

/* What came before the link's end is given out first. */
static void the_end_comes_after_the_early_stanzas(void **state) {
  scene s;
  (void)state;
  open_scene(&s);
  ask_to_bind(&s);
  xm_link_feed(s.k, EARLY, sizeof EARLY - 1);
  listen_to(&s);
  xm_link_pause(s.k, true);
  xm_link_cut(s.k);
  assert_int_equal(say(&s, BOUND LATER), XM_LINK_ENDED);
  assert_string_equal(s.told, "|ABCde");
  close_scene(&s);
}

static void is_too_much(scene *s, const char *bound) {
  assert_string_equal(s->told, "");
  assert_int_equal(xm_link_why(s->k)->layer, XM_LAYER_STREAM);
  assert_string_equal(xm_link_why(s->k)->condition, "policy-violation");
  assert_true(xm_link_why(s->k)->retry);
  assert_non_null(strstr(xm_link_why(s->k)->text, bound));
  hear_id(s);
  assert_non_null(strstr(xm_buf_at(&s->wire), "<stream:error><policy-violation "));
  close_scene(s);
}

/* More than a hundred stanzas, more than a MiB, or one of more than 64 KiB ends the link; that may be tried again. */
static void what_is_too_much_ends_the_link(void **state) {
  static char large[XM_EARLY_BYTES + 1000];
  scene s;
  int i;
  (void)state;
  open_scene(&s);
  ask_to_bind(&s);
  for (i = 0; i < XM_EARLY_STANZAS; i++) assert_int_equal(say(&s, "<message id='a'/>"), XM_LINK_NOTHING);
  assert_int_equal(say(&s, "<message id='a'/>"), XM_LINK_ENDED);
  is_too_much(&s, "more than 100 stanzas");
  strcpy(large, "<message id='a'>");
  memset(large + strlen(large), 'x', 64000);
  strcat(large, "</message>");
  open_scene(&s);
  ask_to_bind(&s);
  for (i = 0; i < 16; i++) assert_int_equal(say(&s, large), XM_LINK_NOTHING);
  assert_int_equal(say(&s, large), XM_LINK_ENDED);
  is_too_much(&s, "more than 1048576 bytes");
  strcpy(large, "<message id='a'>");
  memset(large + strlen(large), 'x', 70000);
  strcat(large, "</message>");
  open_scene(&s);
  ask_to_bind(&s);
  assert_int_equal(say(&s, large), XM_LINK_ENDED);
  is_too_much(&s, "until a resource is bound");
}

/* Malformed XML is the server's fault in any case. */
static void malformed_xml_ends_the_login(void **state) {
  scene s;
  (void)state;
  open_scene(&s);
  ask_to_bind(&s);
  assert_int_equal(say(&s, EARLY "<a></b>"), XM_LINK_ENDED);
  assert_string_equal(xm_link_why(s.k)->condition, "not-well-formed");
  assert_false(xm_link_why(s.k)->retry);
  assert_string_equal(s.told, "");
  close_scene(&s);
}

/* All hundred are given out in a row, though an open link yields after fewer. */
static void all_kept_stanzas_are_given_out(void **state) {
  char wanted[256] = "|";
  scene s;
  int i;
  (void)state;
  open_scene(&s);
  ask_to_bind(&s);
  for (i = 0; i < XM_EARLY_STANZAS; i++) say(&s, "<message id='a'/>");
  say(&s, BOUND LATER);
  memset(wanted + 1, 'A', XM_EARLY_STANZAS);
  strcpy(wanted + 1 + XM_EARLY_STANZAS, "de");
  assert_string_equal(s.told, wanted);
  close_scene(&s);
}

/* Before the login, a stanza ends the link, and trying again doesn't help. */
static void before_the_login_nothing_is_kept(void **state) {
  static const char *const says[] = {HEADER "<message id='a'/>", LOGIN "<message id='a'/>"};
  size_t i;
  (void)state;
  for (i = 0; i < 2; i++) {
    scene s;
    open_scene(&s);
    assert_int_equal(say(&s, says[i]), XM_LINK_ENDED);
    assert_string_equal(xm_link_why(s.k)->condition, "bad-format");
    assert_false(xm_link_why(s.k)->retry);
    assert_string_equal(s.told, "");
    close_scene(&s);
  }
}

/* Either all stanzas come, or the link ends with an error; none is missing in between. */
static void memory_that_runs_out_is_told(void **state) {
  static const char all[] = "|ABCde";
  int round;
  (void)state;
  for (round = 0; round < 2; round++) {
    bool failed = true;
    long at;
    for (at = 0; failed; at++) {
      xm_link_event ev = XM_LINK_ENDED;
      scene s;
      heap_fails(at, round);
      open_scene(&s);
      if (s.k) ev = say(&s, LOGIN);
      if (s.k && ev != XM_LINK_ENDED) ev = say(&s, SUCCESS OFFER);
      heap_is_well();
      if (s.k) hear_id(&s);
      heap.armed = true; /* it goes on counting */
      if (s.k && ev != XM_LINK_ENDED) ev = say(&s, EARLY BOUND LATER);
      failed = heap_is_well();
      if (!failed) assert_string_equal(s.told, all);
      assert_memory_equal(s.told, all, strlen(s.told));
      if (ev == XM_LINK_ENDED && s.k && xm_err_is_set(xm_link_why(s.k)))
        assert_string_equal(xm_link_why(s.k)->condition, "ENOMEM");
      if (ev != XM_LINK_ENDED) assert_string_equal(s.told, all);
      close_scene(&s);
    }
    assert_true(at > 30);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(early_stanzas_are_the_first_of_the_session),
      cmocka_unit_test(each_element_is_valid_until_the_next),
      cmocka_unit_test(the_end_comes_after_the_early_stanzas),
      cmocka_unit_test(what_is_too_much_ends_the_link),
      cmocka_unit_test(malformed_xml_ends_the_login),
      cmocka_unit_test(all_kept_stanzas_are_given_out),
      cmocka_unit_test(before_the_login_nothing_is_kept),
      cmocka_unit_test(memory_that_runs_out_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
