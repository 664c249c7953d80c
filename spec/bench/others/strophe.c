/* strophe: the program for libstrophe in `make bench`, as a client without TLS (as a component, Debian's 0.12.2 crashes
 * at the first stanza). Prints microseconds of CPU (user and system) for a stanza.
 *
 *   strophe flood N           a handler counts what comes from `peer flood`
 *   strophe tostring N        the same, and measures the time to make text of the stanzas again
 *   strophe send N            small messages to `peer sink`, 64 in a turn
 *   strophe ping N DEPTH      DEPTH at a time, with `peer echo` */
#include <string.h>
#include <strophe.h>

#include "../figure.h"

enum { BATCH = 64 };

static struct {
  xmpp_ctx_t *ctx;
  xmpp_conn_t *conn;
  const char *what;
  long n, depth, asked, seen, held;
  double since, spent;
  xmpp_stanza_t *kept[1000];
} me;

static int is(const char *what) { return strcmp(me.what, what) == 0; }

static void end(double seconds) { exit(tell(seconds, (double)me.n)); }

static void write_kept(void) {
  double since = cpu();
  char *text;
  size_t len;
  long i;
  for (i = 0; i < me.held; i++) {
    xmpp_stanza_to_text(me.kept[i], &text, &len);
    xmpp_free(me.ctx, text);
  }
  me.spent += cpu() - since;
  for (i = 0; i < me.held; i++) xmpp_stanza_release(me.kept[i]);
  me.held = 0;
}

static int on_stanza(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *arg) {
  int last = ++me.seen == me.n;
  (void)conn, (void)arg;
  if (is("tostring")) {
    me.kept[me.held++] = xmpp_stanza_clone(stanza);
    if (last || me.held == 1000) write_kept();
    if (last) end(me.spent);
  }
  if (last) end(cpu() - me.since);
  return 1;
}

static void say_present(void) {
  xmpp_stanza_t *presence = xmpp_presence_new(me.ctx);
  xmpp_send(me.conn, presence);
  xmpp_stanza_release(presence);
}

static void send_batch(void) {
  int i;
  for (i = 0; i < BATCH; i++) {
    xmpp_stanza_t *message = xmpp_message_new(me.ctx, "chat", "romeo@example.net", NULL);
    xmpp_message_set_body(message, "Hi there, how are you?");
    xmpp_send(me.conn, message);
    xmpp_stanza_release(message);
  }
}

static void send_all(void) {
  long left;
  for (left = me.n; left > 0; left -= BATCH) {
    send_batch();
    while (xmpp_conn_send_queue_len(me.conn) > 0) xmpp_run_once(me.ctx, 0);
  }
  end(cpu() - me.since);
}

static void ask(void);

static int on_answer(xmpp_conn_t *conn, xmpp_stanza_t *stanza, void *arg) {
  (void)conn, (void)stanza, (void)arg;
  if (++me.seen == me.n) end(cpu() - me.since);
  if (me.asked < me.n) ask();
  return 0;
}

static void ask(void) {
  char *id = xmpp_uuid_gen(me.ctx);
  xmpp_stanza_t *iq = xmpp_iq_new(me.ctx, "get", id), *ping = xmpp_stanza_new(me.ctx);
  xmpp_stanza_set_name(ping, "ping");
  xmpp_stanza_set_ns(ping, "urn:xmpp:ping");
  xmpp_stanza_set_to(iq, "bench.test");
  xmpp_stanza_add_child(iq, ping);
  xmpp_id_handler_add(me.conn, on_answer, id, NULL);
  xmpp_send(me.conn, iq);
  xmpp_stanza_release(ping);
  xmpp_stanza_release(iq);
  xmpp_free(me.ctx, id);
  me.asked++;
}

static void ask_all(void) {
  long i;
  for (i = 0; i < me.depth; i++) ask();
}

static void on_event(xmpp_conn_t *conn, xmpp_conn_event_t event, int error, xmpp_stream_error_t *why, void *arg) {
  (void)error, (void)why, (void)arg;
  if (event != XMPP_CONN_CONNECT) exit(1);
  me.since = cpu();
  if (is("send")) send_all();
  if (is("ping")) {
    ask_all();
  } else {
    xmpp_handler_add(conn, on_stanza, NULL, NULL, NULL, NULL);
    say_present();
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: peer ... strophe flood|tostring|send N | ping N DEPTH\n"), 2;
  me.what = argv[1];
  me.n = atol(argv[2]);
  me.depth = argc > 3 ? atol(argv[3]) : 1;
  xmpp_initialize();
  me.ctx = xmpp_ctx_new(NULL, NULL);
  me.conn = xmpp_conn_new(me.ctx);
  xmpp_conn_set_flags(me.conn, XMPP_CONN_FLAG_DISABLE_TLS);
  xmpp_conn_set_jid(me.conn, "a@bench.test");
  xmpp_conn_set_pass(me.conn, "secret");
  if (xmpp_connect_client(me.conn, "127.0.0.1", bench_port(), on_event, NULL) != XMPP_EOK) return 1;
  xmpp_run(me.ctx);
  return 1;
}
