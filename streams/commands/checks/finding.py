"""One finding of the doctor."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from streams.engine.cluster import Cluster


class Level(enum.StrEnum):
    """ok: as it should be; warn: it works, but not as well or as safely as it could; fail: it does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What was found, and how to mend it: empty when there is nothing to mend."""

    level: Level
    what: str
    how: str = ""


def ok(what: str) -> Finding:
    """Nothing to mend."""
    return Finding(Level.OK, what)


def warn(what: str, how: str) -> Finding:
    """It works, but."""
    return Finding(Level.WARN, what, how)


def fail(what: str, how: str) -> Finding:
    """It does not work."""
    return Finding(Level.FAIL, what, how)


def tool(name: str, cluster: Cluster, arguments: str) -> str:
    """Command line of one of Kafka's own tools; a secured cluster needs its client settings too."""
    security = " --command-config client.properties" if set(cluster.security) - {"log_level"} else ""
    return f"{name}.sh --bootstrap-server {cluster.bootstrap}{security} {arguments}"


def grant(cluster: Cluster, operation: str, kind: str, names: Iterable[str]) -> str:
    """The command that grants a right: to all of a tenant by its prefix, otherwise to ``names`` one by one."""
    where = " ".join(f"--{kind} {name}" for name in sorted(names))
    if cluster.prefix:
        where = f"--{kind} {cluster.prefix}- --resource-pattern-type prefixed"
    return tool("kafka-acls", cluster, f"--add --allow-principal User:NAME --operation {operation} {where}")


def loopback(cluster: Cluster) -> bool:
    """Whether only this machine can reach the brokers, by their addresses."""
    hosts = [address.strip().rpartition(":")[0].strip("[]") for address in cluster.bootstrap.split(",")]
    return all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts)
