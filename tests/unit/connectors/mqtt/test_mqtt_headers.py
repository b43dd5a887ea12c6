from __future__ import annotations

import paho.mqtt.client as paho
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.mqtt.headers import CONTENT_TYPE, LEFT_OUT, LIMIT, USER, headers

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=3000)


def message(content_type: str | None, pairs: list[tuple[str, str]]) -> paho.MQTTMessage:
    found = paho.MQTTMessage()
    found.properties = Properties(PacketTypes.PUBLISH)
    if content_type is not None:
        found.properties.ContentType = content_type
    for pair in pairs:
        found.properties.UserProperty = pair
    return found


def test_headers_when_the_message_says_nothing_or_is_of_mqtt_3_are_none() -> None:
    assert headers(paho.MQTTMessage()) == []
    assert headers(message(None, [])) == []


def test_headers_when_names_are_repeated_keep_all_in_order() -> None:
    said = headers(message("text/plain", [("site", "north"), ("ce_id", "mine"), ("site", "south")]))
    assert said == [
        (CONTENT_TYPE, b"text/plain"),
        ("mqtt_user_site", b"north"),
        ("mqtt_user_ce_id", b"mine"),
        ("mqtt_user_site", b"south"),
    ]


@given(texts | st.none(), st.lists(st.tuples(texts, texts), max_size=8))
def test_headers_when_there_are_any_stay_within_the_limit_and_count_what_is_left_out(content_type, pairs) -> None:
    said = headers(message(content_type, pairs))
    whole = [(CONTENT_TYPE, content_type)] * (content_type is not None) + [(USER + name, text) for name, text in pairs]
    left = int(said.pop()[1]) if said and said[-1][0] == LEFT_OUT else 0
    assert said == [(name, text.encode()) for name, text in whole[: len(said)]]
    assert len(said) + left == len(whole)
    assert sum(len(name.encode()) + len(raw) for name, raw in said) <= LIMIT
