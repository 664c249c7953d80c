#!/usr/bin/python3
"""web.py: a web server for specs, which behaves as the request's path says. On 127.0.0.1, with a port for each of:
  rsa         a good certificate for xmpp.test, *.xmpp.test, localhost and 127.0.0.1, of a CA made for the test
  wrongname, expired, selfsigned, wrongca      as in spec/support/certs
  nosan       for files.xmpp.test, by its common name only
  plain       no TLS
  proxy       no web server but a proxy (CONNECT), which connects to 127.0.0.1 whatever the host
Prints PORT_NAME of each, PORT (rsa's), CERTS (the folder), CA and PIN (of rsa) as KEY=VALUE lines and an empty line; then a
line for each request that has ended (except /silent and /drip, whose end takes long to notice): method, path, bytes of
its body, their SHA-256. It ends when its stdout is closed.

Paths (a number N behind the question mark):
  /hello                text "hello"
  /head                 the request's own head as the body
  /bytes?N              N bytes            /status?N     that status, with no body
  /redirect?URL         302 to URL         /heads?N      N bytes of headers
  /silent               no answer          /drip         a byte a second
  /cut?N                the connection is reset when N bytes of the request's body (0: its head) have been read
  /cut-answer?N         the connection ends after N bytes of an answer of 1000
  /early?N              status N at once; the body is never read
  /slow?N               reads N bytes of the body per second, then 201
  anything else         PUT: 201 when the body is there; else 404
"""
import base64
import hashlib
import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
NAMES = ["rsa", "wrongname", "expired", "selfsigned", "wrongca", "nosan", "plain"]
PROXY = "proxy"
REASONS = {200: "OK", 201: "Created", 302: "Found"}
say_lock = threading.Lock()


def say(line):
    with say_lock:
        print(line, flush=True)


class Gone(Exception):
    pass


class Peer:
    """One connection with one request."""

    def __init__(self, conn):
        self.conn, self.buffer, self.got, self.sha = conn, b"", 0, hashlib.sha256()

    def more(self):
        data = self.conn.recv(65536)
        if not data:
            raise Gone
        self.buffer += data

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        self.head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = self.head.decode("latin-1").split("\r\n")
        self.method, target = lines[0].split(" ")[:2]
        self.path, _, self.query = target.partition("?")
        self.headers = dict((k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:]))

    def number(self):
        return int(self.query or 0)

    def take(self, n):
        while not self.buffer and n > 0:
            self.more()
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        self.got += len(part)
        self.sha.update(part)
        return len(part)

    def read_body(self, upto=None, pause=None):
        if self.headers.get("transfer-encoding") == "chunked":
            return self.read_chunks()
        left = int(self.headers.get("content-length", 0))
        left = left if upto is None else min(left, upto)
        while left > 0:
            n = self.take(min(left, pause or left))
            left -= n
            if pause:
                time.sleep(n / pause)

    def read_chunks(self):
        while True:
            while b"\r\n" not in self.buffer:
                self.more()
            line, self.buffer = self.buffer.split(b"\r\n", 1)
            left = int(line, 16)
            while left > 0:
                left -= self.take(left)
            while len(self.buffer) < 2:
                self.more()
            self.buffer = self.buffer[2:]
            if line == b"0":
                return

    def answer(self, status, body=b"", headers=""):
        self.conn.sendall(("HTTP/1.1 %d %s\r\nContent-Length: %d\r\nX-Twice: one\r\nX-Twice: two\r\n%s\r\n" % (
            status, REASONS.get(status, "Other"), len(body), headers)).encode() + body)

    def reset(self):
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def serve(self):
        self.read_head()
        special = getattr(self, "on_" + self.path.strip("/").replace("-", "_"), None)
        if special:
            special()
        else:
            self.read_body()
            self.answer(201 if self.method == "PUT" else 404)

    def on_hello(self):
        self.read_body()
        self.answer(200, b"" if self.method == "HEAD" else b"hello")

    def on_head(self):
        self.read_body()
        self.answer(200, self.head)

    def on_bytes(self):
        self.answer(200, b"x" * self.number())

    def on_status(self):
        self.read_body()
        self.answer(self.number())

    def on_redirect(self):
        self.read_body()
        self.answer(302, headers="Location: %s\r\n" % self.query)

    def on_heads(self):
        self.answer(200, headers="X-Long: %s\r\n" % ("x" * 1000) * (self.number() // 1000))

    def on_silent(self):
        self.read_body()
        time.sleep(60)

    def on_drip(self):
        self.conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            self.conn.sendall(b"x")
            time.sleep(1)

    def on_cut(self):
        self.read_body(self.number())
        self.reset()

    def on_cut_answer(self):
        self.read_body()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
        self.conn.sendall(whole[:self.number()])

    def on_early(self):
        self.answer(self.number())
        time.sleep(0.2)

    def on_slow(self):
        self.read_body(pause=self.number())
        self.answer(201)


def handle(conn, context):
    conn.settimeout(90)
    peer = None
    try:
        if context:
            conn = context.wrap_socket(conn, server_side=True, suppress_ragged_eofs=False)
        peer = Peer(conn)
        peer.serve()
    except (OSError, Gone, ValueError):
        pass
    if peer and hasattr(peer, "method") and peer.path not in ("/silent", "/drip"):
        say("%s %s %d %s" % (peer.method, peer.path, peer.got, peer.sha.hexdigest()))
    conn.close()


def pump(source, sink):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def forward(conn, _):
    peer = Peer(conn)
    try:
        peer.read_head()
        target = peer.head.split(b" ")[1].decode()
        say("%s %s 0 -" % (peer.method, target))
        there = socket.create_connection(("127.0.0.1", int(target.rsplit(":", 1)[1])))
        conn.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        threading.Thread(target=pump, args=(there, conn), daemon=True).start()
        pump(conn, there)
    except (OSError, Gone, ValueError):
        conn.close()


def listen(context, serve=handle):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)

    def run():
        while True:
            conn, _ = sock.accept()
            threading.Thread(target=serve, args=(conn, context), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return sock.getsockname()[1]


def make_certs(folder):
    subprocess.run([os.path.join(HERE, "certs"), folder], check=True)
    subprocess.run(["openssl", "req", "-x509", "-new", "-key", "ec.key", "-subj", "/CN=files.xmpp.test", "-days", "100",
                    "-CA", "ca.crt", "-CAkey", "ca.key", "-out", "nosan.crt"], cwd=folder, check=True,
                   stderr=subprocess.DEVNULL)
    shutil.copy(folder + "/ec.key", folder + "/nosan.key")


def pin_of(folder):
    pem = subprocess.run(["openssl", "x509", "-in", folder + "/rsa.crt", "-noout", "-pubkey"], check=True,
                         stdout=subprocess.PIPE).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, check=True,
                         stdout=subprocess.PIPE).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def context_of(folder, name):
    if name == "plain":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("%s/%s.crt" % (folder, name), "%s/%s.key" % (folder, name))
    return context


def main():
    folder = tempfile.mkdtemp(prefix="xmpp-web.")
    try:
        make_certs(folder)
        lines = ["PORT_%s=%d" % (name, listen(context_of(folder, name))) for name in NAMES]
        lines.append("PORT_%s=%d" % (PROXY, listen(None, forward)))
        say("\n".join(lines + [lines[0].replace("_rsa", ""), "CERTS=" + folder, "CA=%s/ca.crt" % folder,
                               "PIN=" + pin_of(folder), "PID=%d" % os.getpid()]) + "\n")
        poll = select.poll()
        poll.register(1, 0)
        poll.poll()
    finally:
        shutil.rmtree(folder)


main()
