"""The wiring is whole: nothing is read that nobody writes, and every name is its own."""

from __future__ import annotations

from schemas import topics
from streams import pipeline

FOR_PEOPLE = {topics.dead_letters, topics.journal}


def test_topics_when_wired_have_a_writer_and_a_reader() -> None:
    for topic in topics.ALL:
        assert pipeline.writers(topic), f"nobody writes {topic.name}"
        assert pipeline.readers(topic) or topic in FOR_PEOPLE, f"nobody reads {topic.name}"


def test_processors_when_wired_lead_with_a_partitioned_input_and_have_names_of_their_own() -> None:
    names = [processor.name for processor in pipeline.PROCESSORS]

    assert len(set(names)) == len(names)
    for processor in pipeline.PROCESSORS:
        assert not processor.reads[0].broadcast, "a broadcast topic cannot decide who runs which task"
        assert len(set(processor.reads)) == len(processor.reads)
        assert processor.newest_only <= set(processor.reads)


def test_layout_when_made_gives_every_topic_the_same_partitions_and_its_retention() -> None:
    specs = {spec.name: spec for spec in pipeline.layout(7)}

    assert {spec.partitions for spec in specs.values()} == {7}
    assert specs["alerts"].config == {"cleanup.policy": "delete", "retention.ms": str(3650 * topics.DAYS)}
    assert specs["positions"].config == {"cleanup.policy": "compact", "min.compaction.lag.ms": str(7 * topics.DAYS)}
    assert specs["gate-changelog"].config["cleanup.policy"] == "compact"
    assert len(specs) == len(topics.ALL) + len(pipeline.PROCESSORS)
