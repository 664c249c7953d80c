/* loudmouth: the program for loudmouth in `make bench`, as a client without TLS. Prints microseconds of CPU (user and
 * system) for a stanza.
 *
 *   loudmouth flood N         a handler counts what comes from `peer flood`
 *   loudmouth send N          small messages to `peer sink`
 *   loudmouth ping N DEPTH    DEPTH at a time, with `peer echo`, each with a handler for its reply
 *
 * Pings aren't answered, which it leaves to the program. */
#include <loudmouth/loudmouth.h>
#include <string.h>

#include "../figure.h"

static struct {
  LmConnection *conn;
  LmMessageHandler *on_reply;
  const char *what;
  long n, depth, seen, asked;
  double since;
} me;

static void die(const char *what) {
  fprintf(stderr, "loudmouth: %s\n", what);
  exit(2);
}

static void end(void) {
  exit(tell(cpu() - me.since, (double)me.n));
}

static void send_and_unref(LmMessage *m) {
  if (!lm_connection_send(me.conn, m, NULL)) die("lm_connection_send");
  lm_message_unref(m);
}

static LmHandlerResult on_stanza(LmMessageHandler *h, LmConnection *conn, LmMessage *m, gpointer arg) {
  (void)h, (void)conn, (void)m, (void)arg;
  if (++me.seen == me.n) end();
  return LM_HANDLER_RESULT_REMOVE_MESSAGE;
}

static void flood(void) {
  static const LmMessageType types[] = {LM_MESSAGE_TYPE_MESSAGE, LM_MESSAGE_TYPE_PRESENCE, LM_MESSAGE_TYPE_IQ};
  LmMessageHandler *h = lm_message_handler_new(on_stanza, NULL, NULL);
  size_t i;
  for (i = 0; i < sizeof types / sizeof *types; i++)
    lm_connection_register_message_handler(me.conn, h, types[i], LM_HANDLER_PRIORITY_NORMAL);
  send_and_unref(lm_message_new(NULL, LM_MESSAGE_TYPE_PRESENCE));
}

static void send_all(void) {
  long i;
  for (i = 0; i < me.n; i++) {
    LmMessage *m = lm_message_new_with_sub_type("romeo@example.net", LM_MESSAGE_TYPE_MESSAGE, LM_MESSAGE_SUB_TYPE_CHAT);
    lm_message_node_add_child(lm_message_get_node(m), "body", "Hi there, how are you?");
    send_and_unref(m);
  }
  end();
}

static void ask(void) {
  LmMessage *m = lm_message_new_with_sub_type("bench.test", LM_MESSAGE_TYPE_IQ, LM_MESSAGE_SUB_TYPE_GET);
  LmMessageNode *ping = lm_message_node_add_child(lm_message_get_node(m), "ping", NULL);
  lm_message_node_set_attribute(ping, "xmlns", "urn:xmpp:ping");
  if (!lm_connection_send_with_reply(me.conn, m, me.on_reply, NULL)) die("lm_connection_send_with_reply");
  lm_message_unref(m);
  me.asked++;
}

static LmHandlerResult on_reply(LmMessageHandler *h, LmConnection *conn, LmMessage *m, gpointer arg) {
  (void)h, (void)conn, (void)m, (void)arg;
  if (++me.seen == me.n) end();
  if (me.asked < me.n) ask();
  return LM_HANDLER_RESULT_REMOVE_MESSAGE;
}

static void ping(void) {
  long i;
  me.on_reply = lm_message_handler_new(on_reply, NULL, NULL);
  for (i = 0; i < me.depth; i++) ask();
}

static void on_login(LmConnection *conn, gboolean success, gpointer arg) {
  (void)conn, (void)arg;
  if (!success) die("no login");
  me.since = cpu();
  if (strcmp(me.what, "flood") == 0) flood();
  else if (strcmp(me.what, "send") == 0) send_all();
  else ping();
}

static void on_open(LmConnection *conn, gboolean success, gpointer arg) {
  (void)arg;
  if (!success || !lm_connection_authenticate(conn, "a", "secret", "bench", on_login, NULL, NULL, NULL)) die("no stream");
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: peer ... loudmouth flood|send N | ping N DEPTH\n"), 2;
  me.what = argv[1];
  me.n = atol(argv[2]);
  me.depth = argc > 3 ? atol(argv[3]) : 1;
  me.conn = lm_connection_new("127.0.0.1");
  lm_connection_set_port(me.conn, bench_port());
  lm_connection_set_jid(me.conn, "a@bench.test");
  if (!lm_connection_open(me.conn, on_open, NULL, NULL, NULL)) die("no connection");
  g_main_loop_run(g_main_loop_new(NULL, FALSE));
  return 1;
}
