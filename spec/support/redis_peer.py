#!/usr/bin/python3
"""redis_peer.py STEP...

Plays a Redis server on a free port of loopback, to whoever connects, one after the other: prints PORT and an empty line, then
does a step for each command that comes. It ends when the reader closes its stdout or the parent dies.
  HEX        says that; "2b,61*1000" is a plus sign and a thousand letters
  drip:HEX   says it byte by byte, each in a packet of its own
  flood:HEX  says it again and again until the other side has gone
  close      closes the connection; and so does the end of the steps
  reset      by RST
  silent     says nothing, until the other side goes
A step that begins with "+" is done at once behind the one before it."""
import os
import select
import signal
import socket
import struct
import sys
import threading
import time


def read_command(file):
    """Passes over one; False: there is none any more."""
    line = file.readline()
    if not line.startswith(b"*"):
        return False
    for _ in range(int(line[1:])):
        size = int(file.readline()[1:])
        file.read(size + 2)
    return True


def unhex(text):
    parts = [part.partition("*") for part in text.split(",")]
    return b"".join(bytes.fromhex(data) * int(times or 1) for data, _, times in parts)


def drip(sock, data):
    for i in range(len(data)):
        sock.sendall(data[i:i + 1])
        time.sleep(0.0005)


def flood(sock, data):
    data *= max(1, 65536 // len(data))
    while True:
        sock.sendall(data)


def do(step, sock):
    kind, _, rest = step.partition(":")
    if kind == "close":
        return False
    if kind == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    if kind == "drip":
        drip(sock, unhex(rest))
    elif kind == "flood":
        flood(sock, unhex(rest))
    elif kind == "silent":
        while sock.recv(65536):
            pass
    else:
        sock.sendall(unhex(kind))
    return True


def play(sock, steps):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    file = sock.makefile("rb")
    try:
        for step in steps:
            if not step.startswith("+") and not read_command(file):
                return
            if not do(step.lstrip("+"), sock):
                return
    except (OSError, ValueError):
        pass
    finally:
        file.close()
        sock.close()


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(50)
    os.write(1, b"PORT=%d\n\n" % listener.getsockname()[1])
    parent = os.getppid()
    poll = select.poll()
    poll.register(1, 0)
    poll.register(listener, select.POLLIN)
    while True:
        ready = dict(poll.poll(500))
        if 1 in ready or os.getppid() != parent:
            os._exit(0)
        if listener.fileno() in ready:
            sock, _ = listener.accept()
            threading.Thread(target=play, args=(sock, sys.argv[1:]), daemon=True).start()


main()
