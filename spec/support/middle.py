#!/usr/bin/python3
"""middle.py CERTIFICATE CA DOMAIN PORT [WORD...]

A man in the middle who has the server's certificate and key. It uses TLS from the first byte on both sides (1.2 with
the client, unless one of the WORDs is "TLSv1.3"), and passes everything on, except that it removes from what the server
sends each <mechanism> or channel binding whose name is one of the WORDs (and a list of bindings that becomes empty),
and adds a mechanism NAME for each WORD "+NAME". CERTIFICATE is a PEM file with the key, PORT the server's port for
direct TLS on 127.0.0.1.

Prints PORT=, its own port, and an empty line. It ends when its stdout is closed."""
import re
import select
import socket
import ssl
import sys
import threading

sys.dont_write_bytecode = True
from clients import clients  # noqa: E402


def server_side(pem, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(pem)
    return context


def left_out(data, words):
    for word in words:
        if word.startswith("+"):
            more = b"<mechanism>" + word[1:].encode() + b"</mechanism></mechanisms>"
            data = data.replace(b"</mechanisms>", more)
        name = re.escape(word.encode())
        data = re.sub(rb"<mechanism>" + name + rb"</mechanism>", b"", data)
        data = re.sub(rb"<channel-binding type=['\"]" + name + rb"['\"]/>", b"", data)
    return re.sub(rb"<sasl-channel-binding [^>]*></sasl-channel-binding>", b"", data)


def receive(source):
    """What has been received; None if it was only TLS's own messages. An SSL object can't be used by two threads, so
    this doesn't wait."""
    source.settimeout(0)
    try:
        return source.recv(65536)
    except ssl.SSLWantReadError:
        return None
    finally:
        source.settimeout(10)


def pump(near, far, words):
    """Passes everything on until either side closes. The servers that are used here send their features in one
    piece."""
    other = {near: far, far: near}
    try:
        while True:
            for source in [s for s in other if s.pending()] or select.select(list(other), [], [])[0]:
                data = receive(source)
                if data == b"":
                    return
                if data:
                    other[source].sendall(left_out(data, words) if source is far else data)
    except OSError:
        pass
    finally:
        for side in other:
            side.close()


def serve(client, context, trust, domain, port, words):
    try:
        near = context.wrap_socket(client, server_side=True)
        far = trust.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=domain)
    except OSError:
        return client.close()
    pump(near, far, words)


def main(pem, ca, domain, port, *words):
    version = ssl.TLSVersion.TLSv1_3 if "TLSv1.3" in words else ssl.TLSVersion.TLSv1_2
    context, trust = server_side(pem, version), ssl.create_default_context(cafile=ca)
    for client in clients():
        threading.Thread(target=serve, args=(client, context, trust, domain, int(port), words), daemon=True).start()


main(*sys.argv[1:])
