#!/usr/bin/python3
"""proxy.py HOST PORT [SEED]

A TCP proxy on a loopback port before HOST:PORT, for specs of bad links. It prints PORT (its own), CONTROL and PID as
KEY=VALUE lines and an empty line, and ends when its stdout is closed. CONTROL is a FIFO that takes lines, each of which
is answered by an empty line when it has been done:

  cuts MEAN [EARLY]   every connection from here on ends by a cut after a random number of bytes, those of both ways
                      together: with probability EARLY (0.25) while it is being negotiated (1 to 9000 bytes), otherwise
                      after MEAN bytes on the average. FIN or RST, as a coin falls
  cuts 0              those that are open, and new ones, are not cut any more
  cut fin, cut rst    cuts all connections now
  after N up|down fin|rst   cuts each that is open after N more bytes from the client, or the server
  stall up|down|both  nothing more is read from the client, the server, either; new connections are not meant
  hole                what comes on the open connections is read and thrown away, for ever
  flow                ends stalls
  gap SECONDS         a cut takes the network away for so long: new connections are put through no sooner
  delay SECONDS       in each direction, from here on
  to PORT             new connections are put through to that port of HOST
  refuse, accept      new connections are refused (ECONNREFUSED), or not
  stats               prints, as KEY=VALUE lines: CONNECTIONS (accepted), OPEN, FIN, RST (cuts), EARLY
                      (cuts within those first bytes), UNREACHED (the server didn't answer), UP, DOWN (bytes passed on)

The bytes before a cut have been passed on. After a FIN nothing passes any more, and both sides see the end of what was
said; after a RST both see that."""
import asyncio
import os
import random
import shutil
import signal
import socket
import struct
import sys
import tempfile

UP, DOWN = 0, 1  # from the client, from the server
EARLY = 9000
HIGH_WATER = 65536


class Side(asyncio.Protocol):
    """One of a link's two sockets. 'direction' is the way of what is received on it."""

    def __init__(self, link, direction):
        self.link, self.direction, self.transport = link, direction, None
        self.has_ended = self.is_finished = False  # what comes from it, and what goes to it

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.link.received(self, data)

    def eof_received(self):
        self.has_ended = True
        self.link.ended(self)
        self.close_if_over()
        return True

    def finish(self):
        self.is_finished = True
        if self.transport and not self.transport.is_closing() and self.transport.can_write_eof():
            try:
                self.transport.write_eof()
            except OSError:
                pass  # it has been reset, of which nobody has told yet
        self.close_if_over()

    def close_if_over(self):
        """After the end of what comes nobody tells us of anything else."""
        if self.has_ended and self.is_finished and self.transport:
            self.transport.close()

    def connection_lost(self, why):
        self.link.lost(self, why)

    def pause_writing(self):
        self.link.other(self).full(True)

    def resume_writing(self):
        self.link.other(self).full(False)

    def full(self, is_full):
        """Nobody takes what is read here, or does again."""
        if not self.transport or self.transport.is_closing() or self.has_ended:
            return
        if is_full or self.link.stalled[self.direction]:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


class Link:
    """A client's connection, and ours to the server."""

    def __init__(self, proxy):
        self.proxy, self.sides = proxy, [Side(self, UP), Side(self, DOWN)]
        self.stalled, self.last, self.passed = [False, False], [0, 0], 0
        self.gone = self.is_cut = self.is_hole = False
        self.plan = proxy.plan()
        self.exact = None  # which way, bytes yet to come, how

    async def open(self, client):
        """The server's side first: it has nothing to say before the client has."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.proxy.last_cut + self.proxy.gap - loop.time())
        try:
            await loop.create_connection(lambda: self.sides[DOWN], *self.proxy.server)
        except OSError:
            self.proxy.count["UNREACHED"] += 1
        self.proxy.links.add(self)
        await loop.connect_accepted_socket(lambda: self.sides[UP], client)
        if self.gone or not self.sides[DOWN].transport:
            self.reset()

    def other(self, side):
        return self.sides[1 - side.direction]

    def received(self, side, data):
        if self.is_cut or self.is_hole:
            return
        way, cut = side.direction, None
        if self.plan and self.passed + len(data) >= self.plan[0]:
            data, cut = data[:self.plan[0] - self.passed], self.plan[1]
            self.plan = None
        if self.exact and self.exact[0] == way:
            data, cut = data[:self.exact[1]], self.exact[2] if len(data) >= self.exact[1] else cut
            self.exact = (way, self.exact[1] - len(data), self.exact[2])
        self.passed += len(data)
        self.proxy.count["DOWN" if way else "UP"] += len(data)
        self.later(way, self.other(side).transport.write, data)
        if cut:
            self.later(way, self.cut, cut)

    def later(self, way, action, *arguments):
        """Does it after the delay, and after what is to be done before."""
        loop = asyncio.get_running_loop()
        due = max(loop.time() + self.proxy.delay, self.last[way])
        if due <= loop.time():
            return action(*arguments)
        self.last[way] = due + 1e-6  # timers of one time come in no order
        loop.call_at(due, action, *arguments)

    def ended(self, side):
        if not (self.is_cut or self.is_hole or self.stalled[side.direction]):
            self.later(side.direction, self.other(side).finish)

    def cut(self, kind):
        if self.is_cut or self.gone:
            return
        self.is_cut = True
        self.proxy.last_cut = asyncio.get_running_loop().time()
        self.proxy.count[kind.upper()] += 1
        self.proxy.count["EARLY"] += self.passed <= EARLY
        if kind == "rst":
            return self.reset()
        for side in self.sides:
            side.finish()
            self.stalled[side.direction] = False
            side.full(False)  # what comes is thrown away
        asyncio.get_running_loop().call_later(10, self.reset)

    def reset(self):
        for side in self.sides:
            if side.transport and not side.transport.is_closing():
                side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                                   struct.pack("ii", 1, 0))
                side.transport.abort()

    def lost(self, side, why):
        """One socket has gone: so does the other, in the same way."""
        self.gone = True
        other = self.other(side)
        self.proxy.links.discard(self)
        if self.is_hole and not self.is_cut:
            return
        if why and not self.is_cut:
            self.reset()
        elif other.transport:
            other.transport.close()

    def stall(self, ways):
        for way in ways:
            self.stalled[way] = True
            self.sides[way].full(True)

    def flow(self):
        self.stalled = [False, False]
        for side in self.sides:
            side.full(False)


class Proxy:
    def __init__(self, host, port, seed):
        self.server, self.random = (host, int(port)), random.Random(seed)
        self.links, self.tasks = set(), set()
        self.delay, self.mean, self.early = 0, 0, 0.25
        self.gap, self.last_cut = 0, 0
        self.count = dict.fromkeys(["CONNECTIONS", "FIN", "RST", "EARLY", "UNREACHED", "UP", "DOWN"], 0)

    def plan(self):
        """After how many bytes, and how, a new connection is cut; None: it isn't."""
        self.count["CONNECTIONS"] += 1
        if not self.mean:
            return None
        kind = self.random.choice(("fin", "rst"))
        if self.random.random() < self.early:
            return self.random.randint(1, EARLY), kind
        return 1 + int(self.random.expovariate(1 / self.mean)), kind

    def open_port(self):
        """One that was asked for by its number keeps it while nobody listens there."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.listener.setblocking(False)
        self.accept()
        return port

    def accept(self):
        self.listener.listen(64)
        asyncio.get_running_loop().add_reader(self.listener, self.take)

    def take(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        task = asyncio.get_running_loop().create_task(Link(self).open(client))
        self.tasks.add(task)  # or the loop would forget it
        task.add_done_callback(self.tasks.discard)

    def refuse(self):
        asyncio.get_running_loop().remove_reader(self.listener)
        self.listener.shutdown(socket.SHUT_RDWR)

    def cuts(self, mean, early="0.25"):
        self.mean, self.early = float(mean), float(early)
        if not self.mean:
            for link in self.links:
                link.plan = None

    def stall(self, ways):
        for link in self.links:
            link.stall({"up": [UP], "down": [DOWN], "both": [UP, DOWN]}[ways])

    def stats(self):
        for pair in dict(self.count, OPEN=len(self.links)).items():
            os.write(1, b"%s=%d\n" % (pair[0].encode(), pair[1]))

    def obey(self, line):
        word, *rest = line.split()
        if word in ("cuts", "stall", "stats", "refuse", "accept"):
            getattr(self, word)(*rest)
        elif word == "cut":
            for link in list(self.links):
                link.cut(*rest)
        elif word == "after":
            for link in self.links:
                link.exact = ({"up": UP, "down": DOWN}[rest[1]], int(rest[0]), rest[2])
        elif word == "hole":
            for link in self.links:
                link.is_hole = True
        elif word == "flow":
            for link in self.links:
                link.flow()
        elif word == "to":
            self.server = (self.server[0], int(*rest))
        elif word in ("delay", "gap"):
            setattr(self, word, float(*rest))
        else:
            raise ValueError(line)


async def main(host, port, seed="0"):
    folder, done = tempfile.mkdtemp(prefix="xmpp-proxy."), asyncio.Event()
    control, loop, proxy = folder + "/control", asyncio.get_running_loop(), Proxy(host, port, seed)
    os.mkfifo(control)
    fifo = os.open(control, os.O_RDWR | os.O_NONBLOCK)
    pending = bytearray()

    def listen():
        pending.extend(os.read(fifo, 4096))
        while b"\n" in pending:
            line, _, rest = pending.partition(b"\n")
            pending[:] = rest
            proxy.obey(line.decode())
            os.write(1, b"\n")

    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, done.set)
        os.write(1, b"PORT=%d\nCONTROL=%s\nPID=%d\n\n" % (proxy.open_port(), control.encode(), os.getpid()))
        loop.add_reader(fifo, listen)
        loop.add_reader(1, done.set)  # a pipe that nobody reads is ready
        await done.wait()
    finally:
        shutil.rmtree(folder)


asyncio.run(main(*sys.argv[1:]))
