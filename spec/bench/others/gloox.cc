/* gloox: the program for gloox in `make bench`, as a component. Prints microseconds of CPU (user and system) for a
 * stanza.
 *
 *   gloox flood N          handlers count what comes from `peer flood`
 *   gloox send N           small messages to `peer sink`
 *   gloox ping N DEPTH     DEPTH at a time, with `peer echo`
 *
 * It answers the pings in the flood. Responses without a request (3 % of the flood) reach no handler, so gloox's own
 * statistics are used to see when all have come. */
#include <gloox/component.h>
#include <gloox/connectionlistener.h>
#include <gloox/eventhandler.h>
#include <gloox/message.h>
#include <gloox/messagehandler.h>
#include <gloox/presence.h>
#include <gloox/presencehandler.h>

#include <cstring>

#include "../figure.h"

using namespace gloox;

namespace {

class Bench : public ConnectionListener, MessageHandler, PresenceHandler, EventHandler {
 public:
  Bench(long pieces, long depth)
      : component("jabber:component:accept", "127.0.0.1", "bench.test", "secret", bench_port()), n(pieces), depth(depth) {
    component.registerConnectionListener(this);
    component.registerMessageHandler(this);
    component.registerPresenceHandler(this);
    if (!component.connect(false)) exit(1);
    while (!connected) receive();
  }

  double flood() {
    const double since = cpu();
    const long before = component.getStatistics().totalStanzasReceived;
    component.send(Presence(Presence::Available, JID()));
    while (component.getStatistics().totalStanzasReceived - before < n) receive();
    if (seen == 0) exit(1);
    return cpu() - since;
  }

  double send() {
    const double since = cpu();
    for (long i = 0; i < n; i++) component.send(Message(Message::Chat, JID("romeo@example.net"), "Hi there, how are you?"));
    return cpu() - since;
  }

  double ping() {
    const double since = cpu();
    for (long i = 0; i < depth; i++) ask();
    while (seen < n) receive();
    return cpu() - since;
  }

 private:
  void receive() {
    if (component.recv() != ConnNoError) exit(1);
  }

  void ask() {
    asked++;
    component.xmppPing(JID("bench.test"), this);
  }

  void onConnect() override { connected = true; }
  void onDisconnect(ConnectionError) override {}
  bool onTLSConnect(const CertInfo &) override { return true; }

  void handleMessage(const Message &, MessageSession *) override { seen++; }
  void handlePresence(const Presence &) override { seen++; }

  void handleEvent(const Event &) override {
    seen++;
    if (asked < n) ask();
  }

  Component component;
  const long n, depth;
  long seen = 0, asked = 0;
  bool connected = false;
};

}  // namespace

int main(int argc, char **argv) {
  const char *what = argc > 2 ? argv[1] : "";
  const long n = argc > 2 ? atol(argv[2]) : 0, depth = argc > 3 ? atol(argv[3]) : 1;
  if (n < 1) return fprintf(stderr, "usage: peer ... gloox flood|send N | ping N DEPTH\n"), 2;
  Bench bench(n, depth);
  const double spent = strcmp(what, "flood") == 0 ? bench.flood() : strcmp(what, "send") == 0 ? bench.send() : bench.ping();
  return tell(spent, static_cast<double>(n));
}
