"""Lets people and services in where tokens are signed: signs them in, renews tokens, signs them out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import structlog

from ccn import errors, metrics, settings
from ccn.gateway import guessing
from ccn.gateway.accounts import credentials, tokens
from ccn.gateway.accounts.access import Caller
from ccn.gateway.accounts.keyring import Keyring
from ccn.gateway.accounts.known_callers import KnownCallers
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.accounts.tokens import KeyPair
from ccn.store.accounts import sign_ins, users
from ccn.store.accounts.sign_ins import RefreshToken, RenewedSignIn, ReusedToken, UnknownToken
from ccn.store.accounts.users import User
from ccn.store.connection.pool import Pool

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Grant:
    """The tokens that signing in gives."""

    access_token: str
    expires_in_s: int
    refresh_token: str


class AccountDesk(Protocol):
    """What doors ask about accounts. A gateway has a voter sign."""

    async def sign_in(self, name: str, password: str, network: str = "") -> Grant:
        """Exchange a password for tokens."""

    async def renew_grant(self, refresh_token: str) -> Grant:
        """Exchange a refresh token for new tokens."""

    async def end_sign_in(self, token: str) -> UUID | None:
        """End the sign-in behind a token, and return which one that was."""

    async def identify_caller(self, credential: str) -> Caller:
        """Find the caller who shows this access token or API key."""


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
        self._callers = KnownCallers(pool, account_settings, keyring, now, clock=clock)

    async def sign_in(self, name: str, password: str, network: str = "") -> Grant:
        """Exchange a password for tokens. Refusals for different reasons look alike and take equally long.

        The log gets a hash of the name: people type passwords into the wrong field.
        """
        pair = await self._keyring.signing_key()
        login = await users.find_login(self._pool, name)
        matches = await self._passwords.match(password, login.password_hash if login else None)
        if login is None or not matches or login.user.disabled_at is not None:
            metrics.doors.count_sign_in(succeeded=False)
            exists = login is not None
            _log.warning("sign-in refused", name=guessing.hide_name(name), exists=exists, network=network)
            raise errors.SignInRefused("name and password do not fit")
        metrics.doors.count_sign_in(succeeded=True)
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

    async def end_sign_in(self, token: str) -> UUID | None:
        """End the sign-in behind an access or refresh token. An unknown token is not an error."""
        if token.startswith(credentials.API_KEY):
            raise errors.TokenUnsupported("an API key is ended by `ccn key revoke`")
        if token.startswith(credentials.REFRESH):
            ended = await sign_ins.end_sign_in(self._pool, credentials.hash_secret(token))
        else:
            ended = await self._end_by_access_token(token)
        if ended is not None:
            self._callers.forget_family(ended)
        return ended

    async def identify_caller(self, credential: str) -> Caller:
        """Find the caller who shows this access token or API key."""
        return await self._callers.identify_caller(credential)

    async def _end_by_access_token(self, token: str) -> UUID | None:
        try:
            family = (await self._callers.read_claims(token)).family
        except errors.Unauthenticated:
            return None
        await sign_ins.end_family(self._pool, family)
        return family

    def _make_grant(self, user: User, family: UUID, refresh: str, pair: KeyPair) -> Grant:
        token = tokens.issue_token(user, family, pair, self._settings, self._now())
        return Grant(token, self._settings.access_minutes * 60, refresh)
