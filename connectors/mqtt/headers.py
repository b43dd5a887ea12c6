"""What an MQTT 5 message says beside its payload, as headers of the Kafka record. Pure."""

from __future__ import annotations

import paho.mqtt.client as paho

from schemas.cloudevents import Header

CONTENT_TYPE = "mqtt_content_type"
USER = "mqtt_user_"
LEFT_OUT = "mqtt_left_out"
LIMIT = 8_192
"""Bytes of names and values together; the message itself may have as many as a packet holds."""


def headers(message: paho.MQTTMessage) -> list[Header]:
    """Content type and user properties (MQTT 5.0, sections 3.3.2.3.7 and 3.3.2.3.9), in their order, repeats included.

    The name ``content-type`` is taken: it describes the record. What is beyond the limit is left out and counted by a
    last header.
    """
    content_type = getattr(message.properties, "ContentType", None)
    said = [] if content_type is None else [(CONTENT_TYPE, content_type)]
    said += [(USER + name, value) for name, value in getattr(message.properties, "UserProperty", ())]
    kept: list[Header] = []
    room = LIMIT
    for name, value in said:
        raw = value.encode()
        room -= len(name.encode()) + len(raw)
        if room < 0:
            kept.append((LEFT_OUT, str(len(said) - len(kept)).encode()))
            break
        kept.append((name, raw))
    return kept
