"""How the instances of a character speak: drift, distance from the plate, and what was done about it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from ccn.metrics import series

_unscored = series.counter(
    "ccn_unscored_replies_total",
    "Replies that could not be scored, or came too fast to be. Alarming: any, for longer than a minute.",
)
_restorations = series.counter(
    "ccn_restorations_total",
    "Steps taken about instances that seemed out of character. Alarming: quarantine, or many of any other.",
    ("step",),
)
_drift = series.gauge(
    "ccn_character_drift",
    "The largest drift from the round's median among this node's instances of a character. Alarming: above "
    "0.10 for longer than five minutes.",
    ("character",),
)
_charter = series.gauge(
    "ccn_character_charter_distance",
    "How far the last replies of all instances of a character are from what its plate alone leads to; it "
    "shows also what all do together, which no median shows. Alarming: 0.10 above what is usual.",
    ("character",),
)


def count_unscored() -> None:
    """Count a reply that will have no score."""
    _unscored.inc()


def count_restoration(step: str) -> None:
    """Count a step of the ladder, or an alarm that was cleared."""
    _restorations.labels(step).inc()


def set_drifts(largest: Mapping[str, float]) -> None:
    """Show how far the furthest instance here is from the median, for each character that has one."""
    _drift.clear()
    for character, drift in largest.items():
        _drift.labels(character).set(drift)


def set_charter_distance(character: str, distance: float | None) -> None:
    """Show how far a character is from its charter. What is not estimable has no series."""
    if distance is None:
        with contextlib.suppress(KeyError):
            _charter.remove(character)
    else:
        _charter.labels(character).set(distance)
