"""The result of a round: for each character the median of its instances, and how far each is from it.

The leader computes it from the reports, every voter computes it again, and an auditor once more years
later. So it depends on nothing but the reports and the parameters, in the order of the nodes' names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ccn.core import commitment, drift, median
from ccn.core.ids import CharacterId, NodeId
from ccn.core.quorum import Faults
from ccn.core.roster import Roster
from ccn.core.rules import Parameters

_TAG = b"ccn/result/v1\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What was agreed about one character.

    `drift` has a number for each instance: nodes by name, the instances of each by id. `outliers` are the
    places in it that exceed the tolerance.
    """

    character: CharacterId
    median: tuple[int | None, ...]
    drift: tuple[int, ...]
    outliers: tuple[int, ...]
    weights: str

    def body(self) -> bytes:
        """The one way to write it."""
        return commitment.canonical(
            {
                "character": self.character,
                "drift": self.drift,
                "kind": "result",
                "median": self.median,
                "outliers": self.outliers,
                "v": 1,
                "weights": self.weights,
            }
        )


def conclude(rosters: Sequence[tuple[NodeId, Roster]], parameters: Parameters) -> tuple[Result, ...]:
    """The results for all characters that have instances, by name."""
    characters = sorted({roster.character for _, roster in rosters if len(roster)})
    ordered = sorted(rosters, key=lambda reported: reported[0])
    return tuple(_conclude(character, ordered, parameters) for character in characters)


def hash_of(results: Sequence[Result]) -> bytes:
    """The results as a block names them."""
    return hashlib.sha256(_TAG + b"\n".join(result.body() for result in results)).digest()


def _conclude(
    character: CharacterId, rosters: Sequence[tuple[NodeId, Roster]], parameters: Parameters
) -> Result:
    parts = [roster.matrix() for _, roster in rosters if roster.character == character]
    matrix = np.concatenate(parts)
    if parameters.faults is Faults.BYZANTINE:
        weights, middle = (
            "node",
            median.by_owner(matrix, np.repeat(np.arange(len(parts)), list(map(len, parts)))),
        )
    else:
        weights, middle = "instance", median.by_row(matrix)
    distances = drift.distances(matrix, middle)
    outliers = drift.outliers(distances, parameters.tolerance)
    return Result(character, middle, tuple(distances.tolist()), tuple(outliers.tolist()), weights)
