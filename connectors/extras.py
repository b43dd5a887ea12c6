"""The libraries of a protocol are installed with an extra, and loaded only where the protocol is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.config import ConfigError


@contextmanager
def libraries(extra: str) -> Iterator[None]:
    """Load within what ``extra`` installs. Raises ConfigError that says to install it."""
    try:
        yield
    except ImportError as error:
        problem = f"{extra}: its library is not installed ({error}); install it with: pip install 'gridtape[{extra}]'"
        raise ConfigError("connectors", [problem]) from error
