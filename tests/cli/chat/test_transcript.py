"""What a chat looks like: on a terminal, through a pipe, and as objects; no words of others act on it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from ccn.cli.chat import transcript
from ccn.cli.chat.transcript import PlainTranscript, TerminalTranscript, Transcript

OWNED = "\x1b[2J\x1b]0;owned\x07\x9b31m"
SPENT = {
    "calls": 2,
    "input": 10,
    "output": 20,
    "cache_read": 30,
    "cache_write": 40,
    "microdollars": 1_234_567,
}
GLANCE: dict[str, Any] = {
    "name": "Ada",
    "notice": "You talk to an AI.",
    "stand_in": False,
    "session_id": "s-1",
    "node": "node-1",
    "drift": 0.1234,
    "alone": False,
    "spent": SPENT,
    "spent_today": {**SPENT, "microdollars": 0},
}
COMMITTED = {"status": "committed"}


class Screen(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def open_terminal(width: int = 40, height: int = 25) -> tuple[TerminalTranscript, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=width, height=height)
    return TerminalTranscript("ann", console), file


def tell_everything(shown: Transcript, words: str) -> None:
    """Put these words wherever the words of others can stand."""
    shown.greet({**GLANCE, "name": words, "notice": words, "session_id": words})
    shown.show_message({"role": "user", "content": words}, words)
    shown.show_message({"role": "assistant", "content": words}, words)
    shown.begin_reply(words)
    shown.show_delta(words)
    shown.void_reply(words)
    shown.show_delta(words)
    shown.end_reply(COMMITTED)
    shown.begin_reply(words)
    shown.end_reply({"status": "failed", "detail": words})
    shown.show_status({**GLANCE, "name": words, "node": words})
    shown.show_prompt(words, {"system": words})
    shown.show_notice(words)


def test_no_words_of_others_act_on_the_terminal_of_a_person() -> None:
    plain, file = open_terminal(100)
    tell_everything(plain, "words")
    shown, owned = open_terminal(100)
    tell_everything(shown, OWNED)
    # What stands on the screen besides is our own: to clear what is waiting, and what was void.
    assert owned.getvalue().count("\x1b") == file.getvalue().count("\x1b")
    assert not {"\x07", "\x9b"} & {*owned.getvalue()}
    assert r"no reply: \x1b[2J" in owned.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_no_words_of_others_act_on_a_terminal_where_lines_come_through_a_pipe(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = Screen(), Screen()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    tell_everything(PlainTranscript(as_json, show_earlier=True), OWNED)
    assert not {"\x1b", "\x07", "\x9b"} & {*out.getvalue(), *err.getvalue()}
    if as_json:
        lines = list(map(json.loads, out.getvalue().splitlines()))
        assert lines[0]["session"]["name"] == OWNED


def test_through_a_pipe_words_are_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    shown = PlainTranscript(as_json=False, show_earlier=True)
    shown.show_message({"role": "assistant", "content": OWNED}, "Ada")
    shown.begin_reply("Ada")
    shown.show_delta(OWNED)
    shown.end_reply(COMMITTED)
    shown.show_prompt(f"{OWNED}\n\n", {})
    assert capsys.readouterr().out == f"Ada: {OWNED}\n{OWNED}\n{OWNED}\n"


def test_what_came_before_a_restart_is_not_part_of_the_reply(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        shown = PlainTranscript(as_json)
        shown.begin_reply("Ada")
        shown.show_delta("void")
        shown.void_reply("a broken stream")
        shown.show_delta("kept")
        shown.end_reply(COMMITTED)
    assert capsys.readouterr().out == 'kept\n{"status": "committed", "reply": "kept"}\n'


def test_a_reply_that_failed_is_told_beside_and_as_an_object_has_no_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = {"status": "failed", "detail": "no money"}
    for as_json in (False, True):
        shown = PlainTranscript(as_json)
        shown.begin_reply("Ada")
        shown.show_delta("half a")
        shown.end_reply(failed)
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [{**failed, "reply": None}]
    assert err == "error: no reply: no money\n"


def test_earlier_messages_are_only_written_for_whoever_asked_for_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    earlier = {"role": "user", "content": "Hello."}
    PlainTranscript(as_json=False).show_message(earlier, "Ada")
    assert capsys.readouterr().out == ""
    PlainTranscript(as_json=False, show_earlier=True).show_message(earlier, "Ada")
    PlainTranscript(as_json=False, show_earlier=True).show_message({**earlier, "content": None}, "Ada")
    assert capsys.readouterr().out == "user: Hello.\nuser: (redacted)\n"


@pytest.mark.parametrize(
    ("words", "cleared"),
    [
        ("one line ", "\r\x1b[J"),
        ("one\ntwo\nthree ", "\r\x1b[2A\x1b[J"),
        ("x" * 85 + " ", "\r\x1b[2A\x1b[J"),
    ],
)
def test_what_is_void_is_cleared_from_the_screen_to_its_first_row(words: str, cleared: str) -> None:
    shown, file = open_terminal(width=40)
    shown.begin_reply("Ada")
    shown.show_delta(words)
    shown.void_reply("a broken stream")
    assert f"{cleared}(a broken stream: the reply begins anew)" in file.getvalue()


def test_what_is_void_and_left_the_screen_stays_and_is_named_below() -> None:
    shown, file = open_terminal(height=3)
    shown.begin_reply("Ada")
    shown.show_delta("one\ntwo\nthree\nfour ")
    shown.void_reply("a broken stream")
    assert "\x1b[J" not in file.getvalue()
    assert "\n(a broken stream: the reply begins anew)" in file.getvalue()


def test_a_reply_that_is_void_before_its_first_word_clears_nothing() -> None:
    shown, file = open_terminal()
    shown.begin_reply("Ada")
    shown.void_reply("a broken stream")
    assert "\x1b[J" not in file.getvalue()


def test_a_notice_in_the_middle_of_a_reply_has_a_line_of_its_own() -> None:
    shown, file = open_terminal()
    shown.begin_reply("Ada")
    shown.show_delta("half a ")
    shown.show_notice("notice")
    assert file.getvalue().endswith("half\nnotice\n") or file.getvalue().endswith("half a\nnotice\n")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "Ada · node-1 · drift 0.123 · $1.2346 here · $0.0000 today"),
        ({"node": None}, "Ada · nowhere now · drift 0.123 · $1.2346 here · $0.0000 today"),
        ({"drift": None}, "Ada · node-1 · drift – · $1.2346 here · $0.0000 today"),
        ({"drift": 0.0}, "Ada · node-1 · drift 0.000 · $1.2346 here · $0.0000 today"),
        (
            {"alone": True},
            "Ada · node-1 · drift –, needs two instances · $1.2346 here · $0.0000 today",
        ),
    ],
)
def test_the_status_is_one_line(changed: dict[str, object], line: str) -> None:
    assert transcript.format_status_line({**GLANCE, **changed}) == line


@pytest.mark.parametrize(
    ("microdollars", "shown"),
    [(0, "$0.0000"), (49, "$0.0000"), (51, "$0.0001"), (1_000_000, "$1.0000"), (10**12, "$1000000.0000")],
)
def test_money_has_four_decimal_places(microdollars: int, shown: str) -> None:
    assert transcript.format_dollars(microdollars) == shown


def test_the_cost_lists_every_kind_of_token_here_and_today() -> None:
    here, today = transcript.describe_cost(GLANCE).splitlines()
    assert here == "here   $1.2346  2 calls · input 10 · cache read 30 · cache write 40 · output 20"
    assert today.startswith("today  $0.0000  2 calls")


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ({"status": "failed", "detail": "no money", "code": "budget_spent"}, "no money"),
        ({"status": "failed", "detail": "", "code": "budget_spent"}, "budget_spent"),
        ({"status": "failed", "detail": None, "code": None}, "failed"),
        ({"status": "cancelled"}, "cancelled"),
    ],
)
def test_why_there_is_no_reply_is_told_as_exactly_as_it_is_known(outcome: dict[str, Any], why: str) -> None:
    assert transcript.reason_for_failure(outcome) == why


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("rate limit", "the model takes no more requests for now"),
        ("server", "the model is in trouble"),
        ("network", "the model does not answer"),
        ("of a later version", "the model does not answer"),
    ],
)
def test_a_further_try_says_what_failed_and_how_many_are_left(reason: str, cause: str) -> None:
    told = transcript.describe_retry({"reason": reason, "number": 2, "most": 4})
    assert told == f"({cause}: trying again, 2 of 4)"
