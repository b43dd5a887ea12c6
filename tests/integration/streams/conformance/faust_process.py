"""A process on Faust that commits its offsets a minute after it has written.

``python faust_process.py BOOTSTRAP PREFIX``; it stops at the end of its standard input.
"""

from __future__ import annotations

import sys
import threading

from streams.engine.cluster import Cluster
from streams.engine.worker import Options
from streams.faust_driver.host import Host
from streams.faust_driver.run import run_hosts
from streams.vocabulary import Words
from tests.conftest import PARTITIONS
from tests.integration.streams.conformance.deciding import Deciding


def main(bootstrap: str, prefix: str) -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    options = Options(commit_interval=60.0, session_timeout=6.0)
    run_hosts(
        [Host(Cluster(bootstrap, prefix=prefix), Deciding, Words(), partitions=PARTITIONS, options=options)], stop
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
