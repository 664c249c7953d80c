#!/usr/bin/python3
"""secrets_scan.py LOGINS

Lets processes log in to a server that this program plays, and searches their memory for secrets. LOGINS is JSON, a list
of logins to be made, each with
  mechanism  SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-512, PLAIN or component
  token      "asked": by SASL2, and it gets a token for the next login; "shown": the password is a token, and mechanism
             is HT-SHA-256-NONE
  prefix     the beginning of the password; the rest is random
  reconnect  true: the connection keeps the password for reconnecting
  forgetful  true: it keeps nothing else for the next login
  proxy      "socks5" or "http": through a proxy (played here, too) that requires a password as well, "password_proxy"
  web        true: over WebSocket
  ending     "refused": the server refuses the login; "alone": the server is gone before the client has sent anything

The password itself is searched for in all writable memory (heap, stack, variables), but not in the block where Lua
keeps its strings (see lua_host.py), which can't be wiped. What is derived from it is searched for there, too. Freed
memory is never used again (c/test/shim/hoard.c), so that nothing is overwritten by chance. A secret counts as found
when any eight bytes of it are.

Prints a line of JSON for each login. "waiting" (for the server's answer to the proof), "open", "closed" (and collected)
and "forgotten" (after xmpp.forget) are the names of the secrets that were found at that time, and where: "locked" is
memory that is locked, excluded from core dumps, and empty in a child after a fork. "outcome" is what the process
reported, and "control" whether the search has found what must be in an open connection's memory: the resource that was
bound."""
import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unicodedata

sys.dont_write_bytecode = True
import pki  # noqa: E402
import sasl_server  # noqa: E402
import tlspeer  # noqa: E402
import websock  # noqa: E402

HERE = os.path.dirname(os.path.realpath(__file__))
COMPONENT = (b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
             b"from='echo.xmpp.test' id='%s'>")
LIBRARIES = {"luajit": "libluajit-5.1.so.2"}
BIGGEST = 1 << 30  # larger mappings are a sanitizer's shadow memory
WINDOW, PAGE = 8, 4096
# Leaks would be Python's own. AddressSanitizer may take register values for stack frames, and keeps lists of those.
SANITIZER = "detect_leaks=0:malloc_context_size=0"


def prepared(password):
    """OpaqueString (RFC 8265 4.2), as far as it is needed here."""
    spaces = re.sub(r"[\u00a0\u2000-\u200a\u3000]", " ", password)
    return unicodedata.normalize("NFC", spaces).encode()


class ScramTalk(tlspeer.Talk):
    def __init__(self, sock, mechanism, password, refuse):
        super().__init__(sock)
        kind = mechanism.removeprefix("SCRAM-").replace("-", "").lower()
        self.offer, self.refuse = b"<mechanism>%s</mechanism>" % mechanism.encode(), refuse
        self.scram, self.response = sasl_server.Scram(kind, prepared(password)), b""

    def hear(self, name):
        self.response = self.expect(rb"<%s [^>]*>([^<]*)</%s>" % (name, name))[1]
        return base64.b64decode(self.response)

    def login(self):
        challenge = self.scram.challenge(self.hear(b"auth"))
        self.say(b"<challenge ", tlspeer.SASL, b">", base64.b64encode(challenge), b"</challenge>")
        final = self.scram.outcome(self.hear(b"response"))
        self.on_proof()
        self.user = b"alice"
        if self.refuse or not final:
            self.say(b"<failure ", tlspeer.SASL, b"><not-authorized/></failure></stream:stream>")
            raise tlspeer.Gone()
        self.say(b"<success ", tlspeer.SASL, b">", base64.b64encode(final), b"</success>")

    def secrets(self):
        s = self.scram
        return dict(salted_password=s.salted, client_key=s.client_key, stored_key=s.stored_key, server_key=s.server_key,
                    proof=s.proof, proof_in_base64=base64.b64encode(s.proof), response=self.response[-32:])


SASL2 = b"xmlns='urn:xmpp:sasl:2'"
FAST = b"xmlns='urn:xmpp:fast:0'"


class OneExchange(tlspeer.Talk):
    """SASL2, with the session's negotiation inside."""

    def session(self):
        self.stream(b"<authentication %s><mechanism>SCRAM-SHA-256</mechanism><inline><bind xmlns='urn:xmpp:bind:0'/>"
                    b"<fast %s><mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>" % (SASL2, FAST))
        self.login()
        self.expect(rb"</stream:stream>")
        self.say(b"</stream:stream>")

    def first(self):
        return base64.b64decode(self.expect(rb"<initial-response>([^<]*)</initial-response>.*</authenticate>")[1])

    def end(self, data, more=b""):
        if self.refuse:
            self.say(b"<failure ", SASL2, b"><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>",
                     b"</stream:stream>")
            raise tlspeer.Gone()
        self.say(b"<success ", SASL2, b"><additional-data>", base64.b64encode(data), b"</additional-data>",
                 b"<authorization-identifier>alice@xmpp.test/", self.resource, b"</authorization-identifier>",
                 b"<bound xmlns='urn:xmpp:bind:0'/>", more, b"</success><stream:features/>")


class AskedTalk(OneExchange):
    """SCRAM, and a token for the next login."""

    def __init__(self, sock, mechanism, password, refuse):
        super().__init__(sock)
        kind = mechanism.removeprefix("SCRAM-").replace("-", "").lower()
        self.refuse, self.scram = refuse, sasl_server.Scram(kind, prepared(password))
        self.token, self.response = secrets.token_hex(20).encode(), b""

    def login(self):
        challenge = self.scram.challenge(self.first())
        self.say(b"<challenge ", SASL2, b">", base64.b64encode(challenge), b"</challenge>")
        self.response = self.expect(rb"<response [^>]*>([^<]*)</response>")[1]
        final = self.scram.outcome(base64.b64decode(self.response))
        self.on_proof()
        self.end(final, b"<token %s token='%s' expiry='2099-12-31T23:59:59Z'/>" % (FAST, self.token))

    def secrets(self):
        return dict(ScramTalk.secrets(self), password_token=self.token)


class ShownTalk(OneExchange):
    def __init__(self, sock, token, refuse):
        super().__init__(sock)
        self.refuse, self.message = refuse, b""
        self.initiator, self.responder = (hmac.digest(token.encode(), word, "sha256")
                                          for word in (b"Initiator", b"Responder"))

    def login(self):
        self.message = self.first()
        if self.message != b"alice\0" + self.initiator:
            raise tlspeer.Gone()
        self.on_proof()
        self.end(self.responder)

    def secrets(self):
        return dict(initiator=self.initiator, initiator_in_base64=base64.b64encode(self.message)[8:])


class PlainTalk(tlspeer.Talk):
    offer = b"<mechanism>PLAIN</mechanism>"

    def __init__(self, sock, password, refuse):
        super().__init__(sock)
        self.message, self.refuse = b"\0alice\0" + prepared(password), refuse

    def login(self):
        self.expect(rb"</auth>")
        self.on_proof()
        self.user = b"alice"
        if self.refuse:
            self.say(b"<failure ", tlspeer.SASL, b"><not-authorized/></failure></stream:stream>")
            raise tlspeer.Gone()
        self.say(b"<success ", tlspeer.SASL, b"/>")

    def secrets(self):
        return dict(message_in_base64=base64.b64encode(self.message)[12:])  # the user's name comes before it


class ComponentTalk(tlspeer.Talk):
    def __init__(self, sock, password, refuse):
        super().__init__(sock)
        self.password, self.refuse, self.stream_id = password.encode(), refuse, secrets.token_hex(8).encode()

    def secure(self, _):
        pass

    def session(self):
        self.expect(rb"<stream:stream[^>]*>")
        self.say(COMPONENT % self.stream_id)
        self.expect(rb"</handshake>")
        self.on_proof()
        if self.refuse:
            self.say(b"<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
            raise tlspeer.Gone()
        self.say(b"<handshake/>")
        self.expect(rb"</stream:stream>")
        self.say(b"</stream:stream>")

    def secrets(self):
        return dict(handshake=hashlib.sha1(self.stream_id + self.password).hexdigest().encode())


def talk_for(sock, mechanism, token, password, refuse):
    if token:
        return AskedTalk(sock, mechanism, password, refuse) if token == "asked" else ShownTalk(sock, password, refuse)
    if mechanism == "component":
        return ComponentTalk(sock, password, refuse)
    if mechanism == "PLAIN":
        return PlainTalk(sock, password, refuse)
    return ScramTalk(sock, mechanism, password, refuse)


def windows(secret, size):
    """Pieces of a secret, such that any remainder of it contains at least one whole piece."""
    return {secret[at:at + size] for at in [*range(0, len(secret) - size, size), max(0, len(secret) - size)]}


def in_password(text, prefix):
    """The forms that a password takes, without its known prefix."""
    whole, ready = text.encode(), prepared(text).decode()
    return dict(password=whole[len(prefix.encode()):], password_prepared=ready.encode()[len(prepared(prefix)):],
                password_in_utf32=ready[-16:].encode("utf-32-le"))


def build_hoard(folder):
    """What to preload. If there is a sanitizer, that is used instead, as it doesn't reuse freed memory either."""
    if os.environ.get("PRELOAD"):
        return os.environ["PRELOAD"]
    library, source = folder + "/hoard.so", HERE + "/../../c/test/shim/hoard.c"
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


class Process:
    """Lua in a process of its own. 'arena' is the address range of Lua's memory."""

    def __init__(self, arguments, passwords, preloaded):
        lua = os.environ.get("LUA", "lua5.4")
        library = LIBRARIES.get(lua, "lib%s.so.0" % os.path.basename(lua))
        env = dict(os.environ, LD_PRELOAD=preloaded, ASAN_OPTIONS=SANITIZER)
        self.child = subprocess.Popen(["/usr/bin/python3", HERE + "/lua_host.py", library, HERE + "/secret_login.lua",
                                       *arguments], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.arena = range(*(int(word, 16) for word in self.child.stdout.readline().split()))
        self.child.stdin.write("\n".join(passwords).encode().ljust(4095, b"\n") + b"\n")
        self.child.stdin.flush()

    def state(self):
        return self.child.stdout.readline().decode().strip()

    def go_on(self):
        self.child.stdin.write(b"\n")
        self.child.stdin.flush()

    def maps(self):
        """Bounds, rights and name of each mapping, and how the kernel treats it (proc(5): smaps, VmFlags)."""
        with open("/proc/%d/smaps" % self.child.pid) as maps:
            for line in maps:
                words = line.split()
                if words[0] == "VmFlags:":
                    yield mapping, set(words[1:])
                elif not words[0].endswith(":"):
                    mapping = (words + ["heap"])[:6]

    def pieces(self):
        """Writable mappings: start, end and name. The kernel may have merged Lua's memory with a neighbouring
        mapping."""
        for (bounds, rights, *_, name), flags in self.maps():
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if "w" in rights and {"lo", "dd", "wf"} <= flags:
                yield start, end, "locked"
            elif "w" in rights and end - start <= BIGGEST:
                inner = [at for at in (self.arena.start, self.arena.stop) if start < at < end]
                for low, high in zip([start, *inner], [*inner, end]):
                    yield low, high, "Lua" if low in self.arena else name

    def regions(self):
        """Name and bytes of each mapping, without empty pages."""
        with open("/proc/%d/mem" % self.child.pid, "rb", 0) as memory:
            for start, end, name in self.pieces():
                memory.seek(start)
                pages = iter(lambda: memory.read(min(PAGE, end - memory.tell())), b"")
                yield name, b"".join(page for page in pages if page.count(0) < PAGE)

    def find(self, wanted):
        """The names of the secrets in 'wanted' that are found, and where."""
        found = set()
        for region, data in self.regions():
            for name, secret in wanted.items():
                looked_for = secret and (region != "Lua" or not name.startswith("password"))
                if looked_for and any(piece in data for piece in windows(secret, 32 if "utf32" in name else WINDOW)):
                    found.add("%s in %s" % (name, region))
        return sorted(found)


class Scan(threading.Thread):
    """One login, served by this thread, and examined. 'found' is the report."""

    def __init__(self, login, folder, hoard):
        super().__init__(daemon=True)
        self.mechanism, self.ending, self.token = login["mechanism"], login.get("ending"), login.get("token")
        self.folder, self.found, self.talk, self.proxy = folder, dict(control=False), None, login.get("proxy")
        self.web = login.get("web")
        self.resource = secrets.token_hex(16).encode()
        self.password = login.get("prefix", "") + secrets.token_hex(20)
        self.forms = in_password(self.password, login.get("prefix", ""))
        proxy_password = secrets.token_hex(20)
        if self.proxy:
            self.forms["password_proxy"] = proxy_password.encode()
            self.forms["proxy_in_base64"] = base64.b64encode(b"u:" + proxy_password.encode())[3:]
        self.listener = socket.create_server(("127.0.0.1", 0))
        jid = "echo.xmpp.test" if self.mechanism == "component" else "alice@xmpp.test"
        self.process = Process([jid, "127.0.0.1", str(self.listener.getsockname()[1]), folder.file("root", ".crt"),
                                self.mechanism] + [word for word in ("reconnect", "forgetful", "web", self.token, self.proxy)
                                                   if word in (self.token, self.proxy) and word or login.get(word)],
                               [self.password, proxy_password], hoard)

    def be_proxy(self, sock):
        """Plays the proxy: checks its password and the requested host."""
        if self.proxy == "http":
            heard = b""
            while not heard.endswith(b"\r\n\r\n"):
                heard += sock.recv(4096)
            return sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for answer in (b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"):
            sock.recv(4096)
            sock.sendall(answer)

    def look(self, state):
        self.found[state] = self.process.find(dict(self.forms, **self.talk.secrets()))

    def run(self):
        sock = self.listener.accept()[0]
        self.talk = talk_for(sock, self.mechanism, self.token, self.password, self.ending == "refused")
        self.talk.resource, self.talk.on_proof = self.resource, lambda: self.look("waiting")
        sock.settimeout(60)
        if self.proxy:
            self.be_proxy(sock)
        try:
            self.talk.secure(tlspeer.context_for(self.folder, "server"))
            if self.web:
                self.talk.sock = websock.WebSock(self.talk.sock)
            if self.ending != "alone":
                self.talk.session()
        except (OSError, tlspeer.Gone):
            pass
        self.talk.sock.close()

    def follow(self):
        """Searches each time that the process pauses for it, until it ends."""
        while said := self.process.state():
            state, _, self.found["outcome"] = said.partition(" ")
            if state == "open":
                self.found["control"] = bool(self.process.find(dict(control=self.resource)))
            self.look(state)
            self.process.go_on()
        return self.found


def main():
    path = tempfile.mkdtemp(prefix="xmpp-secrets.")
    try:
        folder, hoard = pki.Folder(path, dict(server=dict(san="DNS:xmpp.test"))), build_hoard(path)
        folder.make()
        for login in json.loads(sys.argv[1]):
            scan = Scan(login, folder, hoard)
            scan.start()
            print(json.dumps(scan.follow()), flush=True)
    finally:
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
