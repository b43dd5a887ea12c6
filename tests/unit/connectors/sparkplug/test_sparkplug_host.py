"""The host's view of its nodes, held to examples by the specification's assertion ids and to invariants."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sparkplug.address import Node, Scope, Verb
from connectors.sparkplug.effects import Ask, Cause, Down, Dropped, Effect, Outcome, Sample, Up
from connectors.sparkplug.host import Host
from connectors.sparkplug.payload import DataType, Limits, Payload, decode
from connectors.sparkplug.simulator import double, encode

NODE = Node("g", "n")
N, D, E = Scope(NODE), Scope(NODE, "d"), Scope(NODE, "e")
T = 1_795_244_400_000_000
SECOND = 1_000_000
DEATH = "tck-id-operational-behavior-edge-node-termination-host-action"


def payload(seq: int | None, *metrics: dict[str, Any]) -> Payload:
    return decode(encode(seq, metrics, T // 1000), Limits())


def bdseq(value: int) -> dict[str, Any]:
    return {"name": "bdSeq", "datatype": int(DataType.UInt64), "long_value": value}


class Told:
    """A host with its effects in a row; the clock moves only when told to."""

    def __init__(self, *, reorder: int = 2 * SECOND, scopes: tuple[Scope, ...] = (N, D, E)) -> None:
        self.host = Host(scopes, reorder_timeout=reorder, rebirth_interval=10 * SECOND)
        self.now = T
        self.tokens: list[object] = []
        self.host.connected(self.now)

    def say(self, verb: Verb, scope: Scope, read: Payload, token: object = None) -> list[Effect]:
        return self._take(self.host.message(verb, scope, read, self.now, token))

    def after(self, micros: int) -> list[Effect]:
        self.now += micros
        return self._take(self.host.tick(self.now))

    def born(self, bd: int = 0) -> None:
        """The node with metric a (alias 1), the devices d and e with metric x (aliases 2 and 3)."""
        self.say(Verb.NBIRTH, N, payload(0, bdseq(bd), double("a", 1.0, alias=1)))
        self.say(Verb.DBIRTH, D, payload(1, double("x", 2.0, alias=2)))
        self.say(Verb.DBIRTH, E, payload(2, double("x", 3.0, alias=3)))

    def _take(self, outcomes: list[Outcome]) -> list[Effect]:
        self.tokens += [outcome.token for outcome in outcomes if outcome.token is not None]
        return [effect for outcome in outcomes for effect in outcome.effects]


def of(kind: type[Any], effects: list[Effect]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def values(effects: list[Effect]) -> list[tuple[str, str, float]]:
    return [(s.scope.device, s.definition.name, s.metric.raw.double_value) for s in of(Sample, effects)]


def test_host_when_a_birth_comes_the_node_is_up_and_its_values_follow() -> None:
    told = Told()
    effects = told.say(Verb.NBIRTH, N, payload(0, bdseq(0), double("a", 1.0, alias=1)))
    assert effects[0] == Up(N)
    assert values(effects) == [("", "a", 1.0)]
    assert values(told.say(Verb.NDATA, N, payload(1, double(None, 1.5, alias=1, datatype=None)))) == [("", "a", 1.5)]


def test_host_when_connected_asks_who_is_not_born_in_time_and_again_ever_more_rarely() -> None:
    told = Told()
    assert not told.after(SECOND)
    asked = []
    for second in range(200):
        asked += [second] * len(of(Ask, told.after(SECOND)))
    assert asked == [0, 10, 30, 70, 150]
    told.say(Verb.NBIRTH, N, payload(0, bdseq(0)))
    assert not of(Ask, told.after(3600 * SECOND))


def test_host_when_the_node_dies_everything_is_stale_at_once() -> None:
    """tck-id-operational-behavior-edge-node-termination-host-action-ndeath-node-offline, -node-tags-stale,
    -devices-offline, -devices-tags-stale: at the host's own time."""
    told = Told()
    told.born()
    told.now += SECOND
    downs = of(Down, told.say(Verb.NDEATH, N, payload(None, bdseq(0))))
    assert [(d.scope, d.cause, d.time) for d in downs] == [(s, Cause.DEATH, None) for s in (N, D, E)]
    assert not of(Ask, told.after(100 * SECOND)), "there is nobody to ask"
    assert not of(Sample, told.say(Verb.NDATA, N, payload(3, double("a", 9.0))))


def test_host_when_the_will_of_an_earlier_session_comes_late_the_node_stays_up() -> None:
    told = Told()
    told.born(bd=4)
    assert not of(Down, told.say(Verb.NDEATH, N, payload(None, bdseq(3))))
    assert values(told.say(Verb.NDATA, N, payload(3, double("a", 9.0)))) == [("", "a", 9.0)]


def test_host_when_a_device_dies_it_alone_is_stale_at_the_time_of_the_message() -> None:
    """tck-id-operational-behavior-edge-node-termination-host-action-ddeath-devices-offline, -devices-tags-stale."""
    told = Told()
    told.born()
    told.now += 5 * SECOND
    (down,) = told.say(Verb.DDEATH, D, payload(3))
    assert (down.scope, down.cause, down.time) == (D, Cause.DEATH, T)
    assert values(told.say(Verb.DDATA, E, payload(4, double("x", 5.0)))) == [("e", "x", 5.0)]
    assert not of(Sample, told.say(Verb.DDATA, D, payload(5, double("x", 5.0)))), "it is not born"
    told.now += 60 * SECOND
    assert told.after(0), "and its birth is wanted"
    assert of(Up, told.say(Verb.DBIRTH, D, payload(6, double("x", 6.0)))) == [Up(D)]


def test_host_when_a_late_message_comes_in_time_the_order_is_kept_and_nobody_is_asked() -> None:
    """tck-id-operational-behavior-host-reordering-start, -success."""
    told = Told()
    told.born()
    assert told.say(Verb.NDATA, N, payload(4, double("a", 4.0)), "four") == []
    told.after(SECOND)
    effects = told.say(Verb.NDATA, N, payload(3, double("a", 3.0)), "three")
    assert values(effects) == [("", "a", 3.0), ("", "a", 4.0)]
    assert told.tokens == ["three", "four"]
    assert not told.after(10 * SECOND), "the timer has ended"


def test_host_when_a_missing_message_does_not_come_the_node_is_down_and_asked_until_it_is_born_again() -> None:
    """tck-id-operational-behavior-host-reordering-param, -start, -rebirth."""
    told = Told()
    told.born()
    told.now += 100 * SECOND
    assert told.say(Verb.NDATA, N, payload(5, double("a", 4.0)), "five") == []
    assert told.after(2 * SECOND - 1) == []
    effects = told.after(1)
    downs = of(Down, effects)
    assert [(d.scope, d.cause, d.first, d.last, d.count) for d in downs] == [
        (s, Cause.LOSS, 3, 4, 2) for s in (N, D, E)
    ]
    assert [ask.node for ask in of(Ask, effects)] == [NODE]
    assert told.tokens == ["five"], "what was held back is done with"
    assert not of(Sample, told.say(Verb.DDATA, D, payload(6, double(None, 9.0, alias=2, datatype=None))))
    told.born()
    assert values(told.say(Verb.NDATA, N, payload(3, double("a", 7.0)))) == [("", "a", 7.0)]


def test_host_when_no_reordering_is_wanted_a_gap_is_a_loss_at_once() -> None:
    told = Told(reorder=0)
    told.born()
    assert of(Down, told.say(Verb.NDATA, N, payload(4, double("a", 4.0))))


def test_host_when_numbers_wrap_goes_on() -> None:
    told = Told()
    told.born()
    for number in range(3, 600):
        assert len(of(Sample, told.say(Verb.NDATA, N, payload(number % 256, double("a", 4.0))))) == 1


def test_host_when_a_rebirth_leaves_a_device_out_it_is_down_after_a_while_and_the_others_never() -> None:
    told = Told()
    told.born()
    told.say(Verb.NBIRTH, N, payload(0, bdseq(0), double("a", 1.0)))
    told.say(Verb.DBIRTH, D, payload(1, double("x", 2.0)))
    assert not of(Down, told.after(SECOND))
    assert [down.scope for down in of(Down, told.after(SECOND))] == [E]


def test_host_when_an_alias_is_not_in_the_birth_it_is_put_aside_and_a_rebirth_is_wanted() -> None:
    told = Told()
    told.born()
    told.now += 60 * SECOND
    effects = told.say(Verb.NDATA, N, payload(3, double(None, 4.0, alias=2), double("a", 5.0)))
    assert values(effects) == [("", "a", 5.0)], "the alias of a device says nothing of its node"
    assert [dropped.letter for dropped in of(Dropped, effects)] == [True]
    assert of(Ask, effects)


def test_host_when_two_metrics_claim_an_alias_it_stands_for_neither() -> None:
    told = Told()
    told.say(Verb.NBIRTH, N, payload(0, bdseq(0), double("a", 1.0, alias=1), double("b", 1.0, alias=1)))
    effects = told.say(Verb.NDATA, N, payload(1, double(None, 4.0, alias=1)))
    assert not of(Sample, effects)
    assert "two metrics" in of(Dropped, effects)[0].why


def test_host_when_a_datatype_differs_from_the_birth_the_value_is_put_aside() -> None:
    told = Told()
    told.born()
    wrong = {"name": "a", "datatype": int(DataType.Int32), "int_value": 1}
    effects = told.say(Verb.NDATA, N, payload(3, wrong))
    assert not of(Sample, effects)
    assert of(Dropped, effects)[0].letter


@pytest.mark.parametrize("verb", [Verb.NBIRTH, Verb.DBIRTH])
def test_host_when_a_birth_cannot_be_read_the_old_one_counts_no_more(verb: Verb) -> None:
    told = Told()
    told.born()
    effects = told._take(told.host.malformed(verb, N, T))
    assert len(of(Down, effects)) == 3
    assert not of(Sample, told.say(Verb.NDATA, N, payload(3, double("a", 5.0))))


def test_host_when_the_connection_is_lost_everything_is_down() -> None:
    told = Told()
    told.born()
    effects = told._take(told.host.disconnected("gone"))
    assert [down.cause for down in of(Down, effects)] == [Cause.DISCONNECTED] * 3
    assert told.host.tick(T + 3600 * SECOND) == []


def test_host_when_another_node_is_lost_this_one_is_not() -> None:
    other = Scope(Node("g", "other"))
    told = Told(scopes=(N, other))
    for scope in (N, other):
        told.say(Verb.NBIRTH, scope, payload(0, bdseq(0), double("a", 1.0)))
    assert [d.scope for d in of(Down, told.say(Verb.NDEATH, other, payload(None, bdseq(0))))] == [other]
    assert of(Sample, told.say(Verb.NDATA, N, payload(1, double("a", 5.0))))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("message"), st.sampled_from(Verb), st.sampled_from([N, D, E]), st.integers(0, 6)),
        st.tuples(st.just("tick"), st.integers(0, 3 * SECOND), st.none(), st.none()),
        st.tuples(st.just("disconnect"), st.none(), st.none(), st.none()),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([0, 2 * SECOND]))
def test_host_when_anything_comes_in_any_order_holds_to_its_invariants(walk: list[Any], reorder: int) -> None:
    """No value between a Down and the next Up of its scope; every token is given back at most once; asks are rare."""
    told = Told(reorder=reorder)
    up: set[Scope] = set()
    asked: list[int] = []
    for number, (what, one, scope, seq) in enumerate(walk):
        if what == "message":
            is_node = one.startswith("N")
            where = N if is_node else (D if scope == N else scope)
            read = payload(seq, bdseq(seq % 2), double("a", 1.0, alias=1), double(None, 2.0, alias=seq))
            effects = told.say(one, where, read, number)
        elif what == "tick":
            effects = told.after(one)
        else:
            effects = told._take(told.host.disconnected("gone"))
            told.host.connected(told.now)
            asked.clear()
        for effect in effects:
            if isinstance(effect, Up):
                up.add(effect.scope)
            elif isinstance(effect, Down):
                assert effect.scope in up, "only what was up can go down"
                up.discard(effect.scope)
            elif isinstance(effect, Sample):
                assert effect.scope in up, "a value of something that is down"
            elif isinstance(effect, Ask):
                assert not asked or told.now - asked[-1] >= 10 * SECOND
                asked.append(told.now)
        assert len(set(told.tokens)) == len(told.tokens)


@given(st.permutations(range(1, 12)))
def test_host_when_messages_are_shuffled_within_the_time_they_come_out_in_order(order: list[int]) -> None:
    told = Told()
    told.say(Verb.NBIRTH, N, payload(0, bdseq(0), double("a", 0.0)))
    seen = []
    for seq in order:
        seen += [value for _, _, value in values(told.say(Verb.NDATA, N, payload(seq, double("a", float(seq)))))]
    assert seen == [float(n) for n in range(1, 12)]
