"""What signing in leaves behind: families of refresh tokens, of which each is for one use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ccn.core.ids import UserId
from ccn.store.accounts import users
from ccn.store.accounts.users import User
from ccn.store.connection.pool import Pool


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What is kept of a refresh token."""

    hash: bytes
    family: UUID
    user: UserId
    generation: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RenewedSignIn:
    """The next token of the family was kept."""

    user: User
    family: UUID


@dataclass(frozen=True, slots=True)
class ReusedToken:
    """The token had been used before: its family has ended."""

    family: UUID


@dataclass(frozen=True, slots=True)
class UnknownToken:
    """No such token, or one that has ended."""


async def begin_sign_in(pool: Pool, first: RefreshToken) -> None:
    """Keep the first token of a family, and forget what has long ended of this user's."""
    await pool.rows(_FORGET, first.user)
    await pool.rows(_KEEP, first.hash, first.family, first.user, first.generation, first.expires_at)


async def renew_sign_in(
    pool: Pool, spent: bytes, following: bytes, lasts: timedelta
) -> RenewedSignIn | ReusedToken | UnknownToken:
    """Exchange a token for the next one. A token that was used before ends its family."""
    async with pool.transaction() as connection:
        row = await connection.fetchrow(_SPEND, spent)
        if row is None:
            family = await connection.fetchval(_USED_FAMILY, spent)
            if family is None:
                return UnknownToken()
            await connection.execute(_REVOKE_FAMILY, family)
            return ReusedToken(family)
        family, generation = row["family"], row["token_generation"]
        user = users.user_from_row(row)
        if user.disabled_at is not None or user.generation != generation:
            return UnknownToken()
        await connection.execute(_KEEP_FOR, following, family, user.id, generation, lasts)
        return RenewedSignIn(user, family)


async def end_sign_in(pool: Pool, refresh: bytes) -> UUID | None:
    """End the sign-in that a refresh token came from, used or not; None if it never was one."""
    family: UUID | None = await pool.value("SELECT family FROM refresh_tokens WHERE hash = $1", refresh)
    if family is not None:
        await end_family(pool, family)
    return family


async def end_family(pool: Pool, family: UUID) -> None:
    """End a sign-in: nothing that came from it counts any more."""
    await pool.rows(_REVOKE_FAMILY, family)


_FORGET = "DELETE FROM refresh_tokens WHERE user_id = $1 AND expires_at < now()"
_KEEP = """
    INSERT INTO refresh_tokens (hash, family, user_id, generation, expires_at) VALUES ($1, $2, $3, $4, $5)
"""
_KEEP_FOR = """
    INSERT INTO refresh_tokens (hash, family, user_id, generation, expires_at)
    VALUES ($1, $2, $3, $4, now() + $5)
"""
_SPEND = """
    UPDATE refresh_tokens t SET spent_at = now() FROM users u
    WHERE t.hash = $1 AND t.spent_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > now()
      AND u.id = t.user_id
    RETURNING t.family, t.generation AS token_generation,
              u.id, u.name, u.tier, u.generation, u.created_at, u.disabled_at
"""
_USED_FAMILY = "SELECT family FROM refresh_tokens WHERE hash = $1 AND spent_at IS NOT NULL"
_REVOKE_FAMILY = """
    UPDATE refresh_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE family = $1
"""
