"""The number of an owner: the same on every node, another one in every round, for every character."""

from __future__ import annotations

import hashlib
from uuid import UUID

from ccn.core.chain import owner_pseudonym
from ccn.core.ids import CharacterId, UserId

ADA, BOB = CharacterId("ada"), CharacterId("bob")
ANN, EVE = UserId(UUID(int=1)), UserId(UUID(int=2))
BEFORE = b"b" * 32


def test_it_is_the_documented_hash() -> None:
    hashed = hashlib.sha256(b"ccn/owner/v1\n" + BEFORE + ANN.bytes + b"ada").digest()
    assert owner_pseudonym.make_pseudonym(BEFORE, ADA, ANN) == int.from_bytes(hashed[:8], "big")


def test_the_numbers_of_many_are_those_of_each_in_their_order() -> None:
    each = [owner_pseudonym.make_pseudonym(BEFORE, ADA, who) for who in (ANN, EVE, ANN)]
    made = owner_pseudonym.make_pseudonyms(BEFORE, ADA, [ANN.bytes, EVE.bytes, ANN.bytes])
    assert made == b"".join(number.to_bytes(owner_pseudonym.BYTES, "big") for number in each)
    assert owner_pseudonym.make_pseudonyms(BEFORE, ADA, []) == b""


def test_nobody_is_known_again_by_it_in_another_round_or_with_another_character() -> None:
    numbers = [
        owner_pseudonym.make_pseudonym(before, character, who)
        for before in (BEFORE, b"c" * 32)
        for character in (ADA, BOB)
        for who in (ANN, EVE, owner_pseudonym.NOBODY)
    ]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 1 << 8 * owner_pseudonym.BYTES for number in numbers)
