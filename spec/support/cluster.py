#!/usr/bin/python3
"""cluster.py [USERS=N]

Starts two clustered nodes of ejabberd, a and b, as spec/support/server starts one: on random loopback ports, with an epmd and a
cookie of their own. Users user0:pw0 and so on; component echo.xmpp.test. Prints the variables (those of a node begin with A_ or
B_) and an empty line, then does what lines in FIFO say, until the reader closes its end of stdout, the parent dies, or a signal
comes: "kill a" (without a goodbye), "stop b", "start a". For each that is done the file FIFO.done grows by one byte."""
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
loader = importlib.machinery.SourceFileLoader("server", os.path.join(HERE, "server"))
server = importlib.util.module_from_spec(importlib.util.spec_from_loader("server", loader))
loader.exec_module(server)


class Node(server.Ejabberd):
    patience = 300  # a busy machine takes long to bring a node into its cluster

    def __init__(self, node, epmd, knobs, watch):
        super().__init__(knobs, watch)
        self.node, self.epmd, self.is_new = node, epmd, True

    def command(self):
        users = "".join("ejabberd_auth:try_register(%s, %s, %s), " % tuple(
            map(server.erlang_binary, (name, server.DOMAIN, password))) for name, password in self.users)
        first = users if self.node == "a" else "ok = ejabberd_cluster:join('a@127.0.0.1'), "
        return ["erl", "-noinput", "+S", "1:1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
                "-start_epmd", "false", "-name", self.node + "@127.0.0.1", "-setcookie", "throwaway",
                "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "net_ticktime", "8",
                "-mnesia", "dir", '"%s/data"' % self.dir, "-s", "ejabberd",
                "-eval", '%sok = file:write_file("%s/ready", <<>>).' % (first if self.is_new else "", self.dir)]

    def environment(self):
        return dict(super().environment(), ERL_EPMD_PORT=str(self.epmd), ERL_EPMD_ADDRESS="127.0.0.1")

    def launch(self):
        super().launch()
        self.is_new = False

    def variables(self):
        prefix = self.node.upper() + "_"
        return {prefix + "PORT": self.port, prefix + "COMPONENT_PORT": self.component_port, prefix + "LOG": self.log}


def start_epmd(port):
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "epmd"], stdin=subprocess.DEVNULL,
                               env=dict(os.environ, ERL_EPMD_PORT=str(port), ERL_EPMD_ADDRESS="127.0.0.1"))
    end = time.monotonic() + 20
    while server.is_free(port, ["127.0.0.1"]) and time.monotonic() < end:
        time.sleep(0.02)
    return process


def obey(line, nodes, done):
    word, name = line.split()
    node = nodes[name]
    if word == "start":
        node.launch()
    else:
        node.halt(signal.SIGKILL if word == "kill" else signal.SIGTERM)
    with open(done, "a") as file:
        file.write("x")


def serve(nodes, fifo, watch):
    descriptor, text = os.open(fifo, os.O_RDWR | os.O_NONBLOCK), b""
    watch.poll.register(descriptor, server.select.POLLIN)
    while True:
        watch.pause(0.05)
        try:
            text += os.read(descriptor, 1000)
        except BlockingIOError:
            continue
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            obey(line.decode(), nodes, fifo + ".done")


def main():
    knobs = dict(server.KNOBS, LIMIT="36000", OFFER="SCRAM-SHA-1 SCRAM-SHA-1-PLUS")
    own = dict(pair.split("=", 1) for pair in sys.argv[1:])
    knobs["MORE_USERS"] = " ".join("user%d:pw%d" % (i, i) for i in range(int(own.get("USERS", "10"))))
    watch = server.Watch(float(knobs["LIMIT"]), reader=True)
    epmd_port = server.free_ports(1, ["127.0.0.1"])[0]
    epmd, nodes = start_epmd(epmd_port), {}
    try:
        for name in "ab":
            nodes[name] = Node(name, epmd_port, knobs, watch)
            nodes[name].start()
            os.environ["CERTS"] = nodes[name].dir + "/certs"  # the second has the first one's
        fifo = nodes["a"].dir + "/fifo"
        os.mkfifo(fifo)
        values = dict(DOMAIN=server.DOMAIN, COMPONENT="echo." + server.DOMAIN, SECRET=server.SECRET, FIFO=fifo,
                      CA=nodes["a"].dir + "/certs/ca.crt")
        for node in nodes.values():
            values.update(node.variables())
        os.write(1, ("".join("%s=%s\n" % pair for pair in values.items()) + "\n").encode())
        serve(nodes, fifo, watch)
    except server.Stop as stop:
        return stop.args[0]
    except (server.Failed, OSError, subprocess.CalledProcessError) as failure:
        print("cluster: %s" % failure, file=sys.stderr)
        return 1
    finally:
        for node in nodes.values():
            node.halt(signal.SIGKILL)
            shutil.rmtree(node.dir, ignore_errors=True)
        epmd.kill()


if __name__ == "__main__":
    sys.exit(main())
