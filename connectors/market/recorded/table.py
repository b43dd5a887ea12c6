"""Reads Parquet, some thousand rows at a time, only the columns that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from connectors.market.recorded.rows import Moment, Row, Unreadable, places

MOST_UNPACKED = 1 << 29
"""Bytes of one column in one row group, unpacked; a file with more is refused before it is unpacked."""
MOST_TEXT = 1000
"""Characters of a text; a longer one is none that is looked for, and is shown by its beginning."""
_BATCH = 5000
_THRIFT_TEXT, _THRIFT_ITEMS = 1 << 26, 1 << 20
_TEXTS, _TIMES, _NUMBERS, _DECIMALS = range(4)


def rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows. Raises Unreadable."""
    from pyarrow import ArrowException, parquet

    number = 0
    careful: dict[str, Any] = {
        "thrift_string_size_limit": _THRIFT_TEXT,
        "thrift_container_size_limit": _THRIFT_ITEMS,
        "page_checksum_verification": True,
    }
    try:
        with parquet.ParquetFile(path, **careful) as look:
            metadata, kinds = look.metadata, _kinds(look.schema_arrow, columns)
        _refuse_bomb(metadata, columns)
        # As dictionaries texts are in memory once, however many rows refer to them.
        texts = [name for name, kind in kinds.items() if kind == _TEXTS]
        with parquet.ParquetFile(path, read_dictionary=texts, buffer_size=1 << 20, pre_buffer=False, **careful) as file:
            for batch in file.iter_batches(_BATCH, columns=list(columns), use_threads=False):
                batch.validate(full=True)  # else a broken place in a dictionary would be a wrong text
                read = [_READ[kind](batch.column(batch.schema.get_field_index(name))) for name, kind in kinds.items()]
                for values in zip(*read, strict=True):
                    number += 1
                    yield Row(number, values)
    except (OSError, UnicodeDecodeError, ArrowException) as error:
        raise Unreadable(f"cannot be read behind row {number}: {str(error)[:500]}") from error


def _kinds(schema: Any, columns: Sequence[str]) -> dict[str, int]:
    """What each column holds. Raises Unreadable for what can be no part of a tick."""
    from pyarrow import types

    places(columns, schema.names)
    found = {}
    for name in columns:
        held = schema.field(name).type
        plain = held.value_type if types.is_dictionary(held) else held
        if types.is_string(plain) or types.is_large_string(plain):
            found[name] = _TEXTS
        elif types.is_timestamp(plain):
            found[name] = _TIMES
        elif types.is_integer(plain) or types.is_float32(plain) or types.is_float64(plain):
            found[name] = _NUMBERS
        elif types.is_decimal(plain):
            found[name] = _DECIMALS
        else:
            raise Unreadable(f"the column {name!r} holds {held}; expected numbers, texts or timestamps")
    return found


def _refuse_bomb(metadata: Any, columns: Sequence[str]) -> None:
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if chunk.path_in_schema in columns and chunk.total_uncompressed_size > MOST_UNPACKED:
                raise Unreadable(
                    f"the column {chunk.path_in_schema!r} has {chunk.total_uncompressed_size} bytes in row group "
                    f"{group}; at most {MOST_UNPACKED} are unpacked: write smaller row groups"
                )


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
    return [None if one is None else Moment(one, zone is not None) for one in micros]


def _numbers(column: Any) -> list[Any]:
    found: list[Any] = column.to_pylist()
    return found


def _decimals(column: Any) -> list[Any]:
    return [None if one is None else float(one) for one in column.to_pylist()]


_READ: dict[int, Callable[[Any], list[Any]]] = {
    _TEXTS: _texts,
    _TIMES: _times,
    _NUMBERS: _numbers,
    _DECIMALS: _decimals,
}
