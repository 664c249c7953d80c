/* Shared by tests of fed connections, which have no transport: opens and feeds one, and checks its events. */
#ifndef FED_CONN_H
#define FED_CONN_H

#include "conn.h"

static int wakes;

static void on_news(void *arg) {
  (void)arg;
  wakes++;
}

static xm_jid jid_of(const char *s) {
  const char *reason;
  xm_jid j;
  assert_int_equal(xm_jid_parse(&j, s, strlen(s), &reason), XM_OK);
  return j;
}

static xm_loop *new_loop(void) {
  xm_err e = {0};
  xm_loop *l = xm_loop_new(&e);
  assert_non_null(l);
  return l;
}

/* A fed connection and its loop, with default options except for what `o` was given. */
typedef struct fed {
  xm_loop *loop;
  xm_jid jid;
  xm_conn_options o;
  xm_conn *c;
} fed;

static void prepare(fed *f) {
  *f = (fed){.loop = new_loop(), .jid = jid_of("alice@xmpp.example/lua"), .o = xm_conn_defaults()};
  f->o.jid = &f->jid;
  f->o.tls = XM_TLS_NONE;
  f->o.fed = f->o.logged_in = true;
  f->o.sm = false;
  f->o.resumable = false;
  f->o.wake = on_news;
}

static void open_fed(fed *f) {
  xm_err e = {0};
  f->c = xm_conn_new(f->loop, &f->o, NULL, &e);
  if (!f->c) fail_msg("%s", e.text);
  assert_int_equal(xm_conn_next(f->c), XM_CONN_NOTHING); /* it has written its header */
}

static void close_fed(fed *f) {
  xm_conn_free(f->c);
  assert_int_equal(xm_loop_timeout(f->loop), -1);
  xm_loop_release(f->loop);
}

static void feed(fed *f, const char *s) {
  assert_int_equal(xm_conn_feed(f->c, s, strlen(s)), XM_OK);
}

/* The next event that isn't AGAIN or STATE. */
static xm_conn_event next(xm_conn *c) {
  xm_conn_event ev;
  do ev = xm_conn_next(c);
  while (ev == XM_CONN_AGAIN || ev == XM_CONN_STATE);
  return ev;
}

static void expect_stanza(fed *f, const char *id) {
  assert_int_equal(next(f->c), XM_CONN_STANZA);
  assert_string_equal(xm_tape_get(xm_conn_stanza(f->c), 0, "id", NULL), id);
}

static void expect_sent(fed *f, const char *s) {
  xm_buf sent = XM_BUF_INIT;
  assert_int_equal(xm_conn_sent(f->c, &sent), XM_OK);
  xm_buf_putc(&sent, '\0');
  assert_string_equal(xm_buf_at(&sent), s);
  xm_buf_free(&sent);
}

/* ENDED comes once, and nothing comes after it. */
static void expect_end(xm_conn *c, xm_layer layer, const char *condition) {
  assert_int_equal(next(c), XM_CONN_ENDED);
  assert_int_equal(xm_conn_state_of(c), XM_CONN_CLOSED);
  assert_string_equal(xm_conn_why(c)->condition, condition);
  assert_int_equal(xm_conn_why(c)->layer, layer);
  assert_int_equal(next(c), XM_CONN_NOTHING);
  xm_conn_close(c, 0);
  xm_conn_pause(c, true);
  xm_conn_flush(c);
  assert_int_equal(next(c), XM_CONN_NOTHING);
}

#endif
