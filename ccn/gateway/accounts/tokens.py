"""Access tokens: JWTs with a named key, one algorithm, every claim checked. Only this module knows PyJWT.

A token says who signed in, not what they may do: that is read from the database, so it can change.
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
_TYPE = "at+jwt"  # RFC 9068: what was signed for another purpose is no access token
_LONGEST = 4_096
_LEEWAY = timedelta(seconds=5)  # the clocks of nodes differ a little
_REQUIRED = ["iss", "aud", "sub", "iat", "nbf", "exp", "sid", "gen"]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key that signs tokens, for as long as this process keeps it."""

    public: bytes
    private: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    user: UserId
    family: UUID
    generation: int
    expires_at: int


def new_pair() -> KeyPair:
    """A new key."""
    private = Ed25519PrivateKey.generate()
    return KeyPair(private.public_key().public_bytes_raw(), private)


def issue_token(
    user: User, family: UUID, pair: KeyPair, chosen: settings.AccountsSettings, now: datetime
) -> str:
    """A token that is good from now on for as long as the settings say."""
    at = int(now.timestamp())
    claims = {
        "iss": chosen.issuer,
        "aud": chosen.audience,
        "sub": str(user.id),
        "iat": at,
        "nbf": at,
        "exp": at + _lifetime_s(chosen),
        "sid": str(family),
        "gen": user.generation,
    }
    headers = {"kid": token_key.name_of_key(pair.public), "typ": _TYPE}
    return jwt.encode(claims, pair.private, ALGORITHM, headers=headers)


def read_key_name(token: str) -> str:
    """The name of the key a token claims to be signed with."""
    if len(token) > _LONGEST:
        raise errors.CredentialInvalid("the access token is too long to be one")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise errors.CredentialInvalid("the credential is neither an access token nor an API key") from None
    kid = header.get("kid")
    if header.get("alg") != ALGORITHM or header.get("typ") != _TYPE or not isinstance(kid, str):
        raise errors.CredentialInvalid("the access token is not of this kind")
    return kid


def read_claims(token: str, public: bytes, chosen: settings.AccountsSettings) -> Claims:
    """What a token says, if this key signed it and all of it holds now."""
    try:
        found = jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(public),
            algorithms=[ALGORITHM],
            audience=chosen.audience,
            issuer=chosen.issuer,
            leeway=_LEEWAY,
            options={"require": _REQUIRED, "strict_aud": True},
        )
        if int(found["exp"]) - int(found["iat"]) > _lifetime_s(chosen):
            raise errors.CredentialInvalid("the access token lasts longer than any may")
        return Claims(UserId(UUID(found["sub"])), UUID(found["sid"]), int(found["gen"]), int(found["exp"]))
    except jwt.ExpiredSignatureError:
        raise errors.TokenExpired("the access token has expired") from None
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise errors.CredentialInvalid("the access token does not hold") from None


def _lifetime_s(chosen: settings.AccountsSettings) -> int:
    return chosen.access_minutes * 60
