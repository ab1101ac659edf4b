"""Users: who may come in, as what, and since when what they were given counts.

Passwords arrive here as hashes. Commands write here directly, so every answer tells how things stand now.
The database notes each change and who made it, as a request that is done already, and a node seals it.
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
    """What somebody may do: read aggregates, own conversations, operate."""

    PUBLIC = "public"
    USER = "user"
    ADMIN = "admin"

    def reaches(self, needed: Tier) -> bool:
        """Whether this tier is enough."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = (Tier.PUBLIC, Tier.USER, Tier.ADMIN)


def lesser_tier(one: Tier, other: Tier) -> Tier:
    """What both of them may do."""
    return min(one, other, key=_ORDER.index)


@dataclass(frozen=True, slots=True)
class User:
    """One user as it stands."""

    id: UserId
    name: str
    tier: Tier
    generation: int
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Login:
    """A user, and what its password must match; nothing matches None."""

    user: User
    password_hash: str | None


def normalise_name(text: str) -> str:
    """A name as it is kept: one form for what looks the same, nothing that cannot be seen."""
    normal = unicodedata.normalize("NFC", text).strip()
    if not 0 < len(normal) <= NAME_LIMIT or not normal.isprintable():
        raise errors.InputInvalid(f"a user's name has 1 to {NAME_LIMIT} printable characters")
    return normal


async def add_user(  # noqa: PLR0917 - what a user is
    pool: Pool, user: UserId, named: str, tier: Tier, password_hash: str | None, by: str = ""
) -> User:
    """A new user; names that differ in case only are the same."""
    row = await change_account(pool, by, _ADD, user, normalise_name(named), tier, password_hash)
    if row is None:
        raise errors.Conflict(f"there is a user {normalise_name(named)!r} already")
    return user_from_row(row)


async def add_first_user(
    pool: Pool, user: UserId, named: str, password_hash: str, by: str = ""
) -> User | None:
    """An admin for a database that has no user at all; of many who try at once, one succeeds."""
    async with pool.transaction() as connection:
        await connection.execute(BY, by)
        await connection.execute(_ONE_AT_A_TIME)
        row = await connection.fetchrow(_ADD_FIRST, user, normalise_name(named), password_hash)
    return None if row is None else user_from_row(row)


async def load_user(pool: Pool, named: str) -> User:
    """One user by name, or NotFound."""
    user_login = await find_login(pool, named)
    if user_login is None:
        raise errors.NotFound(f"there is no user {named!r}")
    return user_login.user


async def find_login(pool: Pool, named: str) -> Login | None:
    """What signing in under this name takes."""
    row = await pool.row(_BY_NAME, unicodedata.normalize("NFC", named).strip())
    return None if row is None else Login(user_from_row(row), row["password_hash"])


async def active_user(pool: Pool, user: UserId, family: UUID) -> User | None:
    """A user whose sign-in this is; None when it ended, never was or is somebody else's."""
    row = await pool.row(_STANDING, user, family)
    return None if row is None else user_from_row(row)


async def list_users(pool: Pool) -> list[User]:
    """All users, by name."""
    return [user_from_row(row) for row in await pool.rows(_EVERY)]


async def disable_user(pool: Pool, named: str, by: str = "") -> User:
    """Let a user in no more, with anything; disabling a disabled one changes nothing."""
    return await _change_user(pool, by, _DISABLE, named)


async def enable_user(pool: Pool, named: str, by: str = "") -> User:
    """Let a user in again. API keys work again; what came from signing in does not."""
    return await _change_user(pool, by, _ENABLE, named)


async def set_password(pool: Pool, named: str, password_hash: str, by: str = "") -> User:
    """Another password; whoever signed in with the old one has to do it again."""
    return await _change_user(pool, by, _SET_PASSWORD, named, password_hash)


async def change_account(pool: Pool, by: str, sql: str, *values: object) -> Record | None:
    """Change accounts on somebody's behalf, which the database notes; nobody named is its own account."""
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
    """The user in a row with all of its columns."""
    return User(
        row["id"],
        row["name"],
        Tier(row["tier"]),
        row["generation"],
        row["created_at"],
        row["disabled_at"],
    )


BY = "SELECT set_config('ccn.by', $1, true)"
"""Who changes accounts in this transaction."""
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
_STANDING = f"""
    SELECT {_COLUMNS} FROM users u WHERE id = $1
      AND EXISTS (SELECT FROM refresh_tokens t WHERE t.family = $2 AND t.user_id = u.id
                    AND t.generation = u.generation AND t.expires_at > now()
                    AND t.spent_at IS NULL AND t.revoked_at IS NULL)
"""  # noqa: S608
_EVERY = f"SELECT {_COLUMNS} FROM users ORDER BY lower(name)"  # noqa: S608
_DISABLE = f"""
    UPDATE users SET disabled_at = coalesce(disabled_at, now()) WHERE lower(name) = lower($1)
    RETURNING {_COLUMNS}
"""  # noqa: S608
_ENABLE = f"UPDATE users SET disabled_at = NULL WHERE lower(name) = lower($1) RETURNING {_COLUMNS}"  # noqa: S608
_SET_PASSWORD = f"""
    UPDATE users SET password_hash = $2 WHERE lower(name) = lower($1) RETURNING {_COLUMNS}
"""  # noqa: S608
