"""What can go wrong with a local service, said so that a person can act."""

from __future__ import annotations


class ServiceError(RuntimeError):
    """A local service could not be installed, started or stopped. The message says what to do."""
