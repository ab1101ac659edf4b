"""Commands that are imported only when they run or show their own help.

`ccn --help` and completion list a `LazyCommand` by its name and sentence from the table of the group. So
a module of commands imports what it needs at its top, and no other command waits for that.
"""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class LazyCommand(TyperCommand):
    """A command or a group of commands: what lists show of it, and which module has it."""

    def __init__(
        self, name: str, module: str, attribute: str, summary: str, *, hidden: bool = False
    ) -> None:
        super().__init__(name, help=summary, hidden=hidden)
        self._module = module
        self._attribute = attribute

    def load(self) -> Any:
        """Import the command; return what Typer makes of it, under this name."""
        imported = getattr(importlib.import_module(self._module), self._attribute)
        if isinstance(imported, typer.Typer):
            group = typer.main.get_group(imported)
            group.name = self.name
            return group
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(self.name)(imported)
        return typer.main.get_command(single)


class LazyGroup(TyperGroup):
    """A group that imports only the command that the arguments name."""

    table: tuple[LazyCommand, ...] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in self.table:
            self.add_command(command)

    @classmethod
    def load_commands(cls, *names: str) -> None:
        """Import these commands now, or all of them: for a process whose forks run them."""
        for command in cls.table:
            if not names or command.name in names:
                command.load()

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command that is about to run, to show its help, or to be completed."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest
