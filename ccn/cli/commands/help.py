"""`ccn help`: the pages of ccn/docs, which every installation has with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

import ccn
from ccn import errors
from ccn.cli.output import printing

DOCS = Path(ccn.__file__).parent / "docs"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")


def show_help(
    topic: Annotated[
        str, typer.Argument(help="A topic; a list of them if left out.", show_default=False)
    ] = "",
) -> None:
    """Show a page of the documentation, or list the topics."""
    pages = {name_topic(page): page for page in sorted(DOCS.rglob("*.md"))}
    if not topic:
        listed = {name: page for name, page in pages.items() if "/" not in name}
        width = max(map(len, listed), default=0)
        for name, page in listed.items():
            printing.say(f"{name:<{width}}  {first_sentence(page.read_text(encoding='utf-8'))}")
    elif topic in pages:
        printing.say(pages[topic].read_text(encoding="utf-8"), nl=False)
    else:
        raise errors.NotFound(f"there is no topic {topic!r}: `ccn help` lists them")


def name_topic(page: Path) -> str:
    """Return what a page is asked for by: its name, or that of its folder if it stands for all of it."""
    name = page.relative_to(DOCS).with_suffix("").as_posix()
    return name.removesuffix("/README")


def first_sentence(page: str) -> str:
    """Return the first sentence below the heading of a page."""
    paragraphs = (paragraph.strip() for paragraph in page.split("\n\n"))
    text = next((paragraph for paragraph in paragraphs if paragraph and not paragraph.startswith("#")), "")
    return _SENTENCE_END.split(" ".join(text.split()), maxsplit=1)[0]
