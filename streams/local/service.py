"""One server on this machine: start, readiness, clean stop, its own port, data folder and log file."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, ClassVar, Self

import structlog

from streams.local import guard
from streams.local.errors import ServiceError

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
LOG_BYTES = 10 * 2**20
"""A log file larger than this is set aside as ``NAME.log.1`` at the next start."""
POLL = 0.02
PORTS = range(20_000, 32_000)


_LETTING_GO = 10.0
"""Seconds for which a server that is started again waits for the port it had."""


def free_port() -> int:
    """A port that nobody listens on now.

    Below those that systems hand out to outgoing connections (Linux from 32,768 on, others from 49,152): a service that
    starts again on its old port would sometimes find a client there, even one that connected to itself.
    """
    for port in random.sample(PORTS, len(PORTS)):
        if is_free(port):
            return port
    raise ServiceError(f"every port of {HOST} from {PORTS.start} to {PORTS.stop - 1} is taken: end some program first.")


def is_free(port: int) -> bool:
    """Whether nobody listens on ``port``. A socket still in TIME_WAIT does not count as a listener."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class Service(ABC):
    """A server process with a folder of its own.

    The folder holds ``data/``, the written configuration, ``NAME.log`` and ``NAME.json`` (pid and port, for people and
    for the next start). Data stay when the service stops; the next start uses them again, on the same port if that is
    still free. A lock that the server process itself holds keeps a second start off the same data.

    ``port``: the port to listen on; None takes the last one or a free one.
    """

    name: ClassVar[str]
    """Names the folder and the files in it."""
    title: ClassVar[str]
    """What people call it."""
    min_free_bytes: ClassVar[int] = 64 * 2**20
    """Below this much free disk space the service is not started."""
    patience_for_last: ClassVar[float] = 5.0
    """Seconds that a start waits for the service's last run to end: one whose starter was killed is still ending."""
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        ("Address already in use", "another program took the port in between; start again"),
        ("No space left on device", "free some disk space, or choose another data folder"),
        ("Permission denied", "make the data folder writable for this user, or choose another data folder"),
        ("Read-only file system", "choose a data folder on a writable file system"),
    )
    """Text in the log and what to do about it."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.expanduser().absolute()
        self.log_path = self.folder / f"{self.name}.log"
        self._note = self.folder / f"{self.name}.json"
        self._asked_port = port
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers a request of its protocol; called until it does."""

    def install(self) -> None:  # noqa: B027 - most services need nothing
        """Get what the server needs, once; the default needs nothing. Raises ServiceError."""

    def configure(self) -> None:  # noqa: B027 - some are configured by their command line
        """Write configuration into the folder; called with the port decided, before every start."""

    @property
    def port(self) -> int:
        """The port it listens on. Raises RuntimeError before the first start."""
        if self._port is None:
            raise RuntimeError(f"{self.title} has not been started, so it has no port yet")
        return self._port

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.port}"

    @property
    def data(self) -> Path:
        """Where the server keeps its data."""
        return self.folder / "data"

    @property
    def running(self) -> bool:
        """Whether the process started here is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout: float = 60.0) -> Self:
        """Start and wait until it answers.

        Raises ServiceError when the folder cannot be used, somebody else runs on it, the port is taken, the server
        ends, or it does not answer within ``timeout`` seconds.
        """
        if self.running:
            return self
        self.install()
        self._make_folder()
        self._take_lock()
        try:
            self._port = self._choose_port()
            self.configure()
            self._spawn()
            self._wait(timeout)
        except BaseException:
            self.stop(patience=2.0)
            raise
        log.info(f"{self.title} is ready", address=self.address, log=str(self.log_path))
        return self

    def check(self) -> None:
        """Raise ServiceError when it has ended by itself since it was started."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise ServiceError(self._why(f"{self.title} ended by itself with exit code {code}"))

    def stop(self, patience: float = 20.0) -> None:
        """End it: SIGTERM, then SIGKILL after ``patience`` seconds. Doing so twice does no harm."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                log.warning(f"{self.title} did not stop in time and is killed", seconds=patience, pid=process.pid)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdin:
                process.stdin.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def tail(self, lines: int = 12) -> str:
        """The last lines of the log."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 65_536))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _make_folder(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            self.log_path.touch()
            if self.log_path.stat().st_size > LOG_BYTES:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise ServiceError(
                f"{self.title} cannot use its data folder {self.folder}: {error.strerror}. "
                "Make it writable for this user, or choose another folder (setting data_dir)."
            ) from error
        if free < self.min_free_bytes:
            raise ServiceError(
                f"{self.title} is not started: only {free // 2**20} MiB are free where {self.folder} lies, it needs "
                f"{self.min_free_bytes // 2**20} MiB. Free some space, or choose another folder (setting data_dir)."
            )

    def _take_lock(self) -> None:
        """Hold an flock that the server inherits: it ends with the last of the two, so it is never stale."""
        lock = (self.folder / f"{self.name}.lock").open("w")
        deadline = time.monotonic() + self.patience_for_last
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() < deadline:
                    time.sleep(POLL)
                    continue
            lock.close()
            note = self._read_note()
            where = f" (pid {note['pid']}, port {note['port']})" if note else ""
            raise ServiceError(
                f"{self.title} already runs on the data folder {self.folder}{where}. "
                "Stop that one first, use its address in the settings, or choose another folder (setting data_dir)."
            )
        self._lock = lock

    def _choose_port(self) -> int:
        if self._port is not None:
            # Started before by this object: clients know the port; a killed server has it until its memory is freed.
            deadline = time.monotonic() + _LETTING_GO
            while not is_free(self._port) and time.monotonic() < deadline:
                time.sleep(0.05)
        if self._asked_port is not None:
            if not is_free(self._asked_port):
                raise ServiceError(
                    f"{self.title} cannot listen on {HOST}:{self._asked_port}: another program does. "
                    "Stop that program, or leave the port out so that a free one is chosen."
                )
            return self._asked_port
        last = self._read_note().get("port")
        return last if last is not None and is_free(last) else free_port()

    def _read_note(self) -> dict[str, int]:
        try:
            note = json.loads(self._note.read_text())
            return {"pid": int(note["pid"]), "port": int(note["port"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # first start, or a note cut short by a full disk: a new one is written

    def _spawn(self) -> None:
        assert self._lock is not None  # noqa: S101
        command = [sys.executable, "-I", "-S", guard.__file__, *self.command()]
        with self.log_path.open("ab") as out:
            out.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S%z')} starting {self.title} on {self.address}\n".encode())
            out.flush()
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.PIPE,  # closes when this process ends, in whatever way: see guard.py
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=(self._lock.fileno(),),
                start_new_session=True,  # Ctrl-C reaches us only; we stop the services in order
            )
        self._note.write_text(json.dumps({"pid": self._process.pid, "port": self.port}))

    def _wait(self, timeout: float) -> None:
        assert self._process is not None  # noqa: S101
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                raise ServiceError(self._why(f"{self.title} ended with exit code {code} before it was ready"))
            with contextlib.suppress(OSError):
                if self.answers():
                    return
            time.sleep(POLL)
        raise ServiceError(self._why(f"{self.title} did not answer on {self.address} within {timeout:.0f} s"))

    def _why(self, what: str) -> str:
        tail = self.tail()
        advice = [advice for text, advice in self.hints if text in tail]
        todo = f"What to do: {'; '.join(advice)}.\n" if advice else ""
        return f"{what}.\n{todo}Log: {self.log_path}, which ends with:\n{tail}"


def exchange(port: int, request: bytes, size: int, timeout: float = 1.0, *, host: str = HOST) -> bytes:
    """Send ``request`` to a port, here by default, and read up to ``size`` bytes of the answer. Raises OSError."""
    with socket.create_connection((host, port), timeout=timeout) as connection:
        connection.sendall(request)
        return connection.recv(size)
