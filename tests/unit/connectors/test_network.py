from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from connectors.network import in_words


def test_failure_when_nothing_listens_at_any_address_of_a_name_asks_for_the_port():
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        async def connect() -> None:
            loop = asyncio.get_running_loop()
            loop.getaddrinfo = lambda *_, **__: twice
            both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]
            twice = loop.create_future()
            twice.set_result(both)
            await loop.create_connection(asyncio.Protocol, "plant", port)

        with pytest.raises(OSError, match="Multiple exceptions") as caught:
            asyncio.run(connect())
    assert in_words(caught.value) == "connection refused; is it on, is the port right?"


def test_failure_when_a_name_has_no_address_says_so():
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo("plc 7", 502)
    assert in_words(caught.value).startswith("no address is known for this name (")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), "broke the connection off; is the port right"),
        (OSError(errno.EHOSTUNREACH, "no route"), "no way leads to this address"),
        (TimeoutError(), "no answer in time"),
        (OSError("something of its own"), "something of its own"),
        (ValueError(), "ValueError"),
    ],
)
def test_failure_when_the_system_names_it_says_what_to_look_at(error, said):
    assert said in in_words(error)
