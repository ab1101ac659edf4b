"""Instances that live here, their spawning, and how many conversations there are."""

from __future__ import annotations

from ccn.metrics import series

_instances = series.gauge(
    "ccn_active_instances",
    "Instances that live on this node. Alarming: at the limit of CCN_INSTANCES_LIMIT.",
)
_conversations = series.gauge(
    "ccn_total_conversations",
    "Conversations in the record, as this node counted them last; the same on every node. Alarming: fewer.",
)
_spawns = series.histogram(
    "ccn_instance_spawn_seconds",
    "Time to spawn an instance, from the request to the end of its interview. Alarming: 95 % above 5 s.",
    ("outcome",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)


def set_instances(instances: int) -> None:
    """Show how many instances live here."""
    _instances.set(instances)


def set_conversations(conversations: int) -> None:
    """Show how many conversations are in the record."""
    _conversations.set(conversations)


def observe_spawn(seconds: float, *, succeeded: bool) -> None:
    """Time the spawning of an instance, successful or not."""
    _spawns.labels("running" if succeeded else "failed").observe(seconds)
