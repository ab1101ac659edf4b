"""How often and how soon a call is tried again. The pauses are values, so tests need not wait.

Each kind of failure has its own pauses, and when those of its kind are used up the failure is final: four
broken connections do not use up the pauses that a rate limit deserves. The API may ask for a pause
itself. We keep it up to the longest of ours, and give up instead of waiting longer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from tenacity import AsyncRetrying, AttemptManager, RetryCallState

from ccn.claude import failure
from ccn.claude.failure import FailureKind
from ccn.core.calls.call import CallRetry


@dataclass(frozen=True, slots=True)
class RetryDelays:
    """Seconds before each further try, by what went wrong."""

    network_s: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    limited_s: tuple[float, ...] = (60.0, 120.0, 240.0, 480.0, 900.0)
    server_s: tuple[float, ...] = (2.0, 4.0, 8.0)
    asked_most_s: float = 900.0


class CallTries:
    """The tries of one call, to be iterated once. The caller waits before each further try."""

    def __init__(self, delays: RetryDelays) -> None:
        self.retry: CallRetry | None = None
        """Which try this is, and the pause before it; None at the first."""
        self._asked_most_s = delays.asked_most_s
        self._pauses: dict[FailureKind, list[float]] = {
            FailureKind.NETWORK: [*delays.network_s],
            FailureKind.LIMITED: [*delays.limited_s],
            FailureKind.SERVER: [*delays.server_s],
            FailureKind.REFUSED: [],
        }

    def __aiter__(self) -> AsyncIterator[AttemptManager]:
        return aiter(AsyncRetrying(retry=self._should_retry, sleep=_skip_sleep, reraise=True))

    def _should_retry(self, state: RetryCallState) -> bool:
        """Whether to try once more. tenacity asks exactly once after each try."""
        failed = state.outcome.exception() if state.outcome is not None else None
        if not isinstance(failed, failure.FOREIGN):
            return False
        kind = failure.classify_failure(failed)
        asked_s = failure.retry_after_s(failed)
        pauses = self._pauses[kind]
        if not pauses or (asked_s or 0.0) > self._asked_most_s:
            return False
        pause_s, number = pauses.pop(0), state.attempt_number + 1
        pause_s = pause_s if asked_s is None else asked_s
        self.retry = CallRetry(number, number + len(pauses), pause_s, kind.value)
        return True


async def _skip_sleep(_pause_s: float) -> None:
    """Do nothing: the caller waits, for the pause in `retry`."""
