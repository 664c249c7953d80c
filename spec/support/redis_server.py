#!/usr/bin/python3
"""redis_server.py [NAME=VALUE...]

Starts redis-server in a temporary directory on a free port of loopback and on a socket there, with an append-only file, and
what else the arguments say in redis.conf's words. Prints PORT, TLS_PORT (with TLS=yes, by spec/support/certs), SOCKET, CA, DIR,
PID and SUPERVISOR_PID, and an empty line; then it waits until the reader closes its stdout, the parent dies, or a signal comes.
SIGUSR1 starts the server anew on the same port and data, SIGUSR2 the same after killing it; each time all is printed again.
However it ends, the server and the directory are gone."""
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
NAMES = {"appendonly": "yes", "appendfsync": "always", "save": '""', "maxmemory-policy": "noeviction"}


def free_port():
    while True:
        port = random.randrange(10000, 32000)
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
            return port
        except OSError:
            pass


def configure(folder, lines):
    ports = {"PORT": free_port(), "TLS_PORT": 0, "CA": ""}
    text = dict(NAMES, bind="127.0.0.1", port=ports["PORT"], dir=folder, unixsocket=folder + "/redis.sock",
                logfile=folder + "/redis.log")
    if lines.pop("TLS", "no") == "yes":
        subprocess.run([os.path.join(HERE, "certs"), folder + "/certs", "xmpp.test"], check=True)
        ports.update(TLS_PORT=free_port(), CA=folder + "/certs/ca.crt")
        text.update({"tls-port": ports["TLS_PORT"], "tls-cert-file": folder + "/certs/rsa.crt",
                     "tls-key-file": folder + "/certs/rsa.key", "tls-ca-cert-file": ports["CA"], "tls-auth-clients": "no"})
    text.update(lines)
    with open(folder + "/redis.conf", "w") as file:
        file.write("".join("%s %s\n" % pair for pair in text.items()))
    return ports


def is_up(port):
    """Does it answer, with its data loaded? (NOAUTH is an answer.)"""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(b"PING\r\n")
            return s.recv(100).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def launch(folder, port):
    server = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "redis-server", folder + "/redis.conf"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not is_up(port):
        if server.poll() is not None or time.monotonic() > end:
            print("redis_server.py: it doesn't answer", file=sys.stderr)
            os.system("tail -n 5 %s/redis.log >&2" % folder)
            return None
        time.sleep(0.01)
    return server


def halt(server, number):
    server.send_signal(signal.SIGCONT)
    server.send_signal(number)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def tell(folder, ports, server):
    values = dict(ports, SOCKET=folder + "/redis.sock", DIR=folder, PID=server.pid, SUPERVISOR_PID=os.getpid())
    os.write(1, ("".join("%s=%s\n" % pair for pair in values.items()) + "\n").encode())


def serve(folder, ports, server):
    parent = os.getppid()
    got, wakeup = [], os.pipe()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: (got.append(n), os.write(wakeup[1], b"x")))
    poll = select.poll()
    poll.register(1, 0)
    poll.register(wakeup[0], select.POLLIN)
    tell(folder, ports, server)
    while True:
        ready = dict(poll.poll(500))
        if wakeup[0] in ready:
            os.read(wakeup[0], 100)
        if 1 in ready or os.getppid() != parent:
            return server
        while got:
            number = got.pop(0)
            if number not in (signal.SIGUSR1, signal.SIGUSR2):
                return server
            halt(server, signal.SIGTERM if number == signal.SIGUSR1 else signal.SIGKILL)
            server = launch(folder, ports["PORT"])
            if not server:
                return None
            tell(folder, ports, server)


def main():
    folder = tempfile.mkdtemp(prefix="xmpp-redis.")
    server = None
    try:
        ports = configure(folder, dict(pair.split("=", 1) for pair in sys.argv[1:]))
        server = launch(folder, ports["PORT"])
        if server:
            server = serve(folder, ports, server)
        return 0 if server else 1
    except BrokenPipeError:
        return 0
    finally:
        if server:
            halt(server, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
