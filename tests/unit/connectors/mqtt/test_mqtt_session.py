"""One connection, against a broker that says exactly what the test wants (MQTT 3.1.1 on the wire)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.mqtt import session as module
from connectors.mqtt.broker import Protocol
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.connector import MqttConnector
from connectors.mqtt.session import Lost, Pending, Session, Subscribe
from connectors.publisher import Publisher
from streams.engine.cluster import Cluster

CONNACK = bytes.fromhex("20020000")
CONNACK_5 = bytes.fromhex("2003000000")
PUBACK = 0x40


def publish(mid: int, topic: bytes = b"plain/b1/flow", payload: bytes = b"1.5") -> bytes:
    """PUBLISH, QoS 1."""
    body = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + payload
    return bytes([0x32, len(body)]) + body


class ScriptedBroker:
    """Answers CONNECT and SUBSCRIBE unless told what to say instead."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._peer: socket.socket | None = None
        self.connected = threading.Event()
        self._goodbye = threading.Event()

    def serve(self, answer: bytes = CONNACK, code: int = 1) -> None:
        def body() -> None:
            with contextlib.suppress(OSError):
                self._peer, _ = self._listener.accept()
                self._peer.settimeout(10)
                self.packet()
                self._peer.sendall(answer)
                if answer in (CONNACK, CONNACK_5):
                    _, subscribe = self.packet()
                    properties = b"\0" if answer == CONNACK_5 else b""
                    body = subscribe[:2] + properties + bytes([code])
                    self._peer.sendall(bytes([0x90, len(body)]) + body)
                    self.connected.set()
                self._goodbye.wait(10)
                self._peer.shutdown(socket.SHUT_WR)

        threading.Thread(target=body, daemon=True).start()

    def say(self, raw: bytes) -> None:
        assert self.connected.wait(10)
        assert self._peer
        self._peer.sendall(raw)

    def packet(self) -> tuple[int, bytes]:
        """First byte and body of the next packet; bodies here are short."""
        assert self._peer
        head = self._peer.recv(2)
        body = b""
        while len(body) < head[1]:
            body += self._peer.recv(head[1] - len(body))
        return head[0], body

    def hang_up(self) -> None:
        """Say no more."""
        self._goodbye.set()

    def close(self) -> None:
        self._listener.close()
        if self._peer:
            self._peer.close()


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    broker = ScriptedBroker()
    yield broker
    broker.close()


@pytest.fixture
def config(broker: ScriptedBroker) -> MqttConfig:
    return settings_for(broker)


def settings_for(broker: ScriptedBroker) -> MqttConfig:
    return MqttConfig.model_validate(
        {
            "host": "127.0.0.1",
            "port": broker.port,
            "protocol": "3.1.1",
            "devices": [{"name": "b1"}],
            "subscriptions": [
                {"filter": "plain/{device}/{point}", "payload": "number", "points": [{"name": "flow", "unit": "m3/h"}]}
            ],
        }
    )


def open_session(config: MqttConfig, take: Callable[[Session, paho.MQTTMessage], None]) -> Session:
    subscriptions = [Subscribe(one.template.filter) for one in config.subscriptions]
    return Session(config, subscriptions, take, lambda _: None, expiry=config.session_expiry)


@pytest.fixture
def taken() -> list[Pending | None]:
    return []


@pytest.fixture
def session(config: MqttConfig, taken: list[Pending | None]) -> Iterator[Session]:
    def take(session: Session, message: paho.MQTTMessage) -> None:
        taken.append(session.expect(message, 1))

    session = open_session(config, take)
    yield session
    session.close()


def rounds(session: Session, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        session.round(0.05)


def test_session_when_messages_are_settled_in_another_order_acknowledges_in_the_order_of_arrival(
    session: Session, broker: ScriptedBroker, taken: list[Pending | None]
) -> None:
    broker.serve()
    session.connect(threading.Event())
    broker.say(publish(7) + publish(3) + publish(5))
    rounds(session, lambda: len(taken) == 3)
    first, second, third = (pending for pending in taken if pending)
    third.settle(None)
    second.settle(None)
    session.round(0.0)
    assert session.unacknowledged == 3, "the first is not settled, so none is acknowledged"
    first.settle(None)
    rounds(session, lambda: session.unacknowledged == 0)
    assert [broker.packet() for _ in range(3)] == [(PUBACK, mid.to_bytes(2, "big")) for mid in (7, 3, 5)]


def test_session_when_settled_from_another_thread_wakes_at_once(
    session: Session, broker: ScriptedBroker, taken: list[Pending | None]
) -> None:
    broker.serve()
    session.connect(threading.Event())
    broker.say(publish(1))
    rounds(session, lambda: len(taken) == 1)
    pending = taken[0]
    assert pending
    settling = threading.Timer(0.05, pending.settle, [None])
    settling.start()
    session.round(60.0)  # the test's own timeout is the proof that it did not wait so long
    session.round(0.0)
    assert broker.packet() == (PUBACK, b"\0\1")


def test_session_when_a_record_is_refused_ends_without_acknowledging(
    session: Session, broker: ScriptedBroker, taken: list[Pending | None]
) -> None:
    broker.serve()
    session.connect(threading.Event())
    broker.say(publish(1) + publish(2))
    rounds(session, lambda: len(taken) == 2)
    for pending, error in zip(taken, ("no such topic", None), strict=True):
        assert pending
        pending.settle(error)
    with pytest.raises(Lost, match="send it again: no such topic"):
        session.round(1.0)
    assert session.unacknowledged == 2


def test_session_when_closed_a_late_settlement_changes_nothing(
    session: Session, broker: ScriptedBroker, taken: list[Pending | None]
) -> None:
    broker.serve()
    session.connect(threading.Event())
    broker.say(publish(1))
    rounds(session, lambda: len(taken) == 1)
    session.close()
    pending = taken[0]
    assert pending
    pending.settle(None)
    assert session.unacknowledged == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (bytes.fromhex("20020005"), "refused the connection: Not authorized"),
        (b"\x20\x01\x00", "ended: Protocol error"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is it an MQTT broker"),
        (b"", "did not answer in time"),
    ],
)
def test_session_when_the_server_does_not_let_it_in_says_why(
    session: Session, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str
) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)
    broker.serve(answer)
    with pytest.raises(Lost, match=words):
        session.connect(threading.Event())


def test_session_when_stopped_while_connecting_returns(session: Session, broker: ScriptedBroker) -> None:
    broker.serve(b"")
    stop = threading.Event()
    stop.set()
    session.connect(stop)
    assert session.unacknowledged == 0


def test_session_when_a_subscription_is_refused_stays_and_says_so(
    session: Session, broker: ScriptedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.serve(code=0x80)
    session.connect(threading.Event())
    assert "the broker refused a subscription" in capsys.readouterr().out


# Kinds and heads of real packets, too, so that what follows them is looked at.
kinds = st.sampled_from([0x30, 0x32, 0x34, 0x20, 0x90, 0xE0, 0xF0]) | st.integers(0, 255)
heads = st.sampled_from([b"", b"\0\3a/b", b"\0\3a/b\0\1", b"\0\3a/b\5\x26", b"\0\3a/b\x0a\x26\0\2", b"\0\0\0"])
packets = st.lists(st.tuples(kinds, heads, st.binary(max_size=20)), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(packets, st.booleans(), st.sampled_from(Protocol))
def test_session_when_the_broker_sends_nonsense_ends_the_connection_and_nothing_else(
    nonsense: list[tuple[int, bytes, bytes]], is_live: bool, protocol: Protocol
) -> None:
    broker = ScriptedBroker()
    config = settings_for(broker).model_copy(update={"protocol": protocol})
    session = open_session(config, lambda session, message: session.expect(message, 1) and None)
    raw = b"".join(bytes([first, len(head + body)]) + head + body for first, head, body in nonsense)
    try:
        if is_live:
            broker.serve(CONNACK if protocol is Protocol.V311 else CONNACK_5)
            session.connect(threading.Event())
            broker.say(raw)
        else:
            broker.serve(raw)
        broker.hang_up()
        with pytest.raises(Lost):  # noqa: PT012 - nonsense may look like an answer, so that only the second one fails
            if not is_live:
                session.connect(threading.Event())
            rounds(session, lambda: False)
    finally:
        session.close()
        broker.close()


def test_connector_when_a_topic_is_not_utf8_puts_it_aside_and_goes_on(
    config: MqttConfig, broker: ScriptedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.serve()
    publisher = Publisher(Cluster("127.0.0.1:1"), "test-topic-bytes")
    stop = threading.Event()
    thread = threading.Thread(target=MqttConnector(config, publisher).run, args=(stop,))
    thread.start()
    try:
        broker.say(publish(1, topic=b"plain/\xff\xfe/flow") + publish(2))
        deadline = time.monotonic() + 10
        while publisher.outstanding < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        stop.set()
        publisher.close(0.0)
        thread.join(10)
    assert not thread.is_alive()
    told = capsys.readouterr().out
    assert "records=1" in told
    assert "mqtt:(not UTF-8)" in told


PLAIN, PROPERTIES = Protocol.V311, Protocol.V5
HOSTILE = {
    "a packet of 268435455 bytes; max_packet_bytes is 16777216": (PLAIN, "30 ff ff ff 7f 00 00"),
    "with QoS 2, though it was asked for QoS 1": (PLAIN, "34 08 0003 612f62 0001 31"),
    "connection to .* ended": (PLAIN, "30 ff ff ff ff 7f"),
    "ended: Protocol error": (PROPERTIES, "30 0e 0003 612f62 07 26 0001 ff 0001 61 31"),
}


@pytest.mark.parametrize("words", HOSTILE)
def test_session_when_the_broker_is_hostile_cuts_it_off_with_the_reason(broker: ScriptedBroker, words: str) -> None:
    protocol, raw = HOSTILE[words]
    config = settings_for(broker).model_copy(update={"protocol": protocol})
    session = open_session(config, lambda session, message: session.expect(message, 1) and None)
    broker.serve(CONNACK if protocol is PLAIN else CONNACK_5)
    try:
        session.connect(threading.Event())
        broker.say(bytes.fromhex(raw))
        with pytest.raises(Lost, match=words):
            rounds(session, lambda: False)
    finally:
        session.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (bytes.fromhex("30 09 0000 03 23 0008") + b"1.5", "topic alias 8 without"),
        (bytes.fromhex("30 0c 0003") + b"a/b" + bytes.fromhex("03 23 03e9") + b"1.5", "alias 1001, though"),
    ],
)
def test_session_when_the_broker_sends_topic_aliases_puts_the_topics_in_their_place(wrong: bytes, words: str) -> None:
    topics: list[str] = []
    broker = ScriptedBroker()
    config = settings_for(broker).model_copy(update={"protocol": Protocol.V5})
    session = open_session(config, lambda _session, message: topics.append(message.topic))
    named = bytes.fromhex("30 0c 0003") + b"a/b" + bytes.fromhex("03 23 0007") + b"1.5"
    numbered = bytes.fromhex("30 09 0000 03 23 0007") + b"1.5"
    broker.serve(CONNACK_5)
    try:
        session.connect(threading.Event())
        broker.say(named + numbered)
        rounds(session, lambda: len(topics) == 2)
        broker.say(wrong)
        with pytest.raises(Lost, match=words):
            rounds(session, lambda: False)
    finally:
        session.close()
        broker.close()
    assert topics == ["a/b", "a/b"]
