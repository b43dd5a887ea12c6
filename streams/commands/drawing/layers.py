"""Where the boxes of a layered graph stand: ranks from top to bottom, order and place within a rank.

Own code, after K. Sugiyama, S. Tagawa, M. Toda: Methods for visual understanding of hierarchical system structures
(1981). Graphviz is no Python package, networkx has no layered layout with routed edges, grandalf routes each edge
alone; here all edges of one box that leave a rank share one lane, so that a topic with many readers is one line that
branches. It is small because the wiring is: some 30 boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from streams.commands.drawing.graph import Graph, Kind

LANE = 8.0
"""Width kept free for a line that passes through a rank."""
BOX_GAP = 18.0
LANE_GAP = 10.0
_SWEEPS = 24
_SETTLE = 400


@dataclass
class Layout:
    """Cells (boxes and lanes) by rank in order, the centre of each, and the segments between neighbouring ranks.

    A segment is (upper cell, lower cell, owner); its owner is the box whose line it is, or for feedback
    ``from>to``. Positions are px.
    """

    ranks: list[list[str]] = field(default_factory=list)
    segments: list[tuple[str, str, str]] = field(default_factory=list)
    widths: dict[str, float] = field(default_factory=dict)
    x: dict[str, float] = field(default_factory=dict)

    @property
    def right(self) -> float:
        """Right edge of the rightmost cell."""
        return max(self.x[cell] + self.widths[cell] / 2 for rank in self.ranks for cell in rank)


def lay_out(graph: Graph, width: Callable[[str], float]) -> Layout:
    """Place every box of ``graph``; ``width`` gives a box's width in px. The same graph gives the same places."""
    ranks = _ranks(graph)
    layout = Layout([[] for _ in range(max(ranks.values()) + 1)])
    for name in graph.nodes:
        layout.ranks[ranks[name]].append(name)
        layout.widths[name] = width(name)
    owned = [(source, target, source) for source, target in graph.edges]
    owned += [(target, source, f"{source}>{target}") for source, target in graph.feedback]
    for source, target, owner in owned:
        _connect(layout, ranks, source, target, owner)
    layout.segments = list(dict.fromkeys(layout.segments))
    _order(layout)
    _place(layout)
    return layout


def _ranks(graph: Graph) -> dict[str, int]:
    """Longest way from a source; a topic just above its first reader, the sinks all at the bottom."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    after: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        before[target].append(source)
        after[source].append(target)
    ranks: dict[str, int] = {}

    def rank(name: str) -> int:
        if name not in ranks:
            ranks[name] = max((rank(source) + 1 for source in before[name]), default=0)
        return ranks[name]

    # below everything else: what a sink sends back must have a way up
    bottom = max(rank(name) for name, node in graph.nodes.items() if node.kind is not Kind.SINK) + 1
    for name, node in graph.nodes.items():
        if node.kind is Kind.SINK:
            ranks[name] = bottom
    for name, node in graph.nodes.items():
        if node.kind is Kind.TOPIC and after[name]:
            ranks[name] = min(ranks[reader] for reader in after[name]) - 1
    return ranks


def _connect(layout: Layout, ranks: Mapping[str, int], source: str, target: str, owner: str) -> None:
    upper = source
    for rank in range(ranks[source] + 1, ranks[target]):
        lane = f"{owner}#{rank}"
        if lane not in layout.widths:
            layout.widths[lane] = LANE
            layout.ranks[rank].append(lane)
        layout.segments.append((upper, lane, owner))
        upper = lane
    layout.segments.append((upper, target, owner))


def _neighbours(layout: Layout) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {cell: [] for cell in layout.widths}
    below: dict[str, list[str]] = {cell: [] for cell in layout.widths}
    for upper, lower, _ in layout.segments:
        above[lower].append(upper)
        below[upper].append(lower)
    return above, below


def _order(layout: Layout) -> None:
    """Fewest crossings: barycentre sweeps down and up, then swaps of neighbours; the best order found is kept."""
    above, below = _neighbours(layout)
    best, fewest = [list(rank) for rank in layout.ranks], crossings(layout)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        beside = above if down else below
        for rank in layout.ranks if down else layout.ranks[::-1]:
            place = _indices(layout)
            wanted = {
                cell: sum(place[other] for other in beside[cell]) / len(beside[cell]) if beside[cell] else place[cell]
                for cell in rank
            }
            rank.sort(key=wanted.__getitem__)
        count = _swap(layout, above, below)
        if count < fewest:
            best, fewest = [list(rank) for rank in layout.ranks], count
    layout.ranks = best


def _swap(layout: Layout, above: dict[str, list[str]], below: dict[str, list[str]]) -> int:
    """Exchange neighbours as long as that takes away crossings; return how many are left."""
    better = True
    while better:
        better = False
        for rank in layout.ranks:
            place = _indices(layout)
            for i in range(len(rank) - 1):
                left, right = rank[i], rank[i + 1]
                gain = sum(
                    (place[a] > place[b]) - (place[a] < place[b])
                    for beside in (above, below)
                    for a in beside[left]
                    for b in beside[right]
                )
                if gain > 0:
                    rank[i], rank[i + 1] = right, left
                    better = True
    return crossings(layout)


def crossings(layout: Layout) -> int:
    """How many pairs of segments cross."""
    place = _indices(layout)
    of_rank = {cell: number for number, rank in enumerate(layout.ranks) for cell in rank}
    count = 0
    for number in range(len(layout.ranks)):
        ends = [(place[a], place[b]) for a, b, _ in layout.segments if of_rank[a] == number]
        count += sum((a - c) * (b - d) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[:i])
    return count


def _indices(layout: Layout) -> dict[str, int]:
    return {cell: index for rank in layout.ranks for index, cell in enumerate(rank)}


def _place(layout: Layout) -> None:
    """Pull every cell towards those it is tied to, lanes hardest so that they run straight; none may overlap."""
    ties: dict[str, list[tuple[str, float]]] = {cell: [] for cell in layout.widths}
    for upper, lower, _ in layout.segments:
        lanes = ("#" in upper) + ("#" in lower)
        weight = (1.0, 2.0, 24.0)[lanes]
        ties[upper].append((lower, weight))
        ties[lower].append((upper, weight))
    for rank in layout.ranks:
        for cell, x in zip(rank, _apart(rank, [0.0] * len(rank), [1.0] * len(rank), layout.widths), strict=True):
            layout.x[cell] = x
    for turn in range(_SETTLE):
        for rank in layout.ranks if turn % 2 == 0 else layout.ranks[::-1]:
            weights = [sum(weight for _, weight in ties[cell]) or 0.01 for cell in rank]
            wanted = [
                sum(layout.x[other] * weight for other, weight in ties[cell]) / total if ties[cell] else layout.x[cell]
                for cell, total in zip(rank, weights, strict=True)
            ]
            for cell, x in zip(rank, _apart(rank, wanted, weights, layout.widths), strict=True):
                layout.x[cell] = x
    left = min(layout.x[cell] - layout.widths[cell] / 2 for rank in layout.ranks for cell in rank)
    for cell in layout.x:
        layout.x[cell] -= left


def _apart(rank: list[str], wanted: list[float], weights: list[float], widths: Mapping[str, float]) -> list[float]:
    """The places nearest to ``wanted`` (least squares) that keep the order and the gaps: pool adjacent violators."""
    offsets = [0.0]
    for left, right in pairwise(rank):
        gap = LANE_GAP if "#" in left or "#" in right else BOX_GAP
        offsets.append(offsets[-1] + (widths[left] + widths[right]) / 2 + gap)
    pools: list[tuple[float, float, int]] = []  # mean, weight, cells
    for place, offset, weight in zip(wanted, offsets, weights, strict=True):
        pools.append((place - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (m1, w1, n1), (m2, w2, n2) = pools[-2:]
            pools[-2:] = [((m1 * w1 + m2 * w2) / (w1 + w2), w1 + w2, n1 + n2)]
    means = [mean for mean, _, cells in pools for _ in range(cells)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
