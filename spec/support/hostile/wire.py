"""wire: one connection of a server, with or without TLS, and a reader of what the client sends on it.

Sending also reads, so that a client that answers while it is being sent to can't cause a deadlock."""
import select
import socket
import ssl
import struct
import time
import xml.parsers.expat

BLOCK = 64 * 1024
TLS_RECORDS = range(20, 25)  # the first byte of a TLS record; no XML begins with these


class Gone(Exception):
    """The client has closed, or the time is up."""


class Wire:
    """'on_data' gets what the client sends, as it would be without TLS. 'due' is when the time is up (monotonic)."""

    def __init__(self, sock, on_data, due):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.on_data, self.due = sock, on_data, due
        self.tls, self.incoming, self.outgoing = None, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.shaken, self.deaf, self.closed, self.trouble = False, False, False, None

    def is_late(self):
        return time.monotonic() >= self.due

    def secure(self, context):
        """The server's part of the handshake."""
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.write(self.outgoing.read())
                self.wait(1)
            except ssl.SSLError as error:
                self.write(self.outgoing.read())
                self.trouble = "TLS handshake: %s" % error.reason
                raise Gone(self.trouble) from None
        self.shaken = True
        self.write(self.outgoing.read())
        self.open()

    def send(self, data):
        self.write(self.seal(data))

    def seal(self, data):
        """The bytes that carry 'data' on the wire."""
        if not self.tls or not data:
            return data
        self.tls.write(data)
        return self.outgoing.read()

    def write(self, data):
        view = memoryview(data)
        while view:
            if self.closed or self.is_late():
                raise Gone("the client closed" if self.closed else "the time is up")
            left = max(0, min(1, self.due - time.monotonic()))
            readable, writable, _ = select.select([] if self.deaf else [self.sock], [self.sock], [], left)
            if readable:
                self.receive()
            if writable and not self.closed:
                view = view[self.push(view):]

    def push(self, view):
        try:
            return self.sock.send(view[:BLOCK])
        except BlockingIOError:
            return 0
        except OSError:
            self.drain()
            self.closed = True
            return 0

    def drain(self):
        """What came before the connection broke."""
        while not self.closed and select.select([self.sock], [], [], 0)[0]:
            self.receive()

    def wait(self, seconds):
        """Until something comes, or so long. Gone when nothing can come any more."""
        if self.closed or self.is_late():
            raise Gone("the client closed" if self.closed else "the time is up")
        if select.select([self.sock], [], [], max(0, min(seconds, self.due - time.monotonic())))[0]:
            self.receive()

    def receive(self):
        try:
            data = self.sock.recv(BLOCK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.closed = True
        elif self.tls or data[0] in TLS_RECORDS:  # a client that is ahead of us in the handshake
            self.incoming.write(data)
            self.open()
        else:
            self.on_data(data)

    def open(self):
        """Decrypts what has come whole; in the handshake that is OpenSSL's own business."""
        try:
            while self.shaken and (data := self.tls.read(BLOCK)):
                self.on_data(data)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            self.trouble = "TLS: %s" % error.reason

    def bye(self):
        """close_notify, without a FIN."""
        if self.tls:
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass  # ours has been written; for the client's nobody waits
            self.write(self.outgoing.read())

    def fin(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has gone already

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.closed = True
        self.sock.close()


class Element:
    """A child of the stream: its name without namespace, attributes, text, and the names of the elements in it."""

    def __init__(self, name, attributes):
        self.ns, _, self.name = name.rpartition(" ")
        self.attributes, self.children, self.text = attributes, [], ""


class Reader:
    """What the client sends, parsed: 'items' has stream headers, elements and the stream's end, by name."""

    def __init__(self):
        self.items, self.faults, self.heard = [], [], bytearray()
        self.restart()

    def expect_restart(self):
        """If a stream header comes next, it begins a new stream."""
        self.restarts = True

    def restart(self):
        self.rest, self.depth, self.ended, self.restarts = b"", 0, False, False
        self.parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text

    def feed(self, data):
        """Whole tags only go to the parser, which may put off what is unfinished."""
        self.heard += data
        if self.restarts and data.lstrip().startswith((b"<?xml", b"<stream:stream")):
            self.restart()
        whole, found, rest = (self.rest + data).rpartition(b">")
        self.rest = rest
        if self.ended and (whole + found + rest).strip():
            self.faults.append("something came after </stream:stream>")
        elif found:
            self.parse(whole + found)

    def parse(self, data):
        try:
            self.parser.Parse(data)
        except xml.parsers.expat.ExpatError as error:
            self.faults.append("what the client sent is not well-formed: %s in %.200r" % (error, data))

    def start(self, name, attributes):
        self.depth += 1
        if self.depth == 1:
            self.items.append(Element("header", attributes))
        elif self.depth == 2:
            self.element = Element(name, attributes)
        elif self.depth == 3:
            self.element.children.append(name.rpartition(" ")[::2])

    def end(self, _):
        self.depth -= 1
        if self.depth == 1:
            self.items.append(self.element)
        elif self.depth == 0:
            self.ended = True
            self.items.append(Element("close", {}))

    def text(self, text):
        if self.depth >= 2:
            self.element.text += text
