"""The wiring as a graph: what stands in it and what points to what."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.topics import Topic

Topics = tuple[Topic[Any], ...]


class Kind(enum.StrEnum):
    """What a node is."""

    CONNECTOR = "connector"
    OPERATOR = "operator"
    TOPIC = "topic"
    PROCESSOR = "processor"
    SINK = "sink"


@dataclass(frozen=True)
class Node:
    """A box. ``broadcast`` and ``compacted`` as on the topic."""

    id: str
    kind: Kind
    label: str
    broadcast: bool = False
    compacted: bool = False


@dataclass
class Graph:
    """Boxes in the order of the wiring, and edges (source id, target id).

    ``feedback`` are the edges against the flow: taking them away leaves no cycle. ``outlets`` are topics that nothing
    of the wiring reads, each with who writes it; they are named, not drawn.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    feedback: list[tuple[str, str]] = field(default_factory=list)
    outlets: dict[str, list[str]] = field(default_factory=dict)


def graph_of(
    connectors: Mapping[str, Topics],
    processors: Sequence[type[Any]],
    sinks: Mapping[str, tuple[Topics, Topics]],
    operator: Topics,
) -> Graph:
    """The graph of a wiring. A sink's answer (a fill) flows back, and so does what closes any other cycle."""
    links: list[tuple[Node, Topic[Any], bool]] = []  # box, topic, whether the box reads it
    for name, written in connectors.items():
        links += [(Node(f"connectors/{name}", Kind.CONNECTOR, name), topic, False) for topic in written]
    links += [(Node("operator", Kind.OPERATOR, "operator"), topic, False) for topic in operator]
    for processor in processors:
        box = Node(f"processors/{processor.name}", Kind.PROCESSOR, processor.name)
        links += [(box, topic, True) for topic in processor.reads] + [(box, topic, False) for topic in processor.writes]
    for name, (read, written) in sinks.items():
        box = Node(f"sinks/{name}", Kind.SINK, name)
        links += [(box, topic, True) for topic in read] + [(box, topic, False) for topic in written]

    graph = Graph()
    was_read = {topic for _, topic, reads in links if reads}
    for box, topic, reads in links:
        if topic not in was_read:
            graph.outlets.setdefault(topic.name, []).append(box.id)
            continue
        place = f"topics/{topic.name}"
        graph.nodes.setdefault(box.id, box)
        graph.nodes.setdefault(place, Node(place, Kind.TOPIC, topic.name, topic.broadcast, topic.compacted))
        if reads:
            graph.edges.append((place, box.id))
        elif box.kind is Kind.SINK:
            graph.feedback.append((box.id, place))
        else:
            graph.edges.append((box.id, place))
    _cut_cycles(graph)
    return graph


def _cut_cycles(graph: Graph) -> None:
    """Move the edges that close a cycle, found by walking down from the boxes in the order of the wiring."""
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        after[source].append(target)
    done: set[str] = set()
    above: set[str] = set()

    def walk(name: str) -> None:
        above.add(name)
        for target in after[name]:
            if target in above:
                graph.edges.remove((name, target))
                graph.feedback.append((name, target))
            elif target not in done:
                walk(target)
        above.remove(name)
        done.add(name)

    for name in graph.nodes:
        if name not in done:
            walk(name)
