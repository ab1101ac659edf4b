"""The rules of rounds through thousands of runs in which everything goes wrong that can.

A failing test names its seeds. `pytest tests/cluster/simulation --seed N` runs one of them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.cluster.simulation.nodes.conduct import Conduct
from tests.cluster.simulation.scenario import Kind, drawn
from tests.cluster.simulation.services.keys import Ed25519Keys, HashedKeys
from tests.cluster.simulation.world import Outcome, World

pytestmark = pytest.mark.timeout(3600)

RARE = 300
"""Runs in which even the rarest of these happens."""

ALL_HONEST = (Kind.CRASH, Kind.DATABASE)
REFUSED = (
    "term",
    "tip",
    "clock",
    "report",
    "signature",
    "round",
    "quorum",
    "result",
    "root",
    "twice",
)
ALARMED = ("quorum", "root", "leaves", "back", "sideways")


def run(kind: Kind, seed: int, keys: HashedKeys | None = None) -> Outcome:
    return World(seed, drawn(kind, seed), Conduct(), keys or HashedKeys()).run()


@pytest.mark.parametrize("kind", list(Kind))
def test_no_run_breaks_an_invariant(kind: Kind, seeds: Sequence[int]) -> None:
    broken = dict[int, Outcome]()
    reached = Counter[str]()
    for seed in seeds:
        outcome = run(kind, seed)
        reached.update(f"refused {reason}" for reason in outcome.refusals)
        reached.update(f"alarmed {reason}" for reason in outcome.alarms)
        reached.update({"final": len(outcome.finals), "convicted": len(outcome.convicted)})
        if outcome.violations:
            broken[seed] = outcome
    first = [f"--seed {seed}: {outcome.violations[0]}" for seed, outcome in broken.items()]
    assert not broken, "\n".join([f"{len(broken)} of {len(seeds)} runs with {kind}", *first[:20]])
    assert len(seeds) < RARE or _happened(kind, reached) == set()


def _happened(kind: Kind, reached: Counter[str]) -> set[str]:
    """What should have happened in that many runs and did not: what never happens is not tested."""
    honest = kind in ALL_HONEST
    wanted = {"final", *(() if honest else ("convicted", *(f"refused {reason}" for reason in REFUSED)))}
    wanted |= set() if kind is Kind.CRASH else {f"alarmed {reason}" for reason in ALARMED}
    return wanted - set(+reached)


def test_a_seed_is_the_same_run_every_time() -> None:
    for kind in Kind:
        assert run(kind, 11) == run(kind, 11)


def test_with_real_signatures_everything_comes_out_the_same() -> None:
    """The keyed hashes of the other runs stand for Ed25519 in every respect but time."""
    for kind in Kind:
        hashed, real = run(kind, 3), run(kind, 3, Ed25519Keys())
        assert (real.height, real.refusals, real.alarms) == (hashed.height, hashed.refusals, hashed.alarms)
        assert (len(real.finals), real.convicted) == (len(hashed.finals), hashed.convicted)
        assert real.violations == hashed.violations == ()
