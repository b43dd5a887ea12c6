"""What is broken when: a pure function of the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

SLOTS = 3
WARM_UP = 2.0
"""Seconds before the first fault."""
SESSION = 6.0
"""Session time-out of the workers, which some faults outlast on purpose."""

_KINDS: dict[str, tuple[str, int, float, float]] = {
    # kind: what it hits, weight, and for how long at least and at most (seconds)
    "kill": ("slot", 6, 0.0, 2.0),
    "terminate": ("slot", 4, 0.0, 2.0),
    "abandon": ("slot", 1, SESSION + 1, SESSION + 4),
    "freeze": ("slot", 3, 0.2, SESSION - 2),
    "zombie": ("slot", 3, SESSION + 2, SESSION + 8),
    "twin": ("slot", 1, 3.0, SESSION + 4),
    "storm": ("guests", 2, 4.0, 12.0),
    "broker-kill": ("broker", 2, 0.0, 2.0),
    "broker-restart": ("broker", 2, 0.0, 2.0),
    "broker-freeze": ("broker", 2, 0.5, SESSION + 4),
    "cut": ("net", 4, 0.0, 0.0),
    "delay": ("net", 2, 2.0, 8.0),
    "mute": ("net", 3, 1.0, SESSION + 6),
    "hole": ("net", 1, 1.0, SESSION + 6),
    "poison": ("source", 2, 0.0, 0.0),
}
KINDS = tuple(_KINDS)
_BREATH = 3.0
"""Seconds between two faults of the same target."""
_RECOVERY = 25.0
"""The same after the broker was away: it takes ten seconds to start, and workers that never work prove nothing."""


@dataclass(frozen=True)
class Fault:
    """One fault. ``at`` and ``seconds`` from the start of the run; ``share``: of the connections that it concerns."""

    at: float
    kind: str
    target: str
    seconds: float
    share: float = 1.0
    delay: float = 0.0

    def __str__(self) -> str:
        more = f" of {self.share:.0%} of the connections" if self.target == "net" else ""
        more += f" by {self.delay * 1000:.0f} ms" if self.delay else ""
        return f"{self.kind} {self.target} for {self.seconds:.2f} s{more}"


def schedule(seed: int, seconds: float) -> list[Fault]:
    """Faults in order of time; two that hit the same target do not overlap, others may."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    free: dict[str, float] = {}
    now = WARM_UP
    deck: list[str] = []
    while True:
        now += rng.expovariate(1 / 1.5)
        if now > seconds:
            return faults
        if not deck:  # dealt like cards, so that a short run has many kinds, too
            deck = [kind for kind in KINDS for _ in range(_KINDS[kind][1])]
            rng.shuffle(deck)
        kind = deck.pop()
        where, _, least, most = _KINDS[kind]
        target = f"slot {rng.randrange(SLOTS)}" if where == "slot" else where
        lasts = rng.uniform(least, most)
        share, delay = rng.choice((1.0, 1.0, 0.5, 0.2)), rng.uniform(0.02, 0.5) if kind == "delay" else 0.0
        if now < free.get(target, 0.0):
            continue
        free[target] = now + lasts + (_RECOVERY if kind in ("broker-kill", "broker-restart") else _BREATH)
        faults.append(Fault(now, kind, target, lasts, share if where == "net" else 1.0, delay))
