#!/usr/bin/python3
"""slix_roster: a client made with another library (slixmpp), which approves all subscriptions to its presence and
subscribes in return.

    slix_roster.py HOST PORT CA JID PASSWORD

Prints KEY=VALUE lines: READY= when it has logged in, and for each change of its roster ADDRESS=SUBSCRIPTION NAME GROUPS.
When it receives a message, it renames the sender in its roster to the message's text. Ends when its standard input
does."""
import asyncio
import logging
import os
import select
import sys

from slixmpp import ClientXMPP

from slix_connect import connect

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def tell(key, value=""):
    print("%s=%s" % (key, value), flush=True)


class Client(ClientXMPP):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password)
        self.ca_certs = ca
        self.roster.auto_authorize = True
        self.roster.auto_subscribe = True
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("failed_auth", lambda _: tell("FAILED", "login"))
        self.add_event_handler("roster_update", self.changed)
        self.add_event_handler("message", self.hear)

    async def begin(self, _):
        await self.get_roster()
        self.send_presence()
        tell("READY", self.boundjid.full)

    def changed(self, iq):
        for jid, item in iq["roster"]["items"].items():
            tell(str(jid), "%s %s %s" % (item["subscription"], item["name"], ",".join(sorted(item["groups"]))))

    async def hear(self, message):
        await self.update_roster(message["from"].bare, name=message["body"], groups=["slix"])


def main():
    host, port, ca, jid, password = sys.argv[1:]
    client = Client(jid, password, ca)
    connect(client, host, port)

    poll = select.poll()
    poll.register(0, select.POLLIN)

    async def end():
        while not poll.poll(0):
            await asyncio.sleep(0.1)
        os._exit(0)

    client.loop.create_task(end())
    client.loop.run_forever()


main()
