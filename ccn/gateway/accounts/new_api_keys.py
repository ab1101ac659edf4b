"""Issues API keys: makes a key, stores its digest, and returns the key, which is shown once."""

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
    """Make and store a new API key of a user, and return it."""
    key = credentials.new_api_key()
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    prefix, digest = credentials.key_prefix(key), credentials.hash_secret(key)
    await api_keys.keep_key(
        pool, api_keys.NewApiKey(credentials.new_id(), user, name, prefix, digest, tier, expires_at), by
    )
    return key
