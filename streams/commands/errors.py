"""What a command cannot do, in words for the person who asked."""

from __future__ import annotations


class CommandError(Exception):
    """The message says what happened and what to do."""
