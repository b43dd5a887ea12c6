"""The session against a model of the other side, over a line that garbles and breaks."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.market.fix.codec import Decoder, Message, encode, time_text
from connectors.market.fix.outputs import (
    Close,
    Deliver,
    Filled,
    Identity,
    LoggedOn,
    Missing,
    Output,
    Passed,
    Phase,
    Send,
)
from connectors.market.fix.session import Session

NOW = 1_790_000_000_000_000
WHO = Identity(sender="HOUSE", target="VENUE", heartbeat=30_000_000)


def message(kind: str, sequence: int, *fields: tuple[int, Any], now: int = NOW, repeat: bool = False) -> Message:
    header = [(35, kind), (49, "VENUE"), (56, "HOUSE"), (34, sequence), (52, time_text(now))]
    header += [(43, "Y"), (122, time_text(now))] if repeat else []
    (found,) = Decoder().feed(encode([*header, *fields]))
    assert isinstance(found, Message)
    return found


def sent(outputs: list[Output]) -> list[Message]:
    return [found for one in outputs if isinstance(one, Send) for found in Decoder().feed(one.data)]  # type: ignore[misc]


def kinds(outputs: list[Output]) -> str:
    return "".join(one.kind.decode() for one in sent(outputs))


def of(outputs: list[Output], kind: type) -> list[Any]:
    return [one for one in outputs if isinstance(one, kind)]


def on(**given: Any) -> Session:
    session = Session(WHO, **given)
    session.connected(NOW)
    outputs = session.received(message("A", session.next_in, (108, 30)), NOW)
    assert of(outputs, LoggedOn)
    return session


def test_session_when_it_logs_on_says_who_and_asks_for_what_it_missed():
    session = Session(Identity("HOUSE", "VENUE", username="u", password="p"), next_in=5, next_out=9)
    (logon,) = sent(session.connected(NOW))
    said = [logon.text(tag) for tag in (35, 49, 56, 34, 98, 108, 553, 554)]
    assert said == ["A", "HOUSE", "VENUE", "9", "0", "30", "u", "p"]
    outputs = session.received(message("A", 8, (108, 30)), NOW)
    assert of(outputs, Missing) == [Missing(5, 7)]
    assert [sent(outputs)[0].text(tag) for tag in (35, 7, 16)] == ["2", "5", "0"]
    assert not session.complete


def test_session_when_reset_begins_both_sides_at_one():
    session = Session(Identity("HOUSE", "VENUE", reset=True), next_in=50, next_out=90)
    (logon,) = sent(session.connected(NOW))
    assert (logon.text(34), logon.text(141)) == ("1", "Y")
    assert of(session.received(message("A", 1, (141, "Y")), NOW), LoggedOn) == [LoggedOn(restarted=True)]


def test_session_when_the_peer_resets_unasked_tells_that_something_is_lost():
    session = Session(WHO, next_in=50, next_out=90)
    session.connected(NOW)
    outputs = session.received(message("A", 1, (141, "Y")), NOW)
    assert of(outputs, LoggedOn) == [LoggedOn(restarted=True)]
    assert session.next_in == 2


def test_session_when_the_number_is_too_low_ends_and_needs_a_person():
    session = on(next_in=10)
    outputs = session.received(message("8", 5), NOW)
    assert kinds(outputs) == "5"
    assert of(outputs, Close) == [Close("MsgSeqNum too low, expecting 11 but received 5", person=True, astray=True)]
    assert session.received(message("8", 11), NOW) == []


def test_session_when_the_logon_is_refused_says_the_peers_reason():
    session = Session(WHO)
    session.connected(NOW)
    (close,) = of(session.received(message("5", 1, (58, "bad password")), NOW), Close)
    assert close == Close("the logon was refused: bad password", person=True)


def test_session_when_a_repeat_comes_again_ignores_it():
    assert on(next_in=10).received(message("8", 5, repeat=True), NOW) == []


def test_session_when_heartbeats_are_due_sends_them_tests_and_gives_up():
    session = on()
    assert kinds(session.tick(NOW + 29_000_000)) == ""
    assert kinds(session.tick(NOW + 30_000_000)) == "0"
    assert "1" in kinds(session.tick(NOW + 37_000_000))
    (close,) = of(session.tick(NOW + 73_000_000), Close)
    assert "nothing heard for 73 s" in close.reason


def test_session_when_nobody_reads_does_not_blame_the_peer():
    session = on()
    assert not of(session.tick(NOW + 100_000_000, reading=False), Close)
    assert not of(session.tick(NOW + 101_000_000), Close)


def test_session_when_nobody_read_for_long_takes_what_waited_and_nothing_that_is_older():
    resumed = NOW + 1_800_000_000
    for sent_at, refused in ((NOW - 1_000_000, False), (NOW + 900_000_000, False), (NOW - 300_000_000, True)):
        session = on()
        session.tick(NOW, reading=False)
        session.tick(resumed - 100_000, reading=False)
        session.tick(resumed)
        assert bool(of(session.received(message("8", 2, now=sent_at), resumed), Close)) is refused
    session = on()
    session.tick(NOW, reading=False)
    session.received(message("8", 2, now=resumed), resumed)
    assert of(session.received(message("8", 3, now=NOW), resumed), Close), "all that waited had been read"
    session = on()
    session.tick(resumed, reading=False)
    session.tick(resumed + 61_000_000)
    assert of(session.received(message("8", 2, now=NOW), resumed + 61_000_000), Close), "it does not wait so long"


@pytest.mark.parametrize("jump", [3_600_000_000, -3_600_000_000])
def test_session_when_our_clock_is_set_measures_heartbeats_and_patience_as_ever(jump):
    passed = 0
    session = Session(WHO, steady=lambda: passed)
    session.connected(NOW)
    session.received(message("A", 1, (108, 30)), NOW)
    assert session.tick(NOW + jump) == []
    passed = 30_000_000
    assert kinds(session.tick(NOW + jump)) == "0"
    passed = 37_000_000
    assert kinds(session.tick(NOW + jump)) == "1"
    passed = 73_000_000
    (close,) = of(session.tick(NOW + jump), Close)
    assert "nothing heard for 73 s" in close.reason


def test_session_when_tested_answers_with_the_same_id():
    outputs = on().received(message("1", 2, (112, "abc")), NOW)
    assert [(one.kind, one.text(112)) for one in sent(outputs)] == [(b"0", "abc")]


def test_session_when_asked_to_resend_fills_the_gap():
    session = on()
    session.application("V", [(262, "x")], NOW)
    (filled,) = sent(session.received(message("2", 2, (7, 1), (16, 0)), NOW))
    assert [filled.text(tag) for tag in (35, 34, 43, 123, 36)] == ["4", "1", "Y", "Y", "3"]
    assert filled.get(122)


def test_session_when_a_gap_is_filled_goes_on_after_it():
    session = on()
    session.received(message("8", 5), NOW)
    outputs = session.received(message("4", 2, (123, "Y"), (36, 6), repeat=True), NOW)
    assert of(outputs, Filled) == [Filled(2, 5)]
    assert (session.next_in, session.complete) == (6, True)


@pytest.mark.parametrize("new", [1, 2])
def test_session_when_a_gap_fill_goes_backwards_rejects_it(new):
    session = on()
    assert kinds(session.received(message("4", 2, (123, "Y"), (36, new)), NOW)) == "3"
    assert session.next_in == 3


def test_session_when_reset_mode_goes_forward_takes_it_and_backward_rejects_it():
    session = on(next_in=10)
    assert of(session.received(message("4", 1, (36, 20)), NOW), Filled) == [Filled(11, 19)]
    assert session.next_in == 20
    assert kinds(session.received(message("4", 1, (36, 5)), NOW)) == "3"
    assert session.next_in == 20


def test_session_when_comp_ids_are_wrong_rejects_and_logs_out():
    header = [(35, "8"), (49, "OTHER"), (56, "HOUSE"), (34, 2), (52, time_text(NOW))]
    (wrong,) = Decoder().feed(encode(header))
    outputs = on().received(wrong, NOW)  # type: ignore[arg-type]
    assert kinds(outputs) == "35"
    assert "'OTHER'" in of(outputs, Close)[0].reason


@pytest.mark.parametrize("jump", [3_600_000_000, -3_600_000_000])
def test_session_when_a_clock_jumps_says_by_how_much(jump):
    outputs = on().received(message("8", 2, now=NOW + jump), NOW)
    assert kinds(outputs) == "35"
    assert f"{jump / 1e6:.1f} s apart; set the clocks" in of(outputs, Close)[0].reason


def test_session_when_what_is_missing_never_comes_gives_up_after_three_times():
    session, now, asked, closed = on(), NOW, 0, []
    asked += kinds(session.received(message("8", 9), now)).count("2")
    number = 10
    while not closed:
        now += 31_000_000
        outputs = session.tick(now) + session.received(message("8", number, now=now), now)
        number += 1
        asked += kinds(outputs).count("2")
        closed = of(outputs, Close)
    assert asked == 3
    assert "did not come" in closed[0].reason


class Venue:
    """The other side: keeps what it sent and sends it again when asked; administrative messages it fills."""

    def __init__(self) -> None:
        self.log: list[bytes | None] = []  # content, or None for what is administrative
        self.next_in = 1

    def numbered(self, content: bytes | None, kind: str, *fields: tuple[int, Any]) -> Message:
        self.log.append(content)
        return message(kind, len(self.log), *fields)

    def resend(self, first: int) -> list[Message]:
        found = []
        for number in range(first, len(self.log) + 1):
            content = self.log[number - 1]
            if content is None:
                found.append(message("4", number, (123, "Y"), (36, number + 1), repeat=True))
            else:
                found.append(message("8", number, (58, content), repeat=True))
        return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["say", "say", "say", "beat", "garble", "garble", "break", "test"]), max_size=60))
def test_session_when_the_line_garbles_and_breaks_delivers_everything_once_and_in_order(script):
    venue, delivered, taken, next_out, said = Venue(), [], 1, 1, 0
    session = Session(WHO)
    wire: deque[Message] = deque()

    def act(outputs: list[Output]) -> None:
        nonlocal taken, next_out
        next_out = session.next_out
        for one in outputs:
            if isinstance(one, Deliver):
                delivered.append(one.message.text(58))
                taken = one.sequence + 1
            elif isinstance(one, Passed):
                taken = one.sequence + 1
            elif isinstance(one, Send):
                for answer in Decoder().feed(one.data):
                    assert isinstance(answer, Message)
                    if answer.kind == b"2":
                        wire.extend(venue.resend(int(answer.text(7))))
                    elif answer.kind == b"A":
                        wire.append(venue.numbered(None, "A"))
            else:
                assert not isinstance(one, Close), one

    def pump() -> None:
        while wire:
            act(session.received(wire.popleft(), NOW))

    def connect() -> None:
        nonlocal session
        wire.clear()
        session = Session(WHO, next_in=taken, next_out=next_out)
        act(session.connected(NOW))
        pump()

    connect()
    for step in script:
        if step in ("say", "garble"):
            said += 1
            one = venue.numbered(b"%d" % said, "8", (58, str(said)))
            if step == "say":
                wire.append(one)
        elif step == "break":
            connect()
        else:
            wire.append(venue.numbered(None, "0" if step == "beat" else "1", *([(112, "t")] if step == "test" else [])))
        pump()
    wire.append(venue.numbered(None, "0"))
    pump()
    assert session.phase is Phase.ON
    assert delivered == [str(number) for number in range(1, said + 1)]
    assert taken == len(venue.log) + 1


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from("012345A8VWXYj"), st.integers(0, 20), st.booleans(), st.integers(0, 30)), max_size=20
    )
)
def test_session_when_the_peer_says_anything_never_fails_and_never_goes_back(script):
    session = on(next_in=5)
    for kind, sequence, repeat, number in script:
        before = session.next_in
        fields = [(36, number), (7, number), (16, 0), (123, "Y" if number % 2 else "N"), (141, "N")]
        session.received(message(kind, sequence, *fields, repeat=repeat), NOW)
        session.tick(NOW)
        assert session.next_in >= before
