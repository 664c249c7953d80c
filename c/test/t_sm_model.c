/* sm: random lives of a session, compared with a model of it and a server that counts. TORTURE=1: ten times as many.
 *
 *   sm -> wire -> (the kernel takes) -> net -> server: delivered, counted     server -> answers -> sm
 *
 * The model knows what was committed, what was seen on the wire, and what the kernel took of that; from this it
 * computes what must be in the log, and which stanzas each answer must acknowledge. */
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

#ifndef XM_DEBUG
#define XM_DEBUG /* each function checks the invariants */
#endif
#include "../core/sm.c"
#include "sample.h"

enum { RUNS = 100000, TORTURED = 1000000, MOST = 600, ANSWERS = 2048 };

static struct {
  unsigned long steps, committed, ours, delivered, doubled, acked, left, returned, requests, full;
  unsigned long resumed, lost_at, lost, wrapped, overtook, quiet, over;
} sum;

/* Where a failure can be found again. */
static unsigned long run, step;
#define MUST(what) ((what) ? (void)0 : differ(#what))

static void differ(const char *what) {
  fail_msg("run %lu, step %lu: %s", run, step, what);
}

static uint64_t dice;

static uint32_t roll(uint32_t n) {
  dice ^= dice << 13;
  dice ^= dice >> 7;
  dice ^= dice << 17;
  return (uint32_t)((dice >> 16) % n);
}

/* The model: numbers of stanzas, in order. */

typedef struct model {
  bool on, enabling, asked; /* asked: <enable/> was sent on this stream */
  bool wants;               /* an <r/> was requested, to follow all that is sent */
  bool held;                /* stanzas wait for an answer of the server */
  unsigned withheld;        /* how many at the log's end are held back */
  bool overtaken;           /* a later stanza has once been sent before an earlier one */
  unsigned log[MOST], n;    /* what must be in the log */
  unsigned written, moved;  /* how many of it the kernel has; how many are completely on the wire */
  size_t end[MOST], taken;  /* where on the stream each one that was moved ends; how much of it the kernel has */
  uint32_t acked, in, left; /* left: the newest of acked, which the server hasn't confirmed */
  char fate[MOST + 1];      /* of each that was committed: 0, 'a'cked, 'l'eft, 'r'eturned */
  unsigned unheard;         /* of those, how many aren't reported: ours, and what ends quietly */
  bool twice[MOST + 1];     /* it may arrive twice, since it wasn't known whether it had */
} model;

/* Every seventh stanza is the library's own. */
static bool is_ours(unsigned k) {
  return k % 7 == 0;
}

/* Every fifth belongs to its session; every second of these is watched. */
static bool is_of_session(unsigned k) {
  return k % 5 == 0 && !is_ours(k);
}

static bool is_watched(unsigned k) {
  return k % 10 != 0 && !is_ours(k);
}

/* Does this end go unreported? What isn't watched is only reported if it comes back. */
static bool is_unheard(unsigned k, char fate) {
  return is_ours(k) || (!is_watched(k) && fate != 'r');
}

static void m_fate(model *m, unsigned k, char fate) {
  m->fate[k] = fate;
  m->unheard += is_unheard(k, fate);
  sum.quiet += is_unheard(k, fate) && !is_ours(k);
}

static unsigned m_ours(const model *m) {
  unsigned i, n = 0;
  for (i = 0; i < m->n; i++) n += is_ours(m->log[i]);
  return n;
}

/* The least number of the program's stanzas in the log; `none` if there is none. */
static unsigned m_first(const model *m, unsigned none) {
  unsigned i, least = none;
  for (i = 0; i < m->n; i++)
    if (!is_ours(m->log[i]) && m->log[i] < least) least = m->log[i];
  return least;
}

static bool m_has(const model *m, unsigned k) {
  unsigned i = 0;
  while (i < m->n && m->log[i] != k) i++;
  return i < m->n;
}

static void m_leave(model *m, unsigned n, char fate) {
  unsigned i;
  for (i = 0; i < n; i++) m_fate(m, m->log[i], fate);
  memmove(m->log, m->log + n, (m->n - n) * sizeof *m->log);
  memmove(m->end, m->end + n, (m->n - n) * sizeof *m->end);
  m->n -= n;
  m->written -= n;
  m->moved = m->moved > n ? m->moved - n : 0;
  sum.wrapped += m->acked + n < m->acked;
  m->acked += n;
}

static void m_leave_written(model *m) {
  m->left += m->written;
  m_leave(m, m->written, 'l');
}

static void m_acked(model *m, uint32_t h) {
  bool more = m->acked - h > m->left;
  m->left = more ? 0 : m->acked - h;
  if (more) m_leave(m, h - m->acked, 'a');
}

static void m_taken(model *m, size_t n) {
  m->taken += n;
  while (m->written < m->moved && m->end[m->written] <= m->taken) m->written++;
  if (!m->on && !m->enabling) m_leave_written(m);
}

static void m_give_up(model *m) {
  if (!m->enabling) return;
  m->enabling = m->held = false;
  m_leave_written(m);
}

static void m_cut(model *m) {
  m->moved = 0;
  m->taken = 0;
  m->enabling = m->asked = m->held = m->wants = false;
}

static void m_resumed(model *m, uint32_t h) {
  m_acked(m, h);
  m->acked = h;
  m->written = m->left = 0;
}

static int by_number(const void *a, const void *b) {
  unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
  return x < y ? -1 : x > y;
}

/* Ours, and those that belong to the session, end. Every third is an iq, which isn't sent again if it may have
 * arrived. */
static void m_lost(model *m, const uint32_t *h) {
  unsigned i, kept = 0;
  if (h && m->on) m_resumed(m, *h);
  for (i = 0; i < m->n; i++) {
    if (is_ours(m->log[i]) || is_of_session(m->log[i])) {
      sum.over += is_of_session(m->log[i]);
      m_fate(m, m->log[i], is_watched(m->log[i]) ? 'r' : 'd');
    } else if (i < m->written && m->log[i] % 3 == 0) {
      m->fate[m->log[i]] = 'r';
    } else {
      m->twice[m->log[i]] |= i < m->written;
      m->log[kept++] = m->log[i];
    }
  }
  qsort(m->log, kept, sizeof *m->log, by_number);
  m->n = kept;
  m->written = m->withheld = 0;
  m->on = false;
}

/* The network and the server. */

typedef struct world {
  xm_sm *s;
  xm_buf wire, net;      /* what the kernel hasn't taken; what the server hasn't read */
  uint64_t taken;        /* bytes of this stream that the kernel has taken */
  xm_buf half;           /* the part of the last stanza that is on the wire, if it isn't complete */
  size_t passed;         /* bytes of the stream up to that */
  unsigned since;        /* stanzas since the last <r/> */
  char got[MOST + 1];    /* each one's last receipt: 'w'ritten, 'a'cked, 'l'eft, or 'r'eturned */
  unsigned ends, before; /* how many have one other than 'w'; how many another process had written */
  xm_tape tape;
  struct {
    bool counts;
    uint32_t h, sent;  /* how many it has handled; has sent, and counted */
    unsigned last;     /* the last stanza on this stream */
    char times[MOST + 1];
    unsigned n, next;  /* answers that are on their way */
    struct {
      char kind;       /* 'e'nabled, 'a', 'r', or a 's'tanza */
      uint32_t h;
    } answers[ANSWERS];
  } server;
  model m;
} world;

/* An element on the wire: its kind, its number, and its length; 0: it isn't complete. */
static size_t element(const char *at, size_t n, char *kind, unsigned long *number) {
  const char *end = n ? memchr(at, '>', n) : NULL, *value;
  if (!end) return 0;
  *kind = at[1] == 'i' || at[1] == 'm' || at[1] == 'p' ? 's' : at[1];
  value = memmem(at, (size_t)(end - at), *kind == 's' ? "id='" : "h='", *kind == 's' ? 4 : 3);
  *number = value ? strtoul(strchr(value, '\'') + 1, NULL, 10) : 0;
  if (end[-1] == '/') return (size_t)(end - at) + 1;
  value = memmem(end, (size_t)(at + n - end), "</", 2);
  end = value ? memchr(value, '>', (size_t)(at + n - value)) : NULL;
  return end ? (size_t)(end - at) + 1 : 0;
}

/* What a pump has put on the wire must be the log's next stanzas, whole and in order, and nonzas only between them. */
static void look(world *w, bool was_half) {
  char kind;
  unsigned long number;
  size_t n;
  for (; (n = element(xm_buf_at(&w->half), xm_buf_len(&w->half), &kind, &number)) > 0; was_half = false) {
    w->passed += n;
    xm_buf_consume(&w->half, n);
    if (kind == 's') {
      MUST(w->m.moved < w->m.n - w->m.withheld && number == w->m.log[w->m.moved]);
      MUST(was_half || !w->m.on || w->since < XM_SM_ASK_EVERY);
      MUST(was_half || !w->m.held);
      w->m.end[w->m.moved++] = w->passed;
      w->since++;
    } else if (kind == 'e') {
      MUST(w->m.enabling && !w->m.asked && w->passed == n);
      w->m.asked = true;
      w->m.acked = w->m.left = 0;
      w->since = 0;
    } else {
      bool last = w->m.moved == w->m.n - w->m.withheld, full = w->m.moved >= XM_SM_IN_FLIGHT;
      MUST(kind != 'r' || w->m.held || last || full || w->since >= XM_SM_ASK_EVERY);
      if (kind == 'r' && (last || (w->since == 0 && !w->m.held))) w->m.wants = false;
      MUST(w->m.on && (kind == 'r' || (kind == 'a' && number == w->m.in)));
      if (kind == 'r') w->since = 0;
      sum.requests += kind == 'r';
    }
  }
}

static void pump(world *w, size_t most) {
  unsigned before = w->m.moved;
  size_t mark = xm_buf_len(&w->wire);
  bool was_half = xm_buf_len(&w->half) > 0;
  MUST(xm_sm_pump(w->s, &w->wire, most) == XM_OK);
  MUST(xm_buf_put(&w->half, xm_buf_at(&w->wire) + mark, xm_buf_len(&w->wire) - mark) == XM_OK);
  look(w, was_half);
  MUST(xm_sm_is_between(w->s) == (xm_buf_len(&w->half) == 0));
  if (!w->m.on && !w->m.enabling) return;
  MUST(w->m.moved <= XM_SM_IN_FLIGHT || w->m.moved <= before + was_half);
  sum.full += w->m.moved == XM_SM_IN_FLIGHT && before < w->m.moved;
  if (most < SIZE_MAX || !w->m.on) return;
  MUST(!w->m.wants || w->m.held || w->m.moved < w->m.n - w->m.withheld);
  MUST(w->m.held || (w->m.moved >= XM_SM_IN_FLIGHT ? w->since == 0 : w->m.moved == w->m.n - w->m.withheld));
  MUST(w->since < XM_SM_ASK_BATCH && (w->since == 0 || xm_sm_unasked(w->s)));
}

static void take(world *w, size_t n) {
  MUST(xm_buf_put(&w->net, xm_buf_at(&w->wire), n) == XM_OK);
  xm_buf_consume(&w->wire, n);
  xm_sm_taken(w->s, w->taken += n);
  m_taken(&w->m, n);
}

/* The server. */

static void answer(world *w, char kind) {
  MUST(w->server.n < ANSWERS);
  w->server.answers[w->server.n].kind = kind;
  w->server.answers[w->server.n++].h = w->server.h;
}

static void deliver(world *w, unsigned k) {
  MUST((k > w->server.last || w->m.overtaken) && k <= MOST);
  w->server.last = k;
  MUST(w->server.times[k]++ == 0 || w->m.twice[k]);
  w->server.h++;
  sum.delivered++;
  sum.doubled += w->server.times[k] > 1;
}

/* The server reads at most `most` elements of what it has received. */
static void serve(world *w, unsigned most) {
  char kind;
  unsigned long number;
  size_t n;
  while (most-- && (n = element(xm_buf_at(&w->net), xm_buf_len(&w->net), &kind, &number)) > 0) {
    xm_buf_consume(&w->net, n);
    if (kind == 's') deliver(w, (unsigned)number);
    if (kind == 'a') MUST(w->server.counts && w->server.sent - (uint32_t)number < ANSWERS);
    if (kind == 'r') answer(w, 'a');
    if (kind != 'e') continue;
    w->server.counts = roll(16) > 0;
    w->server.h = w->server.sent = 0;
    answer(w, w->server.counts ? 'e' : 'f');
  }
}

/* What the server sends without being asked. */
static void speak(world *w) {
  uint32_t what = roll(4);
  if (w->server.n + MOST > ANSWERS) return;
  if (what < 2) {
    answer(w, 's');
    w->server.sent++;
  } else if (w->server.counts) {
    answer(w, what == 2 ? 'r' : 'a');
  }
}

/* The next of the server's answers arrives. */
static void hear(world *w) {
  static const char *const names[] = {['e'] = "enabled", ['f'] = "failed", ['a'] = "a", ['r'] = "r"};
  char h[16], kind = w->server.answers[w->server.next].kind;
  uint32_t n = w->server.answers[w->server.next++].h;
  const char *name = names[(int)kind < 's' ? (int)kind : 'r'];
  xm_err e = {0};
  snprintf(h, sizeof h, "%u", (unsigned)n);
  if (kind == 's') {
    w->m.in++;
    xm_sm_handled(w->s);
    return;
  }
  MUST(xm_tape_reset(&w->tape, "") == XM_OK);
  MUST(xm_tape_open(&w->tape, XM_SM_NS, strlen(XM_SM_NS), name, strlen(name)) == XM_OK);
  if (kind == 'a') MUST(xm_tape_attr(&w->tape, "", 0, "h", 1, h, strlen(h)) == XM_OK);
  if (kind == 'e') MUST(xm_tape_attr(&w->tape, "", 0, "id", 2, "i", 1) == XM_OK);
  if (kind == 'e') MUST(xm_tape_attr(&w->tape, "", 0, "resume", 6, "true", 4) == XM_OK);
  MUST(xm_tape_close(&w->tape) == XM_OK);
  if (xm_sm_read(w->s, &w->tape, &e) < 0) fail_msg("run %lu, step %lu: %s", run, step, e.text);
  if (kind == 'a' && w->m.on) {
    m_acked(&w->m, n);
    w->m.held = false;
  }
  if (kind == 'f') m_give_up(&w->m);
  if (kind != 'e') return;
  w->m.on = true;
  w->m.enabling = w->m.held = false;
  w->m.in = 0;
}

/* What is done to the session. */

static void commit(world *w) {
  unsigned k = (unsigned)xm_sm_next_seq(w->s);
  unsigned flags = is_ours(k) ? XM_SM_OURS : (is_watched(k) ? XM_SM_WATCHED : 0) | (is_of_session(k) ? XM_SM_SESSION : 0);
  xm_buf *out = xm_sm_out(w->s);
  size_t mark = xm_buf_mark(out);
  char xml[400];
  uint64_t seq;
  if (k > MOST) return;
  snprintf(xml, sizeof xml, "<%s id='%u' x='%0*d'/>", k % 3 == 0 ? "iq" : k % 3 == 1 ? "message" : "presence", k,
           (int)(roll(8) ? 1 : 1 + roll(300)), 0);
  MUST(xm_buf_puts(out, xml) == XM_OK && xm_sm_commit(w->s, mark, 0, flags, &seq) == XM_OK && seq == k);
  memmove(w->m.log + w->m.n - w->m.withheld + 1, w->m.log + w->m.n - w->m.withheld, w->m.withheld * sizeof *w->m.log);
  w->m.log[w->m.n++ - w->m.withheld] = k;
  w->m.overtaken |= w->m.withheld > 0;
  sum.overtook += w->m.withheld > 0;
  if (is_ours(k)) sum.ours++;
  else sum.committed++;
}

static void enable(world *w) {
  w->m.enabling = w->m.held = true;
  xm_sm_enable(w->s, true);
}

static void let_go(world *w) {
  xm_sm_let_go(w->s);
  w->m.withheld = 0;
}

static void resume(world *w) {
  MUST(xm_sm_resumed(w->s, w->server.h, NULL) == XM_OK);
  m_resumed(&w->m, w->server.h);
  w->m.held = w->m.n > 0;
  w->server.sent = w->m.in; /* it sends again what hasn't arrived */
  sum.resumed++;
}

static void lose(world *w, bool known) {
  const uint32_t h = w->server.h;
  MUST(xm_sm_lost(w->s, known ? &h : NULL, 0, 0, INT64_MAX) == XM_OK);
  sum.lost_at += known && w->m.on;
  sum.lost += !known || !w->m.on;
  m_lost(&w->m, known ? &h : NULL);
  w->server.counts = false;
  if (roll(3) == 0) {
    xm_sm_hold_back(w->s);
    w->m.withheld = w->m.n;
  }
  if (roll(8)) enable(w);
}

/* The link breaks, and what was on it is lost; a new one follows. */
static void cut(world *w) {
  serve(w, roll(4) ? roll(40) : UINT32_MAX);
  xm_buf_clear(&w->wire);
  xm_buf_clear(&w->net);
  xm_buf_clear(&w->half);
  w->passed = w->since = 0;
  w->server.n = w->server.next = w->server.last = 0;
  xm_sm_cut(w->s, w->taken);
  w->taken = 0;
  m_cut(&w->m);
  MUST((xm_sm_id(w->s) != NULL) == w->m.on);
  while (roll(3) == 0) commit(w);
  if (w->m.on && roll(3)) resume(w);
  else lose(w, roll(2));
}

/* A session saved by another process, with counters that are about to wrap. */
static void restore(world *w) {
  xm_sm_session session = {.id = "i", .in = UINT32_MAX - 4, .acked = UINT32_MAX - 4};
  uint32_t i;
  for (i = roll(8); i > 0; i--) commit(w);
  session.written = w->before = w->m.written = w->m.n ? roll(w->m.n + 1) : 0;
  w->m.on = w->server.counts = true;
  w->m.in = w->m.acked = w->server.h = session.in;
  for (i = roll(w->before + 1); i > 0; i--) deliver(w, w->server.last + 1);
  w->server.last = 0;
  MUST(xm_sm_restore(w->s, &session) == XM_OK);
  if (roll(4)) resume(w);
  else lose(w, roll(2));
}

static void do_something(world *w, bool many) {
  static const size_t mosts[] = {SIZE_MAX, SIZE_MAX, 16384, 100, 1};
  uint32_t what = roll(16), i, len = (uint32_t)xm_buf_len(&w->wire);
  if (what < 3) {
    for (i = 1 + roll(many ? 170 : 4); i > 0; i--) commit(w);
  } else if (what < 6) {
    pump(w, mosts[roll(5)]);
  } else if (what < 8) {
    take(w, roll(3) ? len : roll(len + 1));
  } else if (what < 10) {
    serve(w, 1 + roll(20));
  } else if (what < 12) {
    for (i = 1 + roll(3); i > 0 && w->server.next < w->server.n; i--) hear(w);
  } else if (what < 14) {
    speak(w);
  } else if (what == 14) {
    if (roll(2)) xm_sm_request(w->s), w->m.wants = true;
    else xm_sm_acknowledge(w->s);
    if (roll(2)) let_go(w);
    if (roll(2)) {
      xm_sm_release(w->s);
      if (w->m.enabling) w->m.held = false;
    }
  } else if (roll(4) == 0) {
    if (!w->m.asked) return;
    xm_sm_give_up(w->s);
    m_give_up(&w->m);
  } else if (roll(2)) {
    cut(w);
  }
}

/* What the program sees. */

static void receive_receipts(world *w) {
  xm_sm_receipt r;
  xm_sm_stanza st;
  while (xm_sm_receipt_next(w->s, &r)) {
    char kind = "wal"[r.fate], *got = &w->got[r.seq];
    MUST(kind == 'w' ? *got == 0 : *got == 'w' || (*got == 0 && r.seq <= w->before));
    MUST(kind == 'w' || w->m.fate[r.seq] == kind);
    *got = kind;
    w->ends += kind != 'w';
    sum.acked += kind == 'a';
    sum.left += kind == 'l';
  }
  while (xm_sm_returned_next(w->s, &st)) {
    MUST(w->m.fate[st.seq] == 'r' && (w->got[st.seq] == 0 || w->got[st.seq] == 'w'));
    MUST(st.reason == XM_SM_ENDED || (st.reason == XM_SM_UNKNOWN && st.seq % 3 == 0) ||
         (st.reason == XM_SM_OVER && is_of_session((unsigned)st.seq) && is_watched((unsigned)st.seq)));
    w->got[st.seq] = 'r';
    w->ends++;
    sum.returned++;
  }
}

static void compare(world *w) {
  const model *m = &w->m;
  unsigned any = 1 + roll(MOST);
  receive_receipts(w);
  MUST(xm_sm_stanzas(w->s) == m->n - m_ours(m));
  MUST(w->ends + m->unheard + m->n + 1 == xm_sm_next_seq(w->s));
  MUST(xm_sm_written(w->s) == m->written);
  MUST(xm_sm_first(w->s) == m_first(m, (unsigned)xm_sm_next_seq(w->s)));
  MUST(xm_sm_has(w->s, any) == m_has(m, any));
  MUST(xm_sm_holds_back(w->s) == (m->withheld > 0));
  MUST(xm_sm_acked(w->s) == m->acked && xm_sm_in(w->s) == m->in);
  MUST(xm_sm_state_of(w->s) == (m->on ? XM_SM_ON : m->enabling ? XM_SM_ENABLING : XM_SM_OFF));
}

/* Continues until nothing is left to do. */
static void drain(world *w) {
  int turns;
  let_go(w);
  for (turns = 0; w->m.n > 0 && turns < 20; turns++) {
    xm_sm_request(w->s);
    w->m.wants = true;
    pump(w, SIZE_MAX);
    take(w, xm_buf_len(&w->wire));
    serve(w, UINT32_MAX);
    while (w->server.next < w->server.n) hear(w);
    compare(w);
  }
  MUST(xm_sm_is_done(w->s));
}

static void end(world *w) {
  unsigned i;
  for (i = 0; i < w->m.n; i++) m_fate(&w->m, w->m.log[i], 'r');
  w->m.n = w->m.written = w->m.withheld = 0;
  w->m.on = w->m.enabling = false;
  xm_sm_end(w->s);
  compare(w);
}

/* At the end each stanza has had one fate, and the server agrees. */
static void reckon(const world *w) {
  unsigned k, n = (unsigned)xm_sm_next_seq(w->s) - 1;
  MUST(w->ends + w->m.unheard == n);
  for (k = 1; k <= n; k++) {
    MUST(w->m.fate[k] && w->got[k] == (is_unheard(k, w->m.fate[k]) ? 0 : w->m.fate[k]));
    MUST(w->got[k] != 'a' || w->server.times[k] >= 1);
    MUST(w->server.times[k] <= 1 || w->m.twice[k]);
    MUST((k % 3 && !is_of_session(k)) || w->server.times[k] <= 1);
  }
}

static void live(world *w) {
  bool many = roll(16) == 0;
  unsigned long steps = 10 + roll(60);
  memset(w, 0, sizeof *w);
  w->s = xm_sm_new();
  MUST(w->s);
  if (run % 2) restore(w);
  else if (roll(8)) enable(w);
  for (step = 0; step < steps; step++) {
    compare(w);
    do_something(w, many);
  }
  compare(w);
  sum.steps += steps;
  if (roll(2)) drain(w);
  end(w);
  reckon(w);
  xm_sm_free(w->s);
  xm_buf_free(&w->wire);
  xm_buf_free(&w->net);
  xm_buf_free(&w->half);
  xm_tape_free(&w->tape);
}

static void any_life_is_as_the_model_says(void **state) {
  static world w;
  const char *torture = getenv("TORTURE");
  unsigned long runs = torture && *torture ? TORTURED : RUNS / sample();
  (void)state;
  for (run = 0; run < runs; run++) {
    dice = (run + 1) * UINT64_C(0x9E3779B97F4A7C15);
    live(&w);
  }
  print_message("# %lu lives, %lu steps: %lu stanzas given, %lu delivered (%lu of them again)\n", runs, sum.steps,
                sum.committed, sum.delivered, sum.doubled);
  print_message("# %lu acknowledged, %lu left, %lu came back; %lu requests, %lu times 150 in flight\n", sum.acked,
                sum.left, sum.returned, sum.requests, sum.full);
  print_message("# %lu resumptions, %lu losses with h, %lu without; a counter wrapped %lu times; %lu overtook; %lu were "
                "over with their session\n", sum.resumed, sum.lost_at, sum.lost, sum.wrapped, sum.overtook, sum.over);
  assert_int_equal(sum.acked + sum.left + sum.returned + sum.quiet, sum.committed);
  assert_true(sum.overtook && sum.over && sum.wrapped && sum.full && sum.ours && sum.doubled && sum.resumed && sum.lost_at && sum.lost && sum.left);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_life_is_as_the_model_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
