/* conn: recorded logins of real servers, each with ten stanzas and a goodbye, without TLS and with it: however the
 * bytes are cut, the events are the same; and after whichever byte the wire fails (FIN, RST, silence, other bytes),
 * what was complete has been reported, and then one end. Positions are counted in what the server sends ("text": with
 * TLS inside of it) or in what goes over the wire (TLS's handshake and records). By default a random sample of them,
 * with a seed; all of them with TORTURE=1 (make torture). TORTURE_SEED: another sample. */
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
#include <dirent.h>

#include "certs.h"
#include "keyring.h"
#include "known.h"
#include "run.h"

/* The report. */
enum { KINDS = 64 };

static struct report {
  unsigned long runs, outcomes[FATES][KINDS];
  char names[KINDS][100];
  unsigned kinds;
} report;

/* What a run must result in. */

static bool ends_with(const char *layer, const char *condition) {
  const xm_err *why = xm_conn_why(run.c);
  return strcmp(xm_layer_name(why->layer), layer) == 0 && (!condition || strcmp(why->condition, condition) == 0);
}

static bool is_same_log(void) {
  const xm_buf *log = &run.plan.story->log;
  return xm_buf_len(&run.log) == xm_buf_len(log) && memcmp(xm_buf_at(&run.log), xm_buf_at(log), xm_buf_len(log)) == 0;
}

/* Is the fault harmless in XML: a space between two stanzas? */
static bool is_legal(void) {
  const plan *p = &run.plan;
  unsigned i;
  if (p->fate == SPACE && !p->on_wire && p->at == p->story->success) return true;
  for (i = 0; i < EVENTS - 1; i++)
    if (p->fate == SPACE && !p->on_wire && p->story->ends[i] == p->at) return true;
  return p->fate <= PAUSE;
}

/* <success/> ends a stream, and what was received together with it is dropped (RFC 6120 4.3.3). */
static bool may_be_forgotten(void) {
  return run.plan.attached && !run.plan.story->sasl2 && run.plan.at == run.plan.story->success;
}

static bool is_end_of_its_kind(void) {
  const plan *p = &run.plan;
  switch (p->fate) {
    case FIN:
    case GOODBYE: return ends_with("tcp", "EOF");
    case RST: return ends_with("tcp", "ECONNRESET") || ends_with("tcp", "EPIPE");
    case STALL: return ends_with("timeout", "timeout");
    case FORBIDDEN:
      if (!p->story->tls || p->at != p->story->clear) return ends_with("stream", NULL);
      return ends_with("tls", p->attached ? "plaintext-injection" : "tls-error");
    default: return !p->on_wire || ends_with("tls", NULL) || ends_with("tcp", "EOF") || ends_with("timeout", "timeout");
  }
}

/* A new token is there once there is a session, the earlier one until then: whole, or not at all. */
static void check_token(void) {
  const story *st = run.plan.story;
  bool renewed = memmem(xm_buf_at(&st->login.file), xm_buf_len(&st->login.file), "{token}", 7) || !login_is_fast(&st->login);
  const char *right = run.events - run.ends > 0 && renewed ? NEW_TOKEN : login_is_fast(&st->login) ? TOKEN : "";
  xm_token token = {.n = 0};
  if (!st->sasl2 || run.plan.fate >= FORBIDDEN) return;
  require(xm_conn_token(run.c, &token) == (*right != '\0'), "a token, or none");
  require(token.n == strlen(right) && memcmp(token.bytes, right, token.n) == 0, "another token");
}

static void check(void) {
  const story *st = run.plan.story;
  size_t told = st->lines[run.whole];
  bool may_tell_more = run.plan.fate >= FORBIDDEN && !run.plan.on_wire; /* XML that was changed, not cut */
  if (run.whole == EVENTS || is_legal()) {
    require(is_same_log(), "not the same events");
    return;
  }
  if (may_be_forgotten() && is_same_log()) return;
  require(xm_buf_len(&run.log) > told && memcmp(xm_buf_at(&run.log), xm_buf_at(&st->log), told) == 0,
          "not the same events before");
  require(may_tell_more || run.events == run.whole + 1 + run.early, "more than was whole");
  require(is_end_of_its_kind(), "another end than this one's");
}

static void count(void) {
  char name[sizeof report.names[0]];
  const xm_err *why = xm_conn_why(run.c);
  unsigned i = 0;
  snprintf(name, sizeof name, "%s%s%s", why->layer ? xm_layer_name(why->layer) : "the whole login",
           *why->condition ? " " : "", why->condition);
  while (i < report.kinds && strcmp(report.names[i], name) != 0) i++;
  assert_true(i < KINDS);
  if (i == report.kinds) strcpy(report.names[report.kinds++], name);
  report.outcomes[run.plan.fate][i]++;
  report.runs++;
}

static void try(const plan *p) {
  play(p);
  check();
  check_token();
  count();
  end_run();
}

/* The recordings. */

/* The end of the tag that begins at `s`: a '>' in a value isn't one. */
static const char *end_of_tag(const char *s) {
  char quote = 0;
  for (; *s != '>' || quote; s++) {
    assert_true(*s != '\0');
    if (quote ? *s == quote : *s == '\'' || *s == '"') quote = quote ? 0 : *s;
  }
  return s + 1;
}

static const char *end_of_element(const char *s) {
  int depth = 0;
  do {
    const char *tag = strchr(s, '<');
    assert_non_null(tag);
    s = end_of_tag(tag);
    depth += tag[1] == '/' ? -1 : s[-2] != '/';
  } while (depth > 0);
  return s;
}

static void learn_ends(story *st) {
  const char *stanzas = step_from_end(&st->login, 'S', 1)->text, *s = stanzas;
  size_t begin = st->text - strlen(step_from_end(&st->login, 'S', 0)->text) - strlen(stanzas);
  int i;
  st->ends[0] = begin;
  for (i = 1; i <= STANZAS; i++) {
    s = end_of_element(s);
    st->ends[i] = begin + (size_t)(s - stanzas);
  }
  assert_int_equal(*s, '\0');
  st->ends[EVENTS - 1] = st->text;
}

/* Plays it without faults, with nothing known of the server yet. */
static void learn(story *st, const char *name) {
  plan p = {.story = st, .version = TLS13, .at = SIZE_MAX};
  read_login(&st->login, name);
  st->sasl2 = login_is_sasl2(&st->login);
  st->tls = st->sasl2 || strstr(name, "-tls") != NULL;
  play(&p);
  require(run.events == EVENTS, "not all of it");
  st->text = run.server.said;
  st->clear = st->tls ? run.server.clear : st->text;
  st->success = run.server.success;
  check_token();
  st->wire[TLS13] = run.server.sent;
  xm_buf_put(&st->log, xm_buf_at(&run.log), xm_buf_len(&run.log));
  memcpy(st->lines, run.lines, sizeof st->lines);
  end_run();
  learn_ends(st);
  p.version = TLS12;
  play(&p);
  st->wire[TLS12] = run.server.sent;
  check();
  end_run();
}

/* Trying positions. */

enum { SAMPLE = 24 };

static uint32_t draw(uint32_t n) {
  return chance(&world.seed, n);
}

/* After two logins by SASL2 that fail, the library would use SASL1: so each run begins with nothing known. Then a whole
 * login, so that the next one sends <authenticate/> together with the stream header. */
static void meet_again(const plan *p) {
  plan whole = {.story = p->story, .version = p->version, .at = SIZE_MAX};
  xm_known_clear();
  if (p->lockstep) return;
  play(&whole);
  end_run();
}

static void try_at(plan p, size_t at) {
  p.at = at;
  p.lockstep = !world.all && draw(3) == 0;
  p.seed = world.seed ^ (uint32_t)at;
  if (p.story->sasl2) meet_again(&p);
  try(&p);
}

/* Tries every position, or those next to each event and some others. */
static void try_positions(const plan *p) {
  const story *st = p->story;
  size_t first = p->on_wire ? st->clear : 0, last = p->on_wire ? st->wire[p->version] : st->text, at;
  unsigned i;
  if (world.all) {
    for (at = first; at <= last; at++) try_at(*p, at);
    return;
  }
  try_at(*p, first);
  try_at(*p, st->clear);
  if (!p->on_wire) try_at(*p, st->success);
  try_at(*p, last);
  for (i = 0; i < SAMPLE; i++) try_at(*p, first + draw((uint32_t)(last - first)));
  i = draw(EVENTS);
  if (!p->on_wire) try_at(*p, st->ends[i] - 1);
  if (!p->on_wire) try_at(*p, st->ends[i]);
}

static void try_everywhere(fate f, bool attached) {
  plan p = {.fate = f, .attached = attached};
  for (p.story = stories; p.story < stories + STORIES; p.story++) {
    for (p.version = p.story->tls ? TLS12 : TLS13; p.version < VERSIONS; p.version++) {
      p.on_wire = false;
      try_positions(&p);
      p.on_wire = true;
      if (p.story->tls && f != FORBIDDEN && f != SPACE && f != GOODBYE) try_positions(&p);
    }
  }
}

static void a_login_goes_as_it_was_recorded(void **state) {
  int i;
  (void)state;
  for (i = 0; i < STORIES; i++) {
    const char *log = xm_buf_at(&stories[i].log);
    assert_memory_equal(log, "B alice@" DOMAIN "/torture", 25);
    assert_memory_equal(log + stories[i].lines[1], "S <", 3);
    assert_memory_equal(log + stories[i].lines[EVENTS - 1], "E \n", 3);
    assert_true(stories[i].text > 3000 && (!stories[i].tls || stories[i].wire[TLS12] > stories[i].text + 500));
  }
}

static void try_in_pieces(plan p) {
  unsigned i, n = world.all ? 500 : 4;
  p.pieces = SINGLE_BYTES;
  try_at(p, SIZE_MAX);
  p.pieces = RANDOM_PIECES;
  for (i = 0; i < n; i++) {
    draw(2);
    try_at(p, SIZE_MAX);
  }
}

static void it_is_the_same_in_bytes_and_random_pieces(void **state) {
  plan p = {.fate = NOTHING};
  (void)state;
  for (p.story = stories; p.story < stories + STORIES; p.story++) {
    for (p.version = p.story->tls ? TLS12 : TLS13; p.version < VERSIONS; p.version++) {
      p.on_wire = false;
      try_in_pieces(p);
      p.on_wire = true;
      if (p.story->tls) try_in_pieces(p);
    }
  }
}

static void it_is_the_same_in_any_two_pieces(void **state) {
  (void)state;
  try_everywhere(PAUSE, false);
}

static void a_fin_behind_any_byte_is_one_end(void **state) {
  (void)state;
  try_everywhere(FIN, false);
  try_everywhere(GOODBYE, false);
}

static void a_reset_behind_any_byte_is_one_end(void **state) {
  (void)state;
  try_everywhere(RST, false);
}

static void silence_behind_any_byte_ends_at_its_deadline(void **state) {
  (void)state;
  try_everywhere(STALL, false);
}

static void what_no_xml_may_have_is_refused_behind_any_byte(void **state) {
  (void)state;
  try_everywhere(FORBIDDEN, false);
}

static void what_came_whole_before_it_in_one_packet_is_given_out(void **state) {
  (void)state;
  try_everywhere(FORBIDDEN, true);
}

static void a_space_behind_any_byte_is_passed_over_or_one_end(void **state) {
  (void)state;
  try_everywhere(SPACE, false);
}

static void random_bytes_behind_any_byte_are_one_end(void **state) {
  (void)state;
  try_everywhere(NOISE, false);
}

/* An event is reported when its last byte is there, since nothing more comes before that (run.h). Measured in CPU time,
 * as time depends on the machine, and only if everything is tried; on a busy virtual machine that, too, says of one event
 * in ten millions that it took long. */
static void an_event_comes_with_its_last_byte(void **state) {
  (void)state;
  assert_true(pace.events > 12 * 100);
  if (world.all) assert_true(pace.cpu_late <= pace.events / 1000000);
}

/* File descriptors. (The sanitizers check memory.) */

static int descriptors(void) {
  DIR *d = opendir("/proc/self/fd");
  int n = 0;
  assert_non_null(d);
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

static void no_descriptor_is_left(void **state) {
  (void)state;
  xm_loop_turn(world.loop, 0);
  assert_int_equal(descriptors(), world.descriptors);
}

/* What all runs share. */

static SSL_CTX *new_server(X509 *cert, EVP_PKEY *key, int version) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  assert_non_null(ctx);
  SSL_CTX_set_min_proto_version(ctx, version);
  SSL_CTX_set_max_proto_version(ctx, version);
  assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
  assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
  return ctx;
}

static xm_tls_ctx *trust_in(X509 *cert) {
  char path[] = "/tmp/t_torture.XXXXXX";
  FILE *f = fdopen(mkstemp(path), "w");
  const xm_tls_options o = {.ca_file = path};
  xm_err e = {0};
  xm_tls_ctx *ctx;
  assert_non_null(f);
  assert_int_equal(PEM_write_X509(f, cert), 1);
  fclose(f);
  ctx = xm_tls_ctx_new(&o, &e);
  unlink(path);
  if (!ctx) fail_msg("%s", e.text);
  return ctx;
}

static void make_certificates(void) {
  const san names = {SAN_DNS, DOMAIN, 0};
  EVP_PKEY *ca_key = new_key(), *key = new_key();
  X509 *ca = new_cert("the CA", NULL, 0, 0, 86400), *cert = new_cert("x", &names, 1, 0, 86400);
  add_extension(ca, NID_basic_constraints, "critical,CA:TRUE");
  sign_cert(ca, ca_key, NULL, NULL);
  sign_cert(cert, key, ca, ca_key);
  world.trust = trust_in(ca);
  world.server[TLS12] = new_server(cert, key, TLS1_2_VERSION);
  world.server[TLS13] = new_server(cert, key, TLS1_3_VERSION);
  X509_free(ca);
  X509_free(cert);
  EVP_PKEY_free(ca_key);
  EVP_PKEY_free(key);
}

static void listen_as(story *st, int i) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i)};
  socklen_t n = sizeof in;
  st->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(st->listener, (struct sockaddr *)&in, sizeof in) | listen(st->listener, 8), 0);
  assert_int_equal(getsockname(st->listener, (struct sockaddr *)&in, &n), 0);
  assert_non_null(inet_ntop(AF_INET, &in.sin_addr, st->host, sizeof st->host));
  st->port = ntohs(in.sin_port);
}

static int make_world(void **state) {
  static const char *const names[STORIES] = {"prosody-clear", "prosody-tls",  "ejabberd-clear", "ejabberd-tls",
                                              "prosody-sasl2", "prosody-fast", "ejabberd-sasl2", "ejabberd-fast"};
  const char *reason, *seed = getenv("TORTURE_SEED"), *torture = getenv("TORTURE");
  int i;
  (void)state;
  world.all = torture && strcmp(torture, "1") == 0;
  world.seed = seed ? (uint32_t)strtoul(seed, NULL, 10) : 1;
  world.loop = xm_loop_new(NULL);
  assert_non_null(world.loop);
  assert_int_equal(xm_jid_parse(&world.jid, "alice@" DOMAIN "/torture", 23, &reason), XM_OK);
  assert_int_equal(xm_jid_parse(&world.account, "alice@" DOMAIN, 15, &reason), XM_OK);
  xm_keyring_hold();
  make_certificates();
  for (i = 0; i < STORIES; i++) {
    listen_as(&stories[i], i);
    learn(&stories[i], names[i]);
  }
  world.descriptors = descriptors();
  return 0;
}

/* As TAP's comments; if everything is tried, to stderr, since prove hides stdout from the person who waits. */
static void print_report(void) {
  FILE *to = world.all ? stderr : stdout;
  unsigned f, i;
  fprintf(to,
          "# %lu runs; of %lu events the slowest came %.2f ms behind its last byte (%.2f ms of work), %lu (%lu) after "
          "5 ms\n",
          report.runs, pace.events, (double)pace.slowest / 1e6, (double)pace.slowest_cpu / 1e6, pace.late,
          pace.cpu_late);
  for (f = 0; f < FATES; f++)
    for (i = 0; i < report.kinds; i++)
      if (report.outcomes[f][i]) fprintf(to, "# %s: %s: %lu\n", fates[f], report.names[i], report.outcomes[f][i]);
  fflush(to);
}

static int free_world(void **state) {
  int i;
  (void)state;
  print_report();
  for (i = 0; i < STORIES; i++) {
    xm_buf_free(&stories[i].login.file);
    xm_buf_free(&stories[i].log);
    close(stories[i].listener);
  }
  xm_keyring_release();
  SSL_CTX_free(world.server[TLS12]);
  SSL_CTX_free(world.server[TLS13]);
  xm_tls_ctx_release(world.trust);
  xm_loop_release(world.loop);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_login_goes_as_it_was_recorded),
      cmocka_unit_test(it_is_the_same_in_bytes_and_random_pieces),
      cmocka_unit_test(it_is_the_same_in_any_two_pieces),
      cmocka_unit_test(a_fin_behind_any_byte_is_one_end),
      cmocka_unit_test(a_reset_behind_any_byte_is_one_end),
      cmocka_unit_test(silence_behind_any_byte_ends_at_its_deadline),
      cmocka_unit_test(what_no_xml_may_have_is_refused_behind_any_byte),
      cmocka_unit_test(what_came_whole_before_it_in_one_packet_is_given_out),
      cmocka_unit_test(a_space_behind_any_byte_is_passed_over_or_one_end),
      cmocka_unit_test(random_bytes_behind_any_byte_are_one_end),
      cmocka_unit_test(an_event_comes_with_its_last_byte),
      cmocka_unit_test(no_descriptor_is_left),
  };
  return cmocka_run_group_tests(tests, make_world, free_world);
}
