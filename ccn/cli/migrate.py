"""`ccn migrate`: bring a database to the schema of this version, or show what that would run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ccn.cli.asking import Data, Url

if TYPE_CHECKING:
    from ccn.store.migrate import Plan


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Show what would run; change nothing.")] = False,
    database_url: Url = "",
    data: Data = None,
) -> None:
    """Bring the database to the schema of this version."""
    import asyncio  # noqa: PLC0415 - start-up must be quick

    from ccn.cli import local  # noqa: PLC0415
    from ccn.store import migrate as migrations  # noqa: PLC0415

    url = local.database_url(database_url, data)
    done = asyncio.run(migrations.plan(url) if plan else migrations.apply(url))
    _print(done, "would run" if plan else "ran now")


def _print(done: Plan, pending: str) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("number", "name", "state"):
        table.add_column(heading)
    for applied in done.applied:
        table.add_row(f"{applied.number:04}", applied.name, f"ran {applied.at:%Y-%m-%d %H:%M}")
    for migration in done.pending:
        table.add_row(f"{migration.number:04}", migration.name, f"[yellow]{pending}[/]")
    Console(highlight=False).print(table)
