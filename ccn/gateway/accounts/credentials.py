"""Makes secrets that are shown once and stored as hashes: API keys and refresh tokens.

They have 256 random bits, so a plain SHA-256 protects them, and finding one in the database is cheap.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from uuid import UUID

from ccn.core import ids

API_KEY = "ccn_"
REFRESH = "ccnr_"
_PREFIX_LENGTH = len(API_KEY) + 8


def new_api_key() -> str:
    """Make a new API key. Scanners for leaked secrets recognise its first characters."""
    return API_KEY + secrets.token_urlsafe(32)


def new_refresh_token() -> str:
    """Make a new refresh token."""
    return REFRESH + secrets.token_urlsafe(32)


def key_prefix(key: str) -> str:
    """The first characters of an API key, which lists show."""
    return key[:_PREFIX_LENGTH]


def hash_secret(secret: str) -> bytes:
    """Hash a secret for the database."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_id() -> UUID:
    """Make a new id: a UUID that begins with the time."""
    return ids.make_uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
