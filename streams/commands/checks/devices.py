"""Which devices and feeds are not live, and why: their own words on the topic ``devices``."""

from __future__ import annotations

from collections import defaultdict

from schemas import topics
from schemas.devices import Device, Storage
from streams.commands.checks.finding import Finding, ok, warn
from streams.commands.describe import moment, plain
from streams.commands.fleet import FORGOTTEN, Standing, advice, history, named, reason, standing
from streams.commands.ledger import Ledger
from streams.engine.cluster import Cluster

MOST = 100_000
"""Records that are read at most: each device writes one every ten seconds, and the older ones are compacted away."""
_TOP = 5
_SECOND = 1_000_000
_READS = "Points that are read go on; rules that name one of the others do not fire."


def examine(cluster: Cluster, now: float, timeout: float) -> list[Finding]:
    """The newest state of every device of the last day. ``now``: seconds since the epoch. Raises as Ledger."""
    micros = int(now * 1e6)
    newest: dict[str, tuple[int, Device]] = {}
    read = 0
    with Ledger(cluster, timeout) as ledger:
        for window in ledger.newest_first([topics.devices]):
            for entry in window:
                if isinstance(entry.record, Device) and entry.time >= newest.get(entry.key, (micros - FORGOTTEN,))[0]:
                    newest[entry.key] = entry.time, entry.record
            read += len(window)
            if read >= MOST:
                break
    return judge([device for _, device in newest.values()], micros)


def judge(devices: list[Device], now: int) -> list[Finding]:
    """What is to be said of ``devices`` at ``now``, in microseconds: nothing if there are none.

    Devices of one connector that stand alike for one reason are one finding, those of which nothing comes first.
    """
    groups: dict[tuple[Standing, str, str], list[Device]] = defaultdict(list)
    live = 0
    for one in sorted(devices, key=lambda one: one.device):
        how = standing(one, now)
        live += how >= Standing.LATE
        if how < Standing.LATE and not history(one, now):
            groups[how, one.connector, reason(one, how)].append(one)
    findings = [ok(f"devices that are live: {live}")] if live else []
    ranked = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[1][0].device))
    findings += [_troubled(how, why, those, now) for (how, _, why), those in ranked[:_TOP]]
    if more := [one.device for _, those in ranked[_TOP:] for one in those]:
        findings.append(
            warn(
                f"devices that are not live besides these: {named(more, _TOP)}", "`gridtape watch` shows each of them."
            )
        )
    waiting = [one for one in devices if one.expires >= now and one.storage is not Storage.DIRECT]
    return findings + [
        warn(f"{plain(one.device)}: {reason(one, Standing.LATE)}", _waits(one))
        for one in sorted(waiting, key=lambda one: -one.waiting)[:_TOP]
    ]


def _troubled(how: Standing, why: str, those: list[Device], now: int) -> Finding:
    names = named([one.device for one in those], _TOP)
    first = those[0]
    if how is Standing.UNWATCHED:
        heard = moment(max(one.event_time for one in those))
        return warn(
            f"{names}: {why}; the last was heard at {heard}",
            f"Start it where its file is: `{advice(how)}`; its log says why it ended. A device that is not wanted any "
            "more is left out after a day.",
        )
    first_since, last_since = min(one.since for one in those), max(one.since for one in those)
    since = moment(first_since)
    if last_since - first_since >= _SECOND:
        since += f", the last since {moment(last_since)}"
    verb = "are" if len(those) > 1 else "is"
    more = " " + _READS if how is Standing.DEGRADED else ""
    return warn(
        f"{names} ({first.protocol}) {verb} {how.name.lower()} since {since}: {why}",
        f"`{advice(how)}` asks it without Kafka and shows every point.{more}",
    )


def _waits(one: Device) -> str:
    if one.storage is Storage.PAUSED:
        return "Samples are lost now: make room on the disk of the connector, and see what is told of the brokers here."
    return "They are sent in order once Kafka acknowledges again: see what is told of the brokers here."
