"""Every rule that is broken on purpose is found out, by the invariant that it breaks."""

from __future__ import annotations

import pytest

from tests.cluster.simulation.nodes.mutants import MUTANTS
from tests.cluster.simulation.services.keys import HashedKeys
from tests.cluster.simulation.world import World

BOUND = 250
"""Seeds in which a mutant must be caught, beginning with the one in which it is known to show."""


@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulation_catches(name: str) -> None:
    mutant = MUTANTS[name]
    for seed in (mutant.shows, *range(BOUND)):
        outcome = World(seed, mutant.scenario(seed), mutant.conduct, HashedKeys()).run()
        if any(seen.invariant is mutant.caught for seen in outcome.violations):
            return
    pytest.fail(f"{name} lives through {BOUND} runs: nobody saw that {mutant.caught}")
