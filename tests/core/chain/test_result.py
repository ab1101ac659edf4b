"""The result of a round against one computed slowly, and what one owner can do to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from math import isqrt

from hypothesis import given, settings
from hypothesis import strategies as st

from ccn.core.axes import UNIT
from ccn.core.chain import result
from ccn.core.chain.quorum import FaultModel
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Parameters, Rules, Validator, Weighing
from ccn.core.ids import CharacterId, NodeId
from ccn.core.ledger import commitment

RowMaker = Callable[..., RosterRow]
Rosters = Callable[..., Roster]

FOUR = tuple(Validator(NodeId(name), name.encode() * 32) for name in "abcd")
CRASH, BYZANTINE = (Rules(FOUR, Parameters("tier-1/v1", faults)) for faults in FaultModel)
OLD_CRASH, OLD_BYZANTINE = (
    Rules(FOUR, Parameters("tier-1/v1", faults, weighing=Weighing.INSTANCES)) for faults in FaultModel
)
scores = st.lists(st.none() | st.integers(0, UNIT), min_size=2, max_size=2)
fleets = st.dictionaries(st.sampled_from("abcd"), st.lists(scores, max_size=4), min_size=1)


def slowly(fleet: dict[str, list[list[int | None]]], rules: Rules) -> tuple[list[int | None], list[int]]:
    """The median and the drift of each instance, for two axes of scores and fourteen neutral ones."""
    middle = list[int | None]()
    for axis in range(2):
        shown = [(node, v[axis]) for node, vectors in fleet.items() for v in vectors if v[axis] is not None]
        share = {node: sum(owner == node for owner, _ in shown) for node, _ in shown}
        heavy = rules.parameters.faults is FaultModel.BYZANTINE
        weighed = sorted(
            (value, Fraction(1, share[node] if heavy else 1)) for node, value in shown if value is not None
        )
        half, below = sum((weight for _, weight in weighed), Fraction(0)) / 2, Fraction(0)
        for value, weight in weighed:
            below += weight
            if below >= half:
                middle.append(value)
                break
        else:
            middle.append(None)
    drift = list[int]()
    for node in sorted(fleet):
        for vector in fleet[node]:
            pairs = [(a, b) for a, b in zip(vector, middle, strict=True) if a is not None and b is not None]
            mean = -(-sum((a - b) ** 2 for a, b in pairs) // (len(pairs) + 14))
            drift.append(isqrt(mean - 1) + 1 if mean else 0)
    return middle, drift


@settings(max_examples=40)
@given(fleet=fleets, rules=st.sampled_from([OLD_CRASH, OLD_BYZANTINE]), data=st.data())
def test_medians_and_drift_by_the_first_rules_are_those_of_the_slow_way(
    fleet: dict[str, list[list[int | None]]],
    rules: Rules,
    data: st.DataObject,
    make_row: RowMaker,
    make_roster: Rosters,
) -> None:
    numbers = iter(range(100))
    rosters = [
        (NodeId(node), make_roster(*(make_row(next(numbers), *vector) for vector in fleet[node])))
        for node in sorted(fleet)
    ]
    found = result.conclude_round(data.draw(st.permutations(rosters)), rules)
    if not any(fleet.values()):
        assert found == ()
        return
    middle, drift = slowly(fleet, rules)
    assert list(found[0].median) == [*middle, *[500_000] * 14]
    assert list(found[0].drift) == drift
    assert list(found[0].outliers) == [
        at for at, far in enumerate(drift) if far > rules.parameters.tolerance
    ]
    assert found[0].owners is None
    assert json.loads(found[0].body())["v"] == 1


def test_each_character_is_measured_against_its_own_instances(
    make_row: RowMaker, make_roster: Rosters
) -> None:
    ada = make_roster(make_row(1, 100_000), make_row(2, 100_000))
    bob = make_roster(make_row(3, 900_000), character="bob")
    nobody = make_roster(character="cleo")
    first, second = result.conclude_round(
        [(NodeId("b"), bob), (NodeId("a"), ada), (NodeId("a"), nobody)], CRASH
    )
    assert (first.character, first.median[0], first.outliers) == ("ada", 100_000, ())
    assert (second.character, second.median[0], second.outliers) == ("bob", 900_000, ())


def test_the_rules_decide_who_has_weight(make_row: RowMaker, make_roster: Rosters) -> None:
    crowd = make_roster(*(make_row(number, 900_000) for number in range(10)))
    few = [
        (NodeId(name), make_roster(make_row(10 + at, 500_000, owner=at)))
        for at, name in enumerate("bcd", 1)
    ]
    found = [
        result.conclude_round([(NodeId("a"), crowd), *few], rules)[0]
        for rules in (OLD_CRASH, OLD_BYZANTINE, CRASH, BYZANTINE)
    ]
    assert [(each.median[0], each.weights, each.owners) for each in found] == [
        (900_000, "instance", None),
        (500_000, "node", None),
        (500_000, "owner", 4),
        (500_000, "owner and node", 4),
    ]


def test_nobody_is_an_outlier_because_a_stranger_has_many_instances(
    make_row: RowMaker, make_roster: Rosters
) -> None:
    others = [make_row(number, 500_000, owner=number % 3) for number in range(6)]
    strangers = [make_row(number, *[0] * 16, owner=3) for number in range(6, 60)]
    spread = [make_roster(*(others + strangers)[at::4]) for at in range(4)]
    for rules in (CRASH, BYZANTINE):
        (found,) = result.conclude_round(
            list(zip([each.node for each in FOUR], spread, strict=True)), rules
        )
        assert found.median == (500_000,) * 16
        assert len(found.outliers) == len(strangers)
    (before,) = result.conclude_round([(NodeId("a"), make_roster(*others, *strangers))], OLD_CRASH)
    assert before.median == (0,) * 16
    assert before.outliers == tuple(range(6)), "it was the others"


def test_as_many_owners_count_as_on_the_axis_with_fewest(make_row: RowMaker, make_roster: Rosters) -> None:
    told = [(None, 1), (None, None), (None, 2)]
    rows = [make_row(number, *scores, owner=number) for number, scores in enumerate(told)]
    for rules in (CRASH, BYZANTINE):
        (found,) = result.conclude_round([(NodeId("a"), make_roster(*rows))], rules)
        assert (found.median[:3], found.owners) == ((None, 1, 500_000), 2)


def test_a_disputed_instance_does_not_count_as_its_owners_only_word(
    make_row: RowMaker, make_roster: Rosters
) -> None:
    moved = [make_roster(make_row(9, score, epoch=3, owner=1)) for score in (0, UNIT)]
    stays = make_roster(make_row(1, 500_000, owner=0), make_row(2, 500_000, owner=1))
    reported = list(zip([NodeId(name) for name in "abc"], [stays, *moved], strict=True))
    (found,) = result.conclude_round(reported, CRASH)
    assert (found.median[0], found.owners, found.disputed) == (500_000, 2, (2, 3))


def test_a_disputed_instance_is_named_and_is_no_outlier(make_row: RowMaker, make_roster: Rosters) -> None:
    """It moved from one node to the other while they were asked."""
    stays = [make_roster(make_row(number, 500_000)) for number in (1, 2)]
    moved = [make_roster(make_row(9, score, epoch=3)) for score in (0, UNIT)]
    reported = list(zip([NodeId(name) for name in "abcd"], [*stays, *moved], strict=True))
    for rules in (CRASH, BYZANTINE):
        (found,) = result.conclude_round(reported, rules)
        assert (found.median[0], found.disputed, found.outliers) == (500_000, (2, 3), ())
    (alone,) = result.conclude_round(reported[2:], CRASH)
    assert (alone.median, alone.drift, alone.owners) == ((None,) * 16, (UNIT, UNIT), 0)


def test_a_liar_moves_the_median_by_its_own_weight_only(make_row: RowMaker, make_roster: Rosters) -> None:
    honest = [(NodeId(name), make_roster(make_row(at, 500_000))) for at, name in enumerate("abc")]
    liar = NodeId("d"), make_roster(*(make_row(number, UNIT, epoch=99) for number in (0, 1, 2, 3)))
    (found,) = result.conclude_round([*honest, liar], BYZANTINE)
    assert found.median[0] == 500_000
    assert found.disputed == (0, 1, 2, 3, 4, 5)
    assert found.outliers == (6,)


def test_two_characters_may_not_share_an_instance_unseen(make_row: RowMaker, make_roster: Rosters) -> None:
    ada, bob = make_roster(make_row(1), make_row(2)), make_roster(make_row(2), character="bob")
    first, second = result.conclude_round([(NodeId("a"), ada), (NodeId("b"), bob)], CRASH)
    assert (first.disputed, second.disputed) == ((1,), (0,))


def test_the_hash_covers_every_part_of_the_results(make_row: RowMaker, make_roster: Rosters) -> None:
    found = result.conclude_round([(NodeId("a"), make_roster(make_row(1, 1), make_row(2, UNIT)))], CRASH)
    body = json.loads(found[0].body())
    assert body["median"][:2] == [1, 500_000]
    assert (body["drift"], body["outliers"]) == ([0, 250_000], [1])
    named = {"character", "disputed", "drift", "kind", "median", "outliers", "owners", "v", "weights"}
    assert set(body) == named
    assert result.hash_results(found) == hashlib.sha256(b"ccn/result/v1\n" + found[0].body()).digest()
    assert result.hash_results(found + found) != result.hash_results(found)
    assert result.hash_results(()) == hashlib.sha256(b"ccn/result/v1\n").digest()


def test_a_result_is_written_as_canonical_bytes_are_whatever_is_in_it() -> None:
    for many in ((), (0,), tuple(range(UNIT - 300, UNIT))):
        for name in ("ada", '"drift":[]', 'outliers":[],'):
            made = result.Result(CharacterId(name), (None, 7), many, many[1:], many[2:], "instance")
            fields: commitment.Fields = {
                "character": name,
                "disputed": many[2:],
                "drift": many,
                "kind": "result",
                "median": (None, 7),
                "outliers": many[1:],
                "v": 1,
                "weights": "instance",
            }
            assert made.body() == commitment.encode_canonical(fields)
            of_owners = result.Result(CharacterId(name), (None, 7), many, many[1:], many[2:], "instance", 9)
            assert of_owners.body() == commitment.encode_canonical({**fields, "owners": 9, "v": 2})
