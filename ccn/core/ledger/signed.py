"""A signed statement: what a node says, the bytes that stand for it, and the signature over them.

Keys stay outside of core. Signing is a function from bytes to a signature, and checking is a function of
key, message and signature; callers pass both in. The first line of a message names the kind of statement,
so a signature under one kind never counts for another, nor for a cosignature of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ccn.core.ids import NodeId
from ccn.core.ledger import commitment

Sign = Callable[[bytes], bytes]
"""Message to Ed25519 signature."""

Check = Callable[[bytes, bytes, bytes], bool]
"""Whether this key (first) made this signature (last) of this message; False for bytes of any length."""


class Statement(Protocol):
    """Anything a node can sign."""

    @property
    def node(self) -> NodeId:
        """Who says it."""

    def signed_bytes(self) -> bytes:
        """The bytes that are signed: they fix everything the statement says."""


S = TypeVar("S", bound=Statement)
S_co = TypeVar("S_co", bound=Statement, covariant=True)


@dataclass(frozen=True, slots=True)
class Signed(Generic[S_co]):
    """A statement and what is claimed to be its signature."""

    statement: S_co
    signature: bytes

    def is_signed_by(self, key: bytes, check: Check) -> bool:
        """Whether the owner of this key said it."""
        return check(key, self.statement.signed_bytes(), self.signature)


def sign_statement(statement: S, sign: Sign) -> Signed[S]:
    """Say it under this node's name. Whatever must be remembered first is on disk by now."""
    return Signed(statement, sign(statement.signed_bytes()))


def statement_bytes(kind: str, fields: commitment.Fields) -> bytes:
    """The signed bytes of one kind of statement."""
    return f"ccn/{kind}/v1\n".encode() + commitment.encode_canonical(fields)
