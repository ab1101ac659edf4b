"""The verifier names the sentence of the page that it checks, and leaves no rule of the page out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ccn.cli import verify

PAGE = Path(verify.__file__).parents[1] / "docs" / "record.md"


def joined(text: str) -> str:
    """On one line, without marks of emphasis."""
    return re.sub(r"\s+", " ", text.replace("*", ""))


def sections() -> dict[str, str]:
    """The page by its headings, and each numbered rule by its number."""
    parts = re.split(r"^#+ (.*)\n", PAGE.read_text(), flags=re.MULTILINE)
    found = {
        heading.replace("`", ""): joined(text)
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    rules = re.split(r"^(\d+)\. ", parts[parts.index("What must hold") + 1], flags=re.MULTILINE)
    numbered = zip(rules[1::2], rules[2::2], strict=True)
    return found | {f"Rule {number}": joined(text) for number, text in numbered}


def quotes() -> list[tuple[str, str]]:
    """Each section that a docstring names, with the sentence that it quotes from there."""
    tree = ast.parse(Path(verify.__file__).read_text())
    documented = (ast.FunctionDef, ast.ClassDef, ast.Module)
    nodes = [node for node in ast.walk(tree) if isinstance(node, documented)]
    texts = [ast.get_docstring(node) or "" for node in nodes]
    pattern = re.compile(r'^([A-Z]?[a-z0-9 ,]+(?: \d+)?): "([^"]+)"', re.MULTILINE)
    return [(where, joined(said)) for text in texts for where, said in pattern.findall(text)]


def test_every_sentence_that_the_verifier_quotes_stands_on_the_page() -> None:
    page = sections()
    assert len(quotes()) > 50
    for where, said in quotes():
        assert said in page[where], (where, said)


def test_the_verifier_quotes_every_sentence_of_what_must_hold() -> None:
    rules = {name: text for name, text in sections().items() if name.startswith("Rule ")}
    assert list(rules) == [f"Rule {number}" for number in range(1, 12)]
    for where, said in sorted(quotes(), key=lambda quote: -len(quote[1])):
        if where in rules:
            rules[where] = rules[where].replace(said, "")
    headings = (
        r"The founding|The chain|Reports|What is sealed|Votes|Results|Leaves|Who spoke|What fits together"
    )
    left = {name: re.sub(rf"^({headings})\.", "", text) for name, text in rules.items()}
    assert {name: text for name, text in left.items() if re.search(r"\w", text)} == {}
