"""Settings of a connection to an MQTT broker, shared by all that speak MQTT."""

from __future__ import annotations

import enum
from typing import Annotated, Self

from pydantic import Field, model_validator

from connectors.fields import Credentials, Host, Port, Tls, refuse_plaintext, seconds


class Protocol(enum.StrEnum):
    """The version that is spoken; a broker that does not know it refuses the connection."""

    V5 = "5"
    V311 = "3.1.1"


class Transport(enum.StrEnum):
    """What carries MQTT: a plain TCP connection or a WebSocket, each with or without TLS."""

    TCP = "tcp"
    WEBSOCKET = "websocket"


class Broker(Credentials):
    """One broker and how it is spoken to.

    ``websocket_path``: where the broker takes WebSocket connections. ``client_id`` must be used once per broker.
    ``receive_maximum``: messages that the broker may send ahead of the acknowledgements (MQTT 5; a 3.1.1 broker has
    its own setting). ``max_packet_bytes``: an MQTT 5 broker drops messages that are larger; one that sends them all the
    same is disconnected before they fill the memory. ``clock_tolerance``: a source time that is further ahead of this
    machine's clock makes the sample uncertain.
    """

    host: Host
    port: Port = 1883
    protocol: Protocol = Protocol.V5
    transport: Transport = Transport.TCP
    websocket_path: Annotated[str, Field(strict=True, pattern=r"^/[!-~]*$", max_length=500)] = "/mqtt"
    client_id: Annotated[str, Field(strict=True, min_length=1, max_length=200)] = "gridtape"
    keepalive: Annotated[int, seconds(least=1, most=3600)] = 30_000_000
    receive_maximum: Annotated[int, Field(strict=True, ge=1, le=65_535)] = 500
    max_packet_bytes: Annotated[int, Field(strict=True, ge=1024, le=268_435_460)] = 16_777_216
    clock_tolerance: Annotated[int, seconds(least=0, most=86_400)] = 60_000_000
    backoff_ceiling: Annotated[int, seconds(least=0.5, most=3600)] = 30_000_000
    tls: Tls | None = None
    allow_plaintext: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := self.problems():
            raise ValueError("; ".join(problems))
        return self

    def problems(self) -> list[str]:
        """What does not fit together; empty when all is well."""
        try:
            refuse_plaintext(self.host, encrypted=self.tls is not None, allow_plaintext=self.allow_plaintext)
        except ValueError as error:
            return [f"host: {error}"]
        return []
