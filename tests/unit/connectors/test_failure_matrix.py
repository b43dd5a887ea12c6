"""The failure matrix in docs/connectors.md: every cell says something, and names tests that show it on what is real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "connectors.md"
ROWS = (
    "Kafka is away for 30 minutes",
    "the connector is killed",
    "the device reboots",
    "the cable is pulled",
    "a reply comes late",
    "a clock jumps by an hour",
    "the disk is full",
    "a certificate has expired",
    "the server comes back with other numbers",
    "a sequence number is missing",
)
COLUMNS = ("MQTT", "Sparkplug", "Modbus", "OPC UA", "WebSocket", "FIX", "File replay")
Table = dict[str, tuple[str, str]]


def sections() -> dict[str, Table]:
    """By protocol and row: what happens, and the tests that show it."""
    found: dict[str, Table] = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n### Failures: ")[1:]:
        protocol, _, body = part.partition("\n")
        lines = body.partition("\n#")[0].splitlines()
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        assert all(len(each) == 3 for each in cells), f"{protocol}: a line has not three cells: {cells}"
        found[protocol] = {row: (what, shown) for row, what, shown in cells[2:]}
    return found


def matrix(found: dict[str, Table]) -> str:
    """The overview: of each cell the words in bold."""
    lines = [["", *found], ["---"] * (len(found) + 1)]
    lines += [[row, *(table[row][0].split("**")[1] for table in found.values())] for row in ROWS]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def names_in(folder: Path) -> set[str]:
    """The names of all tests below."""
    sources = (path.read_text(encoding="utf-8") for path in folder.rglob("test_*.py"))
    return {name for text in sources for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", text, re.MULTILINE)}


@pytest.mark.parametrize("protocol", sections())
def test_failure_table_when_read_has_every_row_with_words_and_first_a_test_on_the_real_counterpart(
    protocol: str,
) -> None:
    known, real = names_in(ROOT / "tests"), names_in(ROOT / "tests" / "integration")
    table = sections()[protocol]

    assert tuple(table) == ROWS
    for row, (what, shown) in table.items():
        assert re.match(r"\*\*[^*|]{3,40}\*\*\S*( \S.{5,}|$)", what), f"{row}: {what!r} does not begin with bold words"
        names = re.findall(r"`(test_\w+)`", shown)
        assert names or what.startswith("**does not apply**: "), f"{row}: names no test and says no reason"
        assert not set(names) - known, f"{row}: names tests that do not exist"
        assert not names or names[0] in real, f"{row}: the first test named is none in tests/integration"


def test_failure_matrix_when_compared_with_the_tables_is_current() -> None:
    assert tuple(sections()) == COLUMNS
    expected = matrix(sections())

    assert expected in PAGE.read_text(encoding="utf-8"), f"put this into {PAGE.name}:\n{expected}"
