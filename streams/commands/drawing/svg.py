"""A laid-out graph as SVG. It brings its own background, so that it reads the same on a light and on a dark page."""

from __future__ import annotations

from html import escape

from streams.commands.drawing.graph import Graph, Kind, Node
from streams.commands.drawing.layers import Layout, lay_out

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
LETTER = 7.6
"""Widest mean width of a letter at 13 px in the fonts above, px."""
BOX = 28.0
MARGIN = 26.0
TOP = 84.0
_HEAD = 7.0
INK, PAPER, EDGE = "#16202c", "#fbfcfd", "#d4dbe3"
SLATE = "#7b8794"
PLAIN = ("#2368c4", "#b3541e", "#0f8a6d", "#a8327d", "#6f4fc4", "#8a7400", "#c2303c", "#2b7f9e")
"""Colours of the topics' lines, in turn; each has a contrast of 4 or more on PAPER."""
_FILL = {
    Kind.CONNECTOR: ("#e6f4ef", "#0f8a6d", INK),
    Kind.OPERATOR: ("#e6f4ef", "#0f8a6d", INK),
    Kind.PROCESSOR: ("#21456f", "#21456f", "#ffffff"),
    Kind.SINK: ("#fdeee4", "#b3541e", INK),
}


def draw(graph: Graph, title: str, note: str) -> str:
    """The SVG document; ``title`` stands on top, ``note`` under the drawing."""
    return _Drawing(graph).document(title, note)


class _Drawing:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layout: Layout = lay_out(graph, lambda name: _width(graph.nodes[name]))
        topics = [name for name, node in graph.nodes.items() if node.kind is Kind.TOPIC]
        self.colours = {name: PLAIN[i % len(PLAIN)] for i, name in enumerate(topics)}
        self.rank = {cell: number for number, rank in enumerate(self.layout.ranks) for cell in rank}
        self.y = self._heights()
        self.ports = self._ports()

    def document(self, title: str, note: str) -> str:
        layout = self.layout
        width = max(layout.right, 760.0) + 2 * MARGIN
        self.shift = (width - layout.right) / 2
        lines = _wrapped(note, int((width - 2 * MARGIN) / 6.4))
        bottom = self.y[-1] + BOX + 30
        height = bottom + 17 * len(lines) + 12
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" font-family="{FONT}" font-size="13">',
            f"<title>{escape(title)}</title>",
            "<defs>" + "".join(_arrow(colour) for colour in (SLATE, *PLAIN)) + "</defs>",
            f'<rect x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="10" fill="{PAPER}" '
            f'stroke="{EDGE}"/>',
            f'<text x="{MARGIN:.0f}" y="34" font-size="17" font-weight="600" fill="{INK}">{escape(title)}</text>',
            self._legend(),
        ]
        for owner in dict.fromkeys(segment[2] for segment in layout.segments):
            strokes = [self._segment(*segment) for segment in layout.segments if segment[2] == owner]
            # A pale edge around each line keeps two that cross apart; all of a line's edges lie under all of it.
            parts += [f'<path d="{path}" fill="none" stroke="{PAPER}" stroke-width="4.4"/>' for path, _ in strokes]
            parts += [f'<path d="{path}" fill="none" {style}/>' for path, style in strokes]
        parts += [self._box(node) for node in self.graph.nodes.values()]
        parts += [
            f'<text x="{MARGIN:.0f}" y="{bottom + 17 * i:.0f}" font-size="12" fill="{SLATE}">{escape(line)}</text>'
            for i, line in enumerate(lines)
        ]
        return "\n".join([*parts, "</svg>", ""])

    def _heights(self) -> list[float]:
        """Top of each rank, px: the wider the lines swing between two ranks, the farther apart they are."""
        tops = [TOP]
        for number in range(len(self.layout.ranks) - 1):
            swings = [
                abs(self.layout.x[a] - self.layout.x[b]) for a, b, _ in self.layout.segments if self.rank[a] == number
            ]
            tops.append(tops[-1] + BOX + 34 + min(46.0, 0.09 * max(swings, default=0.0)))
        return tops

    def _ports(self) -> dict[tuple[str, str, str], float]:
        """Where a segment enters its lower cell: spread over the box in the order in which the lines come."""
        ports: dict[tuple[str, str, str], float] = {}
        for cell in self.layout.widths:
            entering = sorted(
                (segment for segment in self.layout.segments if segment[1] == cell),
                key=lambda segment: (self.layout.x[segment[0]], segment),
            )
            usable = max(0.0, self.layout.widths[cell] - 24)
            step = min(16.0, usable / max(1, len(entering) - 1))
            for i, segment in enumerate(entering):
                ports[segment] = self.layout.x[cell] + (i - (len(entering) - 1) / 2) * step
        return ports

    def _segment(self, upper: str, lower: str, owner: str) -> tuple[str, str]:
        """Path and style of one segment."""
        feedback = ">" in owner
        colour = self.colours.get(owner.rpartition(">")[2] if feedback else owner, SLATE)
        x1, y1 = self.layout.x[upper] + self.shift, self.y[self.rank[upper]] + BOX
        x2, y2 = self.ports[upper, lower, owner] + self.shift, self.y[self.rank[lower]]
        style = f'stroke="{colour}" stroke-width="1.6"' + (' stroke-dasharray="6 4"' if feedback else "")
        start, end = y1, y2
        if feedback and upper in self.graph.nodes:
            x1 += min(18.0, self.layout.widths[upper] / 4)  # enters the topic beside the line that leaves it
            start += _HEAD
            style += f' marker-start="url(#a{colour[1:]})"'
        elif not feedback and lower in self.graph.nodes:
            end -= _HEAD
            style += f' marker-end="url(#a{colour[1:]})"'
        middle = (y1 + y2) / 2
        path = f"M{x1:.1f} {start:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {end:.1f}"
        return path + ("" if lower in self.graph.nodes else f"V{y2 + BOX:.1f}"), style

    def _box(self, node: Node) -> str:
        x = self.layout.x[node.id] + self.shift - self.layout.widths[node.id] / 2
        return _shape(node, x, self.y[self.rank[node.id]], self.layout.widths[node.id], self.colours.get(node.id, INK))

    def _legend(self) -> str:
        """One of each kind of box, and the dashed line."""
        samples = (
            Node("", Kind.CONNECTOR, "connector"),
            Node("", Kind.TOPIC, "topic"),
            Node("", Kind.TOPIC, "compacted", compacted=True),
            Node("", Kind.TOPIC, "in every partition", broadcast=True, compacted=True),
            Node("", Kind.PROCESSOR, "processor"),
            Node("", Kind.SINK, "sink"),
        )
        x, parts = MARGIN, []
        for node in samples:
            width = _width(node) * 0.8
            inner = _shape(node, 0, 0, width / 0.8, SLATE)
            parts.append(f'<g transform="translate({x:.1f} 48) scale(0.8 0.72)">{inner}</g>')
            x += width + 12
        parts.append(
            f'<path d="M{x:.1f} 58H{x + 34:.1f}" stroke="{SLATE}" stroke-width="1.6" stroke-dasharray="6 4"/>'
            f'<text x="{x + 40:.1f}" y="62" font-size="11.5" fill="{INK}">flows back</text>'
        )
        return "".join(parts)


def _width(node: Node) -> float:
    return len(node.label) * LETTER + (30 if node.kind is Kind.TOPIC else 26)


def _shape(node: Node, x: float, y: float, width: float, colour: str) -> str:
    middle = x + width / 2
    if node.kind is not Kind.TOPIC:
        fill, stroke, ink = _FILL[node.kind]
        weight = ' font-weight="600"' if node.kind is Kind.PROCESSOR else ""
        return _rect(x, y, width, BOX, 5, fill, stroke) + _label(node.label, middle, y, ink, weight)
    fill = "#eceff4" if node.compacted else "#ffffff"
    inner = _rect(x + 3, y + 3, width - 6, BOX - 6, BOX / 2 - 3, "none", colour, 1.0) if node.broadcast else ""
    return _rect(x, y, width, BOX, BOX / 2, fill, colour) + inner + _label(node.label, middle, y, INK, "")


def _rect(x: float, y: float, w: float, h: float, r: float, fill: str, stroke: str, line: float = 1.6) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{r:.1f}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="{line}"/>'
    )


def _label(text: str, x: float, y: float, ink: str, weight: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y + BOX / 2 + 4.5:.1f}" text-anchor="middle" fill="{ink}"{weight}>{escape(text)}</text>'
    )


def _arrow(colour: str) -> str:
    return (
        f'<marker id="a{colour[1:]}" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        f'<path d="M0 0.6L8 4L0 7.4Z" fill="{colour}"/></marker>'
    )


def _wrapped(text: str, columns: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > columns:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
