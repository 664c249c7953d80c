/* conn: recorded logins of real servers, each with ten stanzas and a goodbye, in the clear and under TLS: in whatever
 * pieces the bytes come, what is told is the same; and after whichever byte the wire fails (FIN, RST, silence, other
 * bytes), what was whole has been told, and then one end. Positions are counted in what the server says ("text": under
 * TLS inside of it) or in what goes over the wire (TLS's handshake and records). Here a seeded sample of them; all of
 * them with TORTURE=1 (make torture). TORTURE_SEED: another sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <netinet/tcp.h>
#include <time.h>

#include "certs.h"
#include "conn.h"
#include "out.h"
#include "replay.h"

#define PASSWORD "alicepw"
#define DOMAIN "xmpp.test"

enum {
  TIMEOUT = 30000,
  STANZAS = 10,
  EVENTS = STANZAS + 2, /* bound before, ended behind them */
  GUARD = 60,           /* seconds that no run may take */
  IDLE_TURNS = 5,       /* milliseconds of silence on both sides: nobody will say anything more */
};

/* Time: the library's is ours to set forth, so that a deadline costs no waiting. This stands in libuv's place for the
 * library alone. */

static uint64_t skew, frozen; /* ns */

static uint64_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t uv_hrtime(void);
uint64_t uv_hrtime(void) {
  return frozen ? frozen : clock_ns(CLOCK_MONOTONIC) + skew;
}

static void freeze(void) {
  frozen = uv_hrtime();
}

static void unfreeze(void) {
  skew = frozen - clock_ns(CLOCK_MONOTONIC);
  frozen = 0;
}

/* PBKDF2: OpenSSL's, but what it has worked out before is kept: the password, salt and rounds are the recordings'. */

typedef int pbkdf2_fn(const char *, int, const unsigned char *, int, int, const EVP_MD *, int, unsigned char *);

static struct known {
  unsigned char salt[64], key[64];
  int salt_len, rounds, key_len;
} known[8];

int PKCS5_PBKDF2_HMAC(const char *password, int password_len, const unsigned char *salt, int salt_len, int rounds,
                      const EVP_MD *md, int key_len, unsigned char *key) {
  static size_t next;
  struct known *k;
  void *theirs = dlsym(RTLD_NEXT, "PKCS5_PBKDF2_HMAC");
  pbkdf2_fn *work_out;
  assert_true(salt_len <= 64 && key_len <= 64 && password_len == (int)strlen(PASSWORD));
  for (k = known; k < known + 8; k++)
    if (k->salt_len == salt_len && k->rounds == rounds && k->key_len == key_len &&
        memcmp(k->salt, salt, (size_t)salt_len) == 0)
      return memcpy(key, k->key, (size_t)key_len) != NULL;
  memcpy(&work_out, &theirs, sizeof work_out);
  k = &known[next++ % 8];
  *k = (struct known){.salt_len = salt_len, .rounds = rounds, .key_len = key_len};
  memcpy(k->salt, salt, (size_t)salt_len);
  if (!work_out(password, password_len, salt, salt_len, rounds, md, key_len, k->key)) return 0;
  memcpy(key, k->key, (size_t)key_len);
  return 1;
}

/* What all runs share. */

enum { TLS12, TLS13, VERSIONS };

static struct world {
  xm_loop *loop;
  int listener, port;
  xm_tls_ctx *trust;
  SSL_CTX *server[VERSIONS];
  xm_jid jid;
  bool all;
  uint32_t seed;
  int descriptors;
} world;

/* A recording, and how it goes when nothing is the matter. */
typedef struct story {
  login login;
  bool tls;
  size_t text, clear;          /* bytes of text; of them, before TLS */
  size_t wire[VERSIONS];       /* bytes on the wire, give or take a few: signatures differ in length */
  size_t ends[EVENTS];         /* of the text up to the end of what each event tells */
  size_t lines[EVENTS + 1];    /* of the log up to the end of so many events */
  xm_buf log;
} story;

enum { STORIES = 4 };
static story stories[STORIES];

/* What is done at a position. */
typedef enum fate { NOTHING, PAUSE, FIN, GOODBYE, RST, STALL, FORBIDDEN, SPACE, NOISE, FATES } fate;

static const char *const fates[] = {"nothing",     "a pause",            "FIN",   "close_notify and FIN", "RST", "silence",
                                    "a 0xFF byte", "a space", "random bytes"};

typedef enum pieces { WHOLE, SINGLE_BYTES, RANDOM_PIECES } pieces;

typedef struct plan {
  const story *story;
  int version;
  bool on_wire; /* pieces and positions are those of the wire */
  size_t at;
  fate fate;
  pieces pieces;
  uint32_t seed;
} plan;

/* One run: the library's connection and the server of the recording. */
static struct run {
  plan plan;
  xm_conn *c;
  replay server;
  xm_buf log;
  size_t lines[EVENTS + 1];  /* of the log up to the end of so many events */
  unsigned events, ends, stanzas;
  bool met;       /* its fate */
  bool over;      /* the server says nothing more */
  unsigned whole; /* events that had to come before that */
  uint64_t since, cpu_since; /* the last bytes were sent */
  uint64_t began;
} run;

/* What is reported. */
static struct report {
  unsigned long runs, outcomes[FATES][32];
  char names[32][100];
  unsigned kinds;
  unsigned long events, late, cpu_late;
  uint64_t slowest, slowest_cpu;
} report;

static const char *describe(const plan *p) {
  static char text[200];
  snprintf(text, sizeof text, "%s, TLS 1.%d, %s behind byte %zu of the %s, pieces %d, seed %u, log:\n%.*s",
           p->story->login.name, p->version == TLS12 ? 2 : 3, fates[p->fate], p->at, p->on_wire ? "wire" : "text",
           (int)p->pieces, (unsigned)p->seed, 0, "");
  return text;
}

static void require(bool condition, const char *what) {
  if (!condition)
    fail_msg("%s: %s%.*s", what, describe(&run.plan), (int)xm_buf_len(&run.log),
             xm_buf_len(&run.log) ? xm_buf_at(&run.log) : "");
}

static void note_outcome(fate f, const char *name) {
  unsigned i = 0;
  while (i < report.kinds && strcmp(report.names[i], name) != 0) i++;
  assert_true(i < 32);
  if (i == report.kinds) snprintf(report.names[report.kinds++], sizeof report.names[0], "%s", name);
  report.outcomes[f][i]++;
}

/* The library's side. */

static void on_news(void *arg) {
  (void)arg;
}

static void time_event(void) {
  uint64_t took = clock_ns(CLOCK_MONOTONIC) - run.since, cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - run.cpu_since;
  report.events++;
  report.late += took > 5000000;
  report.cpu_late += cpu > 5000000;
  if (took > report.slowest) report.slowest = took;
  if (cpu > report.slowest_cpu) report.slowest_cpu = cpu;
}

static void ask_questions(void) {
  xm_buf *out = xm_conn_out(run.c);
  size_t mark = xm_buf_mark(out);
  xm_buf_puts(out, step_from_end(&run.plan.story->login, 'C', 1)->text);
  assert_int_equal(xm_conn_commit(run.c, mark, NULL), XM_OK);
}

static void note(xm_conn_event ev) {
  const xm_err *why = xm_conn_why(run.c);
  char text[200];
  if (ev == XM_CONN_STANZA) {
    xm_out o = xm_out_begin(&run.log);
    xm_buf_puts(&run.log, "S ");
    assert_int_equal(xm_out_tape(&o, xm_conn_stanza(run.c), 0), XM_OK);
    xm_buf_putc(&run.log, '\n');
  } else {
    snprintf(text, sizeof text, ev == XM_CONN_BOUND ? "B %s\n" : "E %s%s%s\n",
             ev == XM_CONN_BOUND ? xm_conn_jid(run.c)->str : xm_layer_name(why->layer), *why->condition ? " " : "",
             why->condition);
    xm_buf_puts(&run.log, text);
  }
  if (!run.met) time_event();
  run.events++;
  if (run.events <= EVENTS) run.lines[run.events] = xm_buf_len(&run.log);
  run.ends += ev == XM_CONN_ENDED;
  run.stanzas += ev == XM_CONN_STANZA;
  if (ev == XM_CONN_BOUND) ask_questions();
  if (ev == XM_CONN_STANZA && run.stanzas == STANZAS) xm_conn_close(run.c, TIMEOUT);
}

/* All that the library can do now. */
static bool sweep(void) {
  unsigned before = run.events;
  xm_conn_event ev;
  while ((ev = xm_conn_next(run.c)) != XM_CONN_NOTHING)
    if (ev != XM_CONN_AGAIN) note(ev);
  xm_conn_flush(run.c);
  return run.events > before;
}

static void turn(int ms) {
  xm_loop_turn(world.loop, ms);
  xm_loop_fire(world.loop);
  require(clock_ns(CLOCK_MONOTONIC) - run.began < GUARD * 1000000000ull, "it takes too long");
}

static int accept_client(void) {
  int fd = -1, one = 1;
  while (fd < 0) {
    sweep();
    turn(0);
    fd = accept4(world.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* a piece is a packet */
  return fd;
}

static void begin_run(const plan *p) {
  xm_conn_options o = xm_conn_defaults();
  xm_err e = {0};
  o.jid = &world.jid;
  o.password = PASSWORD;
  o.password_len = strlen(PASSWORD);
  o.host = "127.0.0.1";
  o.port = world.port;
  o.tls = p->story->tls ? XM_TLS_STARTTLS : XM_TLS_NONE;
  o.tls_ctx = p->story->tls ? world.trust : NULL;
  o.mechanisms = p->story->login.mechanism;
  o.timeout = TIMEOUT;
  o.keepalive = 0;
  o.wake = on_news;
  run.plan = *p;
  run.events = run.ends = run.stanzas = run.whole = 0;
  run.met = run.over = false;
  run.log = XM_BUF_INIT;
  run.began = clock_ns(CLOCK_MONOTONIC);
  run.c = xm_conn_new(world.loop, &o, &e);
  if (!run.c) fail_msg("%s", e.text);
  replay_begin(&run.server, &p->story->login, PASSWORD, world.server[p->version], accept_client());
}

static void end_run(void) {
  xm_conn_free(run.c);
  replay_end(&run.server);
  xm_buf_free(&run.log);
  xm_loop_turn(world.loop, 0);
  assert_int_equal(xm_loop_timeout(world.loop), -1);
}

/* The server's side. */

/* How much of the `due` bytes comes next, of which `gone` have gone. */
static size_t next_piece(size_t due, size_t gone) {
  plan *p = &run.plan;
  size_t n = due;
  if (run.over || due == 0) return 0;
  if (p->pieces == SINGLE_BYTES) n = 1;
  if (p->pieces == RANDOM_PIECES) n = 1 + chance(&p->seed, 1u << chance(&p->seed, 10));
  if (n > due) n = due;
  return !run.met && p->at >= gone && n > p->at - gone ? p->at - gone : n;
}

/* It says its next piece. true: there was one. */
static bool say_piece(void) {
  replay *s = &run.server;
  size_t n;
  if (!run.plan.on_wire) {
    replay_say(s, next_piece(replay_due(s), s->said));
    n = run.over ? 0 : replay_on_wire(s);
  } else {
    if (!run.over) replay_say(s, replay_due(s));
    n = next_piece(replay_on_wire(s), s->sent);
  }
  run.since = clock_ns(CLOCK_MONOTONIC);
  run.cpu_since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  replay_send(s, n);
  return n > 0;
}

/* What is whole has to be told, before anything else comes. */
static void expect_events(void) {
  const story *st = run.plan.story;
  size_t understood = replay_understood(&run.server);
  if ((run.met && run.plan.fate != PAUSE) || !st->text) return; /* anything may come; nothing is known yet */
  while (run.whole < EVENTS && st->ends[run.whole] <= understood) run.whole++;
  for (sweep(); run.events < run.whole; sweep()) turn(20);
  require(run.events == run.whole, "an event before its bytes");
}

static bool is_there(void) {
  const replay *s = &run.server;
  return !run.met && run.plan.at == (run.plan.on_wire ? s->sent : s->said) && (run.plan.on_wire || !xm_buf_len(&s->wire));
}

/* Its deadline, and not before, ends what nothing else ends; a session that is ready has none but its user's. */
static void let_time_pass(void) {
  int left;
  freeze();
  if (xm_conn_state_of(run.c) == XM_CONN_READY) xm_conn_close(run.c, 1000);
  left = xm_loop_timeout(world.loop);
  require(left > 0 && left <= TIMEOUT, "no deadline");
  frozen += (uint64_t)(left - 1) * 1000000u;
  xm_loop_fire(world.loop);
  sweep();
  require(run.ends == 0, "an end before its deadline");
  frozen += 1000000u;
  xm_loop_fire(world.loop);
  sweep();
  unfreeze();
  require(run.ends == 1, "no end at its deadline");
}

static void inject(const char *s, size_t n) {
  if (run.plan.on_wire) {
    put_bytes(&run.server, s, n);
  } else {
    put_text(&run.server, s, n);
    replay_send(&run.server, replay_on_wire(&run.server));
  }
}

static void inject_noise(void) {
  char noise[16];
  size_t i, n = 1 + chance(&run.plan.seed, sizeof noise);
  for (i = 0; i < n; i++) noise[i] = (char)chance(&run.plan.seed, 256);
  inject(noise, n);
}

static void meet_fate(void) {
  run.met = true;
  switch (run.plan.fate) {
    case FIN: replay_finish(&run.server, false); break;
    case GOODBYE: replay_finish(&run.server, true); break;
    case RST: replay_reset(&run.server); break;
    case STALL: if (!run.ends) let_time_pass(); break;
    case FORBIDDEN: inject("\xff", 1); break;
    case SPACE: inject(" ", 1); break;
    case NOISE: inject_noise(); break;
    default: break;
  }
  run.over = run.plan.fate >= FIN && run.plan.fate <= STALL;
}

static bool is_idle(bool news) {
  static unsigned turns;
  turns = news || !replay_has_arrived(&run.server) ? 0 : turns + 1;
  if (turns < IDLE_TURNS) return false;
  turns = 0;
  return true;
}

static void play(const plan *p) {
  begin_run(p);
  if (is_there()) meet_fate();
  while (!run.ends) {
    bool news = replay_hear(&run.server);
    bool said = say_piece();
    if (said) expect_events();
    if (is_there()) meet_fate();
    if (sweep() || news || said) {
      is_idle(true);
    } else {
      turn(1);
      if (run.met && run.plan.fate >= FORBIDDEN && is_idle(false) && !run.ends) let_time_pass();
    }
  }
  require(run.ends == 1 && xm_conn_next(run.c) == XM_CONN_NOTHING, "more than one end");
  require(xm_conn_state_of(run.c) == XM_CONN_CLOSED, "not closed");
}

/* What must have come of it. */

static bool ends_with(const char *layer, const char *condition) {
  const xm_err *why = xm_conn_why(run.c);
  return strcmp(xm_layer_name(why->layer), layer) == 0 && (!condition || strcmp(why->condition, condition) == 0);
}

static bool is_same_log(void) {
  const xm_buf *log = &run.plan.story->log;
  return xm_buf_len(&run.log) == xm_buf_len(log) && memcmp(xm_buf_at(&run.log), xm_buf_at(log), xm_buf_len(log)) == 0;
}

/* Is the fate one that XML doesn't mind: a space between two stanzas? */
static bool is_legal(void) {
  unsigned i;
  for (i = 0; i < EVENTS - 1; i++)
    if (run.plan.fate == SPACE && !run.plan.on_wire && run.plan.story->ends[i] == run.plan.at) return true;
  return run.plan.fate <= PAUSE;
}

static bool is_end_of_its_kind(void) {
  bool under_tls = run.server.ssl != NULL;
  switch (run.plan.fate) {
    case FIN: return ends_with("tcp", "EOF");
    case GOODBYE: return ends_with("tcp", "EOF");
    case RST: return ends_with("tcp", "ECONNRESET") || ends_with("tcp", "EPIPE");
    case STALL: return ends_with("timeout", "timeout");
    case FORBIDDEN: return ends_with("stream", NULL) || (!under_tls && ends_with("tls", NULL));
    default: return *xm_conn_why(run.c)->condition || !run.plan.on_wire;
  }
}

static void check(void) {
  const story *st = run.plan.story;
  size_t told = st->lines[run.whole];
  if (run.whole == EVENTS || is_legal()) {
    require(is_same_log(), "not the same events");
  } else {
    require(xm_buf_len(&run.log) > told, "no end");
    require(memcmp(xm_buf_at(&run.log), xm_buf_at(&st->log), told) == 0, "not the same events before");
    require(run.plan.fate >= FORBIDDEN && !run.plan.on_wire ? true : run.events == run.whole + 1, "more than was whole");
    require(is_end_of_its_kind(), "another end than this one's");
  }
}

static void count(void) {
  char name[100];
  const xm_err *why = xm_conn_why(run.c);
  snprintf(name, sizeof name, "%s%s%s", why->layer ? xm_layer_name(why->layer) : "the whole login",
           *why->condition ? " " : "", why->condition);
  report.runs++;
  note_outcome(run.plan.fate, name);
}

static void try(const plan *p) {
  play(p);
  check();
  count();
  end_run();
}

/* The stories. */

/* Where the element ends that begins at `s`. */
static const char *end_of_element(const char *s) {
  int depth = 0;
  char quote = 0;
  bool end_tag = false;
  for (; *s; s++) {
    if (quote) {
      if (*s == quote) quote = 0;
    } else if (*s == '<') {
      end_tag = s[1] == '/';
      depth += end_tag ? -1 : 1;
    } else if (*s == '>') {
      depth -= s[-1] == '/';
      quote = 0;
      if (depth == 0) return s + 1;
      end_tag = true; /* text may have quotes */
    } else if (!end_tag && (*s == '\'' || *s == '"')) {
      quote = *s;
    }
  }
  fail_msg("an element has no end");
  return NULL;
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

/* Nothing is the matter, and nothing is known yet. */
static void learn(story *st, const char *name) {
  plan p = {.story = st, .version = TLS13, .at = SIZE_MAX};
  read_login(&st->login, name);
  st->tls = strstr(name, "-tls") != NULL;
  play(&p);
  assert_int_equal(run.events, EVENTS);
  st->text = run.server.said;
  st->clear = st->tls ? run.server.clear : st->text;
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

/* The sweeps. */

enum { SAMPLE = 24 };

static uint32_t draw(uint32_t n) {
  return chance(&world.seed, n);
}

static void try_at(plan p, size_t at) {
  p.at = at;
  p.seed = world.seed ^ (uint32_t)at;
  try(&p);
}

/* At every position, or at the edges of each event and at some others. */
static void try_positions(const plan *p) {
  const story *st = p->story;
  size_t first = p->on_wire ? st->clear : 0, last = p->on_wire ? st->wire[p->version] : st->text, at;
  unsigned i;
  if (world.all) {
    for (at = first; at <= last; at++) try_at(*p, at);
    return;
  }
  try_at(*p, first);
  try_at(*p, last);
  for (i = 0; i < SAMPLE; i++) try_at(*p, first + draw((uint32_t)(last - first)));
  i = draw(EVENTS);
  if (!p->on_wire) try_at(*p, st->ends[i] - 1);
  if (!p->on_wire) try_at(*p, st->ends[i]);
}

static void try_everywhere(fate f) {
  plan p = {.fate = f};
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
    assert_memory_equal(log, "B alice@" DOMAIN "/torture\nS <", 28);
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
  try_everywhere(PAUSE);
}

static void a_fin_behind_any_byte_is_one_end(void **state) {
  (void)state;
  try_everywhere(FIN);
  try_everywhere(GOODBYE);
}

static void a_reset_behind_any_byte_is_one_end(void **state) {
  (void)state;
  try_everywhere(RST);
}

static void silence_behind_any_byte_ends_at_its_deadline(void **state) {
  (void)state;
  try_everywhere(STALL);
}

static void what_no_xml_may_have_is_refused_behind_any_byte(void **state) {
  (void)state;
  try_everywhere(FORBIDDEN);
}

static void a_space_behind_any_byte_is_passed_over_or_one_end(void **state) {
  (void)state;
  try_everywhere(SPACE);
}

static void random_bytes_behind_any_byte_are_one_end(void **state) {
  (void)state;
  try_everywhere(NOISE);
}

/* Descriptors. (Memory is looked after by the sanitizers.) */

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

/* The world. */

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

static void listen_here(void) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof in;
  world.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(world.listener, (struct sockaddr *)&in, sizeof in) | listen(world.listener, 8), 0);
  assert_int_equal(getsockname(world.listener, (struct sockaddr *)&in, &n), 0);
  world.port = ntohs(in.sin_port);
}

static int make_world(void **state) {
  static const char *const names[STORIES] = {"prosody-clear", "prosody-tls", "ejabberd-clear", "ejabberd-tls"};
  const char *reason, *seed = getenv("TORTURE_SEED"), *torture = getenv("TORTURE");
  int i;
  (void)state;
  world.all = torture && strcmp(torture, "1") == 0;
  world.seed = seed ? (uint32_t)strtoul(seed, NULL, 10) : 1;
  world.loop = xm_loop_new(NULL);
  assert_non_null(world.loop);
  assert_int_equal(xm_jid_parse(&world.jid, "alice@" DOMAIN "/torture", 23, &reason), XM_OK);
  make_certificates();
  listen_here();
  for (i = 0; i < STORIES; i++) learn(&stories[i], names[i]);
  world.descriptors = descriptors();
  return 0;
}

static void print_report(void) {
  unsigned f, i;
  printf("# %lu runs; an event behind its last byte: %lu, the slowest after %.2f ms (%.2f ms of this thread's time), "
         "%lu (%lu) over 5 ms\n",
         report.runs, report.events, (double)report.slowest / 1e6, (double)report.slowest_cpu / 1e6, report.late,
         report.cpu_late);
  for (f = 0; f < FATES; f++)
    for (i = 0; i < report.kinds; i++)
      if (report.outcomes[f][i]) printf("# %s: %s: %lu\n", fates[f], report.names[i], report.outcomes[f][i]);
  fflush(stdout);
}

static int free_world(void **state) {
  int i;
  (void)state;
  print_report();
  for (i = 0; i < STORIES; i++) {
    xm_buf_free(&stories[i].login.file);
    xm_buf_free(&stories[i].log);
  }
  SSL_CTX_free(world.server[TLS12]);
  SSL_CTX_free(world.server[TLS13]);
  xm_tls_ctx_release(world.trust);
  close(world.listener);
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
      cmocka_unit_test(a_space_behind_any_byte_is_passed_over_or_one_end),
      cmocka_unit_test(random_bytes_behind_any_byte_are_one_end),
      cmocka_unit_test(no_descriptor_is_left),
  };
  return cmocka_run_group_tests(tests, make_world, free_world);
}
