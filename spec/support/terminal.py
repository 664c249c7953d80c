#!/usr/bin/python3
"""terminal.py LIMIT STEP... -- CMD ARGS...: runs CMD on a terminal of its own, 80 columns wide, and prints its output.

Steps, one after the other:  wait TEXT: until TEXT has been printed, behind what the last wait has found;  type TEXT,
with \\r, \\t, \\e, \\x03 and the like;  INT, TERM: send that signal to CMD;  echo: fail unless the terminal echoes what
is typed; noecho: fail if it does. The exit status is CMD's, 128 plus the signal's number, 124 after LIMIT seconds, 125
if echo or noecho has failed."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


def unescape(text):
    return text.encode().decode("unicode_escape").replace("\\e", "\x1b").encode("latin-1")


def main():
    cut = sys.argv.index("--")
    end, steps, command = time.monotonic() + float(sys.argv[1]), sys.argv[2:cut], sys.argv[cut + 1:]
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown, seen = b"", 0
    while True:
        while steps:
            word, _, rest = steps[0].partition(" ")
            if word == "wait":
                at = shown.find(unescape(rest), seen)
                if at < 0:
                    break
                seen = at + len(unescape(rest))
            elif word == "type":
                os.write(fd, unescape(rest))
            elif word in ("echo", "noecho"):
                if bool(termios.tcgetattr(fd)[3] & termios.ECHO) != (word == "echo"):
                    print(steps[0], "expected")
                    os.kill(pid, signal.SIGKILL)
                    return 125
            else:
                os.kill(pid, getattr(signal, "SIG" + word))
            steps.pop(0)
        left = end - time.monotonic()
        if left <= 0:
            os.kill(pid, signal.SIGKILL)
            sys.stdout.buffer.write(shown + ("\npty: no '%s'\n" % steps[:1]).encode())
            return 124
        if select.select([fd], [], [], min(left, 0.2))[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if not data:
                break
            shown += data
    sys.stdout.buffer.write(shown)
    _, status = os.waitpid(pid, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


sys.exit(main())
