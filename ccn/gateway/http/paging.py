"""Cursors: where a page ends, in a form that only this door reads, so the form can change."""

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

_SEQ = re.compile(r"p([1-9]\d{0,17})", re.ASCII)
_ID = re.compile(r"n([0-9a-f]{32})", re.ASCII)


def cursor_from_seq(seq: int) -> str:
    """Make the cursor of a message in a conversation."""
    return f"p{seq}"


def cursor_from_id(entry_id: UUID) -> str:
    """Make the cursor of an entry that has an id."""
    return f"n{entry_id.hex}"


def seq_from_cursor(cursor: str | None) -> int | None:
    """Read the number of a message from its cursor."""
    digits = _match_cursor(_SEQ, cursor)
    return None if digits is None else int(digits)


def id_from_cursor(cursor: str | None) -> UUID | None:
    """Read an id from its cursor."""
    digits = _match_cursor(_ID, cursor)
    return None if digits is None else UUID(digits)


def _match_cursor(pattern: re.Pattern[str], cursor: str | None) -> str | None:
    if cursor is None:
        return None
    match = pattern.fullmatch(cursor)
    if match is None:
        raise errors.InputInvalid("the cursor is not from a page of this list")
    return match[1]
