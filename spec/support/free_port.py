#!/usr/bin/python3
"""free_port.py: prints a port that nobody listens on at 127.0.0.1, below those that the kernel gives to outgoing connections."""
import random
import socket

while True:
    port = random.randrange(10000, 32000)
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        continue
    print(port)
    break
