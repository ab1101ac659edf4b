"""Tells a cancellation of the task that waits for a call from the end of the call itself.

gRPC mixes them up in both directions. A call that ends while its task is being cancelled can swallow the
cancellation. A channel that closes under a call raises one that nobody requested. Separate from `etcd` and
`peers` because both wait for calls of gRPC; these rules need asyncio alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def keep_cancellation() -> Iterator[None]:
    """Raise CancelledError at the end of the block if this task was cancelled in it.

    gRPC can swallow our cancellation when a call ends at the same moment. Raise it anyway, or
    `asyncio.timeout`, which cancels only once, would wait for ever.
    """
    entered = asyncio.current_task()
    # What was requested earlier is known already: who tidies up after a cancellation makes calls, too.
    requests_before = entered.cancelling() if entered else 0
    try:
        yield
    except asyncio.CancelledError:
        raise
    except Exception as swallowing:
        if _is_cancelled_since(entered, requests_before):
            raise asyncio.CancelledError from swallowing
        raise
    if _is_cancelled_since(entered, requests_before):
        raise asyncio.CancelledError


def is_requested() -> bool:
    """Whether somebody cancels the current task; without a task it is not known, and taken for true."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _is_cancelled_since(entered: asyncio.Task[Any] | None, requests_before: int) -> bool:
    """Count the requests since the block was entered.

    The block of a generator can be left in another task than the one that entered it. Every request to that
    one counts.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > (requests_before if task is entered else 0)
