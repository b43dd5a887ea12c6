"""``make faults``: break everything for a while, then check that nothing was lost, doubled or seen too early.

A source with known content, three worker processes with the test's own Tally and the real Positions, a broker behind a
proxy, and a seeded schedule of faults. Afterwards everything is derived anew from the committed input and compared.
Exit status 1 when there is a finding; logs and data are kept then.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.run import Run
from tests.faults.schedule import schedule


def main() -> int:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long to break things (default 600)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the schedule of this seed")
    parser.add_argument("--rate", type=float, default=300, help="input records a second (default 300)")
    parser.add_argument(
        "--folder", type=Path, help="for logs and data; default a temporary one, removed when all is well"
    )
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="gridtape-faults-"))
    plan = schedule(seed, arguments.seconds)
    print(f"seed {seed}, {arguments.seconds:g} s, {len(plan)} faults planned; logs in {folder}", flush=True)
    for fault in plan:
        print(f"  planned at {fault.at:6.2f} s: {fault}")
    began = time.monotonic()
    with Run(folder, seed, arguments.rate) as run:
        findings = run.carry_out(plan, arguments.seconds)
    print(run.summary(), f"{time.monotonic() - began:.0f} s in all", sep="\n")
    for finding in findings:
        print(f"FINDING: {finding}")
    if findings:
        print(f"{len(findings)} findings; logs in {folder}; repeat with --seed {seed} --seconds {arguments.seconds:g}")
        return 1
    print("no finding: nothing lost, nothing doubled, nothing seen too early")
    if arguments.folder is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
