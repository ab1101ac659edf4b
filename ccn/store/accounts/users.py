"""Users: their names, their tiers, and which of their credentials are still valid.

Passwords arrive here as hashes. Commands write here directly, so every function returns the state after the
change. The database notes each change and who made it, as a request that is done already, and a node seals
the request.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from ccn import errors
from ccn.core.ids import UserId
from ccn.store.connection.pool import Pool, Record
from ccn.store.operators import requests

NAME_LIMIT = 200


class Tier(StrEnum):
    """What a user may do: read aggregates, own conversations, or operate the cluster."""

    PUBLIC = "public"
    USER = "user"
    ADMIN = "admin"

    def reaches(self, needed: Tier) -> bool:
        """Return whether this tier is enough."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = (Tier.PUBLIC, Tier.USER, Tier.ADMIN)


def lesser_tier(one: Tier, other: Tier) -> Tier:
    """Return the tier that may do only what both may do."""
    return min(one, other, key=_ORDER.index)


@dataclass(frozen=True, slots=True)
class User:
    """One user."""

    id: UserId
    name: str
    tier: Tier
    generation: int
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Login:
    """A user, and the hash that the password must match. No password matches None."""

    user: User
    password_hash: str | None


def normalise_name(text: str) -> str:
    """Return a name as it is stored: one form for what looks the same, without invisible characters."""
    normal = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(normal) <= NAME_LIMIT or not normal.isprintable():
        raise errors.InputInvalid(f"a user's name has 1 to {NAME_LIMIT} printable characters")
    return normal


async def add_user(  # noqa: PLR0917 - what a user is
    pool: Pool, user: UserId, named: str, tier: Tier, password_hash: str | None, by: str = ""
) -> User:
    """Add a user. Names that differ only in case are the same."""
    row = await change_account(pool, by, _ADD, user, normalise_name(named), tier, password_hash)
    if row is None:
        raise errors.Conflict(f"there is a user {normalise_name(named)!r} already")
    return user_from_row(row)


async def add_first_user(
    pool: Pool, user: UserId, named: str, password_hash: str, by: str = ""
) -> User | None:
    """Add an admin to a database without users. Of several attempts at once, one succeeds."""
    async with pool.transaction() as connection:
        await connection.execute(BY, by)
        await connection.execute(_ONE_AT_A_TIME)
        row = await connection.fetchrow(_ADD_FIRST, user, normalise_name(named), password_hash)
    return None if row is None else user_from_row(row)


async def load_user(pool: Pool, named: str) -> User:
    """Load one user by name, or raise NotFound."""
    user_login = await find_login(pool, named)
    if user_login is None:
        raise errors.NotFound(f"there is no user {named!r}")
    return user_login.user


async def find_login(pool: Pool, named: str) -> Login | None:
    """Find the user with this name, and the hash that the password must match."""
    row = await pool.row(_BY_NAME, unicodedata.normalize("NFC", named).strip())
    return None if row is None else Login(user_from_row(row), row["password_hash"])


async def active_user(pool: Pool, user: UserId, family: UUID) -> User | None:
    """Load the user of a sign-in. Return None if the sign-in ended, never was, or is another user's."""
    row = await pool.row(_SIGNED_IN, user, family)
    return None if row is None else user_from_row(row)


async def list_users(pool: Pool) -> list[User]:
    """List all users by name."""
    return [user_from_row(row) for row in await pool.rows(_ALL)]


async def disable_user(pool: Pool, named: str, by: str = "") -> User:
    """Refuse a user from now on, with every credential. A second call changes nothing."""
    return await _change_user(pool, by, _DISABLE, named)


async def enable_user(pool: Pool, named: str, by: str = "") -> User:
    """Let a user in again. API keys work again, but earlier sign-ins do not."""
    return await _change_user(pool, by, _ENABLE, named)


async def set_password(pool: Pool, named: str, password_hash: str, by: str = "") -> User:
    """Set another password. Sign-ins with the old one end."""
    return await _change_user(pool, by, _SET_PASSWORD, named, password_hash)


async def change_account(pool: Pool, by: str, sql: str, *values: object) -> Record | None:
    """Change accounts in the name of `by`, which the database notes. Empty means the account itself."""
    if len(by) > requests.BY_LIMIT:
        raise errors.InputInvalid(f"who changes an account has at most {requests.BY_LIMIT} characters")
    async with pool.transaction() as connection:
        await connection.execute(BY, by)
        return await connection.fetchrow(sql, *values)


async def _change_user(pool: Pool, by: str, sql: str, named: str, *values: object) -> User:
    row = await change_account(pool, by, sql, unicodedata.normalize("NFC", named).strip(), *values)
    if row is None:
        raise errors.NotFound(f"there is no user {named!r}")
    return user_from_row(row)


def user_from_row(row: Record) -> User:
    """Make a user from a row with all of its columns."""
    return User(
        row["id"],
        row["name"],
        Tier(row["tier"]),
        row["generation"],
        row["created_at"],
        row["disabled_at"],
    )


BY = "SELECT set_config('ccn.by', $1, true)"
"""Sets who changes accounts in this transaction."""
_COLUMNS = "id, name, tier, generation, created_at, disabled_at"
_ADD = f"""
    INSERT INTO users (id, name, tier, password_hash) VALUES ($1, $2, $3, $4)
    ON CONFLICT ((lower(name))) DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - constants joined, here and below
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('ccn/first user', 0))"
_ADD_FIRST = f"""
    INSERT INTO users (id, name, tier, password_hash)
    SELECT $1, $2, 'admin', $3 WHERE NOT EXISTS (SELECT FROM users) RETURNING {_COLUMNS}
"""  # noqa: S608
_BY_NAME = f"SELECT {_COLUMNS}, password_hash FROM users WHERE lower(name) = lower($1)"  # noqa: S608
_SIGNED_IN = f"""
    SELECT {_COLUMNS} FROM users u WHERE id = $1
      AND EXISTS (SELECT FROM refresh_tokens t WHERE t.family = $2 AND t.user_id = u.id
                    AND t.generation = u.generation AND t.expires_at > now()
                    AND t.spent_at IS NULL AND t.revoked_at IS NULL)
"""  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM users ORDER BY lower(name)"  # noqa: S608
_DISABLE = f"""
    UPDATE users SET disabled_at = coalesce(disabled_at, now()) WHERE lower(name) = lower($1)
    RETURNING {_COLUMNS}
"""  # noqa: S608
_ENABLE = f"UPDATE users SET disabled_at = NULL WHERE lower(name) = lower($1) RETURNING {_COLUMNS}"  # noqa: S608
_SET_PASSWORD = f"""
    UPDATE users SET password_hash = $2 WHERE lower(name) = lower($1) RETURNING {_COLUMNS}
"""  # noqa: S608
