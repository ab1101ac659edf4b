"""Which lines of the nodes a person is shown, so that what matters stays on the screen.

The files keep every line. A block that sealed nothing is counted, and the count is shown once a minute. A
warning that several nodes repeat, as when the database restarts, is shown once, then how often it came
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

BLOCKS_S = 60.0
"""How often people are told that empty rounds go on."""
REPEATS_S = 10.0
"""For how long the same warning is counted and not shown."""
_KEPT = 100
_LOUD = frozenset({"warning", "error", "critical"})


@dataclass(slots=True)
class _RepeatedWarning:
    """A warning that was shown, and what came after it."""

    since: float
    times: int = 0
    names: set[str] = field(default_factory=set)


class LogDigest:
    """Decides from what was shown last whether the next line is shown."""

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._clock = quiet, clock
        self._repeated: dict[str, _RepeatedWarning] = {}
        self._blocks, self._blocks_since = 0, clock()

    def is_worth_showing(self, name: str, event: Mapping[str, object]) -> bool:
        """Return whether this line is shown."""
        level, what = str(event.get("level", "info")), str(event.get("event", ""))
        if what == "block committed" and event.get("leaves") == 0:
            self._blocks += 1
            return False
        if level not in _LOUD:
            return not self._quiet
        if (before := self._repeated.get(what)) is not None:
            before.times += 1
            before.names.add(name)
            return False
        if len(self._repeated) < _KEPT:
            self._repeated[what] = _RepeatedWarning(self._clock())
        return True

    def due_lines(self) -> Iterator[str]:
        """Return what to say of lines that were not shown, once enough time has passed."""
        now = self._clock()
        for what, each in list(self._repeated.items()):
            if now - each.since >= REPEATS_S:
                del self._repeated[what]
                if each.times:
                    yield f"{what}: {each.times} more of {', '.join(sorted(each.names))}"
        if self._blocks and now - self._blocks_since >= BLOCKS_S:
            blocks, self._blocks, self._blocks_since = self._blocks, 0, now
            if not self._quiet:
                yield f"rounds go on: {blocks} blocks with nothing new to seal"
