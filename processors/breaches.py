"""When a breach opens and closes, and how it is told."""

from __future__ import annotations

import msgspec

from processors.wording import contrast, derived_id, money, number, quantity
from schemas.alerts import AlertKind, Severity
from schemas.base import Coordinates
from schemas.exposures import LimitState
from schemas.limits import Limit, Measure
from schemas.positions import Position


class Breach(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The open alerts of one limit: their ids, or None."""

    soft: str | None = None
    hard: str | None = None

    @property
    def state(self) -> LimitState:
        """Where the limit stands while its measure is known."""
        if self.hard:
            return LimitState.HARD
        return LimitState.SOFT if self.soft else LimitState.WITHIN


NONE = Breach()


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A breach of one level that opens or closes."""

    level: LimitState
    kind: AlertKind
    alert_id: str
    opened_by: str | None = None

    @property
    def severity(self) -> Severity:
        """Hard is critical, soft a warning; a closing is information."""
        if self.kind is AlertKind.BREACH_CLOSED:
            return Severity.INFO
        return Severity.CRITICAL if self.level is LimitState.HARD else Severity.WARNING


def judge(limit: Limit, before: Breach, used: float, by: Coordinates) -> tuple[Breach, list[Change]]:
    """The breach after a measure of ``used`` (in the limit's currency), and what changed, told by record ``by``.

    A level opens above itself and closes at level x (1 - hysteresis). From within straight above hard, only the hard
    one opens; when that closes and soft is still exceeded, the soft one opens then. So there is no moment above soft
    without an open alert, and no jump that makes two.
    """
    hard, soft = before.hard, before.soft
    closed: list[Change] = []
    opened: list[Change] = []
    if hard and used <= limit.hard * (1 - limit.hysteresis):
        closed.append(_closing(LimitState.HARD, hard))
        hard = None
    elif not hard and used > limit.hard:
        opened.append(_opening(limit, LimitState.HARD, by))
        hard = opened[-1].alert_id
    if soft and used <= limit.soft * (1 - limit.hysteresis):
        closed.append(_closing(LimitState.SOFT, soft))
        soft = None
    elif not soft and not hard and used > limit.soft:
        opened.append(_opening(limit, LimitState.SOFT, by))
        soft = opened[-1].alert_id
    return Breach(soft=soft, hard=hard), closed + opened


def withdrawn(before: Breach | None) -> list[Change]:
    """What closes when the limit is switched off or comes to mean something else."""
    open_alerts = ((LimitState.HARD, before.hard), (LimitState.SOFT, before.soft)) if before else ()
    return [_closing(level, alert) for level, alert in open_alerts if alert]


def redefined(old: Limit, new: Limit) -> bool:
    """Whether the limit now bounds something else, so that its open breaches say nothing about it."""
    return (old.book, old.measure, old.instrument, old.currency) != (
        new.book,
        new.measure,
        new.instrument,
        new.currency,
    )


def _opening(limit: Limit, level: LimitState, by: Coordinates) -> Change:
    alert_id = derived_id(limit.limit_id, f"v{limit.version}", level.value, by)
    return Change(level=level, kind=AlertKind.BREACH_OPENED, alert_id=alert_id)


def _closing(level: LimitState, opened_by: str) -> Change:
    alert_id = derived_id(opened_by, "closed")
    return Change(level=level, kind=AlertKind.BREACH_CLOSED, alert_id=alert_id, opened_by=opened_by)


# --- words ------------------------------------------------------------------------------------------------------------


def words(now: Limit, limit: Limit, change: Change, used: float | None) -> tuple[str, str]:
    """Title and message of an alert. ``now`` is the limit as it stands; ``limit`` the one that the breach was of."""
    level = change.level.value
    subject = f"{limit.book} {_subject(limit)}"
    if used is None:
        why = "was switched off" if not now.active else "was changed to bound something else"
        return f"{level.capitalize()} limit withdrawn: {limit.limit_id}", f"The {level} limit on {subject} {why}"
    bound = limit.hard if change.level is LimitState.HARD else limit.soft
    amount, border = contrast(used, bound, limit.currency)
    if change.kind is AlertKind.BREACH_OPENED:
        title = f"{level.capitalize()} limit breached: {limit.limit_id}"
        return title, f"{subject} {amount} is above its {level} limit {border}"
    title = f"{level.capitalize()} limit kept again: {limit.limit_id}"
    return title, f"{subject} {amount} is back below its {level} limit {border}"


def limit_words(limit: Limit) -> str:
    """What a limit says."""
    if not limit.active:
        return f"{limit.limit_id} version {limit.version}: switched off"
    levels = f"soft {money(limit.soft, limit.currency)}, hard {money(limit.hard, limit.currency)}"
    return (
        f"{limit.limit_id} version {limit.version}: {limit.book} {_subject(limit)}, {levels}, "
        f"closing {number(limit.hysteresis * 100)} % below"
    )


def position_words(measure: Measure, position: Position) -> str:
    """A position as its part in a measure: ``oil-desk WTI 12 000 bbl × 71.35 = 856 200 USD``."""
    subject = f"{position.book} {position.instrument} {quantity(position.quantity, position.unit)}"
    if position.mark is None or position.market_value is None or position.unrealised_pnl is None:
        return f"{subject}, mark {position.mark_status.value}"
    if measure is not Measure.LOSS:
        return f"{subject} × {number(position.mark)} = {money(position.market_value, position.currency, 12)}"
    parts = (
        f"realised {money(float(position.realised_pnl), position.currency)}",
        f"unrealised {money(position.unrealised_pnl, position.currency)}",
        f"fees {money(float(position.fees), position.currency)}",
    )
    return f"{subject} at {number(position.mark)}: {', '.join(parts)}"


def _subject(limit: Limit) -> str:
    what = "loss" if limit.measure is Measure.LOSS else f"{limit.measure.value} exposure"
    return f"{limit.instrument} {what}" if limit.instrument else what
