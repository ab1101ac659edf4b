"""The result of a round: for each character the median of its instances, and how far each is from it.

The leader computes it from the reports, every voter computes it again, and an auditor once more years
later. So it depends only on the reports and the parameters, in the order of the nodes' names.

An instance that several rows name is disputed: either it moved while the nodes were asked, or somebody
lies. No report shows which, because a liar picks any epoch. So a disputed instance is no outlier, whatever
its drift. Under `crash`, where nobody lies, it counts for no median, rather than twice. Under `byzantine`
each node's row for it counts within that node's own weight: if it were left out, one liar could take
everybody else out of the median.

What weighs the same is a parameter (`rules.Weighing`): owners, or instances in records of the first
version. `median` says how; `ccn/docs/fairness.md` says what follows for those who speak with the character.
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
"""Owners from which on a median is nobody's own: of two one can set it, and of one it is all theirs."""

_TAG = b"ccn/result/v1\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What was agreed about one character.

    `drift` has a number for each instance: nodes by name, the instances of each by id. `outliers` are the
    places in it that exceed the tolerance, `disputed` those of instances that are named elsewhere too.
    """

    character: CharacterId
    median: tuple[int | None, ...]
    drift: tuple[int, ...]
    outliers: tuple[int, ...]
    disputed: tuple[int, ...]
    weights: str
    owners: int | None = None
    """How many owners counted, on the axis with fewest; None where they were not told apart."""
    _body: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Write it down once: it is hashed for the header, and the leader keeps it with the block."""
        few: commitment.Fields = {
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
            few = {**few, "owners": self.owners, "v": 2}
        body = commitment.encode_canonical(few).decode()
        # The long lists are all integers, and take the places of the empty ones from the last to the first.
        for name, many in (("outliers", self.outliers), ("drift", self.drift), ("disputed", self.disputed)):
            before, _, after = body.rpartition(f'"{name}":[]')
            body = f'{before}"{name}":{commitment.encode_numbers(many)}{after}'
        object.__setattr__(self, "_body", body.encode())

    def body(self) -> bytes:
        """The one way to write it."""
        return self._body


def conclude_round(rosters: Sequence[tuple[NodeId, Roster]], rules: Rules) -> tuple[Result, ...]:
    """The results for all characters that have instances, by name."""
    ordered = sorted(rosters, key=lambda reported: reported[0])
    listed = [named for _, named in ordered if len(named)]
    if not listed:
        return ()
    doubtful = np.split(roster.find_disputed(listed), np.cumsum([len(named) for named in listed])[:-1])
    parts = list(zip(listed, doubtful, strict=True))
    return tuple(
        _conclude_character(character, [part for part in parts if part[0].character == character], rules)
        for character in sorted({named.character for named in listed})
    )


def hash_results(results: Sequence[Result]) -> bytes:
    """The results as a block names them."""
    return hashlib.sha256(_TAG + b"\n".join(result.body() for result in results)).digest()


def _conclude_character(
    character: CharacterId, parts: Sequence[tuple[Roster, npt.NDArray[np.bool_]]], rules: Rules
) -> Result:
    matrix = np.concatenate([named.matrix() for named, _ in parts])
    disputed = np.concatenate([doubtful for _, doubtful in parts])
    middle, weights, owners = _agree_median([named for named, _ in parts], matrix, disputed, rules)
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
    """The median, what weighed the same in it, and how many owners counted where those are told apart."""
    byzantine = rules.parameters.faults is FaultModel.BYZANTINE
    nodes = np.repeat(np.arange(len(rosters)), [len(named) for named in rosters])
    counted = ~disputed if disputed.any() and not byzantine else slice(None)
    if rules.parameters.weighing is Weighing.INSTANCES:
        if byzantine:
            return median.by_group(matrix, nodes), "node", None
        return median.by_row(matrix[counted]), "instance", None
    numbers, shown = (
        np.concatenate([named.owner_pseudonyms() for named in rosters])[counted],
        matrix[counted],
    )
    distinct, owners = np.unique(numbers, return_inverse=True)
    fewest = len(distinct) if shown.min(initial=0) >= 0 else _count_fewest_owners(shown, owners)
    if byzantine:
        return median.by_both(shown, owners, nodes, rules.liars), "owner and node", fewest
    return median.by_group(shown, owners), "owner", fewest


def _count_fewest_owners(matrix: Matrix, owners: npt.NDArray[np.int64]) -> int:
    """The owners on the axis that has fewest, of those that anybody shows."""
    of_axes = (len(np.unique(owners[column >= 0])) for column in matrix.T)
    return min(filter(None, of_axes), default=0)
