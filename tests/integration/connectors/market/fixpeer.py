"""quickfix as the venue: a FIX 4.4 acceptor VENUE > HOUSE with a message store of its own.

It runs in a process of its own, because its threads outlive it badly in the one that runs the tests; and so that it
can be killed. Commands come as JSON lines, ``[kind, [[tag, value], …], [count tag, delimiter, [[[tag, value], …], …]] |
null]`` and ``["next", number]``; what happens goes out as JSON lines ``[event, text]``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SETTINGS = """[DEFAULT]
ConnectionType=acceptor
FileStorePath={folder}/store
UseDataDictionary=Y
DataDictionary={prefix}/share/quickfix/FIX44.xml
NonStopSession=Y
SocketReuseAddress=Y
[SESSION]
BeginString=FIX.4.4
SenderCompID=VENUE
TargetCompID=HOUSE
SocketAcceptPort={port}
"""


class Peer:
    """The process. ``on`` while a session is logged on, for the ``logons``-th time; ``requests``: the application
    messages that came, ``admin``: the others. ``resets``: it begins at 1 with its next logon, and says so unasked.
    """

    def __init__(self, folder: Path, port: int, *, resets: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.on = threading.Event()
        self.logons = 0
        self.requests: list[dict[str, str]] = []
        self.admin: list[dict[str, str]] = []
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(port), "resets" if resets else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it: what it has sent is in its store."""
        self._process.kill()
        self._process.wait(5)
        self._thread.join(5)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event, text = json.loads(line)
            if event in ("message", "admin"):
                into = self.requests if event == "message" else self.admin
                into.append(dict(part.split("=", 1) for part in text.split("\x01") if part))
            elif event == "logon":
                self.logons += 1
                self.on.set()
            elif event == "logout":
                self.on.clear()

    def send(self, kind: str, *fields: tuple[int, str], groups: Any = None) -> None:
        """Send an application message; while nobody is logged on it is kept for the next logon."""
        self._tell([kind, fields, groups])

    def next(self, number: int) -> None:
        """Give the next message this number: those before are missing, if there are any, and nobody has them."""
        self._tell(["next", number])

    def _tell(self, command: list[Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()


def main(folder: Path, port: int, *, resets: bool) -> None:
    """Be the acceptor until standard input ends."""
    import quickfix as fix

    def tell(event: str, text: str = "") -> None:
        print(json.dumps([event, text]), flush=True)

    class Application(fix.Application):
        def onCreate(self, session: Any) -> None:
            self.session = session

        def onLogon(self, session: Any) -> None:
            tell("logon")

        def onLogout(self, session: Any) -> None:
            tell("logout")

        def toAdmin(self, message: Any, session: Any) -> None:
            if resets and message.getHeader().getField(35) == "A":
                message.setField(fix.ResetSeqNumFlag(True))

        def fromAdmin(self, message: Any, session: Any) -> None:
            tell("admin", message.toString())

        def toApp(self, message: Any, session: Any) -> None: ...

        def fromApp(self, message: Any, session: Any) -> None:
            tell("message", message.toString())

    (folder / "acceptor.cfg").write_text(SETTINGS.format(folder=folder, port=port, prefix=sys.prefix))
    settings = fix.SessionSettings(str(folder / "acceptor.cfg"))
    application, store = Application(), fix.FileStoreFactory(settings)
    acceptor = fix.SocketAcceptor(application, store, settings)
    acceptor.start()
    for line in sys.stdin:
        command = json.loads(line)
        if command[0] == "next":
            fix.Session.lookupSession(application.session).setNextSenderMsgSeqNum(command[1])
            continue
        kind, fields, groups = command
        message = fix.Message()
        message.getHeader().setField(fix.BeginString("FIX.4.4"))
        message.getHeader().setField(fix.MsgType(kind))
        for tag, value in fields:
            message.setField(fix.StringField(tag, value))
        for entry in groups[2] if groups else []:
            order = fix.IntArray(len(entry) + 1)
            for place, (tag, _) in enumerate(entry):
                order[place] = tag
            order[len(entry)] = 0
            group = fix.Group(groups[0], groups[1], order)
            for tag, value in entry:
                group.setField(fix.StringField(tag, value))
            message.addGroup(group)
        fix.Session.sendToTarget(message, application.session)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), resets=bool(sys.argv[3]))
