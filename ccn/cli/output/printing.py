"""What commands print, with nothing in it that acts on a terminal: names and reasons are others' words.

Whatever moves a cursor, hides words or turns them around is shown as its number, in a form that is the same
character to whoever reads JSON. So one way to print serves people and programs.
"""

from __future__ import annotations

import re

import typer

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_BREAK = re.compile(r"[\t\n]")


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print something; its lines and tabs stay."""
    typer.echo(escape_controls(text), err=err, nl=nl)


def escape_controls(text: str) -> str:
    """Without anything that acts on a terminal; lines and tabs stay."""
    return _CONTROL.sub(_escape_character, text)


def to_one_line(text: object) -> str:
    """The same on one line: for a name or a reason among other things."""
    return _BREAK.sub(_escape_character, escape_controls(str(text)))


def escape_markup(text: object) -> str:
    """The same for rich, which takes words in brackets for orders."""
    from rich.markup import escape  # noqa: PLC0415 - start-up must be quick

    return escape(to_one_line(text))


def _escape_character(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code > 0x1F:
        return f"\\u{code:04x}"
    return ascii(found[0])[1:-1]
