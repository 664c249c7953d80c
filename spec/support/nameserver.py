#!/usr/bin/python3
"""nameserver.py ZONE

A name server on a loopback port (UDP and TCP), for specs. It knows only the names in ZONE, which is JSON: for each name
an object with what to answer:
  SRV    [[priority, weight, port, target], ...]     A, AAAA  [address, ...]     CNAME  name
  rcode  2: SERVFAIL, ... instead of an answer
  after  seconds to wait before answering
  how    "silent": no answer; "garbage": random bytes; "cut": half an answer; "wrong id", "wrong name": an answer to
         another question
The name "*" stands for all names that aren't listed (otherwise NXDOMAIN). "holes" is not a name, but a list of ports:
on ::1 and 127.0.0.2, connections to them are neither accepted nor refused.

Prints ADDRESS, PID and IPV6 (does this machine have ::1? "yes" or "no") as KEY=VALUE lines and an empty line; after
SIGUSR1 it prints the questions that it was asked, as lines like "SRV _xmpp-client._tcp.example.net", and ends. It also
ends when its stdout is closed."""
import json
import os
import signal
import socket
import socketserver
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
import peer  # noqa: E402

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33}
NXDOMAIN = 3
UDP_ROOM = 512
OWNER = b"\xc0\x0c"  # a pointer to the name in the question


def encode_name(name):
    labels = [label.encode("latin-1") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def encode_data(kind, value):
    if kind == "A":
        return socket.inet_pton(socket.AF_INET, value)
    if kind == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == "SRV":
        return struct.pack("!HHH", *value[:3]) + encode_name(value[3])
    return encode_name(value)


def encode_record(owner, kind, value):
    data = encode_data(kind, value)
    return owner + struct.pack("!HHIH", TYPES[kind], 1, 60, len(data)) + data


def read_question(message):
    """The question's name, type and bytes."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    number = struct.unpack_from("!H", message, at + 1)[0]
    names = {number: name for name, number in TYPES.items()}
    return ".".join(labels).lower(), names.get(number, str(number)), message[12:at + 5]


class Zone:
    def __init__(self, names):
        self.names, self.asked = names, []

    def records(self, name, kind, owner):
        """The records that answer the question, encoded; aliases are followed, but not in a circle."""
        found, seen = [], set()
        while kind != "CNAME" and "CNAME" in self.names.get(name, {}) and name not in seen:
            seen.add(name)
            alias = self.names[name]["CNAME"]
            found.append(encode_record(owner, "CNAME", alias))
            name, owner = alias, encode_name(alias)
        return found + [encode_record(owner, kind, value) for value in self.names.get(name, {}).get(kind, [])]

    def answer(self, message, room):
        """The answer's bytes; None: it doesn't answer."""
        name, kind, question = read_question(message)
        self.asked.append("%s %s" % (kind, name))
        said = self.names.get(name, self.names.get("*", dict(rcode=NXDOMAIN)))
        how = said.get("how", "")
        if how == "silent":
            return None
        time.sleep(said.get("after", 0))
        number = struct.unpack("!H", message[:2])[0] ^ (how == "wrong id")
        if how == "wrong name":
            question = encode_name("evil.example") + question[-4:]
        records = self.records(name, kind, OWNER)
        flags = 0x8180 | said.get("rcode", 0)
        whole = struct.pack("!6H", number, flags, 1, len(records), 0, 0) + question + b"".join(records)
        if len(whole) > room:
            return struct.pack("!6H", number, flags | 0x200, 1, 0, 0, 0) + question
        if how == "garbage":
            return message[:2] + bytes(range(128, 228))
        return whole[:len(whole) // 2] if how == "cut" else whole


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        message, sock = self.request
        answer = self.server.zone.answer(message, UDP_ROOM)
        if answer:
            sock.sendto(answer, self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(2):
            answer = self.server.zone.answer(self.rfile.read(struct.unpack("!H", head)[0]), 65535)
            if answer:
                self.wfile.write(struct.pack("!H", len(answer)) + answer)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


def start(zone, port=0):
    """Starts both servers on one port, and returns that."""
    while True:
        udp = UdpServer(("127.0.0.1", port), Udp)
        try:
            tcp = Server(udp.server_address, Tcp)
            break
        except OSError:  # the port is in use for TCP
            udp.server_close()
            if port:
                raise
    for server in (udp, tcp):
        server.zone = zone
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return udp.server_address[1]


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


def dig(port):
    """Makes listeners whose queue is full, so that the kernel drops new connections. Returns the sockets, which must
    stay open."""
    kept = []
    for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.2")):
        try:
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
        except OSError:
            continue  # no IPv6 here: then nothing answers there anyway
        listener.listen(0)
        fill = [socket.socket(family) for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex((address, port))
        kept += [listener, *fill]
    return kept


def main():
    names = json.loads(sys.argv[1])
    holes = [dig(port) for port in names.pop("holes", [])]
    zone = Zone(names)
    asked = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: asked.set())
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=peer.watch, args=[120], daemon=True).start()
    told = (start(zone), os.getpid(), "yes" if has_ipv6() else "no")
    print("ADDRESS=127.0.0.1:%d\nPID=%d\nIPV6=%s\n" % told, flush=True)
    while not asked.wait(60):
        pass
    print("\n".join(zone.asked), flush=True)
    del holes
    os._exit(0)


if __name__ == "__main__":
    main()
