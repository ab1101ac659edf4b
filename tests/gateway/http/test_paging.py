"""A cursor leads on from where its page ended, and one that somebody made up leads nowhere."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ccn import errors
from ccn.gateway.http import paging

ASKED: TypeAdapter[str | None] = TypeAdapter(paging.Cursor)


@given(st.integers(1, 10**18 - 1))
def test_a_message_is_found_again_and_its_cursor_may_be_asked_for(seq: int) -> None:
    cursor = paging.cursor_from_seq(seq)
    assert ASKED.validate_python(cursor) == cursor
    assert paging.seq_from_cursor(cursor) == seq


@given(st.integers(0, 2**128 - 1))
def test_an_entry_is_found_again_and_its_cursor_may_be_asked_for(number: int) -> None:
    cursor = paging.cursor_from_id(UUID(int=number))
    assert ASKED.validate_python(cursor) == cursor
    assert paging.id_from_cursor(cursor) == UUID(int=number)


def test_without_a_cursor_the_first_page_is_meant() -> None:
    assert paging.seq_from_cursor(None) is None
    assert paging.id_from_cursor(None) is None


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "p", "n", "p0", "p01", "p-1", "p1 ", "p1\n", "p\uff11", "P1", "1", "x1", "p" + "9" * 19),
        *("n" + "g" * 32, "n" + "a" * 31, "n" + "A" * 32, "n" + "a" * 32 + "\n"),
    ],
)
def test_a_cursor_that_was_made_up_is_refused_at_the_door_and_where_it_is_read(cursor: str) -> None:
    with pytest.raises(ValidationError):
        ASKED.validate_python(cursor)
    for read in (paging.seq_from_cursor, paging.id_from_cursor):
        with pytest.raises(errors.InputInvalid, match="not from a page of this list"):
            read(cursor)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(errors.InputInvalid):
        paging.seq_from_cursor(paging.cursor_from_id(UUID(int=1)))
    with pytest.raises(errors.InputInvalid):
        paging.id_from_cursor(paging.cursor_from_seq(1))
