"""Alerts to a webhook, signed as the Standard Webhooks specification 1.0.0 says."""

from __future__ import annotations

import queue
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
from standardwebhooks.webhooks import Webhook as Signer

from schemas import topics
from schemas.cloudevents import timestamp
from schemas.topics import Topic
from sinks.config import WebhookConfig
from sinks.sink import Delivery, Disabled, Refused, Unavailable

_TRANSIENT = frozenset({408, 425, 429})
_GONE = 410
_GRACE = 2.0
"""Seconds that a request under way is given after ``stop``."""


class Webhook:
    """POSTs each alert, one after the other, until the receiver has answered 2xx.

    ``webhook-id`` is the alert's id, the same on every attempt: the receiver's idempotency key. The body is
    ``{"type": "gridtape.alert.v1", "timestamp": event time, "data": the alert}``. Answers 5xx, 408, 425 and 429
    (Retry-After is kept), timeouts and broken connections are tried again; 410 ends the sink; any other answer makes
    the alert a dead letter at once.
    """

    name = "webhook"
    topics: tuple[Topic[Any], ...] = (topics.alerts,)
    batch_rows = 50
    batch_seconds = 0.0

    def __init__(self, config: WebhookConfig) -> None:
        self.attempts: int | None = config.attempts
        self._url = config.url
        self._timeout = config.timeout
        self._signers = [Signer(secret) for secret in config.secrets()]
        self._client = httpx.Client(timeout=config.timeout, follow_redirects=False, headers={"user-agent": "gridtape"})

    def handle(self, batch: list[Delivery], stop: threading.Event) -> None:
        """See :class:`Webhook`. Raises Unavailable, Refused or Disabled with the number of alerts delivered before."""
        for done, delivery in enumerate(batch):
            if stop.is_set():
                raise Unavailable("stopping", done=done)
            self._judge(self._post(delivery, done, stop), delivery, done)

    def _judge(self, response: httpx.Response, delivery: Delivery, done: int) -> None:
        status = response.status_code
        if response.is_success:
            return
        answer = f"{self._where} answered {status} {response.reason_phrase}".rstrip()
        if status == _GONE:
            raise Disabled(f"{answer}; remove the webhook from the settings, or give its new address", done=done)
        if response.is_server_error or status in _TRANSIENT:
            raise Unavailable(answer, done=done, after=retry_after(response.headers.get("retry-after"), time.time()))
        raise Refused(answer, delivery, done=done)

    @property
    def _where(self) -> str:
        # Without path and query: they often hold a token.
        url = httpx.URL(self._url)
        return f"{url.scheme}://{url.host}" + (f":{url.port}" if url.port else "")

    def _post(self, delivery: Delivery, done: int, stop: threading.Event) -> httpx.Response:
        """One attempt, at most ``timeout`` seconds in all, given up ``_GRACE`` seconds after ``stop``."""
        request = self._client.build_request("POST", self._url, **self._message(delivery))
        answers: queue.SimpleQueue[httpx.Response | httpx.HTTPError] = queue.SimpleQueue()

        def send() -> None:
            try:
                # Only the status matters; a body without end is not waited for.
                response = self._client.send(request, stream=True)
                response.close()
                answers.put(response)
            except httpx.HTTPError as error:
                answers.put(error)

        # A blocking request cannot be interrupted; in a thread of its own it can at least be left.
        threading.Thread(target=send, name="webhook-request", daemon=True).start()
        give_up = time.monotonic() + self._timeout
        stopping = False
        while True:
            try:
                answer = answers.get(timeout=0.1)
            except queue.Empty:
                now = time.monotonic()
                if stop.is_set() and not stopping:
                    stopping, give_up = True, min(give_up, now + _GRACE)
                if now >= give_up:
                    raise Unavailable(f"{self._where} did not answer in time", done=done) from None
                continue
            if isinstance(answer, httpx.HTTPError):
                why = str(answer) or type(answer).__name__
                raise Unavailable(f"{self._where} cannot be reached: {why}", done=done) from answer
            return answer

    def _message(self, delivery: Delivery) -> dict[str, Any]:
        alert = delivery.record
        body = msgspec.json.encode(
            {
                "type": f"gridtape.{delivery.topic.kind}.v1",
                "timestamp": timestamp(alert.event_time),
                "data": msgspec.Raw(delivery.raw),
            }
        )
        # Section "Signature scheme": the id must hold no full stop, or two messages could have one signature.
        identity, now = alert.alert_id.replace(".", "~"), datetime.now(UTC)
        signatures = [signer.sign(identity, now, body.decode()) for signer in self._signers]
        return {
            "content": body,
            "headers": {
                "content-type": "application/json",
                "webhook-id": identity,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(signatures),
            },
        }


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header (RFC 9110 section 10.2.3: seconds or a date) asks for; None if unreadable."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
