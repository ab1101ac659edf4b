"""What the processes of a cluster say, as a person sees it and as the files keep it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ccn.cli.cluster import journal

EVENT = {
    "event": "listening",
    "level": "info",
    "timestamp": "2026-11-20T12:55:01.1Z",
    "node": "node-1",
    "port": 1,
}


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def made(tmp_path: Path, seen: list[str]) -> Callable[..., journal.ProcessJournal]:
    def make(*, raw: bool = False, colour: bool = False) -> journal.ProcessJournal:
        return journal.ProcessJournal(tmp_path, seen.append, colour=colour, raw=raw, width=8)

    return make


def test_an_event_is_one_line_with_the_name_in_front(
    made: Callable[..., journal.ProcessJournal], seen: list[str], tmp_path: Path
) -> None:
    said = made()
    said.add_line("node-1", json.dumps(EVENT))
    said.add_line("node-12", json.dumps(EVENT))
    said.close()
    assert seen == [
        "node-1    12:55:01 info    listening port=1",
        "node-12   12:55:01 info    listening port=1",
    ]
    assert json.loads((tmp_path / "node-1.log").read_text()) == EVENT
    assert (tmp_path / "node-1.log").stat().st_mode & 0o777 == 0o600


def test_each_name_has_a_colour_of_its_own(
    made: Callable[..., journal.ProcessJournal], seen: list[str]
) -> None:
    said = made(colour=True)
    for name in ("node-1", "node-2", "node-1"):
        said.add_line(name, "words")
    said.close()
    assert seen[0] == seen[2]
    assert seen[0].split("node")[0] != seen[1].split("node")[0]


def test_last_words_that_are_no_event_are_shown_but_cannot_move_the_cursor(
    made: Callable[..., journal.ProcessJournal], seen: list[str]
) -> None:
    said = made()
    for words in ("Segmentation fault", "\x1b[2Jgone", '{"half": ', '["no event"]', "x" * 5000):
        said.add_line("node-1", words)
    said.close()
    assert seen[0] == "node-1    Segmentation fault"
    assert all(line.startswith("node-1  ") and "\x1b" not in line and len(line) < 500 for line in seen)


def test_programs_get_json_only(made: Callable[..., journal.ProcessJournal], seen: list[str]) -> None:
    said = made(raw=True)
    said.add_line("node-1", json.dumps(EVENT))
    said.add_line("node-1", "Segmentation fault")
    said.add_note("node-1", "error", "died")
    said.close()
    assert [json.loads(line)["event"] for line in seen] == ["listening", "Segmentation fault", "died"]
    assert {json.loads(line)["node"] for line in seen} == {"node-1"}


def test_the_last_lines_are_kept_for_an_error(made: Callable[..., journal.ProcessJournal]) -> None:
    said = made()
    for number in range(100):
        said.add_line("node-1", f"line {number}")
    said.close()
    assert said.last_lines("node-1").splitlines()[-1] == "    line 99"
    assert len(said.last_lines("node-1").splitlines()) < 20
    assert said.last_lines("node-2") == ""


def test_a_file_never_grows_beyond_twice_its_limit_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "node-1.log"
    file = journal.BoundedLog(path, limit=1000)
    for number in range(1000):
        file.append(f"line {number}")
        assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 2100
    file.append("the end")
    file.close()
    assert path.read_text().splitlines()[-1] == "the end"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["node-1.log", "node-1.log.1"]


def test_a_log_that_cannot_be_written_costs_nothing_else(tmp_path: Path, seen: list[str]) -> None:
    said = journal.ProcessJournal(tmp_path / "nowhere", seen.append, colour=False, raw=False, width=6)
    said.add_line("node-1", "words")
    said.close()
    assert seen == ["node-1  words"]
