"""Clients that keep librdkafka's own log off the terminal that a command draws on."""

from __future__ import annotations

from dataclasses import replace

from streams.engine.cluster import Cluster


def quiet(cluster: Cluster) -> Cluster:
    """The same cluster, of which librdkafka complains to nobody: what a command finds out, it says in words."""
    return replace(cluster, security={**cluster.security, "log_level": 0})
