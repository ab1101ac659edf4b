"""The replicas of the database that this process reads from."""

from __future__ import annotations

import contextlib

from ccn.metrics import series

_replica_reads = series.counter(
    "ccn_replica_reads_total",
    "Reads that a replica of the database might answer, by outcome: replica, or why the primary did: none "
    "was fit, late, conflict, lost. Alarming: more than 1 in 10 on the primary for longer than a minute.",
    ("outcome",),
)
_replica_used = series.gauge(
    "ccn_replica_used",
    "Whether this node reads from a replica, by its place in CCN_DATABASE_REPLICA_URL. Alarming: 0 for "
    "longer than a minute; the log says why.",
    ("replica",),
)
_replica_lag = series.gauge(
    "ccn_replica_lag_seconds",
    "How late a replica is, as this node sees it; no series while it does not answer. Alarming: above 1 s "
    "for longer than a minute.",
    ("replica",),
)


def count_replica_read(outcome: str) -> None:
    """Count a read by where it was answered, or why not on a replica."""
    _replica_reads.labels(outcome).inc()


def set_replica(place: int, *, used: bool, lag_s: float | None) -> None:
    """Show how a replica was found."""
    _replica_used.labels(str(place)).set(used)
    if lag_s is not None:
        _replica_lag.labels(str(place)).set(lag_s)
        return
    with contextlib.suppress(KeyError):
        _replica_lag.remove(str(place))
