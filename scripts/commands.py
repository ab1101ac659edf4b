"""Writes ccn/docs/commands.md from the commands themselves: python -m scripts.commands [--check].

Every command, its arguments and its options stand there in the words of `--help`. With `--check` nothing is
written, and a page that is not current is an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ccn import cli

PAGE = Path(__file__).parent.parent / "ccn" / "docs" / "commands.md"
_HEAD = """# Commands

This page lists every command of `ccn` with its options. `scripts/commands` writes it.

"""


def make_page() -> str:
    """Return the page as the commands of this version have it."""
    loaded = [command.load() for command in cli.Commands.table]
    table = [f"| `ccn {command.name}` | {_escape_cell(_first_paragraph(command))} |" for command in loaded]
    sections = [line for command in loaded for line in _describe_command(command, "ccn", 2)]
    return _HEAD + "\n".join(["| command | does |", "|---|---|", *table, "", *sections]).rstrip() + "\n"


def _describe_command(command: Any, parent: str, level: int) -> Iterator[str]:
    name = f"{parent} {command.name}"
    arguments = "".join(f" {argument}" for argument in _argument_names(command))
    yield f"{'#' * level} {name}"
    yield ""
    yield from _help_paragraphs(command)
    if inner := getattr(command, "commands", None):
        for each in inner.values():
            yield from _describe_command(each, name, level + 1)
        return
    options = [parameter for parameter in command.params if not parameter.hidden]
    if options:
        yield f"| `{name}{arguments}` | |"
        yield "|---|---|"
        yield from (_describe_parameter(parameter) for parameter in options)
        yield ""


def _help_paragraphs(command: Any) -> Iterator[str]:
    for paragraph in (command.help or "").split("\n\n"):
        if text := " ".join(paragraph.split()):
            yield text
            yield ""


def _first_paragraph(command: Any) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split())


def _argument_names(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = _display_name(parameter)
            yield name if parameter.required else f"[{name}]"


def _describe_parameter(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    name = _display_name(parameter) if is_argument else ", ".join(parameter.opts)
    return f"| `{_escape_cell(name)}` | {_escape_cell(' '.join((parameter.help or '').split()))} |"


def _display_name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _escape_cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def main() -> None:
    """Write the page, or say that it is not current."""
    page = make_page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit(f"{PAGE.name} is not current: run scripts/commands")


if __name__ == "__main__":
    main()
