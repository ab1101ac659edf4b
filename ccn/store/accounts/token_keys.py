"""The public halves of the keys that sign access tokens, as nodes published them; nothing here is believed.

A node ends no key itself: its keys run out. Operators end them early, and their nodes make others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ccn.core.identity.token_key import TokenKey
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.store.accounts import users
from ccn.store.connection.pool import Pool, Record


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """What a node says of a key, and whether somebody ended it since."""

    said: Signed[TokenKey]
    ended_at: datetime | None

    @property
    def key(self) -> TokenKey:
        """Return the key."""
        return self.said.statement

    def is_valid(self, now: datetime) -> bool:
        """Return whether tokens that it signed are valid."""
        ended = self.ended_at is not None and self.ended_at <= now
        return not ended and now.timestamp() < self.key.until_s


async def publish_key(pool: Pool, signed_key: Signed[TokenKey]) -> None:
    """Show a new key to the other nodes, and forget those that ran out long ago."""
    key = signed_key.statement
    since, until = (datetime.fromtimestamp(each, UTC) for each in (key.since_s, key.until_s))
    await pool.rows(_FORGET)
    await pool.rows(_PUBLISH, key.name, key.node, key.public, since, until, signed_key.signature)


async def list_valid(pool: Pool) -> list[PublishedKey]:
    """List the keys that have not expired, the newest first."""
    return [_key_from_row(row) for row in await pool.rows(f"{_NOT_EXPIRED} ORDER BY since DESC, name")]


async def find_key(pool: Pool, name: str) -> PublishedKey | None:
    """Find a key by its name."""
    row = await pool.row(f"{_NOT_EXPIRED} AND name = $1", name) if name.isalnum() else None
    return None if row is None else _key_from_row(row)


async def end_keys(
    pool: Pool, grace: timedelta, node: NodeId | None = None, by: str = ""
) -> list[tuple[str, NodeId]]:
    """Let no key sign any more, or none of this node's; what they signed counts for `grace`. Which ones."""
    async with pool.transaction() as connection:
        await connection.execute(users.BY, by)
        rows = await connection.fetch(_END, grace, node)
    return [(row["name"], NodeId(row["node_id"])) for row in rows]


def _key_from_row(row: Record) -> PublishedKey:
    since, until = round(row["since"].timestamp()), round(row["until"].timestamp())
    key = TokenKey(NodeId(row["node_id"]), row["public_key"], since, until)
    return PublishedKey(Signed(key, row["signature"]), row["ended_at"])


_FORGET = "DELETE FROM token_keys WHERE until < now() - interval '30 days'"
_PUBLISH = """
    INSERT INTO token_keys (name, node_id, public_key, since, until, signature)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
_NOT_EXPIRED = """
    SELECT node_id, public_key, since, until, signature, ended_at FROM token_keys WHERE until > now()
"""
_END = """
    UPDATE token_keys SET ended_at = now() + $1
    WHERE until > now() AND (ended_at IS NULL OR ended_at > now() + $1)
      AND ($2::text IS NULL OR node_id = $2)
    RETURNING name, node_id
"""
