"""The first admin of a local cluster, and the API key that is kept for commands on this machine.

The password is returned by the start that made it and kept nowhere. The key lies in the data folder (0600),
beside the password of the database, which can do more.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from ccn import settings
from ccn.cli.cluster.data_folder import AdminAt
from ccn.core.ids import UserId
from ccn.embedded import folder
from ccn.gateway.accounts import credentials, new_api_keys, passwords
from ccn.store.accounts import api_keys as stored_keys
from ccn.store.accounts import users
from ccn.store.accounts.users import User
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool

NAME = "admin"
_PURPOSE = "ccn up"


async def ensure_admin(database_url: str, kept: Path) -> AdminAt | None:
    """Make sure that there is an admin. Return None if an operator has disabled or renamed that account."""
    async with pool.open(settings.DatabaseSettings.from_url(database_url), "ccn up") as connections:
        found, password = await _find_or_add_admin(connections)
        if found is None or found.disabled_at is not None:
            return None
        return AdminAt(found.name, await _ensure_key(connections, found, kept), password)


async def _find_or_add_admin(connections: Pool) -> tuple[User | None, str]:
    """Find the admin or add it. Return its password too if it was made just now."""
    if (login := await users.find_login(connections, NAME)) is not None:
        return login.user, ""
    password = passwords.generate_password()
    hashed = await asyncio.to_thread(passwords.hash_password, password)
    made = await users.add_first_user(connections, UserId(credentials.new_id()), NAME, hashed, _PURPOSE)
    return made, password


async def _ensure_key(connections: Pool, admin: User, kept: Path) -> str:
    """Return the key in the file while it is valid, else a new one."""
    key = await asyncio.to_thread(_read_key, kept)
    found = await stored_keys.find_key(connections, credentials.hash_secret(key))
    if found is not None and found.user == admin.id and found.is_valid(datetime.now(UTC)):
        return key
    key = await new_api_keys.make_key(connections, admin.id, _PURPOSE, admin.tier, by=_PURPOSE)
    await asyncio.to_thread(folder.replace_file, kept, key + "\n", 0o600)
    return key


def _read_key(kept: Path) -> str:
    return kept.read_text().strip() if kept.exists() else ""
