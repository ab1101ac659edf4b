"""Proofs against the recursive definitions of RFC 6962, the checks of RFC 9162 and published vectors."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.ledger import commitment, merkle, proof

LEAVES = [
    commitment.leaf_hash(bytes.fromhex(entry))
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        bytes(range(96, 112)).hex(),
    )
]
ROOT_6 = bytes.fromhex("76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef")
ROOT_8 = bytes.fromhex("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")
INCLUSION_0_OF_8 = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]
INCLUSION_5_OF_8 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
CONSISTENCY_6_TO_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]


def numbered(count: int) -> list[bytes]:
    return [commitment.leaf_hash(b"%d" % number) for number in range(count)]


def pair(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def half(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = half(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), merkle.root_of(leaves[k:])]
    return [*path(m - k, leaves[k:]), merkle.root_of(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [merkle.root_of(leaves)]
    k = half(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), merkle.root_of(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), merkle.root_of(leaves[:k])]


def included_9162(leaf: bytes, index: int, size: int, hashes: list[bytes], root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2: the same question answered by walking bits."""
    fn, sn, r = index, size - 1, leaf
    for p in hashes:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = pair(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = pair(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def proofs(*hexadecimal: str) -> list[bytes]:
    return [bytes.fromhex(text) for text in hexadecimal]


@pytest.mark.parametrize(("index", "published"), [(0, INCLUSION_0_OF_8), (5, INCLUSION_5_OF_8)])
def test_published_inclusion_proofs_are_made_and_accepted(index: int, published: list[str]) -> None:
    made = proof.hash_ranges(proof.inclusion_ranges(index, 8), LEAVES)
    assert made == proofs(*published)
    assert proof.verify_inclusion(LEAVES[index], index, 8, made, ROOT_8)


def test_a_published_consistency_proof_is_made_and_accepted() -> None:
    made = proof.hash_ranges(proof.consistency_ranges(6, 8), LEAVES)
    assert made == proofs(*CONSISTENCY_6_TO_8)
    assert proof.verify_consistency(6, 8, made, ROOT_6, ROOT_8)


@given(size=st.integers(1, 130), data=st.data())
def test_every_leaf_has_the_proof_the_standard_defines(size: int, data: st.DataObject) -> None:
    index, leaves = data.draw(st.integers(0, size - 1)), numbered(size)
    made = proof.hash_ranges(proof.inclusion_ranges(index, size), leaves)
    assert made == path(index, leaves)
    assert proof.verify_inclusion(leaves[index], index, size, made, merkle.root_of(leaves))
    assert included_9162(leaves[index], index, size, made, merkle.root_of(leaves))


@given(new=st.integers(1, 130), data=st.data())
def test_every_two_sizes_have_the_proof_the_standard_defines(new: int, data: st.DataObject) -> None:
    old, leaves = data.draw(st.integers(1, new)), numbered(new)
    made = proof.hash_ranges(proof.consistency_ranges(old, new), leaves)
    assert made == subproof(old, leaves, True)
    assert proof.verify_consistency(old, new, made, merkle.root_of(leaves[:old]), merkle.root_of(leaves))


@given(size=st.integers(1, 40), data=st.data())
def test_a_proof_holds_for_no_other_leaf_place_size_or_root(size: int, data: st.DataObject) -> None:
    index, leaves = data.draw(st.integers(0, size - 1)), numbered(size)
    made, root = proof.hash_ranges(proof.inclusion_ranges(index, size), leaves), merkle.root_of(leaves)
    other = data.draw(st.integers(0, size - 1).filter(lambda at: at != index)) if size > 1 else None
    assert not proof.verify_inclusion(b"x" * 32, index, size, made, root)
    assert not proof.verify_inclusion(leaves[index], index, size, made, b"x" * 32)
    assert not proof.verify_inclusion(leaves[index], index, size, [*made, b"x" * 32], root)
    assert not made or not proof.verify_inclusion(leaves[index], index, size, made[:-1], root)
    assert other is None or not proof.verify_inclusion(leaves[index], other, size, made, root)


@given(new=st.integers(2, 60), data=st.data())
def test_a_rewritten_past_has_no_consistency_proof(new: int, data: st.DataObject) -> None:
    old, leaves = data.draw(st.integers(1, new - 1)), numbered(new)
    rewritten = list(leaves)
    rewritten[data.draw(st.integers(0, old - 1))] = b"x" * 32
    before, after = merkle.root_of(leaves[:old]), merkle.root_of(rewritten)
    for source in (leaves, rewritten):
        made = proof.hash_ranges(proof.consistency_ranges(old, new), source)
        assert not proof.verify_consistency(old, new, made, before, after)


@given(new=st.integers(2, 60), data=st.data())
def test_a_consistency_proof_cannot_be_altered(new: int, data: st.DataObject) -> None:
    old, leaves = data.draw(st.integers(1, new - 1)), numbered(new)
    made = proof.hash_ranges(proof.consistency_ranges(old, new), leaves)
    before, after = merkle.root_of(leaves[:old]), merkle.root_of(leaves)
    at = data.draw(st.integers(0, len(made) - 1))
    assert not proof.verify_consistency(old, new, [*made[:at], b"x" * 32, *made[at + 1 :]], before, after)
    assert not proof.verify_consistency(old, new, [*made, b"x" * 32], before, after)
    assert not proof.verify_consistency(old, new, made[:-1], before, after)


def test_nothing_needs_no_proof_and_every_tree_begins_with_it() -> None:
    root = merkle.root_of(numbered(5))
    assert proof.verify_consistency(0, 5, [], merkle.EMPTY, root)
    assert proof.verify_consistency(5, 5, [], root, root)
    assert not proof.verify_consistency(0, 5, [], root, root)
    assert not proof.verify_consistency(5, 5, [], root, merkle.EMPTY)
    assert not proof.verify_consistency(0, 5, [root], merkle.EMPTY, root)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_a_leaf_beyond_the_tree_is_refused(index: int, size: int) -> None:
    assert not proof.verify_inclusion(b"x" * 32, index, size, [], b"x" * 32)
    with pytest.raises(errors.InputInvalid):
        proof.inclusion_ranges(index, size)


@pytest.mark.parametrize(("old", "new"), [(4, 3), (-1, 3)])
def test_a_tree_that_shrank_is_refused(old: int, new: int) -> None:
    assert not proof.verify_consistency(old, new, [], b"x" * 32, b"x" * 32)
    with pytest.raises(errors.InputInvalid):
        proof.consistency_ranges(old, new)


@given(size=st.integers(1, 1 << 62), data=st.data())
def test_the_proof_for_a_tree_of_any_size_is_short(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert len(proof.inclusion_ranges(index, size)) <= 62
    assert len(proof.consistency_ranges(old, size)) <= 63
