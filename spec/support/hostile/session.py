"""session: a server that plays a login with a client correctly, up to the point where a row takes over.

A stage is what the server waits for and what it then does. A row's steps are done instead of that, and 'continue' goes
on with the next stage as if nothing had happened."""
import base64
import hashlib
import hmac
import os
import re
import ssl
import time

from matrix import POINTS
from wire import BLOCK, Gone, Reader, Wire

DOMAIN, USER, PASSWORD = "xmpp.test", "juliet", "r0m30-and-I"
SALT, ROUNDS, NONCE = base64.b64encode(b"a salt of 16 byt").decode(), 4096, "srv-3rfcNHYJY1ZVvWVs7j"
STREAM, ASK = "http://etherx.jabber.org/streams", "urn:xmpp:test:ask"
TLS, SASL, BIND = ("urn:ietf:params:xml:ns:xmpp-" + name for name in ("tls", "sasl", "bind"))
HEADER = ("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='%s' id='s-1' from='%s' "
          "version='1.0' xml:lang='en'>" % (STREAM, DOMAIN))
MECHANISMS = "<mechanisms xmlns='%s'><mechanism>%s</mechanism></mechanisms>"

# What a row's text may have in braces; Session adds what differs from connection to connection.
WORDS = {
    "domain": DOMAIN, "user": USER, "bare": USER + "@" + DOMAIN, "friend": "romeo@%s/orchard" % DOMAIN,
    "mallory": "mallory@evil.example/x", "header": HEADER, "snonce": NONCE, "salt": SALT, "rounds": str(ROUNDS),
    "tls-feature": "<starttls xmlns='%s'><required/></starttls>" % TLS,
    "scram-feature": MECHANISMS % (SASL, "SCRAM-SHA-1</mechanism><mechanism>SCRAM-SHA-256"),
    "plain-feature": MECHANISMS % (SASL, "PLAIN"),
    "bind-feature": "<bind xmlns='%s'/>" % BIND,
    "many": "A: b\\r\\n" * 101, "interims": "HTTP/1.1 103 Early\\r\\n\\r\\n" * 4,
    "space": " ", "newline": "\n", "kilobyte": "0123456789abcdef" * 64,
    "proceed": "<proceed xmlns='%s'/>" % TLS, "tls": TLS, "sasl": SASL, "bindns": BIND, "streams": STREAM,
    "errors": "urn:ietf:params:xml:ns:xmpp-streams", "stanzas": "urn:ietf:params:xml:ns:xmpp-stanzas",
}
HOLE = re.compile(r"\{([a-z0-9-]+)\}")
ALIVE = "<iq type='get' id='alive' from='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % DOMAIN
LINES, COLUMNS = 60, 400
IDLE = 2  # seconds that a client must stay if nothing ends its session
VERSIONS = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def decode(text):
    """Decodes base64; invalid base64 gives no bytes."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def unescape(text):
    """The bytes of a text with \\xNN, \\r, \\n, \\t and \\\\ in it."""
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1", "ignore")


class Setup:
    """Settings for every row: times in seconds, the folder with the certificates."""

    def __init__(self, certs, timeout, stay, slack):
        self.certs, self.timeout, self.longest_stay, self.stop, self.slack = certs, timeout, stay, 1, slack
        self.contexts = {}

    def stay(self, row):
        """How long the client is to stay, once bound, if nothing happens."""
        return min(IDLE, self.longest_stay) if row.idle else self.longest_stay

    def context(self, text):
        """A TLS server's context. 'text' may have cert=NAME, max=VERSION, alpn=NAME."""
        if text not in self.contexts:
            self.contexts[text] = self.make_context(dict(word.split("=") for word in text.split()))
        return self.contexts[text]

    def make_context(self, words):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.certs, words.get("cert", "ec") + ".pem"))
        if "max" in words:
            context.set_ciphers("ALL@SECLEVEL=0")
            context.minimum_version = context.maximum_version = VERSIONS[words["max"]]
        if "alpn" in words:
            context.set_alpn_protocols([words["alpn"]])
        return context


class Scram:
    """The server's side of SCRAM (RFC 5802), which is correct except where a row changes it."""

    def __init__(self, mechanism, first):
        self.hash = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}.get(mechanism)
        self.first = first.split(",", 2)[-1]
        self.nonce = dict(part.partition("=")[::2] for part in self.first.split(",")).get("r", "")
        self.challenge, self.final = "", ""

    def signature(self):
        """v=, right if the account is ours."""
        without_proof = self.final.rpartition(",p=")[0]
        message = ",".join([self.first, self.challenge, without_proof]).encode()
        salted = hashlib.pbkdf2_hmac(self.hash, PASSWORD.encode(), base64.b64decode(SALT), ROUNDS)
        key = hmac.digest(salted, b"Server Key", self.hash)
        return "v=" + base64.b64encode(hmac.digest(key, message, self.hash)).decode()


class Session:
    """One connection, from accept to its end. Its fields have what judge needs."""

    def __init__(self, sock, row, setup, elsewhere):
        self.row, self.setup = row, setup
        self.reader = Reader()
        self.started = time.monotonic()
        self.wire = Wire(sock, self.hear, self.started + setup.timeout + setup.slack)
        self.words = dict(WORDS, elsewhere=str(elsewhere), jid="%s@%s/desk" % (USER, DOMAIN))
        self.transcript = []
        self.scram, self.taken, self.mark, self.size = None, 0, 0, 0
        self.reached = self.bound = self.answered = self.alive = self.in_clear = False
        self.why = None
        self.asked, self.tunnelling = bytearray(), bool(row.proxy)
        self.acts = dict(zip(POINTS, (
            self.on_greeting, self.on_request, self.on_connect, self.on_header, self.on_features, self.on_starttls, self.on_handshake, None, self.on_header,
            self.on_mechanisms, self.on_auth, self.on_response, self.on_header, self.on_resource, self.on_bind,
            self.on_bound, self.on_ask, self.on_stop, self.on_end)))

    def play(self):
        """From the first byte to the last. Whoever leaves early has said all there is to judge."""
        try:
            for point in self.path():
                self.stage(point)
            self.run_steps()
            self.hurry()
        except Gone as gone:
            self.why = str(gone)
        self.linger()

    def hurry(self):
        """Where everything is said, a client that is bound has no reason to stay."""
        if self.bound and not self.row.idle:
            self.wire.due = min(self.wire.due, time.monotonic() + 2 * self.setup.stop + self.setup.slack)

    def hear(self, data):
        if self.wire.deaf:
            return
        known = len(self.reader.items)
        self.note("C:", data)
        if self.tunnelling:
            self.asked += data
            return
        self.reader.feed(data)
        new = {item.name for item in self.reader.items[known:]}
        self.in_clear |= not self.wire.tls and bool(new & {"auth", "authenticate", "response"})

    def note(self, who, data):
        """The transcript, for a person: the first of it, cut short."""
        if len(self.transcript) < LINES:
            text = data[:COLUMNS].decode(errors="backslashreplace")
            self.transcript.append("%s %s%s" % (who, text, " ..." if len(data) > COLUMNS else ""))

    skipped = {"upgrade"}

    def path(self):
        """The stages before the row's point, in their order, and the point itself."""
        skipped = self.skipped | {"ask", "stop"} - {self.row.point}
        skipped |= {"header", "features", "starttls"} if self.row.direct else set()
        skipped |= {"socks5": set(), "http": {"greeting"}, None: {"greeting", "request"}}[self.row.proxy]
        return [p for p in POINTS[:POINTS.index(self.row.point) + 1] if p not in skipped]

    def stage(self, point):
        """Waits for what the client has to say at this point; the answer is the row's, where that is its point."""
        waits = {"header": "header", "starttls": "starttls", "upgrade": "request", "secure-header": "header", "auth": "auth", "bind": "iq",
                 "response": "response", "sasl-header": "header", "ask": "iq", "stop": "close"}
        if point in ("greeting", "request"):
            self.hear_request(point)
        if point in waits:
            self.on_item(point, self.take(waits[point], {"bind": BIND, "ask": ASK}.get(point)))
        if point == self.row.point and not self.reached:
            self.reached, self.mark = True, len(self.reader.heard)
        else:
            self.acts[point]()

    def take(self, name, child_ns=None):
        """The next thing of that name that the client says; what comes before it is passed over."""
        while True:
            while self.taken < len(self.reader.items):
                item = self.reader.items[self.taken]
                self.taken += 1
                if item.name == name and (not child_ns or any(ns == child_ns for ns, _ in item.children)):
                    return item
            self.wire.wait(1)

    def hear_request(self, point):
        """What the client says to the proxy, which nothing may follow: what comes next is the server's."""
        greeting, request = b"\x05\x01\x00", b"\x05\x01\x00\x03\x10xmpp-1." + DOMAIN.encode() + b"\x14\x95"
        if self.row.proxy == "http":
            request = b"CONNECT xmpp-1.%s:5269 HTTP/1.1\r\nHost: xmpp-1.%s:5269\r\n\r\n" % ((DOMAIN.encode(),) * 2)
        wanted = greeting if point == "greeting" else request
        while len(self.asked) < len(wanted):
            self.wire.wait(1)
        if self.asked != wanted:
            self.reader.faults.append("the client asked the proxy for %r" % bytes(self.asked))
        self.asked.clear()
        self.tunnelling = point == "greeting"

    def on_item(self, point, item):
        """What of it will be needed."""
        if point == "auth":
            self.scram = Scram(item.attributes.get("mechanism"), decode(item.text))
            self.words["nonce"] = self.scram.nonce
        elif point == "response":
            self.scram.final = decode(item.text)
        elif point in ("bind", "ask"):
            self.words[point] = item.attributes.get("id", "")

    def linger(self):
        """Until the client has closed or the time is up."""
        try:
            while True:
                self.wire.wait(1)
        except Gone:
            pass

    # What a well-behaved server does at each point.

    def say(self, text):
        self.do_send(text)

    def on_greeting(self):
        self.put(b"\x05\x00")

    def on_request(self):
        self.put(b"HTTP/1.1 200 Connection established\r\n\r\n" if self.row.proxy == "http"
                 else b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")

    def on_connect(self):
        pass

    def on_header(self):
        self.say("{header}")

    def on_features(self):
        self.say("<stream:features>{tls-feature}</stream:features>")

    def on_starttls(self):
        self.say("{proceed}")

    def on_handshake(self):
        self.do_tls("")

    def on_mechanisms(self):
        self.say("<stream:features>{scram-feature}</stream:features>")

    def on_auth(self):
        self.do_challenge("r={nonce}{snonce},s={salt},i={rounds}")

    def on_response(self):
        self.do_success("{v}")

    def on_resource(self):
        self.say("<stream:features>{bind-feature}</stream:features>")

    def on_bind(self):
        self.say("<iq type='result' id='{bind}'><bind xmlns='{bindns}'><jid>{jid}</jid></bind></iq>")

    def on_bound(self):
        pass

    def on_ask(self):
        self.say("<iq type='result' id='{ask}' from='{friend}'><yes xmlns='%s'/></iq>" % ASK)

    def on_stop(self):
        self.do_close("")
        self.part()

    def on_end(self):
        """Is it still there, and does it part as it should?"""
        self.out(ALIVE.encode())
        while (item := self.take("iq")).attributes.get("id") != "alive":
            pass
        self.answered = item.attributes.get("type") in ("result", "error")
        self.do_close("")
        self.take("close")
        self.alive = self.answered
        self.part()

    def part(self):
        self.wire.bye()
        self.wire.fin()

    # The steps of a row.

    def run_steps(self):
        for verb, text in self.row.steps:
            getattr(self, "do_" + verb)(text)

    def fill(self, text):
        def word(hole):
            if hole[1] == "v":
                return self.scram.signature()
            return self.words.get(hole[1], hole[0])
        return HOLE.sub(word, text)

    def do_send(self, text):
        self.bind_if_told(text)
        self.put(self.fill(text).encode())

    def do_raw(self, text):
        """Like send, unescaped."""
        self.bind_if_told(text)
        self.put(unescape(self.fill(text)))

    def bind_if_told(self, text):
        """The client may take itself for bound from here on: another clock runs."""
        if "{bind}" in text and not self.bound:
            self.bound = True
            self.wire.due = time.monotonic() + self.setup.stay(self.row) + self.setup.stop + self.setup.slack

    def put(self, data):
        if b"<success" in data:
            self.reader.expect_restart()
        self.note("S:", data)
        self.out(data)

    def out(self, data):
        size = self.size or len(data)
        for at in range(0, len(data), size or 1):
            self.wire.send(data[at:at + size])

    def do_pieces(self, text):
        """What is sent from here on leaves in pieces of so many bytes, each in a TLS record of its own."""
        self.size = int(text)

    def do_repeat(self, text):
        count, text = text.split(" ", 1)
        data = self.fill(text).encode()
        self.note("S:", b"%s times %s" % (count.encode(), data))
        batch = max(1, BLOCK // len(data))
        for left in range(int(count), 0, -batch):
            self.wire.send(data * min(batch, left))

    def do_attributes(self, text):
        """Attributes 0 to N, a space before each; {n} is its number."""
        count, text = text.split(" ", 1)
        self.note("S:", b"%s times %s" % (count.encode(), text.encode()))
        for at in range(0, int(count), 1000):
            numbers = range(at, min(at + 1000, int(count)))
            self.wire.send("".join(" " + text.replace("{n}", str(n)) for n in numbers).encode())

    def do_endless(self, text):
        data = self.fill(text).encode()
        self.note("S:", b"without end: " + data)
        while True:
            self.wire.send(data * max(1, BLOCK // len(data)))

    def do_trickle(self, text):
        """TEXT again and again without end, byte by byte, with a pause after each."""
        pause, text = text.split(" ", 1)
        data = self.fill(text).encode()
        self.note("S:", b"dripping without end: " + data)
        while True:
            for byte in data:
                self.wire.send(bytes([byte]))
                self.pause(float(pause))

    def pause(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.wire.wait(end - time.monotonic())

    def do_wait(self, text):
        self.pause(float(text))

    def do_deaf(self, _):
        self.wire.deaf = True

    def do_half(self, text):
        """The first half of the bytes that carry TEXT, which under TLS is half a record."""
        sealed = self.wire.seal(self.fill(text).encode())
        self.wire.write(sealed[:len(sealed) // 2])

    def do_challenge(self, text):
        data = unescape(self.fill(text))
        if self.scram:
            self.scram.challenge = data.decode("latin-1")
        self.put(b"<challenge xmlns='%s'>%s</challenge>" % (SASL.encode(), base64.b64encode(data)))

    def do_success(self, text):
        data = base64.b64encode(unescape(self.fill(text)))
        self.put(b"<success xmlns='%s'>%s</success>" % (SASL.encode(), data))

    def do_tls(self, text):
        self.note("#", b"TLS " + text.encode())
        self.reader.expect_restart()
        self.wire.secure(self.setup.context(text))

    def do_await(self, name):
        """An element's name, 'header', 'close', or 'hello' for the first bytes of TLS."""
        while name == "hello" and not self.wire.incoming.pending:
            self.wire.wait(1)
        if name != "hello":
            self.on_item(name, self.take(name))

    def do_continue(self, text):
        """The next stages, or those from 'text' on, to the end; asking and stopping only where that was the point."""
        first = POINTS.index(text) if text else POINTS.index(self.row.point) + 1
        for point in POINTS[first:]:
            if point not in self.skipped | {"ask", "stop"}:
                self.stage(point)

    def do_close(self, _):
        self.put(b"</stream:stream>")

    def do_bye(self, _):
        self.note("#", b"close_notify")
        self.wire.bye()

    def do_fin(self, _):
        self.note("#", b"FIN")
        self.wire.fin()

    def do_reset(self, _):
        self.note("#", b"RST")
        self.wire.reset()
