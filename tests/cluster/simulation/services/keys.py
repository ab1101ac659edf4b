"""Keys of the nodes: keyed hashes for thousands of runs, and Ed25519 to show that nothing depends on it.

Whoever knows a public key could forge a keyed hash. Nobody here does: liars sign with the keys they hold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check, Sign


@dataclass(frozen=True, slots=True)
class Pair:
    """The key of one node."""

    public: bytes
    sign: Sign


class HashedKeys:
    """As short and as bound to key and message as signatures, and a hundred times faster."""

    def pair(self, node: NodeId) -> Pair:
        public = hashlib.sha256(node.encode()).digest()
        return Pair(public, lambda message: hashlib.sha512(public + message).digest())

    @property
    def check(self) -> Check:
        return lambda public, message, signature: hashlib.sha512(public + message).digest() == signature


class Ed25519Keys(HashedKeys):
    """What nodes use."""

    def pair(self, node: NodeId) -> Pair:
        key = SigningKey(hashlib.sha256(node.encode()).digest())
        return Pair(bytes(key.verify_key), lambda message: key.sign(message).signature)

    @property
    def check(self) -> Check:
        return _verified


def _verified(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True
