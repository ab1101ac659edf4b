"""Commands that are imported when they are invoked or their own help is asked for, and not before.

`ccn --help` and completion list a `LazyCommand` by its name and first sentence, which stand in the group's
table. So a module of commands imports what it needs at its top, and no other command waits for that.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class LazyCommand(TyperCommand):
    """A command or a group of commands: what lists show of it, and where it is."""

    def __init__(
        self, name: str, module: str, attribute: str, summary: str, *, hidden: bool = False
    ) -> None:
        super().__init__(name, help=summary, hidden=hidden)
        self._module = module
        self._attribute = attribute

    def load(self) -> Any:
        """Import it; return what Typer makes of it, under this name."""
        found = getattr(importlib.import_module(self._module), self._attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = self.name
            return group
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self.name)(found)
        return typer.main.get_command(alone)


class LazyGroup(TyperGroup):
    """A group that imports the one of its commands that the arguments name."""

    table: tuple[LazyCommand, ...] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in self.table:
            self.add_command(command)

    @classmethod
    def load_commands(cls, *names: str) -> None:
        """Import these commands now, or all of them: for a process that forks others which run them."""
        for command in cls.table:
            if not names or command.name in names:
                command.load()

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command that is about to run, to show its help or to be completed."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest
