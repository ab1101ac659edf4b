"""A memory that does not grow for ever: of more than its limit, what was put in longest ago gives way."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(OrderedDict[K, V], Generic[K, V]):
    """The newest so many entries, in the order in which they were put in; put in again, an entry is new."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self.limit:
            self.popitem(last=False)

    def pop_oldest(self) -> tuple[K, V]:
        """Take out what was put in longest ago."""
        return self.popitem(last=False)
