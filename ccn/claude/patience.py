"""How often and how soon a call is tried again; the pauses are values, so tests need not wait.

Each kind of failure has its own pauses, and when those of its kind are used up the failure stands: four
broken connections do not take away the patience that a rate limit deserves. The API may ask for a pause
itself, which is honoured up to the longest of ours; a longer one is not waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState

from ccn.claude import failure
from ccn.claude.failure import Kind


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds before each further try, by what went wrong."""

    network_s: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    limited_s: tuple[float, ...] = (60.0, 120.0, 240.0, 480.0, 900.0)
    server_s: tuple[float, ...] = (2.0, 4.0, 8.0)
    asked_most_s: float = 900.0


def attempts(delays: Delays) -> AsyncRetrying:
    """The tries of one call."""
    patience = _Patience(delays)
    return AsyncRetrying(retry=patience.again, wait=patience.pause, reraise=True)


class _Patience:
    def __init__(self, delays: Delays) -> None:
        self._asked_most_s = delays.asked_most_s
        self._pause_s = 0.0
        self._pauses: dict[Kind, Iterator[float]] = {
            Kind.NETWORK: iter(delays.network_s),
            Kind.LIMITED: iter(delays.limited_s),
            Kind.SERVER: iter(delays.server_s),
            Kind.REFUSED: iter(()),
        }

    def again(self, state: RetryCallState) -> bool:
        """Whether to try once more; tenacity asks exactly once after each try."""
        failed = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(failed, failure.FOREIGN):
            return False
        pause_s, asked_s = next(self._pauses[failure.kind(failed)], None), failure.retry_after_s(failed)
        if pause_s is None or (asked_s or 0.0) > self._asked_most_s:
            return False
        self._pause_s = pause_s if asked_s is None else asked_s
        return True

    def pause(self, _state: RetryCallState) -> float:
        """How long to wait before that."""
        return self._pause_s
