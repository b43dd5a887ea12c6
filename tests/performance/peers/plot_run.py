"""Draws figures.json as a picture. In an environment of its own: nothing else needs matplotlib.

usage: plot_run.py figures.json figures.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

OWN, OTHER = "#0b6e4f", "#8d99ae"


def bars(axes: Any, title: str, values: dict[str, float], form: str) -> None:
    """One panel: horizontal bars, ours in another colour, each with its number."""
    names = list(values)[::-1]
    heights = [values[name] for name in names]
    drawn = axes.barh(names, heights, color=[OWN if name.startswith("gridtape") else OTHER for name in names])
    axes.bar_label(drawn, [form.format(height) for height in heights], padding=3, fontsize=8)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlim(0, max(heights) * 1.18)
    axes.xaxis.set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=8)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def main(source: Path, target: Path) -> None:
    """All parts that are in the file."""
    result = json.loads(source.read_text())
    panels: list[tuple[str, dict[str, float], str]] = []
    for part, title in (("conflated", "Conflated positions, ticks/s"), ("each", "One output per tick, ticks/s")):
        if found := result.get(part):
            panels.append((title, {name: one["ticks_per_second"] for name, one in found.items()}, "{:,.0f}"))
    if found := result.get("latency"):
        rates = {f"{name} at {rate}/s": one["p99"] for name, each in found.items() for rate, one in each.items()}
        panels.append(("Tick to committed output, p99 ms", rates, "{:.0f}"))
    if found := result.get("restore"):
        panels.append(
            (f"Restore of {result['keys']:,} keys, s", {n: one["seconds"] for n, one in found.items()}, "{:.1f}")
        )
    mpl.use("Agg")
    heights = [max(2, len(values)) for _, values, _ in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(9, 0.34 * sum(heights) + 0.7 * len(panels)), height_ratios=heights, squeeze=False
    )
    for (title, values, form), place in zip(panels, axes[:, 0], strict=True):
        bars(place, title, values, form)
    figure.tight_layout()
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
