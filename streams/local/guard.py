"""Runs one server and ends it when whoever started it is gone: ``guard.py COMMAND ...``.

Standard input is a pipe whose other end only the starter holds. It closes when the starter ends in whatever way,
``kill -9`` included, on Linux and macOS alike. The server then gets SIGTERM, and SIGKILL if it has not ended after
``GRACE`` seconds. Runs under ``python -I -S``, so it imports nothing but a few modules of the standard library.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

GRACE = 20.0
"""Seconds a server gets to end cleanly once its starter is gone."""
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal a process gets when the thread that started it ends."""


def _die_with_guard() -> None:
    """In the child, on Linux: SIGTERM when the guard itself is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main(command: list[str]) -> int:
    """Run ``command`` until it ends or the starter is gone; returns its exit code (128 + n for signal n)."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    # Before there is a child: a server may be ready, and told to end, before Popen has returned. Without this the guard
    # would end alone, and be taken for the server.
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_guard if sys.platform == "linux" else None,
    )
    for number in early:
        child.send_signal(number)

    def follow_starter() -> None:
        while os.read(0, 1):
            pass
        child.terminate()
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=follow_starter, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # os._exit: the daemon thread sits in a blocking read of standard input
    os._exit(main(sys.argv[1:]))
