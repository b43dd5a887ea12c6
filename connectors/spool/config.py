"""Settings of the store: how much may wait, where, and from when on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from connectors.fields import Section, seconds


def _folder(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", Path()), path.expanduser())


class StoreConfig(Section):
    """Where the records of field devices wait for Kafka; a source that repeats what was not acknowledged needs none.

    ``folder``: where the files are; left out, the connectors' data folder. ``after``: seconds without Kafka's
    acknowledgement after which records go to disk; what is younger is lost when the process is killed.
    ``memory_records``: how many wait in memory for the disk, per connector. ``disk_megabytes``: the most that one
    connector's file may take; ``keep_free_megabytes``: what is left to others on that disk. When these are used up,
    sources rest, and what they would have said is counted and becomes a gap.
    """

    enabled: bool = True
    folder: Annotated[Path, AfterValidator(_folder)] | None = None
    after: Annotated[int, seconds(least=0.1, most=60)] = 1_000_000
    memory_records: Annotated[int, Field(strict=True, ge=100, le=1_000_000)] = 50_000
    disk_megabytes: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1024
    keep_free_megabytes: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 256
