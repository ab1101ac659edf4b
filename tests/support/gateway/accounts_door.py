"""A door with accounts behind it, whose clock moves by hand, and the credentials to open it with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import httpx
from fastapi import FastAPI

from ccn import settings
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.gateway.accounts import credentials, passwords
from ccn.gateway.accounts.accounts import AccountDesk, Accounts
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.http import auth
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.users import Tier, User
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.writing.writer import Writer
from tests.support.gateway import access_tokens

PASSWORD = "correct horse battery"
PLENTY = settings.LimitsSettings(requests=1_000_000, sign_ins=1_000_000)
RECHECK_S = 2.0


@cache
def kept_password() -> str:
    return passwords.hash_password(PASSWORD)


@dataclass
class Clock:
    """Both clocks of a node, moved by hand."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    ticks: float = 0.0

    def wall(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.ticks

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds


@dataclass
class Door:
    """What the tests of a file share."""

    pool: Pool
    writer: Writer
    passwords: Passwords
    application: FastAPI
    client: httpx.AsyncClient
    clock: Clock

    @property
    def accounts(self) -> AccountDesk:
        """Those of the application."""
        desk: auth.AuthContext = self.application.state.auth
        return desk.require_accounts()

    def another_node(self, clock: Clock | None = None) -> Accounts:
        """Accounts that know nothing of what these have learnt."""
        ticking, chosen = clock or self.clock, settings.AccountsSettings(recheck_s=RECHECK_S)
        return access_tokens.accounts(
            self.pool, self.passwords, chosen, access_tokens.TWO, ticking.wall, ticking.monotonic
        )

    async def user(self, tier: Tier = Tier.USER) -> User:
        name = f"user {secrets.token_hex(6)}"
        return await users.add_user(self.pool, UserId(credentials.new_id()), name, tier, kept_password())

    async def key(self, owner: User, tier: Tier | None = None, **changes: object) -> str:
        key = credentials.new_api_key()
        new = api_keys.NewApiKey(
            credentials.new_id(),
            owner.id,
            "test",
            credentials.key_prefix(key),
            credentials.hash_secret(key),
            tier or owner.tier,
            **changes,  # type: ignore[arg-type]
        )
        await api_keys.keep_key(self.pool, new)
        return key

    async def signed_in(self, owner: User) -> dict[str, str]:
        """The header that shows an access token of this user's."""
        return bearer((await self.accounts.sign_in(owner.name, PASSWORD)).access_token)

    async def conversation(self, owner: User) -> ConversationId:
        named = ConversationId(credentials.new_id())
        await self.writer.submit(conversations.BeginConversation(named, CharacterId("ada"), owner.id))
        return named


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}
