"""Which storms are weathered: all, some, or for the larger clusters a part that is drawn by lot.

    CCN_CHAOS=          some, on three nodes, always the same: with the other tests, in less than a minute
    CCN_CHAOS=drawn     all on three nodes; on four and five every kind of storm, at steps drawn by lot (CI)
    CCN_CHAOS=full      all on three, four and five nodes

What is drawn follows from CCN_CHAOS_SEED, which is told with the figures and with every failure.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from tests.cluster.chaos import storms
from tests.cluster.chaos.storms import Storm

ASKED = os.environ.get("CCN_CHAOS", "")
SEED = int(os.environ.get("CCN_CHAOS_SEED") or (secrets.randbelow(1_000_000) if ASKED else 0))

BEYOND_S = 60.0
"""A jump that no node's tolerance of 2 s covers."""
_JUMPS = tuple((who, ahead_s) for ahead_s in (BEYOND_S, -BEYOND_S) for who in ("leader", "follower"))


@dataclass(frozen=True, slots=True)
class Choice:
    """The storms for one cluster, and the seed of what is drawn meanwhile."""

    struck: Sequence[Storm]
    cut: Sequence[str]
    wiped: Sequence[str]
    """At these steps etcd loses everything."""
    jumps: Sequence[tuple[str, float]]
    """Whose clock goes wrong, and by how much."""
    apart: bool
    """Whether all are cut from each other as well."""
    at_once: int
    """How often several things happen at a time."""
    seed: int


def everything() -> Choice:
    """The whole matrix."""
    steps = storms.LEADERS_STEPS
    return Choice(
        storms.ALL, tuple(storms.PARTITIONS), steps[::3], _JUMPS, apart=True, at_once=4, seed=SEED
    )


def some() -> Choice:
    """The storms that everybody weathers."""
    cut, wiped = storms.SOME_PARTITIONS, storms.LEADERS_STEPS[:1]
    return Choice(storms.SOME, cut, wiped, _JUMPS[:1], apart=False, at_once=1, seed=SEED)


def drawn(size: int) -> Choice:
    """Every kind of harm at a step drawn for it, and a few of each of the others."""
    chance = random.Random(f"{SEED} {size}")
    leaders = [Storm(chance.choice(storms.LEADERS_STEPS), victim, fault) for fault, victim in storms.HARMS]
    own = [Storm(chance.choice(storms.FOLLOWERS_STEPS), "follower", fault) for fault in ("kill", "freeze")]
    one_way = chance.choice(storms.ONE_WAY)
    both_ways = chance.choice([name for name in storms.PARTITIONS if name not in storms.ONE_WAY])
    return Choice(
        (*leaders, *own),
        (one_way, both_ways),
        chance.sample(storms.LEADERS_STEPS, 1),
        chance.sample(_JUMPS, 1),
        apart=True,
        at_once=1,
        seed=SEED,
    )


def made(size: int) -> Choice:
    """What the environment asks for."""
    if ASKED == "full" or (ASKED == "drawn" and size == 3):
        return everything()
    return drawn(size) if ASKED == "drawn" else some()
