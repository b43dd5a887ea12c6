"""Which devices and feeds are not live, and why: their own words on the topic ``devices``."""

from __future__ import annotations

from schemas import topics
from schemas.devices import Device, DeviceState, Storage
from streams.commands.checks.finding import Finding, ok, warn
from streams.commands.describe import moment, plain
from streams.commands.ledger import Ledger
from streams.engine.cluster import Cluster

DAY = 86_400_000_000
"""A device that was not told of for so long is history."""
MOST = 100_000
"""Records that are read at most: each device writes one every ten seconds, and the older ones are compacted away."""
_TOP = 5
_TRY = "`gridtape connect check FILE` asks it without Kafka and shows every point."


def examine(cluster: Cluster, now: float, timeout: float) -> list[Finding]:
    """The newest state of every device of the last day. ``now``: seconds since the epoch. Raises as Ledger."""
    micros = int(now * 1e6)
    newest: dict[str, tuple[int, Device]] = {}
    read = 0
    with Ledger(cluster, timeout) as ledger:
        for window in ledger.newest_first([topics.devices]):
            for entry in window:
                if isinstance(entry.record, Device) and entry.time >= newest.get(entry.key, (micros - DAY,))[0]:
                    newest[entry.key] = entry.time, entry.record
            read += len(window)
            if read >= MOST:
                break
    return judge([device for _, device in newest.values()], micros)


def judge(devices: list[Device], now: int) -> list[Finding]:
    """What is to be said of ``devices`` at ``now``, in microseconds: nothing if there are none."""
    gone = [one for one in devices if one.expires < now]
    here = sorted((one for one in devices if one.expires >= now), key=lambda one: one.device)
    troubled = [one for one in here if one.state is not DeviceState.LIVE]
    findings = [ok(f"devices that are live: {live}")] if (live := len(here) - len(troubled)) else []
    findings += [_troubled(one) for one in troubled[:_TOP]]
    if more := troubled[_TOP:]:
        findings.append(warn(f"devices that are not live besides these: {_names(more)}", "Mend those first."))
    findings += [
        warn(
            f"{one.waiting:,} records of {one.device} wait ({one.storage.value}): {plain(one.storage_reason)}",
            "They are sent in order once Kafka acknowledges again.",
        )
        for one in [one for one in here if one.storage is not Storage.DIRECT][:_TOP]
    ]
    for connector in sorted({one.connector for one in gone}):
        theirs = [one for one in gone if one.connector == connector]
        last = max(one.event_time for one in theirs)
        findings.append(
            warn(
                f"no {connector} connector runs any more for {_names(theirs)}; the last was heard at {moment(last)}",
                "Start it: `gridtape run connectors`. What is not wanted any more is left out after a day.",
            )
        )
    return findings


def _troubled(one: Device) -> Finding:
    why = plain(one.reason) or "nothing has come of it yet"
    return warn(f"{one.device} ({one.protocol}) is {one.state.value} since {moment(one.since)}: {why}", _TRY)


def _names(devices: list[Device]) -> str:
    names = sorted(one.device for one in devices)
    return ", ".join(names[:_TOP]) + (f" and {len(names) - _TOP:,} more" if len(names) > _TOP else "")
