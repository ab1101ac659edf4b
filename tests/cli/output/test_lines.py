"""One event is one line, whatever its fields hold."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.cli.output import lines

# What ends a line, moves the cursor, hides words or turns them around, beside what does not.
LETTERS = st.sampled_from('ab "=\0\t\n\r\x0b\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066ä漢')

EVENT = {
    "logger": "ccn",
    "level": "warning",
    "timestamp": "2026-11-30T10:11:12.345678Z",
    "event": "a round failed",
    "node": "node-1",
    "term": 3,
    "reason": "no quorum",
}


class Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_has_the_time_the_level_the_event_the_node_and_the_fields() -> None:
    assert lines.render_event(EVENT, colour=False) == (
        '2026-11-30T10:11:12.345678Z warning a round failed node=node-1 term=3 reason="no quorum"'
    )


def test_a_brief_line_leaves_out_the_date_and_the_node() -> None:
    assert lines.render_event(EVENT, colour=False, brief=True) == (
        '10:11:12 warning a round failed term=3 reason="no quorum"'
    )


@pytest.mark.parametrize(
    ("brief", "shown"),
    [(True, 'error="ValueError: no"'), (False, r'exception="Traceback:\n  here\nValueError: no"')],
)
def test_a_brief_line_shows_the_last_line_of_a_traceback_and_a_long_one_all_of_it(
    brief: bool, shown: str
) -> None:
    event = {"event": "failed", "exception": "Traceback:\n  here\nValueError: no\n"}
    assert lines.render_event(event, colour=False, brief=brief).endswith(f"failed {shown}")


def test_an_event_without_anything_is_a_line_all_the_same() -> None:
    assert lines.render_event({}, colour=False).split() == ["info"]
    assert lines.render_event({}, colour=True, brief=True).count("\x1b[") == 2


def test_a_field_without_a_value_is_seen() -> None:
    assert lines.render_event({"event": "x", "name": ""}, colour=False).endswith('x name=""')


def test_an_unknown_level_has_no_colour() -> None:
    assert "\x1b" not in lines.render_event({"level": "notice", "event": "x"}, colour=True)


def test_colours_end_where_they_began() -> None:
    coloured = lines.render_event(EVENT, colour=True)
    plain = coloured
    for paint in ("\x1b[2m", "\x1b[33m", "\x1b[0m"):
        plain = plain.replace(paint, "")
    assert plain == lines.render_event(EVENT, colour=False)
    assert coloured.count("\x1b[") == 2 * coloured.count("\x1b[0m")


@given(
    st.dictionaries(
        st.sampled_from(["event", "node", "exception", "said", "by"]), st.text(LETTERS, max_size=20)
    ),
    st.booleans(),
)
def test_nothing_in_a_field_ends_the_line_or_acts_on_the_terminal(
    event: dict[str, object], brief: bool
) -> None:
    shown = lines.render_event(event, colour=False, brief=brief)
    assert len(shown.splitlines()) == 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert lines.can_show_colours(Terminal())
    assert not lines.can_show_colours(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not lines.can_show_colours(Terminal())
