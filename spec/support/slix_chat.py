#!/usr/bin/python3
"""slix_chat: a client made with another library (slixmpp) that chats, for chat_live_spec.

    slix_chat.py HOST PORT CA JID PASSWORD PEER

Prints READY= when it has logged in, and KEY=VALUE lines for what it receives from PEER. Each line of its standard input
is a command to send something to PEER; it ends when its standard input does:

    say TEXT | correct ID TEXT | retract ID | react ID WORD... | reply ID TEXT | displayed ID | state WORD"""
import asyncio
import logging
import os
import select
import sys
import xml.etree.ElementTree as ET

from slixmpp import ClientXMPP

from slix_connect import connect

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)

QUOTE = "> what you said\n"


def tell(key, *values):
    print("%s=%s" % (key, " ".join(values).replace("\n", "|")), flush=True)


class Client(ClientXMPP):
    def __init__(self, jid, password, ca, peer):
        super().__init__(jid, password)
        self.ca_certs, self.peer = ca, peer
        for plugin in ("xep_0030", "xep_0085", "xep_0184", "xep_0280", "xep_0308", "xep_0333", "xep_0359", "xep_0444",
                       "xep_0461"):
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("failed_auth", lambda _: tell("FAILED", "login"))
        self.add_event_handler("message", self.hear)
        self.add_event_handler("receipt_received", lambda m: tell("RECEIPT", m["receipt"]))
        self.add_event_handler("marker_displayed", lambda m: tell("DISPLAYED", m["displayed"]["id"]))
        self.add_event_handler("message_correction", lambda m: tell("CORRECTED", m["replace"]["id"], m["body"]))
        self.add_event_handler("reactions", self.reacted)
        self.add_event_handler("message_reply", lambda m: tell("REPLY", m["reply"]["id"], m["body"]))
        self.add_event_handler("chatstate", lambda m: tell("STATE", m["chat_state"]))

    def begin(self, _):
        self.send_presence()
        tell("READY", self.boundjid.full)

    def hear(self, m):
        if m["body"]:
            tell("HEARD", m["id"], m["body"])
        retract = m.xml.find("{urn:xmpp:message-retract:1}retract")
        if retract is not None:
            tell("RETRACTED", retract.get("id"))

    def reacted(self, m):
        tell("REACTED", m["reactions"]["id"], *sorted(m["reactions"]["values"]))

    def obey(self, line):
        verb, _, rest = line.partition(" ")
        first, _, more = rest.partition(" ")
        m = self.make_message(mto=self.peer, mtype="chat")
        if verb == "say":
            m["body"] = rest
            m["request_receipt"] = True
        elif verb == "correct":
            m["body"] = more
            m["replace"]["id"] = first
        elif verb == "retract":
            m.xml.append(ET.Element("{urn:xmpp:message-retract:1}retract", {"id": first}))
        elif verb == "react":
            self["xep_0444"].set_reactions(m, first, more.split())
        elif verb == "reply":
            m["body"] = QUOTE + more
            m["reply"]["id"], m["reply"]["to"] = first, self.peer
            fallback = ET.Element("{urn:xmpp:fallback:0}fallback", {"for": "urn:xmpp:reply:0"})
            ET.SubElement(fallback, "{urn:xmpp:fallback:0}body", {"start": "0", "end": str(len(QUOTE))})
            m.xml.append(fallback)
        elif verb == "displayed":
            m["displayed"]["id"] = first
        elif verb == "state":
            m["chat_state"] = first
        m.send()
        tell("SENT", verb, m["id"])


def main():
    host, port, ca, jid, password, peer = sys.argv[1:]
    client = Client(jid, password, ca, peer)
    connect(client, host, port)

    poll = select.poll()
    poll.register(0, select.POLLIN)

    async def listen():
        rest = b""
        while True:
            await asyncio.sleep(0.05)
            if not poll.poll(0):
                continue
            read = os.read(0, 4096)
            if not read:
                os._exit(0)
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                client.obey(line.decode())

    client.loop.create_task(listen())
    client.loop.run_forever()


main()
