"""slix_connect: shared by the programs that use slixmpp: connects to an address, with any version of slixmpp."""
import inspect


def connect(client, host, port):
    if "address" in inspect.signature(client.connect).parameters:  # before 1.9
        client.connect((host, int(port)))
    else:
        client.connect(host, int(port))
