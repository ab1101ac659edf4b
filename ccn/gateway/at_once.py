"""How much of something each may have at once, and all together: a count that is given back when it ends.

Rates are another matter (see limiting.py). These are counts of one node.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from ccn import errors


class AtOnce:
    """So many of one kind of thing; `things` is what its members are called."""

    def __init__(self, things: str, each: int) -> None:
        self._things, self._each = things, each
        self._counts = Counter[str]()

    @contextlib.contextmanager
    def one(self, who: str) -> Iterator[None]:
        """One more for as long as the block lasts, or TooManyRequests."""
        if self._counts[who] >= self._each:
            raise errors.TooManyRequests(
                f"{self._each} {self._things} of yours are under way already; end one, or wait"
            )
        self._counts[who] += 1
        try:
            yield
        finally:
            self._counts[who] -= 1
            if not self._counts[who]:
                del self._counts[who]
