#!/usr/bin/python3
"""proxy.py HOST PORT [SEED]

A TCP proxy on a loopback port in front of HOST:PORT, for specs of bad links. It prints PORT (its own), CONTROL and PID
as KEY=VALUE lines and an empty line, and ends when its stdout is closed. CONTROL is a FIFO for commands, one a line;
each is answered by an empty line when it has been carried out:

  cuts MEAN [EARLY]   from here on cut every connection after a random number of bytes (both directions together): with
                      probability EARLY (0.25) during negotiation (1 to 9000 bytes), otherwise after MEAN bytes on
                      average; by FIN or RST, at random
  cuts 0              cut neither the open connections nor new ones any more
  cut fin, cut rst    cut all connections now
  after N up|down fin|rst   cut each open connection after N more bytes from the client, or the server
  stall up|down|both  read nothing more from the client, the server, or either, on the connections that are open now
  hole                read what comes on the open connections and throw it away, for ever
  flow                end stalls
  gap SECONDS         after each cut the network is down for so long: new connections are connected only then
  delay SECONDS       delay in each direction, from here on
  to PORT             connect new connections to that port of HOST
  refuse, accept      refuse new connections (ECONNREFUSED), or don't
  stats               print, as KEY=VALUE lines: CONNECTIONS (accepted), OPEN, FIN, RST (cuts), EARLY
                      (cuts during negotiation), UNREACHED (the server didn't answer), UP, DOWN (bytes passed on)

The bytes before a cut have been passed on. After a FIN nothing passes any more, and both sides see the end of the
stream; after a RST both see that."""
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
    """One of a link's two sockets. 'direction' is that of the bytes that are received on it."""

    def __init__(self, link, direction):
        self.link, self.direction, self.transport = link, direction, None
        self.has_ended = self.is_finished = False  # it has sent its end; it has been sent the end

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
                pass  # it has been reset, which hasn't been reported yet
        self.close_if_over()

    def close_if_over(self):
        """Closes it when both directions have ended, as asyncio reports nothing more after the end of what is
        received."""
        if self.has_ended and self.is_finished and self.transport:
            self.transport.close()

    def connection_lost(self, why):
        self.link.lost(self, why)

    def pause_writing(self):
        self.link.other(self).full(True)

    def resume_writing(self):
        self.link.other(self).full(False)

    def full(self, is_full):
        """Stops reading while the other side can't take more, and goes on when it can."""
        if not self.transport or self.transport.is_closing() or self.has_ended:
            return
        if is_full or self.link.stalled[self.direction]:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


class Link:
    """A client's connection, together with our connection to the server."""

    def __init__(self, proxy):
        self.proxy, self.sides = proxy, [Side(self, UP), Side(self, DOWN)]
        self.stalled, self.last, self.passed = [False, False], [0, 0], 0
        self.gone = self.is_cut = self.is_hole = False
        self.plan = proxy.plan()
        self.exact = None  # direction, bytes that remain, kind of cut

    async def open(self, client):
        """Connects to the server first: that sends nothing before the client has."""
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
        """Does something after the delay, in the order of the calls."""
        loop = asyncio.get_running_loop()
        due = max(loop.time() + self.proxy.delay, self.last[way])
        if due <= loop.time():
            return action(*arguments)
        self.last[way] = due + 1e-6  # timers with equal times run in any order
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
            side.full(False)  # what comes from now on is thrown away
        asyncio.get_running_loop().call_later(10, self.reset)

    def reset(self):
        for side in self.sides:
            if side.transport and not side.transport.is_closing():
                side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                                   struct.pack("ii", 1, 0))
                side.transport.abort()

    def lost(self, side, why):
        """One socket is closed or reset: does the same to the other one."""
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
        """After how many bytes, and how, a new connection will be cut; None: never."""
        self.count["CONNECTIONS"] += 1
        if not self.mean:
            return None
        kind = self.random.choice(("fin", "rst"))
        if self.random.random() < self.early:
            return self.random.randint(1, EARLY), kind
        return 1 + int(self.random.expovariate(1 / self.mean)), kind

    def open_port(self):
        """Listens on a free port. It is bound by its number, since such a socket keeps its port when it stops
        listening."""
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
        self.tasks.add(task)  # otherwise the task could be collected
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
        loop.add_reader(1, done.set)  # ready when the pipe's reader is gone
        await done.wait()
    finally:
        shutil.rmtree(folder)


asyncio.run(main(*sys.argv[1:]))
