"""New API keys: made here, shown to whoever asked, and kept as a digest only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ccn.core.ids import UserId
from ccn.gateway.accounts import credentials
from ccn.store.accounts import api_keys
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool


async def make_key(  # noqa: PLR0917 - what a key is
    pool: Pool, user: UserId, name: str, tier: Tier, days: int | None = None, by: str = ""
) -> str:
    """A new key of a user's."""
    made = credentials.new_api_key()
    until = datetime.now(UTC) + timedelta(days=days) if days else None
    shown, digest = credentials.key_prefix(made), credentials.hash_secret(made)
    await api_keys.keep_key(
        pool, api_keys.NewApiKey(credentials.new_id(), user, name, shown, digest, tier, until), by
    )
    return made
