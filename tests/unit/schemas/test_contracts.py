from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import jsonschema
import msgspec
import pytest

from schemas import topics
from schemas.compatibility import compatible
from schemas.generate import CONTRACTS, RELEASED, asyncapi, check, documents, generate, topic_table


def test_contracts_when_committed_are_what_the_code_says():
    assert check(CONTRACTS) == []


def test_contracts_when_compared_with_the_released_ones_are_compatible():
    assert compatible(RELEASED, CONTRACTS) == []


def test_contracts_when_edited_missing_or_left_over_are_told_and_made_anew(tmp_path):
    generate(tmp_path)
    (tmp_path / "tick.schema.json").write_text("{}")
    (tmp_path / "fill.schema.json").unlink()
    (tmp_path / "old.schema.json").write_text("{}")
    told = check(tmp_path)
    assert len(told) == 3
    for name, what in (("fill", "is missing"), ("old", "belongs to no record"), ("tick", "is not what the code says")):
        assert any(f"{name}.schema.json {what}" in one for one in told)
    generate(tmp_path)
    assert check(tmp_path) == []


@pytest.mark.parametrize("name", [name for name in documents() if name != "asyncapi.json"])
def test_schema_when_generated_is_valid_2020_12(name):
    jsonschema.Draft202012Validator.check_schema(documents()[name])


def references(node: Any):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_asyncapi_when_generated_has_every_topic_and_every_reference_resolves():
    document = asyncapi()
    assert list(document["channels"]) == [topic.name for topic in topics.ALL]
    for reference in set(references(document)):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft7Validator.check_schema(schema)
        assert "discriminator" not in json.dumps(schema), name


def test_asyncapi_when_a_topic_is_compacted_says_so_with_its_lag():
    channels = asyncapi()["channels"]
    limits = channels["limits"]["bindings"]["kafka"]["topicConfiguration"]
    assert limits == {"cleanup.policy": ["compact"], "min.compaction.lag.ms": topics.limits.retention_ms}
    assert channels["ticks"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] == topics.ticks.retention_ms


def test_table_when_wiring_is_given_shows_who_writes_and_reads():
    table = topic_table(lambda topic: ["market"] if topic is topics.ticks else [], lambda _: ["positions", "arrival"])
    lines = table.splitlines()
    assert lines[0] == "| topic | key | record | written by | read by | kept |"
    assert len(lines) == 2 + len(topics.ALL)
    assert any(
        line.startswith("| `ticks` | instrument |") and "| market | positions, arrival |" in line for line in lines
    )
    assert "| anyone |" in table
    assert "book\\|instrument" in table
    assert "written by" not in topic_table()


# --- what may change --------------------------------------------------------------------------------------------------


def tick(document):
    return document["$defs"]["Tick"]


def without(document, name):
    tick(document)["properties"].pop(name)
    tick(document)["required"] = [one for one in tick(document)["required"] if one != name]


CHANGES = {
    "a field is gone": (lambda d: without(d, "venue"), "tick.venue: the field is gone"),
    "a new field is required": (
        lambda d: (tick(d)["properties"].update(depth={"type": "integer"}), tick(d)["required"].append("depth")),
        "tick.depth: the field is new and required",
    ),
    "an optional field becomes required": (
        lambda d: tick(d)["required"].append("last"),
        "was optional and is required",
    ),
    "a required field becomes optional": (lambda d: tick(d)["required"].remove("bid"), "was required and is optional"),
    "a type is narrowed": (
        lambda d: tick(d)["properties"].update(bid={"type": "number", "minimum": -1e9, "maximum": 1e9}),
        "tick.bid: null is no longer allowed",
    ),
    "a type is widened": (
        lambda d: tick(d)["properties"].update(
            sequence={"anyOf": [tick(d)["properties"]["sequence"], {"type": "null"}]}
        ),
        "tick.sequence: null is newly allowed",
    ),
    "a type changes": (
        lambda d: tick(d)["properties"].update(size={"type": "string"}),
        "tick.size: integer is no longer allowed",
    ),
    "a range is narrowed": (
        lambda d: tick(d)["properties"]["sequence"].update(minimum=1),
        "tick.sequence: minimum was 0, is 1",
    ),
    "a text is shortened": (lambda d: tick(d)["properties"]["venue"].update(maxLength=10), "maxLength was 200, is 10"),
    "a pattern appears": (lambda d: tick(d)["properties"]["venue"].update(pattern="^[A-Z]+$"), "pattern was None"),
    "an optional field is added": (lambda d: tick(d)["properties"].update(depth={"type": "integer"}), None),
    "a range is widened": (lambda d: tick(d)["properties"]["venue"].update(maxLength=400), None),
    "a description changes": (lambda d: tick(d).update(description="other words"), None),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES.keys())
def test_compatible_when_a_record_changes_names_what_breaks(tmp_path, change, told):
    generate(tmp_path)
    document = json.loads((tmp_path / "tick.schema.json").read_text())
    change(document)
    (tmp_path / "tick.schema.json").write_text(json.dumps(document))
    found = compatible(CONTRACTS, tmp_path)
    if told is None:
        assert found == []
    else:
        assert any(told in one for one in found), found


@pytest.mark.parametrize(("member", "told"), [("critical", True), (None, False)])
def test_compatible_when_a_member_of_an_enumeration_goes_tells_and_when_one_comes_does_not(tmp_path, member, told):
    generate(tmp_path)
    document = json.loads((tmp_path / "alert.schema.json").read_text())
    members = document["$defs"]["Severity"]["enum"]
    members.remove(member) if member else members.append("catastrophic")
    (tmp_path / "alert.schema.json").write_text(json.dumps(document))
    assert compatible(CONTRACTS, tmp_path) == (["alert.severity: 'critical' is no longer allowed"] if told else [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["channels"].pop("ticks"), "topic ticks is gone"),
        (
            lambda d: d["channels"]["ticks"]["bindings"]["kafka"]["topicConfiguration"].update(
                {"cleanup.policy": ["compact"]}
            ),
            "topic ticks: cleanup policy was ['delete'], is ['compact']",
        ),
        (
            lambda d: d["channels"]["limits"].update({"x-broadcast": False}),
            "topic limits: broadcast was True, is False",
        ),
        (
            lambda d: d["components"]["messages"]["tick"]["bindings"]["kafka"]["key"].update(description="venue"),
            "topic ticks: key was instrument",
        ),
    ],
)
def test_compatible_when_a_topic_changes_names_what_breaks(tmp_path, change, told):
    generate(tmp_path)
    document = deepcopy(asyncapi())
    change(document)
    (tmp_path / "asyncapi.json").write_text(json.dumps(document))
    (found,) = compatible(CONTRACTS, tmp_path)
    assert found.startswith(told)


def test_compatible_when_a_record_is_gone_says_so(tmp_path):
    generate(tmp_path)
    (tmp_path / "tick.schema.json").unlink()
    assert compatible(CONTRACTS, tmp_path) == ["tick.schema.json: the record is gone"]


def test_compatible_when_an_element_of_an_array_changes_names_its_place(tmp_path):
    generate(tmp_path)
    document = json.loads((tmp_path / "journal.schema.json").read_text())
    document["$defs"]["Segment"]["prefixItems"][3] = {"type": "string"}
    (tmp_path / "journal.schema.json").write_text(json.dumps(document))
    assert "journal.segments[][3]: integer is no longer allowed" in compatible(CONTRACTS, tmp_path)


def test_schema_when_a_processor_writes_a_record_accepts_it():
    evidence = {"decided_by": "rule:r", "version": 1, "inputs": []}
    raw = msgspec.json.encode(
        {
            "alert_id": "a",
            "kind": "rule-fired",
            "severity": "info",
            "title": "t",
            "message": "m",
            "evidence": evidence,
            "event_time": 1_795_244_400_000_000,
            "receive_time": 1_795_244_400_000_000,
        }
    )
    alert = topics.alerts.decode(raw)
    schema = documents()["alert.schema.json"]
    jsonschema.validate(json.loads(topics.alerts.encode(alert)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(raw), "severity": "dull"}, schema)
