/* retry: a table of ends, and what follows them; then sequences of ends: servers that log in and cut, that redirect
 * after each login, that end each session the same way. */
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

#include "retry.h"

enum { NEW, BEGUN, GHOST }; /* never had a session; had one; had one whose link broke without a goodbye */

static const xm_retry_policy any = {.any = true, .min = 1000, .max = 60000};
static const xm_retry_policy resume = {.resume = true, .min = 1000, .max = 60000};
static const xm_retry_policy none = {.min = 1000, .max = 60000};

static const char *const verdicts[] = {"end", "fall back", "follow", "next", "wait"};

/* `what` is made of these words: objected, elsewhere, targets, blamed, stopping, undelivered, lost (not resumable). */
static const struct row {
  int before;
  xm_retry_stage stage;
  xm_layer layer;
  const char *condition;
  bool retry, said;
  const char *what;
  const xm_retry_policy *policy;
  xm_retry_verdict verdict;
} rows[] = {
    /* the first connect: only what costs no time is tried again */
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_TCP, "ECONNREFUSED", true, false, "", &any, XM_RETRY_END},
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_TLS, "certificate-expired", false, false, "", &any, XM_RETRY_END},
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_STREAM, "not-well-formed", false, false, "", &any, XM_RETRY_END},
    {NEW, XM_RETRY_SERVER, XM_LAYER_STREAM, "conflict", false, true, "", &any, XM_RETRY_END},
    {NEW, XM_RETRY_SERVER, XM_LAYER_SASL, "not-authorized", false, false, "", &any, XM_RETRY_END},
    {NEW, XM_RETRY_SERVER, XM_LAYER_STREAM, "bad-format", false, true, "objected", &none, XM_RETRY_FALL_BACK},
    {NEW, XM_RETRY_SERVER, XM_LAYER_STREAM, "see-other-host", false, true, "elsewhere", &none, XM_RETRY_FOLLOW},
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_TLS, "tls-error", true, false, "targets", &none, XM_RETRY_NEXT},
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_TLS, "tls-error", true, false, "targets objected", &none, XM_RETRY_FALL_BACK},
    {NEW, XM_RETRY_SERVER, XM_LAYER_STREAM, "see-other-host", false, true, "targets elsewhere", &none, XM_RETRY_FOLLOW},
    /* a session has ended for a temporary reason */
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "ECONNRESET", true, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "ECONNRESET", true, false, "", &resume, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "ECONNRESET", true, false, "lost", &resume, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "ECONNRESET", true, false, "lost", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "ECONNRESET", true, false, "", &none, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "system-shutdown", true, true, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_CLOSED, "closed-by-server", true, false, "", &any, XM_RETRY_WAIT},
    /* ended by ourselves, because of malformed XML for example */
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "not-well-formed", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "not-well-formed", false, false, "", &resume, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "not-well-formed", false, false, "", &none, XM_RETRY_END},
    /* a WebSocket is closed, or refused by a web server */
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_WEBSOCKET, "http-503", true, false, "", &any, XM_RETRY_END},
    {NEW, XM_RETRY_SERVER, XM_LAYER_WEBSOCKET, "close-1001", true, false, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_WEBSOCKET, "http-403", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_WEBSOCKET, "not-websocket", false, false, "", &resume, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_WEBSOCKET, "close-1001", true, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_WEBSOCKET, "protocol-error", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_WEBSOCKET, "close-1008", false, true, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_WEBSOCKET, "close-1009", false, true, "blamed", &any, XM_RETRY_WAIT},
    /* the server's error concerns us, unless it is about one stanza that is known */
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "policy-violation", false, true, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "policy-violation", false, true, "blamed", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "invalid-from", false, true, "blamed", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "invalid-from", false, true, "blamed", &none, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "not-authorized", false, true, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "see-other-host", false, true, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "see-other-host", false, true, "elsewhere", &none, XM_RETRY_FOLLOW},
    {BEGUN, XM_RETRY_READY, XM_LAYER_CLOSED, "session-lost", false, false, "", &resume, XM_RETRY_END},
    /* conflict: with somebody else, or with our own earlier session on the server */
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "conflict", false, true, "", &any, XM_RETRY_END},
    {GHOST, XM_RETRY_READY, XM_LAYER_STREAM, "conflict", false, true, "", &any, XM_RETRY_END},
    {GHOST, XM_RETRY_SERVER, XM_LAYER_STREAM, "conflict", false, true, "", &any, XM_RETRY_WAIT},
    {GHOST, XM_RETRY_SERVER, XM_LAYER_BIND, "conflict", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_STREAM, "conflict", false, true, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_BIND, "conflict", false, false, "", &any, XM_RETRY_END},
    /* reconnecting: the peer may be a captive portal */
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TCP, "ECONNREFUSED", true, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_DNS, "no-service", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TLS, "certificate-expired", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TLS, "certificate-name-mismatch", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TLS, "starttls-not-offered", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_STREAM, "not-well-formed", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_STREAM, "host-unknown", false, true, "", &any, XM_RETRY_WAIT},
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_PROXY, "host-unreachable", true, false, "", &any, XM_RETRY_END},
    {NEW, XM_RETRY_ANYBODY, XM_LAYER_PROXY, "host-unreachable", true, false, "targets", &any, XM_RETRY_NEXT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_PROXY, "host-unreachable", true, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_PROXY, "not-allowed", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_PROXY, "invalid-response", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_PROXY, "proxy-authentication-required", false, false, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_STREAM, "not-well-formed", false, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_STREAM, "host-unknown", false, true, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_SASL, "not-authorized", false, false, "", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_SASL, "temporary-auth-failure", true, false, "", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TLS, "certificate-expired", false, false, "", &none, XM_RETRY_END},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TLS, "tls-error", true, false, "targets", &any, XM_RETRY_NEXT},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_STREAM, "bad-format", false, true, "objected", &any, XM_RETRY_FALL_BACK},
    /* stop was called: only what hasn't been delivered is a reason to connect again */
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "EOF", true, false, "stopping", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "EOF", true, false, "stopping undelivered", &any, XM_RETRY_WAIT},
    {BEGUN, XM_RETRY_READY, XM_LAYER_TCP, "EOF", true, false, "stopping undelivered", &none, XM_RETRY_END},
    {BEGUN, XM_RETRY_SERVER, XM_LAYER_STREAM, "bad-format", false, true, "objected stopping", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_READY, XM_LAYER_STREAM, "see-other-host", false, true, "elsewhere stopping", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TLS, "tls-error", true, false, "targets stopping", &any, XM_RETRY_END},
    {BEGUN, XM_RETRY_ANYBODY, XM_LAYER_TLS, "tls-error", true, false, "targets stopping undelivered", &any, XM_RETRY_NEXT},
};

static xm_retry history(int before) {
  xm_retry r = {0};
  if (before != NEW) xm_retry_opened(&r, 1000);
  r.ghost = before == GHOST;
  return r;
}

static void each_end_has_its_consequence(void **state) {
  size_t i;
  (void)state;
  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    const struct row *row = &rows[i];
    xm_retry r = history(row->before);
    xm_err why = {.layer = row->layer, .retry = row->retry};
    xm_retry_end e = {.why = &why, .stage = row->stage, .now = 1001, .said = row->said};
    xm_retry_answer a;
    strcpy(why.condition, row->condition);
    e.objected = strstr(row->what, "objected") != NULL;
    e.elsewhere = strstr(row->what, "elsewhere") != NULL;
    e.targets = strstr(row->what, "targets") != NULL;
    e.blamed = strstr(row->what, "blamed") != NULL;
    e.stopping = strstr(row->what, "stopping") != NULL;
    e.undelivered = strstr(row->what, "undelivered") != NULL;
    e.resumable = strstr(row->what, "lost") == NULL;
    a = xm_retry_after(&r, row->policy, &e);
    if (a.verdict != row->verdict)
      fail_msg("row %zu (%s, \"%s\"): %s, not %s", i, row->condition, row->what, verdicts[a.verdict],
               verdicts[row->verdict]);
    assert_true(a.verdict == XM_RETRY_WAIT || a.ms == 0);
  }
}

/* The link has ended at `now` for a temporary reason. */
static xm_retry_answer broken(xm_retry *r, const xm_retry_policy *p, xm_retry_stage stage, uint64_t now, uint32_t dice) {
  const xm_err why = {.layer = XM_LAYER_TCP, .retry = true, .condition = "EOF"};
  const xm_retry_end e = {.why = &why, .stage = stage, .now = now, .dice = dice, .resumable = true};
  return xm_retry_after(r, p, &e);
}

/* The first pause is at most min, then each at most twice the last, never over max; the dice choose any time up to
 * that. */
static void pauses_grow(void **state) {
  static const unsigned most[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
  xm_retry low = history(BEGUN), high = history(BEGUN), odd = history(BEGUN);
  size_t i;
  (void)state;
  for (i = 0; i < 8; i++) {
    assert_int_equal(broken(&low, &any, XM_RETRY_ANYBODY, 0, 0).ms, 0);
    assert_int_equal(broken(&high, &any, XM_RETRY_ANYBODY, 0, most[i]).ms, most[i]);
    assert_int_equal(broken(&odd, &any, XM_RETRY_ANYBODY, 0, most[i] + 1).ms, 0);
  }
  for (i = 0; i < 100; i++) assert_int_equal(broken(&high, &any, XM_RETRY_ANYBODY, 0, 60000).ms, 60000);
}

/* Attempts and pauses are counted anew after a session that has lasted, and only then. */
static void only_a_lasting_session_resets_the_counters(void **state) {
  static const struct {
    unsigned max, stood;
    bool lasted;
  } row[] = {{0, 0, false},        {0, 1999, false},      {0, 2000, true},       {5000, 2000, false},  {5000, 4999, false},
             {5000, 5000, true},   {60000, 29999, false}, {60000, 30000, true}};
  size_t i;
  int n;
  (void)state;
  for (i = 0; i < sizeof row / sizeof *row; i++) {
    const xm_retry_policy p = {.any = true, .min = 100, .max = row[i].max, .attempts = 5};
    xm_retry r = {0};
    uint64_t now = 1;
    for (n = 0; n < 50; n++) {
      xm_retry_opened(&r, now);
      now += row[i].stood;
      if (broken(&r, &p, XM_RETRY_READY, now, 0).verdict != XM_RETRY_WAIT) break;
    }
    assert_int_equal(n, row[i].lasted ? 50 : 5);
  }
}

static xm_retry_answer elsewhere(xm_retry *r, xm_retry_stage stage, uint64_t now) {
  const xm_err why = {.layer = XM_LAYER_STREAM, .condition = "see-other-host"};
  const xm_retry_end e = {.why = &why, .stage = stage, .now = now, .said = true, .elsewhere = true};
  return xm_retry_after(r, &none, &e);
}

static void hops_are_counted_until_a_session_has_lasted(void **state) {
  xm_retry r = {0};
  int i, n;
  (void)state;
  for (n = 0; elsewhere(&r, XM_RETRY_SERVER, 0).verdict == XM_RETRY_FOLLOW; n++) {}
  assert_int_equal(n, 3);
  for (r = (xm_retry){0}, n = 0;; n++) { /* each time after the login */
    xm_retry_opened(&r, 10);
    if (elsewhere(&r, XM_RETRY_READY, 20).verdict != XM_RETRY_FOLLOW) break;
  }
  assert_int_equal(n, 3);
  for (i = 0; i < 10; i++) {
    xm_retry_opened(&r, 100000 * (unsigned)i);
    assert_int_equal(elsewhere(&r, XM_RETRY_READY, 100000 * (unsigned)i + 30000).verdict, XM_RETRY_FOLLOW);
  }
}

static xm_retry_answer refused(xm_retry *r, const char *condition, uint64_t stood) {
  xm_err why = {.layer = XM_LAYER_STREAM};
  const xm_retry_end e = {.why = &why, .stage = XM_RETRY_READY, .now = stood, .dice = 7, .resumable = true};
  strcpy(why.condition, condition);
  xm_retry_opened(r, 0);
  return xm_retry_after(r, &any, &e);
}

/* After the same end three times in a row, the pause is the longest one; another end, or a session that lasts, stops
 * that. */
static void a_repeated_end_takes_the_longest_pause(void **state) {
  xm_retry r = {0};
  xm_retry_answer a;
  int i;
  (void)state;
  for (i = 1; i <= 6; i++) {
    a = refused(&r, "not-well-formed", 10);
    assert_int_equal(a.verdict, XM_RETRY_WAIT);
    assert_int_equal(a.stuck, i >= 3);
    assert_int_equal(a.ms, i >= 3 ? 60000 : 7);
    broken(&r, &any, XM_RETRY_ANYBODY, 20, 0); /* in between the server couldn't be reached */
  }
  assert_false(refused(&r, "bad-format", 10).stuck);
  assert_false(refused(&r, "not-well-formed", 10).stuck);
  assert_false(refused(&r, "not-well-formed", 10).stuck);
  assert_false(refused(&r, "not-well-formed", 30000).stuck);
  assert_false(refused(&r, "not-well-formed", 10).stuck);
  assert_true(refused(&r, "not-well-formed", 10).stuck);
  for (i = 0; i < 6; i++) assert_false(broken(&r, &any, XM_RETRY_READY, 10, 0).stuck); /* a bad network doesn't count */
}

/* A "ghost" is our earlier session on the server, after a link has broken without a goodbye, until there is a session
 * again. */
static void a_ghost_lasts_until_there_is_a_session(void **state) {
  const xm_err conflict = {.layer = XM_LAYER_STREAM, .condition = "conflict"}, bye = {.layer = XM_LAYER_CLOSED, .retry = true};
  xm_retry_end e = {.why = &conflict, .stage = XM_RETRY_SERVER, .said = true};
  xm_retry r = history(BEGUN);
  int i;
  (void)state;
  broken(&r, &any, XM_RETRY_READY, 1001, 0);
  for (i = 0; i < 5; i++) assert_int_equal(xm_retry_after(&r, &any, &e).verdict, XM_RETRY_WAIT);
  broken(&r, &any, XM_RETRY_ANYBODY, 1001, 0);
  assert_int_equal(xm_retry_after(&r, &any, &e).verdict, XM_RETRY_WAIT);
  xm_retry_opened(&r, 2000);
  e.stage = XM_RETRY_READY;
  assert_int_equal(xm_retry_after(&r, &any, &e).verdict, XM_RETRY_END);
  xm_retry_opened(&r, 2000);
  e.why = &bye;
  assert_int_equal(xm_retry_after(&r, &any, &e).verdict, XM_RETRY_WAIT); /* there was a goodbye, so no ghost */
  e.why = &conflict;
  e.stage = XM_RETRY_SERVER;
  assert_int_equal(xm_retry_after(&r, &any, &e).verdict, XM_RETRY_END);
}

/* Not every end leaves one: when the server has ended the stream itself, it knows that the session is over. */
static void a_ghost_is_left_by_a_link_that_breaks(void **state) {
  static const struct {
    unsigned char layer;
    bool ghost;
  } ends[] = {{XM_LAYER_TCP, true},
              {XM_LAYER_TIMEOUT, true},
              {XM_LAYER_WEBSOCKET, true},
              {XM_LAYER_STREAM, false},
              {XM_LAYER_CLOSED, false}};
  const xm_err conflict = {.layer = XM_LAYER_STREAM, .condition = "conflict"};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof ends / sizeof *ends; i++) {
    const xm_err why = {.layer = ends[i].layer, .retry = true};
    xm_retry_end e = {.why = &why, .stage = XM_RETRY_READY, .now = 1001};
    xm_retry r = history(BEGUN);
    assert_int_equal(xm_retry_after(&r, &any, &e).verdict, XM_RETRY_WAIT);
    e = (xm_retry_end){.why = &conflict, .stage = XM_RETRY_SERVER, .said = true};
    assert_int_equal(xm_retry_after(&r, &any, &e).verdict, ends[i].ghost ? XM_RETRY_WAIT : XM_RETRY_END);
  }
}

/* With at_once, there is no pause after a session that has lasted; after one that hasn't, after a failed attempt, and
 * after a conflict, there is a pause as always. */
static void the_first_attempt_is_at_once(void **state) {
  static const struct {
    const char *condition;
    uint64_t stood;
    bool at_once;
    unsigned ms;
  } row[] = {{"EOF", 30000, true, 0},      {"EOF", 29999, true, 999},       {"EOF", 30000, false, 999},
             {"conflict", 30000, true, 999}, {"system-shutdown", 60000, true, 0}};
  size_t i;
  (void)state;
  for (i = 0; i < sizeof row / sizeof *row; i++) {
    const xm_retry_policy p = {.any = true, .min = 1000, .max = 60000, .at_once = row[i].at_once};
    xm_err why = {.layer = XM_LAYER_TCP, .retry = true};
    const xm_retry_end e = {.why = &why, .stage = XM_RETRY_READY, .now = row[i].stood, .dice = 999};
    xm_retry r = {0};
    xm_retry_answer a;
    strcpy(why.condition, row[i].condition);
    xm_retry_opened(&r, 0);
    a = xm_retry_after(&r, &p, &e);
    assert_int_equal(a.verdict, XM_RETRY_WAIT);
    assert_int_equal(a.ms, row[i].ms);
    assert_int_equal(broken(&r, &p, XM_RETRY_ANYBODY, row[i].stood + 1, 1999).ms, 1999);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_end_has_its_consequence),
      cmocka_unit_test(pauses_grow),
      cmocka_unit_test(only_a_lasting_session_resets_the_counters),
      cmocka_unit_test(hops_are_counted_until_a_session_has_lasted),
      cmocka_unit_test(a_repeated_end_takes_the_longest_pause),
      cmocka_unit_test(a_ghost_lasts_until_there_is_a_session),
      cmocka_unit_test(a_ghost_is_left_by_a_link_that_breaks),
      cmocka_unit_test(the_first_attempt_is_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
