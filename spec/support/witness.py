#!/usr/bin/python3
"""witness: a client made with another library (slixmpp), which asks a bot in chat rooms numbered questions.

    witness.py HOST PORT CA JID PASSWORD NICK BOT ROOM...

In each room it asks "!echo ROOM N" for one N after the other: the next one when the bot has answered "ROOM N", or after
some seconds without an answer. It reconnects when its own connection is lost, and rejoins when it is out of a room.
Prints KEY=VALUE lines: READY when it is in all rooms. Lines on its standard input are commands:

    stop      asks no more questions
    report    prints ASKED, ANSWERED (different numbers), TWICE (the numbers that were answered more than once),
              UNASKED, PRESENT (rooms in which it sees the bot), and an empty line

Ends when its standard input does."""
import asyncio
import collections
import logging
import os
import sys
from xml.etree import ElementTree

from slixmpp import ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from slix_connect import connect

logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
PATIENCE = 4  # seconds that an answer may take
PAUSE = 0.05  # between an answer and the next question
DELAY = "urn:xmpp:delay"
USER = "{http://jabber.org/protocol/muc#user}"
CREATED = "%sx/%sstatus[@code='201']" % (USER, USER)


def tell(key, value=""):
    print("%s=%s" % (key, value), flush=True)


class Room:
    def __init__(self, jid):
        self.jid, self.asked, self.joined, self.answers = jid, 0, False, collections.Counter()
        self.ids = set()  # ids of answers that have been counted: the room's history sends them again
        self.asked_at, self.present = 0.0, set()


class Witness(ClientXMPP):
    def __init__(self, jid, password, ca, nick, bot, rooms):
        super().__init__(jid, password)
        self.ca_certs, self.nick_there, self.bot = ca, nick, bot
        self.rooms = {jid: Room(jid) for jid in rooms}
        self.asking, self.told, self.unasked = True, False, 0
        self.register_plugin("xep_0199")
        self.add_event_handler("session_start", self.begin)
        self.register_handler(Callback("said", MatchXPath("{jabber:client}message"), self.hear))
        self.register_handler(Callback("seen", MatchXPath("{jabber:client}presence"), self.see))
        self.add_event_handler("disconnected", self.again)

    def begin(self, _):
        self.send_presence()
        for room in self.rooms.values():
            room.joined, room.present = False, set()
            self.knock(room)

    def knock(self, room):
        presence = self.make_presence(pto="%s/%s" % (room.jid, self.nick_there))
        x = ElementTree.Element("{http://jabber.org/protocol/muc}x")
        ElementTree.SubElement(x, "{http://jabber.org/protocol/muc}history", {"maxstanzas": "20"})
        presence.append(x)
        presence.send()

    async def again(self, _):
        for room in self.rooms.values():
            room.joined, room.present = False, set()
        await asyncio.sleep(0.5)
        connect(self, *self.address_there)

    def see(self, presence):
        room = self.rooms.get(presence["from"].bare)
        if room is None:
            return
        nick, gone = presence["from"].resource, presence["type"] in ("unavailable", "error")
        if nick == self.nick_there:
            room.joined = not gone
            if presence.xml.find(CREATED) is not None:
                self.unlock(room)
        (room.present.discard if gone else room.present.add)(nick)
        if not self.told and all(r.joined for r in self.rooms.values()):
            self.told = True
            tell("READY", self.boundjid.full)

    def unlock(self, room):
        """The first occupant has created the room, which nobody else can enter before it is configured."""
        iq = self.make_iq_set(ito=room.jid)
        query = ElementTree.Element("{http://jabber.org/protocol/muc#owner}query")
        ElementTree.SubElement(query, "{jabber:x:data}x", {"type": "submit"})
        iq.append(query)
        asyncio.ensure_future(self.quietly(iq))

    async def quietly(self, iq):
        try:
            await iq.send(timeout=10)
        except Exception:  # pylint: disable=broad-except
            pass

    def hear(self, message):
        room = self.rooms.get(message["from"].bare)
        if room is None or message["from"].resource != self.bot or message["type"] != "groupchat":
            return
        words = message["body"].split()
        if len(words) != 2 or words[0] != room.jid:
            return
        key = (message["id"], words[1])
        delayed = message.xml.find("{%s}delay" % DELAY) is not None
        if key in room.ids and delayed:
            return  # counted already, before our own connection was lost
        room.ids.add(key)
        number = int(words[1])
        room.answers[number] += 1
        if number < 1 or number > room.asked:
            self.unasked += 1
        if number == room.asked:
            room.asked_at = min(room.asked_at, asyncio.get_event_loop().time() - PATIENCE + PAUSE)

    async def ask(self):
        loop = asyncio.get_event_loop()
        while True:
            await asyncio.sleep(0.02)
            for room in self.rooms.values():
                if not (self.asking and room.joined) or loop.time() - room.asked_at < PATIENCE:
                    continue
                room.asked, room.asked_at = room.asked + 1, loop.time()
                self.send_message(mto=room.jid, mbody="!echo %s %d" % (room.jid, room.asked), mtype="groupchat")

    async def look_after(self):
        """Rejoins the rooms that we are out of."""
        while True:
            await asyncio.sleep(2)
            for room in self.rooms.values():
                if not room.joined and self.is_connected():
                    self.knock(room)

    def report(self):
        rooms = self.rooms.values()
        twice = ["%s:%d" % (r.jid.split("@")[0], n) for r in rooms for n, times in r.answers.items() if times > 1]
        tell("ASKED", sum(r.asked for r in rooms))
        tell("ANSWERED", sum(len(r.answers) for r in rooms))
        tell("TWICE", " ".join(twice))
        tell("UNASKED", self.unasked)
        tell("PRESENT", sum(self.bot in r.present for r in rooms))
        tell("IN", sum(r.joined for r in rooms))
        print(flush=True)


async def obey(witness):
    loop = asyncio.get_event_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        line = (await reader.readline()).decode()
        if not line:
            os._exit(0)
        if line.strip() == "stop":
            witness.asking = False
        if line.strip() == "report":
            witness.report()


def main():
    host, port, ca, jid, password, nick, bot, *rooms = sys.argv[1:]
    witness = Witness(jid, password, ca, nick, bot, rooms)
    witness.address_there = host, port
    connect(witness, host, port)
    for task in witness.ask(), witness.look_after(), obey(witness):
        witness.loop.create_task(task)
    witness.loop.run_forever()


main()
