#!/usr/bin/python3
"""peer.py [--timeout S] [--grace S] [--limit S] [--host ADDRESS] [--certs DIR] PLAY

A scripted XMPP server, for behaviour that no real server has: it listens on a loopback port, plays PLAY, one step a
line, with the client that connects, and reports what it saw. Only peer.lua runs it. Output: HOST, PORT, PID and (if
PLAY has a tls step) CA and CERTS as KEY=VALUE lines, an empty line, and after the play "ok" or the reason why not, then
the transcript.

  C: TEXT             the client must send TEXT next. '...' stands for anything, {name} for a value to remember;
                      attributes may come in any order, with either quote; <a ...> may have other attributes than those
                      written
  S: TEXT             send TEXT; {name} is replaced by what was remembered
  match REGEX         like C:, with a regular expression of Python's; its named groups are remembered
  raw TEXT            like S:, with \\xNN, \\r, \\n, \\t and \\\\ in it
  repeat N TEXT       send TEXT N times, in large writes
  pieces N [SECONDS]  from here on send in pieces of N bytes, with a pause between them; 0: whole again
  wait SECONDS        do nothing for a while
  scram PASSWORD [FIRST]   the server's part of a login by SCRAM-SHA-1, <success/> included; FIRST: <auth/> has come
                      already, with this content
  scram2 PASSWORD [FIRST]  the same by SASL2, up to <response/>; {proof} is for <additional-data/>. {inside} is the rest
                      of <authenticate/>
  tls [cert=NAME] [min=1.2] [max=1.2] [alpn=NAME] [refused]   the server's part of a TLS handshake; refused: the client
                      must break it off
  websocket           the server's part of the upgrade (RFC 6455); from here on S: sends a message, C: expects one, and
                      raw sends bytes as they are. Other frames that the client sends appear as "[close 1000]", "[ping
                      x]"
  silence SECONDS     the client must send nothing for so long
  eof [TEXT]          the client must close without sending anything else, except <r/> (XEP-0198) if TEXT is its answer
  close, cut, reset   end the connection: with TLS's close_notify (then only eof may follow), by a FIN, by a RST
  accept              wait for the next connection (not needed for the first one)
  # TEXT              a comment. A line that begins with '<' continues the one before; indentation means nothing.
"""
import argparse
import base64
import contextlib
import hashlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from sasl_server import Scram  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
ATTRIBUTE = r"""(?:\s+[^\s=/>]+\s*=\s*(?:'[^']*'|"[^"]*"))"""
START_TAG = re.compile(r"""<([^\s/>!?]+)(%s*)\s*(\.\.\.)?\s*(/?)>""" % ATTRIBUTE)
NAMED = re.compile(r"""\s+([^\s=/>]+)\s*=\s*(?:'([^']*)'|"([^"]*)")""")
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SASL2 = "urn:xmpp:sasl:2"
HOLE = re.compile(r"(\.\.\.|\{\w+\})")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Failed(Exception):
    """The client did something else than the play says; the argument says what."""


def fill_holes(text, anything):
    """The regular expression for 'text' with its placeholders; 'anything' is the class of characters that these
    match."""
    def part(piece):
        if not HOLE.fullmatch(piece):
            return re.escape(piece)
        return anything + "*?" if piece == "..." else "(?P<%s>%s*?)" % (piece[1:-1], anything)
    return "".join(part(piece) for piece in HOLE.split(text))


def tag_pattern(tag):
    """The regular expression for a start tag: a look ahead for each attribute, then as many as there are."""
    name, attributes, others, empty = tag.groups()
    name, named = re.escape(name), NAMED.findall(attributes)
    values = [(re.escape(key), fill_holes(single or double, r"""[^'"]""")) for key, single, double in named]
    ahead = [r"""(?=%s*\s+%s\s*=\s*['"]%s['"])""" % (ATTRIBUTE, key, value) for key, value in values]
    count = "*" if others else "{%d}" % len(named)
    end = "(?:/>|></%s>)" % name if empty else ">"
    return "<" + name + "".join(ahead) + ATTRIBUTE + count + r"\s*" + end


def pattern(text):
    """Compiles the text of a C: line. White space and an XML declaration may come before it."""
    out, at = r"\s*(?:<\?xml[^>]*\?>\s*)?", 0
    for tag in START_TAG.finditer(text):
        out += fill_holes(text[at:tag.start()], r"[\s\S]") + tag_pattern(tag)
        at = tag.end()
    return re.compile((out + fill_holes(text[at:], r"[\s\S]")).encode())


class Peer:
    """One play: the listener, the current connection, what that has sent and no step has read yet, what is
    remembered."""

    def __init__(self, options):
        self.options = options
        self.listener = socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET)
        self.listener.bind((options.host, 0))
        self.listener.listen(8)
        self.conn, self.unread, self.deaf, self.known, self.transcript = None, b"", False, {}, []
        self.size, self.pause, self.last = 0, 0, None
        self.frames = None  # the client's bytes that aren't a whole frame yet; None: it isn't WebSocket
        signal.signal(signal.SIGUSR1, self.hurry)

    def hurry(self, *_):
        """The client has finished: what it has sent arrives within the grace period, or never."""
        self.last = time.monotonic() + self.options.grace

    def note(self, who, data):
        text = data.decode(errors="backslashreplace") if isinstance(data, bytes) else data
        self.transcript.append(who + " " + text)

    def readable(self, sock, seconds):
        """Waits until 'sock' has something to read; False when 'seconds' or the grace period have passed."""
        end = time.monotonic() + seconds
        while not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            now = time.monotonic()
            if select.select([sock], [], [], max(0, min(end - now, 0.02)))[0]:
                return True
            if now >= min(end, self.last or end):
                return False
        return True

    def read(self, seconds):
        """Reads what has come: None when nothing came in time, b'' when the client has closed."""
        if not self.readable(self.conn, seconds):
            return None
        try:
            self.conn.settimeout(0)
            data = self.conn.recv(65536)
        except ssl.SSLWantReadError:  # half a record
            return self.read(seconds)
        except OSError as error:
            self.note("#", "client: " + (getattr(error, "reason", None) or error.strerror or str(error)))
            return b""
        finally:
            self.conn.settimeout(self.options.timeout)
        if self.frames is not None:
            self.frames += data
            self.read_frames()
        elif not self.deaf:
            self.unread += data
        return data

    def read_frames(self):
        """Appends the content of WebSocket messages to what was read, as on a stream."""
        while len(self.frames) > 1:
            size, at = self.frames[1] & 0x7F, 2
            if size > 125:
                at = 4 if size == 126 else 10
                size = int.from_bytes(self.frames[2:at], "big")
            mask, data = self.frames[at:at + 4], self.frames[at + 4:at + 4 + size]
            if len(self.frames) < at + 4 + size:
                return
            kind, self.frames = self.frames[0], self.frames[at + 4 + size:]
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            if kind == 0x81:
                self.unread += text
            elif kind == 0x88:
                self.unread += b"[close %d]" % int.from_bytes(text[:2], "big")
            else:
                self.unread += b"[%s %s]" % ({0x89: b"ping", 0x8A: b"pong"}.get(kind, b"frame"), text)

    def expect(self, regex, wanted):
        end = time.monotonic() + self.options.timeout
        while not (found := regex.match(self.unread)):
            data = self.read(max(0, end - time.monotonic()))
            if not data:
                what = "closed" if data == b"" else "sent nothing more"
                raise Failed("the client %s; expected: %s; unread: %r" % (what, wanted, self.unread))
        self.note("C:", found.group().strip())
        self.unread = self.unread[found.end():]
        self.known.update({name: value.decode() for name, value in found.groupdict().items() if value is not None})

    def send(self, data):
        """Sends 'data' in the pieces asked for."""
        size = self.size or len(data) or 1
        try:
            for at in range(0, len(data), size):
                self.conn.sendall(data[at:at + size])
                time.sleep(self.pause)
        except OSError as error:
            raise Failed("cannot send: %s" % error) from None

    def play(self):
        """Plays every step. Returns "ok", or the line that failed and why."""
        for number, verb, rest in self.options.steps:
            try:
                if not self.conn and verb not in ("accept", "wait", "pieces"):
                    self.do_accept("")
                STEPS[verb](self, rest)
            except Failed as failure:
                return "line %d: %s" % (number, failure)
            except Exception as error:  # a step that makes no sense, such as 'wait soon'
                return "line %d: %s %s: %r" % (number, verb, rest, error)
        return "ok"

    def finish(self, outcome):
        """After the last step: goes on reading until the client closes or has finished. A play that failed ends at
        once."""
        self.options.grace = 0.02  # nothing more is expected
        if self.last:
            self.hurry()
        while self.conn and outcome == "ok" and self.read(self.options.limit):
            pass
        if self.conn:
            self.conn.close()
        if self.unread:
            self.note("C:", self.unread)

    def do_client(self, text):
        self.expect(pattern(text), text)

    def do_match(self, text):
        self.expect(re.compile(text.encode(), re.DOTALL), text)

    def do_server(self, text):
        text = re.sub(r"\{(\w+)\}", lambda hole: self.known.get(hole[1], hole[0]), text)
        self.note("S:", text)
        self.send(self.message(text.encode()))

    def message(self, data):
        if self.frames is None:
            return data
        size = len(data)
        return (bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + data

    def do_websocket(self, _):
        self.expect(re.compile(rb"GET (?P<path>\S+) HTTP/1\.1\r\n(?:[^\r]+\r\n)*?Sec-WebSocket-Key: (?P<key>\S+)\r\n"
                               rb"(?:[^\r]+\r\n)*\r\n"), "a request for a WebSocket")
        accept = hashlib.sha1((self.known["key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n")
        self.frames, self.unread = self.unread, b""
        self.read_frames()

    def do_raw(self, text):
        self.note("S:", text)
        self.send(text.encode().decode("unicode_escape").encode("latin-1"))

    def do_repeat(self, text):
        count, text = text.split(" ", 1)
        self.note("S:", "%s times %s" % (count, text))
        batch = max(1, 65536 // len(text.encode()))
        for left in range(int(count), 0, -batch):
            self.send(text.encode() * min(batch, left))

    def do_pieces(self, text):
        self.size, self.pause = int(text.split()[0]), float((text.split() + ["0.001"])[1])
        if not self.size:
            self.pause = 0

    def do_wait(self, text):
        time.sleep(float(text))

    def do_accept(self, _):
        if self.conn:
            self.conn.close()
        self.unread, self.deaf, self.frames = b"", False, None
        if not self.readable(self.listener, self.options.timeout):
            raise Failed("nobody connected")
        self.conn = self.listener.accept()[0]
        self.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.conn.settimeout(self.options.timeout)

    def do_tls(self, text):
        if self.unread.strip():
            raise Failed("the client spoke before TLS: %r" % self.unread)
        words = dict(word.partition("=")[::2] for word in text.split())
        conn = self.context(words).wrap_socket(self.conn, server_side=True, do_handshake_on_connect=False)
        self.conn = conn
        try:
            conn.do_handshake()
        except OSError as error:
            self.note("#", "tls: %s" % (getattr(error, "reason", None) or error))
            if "refused" not in words:
                raise Failed("TLS handshake: %s" % error) from None
            return
        self.note("#", "tls: %s alpn=%s" % (conn.version(), conn.selected_alpn_protocol()))
        if "refused" in words:
            self.check_refused()

    def check_refused(self):
        """A client that refuses the certificate may have finished the handshake: its alert comes next."""
        if self.read(self.options.timeout) != b"":
            raise Failed("the client did not break off the TLS handshake")

    def context(self, words):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.options.certs, words.get("cert", "rsa") + ".pem"))
        context.minimum_version = VERSIONS[words.get("min", "1.2")]
        context.maximum_version = VERSIONS[words.get("max", "1.3")]
        context.sni_callback = lambda _, name, __: self.note("#", "sni: %s" % name)
        if "alpn" in words:
            context.set_alpn_protocols([words["alpn"]])
        return context

    def do_scram(self, text):
        said = self.scram(text, SASL, "<auth xmlns='%s' mechanism='SCRAM-SHA-1'>{first}</auth>" % SASL)
        self.do_server("<success xmlns='%s'>%s</success>" % (SASL, said))

    def do_scram2(self, text):
        said = "<authenticate xmlns='%s' mechanism='SCRAM-SHA-1'>" % SASL2
        said += "<initial-response>{first}</initial-response>{inside}</authenticate>"
        self.known["proof"] = self.scram(text, SASL2, said)

    def scram(self, text, profile, said):
        """SCRAM up to the client's proof; returns the server's signature. 'said': the C: step that reads
        the client's first message, if that hasn't come yet."""
        password, _, first = text.partition(" ")
        scram = Scram("sha1", password.encode())
        if not first:
            self.do_client(said)
            first = "{first}"
        first = re.sub(r"\{(\w+)\}", lambda hole: self.known[hole[1]], first)
        said = base64.b64encode(scram.challenge(base64.b64decode(first))).decode()
        self.do_server("<challenge xmlns='%s'>%s</challenge>" % (profile, said))
        self.do_client("<response xmlns='%s'>{final}</response>" % profile)
        said = scram.outcome(base64.b64decode(self.known["final"]))
        if not said:
            raise Failed("the client's proof is wrong")
        return base64.b64encode(said).decode()

    def do_silence(self, text):
        end = time.monotonic() + float(text)
        while time.monotonic() < end:
            if self.read(end - time.monotonic()) is not None or self.unread.strip():
                raise Failed("expected silence, got: %r" % (self.unread or "the end"))

    def do_eof(self, text):
        end, request = time.monotonic() + self.options.timeout, b"<r xmlns='urn:xmpp:sm:3'/>"
        data = None
        while data != b"":
            if text and self.unread.strip() == request:
                self.note("C:", self.unread)
                self.unread = b""
                self.do_server(text)
            data = self.read(max(0, end - time.monotonic()))
            if data is None:
                raise Failed("the client does not close")
        if self.unread.strip():
            raise Failed("the client said more before it closed: %r" % self.unread)

    def do_close(self, _):
        if isinstance(self.conn, ssl.SSLSocket):
            self.conn.settimeout(0)
            try:
                self.conn.unwrap()
            except OSError:
                pass  # our close_notify is sent; the client's isn't waited for
            # OpenSSL reads no more on this side: whatever the client still sends counts as its close_notify.
            self.conn, self.deaf = socket.socket(fileno=self.conn.detach()), True
        self.do_cut("")

    def do_cut(self, _):
        self.note("#", "closed by the play")
        socket.socket.shutdown(self.conn, socket.SHUT_WR)  # ssl's own shutdown couldn't decrypt what still comes

    def do_reset(self, _):
        self.note("#", "reset by the play")
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.conn.close()
        self.conn = None


STEPS = {"C:": Peer.do_client, "S:": Peer.do_server, "match": Peer.do_match, "raw": Peer.do_raw, "wait": Peer.do_wait,
         "repeat": Peer.do_repeat, "pieces": Peer.do_pieces, "tls": Peer.do_tls, "silence": Peer.do_silence,
         "eof": Peer.do_eof, "close": Peer.do_close, "cut": Peer.do_cut, "reset": Peer.do_reset, "scram": Peer.do_scram,
         "scram2": Peer.do_scram2, "websocket": Peer.do_websocket,
         "accept": Peer.do_accept}


def parse(play):
    """The steps of a play: [line number, verb, the rest]."""
    steps = []
    for number, line in enumerate(play.splitlines(), 1):
        line = line.lstrip()
        verb, _, rest = line.partition(" ")
        if line[:1] == "<" and steps:
            steps[-1][2] += line
        elif verb in STEPS:
            steps.append([number, verb, rest])
        elif line and line[0] != "#":
            sys.exit("peer: line %d: no such step: %s" % (number, line))
    return steps


def watch(limit):
    """Ends this process when the reader of stdout is gone or 'limit' has passed."""
    poll = select.poll()
    poll.register(1, 0)
    poll.poll(limit * 1000)
    os.kill(os.getpid(), signal.SIGTERM)


def arguments():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--timeout", type=float, default=5)
    parser.add_argument("--grace", type=float, default=0.3)
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--certs")
    parser.add_argument("play")
    options = parser.parse_args()
    options.steps = parse(options.play)
    return options


def perform(options):
    peer = Peer(options)
    told = dict(HOST=options.host, PORT=peer.listener.getsockname()[1], PID=os.getpid())
    if options.certs:
        told.update(CERTS=options.certs, CA=options.certs + "/ca.crt")
    print("".join("%s=%s\n" % pair for pair in told.items()), flush=True)
    outcome = peer.play()
    peer.finish(outcome)
    with contextlib.suppress(BrokenPipeError):  # the reader is gone
        os.write(1, ("\n".join([outcome] + peer.transcript) + "\n").encode())


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=watch, args=[options.limit], daemon=True).start()
    if options.certs or not any(verb == "tls" for _, verb, _ in options.steps):
        return perform(options)
    options.certs = tempfile.mkdtemp(prefix="xmpp-peer.")
    try:
        subprocess.run([os.path.join(HERE, "certs"), options.certs], check=True)
        perform(options)
    finally:
        shutil.rmtree(options.certs)


if __name__ == "__main__":
    main()
