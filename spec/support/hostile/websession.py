"""websession: the same server over WebSocket (RFC 7395): a message for each element, and <open/> and <close/> instead
of the stream's header and end. 'raw', 'endless', 'repeat' and 'trickle' are bytes on the connection here, without
frames."""
import base64
import hashlib
import os
import re

from session import STREAM, WORDS, Session, unescape
from wire import BLOCK, Element

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OPEN = "<open xmlns='%s' id='s-1' from='%s' version='1.0' xml:lang='en'/>" % (FRAMING, WORDS["domain"])
CLOSE = "<close xmlns='%s'/>" % FRAMING
SWITCH = ("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
          "Sec-WebSocket-Accept: {accept}\\r\\n")
CONTINUATION, TEXT, SHUT, PING, PONG, FIN = 0, 1, 8, 9, 10, 0x80


def frame(first, payload, mask=b""):
    """A frame that begins with the byte 'first'."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big") if size < 1 << 16 \
        else b"\x7f" + size.to_bytes(8, "big")
    if mask:
        length = bytes([length[0] | 0x80]) + length[1:] + mask
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([first]) + length + payload


class WebSession(Session):
    skipped = set()

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.acts["upgrade"] = self.on_upgrade
        self.words.update(header=OPEN, framing=FRAMING)
        self.upgraded, self.rest, self.shut = False, b"", False

    # What the client sends.

    def hear(self, data):
        if self.wire.deaf:
            return
        self.rest += data
        if not self.upgraded:
            self.hear_request()
        while self.upgraded and (taken := self.next_frame()):
            self.rest = self.rest[taken:]

    def fault(self, text):
        self.reader.faults.append(text)

    def hear_request(self):
        head, end, rest = self.rest.partition(b"\r\n\r\n")
        if not end:
            return
        self.note("C:", head)
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        wanted = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
                  "sec-websocket-protocol": "xmpp"}
        if not re.fullmatch(r"GET /ws HTTP/1\.1", lines[0]) or any(fields.get(k) != v for k, v in wanted.items()):
            self.fault("this asks for no WebSocket: %r" % lines)
        for name in ("origin", "sec-websocket-extensions", "authorization", "cookie"):
            if name in fields:
                self.fault("the request has a field that it should not have: " + name)
        key = fields.get("sec-websocket-key", "")
        if len(base64.b64decode(key)) != 16:
            self.fault("the key has not 16 bytes: " + key)
        self.words["key"] = key
        self.words["accept"] = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        self.words["switch"] = SWITCH.replace("{accept}", self.words["accept"])
        self.rest, self.upgraded = rest, True
        self.reader.items.append(Element("request", fields))

    def next_frame(self):
        """Takes one apart: how many bytes it had; 0: it isn't there yet."""
        data = self.rest
        if len(data) < 2:
            return 0
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + 4 + size:
            return 0
        mask = data[at:at + 4]
        if not data[1] & 0x80:
            self.fault("a frame of the client's has no mask")
        if data[0] & 0xF0 != FIN:
            self.fault("a frame of the client's is a fragment, or has reserved bits: %02x" % data[0])
        block = data[at + 4:at + 4 + size]
        pad = (mask * (size // 4 + 1))[:size]
        payload = (int.from_bytes(block, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
        self.on_frame(data[0] & 15, payload)
        return at + 4 + size

    def on_frame(self, opcode, payload):
        if self.shut:
            self.fault("a frame came behind the client's close frame")
        if opcode == TEXT:
            self.on_message(payload)
        elif opcode == SHUT:
            self.shut = True
            self.mark_heard("[close %s]" % (int.from_bytes(payload[:2], "big") or ""))
        elif opcode in (PING, PONG):
            self.mark_heard("[%s %s]" % ("ping" if opcode == PING else "pong", payload.decode("latin-1")))
        else:
            self.fault("a frame of the client's has opcode %d" % opcode)

    def mark_heard(self, text):
        """For 'must send'."""
        self.note("C:", text.encode())
        self.reader.heard += text.encode()

    def on_message(self, payload):
        """As it would have been said on a stream."""
        text = payload.decode(errors="backslashreplace")
        if not text.startswith("<") or not text.endswith(">") or text.startswith("<?xml"):
            self.fault("a message is no element: %.200r" % text)
        opened = re.fullmatch(r"<open xmlns='%s'(.*)/>" % FRAMING, text)
        if opened:
            payload = ("<stream:stream xmlns='jabber:client' xmlns:stream='%s'%s>" % (STREAM, opened[1])).encode()
        elif text == CLOSE:
            payload = b"</stream:stream>"
        elif not re.match(r"<[^ >/]+ xmlns(:stream)?='", text):
            self.fault("a message has no namespace of its own: %.200r" % text)
        super().hear(payload)

    # What the server sends.

    def on_upgrade(self):
        self.do_raw("{switch}Sec-WebSocket-Protocol: xmpp\\r\\n\\r\\n")

    def put(self, data):
        if b"<success" in data:
            self.reader.expect_restart()
        self.note("S:", data)
        self.out(data)

    def out(self, data):
        self.send_bytes(frame(FIN | TEXT, data))

    def send_bytes(self, data):
        super().out(data)

    def do_raw(self, text):
        self.bind_if_told(text)
        data = unescape(self.fill(text))
        self.note("S:", data)
        self.send_bytes(data)

    def do_frame(self, text):
        """FIRST TEXT: a frame whose first byte is FIRST, in hexadecimal digits; a mask, if an 'm' stands behind them."""
        first, _, text = text.partition(" ")
        data = unescape(self.fill(text))
        self.note("S:", ("[frame %s]" % first).encode() + data)
        self.send_bytes(frame(int(first.rstrip("m"), 16), data, os.urandom(4) if "m" in first else b""))

    def do_shut(self, text):
        """[CODE [TEXT]]: a close frame."""
        code, _, reason = text.partition(" ")
        payload = int(code).to_bytes(2, "big") + unescape(self.fill(reason)) if code else b""
        self.note("S:", b"[close frame] " + payload)
        self.send_bytes(frame(FIN | SHUT, payload))

    def do_endless(self, text):
        data = unescape(self.fill(text))
        self.note("S:", b"without end: " + data)
        while True:
            self.wire.send(data * max(1, BLOCK // len(data)))

    def do_repeat(self, text):
        count, text = text.split(" ", 1)
        data = unescape(self.fill(text))
        self.note("S:", b"%s times %s" % (count.encode(), data))
        self.wire.send(data * int(count))

    def do_trickle(self, text):
        pause, text = text.split(" ", 1)
        data = unescape(self.fill(text))
        self.note("S:", b"dripping without end: " + data)
        while True:
            for byte in data:
                self.wire.send(bytes([byte]))
                self.pause(float(pause))

    def do_close(self, _):
        self.put(CLOSE.encode())

    def part(self):
        self.do_shut("1000")
        super().part()
