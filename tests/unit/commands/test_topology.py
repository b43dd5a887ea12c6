from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics as t
from schemas.topics import ALL
from streams import pipeline
from streams.commands import topology
from streams.commands.drawing import svg
from streams.commands.drawing.graph import Graph, Kind, graph_of
from streams.commands.drawing.layers import BOX_GAP, LANE_GAP, crossings, lay_out

SOME = [t.ticks, t.fills, t.positions, t.exposures, t.alerts, t.orders, t.limits]
topic_sets = st.sets(st.sampled_from(range(len(SOME))), min_size=1, max_size=4).map(
    lambda chosen: tuple(SOME[i] for i in sorted(chosen))
)


@st.composite
def wirings(draw: st.DrawFn) -> Graph:
    processors = [
        type(f"P{i}", (), {"name": f"processor-{i}", "reads": draw(topic_sets), "writes": draw(topic_sets)})
        for i in range(draw(st.integers(1, 5)))
    ]
    sinks = {f"sink-{i}": (draw(topic_sets), draw(topic_sets)) for i in range(draw(st.integers(0, 3)))}
    return graph_of({"market": draw(topic_sets)}, processors, sinks, draw(topic_sets))


def test_committed_drawing_when_compared_with_the_wiring_is_current():
    committed = (Path(__file__).parents[3] / "docs" / "topology.svg").read_text()

    assert committed == topology.as_svg(), "run: gridtape topology --svg docs/topology.svg"


def test_svg_when_parsed_names_every_box_and_no_foreign_address():
    drawing = topology.as_svg()
    words = [element.text for element in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]

    for node in topology.graph().nodes.values():
        assert node.label in words
    assert re.findall(r"https?://[^\"<>\s]+", drawing) == ["http://www.w3.org/2000/svg"]


def test_text_when_read_has_every_read_and_write_of_every_processor():
    text = topology.as_text()

    assert max(map(len, text.splitlines())) <= 100
    for processor in pipeline.PROCESSORS:
        block = next(b for b in text.split("\n\n") if f"─▶ {processor.name} ─" in b)
        left = {line.split("─")[0].split("⧉")[0].strip() for line in block.splitlines()} - {"", "PROCESSORS"}
        right = {line.rpartition("▶ ")[2].split(" ⧉")[0].strip() for line in block.splitlines() if "▶" in line}
        assert {topic.name for topic in processor.reads} <= left
        assert {topic.name for topic in processor.writes} <= right


def test_graph_when_built_from_the_pipeline_has_each_topic_drawn_or_named_as_outlet():
    graph = topology.graph()
    drawn = {node.label for node in graph.nodes.values() if node.kind is Kind.TOPIC}

    # the journal is written by the engine itself, so no processor lists it
    assert drawn | set(graph.outlets) | {t.journal.name} == {topic.name for topic in ALL}
    assert ("sinks/venue", "topics/fills") in graph.feedback


@given(wirings())
@settings(max_examples=60, deadline=None)
def test_layout_when_wiring_is_any_keeps_boxes_apart_and_lines_downward(graph: Graph):
    layout = lay_out(graph, lambda name: 20.0 + 7 * len(graph.nodes[name].label))
    rank = {cell: number for number, cells in enumerate(layout.ranks) for cell in cells}

    for cells in layout.ranks:
        for left, right in pairwise(cells):
            gap = (layout.x[right] - layout.widths[right] / 2) - (layout.x[left] + layout.widths[left] / 2)
            assert gap >= min(BOX_GAP, LANE_GAP) - 1e-6
    assert all(rank[upper] + 1 == rank[lower] for upper, lower, _ in layout.segments)
    assert set(graph.nodes) <= set(rank)
    ElementTree.fromstring(svg.draw(graph, "any <wiring> & more", "a note"))


@given(wirings())
@settings(max_examples=60, deadline=None)
def test_graph_when_feedback_is_taken_away_has_no_cycle(graph: Graph):
    before: dict[str, set[str]] = {name: set() for name in graph.nodes}
    for source, target in graph.edges:
        before[target].add(source)
    while ready := [name for name, sources in before.items() if not sources]:
        for name in ready:
            del before[name]
        for sources in before.values():
            sources.difference_update(ready)

    assert not before
    assert len(set(graph.edges) | set(graph.feedback)) == len(graph.edges) + len(graph.feedback)


def test_layout_when_order_can_be_untangled_has_no_crossing():
    a, b = (type(n, (), {"name": n, "reads": r, "writes": w}) for n, r, w in (
        ("a", (t.fills,), (t.positions,)),
        ("b", (t.ticks,), (t.exposures,)),
    ))  # fmt: skip
    graph = graph_of(
        {"one": (t.ticks,), "two": (t.fills,)}, (a, b), {"s": ((t.exposures,), ()), "r": ((t.positions,), ())}, ()
    )

    assert crossings(lay_out(graph, lambda _: 50.0)) == 0
