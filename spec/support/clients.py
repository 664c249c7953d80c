"""Who connects to a helper program of the specs, which says PORT=... first and ends when its reader is gone."""
import select
import socket
import sys


def clients():
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write("PORT=%d\n\n" % listener.getsockname()[1])
    sys.stdout.flush()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(1, 0)
    while not any(fd == 1 for fd, _ in poll.poll()):
        yield listener.accept()[0]
