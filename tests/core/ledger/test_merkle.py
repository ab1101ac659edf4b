"""The tree against the definition of RFC 6962 and the reference roots of Certificate Transparency."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.ledger import commitment, merkle

INPUTS = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [commitment.leaf_hash(entry) for entry in INPUTS]


def defined(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word and without any care for speed."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + defined(leaves[:k]) + defined(leaves[k:])).digest()


def numbered(count: int) -> list[bytes]:
    return [commitment.leaf_hash(b"%d" % number) for number in range(count)]


@pytest.mark.parametrize("size", range(9))
def test_the_reference_roots_of_certificate_transparency_come_out(size: int) -> None:
    assert merkle.root_of(LEAVES[:size]).hex() == ROOTS[size]


@given(size=st.integers(0, 300))
def test_the_root_is_the_one_the_standard_defines(size: int) -> None:
    leaves = numbered(size)
    assert merkle.root_of(leaves) == defined(leaves)


@given(parts=st.lists(st.integers(0, 40), max_size=8))
def test_appending_in_portions_makes_the_same_tree_as_appending_at_once(parts: list[int]) -> None:
    leaves, tree, taken = numbered(sum(parts)), merkle.Tree(), 0
    for part in parts:
        tree = tree.extend(leaves[taken : taken + part])
        taken += part
        assert tree.root() == defined(leaves[:taken])
    assert tree == merkle.Tree().extend(leaves)


@given(size=st.integers(0, 300))
def test_a_tree_goes_on_from_its_bytes(size: int) -> None:
    leaves = numbered(size + 5)
    kept = merkle.Tree().extend(leaves[:size]).to_bytes()
    assert len(kept) == 8 + 32 * size.bit_count()
    assert merkle.Tree.from_bytes(kept).extend(leaves[size:]).root() == defined(leaves)


@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_tree_or_refused(data: bytes) -> None:
    try:
        tree = merkle.Tree.from_bytes(data)
    except errors.InputInvalid:
        return
    assert tree.to_bytes() == data


@pytest.mark.parametrize(
    ("size", "peaks"),
    [(0, (b"x" * 32,)), (1, ()), (3, (b"x" * 32,)), (1, (b"short",)), (-1, ()), (1 << 63, (b"x" * 32,))],
)
def test_peaks_that_do_not_fit_the_size_are_refused(size: int, peaks: tuple[bytes, ...]) -> None:
    with pytest.raises(errors.InputInvalid):
        merkle.Tree(size, peaks)


@given(size=st.integers(2, 40), data=st.data())
def test_no_two_leaves_can_change_places_unseen(size: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    one, other = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True))
    swapped = list(leaves)
    swapped[one], swapped[other] = leaves[other], leaves[one]
    assert merkle.root_of(swapped) != merkle.root_of(leaves)


def test_a_leaf_is_never_mistaken_for_an_inner_node() -> None:
    pair = numbered(2)
    assert commitment.leaf_hash(pair[0] + pair[1]) != merkle.node_hash(*pair)


def test_a_row_of_hashes_falls_apart_again() -> None:
    leaves = numbered(3)
    assert merkle.split_hashes(b"".join(leaves)) == tuple(leaves)
    assert merkle.split_hashes(b"") == ()
    with pytest.raises(errors.InputInvalid):
        merkle.split_hashes(b"x" * 33)
