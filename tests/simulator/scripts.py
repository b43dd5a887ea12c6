"""Harm arranged on purpose, where chance would need too many schedules to come upon it."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulator.network import Rates
from tests.simulator.scheduler import Process
from tests.simulator.world import OPTIONS, World


def ghost(world: World) -> None:
    """The producer's connection to the group's coordinator stands still until sending offsets is given up. Then the
    broker gets the forgotten request and that of the next transaction, in either order; and the worker dies."""
    rng = world.rng
    begin, seconds = 2.0 + 4 * rng.random(), 4.1 + 0.5 * rng.random()
    world.scheduler.at(begin, lambda: world.network.take_away("offsets", seconds, stopped=True))
    world.scheduler.at(begin + seconds + 0.02 + 0.1 * rng.random(), world.adversary.kill)


def silence(world: World) -> None:
    """A commit happens, and the worker never hears of it."""
    begin = 2.0 + 4 * world.rng.random()
    world.scheduler.at(begin, lambda: world.network.leave_unanswered("EndTxn commit"))


def late_markers(world: World) -> None:
    """Markers take their time, and workers come and go while they do."""
    world.grow()
    world.broker.marker_delay = 2.0
    for n in range(8):
        world.scheduler.at(1.5 * n + world.rng.random(), world.adversary.terminate)


def zombie(world: World) -> None:
    """A worker stands still in the middle of a commit for longer than the group waits, but not the transaction."""
    world.grow()
    rng, window = world.rng, OPTIONS.transaction_timeout - OPTIONS.session_timeout

    def stop(process: Process, what: str) -> None:
        if what == "AddOffsetsToTxn" and rng.random() < 0.3:
            process.stop(OPTIONS.session_timeout + window * rng.random())

    world.network.on_ask = stop


def stale(world: World) -> None:
    """A worker stands still after it has asked for the offsets of its new partitions; others take them meanwhile."""
    world.grow()
    rng = world.rng

    def stop(process: Process, what: str) -> None:
        if what.startswith("OffsetFetch") and rng.random() < 0.5:
            process.stop(OPTIONS.session_timeout * (1 + 2 * rng.random()))

    world.network.on_ask = stop


def expelled(world: World) -> None:
    """A worker loses its request to rejoin, stands still until the group has expelled it, joins again under a new id,
    and stands still once more, while another one decides what it believes to be its own. In half of the schedules it
    has not committed anything before."""
    world.grow()
    world.grow()
    source, group = world.source, world.broker.group
    times: list[Process] = []

    def stop(process: Process, what: str) -> None:
        if not what.startswith("JoinGroup") or what.endswith("()") or (times and process is not times[0]):
            return
        times.append(process)
        world.network.rates = Rates()
        if len(times) == 1:
            world.network.rates = Rates(lost=1.0)
            world.scheduler.at(0.0, lambda: setattr(world.network, "rates", Rates()))
            process.stop(1.2 * OPTIONS.session_timeout)
        elif len(times) == 3:
            process.stop(1.0)
            source.dry = False
            for n in range(10):
                world.scheduler.at(0.5 + 0.05 * n, source.feed)

    def begin() -> None:
        world.network.on_ask = stop
        group.rebalance()

    def restart() -> None:
        for _, process, _ in world.processes:
            world.crash(process)

    world.scheduler.at(3.0, lambda: setattr(source, "dry", True))
    if world.rng.random() < 0.5:
        world.scheduler.at(4.0, restart)
    world.scheduler.at(5.0, begin)


def orphaned(world: World) -> None:
    """All workers die between the two halves of a rebalance, when one has given up what no other was given yet."""
    group = world.broker.group
    struck: list[str] = []

    def strike() -> None:
        for _, process, _ in world.processes:
            world.crash(process)
        world.network.rates = Rates()

    def watch(process: Process, what: str) -> None:
        owned = {p for member in group.members.values() for p in member.assigned}
        if what.startswith("JoinGroup") and group.state == "stable" and len(owned) < world.partitions and not struck:
            struck.append(what)
            world.network.rates = Rates(lost=1.0)
            world.scheduler.at(0.0, strike)

    world.network.on_ask = watch
    world.scheduler.at(3.0 + world.rng.random(), world.grow)


SCRIPTS: tuple[Callable[[World], None], ...] = (ghost, silence, late_markers, zombie, stale, expelled, orphaned)
