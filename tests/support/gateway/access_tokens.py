"""Nodes that believe each other's access tokens: what tests of accounts share instead of a chain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

import jwt

from ccn import settings
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.identity import token_key
from ccn.core.identity.token_key import TokenKey
from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.gateway.accounts import tokens
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.accounts.keyring import Keyring
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.accounts.tokens import KeyPair
from ccn.node.rounds.voting import NodeIdentity
from ccn.node.signing import signing_key
from ccn.store.accounts import token_keys
from ccn.store.connection.pool import Pool

ONE, TWO, THREE = NodeId("node-1"), NodeId("node-2"), NodeId("node-3")


@cache
def identity(node: NodeId) -> NodeIdentity:
    """Who this node is, in all tests of this process."""
    key = signing_key.create_temporary()
    return NodeIdentity(node, key.public, key.sign, signing_key.check_signature)


def rules(*nodes: NodeId) -> Rules:
    """The rules of a cluster in which these nodes vote."""
    listed = (Validator(node, identity(node).public) for node in sorted(nodes))
    return Rules(tuple(listed), Parameters("tier-1/v1"))


async def everybody() -> Rules:
    """All three vote."""
    return rules(ONE, TWO, THREE)


def now() -> datetime:
    return datetime.now(UTC)


def accounts(
    pool: Pool,
    passwords: Passwords,
    chosen: settings.AccountsSettings | None = None,
    node: NodeId = ONE,
    wall: Callable[[], datetime] = now,
    clock: Callable[[], float] = time.monotonic,
) -> Accounts:
    """The accounts of one of the three nodes."""
    chosen = chosen or settings.AccountsSettings()
    keyring = Keyring(pool, identity(node), everybody, chosen, wall, clock=clock)
    return Accounts(pool, chosen, passwords, keyring, wall, clock=clock)


async def publish(
    pool: Pool, public: bytes, as_node: NodeId, by: NodeIdentity, lasts_s: int = 90_000
) -> None:
    """Show a key in the database as a node's, under somebody's signature."""
    at = int(now().timestamp())
    key = TokenKey(as_node, public, at, at + lasts_s)
    await token_keys.publish_key(pool, signed.sign_statement(key, by.sign))


@dataclass(frozen=True)
class Forger:
    """Somebody who has a key that counts, and says with it what no node would."""

    pair: KeyPair

    @classmethod
    async def at(cls, door: HasPool) -> Forger:
        forger = cls(tokens.new_pair())
        await publish(door.pool, forger.pair.public, THREE, identity(THREE))
        return forger

    @property
    def name(self) -> str:
        return token_key.name_of_key(self.pair.public)

    def token(self, claims: Mapping[str, object], **header: object) -> str:
        headers = {"kid": self.name, "typ": "at+jwt"} | header
        return jwt.encode(dict(claims), self.pair.private, "EdDSA", headers=headers)


class HasPool(Protocol):
    """A door, of which only the database matters."""

    pool: Pool


def said(token: str) -> dict[str, Any]:
    """The claims of a token, whatever they are worth."""
    return jwt.decode(token, options={"verify_signature": False})
