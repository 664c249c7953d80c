"""slix_connect: for the programs with slixmpp beside it: connects to an address, whatever the version."""
import inspect


def connect(client, host, port):
    if "address" in inspect.signature(client.connect).parameters:  # before 1.9
        client.connect((host, int(port)))
    else:
        client.connect(host, int(port))
