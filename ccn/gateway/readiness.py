"""Whether this node can serve, and if not, why: asked once for both doors, answered from memory.

Probes come as often as anybody likes; the neighbours are asked once in an interval, each with a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from ccn import errors, metrics

_log = structlog.get_logger()

Probe = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing this node needs, or only tells of; `reason` is empty while it has it."""

    name: str
    reason: str
    needed: bool = True

    @property
    def passes(self) -> bool:
        """Nothing stands against it."""
        return not self.reason


class Readiness:
    """Asks the probes in turn; `stop` makes the answer no for good."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        told: Mapping[str, Probe] | None = None,
        *,
        interval_s: float = 1.0,
        deadline_s: float = 2.0,
    ) -> None:
        """`told` are asked and shown as well, but a node serves without what they ask for."""
        self._probes = [(name, ask, True) for name, ask in probes.items()]
        self._probes += [(name, ask, False) for name, ask in (told or {}).items()]
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self.checks: tuple[Check, ...] = (Check("started", "starting"),)

    @property
    def ready(self) -> bool:
        """Every check of what is needed passes."""
        return all(check.passes for check in self.checks if check.needed)

    async def watch_probes(self) -> None:
        """Keep the answer fresh until told to stop."""
        while not self._stopping.is_set():
            self._record_checks(
                tuple(await asyncio.gather(*[self._ask_probe(*each) for each in self._probes]))
            )
            await _wait_at_most(self._stopping.wait(), self._interval_s)

    def stop(self) -> None:
        """Say no from now on, so that whoever balances load looks elsewhere while we finish."""
        self._stopping.set()
        self._set_checks((Check("running", "stopping"),))

    async def wait_for_change(self, seen: tuple[Check, ...]) -> None:
        """Wait until the answer is another one than the `seen`."""
        while self.checks == seen:
            await self._changed.wait()

    async def _ask_probe(self, name: str, ask: Probe, needed: bool) -> Check:
        try:
            async with asyncio.timeout(self._deadline_s):
                await ask()
        except TimeoutError:
            return Check(name, f"no answer within {self._deadline_s:g} s", needed)
        except errors.CCNError as refused:
            return Check(name, str(refused) or type(refused).__name__, needed)
        return Check(name, "", needed)

    def _record_checks(self, checks: tuple[Check, ...]) -> None:
        if self._stopping.is_set():
            return  # the answer was under way when the node began to stop
        for check in checks:
            metrics.set_check(check.name, passes=check.passes)
        if self.checks == checks:
            return
        self._set_checks(checks)
        against = {check.name: check.reason for check in checks if not check.passes}
        _log.info("ready", **against) if self.ready else _log.warning("not ready", **against)

    def _set_checks(self, checks: tuple[Check, ...]) -> None:
        self.checks = checks
        self._changed.set()
        self._changed = asyncio.Event()


async def _wait_at_most(waiting: Awaitable[object], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await waiting
    except TimeoutError:
        return
