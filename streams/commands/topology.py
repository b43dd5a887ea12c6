"""``gridtape topology``: the wiring drawn from the code, as text and as SVG.

The drawing runs from top to bottom: the way from a device to the venue has eleven ranks, and a README is about 850 px
wide, so that from left to right the letters would be half as high.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from schemas.topics import BY_NAME
from streams import pipeline
from streams.commands.drawing import svg
from streams.commands.drawing.graph import Graph, Kind, graph_of

TITLE = "gridtape: who reads and writes which topic"
_BROADCAST = "⧉"


def graph() -> Graph:
    """The wiring of streams/pipeline.py as a graph."""
    return graph_of(pipeline.CONNECTORS, pipeline.PROCESSORS, pipeline.SINKS, pipeline.OPERATOR)


def as_svg() -> str:
    """The wiring as an SVG document, the same bytes for the same wiring."""
    return svg.draw(graph(), TITLE, _note())


def as_text() -> str:
    """The wiring as text, at most 100 columns wide: each box between what it reads and what it writes."""
    drawn = graph()
    lines = [TITLE, f"(drawn from streams/pipeline.py; {_BROADCAST} = every record is in every partition)"]
    for kind, heading in (
        (Kind.CONNECTOR, "CONNECTORS"),
        (Kind.OPERATOR, "OPERATOR"),
        (Kind.PROCESSOR, "PROCESSORS"),
        (Kind.SINK, "SINKS"),
    ):
        lines += ["", heading]
        boxes = [_box(drawn, node.id) for node in drawn.nodes.values() if node.kind is kind]
        apart = [""] if any(len(box) > 1 for box in boxes) else []
        lines += [line for i, box in enumerate(boxes) for line in ([*apart, *box] if i else box)]
    return "\n".join([*lines, "", *textwrap.wrap(_note(), 96)])


def _box(drawn: Graph, name: str) -> list[str]:
    read = [_topic(source) for source, target in drawn.edges if target == name]
    written = [_topic(target) for source, target in drawn.edges + drawn.feedback if source == name]
    label = drawn.nodes[name].label
    if not read:
        return [f"  {label:<12} ──▶ {', '.join(written)}"]
    rows = max(len(read), len(written))
    middle = (rows - 1) // 2
    sources, targets = _spread(read, rows), _spread(written, rows)
    lines = []
    for row in range(rows):
        line = f"  {sources[row]:<14} " if sources[row] else " " * 17
        line += ("─" if sources[row] else " ") + _knot(sources, row, "┐┬┤┼┘┴")
        line += f"─▶ {label} {'─' if written else ''}" if row == middle else " " * (len(label) + 5)
        line += _knot(targets, row, "┌┬├┼└┴") + (f"─▶ {targets[row]}" if targets[row] else "")
        lines.append(line.rstrip())
    return lines


def _spread(names: Sequence[str], rows: int) -> list[str]:
    """``names`` around the middle of ``rows`` rows; the others are empty."""
    first = (rows - 1) // 2 - (len(names) - 1) // 2
    return [names[row - first] if 0 <= row - first < len(names) else "" for row in range(rows)]


def _knot(names: list[str], row: int, shapes: str) -> str:
    """How the line of ``row`` joins the others; ``shapes``: top, side, bottom, each also for the middle row."""
    if not names[row]:
        return " "
    used = [i for i, name in enumerate(names) if name]
    if len(used) == 1:
        return "─"
    side = 0 if row == used[0] else 4 if row == used[-1] else 2
    return shapes[side + (row == (len(names) - 1) // 2)]


def _topic(name: str) -> str:
    topic = BY_NAME[name.removeprefix("topics/")]
    return f"{topic.name} {_BROADCAST}" if topic.broadcast else topic.name


def _note() -> str:
    """What is not drawn, since nothing of the wiring reads it."""
    return (
        "Not drawn, for people and for replay: dead-letters (what connectors, processors and sinks could not process), "
        "journal (each commit of a processor: what it was fed, in which order), devices (how each stands), events "
        "(what they report), books (market depth), writes (what people set in them) and device-settings (how people "
        "have the connectors treat them)."
    )
