"""The clock and the ids of a node, from one place: a clock that is wrong is wrong everywhere in it."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

from ccn.core import ids


def new_id() -> UUID:
    """A UUIDv7: ids that are made later sort later."""
    return ids.make_uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))


def utc_now() -> datetime:
    """By the same clock as `now_us`, so that one that is wrong is wrong everywhere in a node."""
    return datetime.fromtimestamp(time.time(), UTC)


def now_us() -> int:
    """Microseconds since 1970, as the record keeps moments."""
    return time.time_ns() // 1_000
