"""A recorded OPC UA server played to a client that asks by its own clock, too early, once more, or something else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from connectors.capture.frames import Direction, Frame
from connectors.capture.opcua.messages import Joiner, Splitter, decoded
from connectors.capture.opcua.stage import perform
from connectors.opcua.values import standard

MESSAGE = ua.MessageType.SecureMessage


def read(number: int) -> Any:
    wanted = [ua.ReadValueId(standard(number), ua.AttributeIds.Value)]
    return ua.ReadRequest(Parameters=ua.ReadParameters(NodesToRead=wanted))


def answer(value: float) -> Any:
    return ua.ReadResponse(Results=[ua.DataValue(ua.Variant(value))])


def published(number: int) -> Any:
    item = ua.MonitoredItemNotification(1, ua.DataValue(ua.Variant(number / 3)))
    data = ua.NotificationMessage(number, NotificationData=[ua.DataChangeNotification([item])])
    return ua.PublishResponse(Parameters=ua.PublishResult(5, NotificationMessage=data))


SUBSCRIBED = ua.CreateSubscriptionResponse(Parameters=ua.CreateSubscriptionResult(5, 10.0, 30, 5))
THEN = [
    (ua.CreateSubscriptionRequest(), SUBSCRIBED),
    (ua.PublishRequest(), published(1)),
    (read(2255), answer(1.0)),
    (read(2256), answer(2.0)),
    (ua.PublishRequest(), published(2)),
]


def recording(*exchanges: tuple[Any, Any]) -> list[Frame]:
    ours, theirs = Joiner(), Joiner()
    frames = [Frame(at=0, link=1, target="opcua d h:1", direction=Direction.OPENED)]
    for number, said in enumerate(exchanges, 1):
        for direction, joiner, one in zip((Direction.SENT, Direction.RECEIVED), (ours, theirs), said, strict=True):
            data = joiner.join(MESSAGE, number, struct_to_binary(one))
            frames.append(Frame(at=number * 20_000, link=1, target="opcua d h:1", direction=direction, data=data))
    return frames


class Client:
    """Asks without waiting, and hears what comes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._joiner, self._splitter = Joiner(), Splitter()
        self._heard: list[tuple[int, bytes]] = []
        self._number = 0
        connection.settimeout(10)
        connection.sendall(uatcp_to_binary(ua.MessageType.Hello, ua.Hello()))

    def ask(self, request: Any) -> int:
        self._number += 1
        request.RequestHeader.RequestHandle = 1000 + self._number
        self._connection.sendall(self._joiner.join(MESSAGE, self._number, struct_to_binary(request)))
        return self._number

    def hear(self, number: int, kind: str) -> Any:
        """The next response, which must be to this request."""
        while not self._heard:
            data = self._connection.recv(65_536)
            assert data, "the server has hung up"
            self._heard += [(one.number, one.body) for one in self._splitter.feed(data) if one.kind == MESSAGE]
        came, body = self._heard.pop(0)
        response = decoded(kind, body)
        assert (came, response.ResponseHeader.RequestHandle) == (number, 1000 + number)
        return response

    def value(self, number: int) -> float:
        return self.hear(number, "ReadResponse").Results[0].Value.Value

    def message(self, number: int) -> tuple[int, int]:
        """The number of the message, and how much data it has."""
        told = self.hear(number, "PublishResponse").Parameters.NotificationMessage
        return told.SequenceNumber, len(told.NotificationData)


@contextmanager
def stage(*exchanges: tuple[Any, Any], paced: bool = False) -> Iterator[tuple[Client, Future[str | None]]]:
    there, here = socket.socketpair()
    ended = threading.Event()
    with here, there, ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(perform, there, recording(*exchanges), ended, paced=paced)
        try:
            yield Client(here), outcome
        finally:
            ended.set()


def test_stage_when_requests_come_early_again_or_by_the_clock_answers_in_the_recorded_order():
    with stage(*THEN) as (client, outcome):
        late, early = client.ask(read(2256)), client.ask(ua.PublishRequest())
        client.hear(client.ask(ua.CreateSubscriptionRequest()), "CreateSubscriptionResponse")
        assert client.message(early) == (1, 1)
        # It waits for a request that comes by the client's clock, and keeps it alive for so long.
        waiting = client.ask(ua.PublishRequest())
        assert client.message(waiting) == (2, 0)
        running = client.ask(read(ObjectIds.Server_ServerStatus_State))
        assert client.value(running) == 0
        assert client.value(client.ask(read(2255))) == 1.0
        assert client.value(late) == 2.0
        assert client.value(client.ask(read(2255))) == 1.0, "once more by the clock"
        assert client.message(client.ask(ua.PublishRequest())) == (2, 1)
        client.ask(ua.PublishRequest())
        assert outcome.result(10) is None


def test_stage_when_paced_keeps_the_recorded_pauses():
    began = time.monotonic()
    with stage(*THEN, paced=True) as (client, outcome):
        for request in (ua.CreateSubscriptionRequest(), read(2255), read(2256), *(ua.PublishRequest() for _ in "abc")):
            client.ask(request)
        assert outcome.result(10) is None
    assert time.monotonic() - began >= 0.1


def test_stage_when_the_client_leaves_early_says_what_was_to_come():
    with stage(*THEN) as (client, outcome):
        client.hear(client.ask(ua.CreateSubscriptionRequest()), "CreateSubscriptionResponse")
        client.ask(ua.PublishRequest())
        client.hear(2, "PublishResponse")
        client._connection.shutdown(socket.SHUT_WR)
        assert outcome.result(10) == "the connector left; 3 of 5 responses were still to come, the next to Read"


def test_stage_when_another_service_is_asked_or_the_recording_is_none_says_so():
    with stage(*THEN[2:3]) as (client, outcome):
        client.ask(ua.CallRequest())
        assert outcome.result(10) == "Read was recorded, and came Call"
    there, here = socket.socketpair()
    with here, there:
        junk = Frame(at=0, link=1, target="t", direction=Direction.RECEIVED, data=b"HTTP/1.1 200 OK\r\n")
        told = perform(there, [junk], threading.Event(), paced=False)
    assert told == "this is no recording of OPC UA: no message of OPC UA begins with b'HTT'"
