"""Where decisions go: the newest of a key, or every one; a failed batch takes back only its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from streams.engine.emitter import Emitter
from streams.engine.ports import Output

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["latest", "append", "keep", "forget", "clear"]), st.sampled_from("ab"), st.integers()),
    max_size=40,
)


def written(topic: Any, key: str, record: Any, event_id: str) -> Output:
    return Output(topic.name, key.encode(), str(record).encode(), [("id", event_id)], key)


def emitter() -> Emitter:
    return Emitter((topics.positions, topics.alerts), written)


@given(ACTIONS)
def test_emitter_when_batches_are_kept_and_forgotten_holds_what_was_kept(actions):
    out = emitter()
    newest: dict[str, int] = {}
    every: list[int] = []
    fresh_newest: dict[str, int] = {}
    fresh_every: list[int] = []
    for what, key, number in actions:
        if what == "latest":
            out.latest(topics.positions, key, number)
            fresh_newest[key] = number
        elif what == "append":
            out.append(topics.alerts, key, number, event_id="x")
            fresh_every.append(number)
        else:
            getattr(out, what)()
            if what == "keep":
                newest.update(fresh_newest)
                every += fresh_every
            elif what == "clear":
                newest, every = {}, []
            fresh_newest, fresh_every = {}, []
        assert out.conflated == {(topics.positions, k): v for k, v in newest.items()}
        assert [output.value for _, output in out.appended] == [str(n).encode() for n in every]
        assert out.urgent == bool(every), "alerts are urgent, positions are not"


@pytest.mark.parametrize("how", ["latest", "append"])
def test_emitter_when_a_topic_is_not_declared_refuses_it(how):
    out = emitter()
    with pytest.raises(ValueError, match="orders is not among the processor's writes"):
        getattr(out, how)(topics.orders, "k", 1, **({} if how == "latest" else {"event_id": "x"}))


def test_append_when_the_record_cannot_be_encoded_fails_at_once():
    def failing(*_: Any) -> Output:
        raise TypeError("no such type")

    with pytest.raises(TypeError):
        Emitter((topics.alerts,), failing).append(topics.alerts, "k", object(), event_id="x")
