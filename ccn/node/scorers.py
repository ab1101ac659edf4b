"""The scorers this version of CCN brings, by name: reads the committed weights for the rules in `core`.

A name stands for one set of weights for ever: the hash is written here, and a file that differs is refused,
so nodes that agree on the name agree on every score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from ccn import errors
from ccn.core import character
from ccn.core.character import Vector
from ccn.core.scoring import linear
from ccn.core.scoring.scorer import Lexical, Scorer, Trained

DEFAULT = "tier-1/v1"
HASHES = {"tier-1/v1": "876993959412f3215880919674bf40cb139a81239b7c7996070336f7caa932fa"}

STRANGERS = {"tier-1/v1": 0.104}
"""De of `core.consistency`, the mean squared distance between unrelated personas, by scorer: it is measured
once for a set of weights and belongs to them. Of a scorer that is not here no consistency is estimated.

Measured by `scripts/bench character` between both poles of the thirteen traits of the training messages,
over windows of twenty messages and the axes that decide; opposites of one trait are no strangers. On
questions that the weights were not trained on it is 0.078: there, strangers have a CCC of 0.25.
"""


@cache
def load(version: str = DEFAULT) -> Scorer:
    """The scorer of this name."""
    if version == Lexical.version:
        return Lexical()
    if version not in HASHES:
        known = ", ".join((Lexical.version, *HASHES))
        raise errors.InputInvalid(f"there is no scorer {version!r}; this version of CCN has {known}")
    name = version.replace("/", "-") + ".weights"
    weights = linear.parse(resources.files("ccn.core.scoring").joinpath(name).read_bytes())
    if (weights.version, weights.sha256) != (version, HASHES[version]):
        raise errors.InputInvalid(f"{name} does not hold the weights of {version}: install CCN again")
    return Trained(weights)


@dataclass(frozen=True, slots=True)
class Measure:
    """The same scorer for those who keep vectors and need no reasons."""

    scorer: Scorer

    @property
    def version(self) -> str:
        """What the nodes agreed to measure with."""
        return self.scorer.version

    def score(self, text: str) -> Vector:
        """The scores on the grid of millionths; all None where the text is too short to tell."""
        return character.quantise(self.scorer.score(text).scores)


def measure(version: str = DEFAULT) -> Measure:
    """The scorer of this name, for vectors."""
    return Measure(load(version))
