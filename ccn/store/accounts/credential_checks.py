"""On what somebody was let in, and whether that still stands: asked of many together.

What lets somebody in is in users.py, sign_ins.py and api_keys.py. What outlasts a request, such as an open
stream, asks here again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from ccn.core.ids import UserId
from ccn.store.connection.pool import Pool


@dataclass(frozen=True, slots=True)
class SignInCredential:
    """An access token of this family; a new password makes another generation."""

    user: UserId
    family: UUID
    generation: int


@dataclass(frozen=True, slots=True)
class ApiKeyCredential:
    """The API key with this hash."""

    hash: bytes


Credential = SignInCredential | ApiKeyCredential


async def find_ended(pool: Pool, grounds: Collection[Credential]) -> list[Credential]:
    """Find the credentials that are not valid any more."""
    by_sign_in = [each for each in grounds if isinstance(each, SignInCredential)]
    by_key = [each for each in grounds if isinstance(each, ApiKeyCredential)]
    of_users = [each.user for each in by_sign_in], [each.family for each in by_sign_in]
    ended = (
        await pool.rows(_ENDED, *of_users, [each.generation for each in by_sign_in]) if by_sign_in else []
    )
    revoked = await pool.rows(_REVOKED, [each.hash for each in by_key]) if by_key else []
    return [
        *(by_sign_in[row["place"] - 1] for row in ended),
        *(ApiKeyCredential(row["hash"]) for row in revoked),
    ]


_ENDED = """
    SELECT place FROM unnest($1::uuid[], $2::uuid[], $3::int[])
        WITH ORDINALITY AS g (user_id, family, generation, place)
    WHERE NOT EXISTS (
        SELECT FROM users u JOIN refresh_tokens t ON t.user_id = u.id
        WHERE u.id = g.user_id AND u.generation = g.generation AND u.disabled_at IS NULL
          AND t.family = g.family AND t.spent_at IS NULL AND t.revoked_at IS NULL
    )
"""
_REVOKED = """
    SELECT g.hash FROM unnest($1::bytea[]) AS g (hash) WHERE NOT EXISTS (
        SELECT FROM api_keys k JOIN users u ON u.id = k.user_id
        WHERE k.hash = g.hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
          AND u.disabled_at IS NULL
    )
"""
