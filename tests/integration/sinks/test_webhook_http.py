from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from schemas import topics
from sinks.config import WebhookConfig
from sinks.webhook import Webhook, retry_after

SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]


class Receiver:
    """A real HTTP server that answers as the test says, and then 204."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests: list[tuple[float, dict[str, str], bytes]] = []
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append((time.monotonic(), {k.lower(): v for k, v in self.headers.items()}, body))
                outer.hold.wait(20)
                status, headers = outer.answers.pop(0) if outer.answers else (204, {})
                self.send_response(status)
                for name, value in {"content-length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=hidden"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _time, headers, _body in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.hold.set()
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(" ".join(SECRETS))
    return path


def test_webhook_when_receiver_fails_at_first_is_tried_until_taken_with_the_same_id(
    bench, until, make_alert, receiver, secret_file
):
    receiver.answers = [(500, {}), (503, {}), (429, {"retry-after": "1"}), (408, {})]
    bench.write(topics.alerts, "oil", make_alert(1), make_alert(2))
    with bench.running(Webhook(WebhookConfig(url=receiver.url, secret_file=secret_file))):
        until(lambda: len(receiver.requests) == 6)
    assert receiver.ids == ["oil/ticks/0/1"] * 5 + ["oil/ticks/0/2"]
    assert receiver.requests[3][0] - receiver.requests[2][0] >= 1.0, "Retry-After was not kept"


def test_webhook_when_sent_is_signed_with_both_secrets_and_holds_the_alert(
    bench, until, make_alert, receiver, secret_file
):
    bench.write(topics.alerts, "oil", make_alert(7))
    with bench.running(Webhook(WebhookConfig(url=receiver.url, secret_file=secret_file))):
        until(lambda: receiver.requests)
    _time, headers, body = receiver.requests[0]
    for secret in SECRETS:
        content = Verifier(secret).verify(body, headers)
    assert content["type"] == "gridtape.alert.v1"
    assert topics.alerts.decode(json.dumps(content["data"]).encode()) == make_alert(7)
    assert content["timestamp"] == "2026-09-21T14:13:20.000007Z"
    assert headers["content-type"] == "application/json"
    stranger = Verifier("whsec_" + base64.b64encode(b"z" * 32).decode())
    for verifier, text in ((stranger, body), (Verifier(SECRETS[0]), body.replace(b"warning", b"info"))):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(text, headers)


def test_webhook_when_receiver_refuses_makes_a_dead_letter_at_once_and_sends_the_next(
    bench, until, make_alert, receiver, secret_file
):
    refusals = [400, 401, 404, 422, 301]
    receiver.answers = [(status, {"location": "/elsewhere"}) for status in refusals]
    bench.write(topics.alerts, "oil", *(make_alert(number) for number in range(6)))
    with bench.running(Webhook(WebhookConfig(url=receiver.url, secret_file=secret_file))):
        until(lambda: len(receiver.requests) == 6)
    assert receiver.ids == [f"oil/ticks/0/{number}" for number in range(6)]
    letters = bench.letters(5)
    assert all(f"answered {status}" in one.reason for one, status in zip(letters, refusals, strict=True))
    assert not any("hidden" in one.reason for one in letters)


def test_webhook_when_receiver_never_recovers_gives_up_after_its_attempts(
    bench, until, make_alert, receiver, secret_file
):
    receiver.answers = [(500, {})] * 3
    bench.write(topics.alerts, "oil", make_alert(1), make_alert(2))
    with bench.running(Webhook(WebhookConfig(url=receiver.url, secret_file=secret_file, attempts=3))):
        until(lambda: len(receiver.requests) == 4)
    assert receiver.ids == ["oil/ticks/0/1"] * 3 + ["oil/ticks/0/2"]
    assert "3 attempts failed" in bench.letters(1)[0].reason


def test_webhook_when_receiver_is_gone_sends_nothing_more_and_loses_nothing(
    bench, until, make_alert, receiver, secret_file
):
    config = WebhookConfig(url=receiver.url, secret_file=secret_file)
    receiver.answers = [(410, {})]
    bench.write(topics.alerts, "oil", make_alert(1), make_alert(2))
    with bench.running(Webhook(config)):
        until(lambda: len(receiver.requests) == 1)
    assert receiver.ids == ["oil/ticks/0/1"]
    with bench.running(Webhook(config)):
        until(lambda: len(receiver.requests) == 3)
    assert receiver.ids[1:] == ["oil/ticks/0/1", "oil/ticks/0/2"]


def test_webhook_when_nobody_listens_is_tried_again_until_somebody_does(bench, until, make_alert, secret_file):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sink = Webhook(WebhookConfig(url=f"http://127.0.0.1:{port}/", secret_file=secret_file, attempts=5))
    bench.write(topics.alerts, "oil", make_alert(1))
    with bench.running(sink):
        assert "cannot be reached" in bench.letters(1)[0].reason


def test_webhook_when_receiver_hangs_is_given_up_and_stopping_does_not_wait(
    bench, until, make_alert, receiver, secret_file
):
    receiver.hold.clear()
    sink = Webhook(WebhookConfig(url=receiver.url, secret_file=secret_file, timeout=0.5))
    bench.write(topics.alerts, "oil", make_alert(1))
    with bench.running(sink):
        until(lambda: len(receiver.requests) >= 2)
    patient = Webhook(WebhookConfig(url=receiver.url, secret_file=secret_file, timeout=60))
    seen = len(receiver.requests)
    with bench.running(patient):  # fails unless run_sinks returns in time
        until(lambda: len(receiver.requests) > seen)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("soon", None),
        ("-5", None),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_when_given_in_any_form_is_seconds(value, seconds):
    assert retry_after(value, 100.0) == seconds
