"""Knows whether this node can serve, and if not, why: checked once for both doors, answered from memory.

Anybody may ask this node as often as they like. It asks its neighbours once in an interval, with a
deadline.
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
    """The last answer of a probe. `reason` says why it fails and is empty while it passes.

    A check that is not `needed` is only shown.
    """

    name: str
    reason: str
    needed: bool = True

    @property
    def passes(self) -> bool:
        """Whether the probe found nothing wrong."""
        return not self.reason


class Readiness:
    """Runs the probes again and again. After `stop` the node is never ready again."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        optional_probes: Mapping[str, Probe] | None = None,
        *,
        interval_s: float = 1.0,
        deadline_s: float = 2.0,
    ) -> None:
        """`optional_probes` run and are shown as well, but a node is ready although they fail."""
        self._probes = [(name, probe, True) for name, probe in probes.items()]
        self._probes += [(name, probe, False) for name, probe in (optional_probes or {}).items()]
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self.checks: tuple[Check, ...] = (Check("started", "starting"),)

    @property
    def ready(self) -> bool:
        """Whether every needed check passes."""
        return all(check.passes for check in self.checks if check.needed)

    async def watch_probes(self) -> None:
        """Run all probes once in an interval, until `stop`."""
        while not self._stopping.is_set():
            self._record_checks(
                tuple(await asyncio.gather(*[self._run_probe(*each) for each in self._probes]))
            )
            await _wait_at_most(self._stopping.wait(), self._interval_s)

    def stop(self) -> None:
        """Be not ready from now on: load balancers then go elsewhere while this node finishes."""
        self._stopping.set()
        self._set_checks((Check("running", "stopping"),))

    async def wait_for_change(self, seen: tuple[Check, ...]) -> None:
        """Wait until the checks differ from those that were `seen`."""
        while self.checks == seen:
            await self._changed.wait()

    async def _run_probe(self, name: str, probe: Probe, needed: bool) -> Check:
        try:
            async with asyncio.timeout(self._deadline_s):
                await probe()
        except TimeoutError:
            return Check(name, f"no answer within {self._deadline_s:g} s", needed)
        except errors.CCNError as refused:
            return Check(name, str(refused) or type(refused).__name__, needed)
        return Check(name, "", needed)

    def _record_checks(self, checks: tuple[Check, ...]) -> None:
        if self._stopping.is_set():
            return  # the probes were under way when the node began to stop
        for check in checks:
            metrics.process.set_check(check.name, passes=check.passes)
        if self.checks == checks:
            return
        self._set_checks(checks)
        failing = {check.name: check.reason for check in checks if not check.passes}
        _log.info("ready", **failing) if self.ready else _log.warning("not ready", **failing)

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
