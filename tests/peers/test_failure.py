"""What gRPC says and what the error tree says are translated by complete tables, with the cause."""

from __future__ import annotations

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


def test_every_status_has_a_meaning() -> None:
    assert set(failure.MEANING) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


@pytest.mark.parametrize("code", failure.MEANING)
def test_a_status_becomes_an_error_that_names_the_node_and_keeps_the_cause(code: object) -> None:
    cause = failed(code, "the words")
    with (
        pytest.raises(failure.MEANING[code], match=r"^node-2: the words$") as told,
        failure.translated(TWO),
    ):
        raise cause
    assert told.value.__cause__ is cause


def test_a_status_without_words_is_named() -> None:
    with (
        pytest.raises(errors.PeerUnavailable, match=r"^node-2: deadline exceeded$"),
        failure.translated(TWO),
    ):
        raise failed(grpc.StatusCode.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("kind", tree(errors.CCNError))
def test_every_error_has_a_status_that_is_not_ok(kind: type[errors.CCNError]) -> None:
    assert failure.status(kind) in failure.MEANING


@pytest.mark.parametrize("name", ["StaleTerm", "LeaseLost", "SigningRefused", "SystemExit", "CCNError", ""])
def test_a_peer_cannot_make_this_node_believe_something_about_itself(name: str) -> None:
    with pytest.raises(errors.OutcomeUnknown), failure.forwarded(TWO):
        raise failed(grpc.StatusCode.ABORTED, "surprise", ((failure.NAME, name),))


def test_a_refusal_of_the_transport_is_no_unknown_outcome() -> None:
    with pytest.raises(errors.PeerRefused), failure.forwarded(TWO):
        raise failed(grpc.StatusCode.UNIMPLEMENTED)
