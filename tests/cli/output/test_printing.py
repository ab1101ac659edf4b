"""What other people wrote reaches no terminal as an order, whichever command prints it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from ccn.cli import verify
from ccn.cli.output import printing

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \r\x9b31m \u202etxet \u2066x\u2069 \u2028 \x7f"
COMMANDS = sorted(Path(printing.__file__).parents[1].rglob("*.py"))


def test_nothing_that_acts_on_a_terminal_is_left_and_lines_and_tabs_stay() -> None:
    assert printing.escape_controls(f"{HOSTILE}\n\tend") == (
        r"\x1b[2J\x1b]0;owned\x07 \r\u009b31m \u202etxet \u2066x\u2069 \u2028 \u007f" + "\n\tend"
    )
    assert printing.to_one_line("one\ntwo\tthree") == r"one\ntwo\tthree"


def test_words_in_every_script_stay_as_they_are() -> None:
    said = "Grüße, עברית\u200f, 한글, 👩\u200d🚀 – “quoted” \\ \u00a0."
    assert printing.escape_controls(said) == printing.to_one_line(said) == said


def test_what_programs_read_means_the_same() -> None:
    value = {"reason": HOSTILE, "by": "ann\n"}
    assert json.loads(printing.escape_controls(json.dumps(value, ensure_ascii=False))) == value


def test_rich_takes_no_orders_from_a_name() -> None:
    assert printing.escape_markup("[red]a[/]\x1b") == r"\[red]a\[/]\x1b"


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: file.stem)
def test_every_command_prints_what_is_not_its_own_through_this(file: Path) -> None:
    """`settings` and errors colour what was made printable before."""
    calls = [each.func for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, ast.Call)]
    names = {ast.unparse(each) for each in calls}
    if file.stem not in ("printing", "settings"):
        assert not {"typer.echo", "click.echo", "print"} & names


def test_a_record_writes_no_verdict_of_its_own() -> None:
    audit = verify.Audit()
    audit.findings.add(f"conversation {HOSTILE}\nVERIFIED: record", "is \x1b[1mfine")
    told = verify.render_text(audit, "record")
    assert told.splitlines()[0] == "CONTRADICTION: record"
    assert len(told.splitlines()) == 2
    assert not {"\x1b", "\x9b", "\r", "\u202e"} & set(told)


def test_a_list_is_an_entry_a_line_and_none_is_said_to_people_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def print_names(names: list[dict[str, str]], *, as_json: bool) -> str:
        printing.say_entries(names, lambda entry: entry["name"], as_json=as_json, if_none="there is none")
        return capsys.readouterr().out

    both = [{"name": "wren"}, {"name": "a\x1b[2J"}]
    assert print_names(both, as_json=False) == "wren\na\\x1b[2J\n"
    assert print_names(both, as_json=True) == '{"name": "wren"}\n{"name": "a\\u001b[2J"}\n'
    assert print_names([], as_json=False) == "there is none\n"
    assert print_names([], as_json=True) == ""
