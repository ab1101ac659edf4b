"""`ccn help`: shows the pages of ccn/docs, which every installation contains."""

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
        str, typer.Argument(help="The topic; without it, the topics are listed.", show_default=False)
    ] = "",
) -> None:
    """Show a page of the documentation, or list the topics."""
    pages = {name_topic(page): page for page in sorted(DOCS.rglob("*.md"))}
    if not topic:
        topics = {name: page for name, page in pages.items() if "/" not in name}
        width = max(map(len, topics), default=0)
        for name, page in topics.items():
            printing.say(f"{name:<{width}}  {first_sentence(page.read_text(encoding='utf-8'))}")
    elif topic in pages:
        printing.say(pages[topic].read_text(encoding="utf-8"), nl=False)
    else:
        raise errors.NotFound(f"there is no topic {topic!r}: `ccn help` lists them")


def name_topic(page: Path) -> str:
    """Return the topic of a page: its name, or that of its folder if the page stands for the folder."""
    name = page.relative_to(DOCS).with_suffix("").as_posix()
    return name.removesuffix("/README")


def first_sentence(page: str) -> str:
    """Return the first sentence below the heading of a page."""
    paragraphs = (paragraph.strip() for paragraph in page.split("\n\n"))
    text = next((paragraph for paragraph in paragraphs if paragraph and not paragraph.startswith("#")), "")
    return _SENTENCE_END.split(" ".join(text.split()), maxsplit=1)[0]
