"""The FIX 4.4 session of an initiator as a state machine. Pure: bytes are decoded before, time is passed in.

Own code: quickfix is the kept engine, but its Python package must be compiled, owns the threads and the store, and
acknowledges a message (counts its number on disk) before anybody has it in Kafka. Source: FIX 4.4 specification,
volume 2, "FIX session-level test cases and expected behaviors".

Application messages come out once each and in order of their numbers. What is missing is asked for again, and what
comes too early meanwhile is dropped, because it is part of what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.market.fix.codec import Message, encode, time_of, time_text
from connectors.market.fix.outputs import (
    Close,
    Deliver,
    Filled,
    Identity,
    LoggedOn,
    Missing,
    Output,
    Pairs,
    Passed,
    Phase,
    Send,
)

_ADMIN = frozenset((b"0", b"1", b"2", b"4", b"5", b"A"))  # a Reject (3) is for the owner, who sent what is rejected
_ATTEMPTS = 3  # of asking for the same messages
_SLACK = 1.2  # of a heartbeat interval, for the time on the way


class Session:
    """One connection's session. ``next_in`` and ``next_out``: the numbers that come next, from the store.

    Times are microseconds. ``steady``: a clock that nobody sets, which measures heartbeats and patience; without it
    the times passed in do.
    """

    def __init__(
        self, identity: Identity, *, next_in: int = 1, next_out: int = 1, steady: Callable[[], int] | None = None
    ) -> None:
        self.next_in = next_in
        self.next_out = next_out
        self.phase = Phase.OFF
        self._who = identity
        self._from, self._to = identity.target.encode(), identity.sender.encode()
        self._steady = steady
        self._sent = self._heard = 0
        self._tested = False
        self._unread: int | None = None  # when reading stopped: what has waited since may be as old
        self._rested = 0  # when nobody read last, by the steady clock
        self._asked: tuple[int, int] | None = None  # first number asked for, and the highest that was seen then
        self._asked_at = 0
        self._attempts = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is being asked for again."""
        return self._asked is None

    def _elapsed(self, now: int) -> int:
        return now if self._steady is None else self._steady()

    # --- what the owner says ------------------------------------------------------------------------------------

    def connected(self, now: int) -> list[Output]:
        """The connection is there: log on."""
        who = self._who
        if who.reset:
            self.next_in = self.next_out = 1
        self.phase = Phase.LOGON
        self._heard = self._elapsed(now)
        fields: list[tuple[int, bytes | str | int]] = [(98, 0), (108, who.heartbeat // 1_000_000)]
        fields += [(141, "Y")] if who.reset else []
        fields += [(553, who.username)] if who.username is not None else []
        fields += [(554, who.password)] if who.password is not None else []
        return [self._send("A", fields, now)]

    def application(self, kind: str, fields: Pairs, now: int) -> list[Output]:
        """Send an application message; only once logged on."""
        return [self._send(kind, fields, now)] if self.phase is Phase.ON else []

    def logout(self, now: int, text: str = "") -> list[Output]:
        """Say goodbye; the peer's answer, or no answer in time, closes."""
        if self.phase not in (Phase.ON, Phase.LOGON):
            return []
        self.phase = Phase.LOGOUT
        self._heard = self._elapsed(now)
        return [self._send("5", [(58, text)] if text else [], now)]

    def tick(self, now: int, *, reading: bool = True) -> list[Output]:
        """Heartbeats, test requests and patience; call it a few times in a heartbeat interval.

        ``reading`` false: nobody reads at the moment, so that silence says nothing about the peer, nor the age of what
        is read afterwards about its clock.
        """
        beat, elapsed = self._who.heartbeat, self._elapsed(now)
        if not reading:
            self._heard = self._rested = elapsed
            self._unread = now if self._unread is None else self._unread
        elif elapsed - self._rested > 2 * beat:
            self._unread = None  # what waited has been read long since
        quiet = elapsed - self._heard
        if self.phase in (Phase.LOGON, Phase.LOGOUT) and quiet > min(beat, 10_000_000):
            return [self._end(f"no answer to the {self.phase.value[:-5]} within {min(beat, 10_000_000) / 1e6:g} s")]
        if self.phase is not Phase.ON:
            return []
        out: list[Output] = []
        if quiet > 2 * _SLACK * beat:
            return [self._end(f"nothing heard for {quiet / 1e6:.0f} s, not even an answer to a test request")]
        if quiet > _SLACK * beat and not self._tested:
            self._tested = True
            out.append(self._send("1", [(112, time_text(now))], now))
        if elapsed - self._sent >= beat:
            out.append(self._send("0", [], now))
        if self._asked and elapsed - self._asked_at > beat:
            out += self._ask(now, self._asked[1], again=self._asked[0] == self.next_in)
        return out

    # --- what the peer says -------------------------------------------------------------------------------------

    def received(self, message: Message, now: int) -> list[Output]:
        """A message that is not garbled. After a :class:`Close` everything else is ignored."""
        if self.phase in (Phase.OFF, Phase.ENDED):
            return []
        self._heard, self._tested = self._elapsed(now), False
        sequence = message.number(34) or 0
        if refused := self._header(message, sequence, now):
            return refused
        kind = message.kind
        if sequence == self.next_in and kind not in _ADMIN and self.phase is not Phase.LOGON:  # nearly always
            self._count(sequence)
            return [Deliver(message, sequence)]
        if self.phase is Phase.LOGON and kind not in (b"A", b"5"):
            return self._goodbye("the first message must be a Logon", now)
        if kind == b"A":
            return self._logon(message, sequence, now)
        if kind == b"4" and not message.flag(123):
            return self._reset(message, sequence, now)
        if kind == b"5" and not message.flag(43):
            # Taken at any number: there will be no later chance. What is missing is asked for at the next logon.
            return self._bye(message, sequence, now)
        if sequence < self.next_in:
            if not message.flag(43):
                return self._too_low(sequence, now)
            new = message.number(36) if kind == b"4" else None
            if new is not None and new > self.next_in:  # it begins with what we have, and goes beyond
                return [Filled(self.next_in, new - 1), *self._passed(new - 1)]
            return []  # had it already
        if sequence > self.next_in:
            # A request is answered at once, lest both sides wait for each other.
            out = self._resend(message, now) if kind == b"2" else []
            return out + self._gap(sequence, now, repeated=message.flag(43))
        if kind == b"4":
            return self._fill(message, sequence, now)
        out = self._passed(sequence)
        if kind == b"1":
            out.append(self._send("0", [(112, message.get(112) or b"")], now))
        elif kind == b"2":
            out += self._resend(message, now)
        return out

    def _header(self, message: Message, sequence: int, now: int) -> list[Output]:
        """What every message must have (volume 2, test cases 2 and 14). Empty when it is in order."""
        who, first = self._who, message.first
        if sequence < 1:
            return self._goodbye("MsgSeqNum (34) is missing", now)
        if first.get(49) != self._from or first.get(56) != self._to:
            said = f"the message is from {message.text(49)!r:.60} to {message.text(56)!r:.60}"
            expected = f"expected from {who.target!r} to {who.sender!r}"
            out = self._reject(sequence, 9, "CompID problem", now)
            return [*out, *self._goodbye(f"{said}; {expected}", now, person=True)]
        try:
            sent = time_of(first.get(52, b""))
            original = time_of(first[122]) if 122 in first else None
        except (ValueError, UnicodeDecodeError):
            out = self._reject(sequence, 6, "SendingTime (52) or OrigSendingTime (122) is no time", now)
            return out + (self._passed(sequence) if sequence == self.next_in else [])
        if abs(sent - now) <= who.clock_tolerance:
            self._unread = None
        elif self._unread is None or not self._unread - who.clock_tolerance <= sent <= now:
            out = self._reject(sequence, 10, "SendingTime accuracy problem", now)
            reason = f"the peer's clock and ours are {(sent - now) / 1e6:.1f} s apart; set the clocks"
            return [*out, *self._goodbye(reason, now)]
        if original is not None and original > sent and message.flag(43):
            reason = "OrigSendingTime (122) is later than SendingTime (52)"
            return [*self._reject(sequence, 10, reason, now), *self._goodbye(reason, now)]
        return []

    def _logon(self, message: Message, sequence: int, now: int) -> list[Output]:
        if self.phase is not Phase.LOGON:
            return self._passed(sequence) if sequence == self.next_in else []
        asked = self._who.reset
        restarted = message.flag(141) and not asked
        if message.flag(141):
            self.next_in = 1
            if restarted:
                self.next_out = 2 if sequence == 1 else self.next_out
        if sequence < self.next_in:
            return self._too_low(sequence, now)
        self.phase = Phase.ON
        out: list[Output] = [LoggedOn(restarted or asked)]
        if sequence > self.next_in:
            return out + self._gap(sequence, now)
        return out + self._passed(sequence)

    def _bye(self, message: Message, sequence: int, now: int) -> list[Output]:
        text = message.text(58)
        was = self.phase
        out: list[Output] = []
        if sequence == self.next_in:
            out += self._passed(sequence)
        if was is Phase.LOGOUT:
            return [*out, self._end("logged out")]
        if was is Phase.ON:
            out.append(self._send("5", [], now))
        what = "the logon was refused" if was is Phase.LOGON else "the peer logged out"
        return [*out, self._end(f"{what}: {text}" if text else what, person=was is Phase.LOGON)]

    def _too_low(self, sequence: int, now: int) -> list[Output]:
        reason = f"MsgSeqNum too low, expecting {self.next_in} but received {sequence}"
        return self._goodbye(reason, now, person=True, astray=True)

    def _gap(self, sequence: int, now: int, *, repeated: bool = False) -> list[Output]:
        if self._asked is None:
            return [Missing(self.next_in, sequence - 1), *self._ask(now, sequence)]
        self._asked = (self._asked[0], max(self._asked[1], sequence))
        if not repeated or self._asked[0] == self.next_in:
            return []  # asked for already
        return self._ask(now, self._asked[1])  # what is sent again has a hole itself

    def _ask(self, now: int, seen: int, *, again: bool = False) -> list[Output]:
        self._attempts = self._attempts + 1 if again else 0
        if self._attempts >= _ATTEMPTS:
            reason = f"messages from {self.next_in} on were asked for {_ATTEMPTS} times and did not come"
            return self._goodbye(reason, now)
        self._asked, self._asked_at = (self.next_in, seen), self._elapsed(now)
        return [self._send("2", [(7, self.next_in), (16, 0)], now)]

    def _count(self, sequence: int) -> None:
        self.next_in = sequence + 1
        if self._asked is not None and self.next_in > self._asked[1]:
            self._asked = None

    def _passed(self, sequence: int) -> list[Output]:
        self._count(sequence)
        return [Passed(sequence)]

    def _fill(self, message: Message, sequence: int, now: int) -> list[Output]:
        new = message.number(36)
        if new is None or new <= sequence:
            reason = f"NewSeqNo (36) must be above {sequence}"
            return [*self._reject(sequence, 5, reason, now), *self._passed(sequence)]
        return [Filled(sequence, new - 1), *self._passed(new - 1)]

    def _reset(self, message: Message, sequence: int, now: int) -> list[Output]:
        """SequenceReset-Reset: its own number does not matter (volume 2, test case 11)."""
        new = message.number(36)
        if new is None or new < self.next_in:
            return self._reject(sequence, 5, f"NewSeqNo (36) must be at least {self.next_in}", now)
        if new == self.next_in:
            return []
        return [Filled(self.next_in, new - 1), *self._passed(new - 1)]

    def _resend(self, message: Message, now: int) -> list[Output]:
        """What we sent is either administrative or a subscription of another day: filled, never repeated."""
        first = message.number(7)
        if first is None or not 1 <= first < self.next_out:
            return self._reject(message.number(34) or 0, 5, f"BeginSeqNo (7) must be 1 to {self.next_out - 1}", now)
        header = self._fields("4", first, now)
        body: Pairs = [(43, "Y"), (122, time_text(now)), (123, "Y"), (36, self.next_out)]
        self._sent = self._elapsed(now)
        return [Send(encode([*header, *body]))]

    def _reject(self, sequence: int, code: int, text: str, now: int) -> list[Output]:
        return [self._send("3", [(45, sequence), (373, code), (58, text)], now)]

    def _goodbye(self, reason: str, now: int, *, person: bool = False, astray: bool = False) -> list[Output]:
        return [self._send("5", [(58, reason)], now), self._end(reason, person=person, astray=astray)]

    def _end(self, reason: str, *, person: bool = False, astray: bool = False) -> Close:
        self.phase = Phase.ENDED
        return Close(reason, person, astray)

    def _send(self, kind: str, fields: Pairs, now: int) -> Send:
        sequence = self.next_out
        self.next_out += 1
        self._sent = self._elapsed(now)
        return Send(encode([*self._fields(kind, sequence, now), *fields]))

    def _fields(self, kind: str, sequence: int, now: int) -> list[tuple[int, bytes | str | int]]:
        who = self._who
        header: list[tuple[int, bytes | str | int]] = [(35, kind), (49, who.sender), (56, who.target)]
        header += [(50, who.sender_sub)] if who.sender_sub else []
        header += [(57, who.target_sub)] if who.target_sub else []
        return [*header, (34, sequence), (52, time_text(now))]
