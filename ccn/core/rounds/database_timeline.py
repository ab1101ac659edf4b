"""Which database a server has, and which of its histories: by this a former primary is known.

PostgreSQL gives a database its identifier when it is made; all copies share it. Each promotion begins a new
timeline with a higher number. Separate from what a node does about it, because nodes tell each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn import errors

_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class DatabaseTimeline:
    """A database and a timeline of it."""

    system: int
    timeline: int

    def __post_init__(self) -> None:
        """Refuse numbers that no server has."""
        if not -_LARGEST <= self.system < _LARGEST or not 0 < self.timeline < 2**32:
            raise errors.InputInvalid("no database has such a timeline")

    def is_newer_than(self, other: DatabaseTimeline | None) -> bool:
        """Whether it is a later history of the same database."""
        return other is not None and self.system == other.system and self.timeline > other.timeline
