"""Instances of this node, and how long their spawning took."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics


def test_a_spawn_is_timed_by_its_outcome(value: Callable[[str], float | None]) -> None:
    series = 'ccn_instance_spawn_seconds_count{outcome="failed"}'
    before = value(series) or 0.0
    metrics.instances.observe_spawn(0.2, succeeded=False)
    metrics.instances.observe_spawn(0.2, succeeded=True)
    assert value(series) == before + 1
    assert (value('ccn_instance_spawn_seconds_count{outcome="running"}') or 0) >= 1


def test_instances_and_conversations_are_told_as_they_were_counted_last(
    value: Callable[[str], float | None],
) -> None:
    metrics.instances.set_instances(4)
    metrics.instances.set_instances(2)
    metrics.instances.set_conversations(1_000)
    assert value("ccn_active_instances") == 2.0
    assert value("ccn_total_conversations") == 1_000.0
