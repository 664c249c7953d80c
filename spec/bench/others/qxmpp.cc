/* qxmpp: the program for QXmpp in `make bench`, as a client without TLS. Prints microseconds of CPU (user and system)
 * for a stanza.
 *
 *   qxmpp flood N          an extension counts what comes from `peer flood`
 *   qxmpp send N           small messages to `peer sink`, 64 in a turn
 *   qxmpp ping N DEPTH     DEPTH at a time, with `peer echo`
 *
 * It answers the pings in the flood, and what the extension has counted goes on to the signals, as in any program. */
#include <QCoreApplication>
#include <QDomElement>
#include <QSet>
#include <QTimer>
#include <QXmppClient.h>
#include <QXmppClientExtension.h>
#include <QXmppMessage.h>
#include <QXmppPingIq.h>

#include "../figure.h"

namespace {

enum { BATCH = 64 };

class Bench : public QXmppClientExtension {
 public:
  Bench(const QString &kind, long pieces, long depth) : what(kind), n(pieces), depth(depth) {
    me.insertExtension(0, this);
    connect(&me, &QXmppClient::connected, this, [this] { begin(); });
    connect(&me, &QXmppClient::error, [] { exit(1); });
  }

  void log_in() {
    QXmppConfiguration to;
    to.setJid("a@bench.test");
    to.setPassword("secret");
    to.setHost("127.0.0.1");
    to.setPort(bench_port());
    to.setStreamSecurityMode(QXmppConfiguration::TLSDisabled);
    to.setSaslAuthMechanism("PLAIN");
    me.connectToServer(to);
  }

  bool handleStanza(const QDomElement &stanza) override {
    if (what == "flood" && ++seen == n) end();
    if (what != "ping" || !waiting.remove(stanza.attribute("id"))) return false;
    if (++seen == n) end();
    if (asked < n) ask();
    return true;
  }

 private:
  void begin() { /* QXmpp sends presence by itself */
    since = cpu();
    if (what == "send") send();
    if (what == "ping")
      for (long i = 0; i < depth; i++) ask();
  }

  void end() { exit(tell(cpu() - since, static_cast<double>(n))); }

  void send() {
    if (seen >= n) end();
    for (int i = 0; i < BATCH; i++) me.sendPacket(QXmppMessage(QString(), "romeo@example.net", "Hi there, how are you?"));
    seen += BATCH;
    QTimer::singleShot(0, this, [this] { send(); });
  }

  void ask() {
    QXmppPingIq iq;
    iq.setTo("bench.test");
    waiting.insert(iq.id());
    asked++;
    me.sendPacket(iq);
  }

  QXmppClient me;
  QSet<QString> waiting;
  const QString what;
  const long n, depth;
  long seen = 0, asked = 0;
  double since = 0;
};

}  // namespace

int main(int argc, char **argv) {
  QCoreApplication app(argc, argv);
  if (argc < 3) return fprintf(stderr, "usage: peer ... qxmpp flood|send N | ping N DEPTH\n"), 2;
  auto *bench = new Bench(argv[1], atol(argv[2]), argc > 3 ? atol(argv[3]) : 1);
  bench->log_in();
  return app.exec();
}
