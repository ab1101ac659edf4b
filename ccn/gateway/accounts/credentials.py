"""Secrets that are shown once and kept as hashes: API keys and refresh tokens.

They carry 256 random bits, so a plain SHA-256 protects them; that is what makes looking one up cheap.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from uuid import UUID

from ccn.core import ids

API_KEY = "ccn_"
REFRESH = "ccnr_"
_PREFIX = len(API_KEY) + 8


def new_api_key() -> str:
    """A new API key; scanners for leaked secrets know it by how it begins."""
    return API_KEY + secrets.token_urlsafe(32)


def new_refresh_token() -> str:
    """A new refresh token."""
    return REFRESH + secrets.token_urlsafe(32)


def key_prefix(key: str) -> str:
    """As much of an API key as lists show."""
    return key[:_PREFIX]


def hash_secret(secret: str) -> bytes:
    """What is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_id() -> UUID:
    """An id for whatever is made here."""
    return ids.make_uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
