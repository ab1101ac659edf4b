"""Places of pieces: ordered over all hosts of a turn, and named so that clients can send them back."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core import stream
from ccn.core.ids import TurnId
from ccn.core.stream import EventKind, StreamEvent, StreamPosition

numbers = st.integers(0, 10**18 - 1)


@given(st.uuids(), st.builds(StreamPosition, numbers, numbers))
def test_what_a_client_sends_back_is_where_it_was(turn: UUID, place: StreamPosition) -> None:
    assert stream.parse_event_id(stream.event_id(TurnId(turn), place)) == (turn, place)


@pytest.mark.parametrize(
    "event",
    ["", "x", "1-2", f"{UUID(int=1)}", f"{UUID(int=1)}:1", f"{UUID(int=1)}:1-2\n", f"{UUID(int=1)}:-1-2"],
)
def test_what_no_stream_said_is_refused(event: str) -> None:
    with pytest.raises(errors.InputInvalid):
        stream.parse_event_id(event)


def test_a_later_host_comes_after_whatever_an_earlier_one_said() -> None:
    assert (
        stream.START
        < StreamPosition(1, 1)
        < StreamPosition(1, 17)
        < StreamPosition(2, 13)
        < StreamPosition(2, 14)
    )


def test_three_kinds_end_a_stream() -> None:
    assert {kind for kind in EventKind if StreamEvent(StreamPosition(1, 1), kind).ends} == {
        EventKind.DONE,
        EventKind.ERROR,
        EventKind.CANCELLED,
    }
