"""Which lines of the nodes people see: what sealed nothing is counted, and what repeats is shown once."""

from __future__ import annotations

import json
from pathlib import Path

from ccn.cli.cluster.digest import LogDigest
from ccn.cli.cluster.journal import ProcessJournal


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def block(leaves: int) -> str:
    return json.dumps({"event": "block committed", "level": "info", "height": 7, "leaves": leaves})


def warning(what: str = "the database does not answer") -> str:
    return json.dumps({"event": what, "level": "warning"})


def opened(folder: Path, seen: list[str], clock: Clock, *, quiet: bool = False) -> ProcessJournal:
    digest = LogDigest(quiet=quiet, clock=clock)
    return ProcessJournal(folder, seen.append, colour=False, raw=False, width=6, digest=digest)


def test_only_a_block_that_sealed_something_is_shown_and_the_files_have_them_all(tmp_path: Path) -> None:
    seen: list[str] = []
    said = opened(tmp_path, seen, Clock())
    for leaves in (0, 3, 0):
        said.add_line("node-1", block(leaves))
    said.close()
    assert [line for line in seen if "leaves=3" in line] == seen
    assert len((tmp_path / "node-1.log").read_text().splitlines()) == 3


def test_once_a_minute_one_is_told_that_empty_rounds_go_on(tmp_path: Path) -> None:
    seen, clock = list[str](), Clock()
    said = opened(tmp_path, seen, clock)
    for _ in range(13):
        clock.now += 10
        said.add_line("node-1", block(0))
    said.close()
    assert seen == ["        rounds go on: 6 blocks with nothing new to seal"] * 2


def test_a_warning_of_every_node_is_shown_once_and_then_counted(tmp_path: Path) -> None:
    seen, clock = list[str](), Clock()
    said = opened(tmp_path, seen, clock)
    for name in ("node-1", "node-2", "node-3") * 5:
        said.add_line(name, warning())
    said.add_line("node-2", warning("something else"))
    assert [line.split(maxsplit=2)[2] for line in seen] == [
        "the database does not answer",
        "something else",
    ]
    clock.now = 11
    said.add_line("node-1", block(1))
    assert seen[-1] == "        the database does not answer: 14 more of node-1, node-2, node-3"
    said.add_line("node-1", warning())
    said.close()
    assert seen[-1].endswith("the database does not answer")


def test_who_wants_quiet_sees_what_goes_wrong(tmp_path: Path) -> None:
    seen: list[str] = []
    said = opened(tmp_path, seen, Clock(), quiet=True)
    said.add_line("node-1", block(2))
    said.add_line("node-1", json.dumps({"event": "listening", "level": "info"}))
    said.add_line("node-1", warning())
    said.add_line("node-1", "Segmentation fault")
    said.close()
    assert [line.rsplit("  ", 1)[-1] for line in seen] == [
        " warning the database does not answer".strip(),
        "Segmentation fault",
    ]
