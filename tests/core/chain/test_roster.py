"""Packed rosters: one spelling for one set of instances, and nothing else is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.axes import UNIT, Vector
from ccn.core.chain import roster
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.ids import CharacterId, InstanceId
from tests.support.core.rosters import pack_rows

ADA = CharacterId("ada")
NEUTRAL = Vector((500_000,) * 16)

vectors = st.lists(st.none() | st.integers(0, UNIT), min_size=16, max_size=16).map(
    lambda v: Vector(tuple(v))
)
owners = st.sampled_from([st.none(), st.integers(0, 2**64 - 1)])
listed = owners.flatmap(
    lambda owner: st.lists(
        st.builds(RosterRow, st.uuids().map(InstanceId), st.integers(0, 2**63 - 1), vectors, owner),
        max_size=4,
        unique_by=lambda row: row.instance,
    )
)


@given(rows=listed)
def test_a_roster_is_read_as_it_was_packed(rows: list[RosterRow]) -> None:
    packed = pack_rows(ADA, rows)
    assert packed.rows() == sorted(rows, key=lambda row: row.instance)
    assert Roster(ADA, packed.packed, packed.owners) == packed
    assert len(packed) == len(rows)
    assert packed.instance_ids().tobytes() == b"".join(sorted(row.instance.bytes for row in rows))


@given(rows=listed)
def test_the_matrix_has_the_vectors_row_by_row(rows: list[RosterRow]) -> None:
    packed = pack_rows(ADA, rows)
    expected = [[-1 if v is None else v for v in row.vector.millionths] for row in packed.rows()]
    assert packed.matrix().tolist() == expected


@given(rows=listed, order=st.data())
def test_the_order_in_which_instances_are_named_changes_nothing(
    rows: list[RosterRow], order: st.DataObject
) -> None:
    shuffled = order.draw(st.permutations(rows))
    assert pack_rows(ADA, shuffled) == pack_rows(ADA, rows)


def test_a_row_has_the_documented_layout(make_row: Callable[..., RosterRow]) -> None:
    packed = pack_rows(ADA, [make_row(7, None, 1, epoch=3)]).packed
    assert packed[:24] == (7).to_bytes(16, "big") + (3).to_bytes(8, "big")
    assert packed[24:36] == b"\xff" * 4 + (1).to_bytes(4, "big") + (500_000).to_bytes(4, "big")
    assert len(packed) == 88
    assert pack_rows(ADA, [make_row(7, None, 1, epoch=3)]).hash() == hashlib.sha256(packed).digest()


def test_owners_stand_beside_the_rows_eight_bytes_each(make_row: Callable[..., RosterRow]) -> None:
    packed = pack_rows(ADA, [make_row(8, owner=2**64 - 1), make_row(7, owner=1)])
    assert packed.owners == (1).to_bytes(8, "big") + b"\xff" * 8
    assert packed.owner_pseudonyms().tolist() == [1, 2**64 - 1]
    assert packed.owners_hash() == hashlib.sha256(packed.owners).digest()
    assert packed.hash() == pack_rows(ADA, [make_row(8, owner=None), make_row(7, owner=None)]).hash()


@pytest.mark.parametrize("owners", [b"\0", bytes(8), bytes(24)])
def test_owners_of_some_instances_only_are_refused(
    make_row: Callable[..., RosterRow], owners: bytes
) -> None:
    with pytest.raises(errors.InputInvalid, match="2 instances have"):
        Roster(ADA, pack_rows(ADA, [make_row(7), make_row(8)]).packed, owners)
    with pytest.raises(errors.InputInvalid, match="2 instances have 8 bytes of owners"):
        pack_rows(ADA, [make_row(7), make_row(8, owner=None)])


def test_an_instance_listed_twice_is_refused(make_row: Callable[..., RosterRow]) -> None:
    with pytest.raises(errors.InputInvalid, match="ascending"):
        pack_rows(ADA, [make_row(7), make_row(7, 1)])


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1), (2**64, 1), (2**127, 2**64), (3 << 64, 2 << 64)])
def test_rows_out_of_order_are_refused(numbers: tuple[int, int]) -> None:
    one, other = (pack_rows(ADA, [RosterRow(InstanceId(UUID(int=n)), 1, NEUTRAL)]).packed for n in numbers)
    with pytest.raises(errors.InputInvalid, match="ascending"):
        Roster(ADA, one + other)


@pytest.mark.parametrize("cut", [1, 16, 87])
def test_half_a_row_is_refused(make_row: Callable[..., RosterRow], cut: int) -> None:
    with pytest.raises(errors.InputInvalid, match="88"):
        Roster(ADA, pack_rows(ADA, [make_row(7)]).packed[:cut])


@pytest.mark.parametrize("score", [-2, UNIT + 1, 2**31 - 1, -(2**31)])
def test_a_score_off_the_scale_is_refused(make_row: Callable[..., RosterRow], score: int) -> None:
    with pytest.raises(errors.InputInvalid):
        pack_rows(ADA, [make_row(7, score)])


def test_an_epoch_that_cannot_be_is_refused() -> None:
    with pytest.raises(errors.InputInvalid):
        pack_rows(ADA, [RosterRow(InstanceId(UUID(int=1)), -1, NEUTRAL)])


def test_a_character_needs_a_name() -> None:
    with pytest.raises(errors.InputInvalid):
        Roster(CharacterId("Ada L."), b"")


@given(halves=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_instances_that_are_named_again_are_found_wherever_they_stand(
    halves: list[tuple[int, int]],
) -> None:
    named = [high << 64 | low for high, low in halves]
    rosters = [pack_rows(ADA, [RosterRow(InstanceId(UUID(int=each)), 1, NEUTRAL)]) for each in named]
    assert roster.find_disputed(rosters).tolist() == [named.count(each) > 1 for each in named]
