"""The pages that every installation has with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ccn.cli.commands import help as topics
from scripts import commands as generator
from tests.support.cli import commands


def _help(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run("help", *arguments, cwd=folder, env=commands.environment())


def test_every_page_is_listed_with_its_first_sentence(tmp_path: Path) -> None:
    lines = _help(tmp_path).stdout.splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines)
    assert set(listed) == {page.stem for page in topics.DOCS.glob("*.md")} | {"decisions"}
    assert listed["glossary"] == "This page says what each word of CCN means, in one sentence."


def test_a_topic_is_printed_as_it_stands(tmp_path: Path) -> None:
    for topic, page in (("glossary", "glossary"), ("decisions", "decisions/README")):
        assert _help(tmp_path, topic).stdout == (topics.DOCS / f"{page}.md").read_text()
    assert _help(tmp_path, "decisions/0004-unicode-collation").stdout.startswith("# Sort by code point")


def test_a_topic_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    for topic in ("nothing", "../CHANGELOG", "/etc/hostname"):
        ended = _help(tmp_path, topic)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "there is no topic" in ended.stderr


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    page = generator.make_page()
    assert generator.PAGE.read_text() == page
    assert "### ccn round list" in page
    assert "| `--since` |" in page
