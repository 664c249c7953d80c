#!/usr/bin/python3
"""slix: a client made with another library (slixmpp), for service discovery and capabilities in both directions.

    slix.py HOST PORT CA JID PASSWORD

Prints KEY=VALUE lines, and READY= when it has logged in. When the first presence with capabilities comes from another
client, it verifies their hash, queries that address for disco#info, software version and a ping, and sends it its own
presence. Ends when its standard input does."""
import asyncio
import logging
import os
import select
import sys

from slixmpp import ClientXMPP
from slixmpp.exceptions import XMPPError

from slix_connect import connect

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def tell(key, value=""):
    print("%s=%s" % (key, value), flush=True)


class Client(ClientXMPP):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password)
        self.ca_certs = ca
        for plugin in "xep_0030", "xep_0092", "xep_0115", "xep_0199":
            self.register_plugin(plugin)
        self["xep_0092"].software_name = "slix.py"
        self["xep_0092"].version = "1"
        self.asked = False
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("failed_auth", lambda _: tell("FAILED", "login"))
        self.add_event_handler("entity_caps", self.found)
        self.add_event_handler("message", self.hear)

    async def begin(self, _):
        await self["xep_0115"].update_caps()
        self.send_presence()
        tell("READY", self.boundjid.full)

    # The capabilities of a presence: slixmpp queries them, and accepts the hash only if it is right.
    async def found(self, presence):
        jid = presence["from"]
        if not jid.resource or jid.bare == self.boundjid.bare or self.asked:
            return  # a server's presence, or our own
        self.asked = True
        for _ in range(200):
            if await self["xep_0115"].get_verstring(jid) == presence["caps"]["ver"]:
                break
            await asyncio.sleep(0.05)
        else:
            tell("VERIFIED", "no")
            return
        tell("VERIFIED", presence["caps"]["ver"])
        caps = await self["xep_0115"].get_caps(jid)
        tell("KNOWN", " ".join(sorted(caps["features"])))
        await self.ask(jid)
        self.send_presence(pto=jid)
        tell("DONE")

    async def ask(self, jid):
        info = await self["xep_0030"].get_info(jid=jid, timeout=20)
        tell("FEATURES", " ".join(sorted(info["disco_info"]["features"])))
        tell("IDENTITY", " ".join(str(x) for x in sorted(info["disco_info"]["identities"])[0]))
        version = (await self["xep_0092"].get_version(jid, timeout=20))["software_version"]
        tell("VERSION", "%s %s" % (version["name"], version["version"]))
        tell("PING", "yes" if await self["xep_0199"].ping(jid, timeout=20) >= 0 else "no")
        try:
            await self["xep_0030"].get_info(jid=jid, node="no such", timeout=20)
        except XMPPError as e:
            tell("NODE", e.condition)

    # Adds a feature, which changes its hash.
    async def hear(self, message):
        self["xep_0030"].add_feature(message["body"])
        await self["xep_0115"].update_caps()
        self.send_presence(pto=message["from"])


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
