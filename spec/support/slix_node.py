#!/usr/bin/python3
"""slix_node: a client made with another library (slixmpp), for pubsub nodes and avatars.

    slix_node.py HOST PORT CA JID PASSWORD

Approves all subscriptions to its presence, and subscribes in return. Prints KEY=VALUE lines: READY= when it has logged
in; ITEM=NODE ID TEXT and RETRACT=NODE ID for notifications; AVATAR=ADDRESS ID TYPE HASH when a contact's avatar has
changed, with the hash of the bytes that it has fetched; NONE=ADDRESS when the contact has no avatar any more. Its
standard input has lines:

    subscribe SERVICE NODE     publish SERVICE NODE ID TEXT     items SERVICE NODE     avatar HEX     clear
    presence

and DONE=WORD is printed when a command has been carried out. Ends when its standard input does."""
import asyncio
import hashlib
import logging
import os
import sys
import threading
import xml.etree.ElementTree as ET

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
        self.roster.auto_authorize = True
        self.roster.auto_subscribe = True
        for plugin in "xep_0030", "xep_0060", "xep_0084", "xep_0115", "xep_0163":
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("failed_auth", lambda _: tell("FAILED", "login"))
        self.add_event_handler("pubsub_publish", self.published)
        self.add_event_handler("pubsub_retract", self.retracted)
        self.add_event_handler("avatar_metadata_publish", self.pictured)

    async def begin(self, _):
        await self.get_roster()
        self.send_presence()
        tell("READY", self.boundjid.full)

    def published(self, message):
        items = message["pubsub_event"]["items"]
        for item in items["substanzas"]:
            payload = item["payload"]
            tell("ITEM", "%s %s %s" % (items["node"], item["id"], payload.text if payload is not None else ""))

    def retracted(self, message):
        items = message["pubsub_event"]["items"]
        for item in items["substanzas"]:
            tell("RETRACT", "%s %s" % (items["node"], item["id"]))

    async def pictured(self, message):
        metadata = message["pubsub_event"]["items"]["item"]["avatar_metadata"]
        infos = list(metadata["items"])
        if not infos:
            return tell("NONE", message["from"].bare)
        answer = await self["xep_0084"].retrieve_avatar(message["from"].bare, infos[0]["id"])
        data = answer["pubsub"]["items"]["item"]["avatar_data"]["value"]
        tell("AVATAR", "%s %s %s %s" % (message["from"].bare, infos[0]["id"], infos[0]["type"],
                                       hashlib.sha1(data).hexdigest()))

    async def obey(self, line):
        word, *rest = line.split()
        pubsub, avatar = self["xep_0060"], self["xep_0084"]
        try:
            if word == "subscribe":
                await pubsub.subscribe(*rest)
            elif word == "publish":
                payload = ET.Element("{urn:example:slix}text")
                payload.text = rest[3]
                await pubsub.publish(rest[0], rest[1], id=rest[2], payload=payload)
            elif word == "items":
                answer = await pubsub.get_items(*rest)
                for item in answer["pubsub"]["items"]:
                    tell("GOT", "%s %s" % (item["id"], item["payload"].text))
            elif word == "avatar":
                data = bytes.fromhex(rest[0])
                await avatar.publish_avatar(data)
                await avatar.publish_avatar_metadata([{"id": avatar.generate_id(data), "type": "image/png",
                                                       "bytes": len(data)}])
            elif word == "clear":
                await avatar.stop()
            elif word == "presence":
                self.send_presence()
            tell("DONE", word)
        except XMPPError as error:
            tell("REFUSED", "%s %s" % (word, error.condition))


def main():
    host, port, ca, jid, password = sys.argv[1:]
    client = Client(jid, password, ca)
    connect(client, host, port)

    def hear():
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(client.obey(line), client.loop)
        os._exit(0)

    threading.Thread(target=hear, daemon=True).start()
    client.loop.run_forever()


main()
