"""Triggers: rules on telemetry and prices become alerts and intents. See docs/processors.md for the exact meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from processors.conditions import NEVER, Seen, View, after, conjunction, describe, digits, role
from processors.operands import operand_key, operand_name
from processors.processor import Batch, Emitter, Processor, State
from processors.wording import clip, clock, derived_id, lasted, misplaced, number, unit_name
from schemas import topics
from schemas.alerts import Alert, AlertKind, Severity
from schemas.base import Coordinates, key_of
from schemas.evidence import Evidence, Input
from schemas.intents import Intent
from schemas.observations import Observation
from schemas.rules import Comparison, PriceOf, Rule, Telepoint

_DECIDING = ("conditions", "duration", "stale_after", "active")
"""Fields of a rule that change what it means; a new version with the same leaves it running."""


class Ruled(msgspec.Struct, frozen=True, gc=False):
    """A rule and where it was read."""

    rule: Rule
    at: Coordinates


class Course(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How far a rule has come. ``held``: which conditions held, for the bands. A time is 0 when there was none.

    ``since``: event time from which all have held, with the records that said so in ``started``; ``fired``: id of the
    alert not yet cleared; ``fired_time``: event time of the last firing, for the cooldown; ``wall``: last timer.
    """

    held: list[bool] = []
    since: int = 0
    started: list[Input] = []
    fired: str | None = None
    fired_time: int = 0
    wall: int = 0


START = Course()


class Triggers(Processor):
    """Fires a rule once all its conditions have held for its duration, and clears it once one certainly does not.

    Time passes with the data: a rule fires on the first observation at or after ``since + duration``. Only absence is
    told by the recorded clock, since no data can tell it. A rule's course lives in the one task that gets its
    observations; the others only remember the rule.
    """

    name = "triggers"
    reads = (topics.observations, topics.rules)
    writes = (topics.alerts, topics.intents)

    rules = State(Ruled)
    """Broadcast; by rule."""
    seen = State(Seen)
    """By ``rule|operand``."""
    courses = State(Course)
    """By rule."""

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        """Take observations or rules."""
        for index, value in enumerate(batch.values):
            if batch.topic is topics.rules:
                if not misplaced(batch, index, value.rule_id):
                    self._rule(value, batch.at(index), out)
            elif not misplaced(batch, index, key_of(value.rule_id, operand_key(value.operand))):
                self._observe(value, out)

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        """An operand may be absent by now (key ``rule|operand``), or absence has lasted its duration (key ``rule``)."""
        rule_id, _, _ = key.partition("|")
        ruled = self.rules.get(rule_id)
        if ruled is None or not ruled.rule.active:
            return
        course = self.courses.get(rule_id) or START
        self.courses.put(rule_id, msgspec.structs.replace(course, wall=now))
        self._judge(ruled, View(ruled.rule, self._look(rule_id), now, now), None, out)
        self._arm(ruled.rule, now)

    def _observe(self, found: Observation, out: Emitter) -> None:
        key = key_of(found.rule_id, operand_key(found.operand))
        before = self.seen.get(key) or NEVER
        now_seen = after(before, found)
        if now_seen is before:
            return
        self.seen.put(key, now_seen)
        ruled = self.rules.get(found.rule_id)
        if ruled is None or not ruled.rule.active:
            return
        rule = ruled.rule
        resumed = 0 < before.event_time < now_seen.event_time - rule.stale_after and not _only_absence(rule, found)
        if resumed:
            self._interrupt(rule.rule_id)
        course = self.courses.get(rule.rule_id) or START
        look = self._look(rule.rule_id)
        every = [look(operand_key(operand)) or NEVER for operand in rule.operands()]
        now = max(found.event_time, *(seen.event_time for seen in every))
        wall = max(found.receive_time, course.wall, *(seen.receive_time for seen in every))
        self._judge(ruled, View(rule, look, now, wall), found, out)
        self._arm(rule, wall)

    def _look(self, rule_id: str) -> Callable[[str], Seen | None]:
        return lambda operand: self.seen.get(f"{rule_id}|{operand}")

    # --- the course of a rule -------------------------------------------------------------------------------------

    def _judge(self, ruled: Ruled, view: View, found: Observation | None, out: Emitter) -> None:
        rule = ruled.rule
        course = self.courses.get(rule.rule_id) or START
        held = course.held if len(course.held) == len(rule.conditions) else [False] * len(rule.conditions)
        results = [view.judge(condition, before) for condition, before in zip(rule.conditions, held, strict=True)]
        interrupted = view.interrupted()
        keep = course.fired is not None or not interrupted
        held = [(before and keep) if result is None else result for result, before in zip(results, held, strict=True)]
        verdict = conjunction(results)
        since, started, fired, fired_time = course.since, course.started, course.fired, course.fired_time
        if verdict:
            if not since:
                since, started = view.now, _inputs(view, "at start") if rule.duration else []
        elif verdict is False or interrupted:
            since, started = 0, []
        if fired and verdict is False:
            lost = [c for c, result in zip(rule.conditions, results, strict=True) if result is False]
            message = "; ".join(describe(view, condition, over=True) for condition in lost)
            self._alert(ruled, view, AlertKind.RULE_CLEARED, fired, message, found, out)
            fired = None
        elif (
            not fired and verdict and view.now >= max(since + rule.duration, fired_time and fired_time + rule.cooldown)
        ):
            fired = derived_id(rule.rule_id, f"v{rule.version}", found.origin if found else f"at-{view.now}")
            fired_time = view.now
            self._fire(ruled, view, fired, since, started, found, out)
        after_all = Course(
            held=held, since=since, started=started, fired=fired, fired_time=fired_time, wall=course.wall
        )
        if after_all != course:
            self.courses.put(rule.rule_id, after_all)

    def _interrupt(self, rule_id: str) -> None:
        """An operand was stale between two samples: what held before it says nothing about the time between."""
        course = self.courses.get(rule_id)
        if course is not None:
            held = course.held if course.fired else []
            self.courses.put(rule_id, msgspec.structs.replace(course, held=held, since=0, started=[]))

    def _arm(self, rule: Rule, wall: int) -> None:
        """Set the timers of absence, which no observation can tell."""
        absences = [c for c in rule.conditions if c.comparison is Comparison.ABSENT]
        if not absences:
            return
        view = View(rule, self._look(rule.rule_id), wall, wall)
        waits: dict[str, int] = {}
        for condition in absences:
            due = view.absence_due(condition)
            if due is not None and due > wall:
                key = key_of(rule.rule_id, operand_key(condition.operand))
                waits[key] = min(due, waits.get(key, due))
        course = self.courses.get(rule.rule_id) or START
        if course.since and not course.fired:
            ready = max(course.since + rule.duration, course.fired_time and course.fired_time + rule.cooldown)
            if ready > wall:
                waits[rule.rule_id] = ready
        for key, time in waits.items():
            self.timers.at_wall(key, time)

    # --- rules ----------------------------------------------------------------------------------------------------

    def _rule(self, rule: Rule, at: Coordinates, out: Emitter) -> None:
        rule_id = rule.rule_id
        old = self.rules.get(rule_id)
        ruled = Ruled(rule, at)
        self.rules.put(rule_id, ruled)
        if old is None or all(getattr(old.rule, name) == getattr(rule, name) for name in _DECIDING):
            return
        course = self.courses.get(rule_id)
        if course is not None:
            if course.fired:
                view = View(old.rule, self._look(rule_id), rule.event_time, rule.receive_time)
                why = f"the rule was changed to version {rule.version}" if rule.active else "the rule was switched off"
                self._alert(ruled, view, AlertKind.RULE_CLEARED, course.fired, why, None, out)
            self.courses.put(rule_id, Course(fired_time=course.fired_time, wall=course.wall))
        named = {key_of(rule_id, operand_key(operand)) for operand in rule.operands()}
        for key, _ in list(self.seen.items(f"{rule_id}|")):
            self.timers.cancel(key)
            if key not in named:
                self.seen.delete(key)
        self.timers.cancel(rule_id)
        if rule.active:
            self._arm(rule, course.wall if course else 0)

    # --- output ---------------------------------------------------------------------------------------------------

    def _fire(
        self,
        ruled: Ruled,
        view: View,
        alert_id: str,
        since: int,
        started: list[Input],
        found: Observation | None,
        out: Emitter,
    ) -> None:
        rule = ruled.rule
        lasting = f"for {lasted(view.now - since)} since {clock(since)}: " if rule.duration else ""
        message = lasting + "; and ".join(describe(view, condition) for condition in rule.conditions)
        evidence = self._alert(ruled, view, AlertKind.RULE_FIRED, alert_id, message, found, out, started)
        if rule.action is not None:
            intent = Intent(
                intent_id=derived_id(alert_id, "intent"),
                book=rule.action.book,
                instrument=rule.action.instrument,
                side=rule.action.side,
                quantity=rule.action.quantity,
                collar=rule.action.collar,
                evidence=evidence,
                event_time=view.now,
                receive_time=found.receive_time if found else view.wall,
            )
            out.append(topics.intents, intent.instrument, intent, event_id=intent.intent_id)

    def _alert(
        self,
        ruled: Ruled,
        view: View,
        kind: AlertKind,
        fired: str,
        message: str,
        found: Observation | None,
        out: Emitter,
        started: Sequence[Input] = (),
    ) -> Evidence:
        rule = ruled.rule
        firing = kind is AlertKind.RULE_FIRED
        inputs = [Input(at=ruled.at, role="rule", summary=clip(f"{rule.rule_id} version {rule.version}: {rule.name}"))]
        inputs += _inputs(view, "")
        inputs += [one for one in started if one.at not in {known.at for known in inputs}]
        evidence = Evidence(decided_by=f"rule:{rule.rule_id}", version=rule.version, inputs=inputs)
        device = next((o.device for o in rule.operands() if isinstance(o, Telepoint)), None)
        instrument = next((o.instrument for o in rule.operands() if isinstance(o, PriceOf)), None)
        alert = Alert(
            alert_id=fired if firing else derived_id(fired, "cleared"),
            kind=kind,
            severity=rule.severity if firing else Severity.INFO,
            title=clip(rule.name if firing else f"Over: {rule.name}"),
            message=clip(message),
            book=rule.action.book if rule.action else None,
            instrument=rule.action.instrument if rule.action else instrument,
            device=device,
            opened_by=None if firing else fired,
            evidence=evidence,
            event_time=view.now,
            receive_time=found.receive_time if found else view.wall,
        )
        out.append(topics.alerts, rule.rule_id, alert, event_id=alert.alert_id)
        return evidence


def _inputs(view: View, when: str) -> list[Input]:
    """One input per operand: where its value stands and what it meant to the rule."""
    inputs: list[Input] = []
    for operand in view.rule.operands():
        seen = view.seen(operand)
        at = seen.at or seen.lost_at
        if at is None:
            continue
        texts = [describe(view, condition) for condition in view.rule.conditions if condition.operand == operand]
        value = number(seen.value or 0.0, digits(operand))
        said = "; ".join(texts) or f"{operand_name(operand)} {value} {unit_name(seen.unit)}".rstrip()
        time = f" at {clock(seen.event_time)}" if seen.event_time else ""
        inputs.append(Input(at=at, role=f"{role(operand)} {when}".rstrip(), summary=clip(said + time)))
        if seen.lost_at is not None and seen.lost_at != at:
            inputs.append(Input(at=seen.lost_at, role="gap", summary=clip(seen.lost_reason)))
    return inputs


def _only_absence(rule: Rule, found: Observation) -> bool:
    """Whether no condition looks at the value of the observed operand."""
    return not any(
        found.operand in (condition.operand, condition.relative_to)
        for condition in rule.conditions
        if condition.comparison is not Comparison.ABSENT
    )
