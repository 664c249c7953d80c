#!/usr/bin/python3
"""slix_command: a client made with another library (slixmpp), which offers an ad-hoc command (XEP-0050) of two steps,
and runs other clients' commands.

    slix_command.py HOST PORT CA JID PASSWORD

Prints KEY=VALUE lines: READY= with its address when it has logged in. When it receives a message `NODE STEP...`, it
lists the sender's commands (LIST=) and runs that one: a STEP is VAR=VALUE, a field to fill in, or `prev` or `cancel`;
STEP= has the status, actions, fields with their values and notes of each response; ERROR= an error. SAID= is what its
own command was given. Ends when its standard input does."""
import asyncio
import logging
import os
import select
import sys

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

from slix_connect import connect

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def tell(key, value=""):
    print("%s=%s" % (key, value), flush=True)


class Client(ClientXMPP):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password)
        self.ca_certs = ca
        for plugin in "xep_0030", "xep_0004", "xep_0050":
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.begin)
        self.add_event_handler("failed_auth", lambda _: tell("FAILED", "login"))
        self.add_event_handler("message", self.hear)

    async def begin(self, _):
        self["xep_0050"].add_command(node="brew", name="Brew tea", handler=self.brew)
        self.send_presence()
        tell("READY", self.boundjid.full)

    # The command that it offers.

    def brew(self, _, session):
        form = self["xep_0004"].make_form("form", "Which?")
        form.add_field(var="kind", ftype="list-single", label="Kind", required=True,
                       options=[{"label": "Green", "value": "green"}, {"label": "Black", "value": "black"}])
        session["payload"], session["next"], session["has_next"] = form, self.brew_more, True
        return session

    def brew_more(self, payload, session):
        session["kind"] = payload["values"]["kind"]
        form = self["xep_0004"].make_form("form", "How?")
        form.add_field(var="milk", ftype="boolean", value=False)
        form.add_field(var="minutes", ftype="text-single", value="3")
        session["payload"], session["next"], session["has_next"] = form, self.brewed, False
        session["notes"] = [("info", session["kind"] + " it is")]
        return session

    def brewed(self, payload, session):
        values = payload["values"]
        tell("SAID", "%s %s %s" % (session["kind"], values["milk"], values["minutes"]))
        form = self["xep_0004"].make_form("result", "Your tea")
        form.add_field(var="cup", ftype="text-single", value="a cup of " + session["kind"])
        session["payload"], session["next"], session["has_next"] = form, None, False
        session["notes"] = [("warn", "it is hot")]
        return session

    # Running another client's command.

    async def hear(self, message):
        words = message["body"].split()
        try:
            await self.run(message["from"], words[0], words[1:])
        except IqError as e:
            tell("ERROR", e.condition)

    async def run(self, jid, node, steps):
        commands = (await self["xep_0050"].get_commands(jid))["disco_items"]["items"]
        tell("LIST", " ".join(sorted(str(item[1]) for item in commands)))
        answer = await self.step(jid, node, "execute", None, None)
        for step in steps:
            form, action = None, step
            if "=" in step:
                action = "next"
                form = self["xep_0004"].make_form("submit")
                form.add_field(var=step.split("=")[0], value=step.split("=")[1])
            answer = await self.step(jid, node, action, answer["sessionid"], form)

    async def step(self, jid, node, action, sessionid, form):
        iq = await self["xep_0050"].send_command(jid, node, action=action, sessionid=sessionid, payload=form)
        command = iq["command"]
        has_form = command.xml.find("{jabber:x:data}x") is not None
        fields = command["form"].get_fields() if has_form else {}
        tell("STEP", "%s %s %s %s" % (command["status"], ",".join(sorted(command["actions"])),
                                      ",".join("%s:%s" % (var, f["value"]) for var, f in fields.items()),
                                      "|".join("%s:%s" % note for note in command["notes"])))
        return command


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
