"""What is kept of what a broker brings."""

from __future__ import annotations

from connectors.mqtt.discovery.listen import KEPT, Recorder


def test_recorder_when_topics_or_bytes_are_too_many_says_so_and_takes_no_more():
    many = Recorder(most_topics=3)
    for n in range(5):
        many.take(f"t/{n}", b"1", 1, retained=False)
    assert len(many.heard()) == 3
    assert "more than 3 topics" in many.enough
    large = Recorder(most_bytes=1 << 20)
    for _ in range(3 * KEPT):
        large.take("t", bytes(1 << 20), 1, retained=False)
    assert "more than 1 MiB" in large.enough
    assert sum(len(one.raw) for one in large.heard()[0].payloads) < 4 << 20
