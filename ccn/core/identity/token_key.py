"""A key with which a node signs access tokens, and the node's statement that the key is its own.

It is not the key the node votes with. The voting key is for life, lies on a disk and signs what is in the
record. A token key lasts a day, never leaves its process and signs names and settings. Either can be lost
or retired without the other. The voting key signs this statement: whoever knows the validators can tell
whose a token key is, and nobody else can add one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ccn import errors
from ccn.core import ids
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Check, Signed

_KEY_BYTES = 32
_NAME_DIGITS = 16


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A public key, whose it is, and the seconds between which what it signed may count."""

    node: NodeId
    public: bytes
    since_s: int
    until_s: int

    def __post_init__(self) -> None:
        """Refuse what no node would say."""
        ids.check_name(self.node, "node")
        if len(self.public) != _KEY_BYTES or not 0 <= self.since_s < self.until_s:
            raise errors.InputInvalid(f"this is no key for the tokens of {self.node}")

    @property
    def name(self) -> str:
        """What tokens call it: made from the key, so that it names no other."""
        return name_of_key(self.public)

    def signed_bytes(self) -> bytes:
        """What the node signs with the key it votes with."""
        return signed.statement_bytes(
            "token-key",
            {
                "key": self.public.hex(),
                "node": self.node,
                "since_s": self.since_s,
                "until_s": self.until_s,
            },
        )


def name_of_key(public: bytes) -> str:
    """The name of a public key."""
    return hashlib.sha256(public).hexdigest()[:_NAME_DIGITS]


def is_vouched(token_key: Signed[TokenKey], rules: Rules, check: Check) -> bool:
    """Whether a validator says that this key is its own."""
    key = rules.key_of(token_key.statement.node)
    return key is not None and token_key.is_signed_by(key, check)
