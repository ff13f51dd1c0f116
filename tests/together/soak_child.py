"""A child that writes numbered lines in a given manner: soak_child.py KEY KIND COUNT DELAY SIZE.

Each line carries ``#KEY.WRITER.NUMBER#``; the last one of a writer that ends by itself has ``!`` before the
second mark. Only the fastest of modules are used: thousands of these are started.
"""

import os
import signal
import sys
import time


def write(fd, data):
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:  # whoever watches us is gone
        os._exit(0)


def speak(key, writer, count, delay, size, fd=2, ending=b"\n"):
    filler = os.urandom(size).replace(b"#", b"+") if ending == b"\0\n" else b"x" * size
    pending = b""
    for number in range(count):
        final = b"!" if number == count - 1 else b""
        pending += b"#%s.%s.%d%s# %s%s" % (key, writer, number, final, filler, ending)
        if delay or len(pending) > 4096 or final:
            write(fd, pending)
            pending = b""
        time.sleep(delay)
    write(fd, pending)


def main():
    key, kind = os.fsencode(sys.argv[1]), sys.argv[2]
    count, delay, size = int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    endings = {"binary": b"\0\n", "progress": b"\r", "windows": b"\r\n"}
    if kind == "both":
        speak(key, b"o", count, delay, size, fd=1)
    speak(key, b"p", count, delay, size, ending=endings.get(kind, b"\n"))
    if kind == "prompt":
        write(2, b"#%s.q.0!# and now?" % key)
        time.sleep(0.4)
    elif kind == "forking" and not os.fork():
        speak(key, b"g", 3, 0.1 + delay, 10)
        os._exit(0)
    elif kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "crashed":
        os.abort()
    elif kind in ("stubborn", "mute"):
        time.sleep(30)
    elif kind == "reader":
        write(2, b"#%s.q.0!# read %d\n" % (key, len(sys.stdin.buffer.read())))
    os._exit(3 if kind == "failing" else 0)


main()
