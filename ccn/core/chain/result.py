"""The result of a round: for each character the median of its instances, and how far each is from it.

The leader computes it from the reports, every voter computes it again, and an auditor once more years
later. So it depends only on the reports and the parameters, taken in the order of the nodes' names.

An instance is disputed if several rows name it: either it moved while the nodes were asked, or a node lies.
Reports do not show which, because a lying node can claim any epoch. So a disputed instance is never an
outlier, whatever its drift. Under `crash` no node lies, and a disputed instance is left out of the median,
because it would count twice. Under `byzantine` each node's row for it counts within the weight of that
node. If it were left out, one lying node could remove all other instances from the median.

What weighs the same is a parameter (`rules.Weighing`): owners, or instances in records of the first
version. `median` does the weighing. `ccn/docs/fairness.md` says what follows for those who speak with the
character.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ccn.core.chain import drift, median, roster
from ccn.core.chain.median import Matrix
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Rules, Weighing
from ccn.core.ids import CharacterId, NodeId
from ccn.core.ledger import commitment

SHARED = 3
"""From this number of owners on, no owner sets the median alone. Of two owners, one can."""

_TAG = b"ccn/result/v1\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What was agreed about one character.

    `drift` has a number for each instance, in the order of the nodes' names, then of the instances' ids.
    `outliers` lists the places in `drift` that exceed the tolerance. `disputed` lists the places of
    instances that another row names too.
    """

    character: CharacterId
    median: tuple[int | None, ...]
    drift: tuple[int, ...]
    outliers: tuple[int, ...]
    disputed: tuple[int, ...]
    weights: str
    owners: int | None = None
    """How many owners counted, on the axis with fewest. None if owners were not told apart."""
    _body: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Write the body once: the header hashes it, and the leader stores it with the block."""
        fields: commitment.Fields = {
            "disputed": (),
            "character": self.character,
            "drift": (),
            "kind": "result",
            "median": self.median,
            "outliers": (),
            "v": 1,
            "weights": self.weights,
        }
        if self.owners is not None:
            fields = {**fields, "owners": self.owners, "v": 2}
        body = commitment.encode_canonical(fields).decode()
        lists = (("outliers", self.outliers), ("drift", self.drift), ("disputed", self.disputed))
        # The long lists hold only integers. They replace the empty lists, from the last to the first.
        for name, numbers in lists:
            before, _, after = body.rpartition(f'"{name}":[]')
            body = f'{before}"{name}":{commitment.encode_numbers(numbers)}{after}'
        object.__setattr__(self, "_body", body.encode())

    def body(self) -> bytes:
        """Return its canonical bytes."""
        return self._body


def conclude_round(rosters: Sequence[tuple[NodeId, Roster]], rules: Rules) -> tuple[Result, ...]:
    """Return the results of all characters that have instances, in the order of their names."""
    ordered = sorted(rosters, key=lambda node_and_roster: node_and_roster[0])
    listed = [node_roster for _, node_roster in ordered if len(node_roster)]
    if not listed:
        return ()
    ends = np.cumsum([len(node_roster) for node_roster in listed])
    disputed = np.split(roster.find_disputed(listed), ends[:-1])
    parts = list(zip(listed, disputed, strict=True))
    return tuple(
        _conclude_character(character, [part for part in parts if part[0].character == character], rules)
        for character in sorted({node_roster.character for node_roster in listed})
    )


def hash_results(results: Sequence[Result]) -> bytes:
    """Return the hash by which a block names these results."""
    return hashlib.sha256(_TAG + b"\n".join(result.body() for result in results)).digest()


def _conclude_character(
    character: CharacterId, parts: Sequence[tuple[Roster, npt.NDArray[np.bool_]]], rules: Rules
) -> Result:
    rosters = [node_roster for node_roster, _ in parts]
    matrix = np.concatenate([node_roster.matrix() for node_roster in rosters])
    disputed = np.concatenate([disputed_rows for _, disputed_rows in parts])
    middle, weights, owners = _agree_median(rosters, matrix, disputed, rules)
    distances = drift.measure_distances(matrix, middle)
    outliers = drift.find_outliers(np.where(disputed, 0, distances), rules.parameters.tolerance)
    return Result(
        character,
        middle,
        tuple(distances.tolist()),
        tuple(outliers.tolist()),
        tuple(np.flatnonzero(disputed).tolist()),
        weights,
        owners,
    )


def _agree_median(
    rosters: Sequence[Roster], matrix: Matrix, disputed: npt.NDArray[np.bool_], rules: Rules
) -> tuple[tuple[int | None, ...], str, int | None]:
    """Return the median, what weighed the same in it, and how many owners counted.

    The last is None where owners are not told apart.
    """
    byzantine = rules.parameters.faults is FaultModel.BYZANTINE
    nodes = np.repeat(np.arange(len(rosters)), [len(node_roster) for node_roster in rosters])
    counted = ~disputed if disputed.any() and not byzantine else slice(None)
    if rules.parameters.weighing is Weighing.INSTANCES:
        if byzantine:
            return median.by_group(matrix, nodes), "node", None
        return median.by_row(matrix[counted]), "instance", None
    numbers, shown = (
        np.concatenate([node_roster.owner_pseudonyms() for node_roster in rosters])[counted],
        matrix[counted],
    )
    distinct, owners = np.unique(numbers, return_inverse=True)
    fewest = len(distinct) if shown.min(initial=0) >= 0 else _count_fewest_owners(shown, owners)
    if byzantine:
        return median.by_both(shown, owners, nodes, rules.liars), "owner and node", fewest
    return median.by_group(shown, owners), "owner", fewest


def _count_fewest_owners(matrix: Matrix, owners: npt.NDArray[np.int64]) -> int:
    """Count the owners on each axis that any row shows, and return the smallest count."""
    counts = (len(np.unique(owners[column >= 0])) for column in matrix.T)
    return min(filter(None, counts), default=0)
