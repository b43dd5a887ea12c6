"""Reads a Parquet file in a process of its own: ``python -m connectors.market.recorded.reading FILE COLUMN…``.

A broken file can end the library's process, and a small one can unpack to more than there is memory. Here that ends
this process, whose memory is bounded, and not the connectors. To standard output goes a message for each batch, its
length in four bytes before it: of each column its values as msgpack, timestamps as microseconds and whether they are
UTC. Why it could not read on is the last line on standard error, with status 1.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from connectors.market.recorded.rows import Unreadable, places

MOST_MEMORY = 1 << 30
"""Bytes of address space, of which the library takes 300 MB for itself."""
MOST_TEXT = 1000
"""Characters of a text; a longer one is none that is looked for, and is shown by its beginning."""
_BATCH = 5000
_Read = Callable[[Any], list[Any]]


def batches(path: str, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
    """The values of each column, some thousand rows at a time. Raises Unreadable, OSError or pyarrow's errors."""
    from pyarrow import parquet

    careful: dict[str, Any] = {"page_checksum_verification": True, "pre_buffer": False, "buffer_size": 1 << 20}
    with parquet.ParquetFile(path) as file:
        readers = _readers(file.schema_arrow, columns)
    # As dictionaries texts are in memory once, however many rows refer to them.
    texts = [name for name, read in readers.items() if read is _texts]
    with parquet.ParquetFile(path, read_dictionary=texts, **careful) as file:
        for batch in file.iter_batches(_BATCH, columns=list(columns), use_threads=False):
            batch.validate(full=True)  # else a broken place in a dictionary would be a wrong text
            yield [read(batch.column(batch.schema.get_field_index(name))) for name, read in readers.items()]


def _readers(schema: Any, columns: Sequence[str]) -> dict[str, _Read]:
    """How to read each column. Raises Unreadable for what can be no part of a tick."""
    from pyarrow import types

    places(columns, schema.names)
    found: dict[str, _Read] = {}
    for name in columns:
        held = schema.field(name).type
        plain = held.value_type if types.is_dictionary(held) else held
        if types.is_string(plain) or types.is_large_string(plain):
            found[name] = _texts
        elif types.is_timestamp(plain):
            found[name] = _times
        elif types.is_integer(plain) or types.is_float32(plain) or types.is_float64(plain):
            found[name] = _numbers
        elif types.is_decimal(plain):
            found[name] = _decimals
        else:
            raise Unreadable(f"the column {name!r} holds {held}; expected numbers, texts or timestamps")
    return found


def _texts(column: Any) -> list[Any]:
    from pyarrow import compute

    if not hasattr(column, "dictionary"):
        column = column.dictionary_encode()
    cut = compute.utf8_slice_codeunits(column.dictionary, 0, MOST_TEXT + 1).to_pylist()
    known = [f"{one[:50]}…" if one is not None and len(one) > MOST_TEXT else one for one in cut]
    return [None if place is None else known[place] for place in column.indices.to_pylist()]


def _times(column: Any) -> list[Any]:
    import pyarrow as pa

    zone, coarse = column.type.tz, column.type.unit in ("s", "ms")  # nothing is lost with these, but it may not fit
    micros = column.cast(pa.timestamp("us", zone), safe=coarse).cast(pa.int64()).to_pylist()
    return [None if one is None else (one, zone is not None) for one in micros]


def _numbers(column: Any) -> list[Any]:
    found: list[Any] = column.to_pylist()
    return found


def _decimals(column: Any) -> list[Any]:
    return [None if one is None else float(one) for one in column.to_pylist()]


def main() -> None:
    """Write the batches of the file."""
    path, *columns = sys.argv[1:]
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve more than the bound
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    out = sys.stdout.buffer
    try:
        for batch in batches(path, columns):
            message = msgspec.msgpack.encode(batch)
            out.write(len(message).to_bytes(4, "big") + message)
            out.flush()
    except BrokenPipeError:
        os._exit(0)  # nobody wants more
    except Exception as error:  # noqa: BLE001 - the outermost edge: told in one line, whatever the library raises
        sys.exit(" ".join(str(error).split())[:500] or type(error).__name__)


if __name__ == "__main__":
    main()
