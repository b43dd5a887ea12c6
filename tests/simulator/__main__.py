"""Run schedules of the simulator; a finding prints its seed and what happened."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulator import scripts
from tests.simulator.oracle import Finding
from tests.simulator.world import World

_SCRIPTS = {script.__name__: script for script in scripts.SCRIPTS}


def story(world: World, last: int | None = None) -> str:
    """A schedule's trace, or the end of it, a line for each step."""
    steps = world.scheduler.trace if last is None else world.scheduler.trace[-last:]
    return "\n".join(f"{now:10.4f}  {who:8} {what} {' '.join(map(str, details))}" for now, who, what, details in steps)


def judge(seed: int, script: str | None, lines: int) -> tuple[int, int, str]:
    """Run one schedule: its seed, its steps, and what was found, empty if nothing was."""
    world = World(seed, _SCRIPTS[script] if script else None)
    found = ""
    try:
        world.run()
    except Finding as finding:
        which = f"--seed {seed}" + (f" --script {script}" if script else "")
        found = f'{story(world, lines)}\nseed {seed}: {finding}\nagain: make simulate ARGS="{which}"\n'
    return seed, len(world.scheduler.trace), found


def main() -> int:
    """Exit status 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this schedule alone and print all of it")
    parser.add_argument("--script", choices=sorted(_SCRIPTS), help="arrange this harm instead of leaving it to chance")
    parser.add_argument("--first", type=int, default=1, help="first seed (1)")
    parser.add_argument("--schedules", type=int, default=10_000, help="how many (10,000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (one for each core)")
    parser.add_argument("--lines", type=int, default=80, help="lines of a finding's trace (80)")
    options = parser.parse_args()
    if options.seed is not None:
        world = World(options.seed, _SCRIPTS.get(options.script))
        try:
            world.run()
        except Finding as finding:
            print(story(world), finding, sep="\n")
            return 1
        print(story(world))
        return 0
    seeds = range(options.first, options.first + options.schedules)
    began, found, steps = time.monotonic(), [], 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for seed, count, text in pool.map(
            partial(judge, script=options.script, lines=options.lines), seeds, chunksize=10
        ):
            steps += count
            if text:
                found.append(seed)
                print(text, flush=True)
    seconds = time.monotonic() - began
    print(f"{len(seeds)} schedules, {steps} steps, {len(found)} findings {found} in {seconds:.1f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
