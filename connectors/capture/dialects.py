"""What connectors say over the wire, cut into messages and compared without what is new each time. Pure.

A recording is played to a connector that must say the same as it did then. Most of what it says follows from what it
is told; keys, masks and our own times do not, and pings come when a clock says so. Each protocol has one function here
that leaves them out. What the other side said is played as it was, but for one answer that must fit a new key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

_REQUEST = b"GET "
_UNTIL_HEAD = b"\r\n\r\n"
_NEW_HEADERS = (b"host:", b"origin:", b"user-agent:", b"sec-websocket-key:")
_KEY = re.compile(rb"(?im)^sec-websocket-key: *(\S+)")
_ACCEPT = re.compile(rb"(?im)^(sec-websocket-accept: *)\S+")
_HOST = re.compile(rb"(?im)^(host: *|origin: *https?://)127\.0\.0\.1:\d+")
_ACCEPTING = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_CLOSE, _PING, _PONG = 8, 9, 10
_FIX_END = re.compile(rb"\x0110=\d{3}\x01")
_FIX_NEW = (b"9=", b"10=", b"34=", b"52=", b"122=")
_FIX_TIMED = (b"35=0", b"35=1")
_STATE_TIME = re.compile(rb'("timestamp":)\d+')
_PUBLISH = 3


@dataclass(frozen=True)
class Dialect:
    """``whole``: length of the first message, 0 while it is not whole. ``meant``: what of a message is compared; None:
    nothing, for it comes by the clock. ``answered``: bytes of the other side, as they fit the first message said.
    ``passed``: what we say, as it must be for the other side. ``headed``: the other side's bytes begin with a head."""

    name: str
    whole: Callable[[bytes], int]
    meant: Callable[[bytes], bytes | None]
    answered: Callable[[bytes, bytes], bytes] = lambda data, _first: data
    passed: Callable[[bytes, str], bytes] = lambda data, _host: data
    headed: bool = False

    def messages(self, said: bytes) -> Iterator[bytes]:
        """The whole messages in ``said``."""
        while length := self.whole(said):
            yield said[:length]
            said = said[length:]


def _web_whole(said: bytes) -> int:
    """An HTTP request, or a WebSocket frame (RFC 6455, section 5.2)."""
    if said.startswith(_REQUEST):
        return said.find(_UNTIL_HEAD) + len(_UNTIL_HEAD) if _UNTIL_HEAD in said else 0
    try:
        head, length = _frame(said)
    except IndexError:
        return 0
    return head + length if len(said) >= head + length else 0


def _frame(said: bytes) -> tuple[int, int]:
    """Length of a frame's head, its mask included, and of its payload."""
    masked, length, head = said[1] >> 7, said[1] & 127, 2
    if length >= 126:
        more = 2 if length == 126 else 8
        _ = said[head + more - 1]
        length, head = int.from_bytes(said[head : head + more], "big"), head + more
    return head + 4 * masked, length


def _web_meant(said: bytes) -> bytes | None:
    """Without key, host and program; frames without their mask; pings, pongs and the goodbye not at all."""
    if said.startswith(_REQUEST):
        lines = said.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.lower().startswith(_NEW_HEADERS))
    if said[0] & 15 in (_CLOSE, _PING, _PONG):
        return None
    head, length = _frame(said)
    payload = said[head:]
    if said[1] >> 7:
        mask = said[head - 4 : head] * (length // 4 + 1)
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(mask[:length], "big")).to_bytes(length, "big")
    return said[:1] + payload


def _web_answered(data: bytes, first: bytes) -> bytes:
    """The answer to a WebSocket's handshake proves that it has read the key: made anew from the new one."""
    key = _KEY.search(first)
    if key is None or not data.startswith(b"HTTP/1.1 101"):
        return data
    accept = base64.b64encode(hashlib.sha1(key[1] + _ACCEPTING, usedforsecurity=False).digest())
    head, end, rest = data.partition(_UNTIL_HEAD)
    return _ACCEPT.sub(rb"\g<1>" + accept, head) + end + rest


def _web_passed(data: bytes, host: str) -> bytes:
    """The venue must be called by its name, not by the recorder's address."""
    if not data.startswith(_REQUEST):
        return data
    head, end, rest = data.partition(_UNTIL_HEAD)
    return _HOST.sub(rb"\g<1>" + host.encode(), head) + end + rest


def _fix_whole(said: bytes) -> int:
    found = _FIX_END.search(said)
    return found.end() if found else 0


def _fix_meant(said: bytes) -> bytes | None:
    """Without SendingTime (52, 122), what follows from it (9, 10), and MsgSeqNum (34), since heartbeats and test
    requests, which come by the clock, are counted there."""
    fields = said.split(b"\x01")
    if any(field in _FIX_TIMED for field in fields[:4]):
        return None
    return b"\x01".join(field for field in fields if not field.startswith(_FIX_NEW))


def _mqtt_whole(said: bytes) -> int:
    """A control packet (MQTT 5.0, section 2.1): its kind, the length of the rest in seven bits a byte, the rest."""
    length = 0
    for place, byte in enumerate(said[1:5]):
        length |= (byte & 127) << (7 * place)
        if byte < 128:
            whole = 2 + place + length
            return whole if len(said) >= whole else 0
    return 0


def _sparkplug_meant(said: bytes) -> bytes:
    """Without the times in our STATE (in the will, too) and in our commands."""
    if said[0] >> 4 == _PUBLISH and b"/NCMD/" in said[:1000]:
        return _without_times(said)
    return _STATE_TIME.sub(rb"\g<1>0", said)


def _without_times(command: bytes) -> bytes:
    from connectors.sparkplug.wire import Payload

    request: Any = Payload()
    # Ours are sent with QoS 0: behind the topic comes the payload, with MQTT 5 after an empty list of properties.
    head = 2 + (command[1] >= 128)
    begin = head + 2 + int.from_bytes(command[head : head + 2], "big")
    begin += command[begin] == 0
    request.ParseFromString(command[begin:])
    request.ClearField("timestamp")
    for metric in request.metrics:
        metric.ClearField("timestamp")
    plain: bytes = request.SerializeToString(deterministic=True)
    return command[head:begin] + plain


def _web_sparkplug_meant(said: bytes) -> bytes | None:
    """As both mean it: a frame carries one packet."""
    meant = _web_meant(said)
    return meant if meant is None or said.startswith(_REQUEST) else meant[:1] + _sparkplug_meant(meant[1:])


WEB = Dialect("web", _web_whole, _web_meant, _web_answered, _web_passed, headed=True)
FIX = Dialect("fix", _fix_whole, _fix_meant)
SPARKPLUG = Dialect("sparkplug", _mqtt_whole, _sparkplug_meant)
MQTT_WEB = replace(WEB, name="mqtt-web")
SPARKPLUG_WEB = replace(WEB, name="sparkplug-web", meant=_web_sparkplug_meant)
