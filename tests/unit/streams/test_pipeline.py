"""Properties of the wiring: nothing is read that nobody writes, nothing is written that nobody reads."""

from __future__ import annotations

import pytest

from schemas import topics
from streams import pipeline
from streams.engine.layout import changelog_of

FOR_PEOPLE = {topics.books, topics.events, topics.dead_letters, topics.journal, topics.devices, topics.writes}
"""Read by `gridtape doctor`, by replay, and by hand."""


def test_processors_when_listed_have_names_of_their_own():
    names = [processor.name for processor in pipeline.PROCESSORS]
    assert len(set(names)) == len(names)
    assert not {changelog_of(name) for name in names} & topics.BY_NAME.keys()


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_topic_when_wired_has_a_writer_and_a_reader(topic):
    assert pipeline.writers(topic), f"nobody writes {topic.name}"
    assert pipeline.readers(topic) or topic in FOR_PEOPLE, f"nobody reads {topic.name}"


@pytest.mark.parametrize("processor", pipeline.PROCESSORS, ids=lambda processor: processor.name)
def test_processor_when_wired_can_be_hosted(processor):
    assert set(processor.reads) <= set(topics.ALL)
    assert set(processor.writes) <= set(topics.ALL)
    assert len(set(processor.reads)) == len(processor.reads)
    assert not processor.reads[0].broadcast, "the lead decides who runs which task: each record must be in one place"
    assert not set(processor.reads) & set(processor.writes), "it would feed itself"
    assert not FOR_PEOPLE & set(processor.writes), "the engine writes these"
    assert not any(topic.broadcast for topic in processor.writes), "only the publisher writes into every partition"
    assert processor.newest_only <= set(processor.reads)


def test_broadcast_topics_when_wired_are_written_by_the_operator_alone():
    for topic in topics.ALL:
        if topic.broadcast:
            assert pipeline.writers(topic) == ["operator"], topic.name


@pytest.mark.parametrize("partitions", [1, 4, 12])
def test_layout_when_made_gives_every_topic_the_same_partitions(partitions):
    specs = {spec.name: spec for spec in pipeline.layout(partitions)}
    assert specs.keys() == topics.BY_NAME.keys() | {changelog_of(p.name) for p in pipeline.PROCESSORS}
    assert {spec.partitions for spec in specs.values()} == {partitions}
    for topic in topics.ALL:
        assert specs[topic.name].config == pipeline.config(topic)
    for processor in pipeline.PROCESSORS:
        assert specs[changelog_of(processor.name)].config["cleanup.policy"] == "compact"


def test_config_when_compacted_keeps_what_evidence_points_at():
    config = pipeline.config(topics.limits)
    assert config == {"cleanup.policy": "compact", "min.compaction.lag.ms": str(topics.limits.retention_ms)}
    hour = {"min.compaction.lag.ms": "3600000", "segment.ms": "3600000"}
    assert pipeline.config(topics.devices) == {"cleanup.policy": "compact", **hour}, "its heartbeats fill disks"
    assert pipeline.config(topics.ticks) == {
        "cleanup.policy": "delete",
        "retention.ms": str(topics.ticks.retention_ms),
    }


def test_topic_names_when_named_never_mix_dots_and_underscores():
    for spec in pipeline.layout(1):
        assert not {".", "_"} & set(spec.name), spec.name
