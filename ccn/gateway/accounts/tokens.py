"""Issues and checks access tokens: JWTs with a named key and one algorithm. Only this module knows PyJWT.

A token says who signed in, and not what they may do. That is read from the database, so it can change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ccn import errors, settings
from ccn.core.identity import token_key
from ccn.core.ids import UserId
from ccn.store.accounts.users import User

ALGORITHM = "EdDSA"
_TYPE = "at+jwt"  # RFC 9068: a JWT that was signed for another purpose is no access token
_LENGTH_LIMIT = 4_096
_LEEWAY = timedelta(seconds=5)  # the clocks of nodes differ a little
_REQUIRED = ["iss", "aud", "sub", "iat", "nbf", "exp", "sid", "gen"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key that signs tokens. The private half never leaves this process."""

    public: bytes
    private: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    user: UserId
    family: UUID
    generation: int
    expires_at: int


def new_pair() -> KeyPair:
    """Make a new key pair."""
    private = Ed25519PrivateKey.generate()
    return KeyPair(private.public_key().public_bytes_raw(), private)


def issue_token(
    user: User, family: UUID, pair: KeyPair, account_settings: settings.AccountsSettings, now: datetime
) -> str:
    """Issue a token that is valid from now on, for as long as the settings say."""
    now_s = int(now.timestamp())
    claims = {
        "iss": account_settings.issuer,
        "aud": account_settings.audience,
        "sub": str(user.id),
        "iat": now_s,
        "nbf": now_s,
        "exp": now_s + _lifetime_s(account_settings),
        "sid": str(family),
        "gen": user.generation,
    }
    headers = {"kid": token_key.name_of_key(pair.public), "typ": _TYPE}
    return jwt.encode(claims, pair.private, ALGORITHM, headers=headers)


def read_key_name(token: str) -> str:
    """Read the name of the key that a token claims to be signed with."""
    if len(token) > _LENGTH_LIMIT:
        raise errors.CredentialInvalid("an access token is shorter than this credential")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise errors.CredentialInvalid("the credential is neither an access token nor an API key") from None
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or header.get("typ") != _TYPE or not isinstance(kid, str):
        raise errors.CredentialInvalid("the access token has another type or algorithm than ours")
    return kid


def read_claims(token: str, public: bytes, account_settings: settings.AccountsSettings) -> Claims:
    """Check a token with a public key and return its claims. Raises if any of it is not valid now."""
    try:
        claims = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(public),
            algorithms=[ALGORITHM],
            audience=account_settings.audience,
            issuer=account_settings.issuer,
            leeway=_LEEWAY,
            options={"require": _REQUIRED, "strict_aud": True},
        )
        if int(claims["exp"]) - int(claims["iat"]) > _lifetime_s(account_settings):
            raise errors.CredentialInvalid("the access token lasts longer than this cluster allows")
        user, family = UserId(UUID(claims["sub"])), UUID(claims["sid"])
        return Claims(user, family, int(claims["gen"]), int(claims["exp"]))
    except jwt.ExpiredSignatureError:
        raise errors.TokenExpired("the access token has expired") from None
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise errors.CredentialInvalid("the access token is not valid") from None


def _lifetime_s(account_settings: settings.AccountsSettings) -> int:
    return account_settings.access_minutes * 60
