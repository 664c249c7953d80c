/* run: one login of the library with a replaying server (replay.h), by a plan: in which pieces the server's bytes come,
 * and what happens at which position. The library's events are logged as lines: "B JID", "S STANZA", "E LAYER
 * CONDITION". Include cmocka.h before it. */
#ifndef RUN_H
#define RUN_H

#include <arpa/inet.h>
#include <netinet/tcp.h>

#include "conn.h"
#include "hurry.h"
#include "out.h"
#include "replay.h"

#define PASSWORD "alicepw"
#define DOMAIN "xmpp.test"

enum {
  TIMEOUT = 30000,
  STANZAS = 10,
  EVENTS = STANZAS + 2, /* "bound" comes before them, "ended" behind */
  GUARD = 60,           /* seconds after which a run has failed */
  IDLE_TURNS = 5,       /* milliseconds without anything on both sides: nothing more will come */
};

/* Shared by all runs. */

enum { TLS12, TLS13, VERSIONS };

static struct world {
  xm_loop *loop;
  xm_tls_ctx *trust;
  SSL_CTX *server[VERSIONS];
  xm_jid jid, account;
  bool all;
  uint32_t seed;
  int descriptors;
} world;

/* A recording, and what happens when it is played without disturbance. */
typedef struct story {
  login login;
  char host[16]; /* another address for each, so that each is another server to the library */
  int listener, port;
  bool tls, sasl2;
  size_t text, clear;       /* bytes of text; those of them before TLS */
  size_t success;           /* bytes of text up to the end of <success/> */
  size_t wire[VERSIONS];    /* approximate number of bytes on the wire: the lengths of signatures differ */
  size_t ends[EVENTS];      /* bytes of text up to the end of what causes each event */
  size_t lines[EVENTS + 1]; /* bytes of the log up to the end of that many events */
  xm_buf log;
} story;

enum { STORIES = 8 };
static story stories[STORIES];

/* What happens at a position. */
typedef enum fate { NOTHING, PAUSE, FIN, GOODBYE, RST, STALL, FORBIDDEN, SPACE, NOISE, FATES } fate;

static const char *const fates[] = {"nothing", "a pause",     "FIN",     "close_notify and FIN", "RST",
                                    "silence", "a 0xFF byte", "a space", "random bytes"};

typedef enum pieces { WHOLE, SINGLE_BYTES, RANDOM_PIECES } pieces;

typedef struct plan {
  const story *story;
  int version;
  bool on_wire; /* pieces and positions are counted on the wire, not in the text */
  size_t at;
  fate fate;
  bool attached; /* the fate's bytes are in the same packet as the last ones before them */
  pieces pieces;
  bool lockstep; /* the client sends nothing ahead */
  uint32_t seed; /* for random pieces and bytes */
} plan;

/* The current run: the library's connection, and the server of the recording. */
static struct run {
  plan plan;
  uint32_t seed; /* the state of the random numbers */
  xm_conn *c;
  replay server;
  xm_buf log;
  size_t lines[EVENTS + 1]; /* bytes of the log up to the end of that many events */
  unsigned events, ends, stanzas;
  bool met;                  /* the fate's position has been reached */
  bool over;                 /* the server sends nothing more */
  bool accepted;             /* the client is connected: further connections are refused */
  bool early;                /* the session began without its features, which were waited for in vain */
  unsigned idle;             /* turns of the loop in which nothing happened */
  unsigned whole;            /* events that must have come before the fate */
  uint64_t since, cpu_since; /* when the last bytes were sent */
  uint64_t began;
} run;

/* How long events took after the last byte of what causes them. */
static struct pace {
  unsigned long events, late, cpu_late; /* events that took more than 5 ms; more than 5 ms of this thread's CPU time */
  uint64_t slowest, slowest_cpu;        /* ns */
} pace;

static void require(bool condition, const char *what) {
  const plan *p = &run.plan;
  if (condition) return;
  fail_msg("%s: %s, TLS 1.%d, %s behind byte %zu of the %s, pieces %d, seed %u:\n%.*s", what, p->story->login.name,
           p->version == TLS12 ? 2 : 3, fates[p->fate], p->at, p->on_wire ? "wire" : "text", (int)p->pieces,
           (unsigned)p->seed, (int)xm_buf_len(&run.log), xm_buf_len(&run.log) ? xm_buf_at(&run.log) : "");
}

/* The library's side */

static void on_news(void *arg) {
  (void)arg;
}

static void time_event(void) {
  uint64_t took = clock_ns(CLOCK_MONOTONIC) - run.since, cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - run.cpu_since;
  pace.events++;
  pace.late += took > 5000000;
  pace.cpu_late += cpu > 5000000;
  if (took > pace.slowest) pace.slowest = took;
  if (cpu > pace.slowest_cpu) pace.slowest_cpu = cpu;
}

static void ask_questions(void) {
  xm_buf *out = xm_conn_out(run.c);
  size_t mark = xm_buf_mark(out);
  xm_buf_puts(out, step_from_end(&run.plan.story->login, 'C', 1)->text);
  assert_int_equal(xm_conn_commit(run.c, mark, 0, NULL, NULL), XM_OK);
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
  require(run.ends <= 1, "more than one end");
  run.stanzas += ev == XM_CONN_STANZA;
  if (ev == XM_CONN_BOUND) ask_questions();
  if (ev == XM_CONN_STANZA && run.stanzas == STANZAS) xm_conn_close(run.c, TIMEOUT);
}

/* Lets the library do everything that it can do now. true: there were events. */
static bool sweep(void) {
  unsigned before = run.events;
  xm_conn_event ev;
  while ((ev = xm_conn_next(run.c)) != XM_CONN_NOTHING)
    if (ev == XM_CONN_PASSWORD)
      xm_conn_log_in(run.c, PASSWORD, strlen(PASSWORD));
    else if (ev != XM_CONN_AGAIN && ev != XM_CONN_STATE && ev != XM_CONN_TOKEN)
      note(ev);
  xm_conn_flush(run.c);
  return run.events > before;
}

static void turn_away(void) {
  const struct linger at_once = {1, 0};
  int fd = accept4(run.plan.story->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
}

static void turn(int ms) {
  if (run.accepted) turn_away();
  xm_loop_turn(world.loop, ms);
  xm_loop_fire(world.loop);
  require(clock_ns(CLOCK_MONOTONIC) - run.began < GUARD * 1000000000ull, "it takes too long");
}

static int accept_client(void) {
  int fd = -1, one = 1;
  while (fd < 0) {
    sweep();
    turn(0);
    fd = accept4(run.plan.story->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  }
  run.accepted = true;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* each piece is a packet */
  return fd;
}

/* Options for a login by SASL2. What it leaves for the next one is forgotten, since the next login would otherwise be
 * different. */
static void set_one_exchange(xm_conn_options *o, const login *l, const xm_token *token) {
  static char mechanisms[64];
  snprintf(mechanisms, sizeof mechanisms, "%s HT-SHA-256-EXPR", l->mechanism);
  xm_keyring_forget();
  o->jid = &world.account;
  o->mechanisms = mechanisms;
  o->sasl2 = o->bind2 = o->fast = true;
  o->tag = "torture";
  o->agent = "5a3f9c52-7d0e-4d0e-9a52-0c8b1c4e7a01";
  o->token = login_is_fast(l) ? token : NULL;
}

static void begin_run(const plan *p) {
  static const xm_token token = {.n = sizeof TOKEN - 1, .bytes = TOKEN, .mechanism = "HT-SHA-256-EXPR"};
  xm_conn_options o = xm_conn_defaults();
  xm_err e = {0};
  o.jid = &world.jid;
  o.password = PASSWORD;
  o.password_len = strlen(PASSWORD);
  o.host = p->story->host;
  o.port = p->story->port;
  o.tls = p->story->tls ? XM_TLS_STARTTLS : XM_TLS_NONE;
  o.tls_ctx = p->story->tls ? world.trust : NULL;
  o.mechanisms = p->story->login.mechanism;
  o.sm = false; /* as in the recordings */
  o.timeout = TIMEOUT;
  o.keepalive = 0;
  o.pipelining = p->lockstep ? XM_PIPELINING_NONE : XM_PIPELINING_EAGER;
  o.wake = on_news;
  if (p->story->sasl2) set_one_exchange(&o, &p->story->login, &token);
  run.plan = *p;
  run.seed = p->seed;
  run.events = run.ends = run.stanzas = run.whole = 0;
  run.met = run.over = run.accepted = run.early = false;
  run.idle = 0;
  run.log = XM_BUF_INIT;
  run.began = clock_ns(CLOCK_MONOTONIC);
  run.c = xm_conn_new(world.loop, &o, NULL, &e);
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

/* The server's side */

/* The length of the next piece, if `due` bytes can be sent and `gone` have been. */
static size_t next_piece(size_t due, size_t gone) {
  const plan *p = &run.plan;
  size_t n = due;
  if (run.over || due == 0) return 0;
  if (p->pieces == SINGLE_BYTES) n = 1;
  if (p->pieces == RANDOM_PIECES) n = 1 + chance(&run.seed, 1u << chance(&run.seed, 10));
  if (n > due) n = due;
  return !run.met && p->at >= gone && n > p->at - gone ? p->at - gone : n;
}

static void count_whole(size_t understood) {
  while (run.whole < EVENTS && run.plan.story->ends[run.whole] <= understood) run.whole++;
}

/* Everything that has been sent completely must have caused its event before more is sent. */
static void expect_events(void) {
  if ((run.met && run.plan.fate != PAUSE) || !run.plan.story->text)
    return; /* anything may come; or the story is being measured */
  count_whole(replay_understood(&run.server));
  for (sweep(); run.events < run.whole; sweep()) turn(20);
  require(run.events == run.whole, "an event before its bytes");
}

static bool is_there(void) {
  const replay *s = &run.server;
  return !run.met && run.plan.at == (run.plan.on_wire ? s->sent : s->said) &&
         (run.plan.on_wire || !xm_buf_len(&s->wire));
}

/* Moves the clock: a deadline must end what nothing else ends, and not earlier. A session that is ready has only the
 * deadline of its close. */
static void let_time_pass(void) {
  bool was_open;
  int left;
  while (!replay_has_arrived(&run.server)) turn(1);
  sweep();
  if (run.ends) return;
  freeze();
  if (xm_conn_state_of(run.c) == XM_CONN_READY) xm_conn_close(run.c, 1000);
  left = xm_loop_timeout(world.loop);
  require(left > 0 && left <= TIMEOUT, "no deadline");
  frozen += (uint64_t)(left - 1) * 1000000u;
  xm_loop_fire(world.loop);
  sweep();
  require(run.ends == 0, "an end before its deadline");
  frozen += 1000000u;
  was_open = xm_conn_state_of(run.c) == XM_CONN_READY;
  xm_loop_fire(world.loop);
  sweep();
  unfreeze();
  if (run.plan.story->sasl2 && !was_open && !run.early && xm_conn_state_of(run.c) == XM_CONN_READY) {
    run.early = true; /* a session of SASL2 begins without its features, if they don't come */
    let_time_pass();
    return;
  }
  for (left = 0; !run.ends && left < IDLE_TURNS; left++) { /* the library may try the server once more */
    turn(1);
    sweep();
  }
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
  size_t i, n = 1 + chance(&run.seed, sizeof noise);
  for (i = 0; i < n; i++) noise[i] = (char)chance(&run.seed, 256);
  inject(noise, n);
}

static void meet_fate(void) {
  run.met = true;
  if (run.plan.attached) count_whole(run.server.said);
  switch (run.plan.fate) {
    case FIN: replay_finish(&run.server, false); break;
    case GOODBYE: replay_finish(&run.server, true); break;
    case RST: replay_reset(&run.server); break;
    case STALL: let_time_pass(); break;
    case FORBIDDEN: inject("\xff", 1); break;
    case SPACE: inject(" ", 1); break;
    case NOISE: inject_noise(); break;
    default: break;
  }
  run.over = run.plan.fate >= FIN && run.plan.fate <= STALL;
}

/* Sends the server's next piece. true: there was one. */
static bool say_piece(void) {
  replay *s = &run.server;
  size_t n;
  if (!run.plan.on_wire) {
    replay_say(s, next_piece(replay_due(s), s->said));
    if (run.plan.attached && run.plan.at == s->said && !run.met) meet_fate();
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

/* Will neither side send anything more? */
static bool is_over(bool news) {
  run.idle = news || !replay_has_arrived(&run.server) ? 0 : run.idle + 1;
  return run.met && run.plan.fate >= FORBIDDEN && run.idle >= IDLE_TURNS;
}

static void play(const plan *p) {
  begin_run(p);
  if (is_there()) meet_fate();
  while (!run.ends) {
    bool news = replay_hear(&run.server);
    bool said = say_piece();
    if (said) expect_events();
    if (is_there()) meet_fate();
    if (sweep() || said) news = true;
    if (!news) turn(1);
    if (is_over(news)) let_time_pass();
  }
  require(xm_conn_next(run.c) == XM_CONN_NOTHING, "something behind the end");
  require(xm_conn_state_of(run.c) == XM_CONN_CLOSED, "not closed");
}

#endif
