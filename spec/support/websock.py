"""websock: a socket for servers that know nothing of WebSocket: the server reads and writes an XML stream, while the
client speaks XMPP over WebSocket (RFC 7395). What is sent is split into messages, and received messages are joined into
a stream."""
import base64
import hashlib
import re

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FRAMING = b"urn:ietf:params:xml:ns:xmpp-framing"
STREAM = b"http://etherx.jabber.org/streams"
TAG = re.compile(rb"""<(/?)([^\s/>]+)((?:[^'">]|'[^']*'|"[^"]*")*?)(/?)>""")


def elements(data):
    """The elements of level 1, one after the other."""
    depth = begin = 0
    for tag in TAG.finditer(data):
        depth += -1 if tag[1] else 0 if tag[4] else 1
        if depth == 0:
            yield data[begin:tag.end()]
            begin = tag.end()


class WebSock:
    def __init__(self, sock):
        self.sock, self.unread, request = sock, b"", b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(65536)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)[1]
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: xmpp\r\n"
                     b"Sec-WebSocket-Accept: " + base64.b64encode(hashlib.sha1(key + GUID).digest()) + b"\r\n\r\n")

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def close(self):
        self.sock.close()

    def message(self, data):
        size = len(data)
        self.sock.sendall((bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + data)

    def sendall(self, data):
        header = re.match(rb"\s*(?:<\?xml[^>]*\?>)?\s*<stream:stream([^>]*)>", data)
        if header:
            kept = re.sub(rb"""\sxmlns(?::\w+)?=('[^']*'|"[^"]*")""", b"", header[1])
            self.message(b"<open xmlns='" + FRAMING + b"'" + kept + b"/>")
            data = data[header.end():]
        data, end, _ = data.partition(b"</stream:stream>")
        for element in elements(data):
            self.message(element)
        if end:
            self.message(b"<close xmlns='" + FRAMING + b"'/>")

    def recv(self, _):
        """The text of the next message; b"": the connection has ended."""
        while not (found := self.frame()):
            data = self.sock.recv(65536)
            if not data:
                return b""
            self.unread += data
        kind, text = found
        if kind != 0x81:
            return b"" if kind == 0x88 else self.recv(_)
        text = re.sub(rb"^<open xmlns='[^']*'(.*)/>$", rb"<stream:stream xmlns='jabber:client' xmlns:stream='" + STREAM + rb"'\1>", text)
        return b"</stream:stream>" if text.startswith(b"<close ") else text

    def frame(self):
        """The first byte of a frame, and its payload; None: it hasn't come completely."""
        if len(self.unread) < 2:
            return None
        size, at = self.unread[1] & 0x7F, 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(self.unread[2:at], "big")
        if len(self.unread) < at + 4 + size:
            return None
        mask, data = self.unread[at:at + 4], self.unread[at + 4:at + 4 + size]
        kind, self.unread = self.unread[0], self.unread[at + 4 + size:]
        return kind, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
