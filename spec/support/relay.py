#!/usr/bin/python3
"""relay.py microsocks|dante|tinyproxy|squid|tor[+auth]

Runs a real proxy on a loopback port, for specs, in a temporary directory (as the user nobody, if started by root):
SOCKS5 by microsocks, dante or tor, CONNECT by tinyproxy or squid. With +auth (not dante, whose users are those of the
system, and not tor) it requires the user "u" and the password "p:/w", or "pw" for tinyproxy, which allows no such
password. tor has no network: its only directory authority is a closed port of this machine, so that it never builds a
circuit; only its SOCKS interface is tested.

Prints PORT, PID (the proxy's), URL, BARE (the URL without user and password) and LOG (a file) as KEY=VALUE lines and an
empty line. It ends, with the proxy and the directory, when its stdout is closed."""
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import peer  # noqa: E402

USER, PASSWORD, PLAIN_PASSWORD = "u", "p:/w", "pw"

DANTE = """
errorlog: %(dir)s/log
logoutput: %(dir)s/log
internal: 127.0.0.1 port = %(port)d
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: %(account)s
user.unprivileged: %(account)s
client pass {
  from: 127.0.0.0/8 to: 0.0.0.0/0
}
socks pass {
  from: 127.0.0.0/8 to: 0.0.0.0/0
  command: connect
  log: connect error
}
"""

TINYPROXY = """
Port %(port)d
Listen 127.0.0.1
Timeout 600
MaxClients 50
LogFile "%(dir)s/log"
LogLevel Connect
Allow 127.0.0.1
%(auth)s
"""

SQUID = """
http_port 127.0.0.1:%(port)d
%(auth)s
acl to_connect method CONNECT
http_access allow to_connect %(who)s
http_access deny all
cache deny all
cache_mem 0 MB
cache_log %(dir)s/cache.log
access_log stdio:%(dir)s/log
logfile_daemon /bin/true
pid_filename none
coredump_dir %(dir)s
unlinkd_program /bin/true
pinger_enable off
netdb_filename none
visible_hostname localhost
shutdown_lifetime 0 seconds
"""

TOR = """
SocksPort 127.0.0.1:%(port)d
DataDirectory %(dir)s/tor
UseDefaultFallbackDirs 0
DirAuthority none orport=1 no-v2 v3ident=%(id)s 127.0.0.1:1 %(id)s
SocksTimeout 3
SafeSocks 1
ORPort 0
Log notice file %(dir)s/log
"""


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


def microsocks(at, auth):
    login = ["-u", USER, "-P", PASSWORD] if auth else []
    return ["microsocks", "-i", "127.0.0.1", "-p", str(at["port"]), *login]


def dante(at, _):
    return ["danted", "-f", write(at["dir"], "danted.conf", DANTE % at), "-p", at["dir"] + "/pid"]


def tinyproxy(at, auth):
    login = "BasicAuth %s %s" % (USER, PLAIN_PASSWORD) if auth else ""
    return ["tinyproxy", "-d", "-c", write(at["dir"], "tinyproxy.conf", TINYPROXY % dict(at, auth=login))]


def squid(at, auth):
    login, who = "", ""
    if auth:
        hashed = subprocess.run(["openssl", "passwd", "-1", PASSWORD], check=True, capture_output=True, text=True).stdout
        users = write(at["dir"], "users", "%s:%s" % (USER, hashed))
        login = "auth_param basic program /usr/lib/squid/basic_ncsa_auth %s\nauth_param basic children 1\n" % users
        login, who = login + "acl known proxy_auth REQUIRED", "known"
    return ["squid", "-N", "-f", write(at["dir"], "squid.conf", SQUID % dict(at, auth=login, who=who))]


def tor(at, _):
    folder = os.path.join(at["dir"], "tor")
    os.mkdir(folder, 0o700)
    return ["tor", "-f", write(at["dir"], "torrc", TOR % dict(at, id="0123456789ABCDEF" * 2 + "01234567")), "--quiet"]


KINDS = {"microsocks": ("socks5", microsocks), "dante": ("socks5", dante), "tor": ("socks5h", tor),
         "tinyproxy": ("http", tinyproxy), "squid": ("http", squid)}


def free_port():
    """A free port below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
            return port
        except OSError:
            pass


def hand_over(folder, account):
    """Gives the whole directory to the account that the proxy runs as."""
    for path, _, files in os.walk(folder):
        for name in [path, *(os.path.join(path, file) for file in files)]:
            os.chown(name, account.pw_uid, account.pw_gid)


def launch(command, folder, account):
    guard = ["setpriv", "--pdeathsig", "KILL"]
    if account:
        guard += ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]
    path = "/usr/sbin:/sbin:" + os.environ["PATH"]
    with open(os.path.join(folder, "log"), "a") as out:
        return subprocess.Popen(guard + command, cwd=folder, env=dict(PATH=path, HOME=folder), start_new_session=True,
                                stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def is_up(child, port):
    """Waits until it answers, for a minute at most."""
    end = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


def start(kind, auth, folder):
    """Starts the proxy; returns its process and port. Tries another port if this one has been taken meanwhile."""
    account = pwd.getpwnam("nobody") if os.getuid() == 0 else None
    for _ in range(3):
        port = free_port()
        at = dict(dir=folder, port=port, account=account.pw_name if account else pwd.getpwuid(os.getuid()).pw_name)
        shutil.rmtree(os.path.join(folder, "tor"), ignore_errors=True)
        command = KINDS[kind][1](at, auth)
        write(folder, "log", "")
        if account:
            hand_over(folder, account)
        child = launch(command, folder, account)
        if is_up(child, port):
            return child, port
        child.kill()
    with open(os.path.join(folder, "log")) as log:
        sys.exit("relay.py: %s does not start: %s" % (kind, log.read()[-2000:]))


def end(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def main():
    kind, _, auth = sys.argv[1].partition("+")
    folder = tempfile.mkdtemp(prefix="xmpp-relay.")
    os.chmod(folder, 0o755)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    child = None
    try:
        child, port = start(kind, auth == "auth", folder)
        scheme, password = KINDS[kind][0], PLAIN_PASSWORD if kind == "tinyproxy" else PASSWORD
        login = "%s:%s@" % (USER, password.replace(":", "%3A").replace("/", "%2f")) if auth else ""
        print("PORT=%d\nPID=%d\nURL=%s://%s127.0.0.1:%d\nBARE=%s://127.0.0.1:%d\nLOG=%s/log\n" % (
            port, child.pid, scheme, login, port, scheme, port, folder), flush=True)
        threading.Thread(target=peer.watch, args=[900], daemon=True).start()
        stop.wait()
    finally:
        if child:
            end(child)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
