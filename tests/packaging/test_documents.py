"""Documents do not rot: links lead somewhere, commands exist, and the files that are named are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from ccn import cli
from ccn.cli.lazy import LazyCommand

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "ccn/docs").rglob("*.md"))]
FIRST_PAGE_LINES = 150
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`((?:ccn|tests|scripts|schema|proto|deploy)/[\w./-]+\.\w+)(?:::\w+)?`")
MADE_ELSEWHERE = ("ccn/pb/",)
"""Folders that are filled when a package is built."""


def each_page() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def headings(page: Path) -> set[str]:
    """The anchors of a page, as renderers make them."""
    bare = FENCE.sub("", page.read_text())
    titles = re.findall(r"^#+ (.+)$", bare, re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page()
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path) if path else page
        assert target.exists(), f"{path} is not there"
        assert not anchor or anchor in headings(target), f"{path}{anchor} is not there"


@each_page()
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = [name for name in FILE.findall(page.read_text()) if not name.startswith(MADE_ELSEWHERE)]
    assert [name for name in named if not (ROOT / name).exists()] == []


@each_page()
def test_every_command_and_option_exists(page: Path) -> None:
    for words in commands(page.read_text()):
        check_command(words)


@each_page()
def test_a_page_begins_with_its_title_and_what_it_is_for(page: Path) -> None:
    title, empty, first, *_ = page.read_text().split("\n")
    assert (title[:2], empty) == ("# ", "")
    assert first


def test_the_first_page_is_one_page() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= FIRST_PAGE_LINES


def test_a_command_that_is_none_is_found() -> None:
    assert list(commands("```sh\nFOO=1 .venv/bin/ccn round force --json   # now\n```")) == [
        ["round", "force", "--json"]
    ]
    for words in (["rounds"], ["round", "force", "--jsonn"], ["status", "--nope"]):
        with pytest.raises(AssertionError):
            check_command(words)


def commands(text: str) -> Iterator[list[str]]:
    """The words after `ccn` of every line in a block of shell."""
    for language, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").split("\n") if language == "sh" else ():
            for part in re.split(r"\||&&|;", line.split(" #")[0]):
                words = shlex.split(part.replace("<", " < ").replace(">", " > "))
                names = [number for number, word in enumerate(words) if word.split("/")[-1] == "ccn"]
                if names and all("=" in word for word in words[: names[0]]):
                    yield words[names[0] + 1 :]


@cache
def command_line() -> typer.core.TyperGroup:
    command = typer.main.get_command(cli.app)
    assert isinstance(command, typer.core.TyperGroup)
    return command


def check_command(words: list[str]) -> None:
    command: Any = command_line()
    context = typer.Context(command)
    path = ["ccn"]
    while words and hasattr(command, "get_command") and not words[0].startswith("-"):
        name, *words = words
        below = command.get_command(context, name)
        assert below is not None, f"{' '.join(path)} has no {name}"
        if isinstance(below, LazyCommand):
            below = below.load()
        command, path = below, [*path, name]
        context = typer.Context(command)
    options = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in options | {"--help"}, f"{' '.join(path)} has no {word}"
