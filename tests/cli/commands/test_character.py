"""`ccn character`: the axes, a picture of a text, and scoring in bulk."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from ccn.core.axes import AXES, RELATIONAL
from ccn.encoder import model as encoder
from ccn.node.character import scorers
from scripts.scorer import tiny
from tests.support.cli import commands
from tests.support.core.heads import untrained

TEXT = "I'm so sorry to hear that. It must be hard, and I am here for you whenever you want to talk."


def character(
    *arguments: str, given: str | bytes = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return commands.run("character", *arguments, given=given, cwd=cwd, env=commands.environment())


def test_axes_shows_every_axis_with_what_it_means() -> None:
    told = character("axes").stdout
    assert [name for name in (*AXES, *RELATIONAL) if name not in told] == []
    assert told.count("weight 0 in decisions") == 5
    as_json = json.loads(character("axes", "--json").stdout)
    assert [axis["name"] for axis in as_json["axes"]] == list(AXES)
    assert sum(axis["weight"] for axis in as_json["axes"]) == 11
    assert [each["name"] for each in as_json["relational"]] == list(RELATIONAL)


def test_a_text_gets_a_bar_for_each_axis_and_reasons(tmp_path: Path) -> None:
    file = tmp_path / "a text.txt"
    file.write_text(TEXT)
    told = character("score", str(file))
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert [line.split()[0] for line in lines[-16:]] == list(AXES)
    assert "│" in lines[-1]
    assert character("score", "-", given=TEXT).stdout == told.stdout


def test_one_text_as_json_says_what_moved_it() -> None:
    told = json.loads(character("score", "-", "--json", given=TEXT).stdout)
    assert told["scorer"] == scorers.load().version
    assert list(told["scores"]) == list(AXES)
    assert told["unobserved"] == {}
    assert all(each["feature"] for each in told["moved"]["warmth"])


def test_bulk_scoring_answers_line_by_line() -> None:
    rows = [{"text": TEXT}, {"text": "Too short."}, {"text": "ünïcödé und noch ein paar Wörter", "id": 3}]
    told = character("score", "-", "--jsonl", given="\n".join(map(json.dumps, rows)))
    assert told.returncode == 0, told.stderr
    answers = [json.loads(line)["scores"] for line in told.stdout.splitlines()]
    assert [list(each) for each in answers] == [list(AXES)] * 3
    assert all(0 <= value <= 1 for value in answers[0].values())
    assert set(answers[1].values()) == {None}


def test_a_bad_line_is_named_by_its_number_after_what_came_before() -> None:
    good = json.dumps({"text": TEXT})
    for bad in ("{", "[]", '{"text": 5}', '{"words": "x"}', '"text"'):
        told = character("score", "-", "--jsonl", given=f"{good}\n\n{bad}\n{good}\n")
        assert told.returncode == 1
        assert len(told.stdout.splitlines()) == 1
        assert told.stderr.startswith("error: line 3 ")


def test_a_line_that_is_no_text_at_all_is_named_too() -> None:
    told = character("score", "-", "--jsonl", given=b"\xff\xfe\n")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("error: line 1 ")


def test_what_cannot_be_read_or_chosen_is_said(tmp_path: Path) -> None:
    missing = character("score", "nowhere.txt", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.startswith("error: nowhere.txt cannot be read")
    assert character("score", "-", "--scorer", "tier-9/v9", given=TEXT).stderr.startswith(
        "error: there is no scorer"
    )
    assert character("score", "-", given=b"\xff\xfe").stderr.startswith("error: - is not UTF-8 text")


def test_a_reader_that_leaves_ends_the_stream_in_silence() -> None:
    row = json.dumps({"text": TEXT}) + "\n"
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -P -m ccn character score - --jsonl | head -1"],
        input=(row * 3000).encode(), capture_output=True, check=False, timeout=100,
    )  # fmt: skip
    assert len(ended.stdout.splitlines()) == 1
    assert ended.stderr == b""


def test_a_tier_can_be_chosen_by_its_number(tmp_path: Path) -> None:
    model = tiny.make(tmp_path / "a model", TEXT.lower().split())
    scorers.heads_path(model).write_bytes(untrained(encoder.open_encoder(model)))
    for number, name in ((0, "tier-0/v1"), (1, "tier-1/v1+"), (2, "tier-2/")):
        chosen = ("--tier", str(number), *(("--model", str(model)) if number == 2 else ()))
        told = json.loads(character("score", "-", "--json", *chosen, given=TEXT).stdout)
        assert told["scorer"].startswith(name)
        assert told["moved"]
    assert "CCN_SCORING_MODEL" in character("score", "-", "--tier", "2", given=TEXT).stderr
    assert "no command does" in character("score", "-", "--tier", "3", given=TEXT).stderr
    both = character("score", "-", "--tier", "1", "--scorer", "tier-0", given=TEXT)
    assert "give one of them" in both.stderr
