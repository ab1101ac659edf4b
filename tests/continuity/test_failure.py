"""What a program is told when a call fails: an error of CCN's tree, by its code or else by the status."""

from __future__ import annotations

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.continuity import failure

Status = grpc.StatusCode


def fail_with(status: grpc.StatusCode, words: str = "", **metadata: str) -> grpc.aio.AioRpcError:
    trailing = ((name.replace("_", "-"), value) for name, value in metadata.items())
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=words)


async def test_every_status_means_something() -> None:
    assert set(failure.MEANING) == set(Status) - {Status.OK}


@pytest.mark.parametrize("status", failure.MEANING)
async def test_a_status_becomes_an_error_with_the_words_and_the_cause(status: grpc.StatusCode) -> None:
    cause = fail_with(status, "the words")
    with pytest.raises(errors.CCNError, match=r"^the words$") as raised, failure.translate_errors():
        raise cause
    assert type(raised.value) is failure.MEANING[status]
    assert raised.value.__cause__ is cause


async def test_a_status_without_words_is_named() -> None:
    with (
        pytest.raises(errors.OutcomeUnknown, match=r"^deadline exceeded$"),
        failure.translate_errors(),
    ):
        raise fail_with(Status.DEADLINE_EXCEEDED)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("turn_running", errors.TurnRunning),
        ("spawn_failed", errors.SpawnFailed),
        ("shutting_down", errors.ShuttingDown),
    ],
)
async def test_a_code_says_more_than_the_status(code: str, kind: type[errors.CCNError]) -> None:
    with pytest.raises(kind), failure.translate_errors():
        raise fail_with(Status.ABORTED, "the words", ccn_code=code)


async def test_a_code_of_a_later_version_leaves_the_status() -> None:
    with pytest.raises(errors.Conflict), failure.translate_errors():
        raise fail_with(Status.ABORTED, "the words", ccn_code="something_new")


@pytest.mark.parametrize("code", ["too_many_streams", "budget_spent", "allowance_spent"])
async def test_how_long_to_wait_is_told(code: str) -> None:
    with (
        pytest.raises(errors.Unavailable) as raised,
        failure.translate_errors(),
    ):
        raise fail_with(Status.RESOURCE_EXHAUSTED, "wait", ccn_code=code, retry_after="2.5")
    assert isinstance(raised.value, errors.TooManyRequests | errors.BudgetSpent)
    assert raised.value.retry_after_s == 2.5


async def test_a_turn_without_a_reply_tells_why() -> None:
    error = failure.error_from_turn("model_unavailable", "nobody answers")
    assert isinstance(error, errors.ModelUnavailable)
    assert str(error) == "nobody answers"
    assert isinstance(failure.error_from_turn("something_new", "?"), errors.ModelRefused)
