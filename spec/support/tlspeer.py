#!/usr/bin/python3
"""tlspeer.py CERTIFICATES

An XMPP server with many certificates: for each one in CERTIFICATES (JSON: name to description, see pki.py) it has a
loopback port where clients are served with it, by STARTTLS or by TLS from the first byte, as the client chooses, and
logged in with any PLAIN or ANONYMOUS. A description may also have:
  tls    "1.1", "1.2", "1.3": the only version ("1.1": also 1.0)
  alpn   chosen if the client offers it; lie: chosen whether it was offered or not, "": refused by an alert

Prints KEY=VALUE lines and an empty line: HOST, DIR (where NAME.crt are), CA (the root's certificate), CA_DIR (a folder
with that, for ca_dir), PIN_KIND for each kind of key, PORT_NAME for each certificate. Then one line of JSON for each
connection when it has ended: name, mode ("starttls", "direct"), sni, alpn, tls (version), heard (bytes that the client
sent inside TLS), error. It ends when its stdout is closed."""
import base64
import ctypes
import hashlib
import json
import re
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import warnings

sys.dont_write_bytecode = True
import peer  # noqa: E402
import pki  # noqa: E402

STREAM = (b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='tlspeer' "
          b"version='1.0'><stream:features>%s</stream:features>")
STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
SASL = b"xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
BIND = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>%s</bind>"
VERSIONS = {"": ("TLSv1_2", "TLSv1_3"), "1.1": ("TLSv1", "TLSv1_1"), "1.2": ("TLSv1_2", "TLSv1_2"),
            "1.3": ("TLSv1_3", "TLSv1_3")}
PATIENCE = 5  # seconds to wait for whatever the client must send next


class Gone(Exception):
    """The client has closed, or sends nothing more."""


class Liar:
    """TLS by libssl itself, since Python's ssl doesn't let a server choose an ALPN protocol that was not offered."""
    lib = ctypes.CDLL("libssl.so.3")
    Choose = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p),
                              ctypes.POINTER(ctypes.c_ubyte), ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p)
    OK, ALERT = 0, 2

    def __init__(self, pem, key, protocol):
        lib, pointer = self.lib, ctypes.c_void_p
        for make in (lib.TLS_server_method, lib.SSL_CTX_new, lib.SSL_new):
            make.restype = pointer
        self.protocol = ctypes.create_string_buffer(protocol.encode())
        self.choose = self.Choose(self.on_alpn)
        self.ctx = pointer(lib.SSL_CTX_new(pointer(lib.TLS_server_method())))
        lib.SSL_CTX_use_certificate_chain_file(self.ctx, pem.encode())
        lib.SSL_CTX_use_PrivateKey_file(self.ctx, key.encode(), 1)
        lib.SSL_CTX_set_alpn_select_cb(self.ctx, self.choose, None)

    def on_alpn(self, _, out, out_len, *__):
        out[0], out_len[0] = ctypes.addressof(self.protocol), len(self.protocol.value)
        return self.OK if self.protocol.value else self.ALERT

    def heard(self, sock):
        """The handshake on 'sock'. Returns how many bytes the client sends after it (-1: the handshake failed)."""
        read = ctypes.create_string_buffer(4096)
        session = ctypes.c_void_p(self.lib.SSL_new(self.ctx))
        sock.setblocking(True)
        self.lib.SSL_set_fd(session, sock.fileno())
        done = self.lib.SSL_accept(session)
        heard = max(0, self.lib.SSL_read(session, read, 4096)) if done == 1 else -1
        self.lib.SSL_free(session)
        return heard


class Talk:
    """The server's side of one connection. 'report' is filled with what is known of it."""
    offer = b"<mechanism>PLAIN</mechanism><mechanism>ANONYMOUS</mechanism>"
    resource = None  # the resource to bind instead of the requested one

    def __init__(self, sock):
        self.sock, self.unread, self.user = sock, b"", b"anonymous"
        self.report = dict(heard=0, mode="direct")
        sock.settimeout(PATIENCE)

    def expect(self, regex):
        """Reads until 'regex' matches what the client has sent; drops everything up to the end of the match."""
        while not (found := re.search(regex, self.unread)):
            data = self.sock.recv(65536)
            if not data:
                raise Gone()
            self.unread += data
            if isinstance(self.sock, ssl.SSLSocket):
                self.report["heard"] += len(data)
        self.unread = self.unread[found.end():]
        return found

    def say(self, *parts):
        self.sock.sendall(b"".join(parts))

    def stream(self, features):
        header = self.expect(rb"<stream:stream[^>]*\sto='([^']*)'[^>]*>")
        self.say(STREAM % features)
        return header[1]

    def secure(self, context):
        """STARTTLS, if the client begins without TLS; then TLS in any case."""
        if self.sock.recv(1, socket.MSG_PEEK) != b"\x16":
            self.report["mode"] = "starttls"
            self.stream(STARTTLS)
            self.expect(rb"<starttls[^>]*/>")
            self.say(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        context.sni_callback = lambda _, name, __: self.report.update(sni=name)
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.report.update(tls=self.sock.version(), alpn=self.sock.selected_alpn_protocol())

    def login(self):
        """Accepts every login. A derived class may refuse by raising Gone."""
        words = self.expect(rb"<auth [^>]*mechanism='([^']*)'>([^<]*)</auth>")
        if words[1] == b"PLAIN":
            self.user = base64.b64decode(words[2]).split(b"\0")[1]
        self.say(b"<success ", SASL, b"/>")

    def session(self):
        """From the stream inside TLS to its end."""
        self.stream(b"<mechanisms %s>%s</mechanisms>" % (SASL, self.offer))
        self.login()
        domain = self.stream(BIND % b"")
        request = self.expect(rb"<iq [^>]*id='([^']*)'.*<resource>([^<]*)</resource>.*</iq>")
        jid = b"<jid>%s@%s/%s</jid>" % (self.user, domain, self.resource or request[2])
        self.say(b"<iq type='result' id='%s'>" % request[1], BIND % jid, b"</iq>")
        self.expect(rb"</stream:stream>")
        self.say(b"</stream:stream>")


def context_for(folder, name):
    c = folder.made[name]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")  # whatever is wrong with it, the client has to find out
    context.load_cert_chain(folder.file(name, ".pem"), folder.key(name))
    lowest, highest = VERSIONS[c.get("tls", "")]
    context.minimum_version, context.maximum_version = ssl.TLSVersion[lowest], ssl.TLSVersion[highest]
    if "alpn" in c:
        context.set_alpn_protocols([c["alpn"]])
    return context


def serve(sock, folder, name):
    """One client from its first byte to its last. Returns the report."""
    talk, lie = Talk(sock), folder.made[name].get("lie")
    try:
        if lie is not None:
            liar = Liar(folder.file(name, ".pem"), folder.key(name), lie)
            talk.report["heard"] = liar.heard(sock)
        else:
            talk.secure(context_for(folder, name))
            talk.session()
    except ssl.SSLError as error:
        talk.report["error"] = error.reason
    except (OSError, Gone) as error:
        talk.report["error"] = str(error) or "closed"
    finally:
        talk.sock.close()
    return talk.report


def listeners(names):
    """A selector with a listener for each name, and their ports."""
    selector, ports = selectors.DefaultSelector(), {}
    for name in names:
        listener = socket.create_server(("127.0.0.1", 0))
        selector.register(listener, selectors.EVENT_READ, name)
        ports[name] = listener.getsockname()[1]
    return selector, ports


def pin(key):
    der = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], capture_output=True, check=True)
    return base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()


def tell(folder, ports):
    told = dict(HOST="127.0.0.1", DIR=folder.path, CA=folder.file("root", ".crt"), CA_DIR=folder.hash_links("root"))
    told.update({"PIN_" + kind: pin(folder.file(kind, ".key")) for kind in {c["key"] for c in folder.made.values()}})
    told.update({"PORT_" + name: port for name, port in ports.items()})
    print("".join("%s=%s\n" % pair for pair in told.items()), flush=True)


def main():
    warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 and 1.1 are wanted here
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=peer.watch, args=[300], daemon=True).start()
    path = tempfile.mkdtemp(prefix="xmpp-pki.")
    try:
        folder = pki.Folder(path, json.loads(sys.argv[1]))
        folder.make()
        selector, ports = listeners(folder.made)
        tell(folder, ports)
        while True:
            for key, _ in selector.select():
                seen = serve(key.fileobj.accept()[0], folder, key.data)
                print(json.dumps(dict(seen, name=key.data)), flush=True)
    finally:
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
