"""API keys: what services show instead of a password. Only hashes are kept, and a prefix to know one by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ccn import errors
from ccn.core.ids import UserId
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool, Record


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One API key, without the key."""

    id: UUID
    user: UserId
    name: str
    prefix: str
    tier: Tier
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    user_name: str
    user_tier: Tier
    user_disabled: bool

    def is_valid(self, now: datetime) -> bool:
        """Return whether it still lets its user in."""
        ended = self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)
        return not ended and not self.user_disabled


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """What is kept of a key that was just made."""

    id: UUID
    user: UserId
    name: str
    prefix: str
    hash: bytes
    tier: Tier
    expires_at: datetime | None = None


async def keep_key(pool: Pool, new: NewApiKey, by: str = "") -> None:
    """Keep it."""
    if not 0 < len(new.name) <= 200 or not new.name.isprintable():
        raise errors.InputInvalid("a key's name has 1 to 200 printable characters")
    kept = (new.id, new.user, new.name, new.prefix, new.hash, new.tier, new.expires_at)
    await users.change_account(pool, by, _ISSUE, *kept)


async def find_key(pool: Pool, hash_: bytes) -> ApiKey | None:
    """Find the key with this hash, whether or not it is still valid."""
    row = await pool.row(_FIND, hash_)
    return None if row is None else _key_from_row(row)


async def list_keys(pool: Pool, user_name: str | None = None) -> list[ApiKey]:
    """List all keys, or those of one user, the newest first."""
    return [_key_from_row(row) for row in await pool.rows(_EVERY, user_name)]


async def revoke_key(pool: Pool, named: str, by: str = "") -> ApiKey:
    """End a key, named by its prefix or id; ending it again changes nothing."""
    row = await users.change_account(pool, by, _REVOKE, named)
    if row is None:
        raise errors.NotFound(f"no key has the prefix or id {named!r}")
    key_row = await pool.row(_BY_ID, row["id"])
    assert key_row is not None, "keys are never deleted"
    return _key_from_row(key_row)


def _key_from_row(row: Record) -> ApiKey:
    return ApiKey(
        row["id"],
        row["user_id"],
        row["name"],
        row["prefix"],
        Tier(row["tier"]),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["user_name"],
        Tier(row["user_tier"]),
        row["user_disabled"],
    )


_ISSUE = """
    INSERT INTO api_keys (id, user_id, name, prefix, hash, tier, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_SELECT = """
    SELECT k.id, k.user_id, k.name, k.prefix, k.tier, k.created_at, k.expires_at, k.revoked_at,
           u.name AS user_name, u.tier AS user_tier, u.disabled_at IS NOT NULL AS user_disabled
    FROM api_keys k JOIN users u ON u.id = k.user_id
"""
_FIND = f"{_SELECT} WHERE k.hash = $1"
_BY_ID = f"{_SELECT} WHERE k.id = $1"
_EVERY = f"{_SELECT} WHERE $1::text IS NULL OR lower(u.name) = lower($1) ORDER BY k.created_at DESC, k.id"
_REVOKE = """
    UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE prefix = $1 OR id::text = $1
    RETURNING id
"""
