"""How commands show people a moment: in UTC, and saying so.

Separate, because every family of commands shows some. Programs and doors get ISO 8601 with the zone.
"""

from __future__ import annotations

from datetime import UTC, datetime


def format_moment(at: datetime) -> str:
    """The day and the second, with the zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_iso_moment(at: str) -> str:
    """The same of a moment as a node or the database tells it."""
    return format_moment(datetime.fromisoformat(at))
