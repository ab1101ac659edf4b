"""The ladder: what is done with an instance that is out of character, and how much may be done at once.

    alarmed ──> noted          nothing is done to it; the confirmation decides
    confirmed ──> re-anchored  its state and a reminder go into the prompt
        still ──> re-initialised, up to three times: a fresh start with the whole history and an interview
        still ──> quarantined  nobody talks to it until an operator says so

Every step is recorded and reversible. Whatever a scorer does, not more than a third of a character's
instances, less one, are touched in one window: if most of a fleet seems to drift, the fault is more likely
in the measure or in the model, and an operator has to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

TRIES = 3
"""How often an instance is re-initialised before it is given up."""


class LadderStep(StrEnum):
    """What can be done, from the gentlest."""

    NOTE = "note"
    REANCHOR = "re-anchor"
    REINITIALISE = "re-initialise"
    QUARANTINE = "quarantine"


def next_step(done: Sequence[LadderStep]) -> LadderStep:
    """Return the next step for a confirmed instance, after the steps since it was last in character."""
    if LadderStep.REANCHOR not in done:
        return LadderStep.REANCHOR
    if list(done).count(LadderStep.REINITIALISE) < TRIES:
        return LadderStep.REINITIALISE
    return LadderStep.QUARANTINE


def count_touchable(instances: int, touched: int) -> int:
    """Return how many more of N instances may be touched in this window: floor((N - 1) / 3) in all."""
    return max(0, (instances - 1) // 3 - touched)
