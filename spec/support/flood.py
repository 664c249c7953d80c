#!/usr/bin/python3
"""flood.py

A minimal XMPP server for memory_spec, which sends in seconds what a real one would take hours for. It listens on a
loopback port without TLS, lets everybody log in (ANONYMOUS), has stream management (XEP-0198) whose sessions outlive
connections, and answers every iq. A message's recipient is a command; all messages are counted.
  flood-N@flood.test   sends N messages, and asks for an ack after every hundred
  cut@flood.test       resets the connection
archive-N@flood.test has an archive (XEP-0313) of N messages, whose ids are numbers.
Prints PORT=, and an empty line. It ends when its stdout is closed."""
import queue
import re
import socket
import struct
import sys
import threading

sys.dont_write_bytecode = True
from clients import clients  # noqa: E402

TAG = re.compile(rb"<(stream:stream|auth|iq|message|presence|enable|resume|r|a|/stream:stream)(?=[\s/>])([^>]*)>")
STREAM = (b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
          b"id='s' from='flood.test' version='1.0'><stream:features>%s</stream:features>")
MECHANISMS = b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>ANONYMOUS</mechanism></mechanisms>"
BIND = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"
SM = b"xmlns='urn:xmpp:sm:3'"
MESSAGE = b"<message from='peer@flood.test/x' type='chat'><body>one of very many</body></message>"
MAM = b"xmlns='urn:xmpp:mam:2'"
RESULT = (b"<message from='%(at)s'><result " + MAM + b" queryid='%(query)s' id='%(id)d'><forwarded "
          b"xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-11-28T22:00:00Z'/>"
          b"<message xmlns='jabber:client' from='%(at)s/anna' type='groupchat' id='m%(id)d'>"
          b"<body>message %(id)d of very many</body></message></forwarded></result></message>")
FIN = (b"<iq type='result' id='%(iq)s' from='%(at)s'><fin " + MAM + b"%(complete)s><set "
       b"xmlns='http://jabber.org/protocol/rsm'><first>%(first)d</first><last>%(last)d</last></set></fin></iq>")
sessions = {}


def attribute(text, name):
    found = re.search(rb"\s" + name + rb"\s*=\s*(?:'([^']*)'|\"([^\"]*)\")", text)
    return found and (found.group(1) if found.group(1) is not None else found.group(2)) or b""


class Session:
    """A session of stream management: an id, and how many stanzas have come."""

    def __init__(self):
        self.id, self.came, self.counts = b"session%d" % len(sessions), 0, False
        sessions[self.id] = self


class Connection:
    def __init__(self, sock):
        self.sock, self.session, self.let_in, self.out = sock, Session(), False, queue.Queue(1000)
        threading.Thread(target=self.write, daemon=True).start()

    def write(self):
        try:
            while (data := self.out.get()) is not None:
                self.sock.sendall(data)
            self.sock.close()
        except OSError:
            pass

    def serve(self):
        rest = b""
        try:
            while data := self.sock.recv(262144):
                data = rest + data
                end = data.rfind(b">") + 1
                rest = data[end:]
                for tag in TAG.finditer(data, 0, end):
                    self.behind = data[tag.end():end]
                    self.obey(tag.group(1), tag.group(2))
        except OSError:
            pass
        self.out.put(None)

    def obey(self, name, attributes):
        if name in (b"message", b"presence", b"iq"):
            self.session.came += self.session.counts
        action = self.ACTIONS.get(name)
        if action:
            action(self, attributes)

    def on_stream(self, _):
        self.out.put(STREAM % (BIND if self.let_in else MECHANISMS))

    def on_auth(self, _):
        self.let_in = True
        self.out.put(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")

    def archive(self, to, iq, query):
        """A page, forwards. A client that queries waits for the answer, so the whole query has been received."""
        most = int(to[8:].split(b"@")[0])
        after = re.search(rb"<after[^>]*>(\d+)<", self.behind)
        first = int(after.group(1)) + 1 if after else 1
        last = min(most, first + int(re.search(rb"<max[^>]*>(\d+)<", self.behind).group(1)) - 1)
        self.out.put(b"".join(RESULT % {b"at": to, b"query": query, b"id": n} for n in range(first, last + 1)) + FIN % {
            b"at": to, b"iq": iq, b"first": first, b"last": last, b"complete": b" complete='true'" * (last == most)})

    def on_iq(self, attributes):
        jid = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>me@flood.test/here</jid></bind>"
        to = attribute(attributes, b"to")
        query = re.match(rb"<query([^>]*urn:xmpp:mam:2[^>]*)>", self.behind)
        if query and to.startswith(b"archive-"):
            return self.archive(to, attribute(attributes, b"id"), attribute(query.group(1), b"queryid"))
        self.out.put(b"<iq type='result' id='%s'%s>%s</iq>" % (
            attribute(attributes, b"id"), b" from='%s'" % to if to else b"", b"" if self.session.counts else jid))

    def on_message(self, attributes):
        to = attribute(attributes, b"to")
        if to == b"cut@flood.test":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sock.shutdown(socket.SHUT_RD)
            self.out.put(None)
        elif to.startswith(b"flood-"):
            threading.Thread(target=self.flood, args=(int(to[6:].split(b"@")[0]),), daemon=True).start()

    def flood(self, count):
        request = b"<r %s/>" % SM if self.session.counts else b""
        for _ in range(count // 100):
            self.out.put(MESSAGE * 100 + request)
        self.out.put(MESSAGE * (count % 100))

    def on_enable(self, _):
        self.session.counts = True
        self.out.put(b"<enabled %s id='%s' resume='true' max='600'/>" % (SM, self.session.id))

    def on_resume(self, attributes):
        old = sessions.get(attribute(attributes, b"previd"))
        if not old:
            return self.out.put(b"<failed %s/>" % SM)
        del sessions[self.session.id]
        self.session = old
        self.out.put(b"<resumed %s previd='%s' h='%d'/>" % (SM, old.id, old.came))

    def on_request(self, _):
        self.out.put(b"<a %s h='%d'/>" % (SM, self.session.came % 2**32))

    def on_end(self, _):
        sessions.pop(self.session.id, None)
        self.out.put(b"</stream:stream>")
        self.out.put(None)

    ACTIONS = {b"stream:stream": on_stream, b"auth": on_auth, b"iq": on_iq, b"message": on_message,
               b"enable": on_enable, b"resume": on_resume, b"r": on_request, b"/stream:stream": on_end}


def main():
    for client in clients():
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Connection(client).serve, daemon=True).start()


main()
