"""Cursors: where a page ends, in words that only this door reads, so that what they hold can change."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from fastapi import Query

from ccn import errors

PAGE_LIMIT = 200
Cursor = Annotated[
    str | None,
    Query(
        max_length=100,
        pattern=r"^(p[1-9][0-9]{0,17}|n[0-9a-f]{32})$",
        description="The `next` of another page. Without it, the first page is returned.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="The largest number of entries.")]

_PLACE = re.compile(r"p([1-9]\d{0,17})", re.ASCII)
_NAME = re.compile(r"n([0-9a-f]{32})", re.ASCII)


def cursor_from_place(place: int) -> str:
    """The cursor of a place in a conversation."""
    return f"p{place}"


def cursor_from_id(name: UUID) -> str:
    """The cursor of a thing that has an id."""
    return f"n{name.hex}"


def place_from_cursor(cursor: str | None) -> int | None:
    """The place of a cursor."""
    found = _match_cursor(_PLACE, cursor)
    return None if found is None else int(found)


def id_from_cursor(cursor: str | None) -> UUID | None:
    """The id of a cursor."""
    found = _match_cursor(_NAME, cursor)
    return None if found is None else UUID(found)


def _match_cursor(form: re.Pattern[str], cursor: str | None) -> str | None:
    if cursor is None:
        return None
    found = form.fullmatch(cursor)
    if found is None:
        raise errors.InputInvalid("the cursor is none that this list gave out")
    return found[1]
