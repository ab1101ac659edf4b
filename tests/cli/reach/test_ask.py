"""What is raised where a command is interrupted."""

from __future__ import annotations

import asyncio

import pytest

from ccn import errors
from ccn.cli.reach import ask


async def _fail_when_cancelled() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise errors.DatabaseUnavailable("closing failed") from None


async def test_an_error_while_a_command_is_cancelled_does_not_take_the_place_of_that() -> None:
    task = asyncio.create_task(ask.end_as_interrupted(_fail_when_cancelled()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_any_other_error_leaves_as_it_is() -> None:
    async def fail() -> None:
        raise errors.NotFound("there is no block 7")

    with pytest.raises(errors.NotFound):
        await ask.end_as_interrupted(fail())
