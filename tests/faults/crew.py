"""The worker processes of a run and whoever starts them again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_WATCHDOG = 70
"""Exit status of a worker that its own watchdog ended: it healed itself, and is counted."""
_GAVE_WAY = "another process runs slot"
"""What a worker says when it stops in favour of its twin; either of the two may."""
_TWINS_KNOW = 60.0
"""Seconds for which a worker remembers that it was replaced."""
CLEAN_LIMIT = 5.0
"""Seconds that a clean end may take while nothing else is broken."""


class Member:
    """One process in a slot."""

    def __init__(self, slot: int, bootstrap: str, log: Path) -> None:
        self.slot = slot
        self.expected = False
        """Whether its end is somebody's doing."""
        # A child inherits what is blocked: a SIGTERM that comes before it can listen waits until it does.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            with log.open("ab") as out:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.member", bootstrap, str(slot)],
                    stdin=subprocess.PIPE,  # its end tells that the suite is gone, whatever has become of it
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def send(self, number: signal.Signals) -> None:
        """A signal, unless it has ended."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it whatever it does, even when it is stopped."""
        self.expected = True
        self.send(signal.SIGKILL)
        self.process.communicate()


class Crew:
    """Keeps a process in every slot that it was told to; notes every end that nobody has caused."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self._lock = threading.Lock()
        self._members: dict[int, Member] = {}
        self._paused: set[int] = set()
        self._over = threading.Event()
        self.findings: list[str] = []
        self.watchdog = 0
        self.gave_way = 0
        self._twinned: dict[int, float] = {}
        self.clean_ends: list[float] = []
        """Seconds that each clean end has taken."""
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()

    def start(self, slot: int) -> Member:
        """A process in ``slot``, beside one that may be there already."""
        return Member(slot, self._bootstrap, self._folder / f"slot-{slot}.log")

    def keep(self, slot: int) -> None:
        """Have a process in ``slot`` from now on."""
        with self._lock:
            self._paused.discard(slot)
            if slot not in self._members:
                self._members[slot] = self.start(slot)

    def member(self, slot: int) -> Member:
        """The process in ``slot``; it is there, unless the slot was taken out."""
        with self._lock:
            return self._members[slot]

    def take_out(self, slot: int) -> Member:
        """No longer keep ``slot``; its process is the caller's now."""
        with self._lock:
            self._paused.add(slot)
            member = self._members.pop(slot)
            member.expected = True
            return member

    def expect_twins(self, slot: int, seconds: float) -> None:
        """For so long ``slot`` has two processes, one of which is to stop with an error that says so."""
        self._twinned[slot] = time.monotonic() + seconds + _TWINS_KNOW

    def put_in(self, member: Member) -> None:
        """Keep this process in its slot."""
        with self._lock:
            member.expected = False
            self._paused.discard(member.slot)
            self._members[member.slot] = member

    def terminate(self, member: Member, patience: float) -> None:
        """SIGTERM, and note how it went."""
        began = time.monotonic()
        member.expected = True
        member.send(signal.SIGTERM)
        try:
            code = member.process.wait(patience)
        except subprocess.TimeoutExpired:
            member.kill()
            self.findings.append(f"slot {member.slot} did not end within {patience:g} s of SIGTERM")
            return
        if code == _WATCHDOG:
            self.watchdog += 1
        elif code:
            self.findings.append(f"slot {member.slot} ended with status {code} on SIGTERM; see slot-{member.slot}.log")
        self.clean_ends.append(time.monotonic() - began)

    def close(self) -> None:
        """Stop keeping, and end what is left."""
        self._over.set()
        self._keeper.join()
        for member in self._members.values():
            member.kill()

    def _keep(self) -> None:
        while not self._over.wait(0.2):
            with self._lock:
                for slot, member in list(self._members.items()):
                    code = member.process.poll()
                    if code is None:
                        continue
                    del self._members[slot]
                    if code == _WATCHDOG:
                        self.watchdog += 1
                    elif self._has_given_way(slot, code):
                        self.gave_way += 1
                    elif not member.expected:
                        self.findings.append(f"slot {slot} ended by itself with status {code}; see slot-{slot}.log")
                    if slot not in self._paused:
                        self._members[slot] = self.start(slot)

    def _has_given_way(self, slot: int, code: int) -> bool:
        if code != 1 or time.monotonic() > self._twinned.get(slot, 0.0):
            return False
        return _GAVE_WAY in (self._folder / f"slot-{slot}.log").read_text(errors="replace")[-5000:]
