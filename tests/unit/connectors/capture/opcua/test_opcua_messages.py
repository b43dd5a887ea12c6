"""OPC UA recordings: cut into messages whatever they hold, and compared with what a connector asks."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary
from hypothesis import given
from hypothesis import strategies as st

from connectors.capture.frames import Direction, Frame
from connectors.capture.opcua import messages
from connectors.capture.opcua.messages import Joiner, Malformed, Message, Splitter, answering, decoded, request
from connectors.capture.opcua.script import difference, is_probe, script
from connectors.opcua.values import standard

MESSAGE = ua.MessageType.SecureMessage
sizes = st.lists(st.one_of(st.integers(0, 300), st.sampled_from([65_511, 65_512, 200_000])), min_size=1, max_size=4)


def stream(*bodies: bytes) -> bytes:
    joiner = Joiner()
    joiner.channel, joiner.token = 7, 3
    return b"".join(joiner.join(MESSAGE, number, body) for number, body in enumerate(bodies, 1))


def asked(record, handle: int = 1) -> bytes:
    record.RequestHeader.RequestHandle = handle
    return struct_to_binary(record)


def watch(identifier: str, **more) -> bytes:
    item = ua.MonitoredItemCreateRequest(ItemToMonitor=ua.ReadValueId(NodeId=ua.NodeId(identifier, 2)))
    item.RequestedParameters = ua.MonitoringParameters(ClientHandle=1, **more)
    return asked(ua.CreateMonitoredItemsRequest(Parameters=ua.CreateMonitoredItemsParameters(5, ItemsToCreate=[item])))


def read(number: int) -> bytes:
    wanted = ua.ReadParameters(NodesToRead=[ua.ReadValueId(standard(number), ua.AttributeIds.Value)])
    return asked(ua.ReadRequest(Parameters=wanted))


def frame(direction: Direction, data: bytes, at: int = 0) -> Frame:
    return Frame(at=at, link=1, target="opcua d h:1", direction=direction, data=data)


@given(sizes, st.lists(st.integers(0, 600_000), max_size=6))
def test_splitter_when_bytes_come_in_any_pieces_gives_the_messages_that_were_joined(lengths, cuts):
    bodies = [bytes([n]) * (length + 1) for n, length in enumerate(lengths)]
    hello = uatcp_to_binary(ua.MessageType.Hello, ua.Hello(EndpointUrl="opc.tcp://h"))
    said = hello + stream(*bodies)
    places = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    splitter = Splitter()
    found = [one for begin, end in pairwise(places) for one in splitter.feed(said[begin:end])]
    assert found[0].kind == ua.MessageType.Hello
    assert found[1:] == [Message(MESSAGE, number, body) for number, body in enumerate(bodies, 1)]


@given(st.binary(max_size=200), st.integers(0, 3000), st.binary(min_size=1, max_size=40))
def test_splitter_when_the_stream_is_hostile_refuses_it_or_waits_and_holds_no_more_than_a_chunk(junk, place, put):
    good = stream(read(2255), watch("A"))
    splitter = Splitter()
    for data in (junk, good[: place % len(good)] + put + good[place % len(good) :]):
        with suppress(Malformed):
            for one in (splitter if data is junk else Splitter()).feed(data):
                request(one)
    assert len(splitter._came) <= messages.LARGEST_CHUNK


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "begins with b'GET'"),
        (struct.pack("<3scI", b"MSG", b"F", 2**32 - 1), "a chunk of 4294967295 bytes"),
        (struct.pack("<3scI", b"MSG", b"F", 7), "a chunk of 7 bytes"),
        (struct.pack("<3scI", b"MSG", b"F", 12) + bytes(4), "cannot be read"),
        (stream(b"x").replace(b"MSGF", b"MSGX"), "marked b'X'"),
        (stream(b"x").replace(b"MSGF", b"MSGC") + stream(b"x", b"y")[25:], "request 2 within the message of request 1"),
    ],
)
def test_splitter_when_a_size_or_a_mark_is_wrong_says_which(data, why):
    with pytest.raises(Malformed, match=why):
        Splitter().feed(data)


@pytest.mark.parametrize("part", [stream(bytes(60_000)), stream(b"x")[:-1].replace(b"\x19", b"\x18", 1) * 2500])
def test_splitter_when_a_message_never_ends_gives_it_up(monkeypatch, part):
    monkeypatch.setattr(messages, "LARGEST_MESSAGE", 100_000)
    endless = part.replace(b"MSGF", b"MSGC")
    splitter = Splitter()
    assert splitter.feed(endless) == []
    with pytest.raises(Malformed, match="more than 100000 bytes"):
        splitter.feed(endless)


def test_splitter_when_a_message_is_broken_off_takes_the_next():
    splitter = Splitter()
    first = stream(b"begun").replace(b"MSGF", b"MSGC") + stream(b"why").replace(b"MSGF", b"MSGA")
    assert splitter.feed(first + stream(b"next")) == [Message(MESSAGE, 1, b"next")]


def test_answer_when_it_is_for_another_request_differs_in_its_handle_only():
    value = ua.DataValue(ua.Variant(float("nan")), ua.StatusCode(ua.UInt32(0x40920000)))
    response = ua.ReadResponse(ResponseHeader=ua.ResponseHeader(RequestHandle=1), Results=[value])
    then = struct_to_binary(response)
    now = answering(then, 70_000)
    assert decoded("ReadResponse", now).ResponseHeader.RequestHandle == 70_000
    assert answering(now, 1) == then
    with pytest.raises(Malformed):
        answering(then[:9], 1)


def test_request_when_only_its_header_is_new_means_the_same():
    first, again, other = (request(Message(MESSAGE, 1, body)) for body in (read(2255), read(2255), read(2256)))
    assert first.body != again.body
    assert first.meant == again.meant != other.meant
    assert is_probe(request(Message(MESSAGE, 1, read(ObjectIds.Server_ServerStatus_State))))
    assert not is_probe(other)


def test_difference_when_a_connector_asks_otherwise_names_the_place():
    then, now, finer = (
        request(Message(MESSAGE, 1, body)) for body in (watch("A"), watch("B"), watch("A", SamplingInterval=5))
    )
    place = r"CreateMonitoredItems.ItemsToCreate\[0\].ItemToMonitor.NodeId: .*'A'.* was recorded, and came .*'B'"
    assert re.match(place, difference(then, now)), difference(then, now)
    assert "RequestedParameters.SamplingInterval: 0" in difference(then, finer)


def test_script_when_responses_overtake_each_other_keeps_their_order_and_finds_their_requests():
    requests, answers = Joiner(), Joiner()
    probe, wanted, more = read(ObjectIds.Server_ServerStatus_State), read(2255), watch("A")
    said = b"".join(requests.join(MESSAGE, n, body) for n, body in enumerate((probe, wanted, more, read(2256)), 1))
    heard = [frame(Direction.RECEIVED, answers.join(MESSAGE, n, b"%d" % n), at=n) for n in (3, 1, 2)]
    leave = frame(Direction.SENT, requests.join(MESSAGE, 9, asked(ua.CloseSessionRequest())))
    found = script([frame(Direction.OPENED, b""), frame(Direction.SENT, said), *heard, leave, heard[0]])
    assert [(one.at, one.then.service, one.answer) for one in found.steps] == [
        (3, "CreateMonitoredItems", b"3"),
        (2, "Read", b"2"),
    ]
    assert [one.meant for one in found.unanswered] == [request(Message(MESSAGE, 1, read(2256))).meant]


@given(st.integers(0, 400), st.binary(max_size=30))
def test_script_when_a_recording_is_cut_or_damaged_is_read_as_far_as_it_goes_or_refused(length, junk):
    said = stream(read(2255), watch("A"))
    recorded = [frame(Direction.SENT, said[:length] + junk), frame(Direction.RECEIVED, junk + said[length:])]
    with suppress(Malformed):
        found = script(recorded)
        assert len(found.steps) + len(found.unanswered) <= 3
