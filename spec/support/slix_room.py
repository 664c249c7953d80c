#!/usr/bin/python3
"""slix_room: a client made with another library (slixmpp) in a chat room, controlled by standard input.

    slix_room.py HOST PORT CA JID PASSWORD ROOM NICK

Prints KEY=VALUE lines: READY= when it is in the room; SAID= "nick: text", WHISPERED=, SUBJECT=, CAME= and WENT= with a
nick, OUT= with a status code when it is removed from the room itself. The lines of its standard input are: "say TEXT",
"whisper NICK<tab>TEXT", "correct TEXT" (replaces its last message), "subject TEXT", "nick NICK", "leave". Ends when its
standard input does."""
import asyncio
import logging
import os
import sys

from slixmpp import ClientXMPP, JID

from slix_connect import connect

logging.basicConfig(level=logging.ERROR, stream=sys.stderr)


def tell(key, value=""):
    print("%s=%s" % (key, value), flush=True)


class Client(ClientXMPP):
    def __init__(self, jid, password, ca, room, nick):
        super().__init__(jid, password)
        self.ca_certs, self.room, self.nick, self.last = ca, JID(room), nick, None
        for plugin in "xep_0030", "xep_0045", "xep_0199", "xep_0308":
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("failed_auth", lambda _: tell("FAILED", "login"))
        self.add_event_handler("groupchat_message", self.hear)
        self.add_event_handler("groupchat_subject", lambda m: tell("SUBJECT", m["subject"]))
        self.add_event_handler("message", self.hear_one)
        self.add_event_handler("presence", self.see)

    async def begin(self, _):
        self.send_presence()
        presence = self.make_presence(pto=JID("%s/%s" % (self.room, self.nick)))
        presence.append(self.element("{http://jabber.org/protocol/muc}x"))
        presence.send()

    @staticmethod
    def element(name):
        from xml.etree import ElementTree
        return ElementTree.Element(name)

    def hear(self, m):
        if m["body"]:
            tell("SAID", "%s: %s" % (m["from"].resource, m["body"]))

    def hear_one(self, m):
        if m["type"] in ("chat", "normal") and m["body"] and m["from"].bare == self.room.bare:
            tell("WHISPERED", "%s: %s" % (m["from"].resource, m["body"]))

    def see(self, p):
        if p["from"].bare != self.room.bare or p["type"] == "error":
            return
        codes = [x.get("code") for x in p.xml.iter("{http://jabber.org/protocol/muc#user}status")]
        if "110" in codes:
            if p["type"] == "unavailable":
                tell("OUT", " ".join(c for c in codes if c != "110"))
            else:
                tell("READY", p["from"].resource)
        elif p["type"] == "unavailable":
            tell("WENT", p["from"].resource)
        else:
            tell("CAME", p["from"].resource)

    def do(self, word, rest):
        if word == "whisper":
            nick, text = rest.split("\t", 1)
            self.send_message(mto=JID("%s/%s" % (self.room, nick)), mbody=text, mtype="chat")
        elif word == "subject":
            self.send_message(mto=self.room, msubject=rest, mtype="groupchat")
        elif word == "nick":
            self.send_presence(pto=JID("%s/%s" % (self.room, rest)))
        elif word == "leave":
            self.send_presence(pto=JID("%s/%s" % (self.room, self.nick)), ptype="unavailable")
        else:
            m = self.make_message(mto=self.room, mbody=rest, mtype="groupchat")
            m["id"] = self.new_id()
            if word == "correct":
                m["replace"]["id"] = self.last
            else:
                self.last = m["id"]
            m.send()


def main():
    host, port, ca, jid, password, room, nick = sys.argv[1:]
    client = Client(jid, password, ca, room, nick)
    connect(client, host, port)
    waiting = b""

    def read():
        nonlocal waiting
        more = os.read(0, 65536)
        if not more:
            os._exit(0)
        waiting += more
        while b"\n" in waiting:
            line, waiting = waiting.split(b"\n", 1)
            word, _, rest = line.decode().partition(" ")
            client.do(word, rest)

    client.loop.add_reader(0, read)
    client.loop.run_forever()


if __name__ == "__main__":
    asyncio.set_event_loop(asyncio.new_event_loop())
    main()
