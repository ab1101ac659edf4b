"""Places of pieces: ordered over all hosts of a turn, and named so that clients can send them back."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core import stream
from ccn.core.ids import TurnId
from ccn.core.stream import Kind, Place, Told

numbers = st.integers(0, 10**18 - 1)


@given(st.uuids(), st.builds(Place, numbers, numbers))
def test_what_a_client_sends_back_is_where_it_was(turn: UUID, place: Place) -> None:
    assert stream.resumed(stream.event_id(TurnId(turn), place)) == (turn, place)


@pytest.mark.parametrize(
    "event",
    ["", "x", "1-2", f"{UUID(int=1)}", f"{UUID(int=1)}:1", f"{UUID(int=1)}:1-2\n", f"{UUID(int=1)}:-1-2"],
)
def test_what_no_stream_said_is_refused(event: str) -> None:
    with pytest.raises(errors.InputInvalid):
        stream.resumed(event)


def test_a_later_host_comes_after_whatever_an_earlier_one_said() -> None:
    assert stream.START < Place(1, 1) < Place(1, 17) < Place(2, 13) < Place(2, 14)


def test_three_kinds_end_a_stream() -> None:
    assert {kind for kind in Kind if Told(Place(1, 1), kind).ends} == {
        Kind.DONE,
        Kind.ERROR,
        Kind.CANCELLED,
    }
