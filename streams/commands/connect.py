"""``gridtape connect``: settings tried out on the real devices, and the wire recorded and played back."""

from __future__ import annotations

import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors import clock
from connectors.capture.addresses import redirected, unrecorded
from connectors.capture.frames import CaptureError, Header, Writer, read
from connectors.capture.player import Player
from connectors.capture.rehearsal import Notebook, Place, apart, configured, rehearse
from connectors.capture.wire import Recorder
from connectors.config import Config, ConfigError, load
from connectors.config import check as checked
from connectors.market.recorded.connector import ENDED
from connectors.units import is_ucum
from schemas.base import Quality
from schemas.devices import DeviceState
from schemas.gaps import GapReason
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.commands.describe import moment, plain
from streams.commands.errors import CommandError

_STYLES = {Quality.GOOD: "green", Quality.UNCERTAIN: "yellow", Quality.BAD: "red"}
_WITHOUT_REASON = {
    DeviceState.CONNECTING: "nothing has come of it yet; is it on, does it send?",
}
_RAW_SHOWN = 16
_LEAST_WIDTH = 130
_PATIENCE_SECONDS = 30.0  # a playback waits between connections as the connector does, and those waits are drawn anew


def wide() -> Console:
    """Where numbers are not cut; a terminal that is narrower wraps the lines."""
    console = Console()
    console.width = max(console.width, _LEAST_WIDTH)
    return console


def check(file: Path, seconds: float, stop: threading.Event, console: Console) -> bool:
    """Read every point once and show it, with what is wrong; true when nothing is."""
    config, left_out = apart(load(file))
    _say(console, "note", "yellow", left_out)
    found = Notebook()
    wanted = {(device, point) for device, point, _ in configured(config)}
    failures = rehearse(config, found, lambda: bool(wanted) and found.complete(wanted), seconds, stop)
    return show(config, found, console, failures + _misspelt_units(config))


def _misspelt_units(config: Config) -> list[str]:
    """Only a check looks so closely: to know UCUM costs more than half a second."""
    return [
        f"{device}/{point} has the unit {unit!r}, which is no UCUM code (it would be MW, kW.h, Cel, %, 1); "
        f"a word of your own stands in braces: {{{unit}}}"
        for device, point, unit in configured(config)
        if unit and not is_ucum(unit)
    ]


def capture(file: Path, out: Path, seconds: float, stop: threading.Event, console: Console) -> bool:
    """Run the connectors of ``file`` for ``seconds`` without Kafka and record every byte; true when all went well."""
    config, left_out = apart(load(file))
    others = unrecorded(config)
    if redirected(config, lambda *_: 0) == Config(store=config.store):
        raise CommandError(f"{file}: nothing in it can be recorded and played back: {'; '.join(others)}")
    left_out += [f"not recorded, because it cannot be played back: {one}" for one in others]
    header = Header(file=str(file.absolute()), settings=file.read_text(encoding="utf-8-sig"), started=clock.now())
    try:
        writer = Writer(out, header)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error
    recorder = Recorder(writer)
    found = Notebook()
    try:
        there = redirected(config, recorder.place)
        # How connectors take their leave is no part of it: nobody tells them to when it is played.
        failures = rehearse(there, found, lambda: False, seconds, stop, writer.close)
    finally:
        recorder.close()
        writer.close()
    _say(console, "note", "yellow", left_out)
    _say(console, "problem", "red", [*recorder.problems, *failures])
    console.print(f"written: {out}, {writer.frames} frames, {sum(found.count.values())} samples")
    return not recorder.problems and not failures


def replay(file: Path, stop: threading.Event, console: Console, *, paced: bool = False) -> bool:
    """Play a recording to the connectors; true when they said what they had said and every value is good."""
    try:
        header, frames = read(file)
    except CaptureError as error:
        raise CommandError(str(error)) from error
    try:
        config, _ = apart(checked(tomllib.loads(header.settings), Path(header.file)))
    except (ConfigError, tomllib.TOMLDecodeError) as error:
        raise CommandError(f"{file}: its settings cannot be used here: {error}") from error
    player = Player(frames, paced=paced)
    found = Notebook(played=True)
    longest = _PATIENCE_SECONDS + (frames[-1].at / 1e6 if frames else 0.0)
    try:
        there = redirected(config, player.place, played=True)
        failures = rehearse(there, found, lambda: player.finished, longest, stop)
    finally:
        player.close()
    fine = show(there, found, console, failures, ended=True)
    _say(console, "differs", "red", player.differences)
    if not player.finished:
        _say(console, "differs", "red", ["connections were recorded that the connectors have not made"])
    return fine and player.finished and not player.differences


def show(config: Config, found: Notebook, console: Console, failures: list[str], *, ended: bool = False) -> bool:
    """The table of points, and below it everything that is wrong; true when nothing is.

    ``ended``: a capture has an end, after which no device can be live; nor can one that plays a recording.
    """
    named = {(device, point): unit for device, point, unit in configured(config)}
    units = named | {place: "" for place in [*found.samples, *found.ticks] if place not in named}
    rows = [_row(found, place, unit) for place, unit in units.items()]
    table = Table(box=None)
    for head in ("device", "point", "value", "unit", "quality", "event time", "received"):
        table.add_column(head, no_wrap=True)
    table.add_column("raw bytes", overflow="fold")
    for row in rows:
        table.add_row(*row.cells)
    console.print(table)
    wrong = ["/".join(row.place) + f" {row.why}" for row in rows if row.why]
    wrong += [
        f"{one.device} is {one.state.value}"
        + (f": {why}" if (why := one.reason or _WITHOUT_REASON.get(one.state)) else "")
        + (" --for SECONDS waits longer" if one.state is DeviceState.CONNECTING else "")
        for one in found.devices.values()
        if one.state is not DeviceState.LIVE and not ended and one.reason != ENDED
    ]
    wrong += [f"put aside: {source}: {reason}" for source, reason in found.letters]
    _say(console, "problem", "red", [*wrong, *failures])
    return not wrong and not failures


@dataclass(frozen=True)
class _Row:
    """One point as it is shown; ``why`` is empty when it is good."""

    place: Place
    cells: list[str | Text]
    why: str = ""


def _row(found: Notebook, place: Place, unit: str) -> _Row:
    raw = found.raw.get(place, b"")
    shown = raw[:_RAW_SHOWN].hex(" ") + (" …" if len(raw) > _RAW_SHOWN else "")
    if (sample := found.samples.get(place)) is not None:
        value = "" if sample.value is None else f"{sample.value:.15g}"
        quality, times = sample.quality, _times(sample)
        why = "" if quality is Quality.GOOD else f"is {quality.value}: {sample.reason or 'no reason is given'}"
        return _Row(place, [*place, value, sample.unit, Text(quality.value, _STYLES[quality]), *times, shown], why)
    if (tick := found.ticks.get(place)) is not None:
        sides = [("bid", tick.bid), ("ask", tick.ask), ("last", tick.last)]
        value = ", ".join(f"{side} {price:g}" for side, price in sides if price is not None)
        quality = Quality.BAD if tick.mark is None else Quality.GOOD
        shade = Text(quality.value, _STYLES[quality])
        return _Row(
            place, [*place, value, "", shade, *_times(tick), shown], "has no price" if tick.mark is None else ""
        )
    # That it is not connected, and why, is told of the device.
    gaps = (gap for gap in found.gaps.values() if gap.key in place and gap.reason is not GapReason.DISCONNECTED)
    why = next((f": {gap.detail}" for gap in gaps), "")
    return _Row(place, [*place, "", unit, Text("missing", "red"), "", "", ""], f"did not come{why}")


def _times(record: Telemetry | Tick) -> tuple[str, str]:
    """The source's time, and how much later it was received."""
    return moment(record.event_time), f"{(record.receive_time - record.event_time) / 1e6:+.3f} s"


def _say(console: Console, word: str, style: str, lines: list[str]) -> None:
    for line in lines:
        console.print(Text.assemble((word, style), " ", plain(line)), soft_wrap=True)
