"""Every changelog record names the commit that it was written in, in a header that nobody else knows to write."""

from __future__ import annotations

from streams.engine.ports import Headers

_COMMIT = "commit"


def stamp(commit: int) -> Headers:
    """Headers of a changelog record."""
    return [(_COMMIT, b"%d" % commit)]


def commit_of(headers: Headers | None) -> int | None:
    """The number of the commit that a record was written in; None when somebody else has written it."""
    if headers and headers[0][0] == _COMMIT and (value := headers[0][1] or b"").isdigit():
        return int(value)
    return None


def follow(headers: Headers | None, before: int) -> int:
    """The commit of a record that stands behind one of commit ``before``.

    Raises ValueError saying why, when the application cannot have written it there.
    """
    commit = commit_of(headers)
    if commit is None:
        raise ValueError("it does not say of which commit it is")
    if commit < before:
        raise ValueError(f"it is of commit {commit}, after one of {before}")
    return commit
