"""Run the parts of a node together: one that dies ends all, and stopping has a deadline.

A node that lost a part of itself would look alive and not be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping

import structlog

from ccn import errors

_log = structlog.get_logger()

Parts = Mapping[str, Coroutine[None, None, None]]


@contextlib.asynccontextmanager
async def run_together(parts: Parts, stop: asyncio.Event, grace_s: float) -> AsyncIterator[None]:
    """Run all parts beside the body; after it, wait for them, but not longer than `grace_s`."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_run_part(name, work, stop), name=name) for name, work in parts.items()
            ]
            yield
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            if late:
                names = ", ".join(sorted(task.get_name() for task in late))
                raise errors.NodeFailed(f"{names} did not stop within {grace_s:g} s")
    except BaseExceptionGroup as failed:
        raise _first_failure(failed) from None


async def _run_part(name: str, work: Coroutine[None, None, None], stop: asyncio.Event) -> None:
    try:
        await work
    except Exception as died:
        _log.critical("a part of this node died", part=name, exc_info=True)
        raise errors.NodeFailed(f"{name} died: {type(died).__name__}: {died}") from died
    if not stop.is_set():
        _log.critical("a part of this node ended by itself", part=name)
        raise errors.NodeFailed(f"{name} ended by itself")


def _first_failure(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failed.exceptions[0]
    return _first_failure(first) if isinstance(first, BaseExceptionGroup) else first
