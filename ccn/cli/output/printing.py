"""How commands print: nothing acts on the terminal, because names and reasons are the words of others.

A character that moves the cursor, hides words or turns them around is shown as its number, in a form that
JSON reads as the same character. So people and programs are served by one way to print.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

T = TypeVar("T")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_BREAK = re.compile(r"[\t\n]")


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text; its lines and tabs stay."""
    typer.echo(escape_controls(text), err=err, nl=nl)


def say_json(value: object, *, err: bool = False) -> None:
    """Print a value as JSON on one line."""
    say(to_json(value), err=err)


def say_entries(entries: Sequence[T], write: Callable[[T], str], *, as_json: bool, if_none: str) -> None:
    """Print a list, an entry a line. Programs that read JSON get no line if there is none."""
    for entry in entries:
        say(to_json(entry) if as_json else write(entry))
    if not entries and not as_json:
        say(if_none)


def to_json(value: object) -> str:
    """Write a value as JSON on one line, with letters of all languages as they are."""
    return json.dumps(value, ensure_ascii=False)


def escape_controls(text: str) -> str:
    """Replace what acts on a terminal; lines and tabs stay."""
    return _CONTROL.sub(_escape_character, text)


def to_one_line(text: object) -> str:
    """Do the same and keep the text on one line: for a name or a reason among other things."""
    return _BREAK.sub(_escape_character, escape_controls(str(text)))


def escape_markup(text: object) -> str:
    """Do the same for rich, which takes words in brackets for orders."""
    from rich.markup import escape  # noqa: PLC0415 - start-up must be quick

    return escape(to_one_line(text))


def _escape_character(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code > 0x1F:
        return f"\\u{code:04x}"
    return ascii(found[0])[1:-1]
