"""A task that is cancelled while it waits for a call ends as cancelled, whatever the call ends with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from ccn import cancellation


class CallFailed(Exception):
    """What a call ends with."""


@pytest.mark.parametrize("ends", ["with an error", "with an answer"])
async def test_a_cancellation_that_a_call_swallows_is_one_all_the_same(ends: str) -> None:
    """As when a call ends in the moment in which the task that waits for it is cancelled."""

    async def swallow() -> None:
        with cancellation.keep_cancellation():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            if ends == "with an error":
                raise CallFailed

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await swallow()


async def test_a_cancellation_names_the_error_that_swallowed_it() -> None:
    async def swallow() -> BaseException | None:
        try:
            with cancellation.keep_cancellation():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                raise CallFailed
        except asyncio.CancelledError as cancelled:
            return cancelled.__cause__

    task = asyncio.create_task(swallow())
    await asyncio.sleep(0)
    task.cancel()
    assert isinstance(await task, CallFailed)


async def test_an_error_of_a_call_that_nobody_cancels_passes() -> None:
    with pytest.raises(CallFailed), cancellation.keep_cancellation():
        raise CallFailed


async def test_who_tidies_up_after_a_cancellation_gets_the_answer_of_its_call() -> None:
    answers = list[str]()

    async def tidy_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with cancellation.keep_cancellation():
                answers.append("answered")

    task = asyncio.create_task(tidy_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert (task.cancelled(), answers) == (True, ["answered"])


async def test_a_generator_that_another_task_closes_is_cancelled_with_that_one() -> None:
    async def stream() -> AsyncGenerator[int]:
        with cancellation.keep_cancellation():
            yield 1
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    values = stream()
    assert await asyncio.create_task(anext(values)) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(values)


async def test_a_cancellation_is_requested_only_by_somebody() -> None:
    assert not cancellation.is_requested()
    task = asyncio.current_task()
    assert task
    task.cancel()
    assert cancellation.is_requested()
    task.uncancel()
    with pytest.raises(asyncio.CancelledError):  # what was thrown is still on its way
        await asyncio.sleep(0)


def test_without_a_task_a_cancellation_is_taken_for_requested() -> None:
    async def ask() -> bool:
        asked = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: asked.set_result(cancellation.is_requested()))
        return bool(await asked)

    assert asyncio.run(ask())
