"""Lets people and services in: signs them in, renews tokens, finds the caller behind a credential.

A valid credential is remembered for `recheck_s`. After that it is checked in the database again. So a
disabled user, a revoked key or an ended sign-in stops working within that time, on every node.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from ccn import errors, metrics, settings
from ccn.core.bounded import Recent
from ccn.gateway import guessing
from ccn.gateway.accounts import credentials, tokens
from ccn.gateway.accounts.access import Caller
from ccn.gateway.accounts.keyring import Keyring
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.accounts.tokens import Claims, KeyPair
from ccn.store.accounts import api_keys, sign_ins, users
from ccn.store.accounts.credential_checks import ApiKeyCredential, SignInCredential
from ccn.store.accounts.sign_ins import RefreshToken, RenewedSignIn, ReusedToken, UnknownToken
from ccn.store.accounts.users import User
from ccn.store.connection.pool import Pool

_log = structlog.get_logger()

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """The tokens that signing in gives."""

    access_token: str
    expires_in_s: int
    refresh_token: str


class Accounts:
    """The accounts of a cluster as one node knows them."""

    def __init__(
        self,
        pool: Pool,
        account_settings: settings.AccountsSettings,
        passwords: Passwords,
        keyring: Keyring,
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._settings = pool, account_settings
        self._passwords, self._keyring, self._now = passwords, keyring, now
        self._recent = _RecentCallers(account_settings.recheck_s, clock)

    async def sign_in(self, name: str, password: str, network: str = "") -> Grant:
        """Exchange a password for tokens. Refusals for different reasons look alike and take equally long.

        The log gets a hash of the name: people type passwords into the wrong field.
        """
        pair = await self._keyring.signing_key()
        login = await users.find_login(self._pool, name)
        matches = await self._passwords.match(password, login.password_hash if login else None)
        if login is None or not matches or login.user.disabled_at is not None:
            metrics.count_sign_in(succeeded=False)
            exists = login is not None
            _log.warning("sign-in refused", name=guessing.hide_name(name), exists=exists, network=network)
            raise errors.SignInRefused("name and password do not fit")
        metrics.count_sign_in(succeeded=True)
        refresh, family = credentials.new_refresh_token(), credentials.new_id()
        lifetime = timedelta(days=self._settings.refresh_days)
        user = login.user
        await sign_ins.begin_sign_in(
            self._pool,
            RefreshToken(
                credentials.hash_secret(refresh), family, user.id, user.generation, self._now() + lifetime
            ),
        )
        return self._make_grant(user, family, refresh, pair)

    async def renew_grant(self, refresh_token: str) -> Grant:
        """Exchange a refresh token for new tokens. Using a token twice ends its whole sign-in."""
        pair = await self._keyring.signing_key()  # first, so that a failure here spends no refresh token
        new_token = credentials.new_refresh_token()
        old_digest, new_digest = credentials.hash_secret(refresh_token), credentials.hash_secret(new_token)
        match await sign_ins.renew_sign_in(
            self._pool, old_digest, new_digest, timedelta(days=self._settings.refresh_days)
        ):
            case RenewedSignIn(user, family):
                return self._make_grant(user, family, new_token, pair)
            case ReusedToken(family):
                _log.warning("a refresh token was used twice; its sign-in has ended", family=str(family))
                raise errors.CredentialInvalid("the refresh token was used before; sign in again")
            case UnknownToken():
                raise errors.CredentialInvalid("the refresh token is not valid")

    async def end_sign_in(self, token: str) -> None:
        """End the sign-in behind an access or refresh token. An unknown token is not an error."""
        if token.startswith(credentials.API_KEY):
            raise errors.TokenUnsupported("an API key is ended by `ccn key revoke`")
        if token.startswith(credentials.REFRESH):
            ended = await sign_ins.end_sign_in(self._pool, credentials.hash_secret(token))
        else:
            ended = await self._end_by_access_token(token)
        if ended is not None:
            self._recent.forget_family(ended)

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

    async def _end_by_access_token(self, token: str) -> UUID | None:
        try:
            family = (await self._read_claims(token)).family
        except errors.Unauthenticated:
            return None
        await sign_ins.end_family(self._pool, family)
        return family

    async def _read_claims(self, token: str) -> Claims:
        return tokens.read_claims(
            token, await self._keyring.find_public_key(tokens.read_key_name(token)), self._settings
        )

    async def _identify_by_key(self, digest: bytes) -> tuple[Caller, float]:
        key, now = await api_keys.find_key(self._pool, digest), self._now()
        if key is None or not key.is_valid(now):
            raise errors.CredentialInvalid("the API key is not valid")
        valid_for_s = (key.expires_at - now).total_seconds() if key.expires_at else float("inf")
        tier, credential = users.lesser_tier(key.tier, key.user_tier), ApiKeyCredential(digest)
        return Caller(tier, key.user, key.user_name, credential=credential), valid_for_s

    async def _identify_by_token(self, token: str) -> tuple[Caller, float, UUID]:
        claims = await self._read_claims(token)
        user = await users.active_user(self._pool, claims.user, claims.family)
        if user is None or user.disabled_at is not None or user.generation != claims.generation:
            raise errors.CredentialInvalid("the sign-in behind the access token has ended")
        valid_for_s = claims.expires_at - self._now().timestamp()
        credential = SignInCredential(claims.user, claims.family, claims.generation)
        return Caller(user.tier, user.id, user.name, credential=credential), valid_for_s, claims.family

    def _make_grant(self, user: User, family: UUID, refresh: str, pair: KeyPair) -> Grant:
        token = tokens.issue_token(user, family, pair, self._settings, self._now())
        return Grant(token, self._settings.access_minutes * 60, refresh)


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
