"""Why a connection was not made or broke, in words that say what to look at."""

from __future__ import annotations

import errno
import re
import socket

_NUMBER = re.compile(r"\[Errno (\d+)\]")


def in_words(error: Exception) -> str:
    """What ``error`` of a connection means and what to look at; what is not known here says what it said."""
    if isinstance(error, socket.gaierror):
        return f"no address is known for this name ({error.strerror}); is it spelt right, does the name service answer?"
    match _number(error):
        case errno.ECONNREFUSED:
            return "connection refused; is it on, is the port right?"
        case errno.ECONNRESET | errno.EPIPE:
            return "the other side broke the connection off; is the port right, is TLS used there as here?"
        case errno.ENETUNREACH | errno.EHOSTUNREACH:
            return "no way leads to this address; is it right, is it on, does a firewall refuse it?"
    if isinstance(error, TimeoutError):
        return "no answer in time; is it on, is the address right, does something else listen at this port?"
    return str(error) or type(error).__name__


def _number(error: Exception) -> int | None:
    """The system's error number; asyncio hides it in the text where a name has several addresses."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    numbers = {int(found) for found in _NUMBER.findall(str(error))}
    return numbers.pop() if len(numbers) == 1 else None
