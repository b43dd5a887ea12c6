"""The host application's view of its edge nodes: who is born, what their metrics mean, what is missing. Pure.

Sparkplug 3.0.0, chapter 5. A node's births say what its metrics mean, and each of its messages carries a number from 0
to 255. One that is missing may have been a birth, so nothing that follows can be trusted to mean what it meant before:
the node is down, and all that comes is dropped, until it is born again. Times are microseconds of a clock that nobody
sets (:func:`connectors.clock.steady`), since they only measure waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from connectors.sparkplug.address import Node, Scope, Verb
from connectors.sparkplug.effects import Ask, Cause, Definition, Down, Dropped, Effect, Outcome, Sample, Up
from connectors.sparkplug.payload import BDSEQ, DataType, Metric, Payload
from connectors.sparkplug.values import members_of

_HELD_LIMIT = 64  # out of order by more is a loss
_WAIT_CEILING = 3_600_000_000


@dataclass(slots=True)
class _Table:
    """The metrics of one birth, by name and by alias; None: two metrics claim the alias."""

    names: dict[str, Definition] = field(default_factory=dict)
    aliases: dict[int, Definition | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    verb: Verb
    scope: Scope
    payload: Payload
    token: object | None


@dataclass(slots=True)
class _State:
    is_born: bool = False
    bdseq: int | None = None
    expected: int = 0
    tables: dict[str, _Table] = field(default_factory=dict)
    held: dict[int, _Held] = field(default_factory=dict)
    held_since: int = 0
    awaited: dict[str, int] = field(
        default_factory=dict
    )  # devices known before a rebirth, and until when they may wait
    wanted: str = ""  # why a birth is wanted
    asked: int | None = None
    wait: int = 0
    next_ask: int = 0


class Host:
    """All nodes of one broker.

    ``reorder_timeout``: how long a missing message may come late. ``rebirth_interval``: least time between two requests
    to a node; it doubles while they are in vain.
    """

    def __init__(self, scopes: Iterable[Scope], *, reorder_timeout: int, rebirth_interval: int) -> None:
        self._scopes: dict[Node, list[str]] = {}
        for scope in scopes:
            self._scopes.setdefault(scope.node, []).append(scope.device)
        self._reorder_timeout = reorder_timeout
        self._interval = rebirth_interval
        self._nodes: dict[Node, _State] = {}

    def connected(self, now: int) -> None:
        """A new connection: nothing is known. Nodes that are not born by themselves in time are asked."""
        for node in self._scopes:
            self._nodes[node] = _State(
                wanted="the host has just connected", wait=self._interval, next_ask=now + self._reorder_timeout
            )

    def disconnected(self, why: str) -> list[Outcome]:
        """The connection is lost: everything is down. What was held back is not acknowledged either."""
        effects: list[Effect] = []
        for node, state in self._nodes.items():
            effects += self._down(node, state, Cause.DISCONNECTED, why)
        self._nodes.clear()
        return [Outcome(None, effects)]

    def malformed(self, verb: Verb, scope: Scope, now: int) -> list[Outcome]:
        """A message that cannot be read. If it was a birth, what numbers mean from now on is not known."""
        state = self._nodes.get(scope.node)
        if state is None or verb not in (Verb.NBIRTH, Verb.DBIRTH):
            return []  # that its number is missing will show with the next message
        return self._lose(scope.node, state, now, f"a malformed {verb} came", None)

    def message(
        self, verb: Verb, scope: Scope, payload: Payload, now: int, token: object | None = None
    ) -> list[Outcome]:
        """Take a message. Its outcome, and those of messages that waited for it, in order; none while it waits."""
        state = self._nodes.get(scope.node)
        if state is None:
            return [Outcome(token, [Dropped(scope.node, "the node is not configured")])]
        if verb is Verb.NBIRTH:
            return self._node_birth(scope, state, payload, now, token)
        if verb is Verb.NDEATH:
            return self._node_death(scope, state, payload, token)
        if not state.is_born:
            effects: list[Effect] = [Dropped(scope.node, f"{verb} before an NBIRTH")]
            return [Outcome(token, effects + self._want(scope.node, state, f"{verb} came before an NBIRTH", now))]
        if payload.seq is None:
            # If it stands for one of the node's own, that one's number is missing, which shows with the next.
            return [Outcome(token, [Dropped(scope.node, f"a {verb} without a sequence number", letter=True)])]
        if payload.seq != state.expected:
            return self._hold(_Held(verb, scope, payload, token), state, now)
        outcomes = [self._apply(_Held(verb, scope, payload, token), state, now)]
        while state.is_born and (held := state.held.pop(state.expected, None)):
            outcomes.append(self._apply(held, state, now))
        return outcomes

    def tick(self, now: int) -> list[Outcome]:
        """What time alone brings about; call it a few times a second."""
        outcomes = []
        for node, state in self._nodes.items():
            if state.held and now - state.held_since >= self._reorder_timeout:
                outcomes += self._lose(node, state, now, *self._missing(state))
            effects: list[Effect] = []
            for device, until in list(state.awaited.items()):
                if now >= until:
                    del state.awaited[device]
                    detail = "the node was born anew, the device was not"
                    effects.append(Down(Scope(node, device), Cause.LOSS, None, detail))
            if state.wanted:
                effects += self._ask(node, state, now)
            if effects:
                outcomes.append(Outcome(None, effects))
        return outcomes

    def _node_birth(
        self, scope: Scope, state: _State, payload: Payload, now: int, token: object | None
    ) -> list[Outcome]:
        outcomes = self._release(state, "overtaken by an NBIRTH", scope.node)
        grace = now + max(self._reorder_timeout, 1_000_000)
        state.awaited |= {device: grace for device in state.tables if device}
        state.is_born = True
        state.wanted = ""
        state.bdseq = _bdseq(payload)
        seq = payload.seq or 0
        state.expected = (seq + 1) % 256
        state.tables.clear()
        effects = self._birth(scope, state, payload, seq, now)
        return [*outcomes, Outcome(token, effects)]

    def _node_death(self, scope: Scope, state: _State, payload: Payload, token: object | None) -> list[Outcome]:
        bdseq = _bdseq(payload)
        if state.is_born and None not in (bdseq, state.bdseq) and bdseq != state.bdseq:
            return [Outcome(token, [Dropped(scope.node, f"NDEATH of an earlier session (bdSeq {bdseq})")])]
        outcomes = self._release(state, "the node has died", scope.node)
        effects = self._down(scope.node, state, Cause.DEATH, "NDEATH: the edge node has left the broker")
        state.wanted = ""  # there is nobody to ask; it comes back with a birth
        return [*outcomes, Outcome(token, effects)]

    def _hold(self, held: _Held, state: _State, now: int) -> list[Outcome]:
        seq = held.payload.seq
        assert seq is not None  # the caller has looked  # noqa: S101
        if not state.held:
            state.held_since = now
        is_repeat = seq in state.held
        if not is_repeat:
            state.held[seq] = held
        if self._reorder_timeout and not is_repeat and len(state.held) < _HELD_LIMIT:
            return []
        lost = self._lose(held.scope.node, state, now, *self._missing(state))
        return [*lost, Outcome(held.token, [])] if is_repeat else lost

    def _apply(self, held: _Held, state: _State, now: int) -> Outcome:
        scope, payload = held.scope, held.payload
        seq = state.expected
        state.expected = (seq + 1) % 256
        if scope.device and scope.device not in self._scopes[scope.node]:
            return Outcome(held.token, [Dropped(scope.node, "the device is not configured")])
        if held.verb is Verb.DBIRTH:
            return Outcome(held.token, self._birth(scope, state, payload, seq, now))
        table = state.tables.get(scope.device)
        if held.verb is Verb.DDEATH:
            if table is None and scope.device not in state.awaited:
                return Outcome(held.token, [])
            state.tables.pop(scope.device, None)
            state.awaited.pop(scope.device, None)
            time = None if payload.timestamp is None else payload.timestamp * 1000
            return Outcome(held.token, [Down(scope, Cause.DEATH, time, "DDEATH: the edge node has lost the device")])
        if table is None:
            effects: list[Effect] = [Dropped(scope.node, f"{held.verb} before a DBIRTH")]
            return Outcome(held.token, effects + self._want(scope.node, state, f"no DBIRTH of {scope.device}", now))
        effects = []
        for place, metric in enumerate(payload.metrics):
            effects += self._value(scope, state, table, metric, payload, seq, place, now)
        return Outcome(held.token, effects)

    def _birth(self, scope: Scope, state: _State, payload: Payload, seq: int, now: int) -> list[Effect]:
        table = _Table()
        for metric in payload.metrics:
            if metric.name is None:
                continue
            members = members_of(metric.raw) if metric.datatype == DataType.Template else {}
            definition = Definition(metric.name, metric.datatype, metric.unit, members)
            table.names[metric.name] = definition
            if metric.alias is not None:
                known = table.aliases.setdefault(metric.alias, definition)
                if known is None or known.name != metric.name:
                    table.aliases[metric.alias] = None
                else:
                    table.aliases[metric.alias] = definition
        state.tables[scope.device] = table
        state.awaited.pop(scope.device, None)
        if scope.device not in self._scopes[scope.node]:
            return []  # the node's own metrics are not asked for; its births are followed all the same
        effects: list[Effect] = [Up(scope)]
        for place, metric in enumerate(payload.metrics):
            if metric.name is None:
                effects.append(Dropped(scope.node, f"metric {place} of a birth without a name", letter=True))
            elif metric.name != BDSEQ:
                effects += self._value(scope, state, table, metric, payload, seq, place, now)
        return effects

    def _value(
        self,
        scope: Scope,
        state: _State,
        table: _Table,
        metric: Metric,
        payload: Payload,
        seq: int,
        place: int,
        now: int,
    ) -> list[Effect]:
        if scope.device not in self._scopes[scope.node]:
            return []
        if metric.name is not None:
            definition, which = table.names.get(metric.name), f"metric {metric.name[:100]!r}"
        elif metric.alias is not None:
            definition, which = table.aliases.get(metric.alias), f"alias {metric.alias}"
            if definition is None and metric.alias in table.aliases:
                return [Dropped(scope.node, f"alias {metric.alias} stands for two metrics of {scope}", letter=True)]
        else:
            return [Dropped(scope.node, "a metric with neither name nor alias", letter=True)]
        if definition is None:
            why = f"{which} is not in the birth of {scope}"
            return [Dropped(scope.node, why, letter=True), *self._want(scope.node, state, why, now)]
        if metric.datatype and metric.datatype != definition.datatype:
            why = f"{which} has datatype {metric.datatype}, in the birth of {scope} {definition.datatype}"
            return [Dropped(scope.node, why, letter=True), *self._want(scope.node, state, why, now)]
        bdseq = -1 if state.bdseq is None else state.bdseq
        return [Sample(scope, definition, metric, payload.timestamp, bdseq, seq, place)]

    def _missing(self, state: _State) -> tuple[str, int]:
        count = min((seq - state.expected) % 256 for seq in state.held)
        came = (state.expected + count) % 256
        return f"message {came} came where {state.expected} was expected", count

    def _lose(self, node: Node, state: _State, now: int, detail: str, count: int | None) -> list[Outcome]:
        first = last = None
        if count and state.expected + count <= 256:
            first, last = state.expected, state.expected + count - 1
        outcomes = self._release(state, "held back for a message that never came", node)
        effects = self._down(node, state, Cause.LOSS, detail, first, last, count)
        effects += self._want(node, state, detail, now)
        return [*outcomes, Outcome(None, effects)]

    def _release(self, state: _State, why: str, node: Node) -> list[Outcome]:
        held, state.held = state.held, {}
        return [Outcome(one.token, [Dropped(node, why)]) for one in held.values()]

    def _down(
        self,
        node: Node,
        state: _State,
        cause: Cause,
        detail: str,
        first: int | None = None,
        last: int | None = None,
        count: int | None = None,
    ) -> list[Effect]:
        """Every configured scope of the node that was up."""
        state.is_born = False
        known = state.tables.keys() | state.awaited.keys()
        state.tables.clear()
        state.awaited.clear()
        return [
            Down(Scope(node, device), cause, None, detail, first, last, count)
            for device in self._scopes[node]
            if device in known
        ]

    def _want(self, node: Node, state: _State, why: str, now: int) -> list[Effect]:
        state.wanted = state.wanted or why
        return self._ask(node, state, now)

    def _ask(self, node: Node, state: _State, now: int) -> list[Effect]:
        if now < state.next_ask:
            return []
        # A node that has been well for a while is asked at once and then as seldom as at the beginning.
        in_vain = state.asked is not None and now - state.asked <= 2 * state.wait
        state.wait = min(state.wait * 2, _WAIT_CEILING) if in_vain else self._interval
        state.asked = now
        state.next_ask = now + state.wait
        return [Ask(node, state.wanted)]


def _bdseq(payload: Payload) -> int | None:
    for metric in payload.metrics:
        if metric.name == BDSEQ and not metric.is_null:
            return int(metric.raw.long_value or metric.raw.int_value)
    return None
