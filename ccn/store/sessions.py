"""What signing in leaves behind: refresh tokens, each for one use, and the keys that sign access tokens.

The signing keys lie in the database because every node must accept what any node signed. Whoever reads them
can make tokens; whoever reads this database has the conversations already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ccn.core.ids import UserId
from ccn.store import users
from ccn.store.pool import Pool
from ccn.store.users import User


@dataclass(frozen=True, slots=True)
class Refresh:
    """What is kept of a refresh token."""

    hash: bytes
    family: UUID
    user: UserId
    generation: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Renewed:
    """The next token of the family was kept."""

    user: User
    family: UUID


@dataclass(frozen=True, slots=True)
class Reused:
    """The token had been used before: its family has ended."""

    family: UUID


@dataclass(frozen=True, slots=True)
class Unknown:
    """No such token, or one that has ended."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret that signs, or one that signed and is accepted until its end."""

    id: str
    secret: bytes
    accepted_until: datetime | None

    def accepted(self, now: datetime) -> bool:
        """Whether a token that it signed may count."""
        return self.accepted_until is None or now < self.accepted_until


async def begin(pool: Pool, first: Refresh) -> None:
    """Keep the first token of a family, and forget what has long ended of this user's."""
    await pool.rows(_FORGET, first.user)
    await pool.rows(_KEEP, first.hash, first.family, first.user, first.generation, first.expires_at)


async def renew(pool: Pool, spent: bytes, following: bytes, lasts: timedelta) -> Renewed | Reused | Unknown:
    """Exchange a token for the next one. A token that was used before ends its family."""
    async with pool.transaction() as connection:
        row = await connection.fetchrow(_SPEND, spent)
        if row is None:
            family = await connection.fetchval(_USED_FAMILY, spent)
            if family is None:
                return Unknown()
            await connection.execute(_REVOKE_FAMILY, family)
            return Reused(family)
        family, generation = row["family"], row["token_generation"]
        user = users.of_row(row)
        if user.disabled_at is not None or user.generation != generation:
            return Unknown()
        await connection.execute(_KEEP_FOR, following, family, user.id, generation, lasts)
        return Renewed(user, family)


async def end(pool: Pool, refresh: bytes) -> UUID | None:
    """End the sign-in that a refresh token came from, used or not; None if it never was one."""
    family: UUID | None = await pool.value("SELECT family FROM refresh_tokens WHERE hash = $1", refresh)
    if family is not None:
        await end_family(pool, family)
    return family


async def end_family(pool: Pool, family: UUID) -> None:
    """End a sign-in: nothing that came from it counts any more."""
    await pool.rows(_REVOKE_FAMILY, family)


async def signing_keys(pool: Pool, fresh_id: str, fresh_secret: bytes) -> list[SigningKey]:
    """The keys that count, the signing one first; the fresh one becomes it where there is none yet."""
    rows = await pool.rows(_SIGNING_KEYS)
    if not rows or rows[0]["accepted_until"] is not None:
        await pool.rows(_FIRST_KEY, fresh_id, fresh_secret)
        rows = await pool.rows(_SIGNING_KEYS)
    return [SigningKey(row["id"], row["secret"], row["accepted_until"]) for row in rows]


async def rotate(pool: Pool, fresh_id: str, fresh_secret: bytes, grace: timedelta, by: str = "") -> None:
    """Sign with the fresh key from now on, and accept the one before for `grace`; older ones end now."""
    async with pool.transaction() as connection:
        await connection.execute(users.BY, by)
        await connection.execute(_END_OLDER)
        await connection.execute(_RETIRE, grace)
        await connection.execute(_FIRST_KEY, fresh_id, fresh_secret)


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
_SIGNING_KEYS = """
    SELECT id, secret, accepted_until FROM token_keys WHERE accepted_until IS NULL OR accepted_until > now()
    ORDER BY accepted_until DESC NULLS FIRST
"""
_FIRST_KEY = """
    INSERT INTO token_keys (id, secret) VALUES ($1, $2)
    ON CONFLICT ((true)) WHERE accepted_until IS NULL DO NOTHING
"""
_END_OLDER = "UPDATE token_keys SET accepted_until = now() WHERE accepted_until > now()"
_RETIRE = "UPDATE token_keys SET accepted_until = now() + $1 WHERE accepted_until IS NULL"
