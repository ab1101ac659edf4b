"""Real Ed25519 keys, the same in every run, for rules that are handed how to sign and how to check."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ccn.core.ledger.signed import Sign


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
