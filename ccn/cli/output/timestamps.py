"""How commands show a moment to people: in UTC, with the zone.

Separate, because every group of commands shows moments. Programs get ISO 8601 with the zone.
"""

from __future__ import annotations

from datetime import UTC, datetime


def format_moment(at: datetime) -> str:
    """Write the day and the second, with the zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_iso_moment(at: str) -> str:
    """Do the same for a moment in ISO 8601, as a node or the database tells it."""
    return format_moment(datetime.fromisoformat(at))
