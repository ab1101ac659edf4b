"""Renders one event as one line for people, also when a field holds newlines or a terminal's control codes.

Separate from `logs`, which decides what is written, because `ccn up` shows the events of its nodes in
the same form without logging them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from ccn import settings
from ccn.cli.output.printing import to_one_line

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_LEVELS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[31;1m",
}
_LEADING = ("timestamp", "level", "event", "node", "exception", "logger")


def render_event(event: Mapping[str, object], *, colour: bool, brief: bool = False) -> str:
    """Write `time level event field=value …`; `brief` leaves out the date and the node."""
    level = str(event.get("level", "info"))
    when = str(event.get("timestamp", ""))
    fields = [(name, value) for name, value in event.items() if name not in _LEADING]
    if not brief and "node" in event:
        fields.insert(0, ("node", event["node"]))
    if trace := str(event.get("exception", "")).strip():
        fields.append(("error", trace.splitlines()[-1]) if brief else ("exception", trace))
    parts = [
        _paint_text(when[11:19] if brief else when, _DIM, colour),
        _paint_text(f"{level:7}", _LEVELS.get(level, ""), colour),
        to_one_line(str(event.get("event", ""))),
        *(f"{_paint_text(f'{name}=', _DIM, colour)}{_quote_value(value)}" for name, value in fields),
    ]
    return " ".join(parts)


def can_show_colours(stream: TextIO) -> bool:
    """Tell whether the stream is a terminal with colours."""
    return stream.isatty() and not settings.is_colourless()


def _quote_value(value: object) -> str:
    text = to_one_line(str(value))
    return f'"{text}"' if " " in text or not text else text


def _paint_text(text: str, paint: str, colour: bool) -> str:
    return f"{paint}{text}{_PLAIN}" if colour and paint and text else text
