"""Finds the caller behind a credential: access tokens by keys that are trusted, API keys by their digest.

A valid credential is remembered for `recheck_s`. After that it is checked in the database again. So a
disabled user, a revoked key or an ended sign-in stops working within that time, on every node. Separate
from `accounts`, because a gateway checks credentials and gives none out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from ccn import errors, settings
from ccn.core.bounded import Recent
from ccn.gateway.accounts import credentials, tokens
from ccn.gateway.accounts.access import Caller
from ccn.gateway.accounts.tokens import Claims
from ccn.gateway.accounts.trusted_keys import PublicKeys
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.credential_checks import ApiKeyCredential, SignInCredential
from ccn.store.connection.pool import Pool

_REMEMBERED = 10_000


class KnownCallers:
    """Checks credentials, and remembers the valid ones for a moment."""

    def __init__(
        self,
        pool: Pool,
        account_settings: settings.AccountsSettings,
        keys: PublicKeys,
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._settings, self._keys, self._now = pool, account_settings, keys, now
        self._recent = _RecentCallers(account_settings.recheck_s, clock)

    async def identify_caller(self, credential: str) -> Caller:
        """Find the caller who shows this access token or API key."""
        digest = credentials.hash_secret(credential)
        if (known := self._recent.find(digest)) is not None:
            return known
        if credential.startswith(credentials.API_KEY):
            caller, valid_for_s, family = *await self._identify_by_key(digest), None
        else:
            caller, valid_for_s, family = await self._identify_by_token(credential)
        self._recent.remember(digest, caller, valid_for_s, family)
        return caller

    def forget_family(self, family: UUID) -> None:
        """Trust nobody for this sign-in any more: it has ended."""
        self._recent.forget_family(family)

    async def read_claims(self, token: str) -> Claims:
        """Read what an access token says, if its key is valid."""
        return tokens.read_claims(
            token, await self._keys.find_public_key(tokens.read_key_name(token)), self._settings
        )

    async def _identify_by_key(self, digest: bytes) -> tuple[Caller, float]:
        key, now = await api_keys.find_key(self._pool, digest), self._now()
        if key is None or not key.is_valid(now):
            raise errors.CredentialInvalid("the API key is not valid")
        valid_for_s = (key.expires_at - now).total_seconds() if key.expires_at else float("inf")
        tier, credential = users.lesser_tier(key.tier, key.user_tier), ApiKeyCredential(digest)
        return Caller(tier, key.user, key.user_name, credential=credential), valid_for_s

    async def _identify_by_token(self, token: str) -> tuple[Caller, float, UUID]:
        claims = await self.read_claims(token)
        user = await users.active_user(self._pool, claims.user, claims.family)
        if user is None or user.disabled_at is not None or user.generation != claims.generation:
            raise errors.CredentialInvalid("the sign-in behind the access token has ended")
        valid_for_s = claims.expires_at - self._now().timestamp()
        credential = SignInCredential(claims.user, claims.family, claims.generation)
        return Caller(user.tier, user.id, user.name, credential=credential), valid_for_s, claims.family


class _RecentCallers:
    """Remembers the callers behind credentials that were valid a moment ago. Drops the oldest first."""

    def __init__(self, fresh_s: float, clock: Callable[[], float]) -> None:
        self._fresh_s, self._clock = fresh_s, clock
        self._known = Recent[bytes, tuple[float, Caller, UUID | None]](_REMEMBERED)

    def find(self, digest: bytes) -> Caller | None:
        until, caller, _ = self._known.get(digest, (float("-inf"), None, None))
        return caller if self._clock() < until else None

    def remember(self, digest: bytes, caller: Caller, valid_for_s: float, family: UUID | None) -> None:
        self._known[digest] = self._clock() + min(self._fresh_s, valid_for_s), caller, family

    def forget_family(self, family: UUID) -> None:
        for digest in [digest for digest, (_, _, of) in self._known.items() if of == family]:
            del self._known[digest]
