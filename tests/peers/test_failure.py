"""What gRPC says and what the error tree says are translated by complete tables, with the cause."""

from __future__ import annotations

import asyncio
import contextlib

import grpc  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.core.ids import NodeId
from ccn.peers import failure

TWO = NodeId("node-2")


def failed(code: object, details: str = "", trailing: tuple[tuple[str, str], ...] = ()) -> Exception:
    made: Exception = grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=details
    )
    return made


def tree(root: type[errors.CCNError]) -> list[type[errors.CCNError]]:
    return [root, *(leaf for branch in root.__subclasses__() for leaf in tree(branch))]


async def test_every_status_has_a_meaning() -> None:
    assert set(failure.MEANING) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("code", failure.MEANING)
async def test_a_status_becomes_an_error_that_names_the_node_and_keeps_the_cause(code: object) -> None:
    cause = failed(code, "the words")
    with (
        pytest.raises(failure.MEANING[code], match=r"^node-2: the words$") as told,
        failure.translate_errors(TWO),
    ):
        raise cause
    assert told.value.__cause__ is cause


async def test_a_status_without_words_is_named() -> None:
    with (
        pytest.raises(errors.PeerUnavailable, match=r"^node-2: deadline exceeded$"),
        failure.translate_errors(TWO),
    ):
        raise failed(grpc.StatusCode.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("kind", tree(errors.CCNError))
async def test_every_error_has_a_status_that_is_not_ok(kind: type[errors.CCNError]) -> None:
    assert failure.error_to_status(kind) in failure.MEANING


@pytest.mark.parametrize("name", ["StaleTerm", "LeaseLost", "SigningRefused", "SystemExit", "CCNError", ""])
async def test_a_peer_cannot_make_this_node_believe_something_about_itself(name: str) -> None:
    with pytest.raises(errors.OutcomeUnknown), failure.translate_forwarded(TWO):
        raise failed(grpc.StatusCode.ABORTED, "surprise", ((failure.NAME, name),))


async def test_a_refusal_of_the_transport_is_no_unknown_outcome() -> None:
    with pytest.raises(errors.PeerRefused), failure.translate_forwarded(TWO):
        raise failed(grpc.StatusCode.UNIMPLEMENTED)


async def test_a_cancellation_that_an_error_of_grpc_swallows_is_one_all_the_same() -> None:
    """As when a call ends in the moment in which the task that waits for it is cancelled."""

    async def swallow() -> None:
        with failure.translate_errors(TWO):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, none, none)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await swallow()
