"""Real Ed25519 for the rules that take signing and checking as arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import settings
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ccn.core.signed import Check, Sign

settings.register_profile("rules", deadline=None, print_blob=True)
settings.load_profile("rules")


@dataclass(frozen=True, slots=True)
class Pair:
    """A key pair of a test, the same in every run."""

    public: bytes
    sign: Sign


Pairs = Callable[[str], Pair]


@cache
def pair_from(seed: bytes) -> Pair:
    key = SigningKey(seed)
    return Pair(bytes(key.verify_key), lambda message: key.sign(message).signature)


@cache
def pair_of(name: str) -> Pair:
    return pair_from(hashlib.sha256(name.encode()).digest())


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


@pytest.fixture(scope="session")
def check() -> Check:
    """Whether a key signed a message; False for whatever is no signature at all."""
    return ed25519


@pytest.fixture(scope="session")
def pair() -> Pairs:
    """The key pair that belongs to a name."""
    return pair_of


@pytest.fixture(scope="session")
def seeded() -> Callable[[bytes], Pair]:
    """The key pair of a published seed."""
    return pair_from
