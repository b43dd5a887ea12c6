"""gridtape connect capture of Sparkplug, WebSocket and FIX: recorded beside the real counterpart, played without it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from connectors.capture.dialects import FIX
from connectors.capture.frames import Direction, Frame, read
from connectors.capture.player import Player
from connectors.market.fix.codec import encode, time_text
from connectors.sparkplug.address import Node, Verb
from connectors.sparkplug.simulator import EdgeNode, double
from streams.commands import connect
from tests.authority import Authority
from tests.conftest import wait_until
from tests.integration.connectors.capture.diary import Diary, assert_same, captured, played
from tests.integration.connectors.market.fixpeer import Peer

VENUE = """
[[websocket]]
name = "venue"
url = "wss://127.0.0.1:{port}/feed"
tls = {{ ca_file = "{authority}" }}
venue = "ICE"
subscribe = ['{{"op": "subscribe", "symbols": {{symbols}}}}']
time_format = "us"
instruments = [{{ instrument = "NG" }}, {{ instrument = "BRN" }}]
[websocket.snapshot]
url = "http://127.0.0.1:{http}/book/{{symbol}}"
answer = {{ kind = "snapshot", when = {{}}, bids = "bids", asks = "asks", sequence = "seq", time = "t" }}
[[websocket.messages]]
kind = "update"
when = {{}}
symbol = "s"
time = "t"
sequence = "seq"
bids = "b"
asks = "a"
"""
SESSION = """
[[fix]]
name = "session"
host = "127.0.0.1"
port = {port}
sender = "HOUSE"
target = "VENUE"
store = "numbers.db"
venue = "CME"
heartbeat = 1
clock_tolerance = 5
instruments = [{{ instrument = "HENRY-HUB", symbol = "NG" }}]
"""
PLANT = """
[sparkplug]
host = "{host}"
port = {port}
client_id = "capture-{group}"
host_id = "capture-{group}"
reorder_timeout = 0.1
rebirth_interval = 0.2
devices = [{{ name = "node", group = "{group}", node = "n", points = [{{ metric = "Voltage", unit = "V" }}] }}]
"""


@contextmanager
def exchange(tls: ssl.SSLContext) -> Iterator[tuple[int, int]]:
    """Ports of a venue that tells changes by WebSocket within TLS and books by HTTP. It counts on, whoever listens."""
    best = {"NG": 100, "BRN": 100}
    ended = threading.Event()

    class Books(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Host"].endswith(str(self.server.server_address[1])), "not called by its own name"
            number = best[self.path.rpartition("/")[2]]
            book = {
                "bids": [[number / 4, 1]],
                "asks": [[number / 4 + 50, 1]],
                "seq": number,
                "t": time.time_ns() // 1000,
            }
            body = json.dumps(book).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    def feed(connection: ServerConnection) -> None:
        symbols = json.loads(connection.recv(10))["symbols"]
        with suppress(ConnectionClosed):
            while not ended.wait(0.01):
                for symbol in symbols:
                    best[symbol] += 1
                    told = {"s": symbol, "seq": best[symbol], "b": [[best[symbol] / 4, 1]], "a": []}
                    connection.send(json.dumps(told | {"t": time.time_ns() // 1000}))

    http, server = ThreadingHTTPServer(("127.0.0.1", 0), Books), serve(feed, "127.0.0.1", 0, ssl=tls)
    threads = [threading.Thread(target=one.serve_forever) for one in (http, server)]
    for thread in threads:
        thread.start()
    yield server.socket.getsockname()[1], http.server_address[1]
    ended.set()
    http.shutdown()
    server.shutdown()
    for thread in threads:
        thread.join(5)
    http.server_close()


def test_websocket_when_recorded_within_tls_plays_back_the_same_prices_with_their_times(tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("venue"))
    with exchange(context) as (port, http):
        text = VENUE.format(port=port, http=http, authority=authority.file)
        then = captured(
            tmp_path, text, monkeypatch, lambda found: all(found.count["ICE", n] > 9 for n in ("NG", "BRN"))
        )
    assert f"Host: 127.0.0.1:{port}".encode() in read(tmp_path / "tape.jsonl")[1][1].data, "it is called by its name"
    now = played(tmp_path / "tape.jsonl", tmp_path / "c.toml")
    # Which changes came before the book that was asked for, and which behind it, a hair may decide.
    for name in ("NG", "BRN"):
        first, second = ([one for one in each.history if one[0] == name] for each in (then, now))
        since, until = max(first[0][-1], second[0][-1]), min(first[-1][-1], second[-1][-1])
        prices = [[(*one[:3], one[-1]) for one in each if since < one[-1] <= until] for each in (first, second)]
        assert len(prices[0]) >= 5
        assert prices[0] == prices[1]


@pytest.mark.skipif(find_spec("quickfix") is None, reason="quickfix is not installed: make quickfix compiles it")
def test_fix_when_recorded_plays_back_the_same_prices_with_their_times(tmp_path, monkeypatch, free_port, machine_clock):
    """An hour later: what the venue says of the time is not held against our clock when it is played."""
    stop = threading.Event()

    def quote(venue: Peer) -> None:
        wait_until(lambda: any(one.get("35") == "V" for one in venue.requests))
        entries = [[[269, side], [270, price], [271, "5"]] for side, price in (("0", "10"), ("1", "90"))]
        (request, *_) = [one["262"] for one in venue.requests if one.get("35") == "V"]
        venue.send("W", (262, request), (55, "NG"), groups=[268, 269, entries])
        price = 10
        while not stop.wait(0.05):
            price += 1
            group = [[[279, "0"], [269, "0"], [55, "NG"], [270, str(price)], [271, "1"]]]
            venue.send("X", groups=[268, 279, group])

    with Peer(tmp_path / "venue", free_port) as venue:
        wait_until(lambda: listens(free_port))
        quoting = threading.Thread(target=quote, args=(venue,))
        quoting.start()
        try:
            text = SESSION.format(port=free_port)
            then = captured(tmp_path, text, monkeypatch, lambda found: found.count["CME", "HENRY-HUB"] > 30)
        finally:
            stop.set()
            quoting.join(10)
    assert not (tmp_path / "numbers.db").exists(), "the real session's numbers are left alone"
    machine_clock.jump(3_600_000_000)
    now = played(tmp_path / "tape.jsonl", tmp_path / "c.toml")
    assert_same(then, now, 30)


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_sparkplug_when_recorded_plays_back_births_data_and_our_requests(tmp_path, monkeypatch, mosquitto):
    host, port = mosquitto
    group = f"g{time.time_ns()}"
    device = paho.Client(CallbackAPIVersion.VERSION2)
    device.connect(host, port)
    device.loop_start()
    born = threading.Event()
    asked: list[bytes] = []
    lost: list[int] = []
    node = EdgeNode(
        Node(group, "n"),
        lambda topic, payload: device.publish(topic, payload).wait_for_publish(10),
        lambda: time.time_ns() // 1_000_000,
    )
    device.on_message = lambda _client, _data, message: (asked.append(message.payload), born.set())
    device.subscribe(Node(group, "n").commands)

    def run(found: Diary) -> bool:
        if born.is_set():
            born.clear()
            node.birth(double("Voltage", 230.0))
        node.say(Verb.NDATA, "", [double("Voltage", 230.0 + len(found.history))])
        if len(found.history) >= 10 and not lost:
            node.seq += 1  # we ask again
            lost.append(node.seq)
        return len(found.history) > 20 and len(asked) > 1

    try:
        then = captured(tmp_path, PLANT.format(host=host, port=port, group=group), monkeypatch, run)
    finally:
        device.disconnect()
        device.loop_stop()
    now, page = Diary(played=True), Console(record=True, width=200)
    monkeypatch.setattr(connect, "Notebook", lambda **_: now)
    assert connect.replay(tmp_path / "tape.jsonl", threading.Event(), page), page.export_text()
    assert_same(then, now, 20)


def test_player_when_a_feed_asks_otherwise_shows_both_and_says_no_more():
    def frame(direction: Direction, data: bytes) -> Frame:
        return Frame(at=0, link=1, target="fix venue:1", direction=direction, data=data)

    def asks(symbol: str) -> bytes:
        return encode([(35, "V"), (34, 2), (52, time_text(1_795_168_800_000_000)), (55, symbol)])

    player = Player([frame(Direction.SENT, asks("NG")), frame(Direction.RECEIVED, b"answer")])
    try:
        with socket.create_connection(("127.0.0.1", player.place("venue", 1, None, FIX)), 5) as client:
            client.sendall(asks("BRN"))
            assert client.recv(100) == b""
    finally:
        player.close()
    wait_until(lambda: player.finished)
    (difference,) = player.differences
    assert difference.startswith("fix venue:1, connection 1: 8=FIX.4.4")
    assert "55=NG" in difference.partition("was recorded, and came")[0]
    assert "55=BRN" in difference.partition("was recorded, and came")[2]
