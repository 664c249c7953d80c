"""slix: the program for slixmpp in `make bench`, as a component. Prints microseconds of CPU (user and system) a stanza.

slix.py flood N      a handler counts what comes from `peer flood`
slix.py tostring N   the same, and measures the time to make text of the stanzas again
slix.py send N       small messages to `peer sink`, 64 a turn
slix.py ping N DEPTH DEPTH at a time, with `peer echo`
"""
import asyncio
import os
import sys
import time

from slixmpp import ComponentXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher.base import MatcherBase
from slixmpp.xmlstream.tostring import tostring

BATCH = 64
clock = time.process_time


class Everything(MatcherBase):
    def match(self, xml):
        return True


async def each_stanza(xmpp, n, handler):
    """Returns when `handler` has had n stanzas."""
    left, done = n, asyncio.Event()

    def on_stanza(stanza):
        nonlocal left
        handler(stanza)
        left -= 1
        if left == 0:
            done.set()

    xmpp.register_handler(Callback("bench", Everything(None), on_stanza))
    xmpp.send_presence()
    await done.wait()


async def flood(xmpp, n):
    since = clock()
    await each_stanza(xmpp, n, lambda stanza: None)
    return clock() - since


async def to_string(xmpp, n):
    spent = 0

    def write(stanza):
        nonlocal spent
        since = clock()
        tostring(stanza.xml, xmlns=xmpp.default_ns, stream=xmpp)
        spent += clock() - since

    await each_stanza(xmpp, n, write)
    return spent


async def send(xmpp, n):
    since = clock()
    for _ in range(n // BATCH):
        for _ in range(BATCH):
            xmpp.send_message(mto="romeo@example.net", mbody="Hi there, how are you?", mtype="chat")
        await xmpp.waiting_queue.join()
    return clock() - since


async def ping(xmpp, n):
    depth = int(sys.argv[3])
    xmpp.register_plugin("xep_0199")

    async def ask():
        for _ in range(n // depth):
            await xmpp["xep_0199"].send_ping("bench.test", ifrom="bench.test")

    since = clock()
    await asyncio.gather(*[ask() for _ in range(depth)])
    return clock() - since


async def main(what, n):
    xmpp = ComponentXMPP("bench.test", "secret", "127.0.0.1", int(os.environ["BENCH_PORT"]))
    ready = asyncio.Event()
    xmpp.add_event_handler("session_start", lambda _: ready.set())
    xmpp.connect()
    await ready.wait()
    print("%.6f" % (await what(xmpp, n) * 1e6 / n), flush=True)
    os._exit(0)


modes = {"flood": flood, "tostring": to_string, "send": send, "ping": ping}
asyncio.get_event_loop().run_until_complete(main(modes[sys.argv[1]], int(sys.argv[2])))
