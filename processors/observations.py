"""Observations: telemetry, prices and gaps repartitioned to the rules that name them. See docs/processors.md."""

from __future__ import annotations

import msgspec

from processors.operands import PRICE, TELEMETRY, operand_key
from processors.processor import Batch, Emitter, Processor, State
from processors.quotes import too_far_ahead
from processors.wording import clip, derived_id, misplaced
from schemas import topics
from schemas.base import Quality, key_of
from schemas.gaps import Feed, Gap
from schemas.observations import Observation
from schemas.rules import PriceOf, Rule, Telepoint
from schemas.telemetry import Telemetry
from schemas.ticks import Tick

Names = dict[str, list[str]]
"""Point to the ids of the rules that name it; of an instrument the only point is empty."""


class Last(msgspec.Struct, frozen=True, gc=False):
    """Times (microseconds) of the newest record of an operand that some rule names."""

    event_time: int
    receive_time: int


class Observations(Processor):
    """For each active rule that names a point or an instrument: every sample, and the newest price per commit.

    An open gap becomes an observation without a value, unless data that was received after it was already passed on.
    """

    name = "observations"
    reads = (topics.telemetry, topics.ticks, topics.gaps, topics.rules)
    writes = (topics.observations,)
    newest_only = frozenset({topics.ticks})

    rules = State(Rule)
    """Broadcast; by rule, as far as active."""
    named = State(Names)
    """Broadcast; by ``telemetry|device`` or ``price|instrument``."""
    last = State(Last)
    """By ``device|point`` or ``instrument``."""

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        """Pass on what rules look at."""
        if batch.topic is topics.telemetry:
            self._telemetry(batch, out)
        elif batch.topic is topics.ticks:
            self._ticks(batch, out)
        elif batch.topic is topics.gaps:
            self._gaps(batch, out)
        else:
            for index, rule in enumerate(batch.values):
                if not misplaced(batch, index, rule.rule_id):
                    self._rule(rule)

    def _telemetry(self, batch: Batch, out: Emitter) -> None:
        sample: Telemetry
        for index, sample in enumerate(batch.values):
            names = self.named.get(f"{TELEMETRY}|{sample.device}")
            rules = names.get(sample.point) if names else None
            if not rules or misplaced(batch, index, sample.device):
                continue
            self._seen(key_of(sample.device, sample.point), sample.event_time, sample.receive_time)
            operand = Telepoint(device=sample.device, point=sample.point)
            at = batch.at(index)
            for rule_id in rules:
                observation = Observation(
                    rule_id=rule_id,
                    operand=operand,
                    value=sample.value,
                    unit=sample.unit,
                    quality=sample.quality,
                    reason=sample.reason,
                    origin=at,
                    event_time=min(sample.event_time, sample.receive_time),
                    receive_time=sample.receive_time,
                )
                key = key_of(rule_id, operand_key(operand))
                out.append(topics.observations, key, observation, event_id=derived_id(rule_id, at))

    def _ticks(self, batch: Batch, out: Emitter) -> None:
        tick: Tick
        for index, tick in enumerate(batch.values):
            names = self.named.get(f"{PRICE}|{tick.instrument}")
            if not names or misplaced(batch, index, tick.instrument):
                continue
            if reason := too_far_ahead(tick):
                batch.reject(index, reason)
                continue
            last = self.last.get(tick.instrument)
            if last is not None and tick.event_time < last.event_time:
                continue
            self._seen(tick.instrument, tick.event_time, tick.receive_time)
            operand = PriceOf(instrument=tick.instrument)
            mark = tick.mark
            for rule_id in names[""]:
                observation = Observation(
                    rule_id=rule_id,
                    operand=operand,
                    value=mark,
                    unit="",
                    quality=Quality.BAD if mark is None else Quality.GOOD,
                    reason="neither both sides nor a last trade" if mark is None else "",
                    origin=batch.at(index),
                    event_time=min(tick.event_time, tick.receive_time),
                    receive_time=tick.receive_time,
                )
                out.latest(topics.observations, key_of(rule_id, operand_key(operand)), observation)

    def _gaps(self, batch: Batch, out: Emitter) -> None:
        gap: Gap
        for index, gap in enumerate(batch.values):
            if gap.feed in (Feed.FILLS, Feed.EVENTS):
                continue  # no operand of a rule
            feed = PRICE if gap.feed is Feed.TICKS else TELEMETRY
            names = self.named.get(f"{feed}|{gap.key}")
            if not gap.open or not names or misplaced(batch, index, gap.key):
                continue
            for point, rules in names.items():
                route = key_of(gap.key, point) if feed == TELEMETRY else gap.key
                last = self.last.get(route)
                concerned = feed == PRICE or gap.point in (None, point)
                if concerned and (last is None or last.receive_time < gap.receive_time):
                    for rule_id in rules:
                        self._gap(batch, index, gap, point, rule_id, out)

    def _gap(self, batch: Batch, index: int, gap: Gap, point: str, rule_id: str, out: Emitter) -> None:
        is_price = gap.feed is Feed.TICKS
        operand = PriceOf(instrument=gap.key) if is_price else Telepoint(device=gap.key, point=point)
        at = batch.at(index)
        observation = Observation(
            rule_id=rule_id,
            operand=operand,
            value=None,
            unit="",
            quality=Quality.BAD,
            gap=gap.reason,
            reason=clip(f"open gap ({gap.reason.value}) {gap.detail}".rstrip()),
            origin=at,
            event_time=min(gap.event_time, gap.receive_time),
            receive_time=gap.receive_time,
        )
        key = key_of(rule_id, operand_key(operand))
        out.append(topics.observations, key, observation, event_id=derived_id(rule_id, point or "price", at))

    def _seen(self, route: str, event_time: int, receive_time: int) -> None:
        last = self.last.get(route)
        if last is None or last.event_time < event_time or last.receive_time < receive_time:
            before = last or Last(0, 0)
            self.last.put(route, Last(max(before.event_time, event_time), max(before.receive_time, receive_time)))

    # --- rules --------------------------------------------------------------------------------------------------

    def _rule(self, rule: Rule) -> None:
        old = self.rules.get(rule.rule_id)
        before = set(_places(old)) if old is not None else set()
        after = set(_places(rule)) if rule.active else set()
        for place in sorted(before - after):
            self._name(place, rule.rule_id, add=False)
        for place in sorted(after - before):
            self._name(place, rule.rule_id, add=True)
        if rule.active:
            self.rules.put(rule.rule_id, rule)
        elif old is not None:
            self.rules.delete(rule.rule_id)

    def _name(self, place: tuple[str, str], rule_id: str, *, add: bool) -> None:
        key, point = place
        names = dict(self.named.get(key) or {})
        ids = set(names.pop(point, [])) - {rule_id} | ({rule_id} if add else set())
        if ids:
            names[point] = sorted(ids)
        if names:
            self.named.put(key, dict(sorted(names.items())))
        else:
            self.named.delete(key)


def _places(rule: Rule) -> list[tuple[str, str]]:
    """Where in ``named`` the rule's operands stand."""
    return [
        (key_of(PRICE, operand.instrument), "")
        if isinstance(operand, PriceOf)
        else (key_of(TELEMETRY, operand.device), operand.point)
        for operand in rule.operands()
    ]
