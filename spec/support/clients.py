"""For helper programs of the specs: prints PORT=..., yields a socket for each client that connects, and ends when the
reader of stdout is gone."""
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
